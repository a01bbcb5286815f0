#include "report.h"

#include <stdio.h>
#include <string.h>

static void list(const char *name, const struct findings *found, void (*each)(const struct finding *f))
{
    write_open(name, '[');
    for (uint32_t i = 0; i < found->n; i++) {
        write_open(NULL, '{');
        each(&found->at[i]);
        write_span(found->at[i].span);
        write_close('}');
    }
    write_close(']');
}

/* ---- analyze ---- */

static void show_requirement(const struct finding *f)
{
    write_text("verb", f->lex->phrase);
    write_text("kind", kind_names[f->type]);
    write_bool("follows", f->follows);
}

static void show_entity(const struct finding *f)
{
    write_text("type", entity_names[f->type]);
}

static void show_constraint(const struct finding *f)
{
    write_text("type", constraint_names[f->type]);
}

static void show_timing(const struct finding *f)
{
    char day[DAY_ROOM];
    write_text("type", timing_names[f->type]);
    if (f->day != NO_DAY)
        day_write(f->day, day);
    write_text("date", f->day == NO_DAY ? NULL : day);
}

static void show_risk(const struct finding *f)
{
    static const char *const severities[] = {"low", "low", "medium", "high"};
    write_text("type", risk_names[f->type]);
    write_text("severity", severities[f->weight & 3]);
    write_text("reason", risk_reasons[f->type]);
}

static void show_open_point(const struct finding *f)
{
    static const struct {
        const char *before, *behind;
    } questions[VAGUES] = {
        [VAGUE_QUANTITY] = {"How many, or how much, is", "?"},
        [VAGUE_QUALITY] = {"By what would one see that it is", "?"},
        [VAGUE_TIME] = {"Which time is meant by", "?"},
        [VAGUE_SCOPE] = {"What belongs to", ", and what does not?"},
        [VAGUE_REFERENCE] = {"The text does not name it: what is", "?"},
        [VAGUE_DATE] = {"Does the day or the month come first in", "?"},
        [VAGUE_CHOICE] = {"One of the two, or both:", "?"},
    };
    char question[200];
    const char *at;
    size_t n = span_text(f->span, 60, &at);
    int len = snprintf(question, sizeof question, "%s \"%.*s\"%s", questions[f->type].before, (int)n, at,
                       questions[f->type].behind);
    write_text("type", vague_names[f->type]);
    write_bytes("question", question, (size_t)len);
}

static void show_kind(void)
{
    write_open("kind", '{');
    write_text("name", kind_names[analysis.kind]);
    write_text("capability", kind_capabilities[analysis.kind]);
    write_number("share", analysis.kind == KIND_UNKNOWN ? 0 : analysis.shares[analysis.kind], 2);
    write_open("because", '[');
    const struct findings *evidence = &analysis.evidence[analysis.kind % KINDS];
    for (uint32_t i = 0; analysis.kind != KIND_UNKNOWN && i < evidence->n && i < 8; i++) {
        write_open(NULL, '{');
        write_span(evidence->at[i].span);
        write_close('}');
    }
    write_close(']');
    write_open("others", '[');
    for (unsigned k = 0; k < KINDS; k++)
        if (k != analysis.kind && analysis.shares[k] >= 0.1) {
            write_open(NULL, '{');
            write_text("name", kind_names[k]);
            write_number("share", analysis.shares[k], 2);
            write_close('}');
        }
    write_close(']');
    write_close('}');
}

static bool asks_for(enum kind kind)
{
    for (uint32_t i = 0; i < analysis.requirements.n; i++)
        if (analysis.requirements.at[i].type == kind)
            return true;
    return false;
}

