/* A task for the orchestrator: a step for each thing that the text asks for.  Where this plugin knows the action (the
 * arithmetic of data_processor) or the caller offered a fitting one, the step can run; else it says what is missing. */
#include <stdio.h>
#include <string.h>

#include "report.h"

#define STEPS_MAX 50
#define OFFERS_MAX 200
#define NUMBERS_MAX 1000

/* ---- numbers of the text ---- */

/* The numbers that are data: those of the longest list of them, "[3, 9, 12]" or "3, 9 and 12". */
static struct span numbers_of_text(void)
{
    struct span best = {0, 0};
    uint32_t most = 1;
    for (uint32_t i = 0; i < text.n;) {
        double value;
        uint32_t count = 0, from = i, end = i;
        while (text_number(i, &value) && count < NUMBERS_MAX) {
            count++;
            end = ++i;
            while (text_is(i, ",") || text_is(i, "and"))
                i++;
        }
        if (count > most) {
            most = count;
            best = (struct span){from, end};
        }
        i = end > from ? end : from + 1;
    }
    return best;
}

static void write_numbers(const char *name, struct span s)
{
    double value;
    char number[40];
    write_open(name, '[');
    for (uint32_t i = s.from; i < s.to; i++)
        if (text_number(i, &value))
            write_raw(NULL, number, (size_t)snprintf(number, sizeof number, "%.17g", value));
    write_close(']');
}

/* ---- steps whose action is known ---- */

struct known {
    const char *words; /* one of these in the clause, with a comma between two */
    const char *action, *key, *operation;
    const char *number; /* the parameter that takes the clause's number; NULL: none */
};

static const struct known known[] = {
    {"average,mean", "aggregate", "operation", "avg", NULL},
    {"median", "aggregate", "operation", "median", NULL},
    {"sum,total,add up", "aggregate", "operation", "sum", NULL},
    {"standard deviation,stddev", "aggregate", "operation", "stddev", NULL},
    {"maximum,largest,highest,max", "aggregate", "operation", "max", NULL},
    {"minimum,smallest,lowest,min", "aggregate", "operation", "min", NULL},
    {"count", "aggregate", "operation", "count", NULL},
    {"multiply", "transform", "operation", "multiply", "factor"},
    {"divide", "transform", "operation", "divide", "factor"},
    {"greater than,above,more than,over,larger than,bigger than", "filter", "condition", "greater", "value"},
    {"less than,below,under,smaller than,fewer than", "filter", "condition", "less", "value"},
    {"at least", "filter", "condition", "greater_equal", "value"},
    {"at most", "filter", "condition", "less_equal", "value"},
    {"normalize,normalise,scale", "normalize", "method", "min-max", NULL},
    {"z-score,standardize,standardise", "normalize", "method", "z-score", NULL},
};

/* Is the phrase in the clause, as whole words? */
static bool says(struct span s, const char *phrase, size_t len)
{
    char words[64];
    snprintf(words, sizeof words, "%.*s", (int)len, phrase);
    char *second = strchr(words, ' ');
    if (second)
        *second++ = 0;
    for (uint32_t i = s.from; i < s.to; i++)
        if (text_is(i, words) && (!second || text_is(i + 1, second)))
            return true;
    return false;
}