unsigned missing_list(struct missing out[8])
{
    unsigned n = 0;
    const uint32_t *c = analysis.entity_counts;
    if (!analysis.english) {
        out[n++] = (struct missing){"language", "Can the task be put in English? This plugin reads no other language."};
        return n;
    }
    if (analysis.requirements.all == 0)
        out[n++] = (struct missing){"goal", "What is to be done? No words were found that ask for something."};
    if (analysis.kind == KIND_UNKNOWN)
        out[n++] = (struct missing){"kind", "What kind of work is it? The words do not tell."};
    if (analysis.timings.all == 0)
        out[n++] = (struct missing){"deadline", "By when is it needed?"};
    if (asks_for(KIND_DATA) && !c[ENTITY_URL] && !c[ENTITY_FILE] && !c[ENTITY_QUOTED] && c[ENTITY_NUMBER] < 2)
        out[n++] = (struct missing){"data", "Where is the data? No file, address or numbers are given."};
    if (asks_for(KIND_COMMUNICATION) && !c[ENTITY_EMAIL] && !c[ENTITY_MENTION] && !c[ENTITY_NAME] &&
        !c[ENTITY_TECHNOLOGY])
        out[n++] = (struct missing){"recipient", "To whom does it go? No name or address is given."};
    if (analysis.constraint_count == 0)
        out[n++] = (struct missing){"success", "How will one see that it is done well? No condition is given."};
    return n;
}

static void show_missing(const char *name)
{
    struct missing missing[8];
    unsigned n = missing_list(missing);
    write_open(name, '[');
    for (unsigned i = 0; i < n; i++) {
        write_open(NULL, '{');
        write_text("what", missing[i].what);
        write_text("question", missing[i].question);
        write_close('}');
    }
    write_close(']');
}

void report_analysis(void)
{
    write_open(NULL, '{');
    write_text("language", analysis.english ? "en" : "unknown");
    show_kind();
    list("requirements", &analysis.requirements, show_requirement);
    list("entities", &analysis.entities, show_entity);
    list("constraints", &analysis.constraints, show_constraint);
    list("timings", &analysis.timings, show_timing);
    list("risks", &analysis.risks, show_risk);
    list("ambiguities", &analysis.ambiguities, show_open_point);
    show_missing("not_stated");
    bool all = analysis.requirements.all <= LISTED_MAX && analysis.entities.all <= LISTED_MAX &&
               analysis.constraints.all <= LISTED_MAX && analysis.timings.all <= LISTED_MAX &&
               analysis.risks.all <= LISTED_MAX && analysis.ambiguities.all <= LISTED_MAX;
    write_bool("complete", all);
    write_close('}');
}

/* ---- estimate ---- */

static double part(const char *what, double count, double points)
{
    if (count <= 0)
        return 0;
    write_open(NULL, '{');
    write_text("what", what);
    write_number("count", count, 0);
    write_number("points", points, 1);
    write_close('}');
    return points;
}

static double risk_points(unsigned *count)
{
    double points = 0;
    for (unsigned r = 0; r < RISKS; r++) {
        points += analysis.severity[r];
        *count += analysis.severity[r] > 0;
    }
    return points;
}

static const char *level(double points)
{
    static const struct {
        double most;
        const char *name;
    } levels[] = {{3, "trivial"}, {8, "small"}, {16, "medium"}, {32, "large"}};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (points <= levels[i].most)
            return levels[i].name;
    return "very_large";
}

/* Every part is a sum over what was found, so that a text that asks for more never gets less. */
void report_estimate(void)
{
    unsigned risky = 0;
    double risks = risk_points(&risky), points = 0, open = analysis.vague_words > 10 ? 10 : analysis.vague_words;
    write_open(NULL, '{');
    write_open("parts", '[');
    points += part("requirements, by the effort of their verbs", analysis.requirements.all, analysis.effort);
    points += part("constraints", analysis.constraint_count, 0.5 * analysis.constraint_count);
    points += part("products and systems that are named", analysis.technologies, analysis.technologies);
    points += part("kinds of risk, by their severity", risky, risks);
    write_close(']');
    write_number("points", points, 1);
    write_text("complexity", analysis.english && points > 0 ? level(points) : "unknown");
    write_number("low", points * 0.7, 1);
    write_number("high", points * (1.5 + 0.1 * open), 1);
    write_number("open_points", analysis.ambiguities.all, 0);
    write_text("note",
               "Points compare tasks with each other. They are no hours: who does the work is not in the text.");
    show_missing("not_stated");
    write_close('}');
}