static bool says_any(struct span s, const char *phrases)
{
    for (const char *at = phrases; *at;) {
        size_t n = strcspn(at, ",");
        if (says(s, at, n))
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

static bool number_in(struct span s, struct span data, double *out)
{
    for (uint32_t i = s.to; i-- > s.from;)
        if ((i < data.from || i >= data.to) && text_number(i, out))
            return true;
    return false;
}

/* "Drop those above 100" keeps the others. */
static bool drops(struct span s)
{
    return says_any(s, "drop,remove,exclude,discard,delete,ignore,without");
}

static const struct known *known_of(const struct finding *f, struct span data, double *number)
{
    if (f->type != KIND_DATA && f->lex->value != KIND_DATA && f->type != KIND_OPERATIONS)
        return NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (says_any(f->span, known[i].words) && (!known[i].number || number_in(f->span, data, number)))
            return &known[i];
    return NULL;
}

/* ---- steps whose action the caller offers ---- */

struct offer {
    char capability[33], action[33], description[512];
};
static struct offer offers[OFFERS_MAX];
static unsigned offer_count;

static bool member(struct slice item, const char *name, char *out, size_t size)
{
    struct slice value;
    out[0] = 0;
    return request_find(item.at, (size_t)(item.end - item.at), name, &value) && request_text(value, out, size);
}

static void read_offers(struct slice array)
{
    offer_count = 0;
    if (array.end - array.at < 2)
        return;
    const char *at = request_space(array.at + 1, array.end - 1), *end = array.end - 1;
    while (at < end && offer_count < OFFERS_MAX) {
        struct slice item = {at, request_skip(at, end)};
        struct offer *o = &offers[offer_count];
        if (!item.end || item.end == item.at)
            return;
        if (member(item, "capability", o->capability, sizeof o->capability) &&
            member(item, "action", o->action, sizeof o->action)) {
            member(item, "description", o->description, sizeof o->description);
            offer_count++;
        }
        at = request_space(item.end, end);
        if (at < end && *at == ',')
            at = request_space(at + 1, end);
    }
}

static bool has_word(const char *words, const char *stem)
{
    while (*words) {
        char word[48], own[48];
        size_t n = strcspn(words, " _-.,;:()/");
        if (n > 2 && n < sizeof word) {
            for (size_t i = 0; i < n; i++)
                word[i] = (char)(words[i] >= 'A' && words[i] <= 'Z' ? words[i] | 0x20 : words[i]);
            word[n] = 0;
            lexicon_stem(word, own);
            if (strcmp(own, stem) == 0)
                return true;
        }
        words += n + (words[n] != 0);
    }
    return false;
}

/* The offer that shares the most words with the clause; small words of English do not count. */
static const struct offer *offer_of(const struct finding *f)
{
    const struct offer *best = NULL;
    unsigned most = 0;
    uint32_t to = f->span.to - f->span.from > 60 ? f->span.from + 60 : f->span.to, n;
    for (unsigned k = 0; k < offer_count; k++) {
        unsigned same = 0;
        for (uint32_t i = f->span.from; i < to; i++) {
            char word[WORD_ROOM], stem[WORD_ROOM];
            if (text.tokens[i].kind != TOKEN_WORD || lexicon_base(i, LEX_ENGLISH, &n))
                continue;
            lexicon_stem(text_word(i, word), stem);
            if (strlen(stem) > 2 && (has_word(offers[k].action, stem) || has_word(offers[k].description, stem)))
                same += i == f->verb ? 3 : 1;
        }
        if (same && kind_capabilities[f->type] && strcmp(kind_capabilities[f->type], offers[k].capability) == 0)
            same++;
        if (same > most) {
            most = same;
            best = &offers[k];
        }
    }
    return most >= 2 ? best : NULL;
}

/* ---- the task ---- */

struct step {
    const struct finding *asks;
    const struct known *known;
    const struct offer *offer;
    double number;
    char id[64];
    int data_from; /* the step whose numbers it takes; -1: the task's input */
};
static struct step steps[STEPS_MAX];

static void name_step(struct step *s, uint32_t i)
{
    char word[WORD_ROOM];
    size_t n = (size_t)snprintf(s->id, sizeof s->id, "s%u_", i + 1);
    for (const char *p = text_word(s->asks->verb, word); *p && n < sizeof s->id - 1; p++)
        if ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9'))
            s->id[n++] = *p;
    s->id[n] = 0;
}

static bool gives_numbers(const struct step *s)
{
    return s->known && strcmp(s->known->action, "aggregate") != 0;
}

static uint32_t make_steps(struct span data)
{
    uint32_t n = analysis.requirements.n < STEPS_MAX ? analysis.requirements.n : STEPS_MAX;
    int last = -1;
    for (uint32_t i = 0; i < n; i++) {
        struct step *s = &steps[i];
        *s = (struct step){.asks = &analysis.requirements.at[i], .data_from = last};
        name_step(s, i);
        s->known = data.to > data.from ? known_of(s->asks, data, &s->number) : NULL;
        if (s->known && drops(s->asks->span) && strcmp(s->known->action, "filter") == 0)
            s->known = NULL; /* the opposite is wanted: better said to be unknown than turned round */
        if (!s->known)
            s->offer = offer_of(s->asks);
        if (gives_numbers(s))
            last = (int)i;
    }
    return n;
}

static void write_from(const char *name, const char *pointer)
{
    write_open(name, '{');
    write_text("$from", pointer);
    write_close('}');
}

static void write_parameters(const struct step *s)
{
    char pointer[96];
    const char *at;
    write_open("parameters", '{');
    if (s->known) {
        snprintf(pointer, sizeof pointer, "/steps/%s/result", s->data_from >= 0 ? steps[s->data_from].id : "");
        write_from("data", s->data_from >= 0 ? pointer : "/input/data");
        write_text(s->known->key, s->known->operation);
        if (s->known->number)
            write_number(s->known->number, s->number, 9);
    } else {
        size_t n = span_text(s->asks->span, 1000, &at);
        write_bytes("instruction", at, n);
    }
    write_close('}');
}

static void write_step(const struct step *s, uint32_t i)
{
    const char *at;
    write_open(NULL, '{');
    write_text("id", s->id);
    size_t n = span_text(s->asks->span, 400, &at);
    write_bytes("description", at, n);
    const char *capability = kind_capabilities[s->asks->type];
    write_text("capability", s->known     ? "data_processing"
                             : s->offer   ? s->offer->capability
                             : capability ? capability
                                          : "custom");
    write_text("action", s->known ? s->known->action : s->offer ? s->offer->action : "perform");
    write_parameters(s);
    if (s->asks->follows && i > 0) {
        write_open("depends_on", '[');
        write_text(NULL, steps[i - 1].id);
        write_close(']');
    }
    write_close('}');
}

static void write_needs(uint32_t n)
{
    char why[200];
    write_open("needs", '[');
    for (uint32_t i = 0; i < n; i++) {
        const struct step *s = &steps[i];
        if (s->known)
            continue;
        if (s->offer)
            snprintf(why, sizeof why, "%s was chosen by its words alone: check its parameters", s->offer->action);
        else
            snprintf(why, sizeof why, "no action is known for \"%s\": put one in the place of \"perform\"",
                     s->asks->lex->phrase);
        write_open(NULL, '{');
        write_text("step", s->id);
        write_text("why", why);
        write_close('}');
    }
    write_close(']');
}

void report_task(struct slice offered)
{
    struct span data = numbers_of_text();
    read_offers(offered);
    uint32_t n = make_steps(data), known_steps = 0;
    for (uint32_t i = 0; i < n; i++)
        known_steps += steps[i].known != NULL;
    write_open(NULL, '{');
    if (n > 0) {
        write_open("task", '{');
        write_number("task", 1, 0);
        write_text("name", "decomposed by agent_skill");
        if (data.to > data.from) {
            write_open("input", '{');
            write_numbers("data", data);
            write_close('}');
        }
        write_open("steps", '[');
        for (uint32_t i = 0; i < n; i++)
            write_step(&steps[i], i);
        write_close(']');
        write_close('}');
    } else {
        write_text("task", NULL);
    }
    write_bool("runs", n > 0 && known_steps == n);
    write_needs(n);
    write_bool("complete", analysis.requirements.all == n && analysis.english);
    write_close('}');
}
