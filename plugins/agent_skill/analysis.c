#include "analysis.h"

#include <string.h>

#include "when.h"

const char *const entity_names[ENTITIES] = {"url",    "email",    "file",       "date",    "time",   "percent",
                                            "money",  "version",  "reference",  "mention", "quoted", "code",
                                            "number", "quantity", "technology", "format",  "name"};
const char *const timing_names[TIMINGS] = {"deadline", "scheduled", "recurring", "urgency"};

struct analysis analysis;

static void found(struct findings *list, struct finding f)
{
    if (list->n < LISTED_MAX)
        list->at[list->n++] = f;
    list->all++;
}

/* ---- what speaks for a kind ---- */

static double loudness[KINDS];

static void speak(enum kind kind, double weight, uint32_t from, uint32_t to)
{
    if (kind >= KINDS)
        return;
    loudness[kind] += weight;
    found(&analysis.evidence[kind], (struct finding){.span = {from, to}});
}

/* The topics of a clause, each word once; the kind that they speak for most loudly, beginning with `verb`. */
static enum kind topics(struct span s, enum kind verb, double verb_weight)
{
    double here[KINDS + 1] = {0};
    uint32_t n;
    here[verb] = verb == KIND_UNKNOWN ? 0 : verb_weight;
    for (uint32_t i = s.from; i < s.to; i += n) {
        const struct lex *l = lexicon_find(i, LEX_TOPIC, &n);
        if (!l) {
            n = 1;
            continue;
        }
        here[l->value] += l->weight;
        speak(l->value, l->weight, i, i + n);
    }
    if (verb == KIND_WRITING && here[KIND_CODE] > here[verb] - verb_weight)
        here[verb] = 0; /* a script is written, too */
    enum kind best = verb;
    for (unsigned k = 0; k < KINDS; k++)
        if (here[k] > here[best])
            best = (enum kind)k;
    return best;
}

/* ---- entities ---- */

static void entity(enum entity type, uint32_t from, uint32_t to)
{
    analysis.entity_counts[type]++;
    found(&analysis.entities, (struct finding){.span = {from, to}, .type = (uint8_t)type});
}

/* By the form of the token alone. */
static int entity_of_form(uint32_t i)
{
    static const int types[] = {
        [TOKEN_URL] = ENTITY_URL,         [TOKEN_EMAIL] = ENTITY_EMAIL,     [TOKEN_FILE] = ENTITY_FILE,
        [TOKEN_TIME] = ENTITY_TIME,       [TOKEN_PERCENT] = ENTITY_PERCENT, [TOKEN_MONEY] = ENTITY_MONEY,
        [TOKEN_VERSION] = ENTITY_VERSION, [TOKEN_MENTION] = ENTITY_MENTION, [TOKEN_REFERENCE] = ENTITY_REFERENCE,
        [TOKEN_QUOTED] = ENTITY_QUOTED,   [TOKEN_CODE] = ENTITY_CODE};
    unsigned kind = text.tokens[i].kind;
    return kind >= TOKEN_URL && kind != TOKEN_DATE ? types[kind] : -1;
}

static uint32_t number_entity(uint32_t i)
{
    static const char *const currencies[] = {"euro", "euros", "dollars", "dollar", "usd", "eur", "gbp", "pounds", NULL};
    double value;
    uint32_t n;
    if (!text_number(i, &value))
        return 0;
    if (text_is_one_of(i + 1, currencies)) {
        entity(ENTITY_MONEY, i, i + 2);
        return 2;
    }
    for (uint32_t gap = 1; gap <= 2; gap++)
        if (lexicon_find(i + gap, LEX_UNIT, &n) && (gap == 1 || text.tokens[i + 1].kind == TOKEN_WORD)) {
            entity(ENTITY_QUANTITY, i, i + gap + n);
            if (value > analysis.largest_quantity)
                analysis.largest_quantity = value;
            return gap + n;
        }
    entity(ENTITY_NUMBER, i, i + 1);
    return 1;
}

static bool starts_sentence(uint32_t i)
{
    static const char *const ends[] = {".", "!", "?", ":", NULL};
    return i == 0 || text.tokens[i - 1].kind == TOKEN_BREAK || text_is_one_of(i - 1, ends);
}

static bool plain_word(uint32_t i)
{
    uint32_t n;
    return lexicon_base(i, LEX_ENGLISH, &n) || lexicon_base(i, LEX_WHEN, &n) || lexicon_find(i, LEX_TOPIC, &n) ||
           text.tokens[i].len < 2;
}

/* Words with a capital that does not come from their place: "Acme Corp". */
static uint32_t name_entity(uint32_t i)
{
    uint32_t n = 0;
    if (starts_sentence(i) && (!text_capital(i + 1) || lexicon_base(i, LEX_VERB, &n)))
        return 0;
    for (n = 0; n < 5 && text_capital(i + n) && !plain_word(i + n);)
        n++;
    if (n == 0)
        return 0;
    entity(ENTITY_NAME, i, i + n);
    return n;
}

static uint32_t entity_at(uint32_t i, int32_t today)
{
    uint32_t n;
    int32_t day;
    int form = entity_of_form(i);
    if (form >= 0 && form != ENTITY_TIME) {
        entity((enum entity)form, i, i + 1);
        return 1;
    }
    if ((n = when_expression(i, today, &day))) {
        entity(text.tokens[i].kind == TOKEN_TIME && n == 1 ? ENTITY_TIME : ENTITY_DATE, i, i + n);
        return n;
    }
    if ((n = number_entity(i)))
        return n;
    if (lexicon_base(i, LEX_TECHNOLOGY, &n)) {
        entity(ENTITY_TECHNOLOGY, i, i + n);
        return n;
    }
    if (lexicon_base(i, LEX_FORMAT, &n)) {
        entity(ENTITY_FORMAT, i, i + n);
        return n;
    }
    return text_capital(i) ? name_entity(i) : 0;
}

static void find_entities(int32_t today)
{
    for (uint32_t i = 0, n; i < text.n; i += n)
        if (!(n = entity_at(i, today)))
            n = 1;
}

/* ---- timings ---- */

static void find_timings(int32_t today)
{
    struct finding f;
    for (uint32_t i = 0, n; i < text.n; i += n) {
        if (!(n = when_at(i, today, &f))) {
            n = 1;
            continue;
        }
        f.span = (struct span){i, i + n};
        found(&analysis.timings, f);
    }
}

/* ---- clauses ---- */

static const char *const sentence_ends[] = {".", "!", "?", ";", ":", NULL};
static const char *const after[] = {"then", "afterwards", "finally", "next", "lastly", NULL};

static bool abbreviation(uint32_t i)
{
    static const char *const words[] = {"e.g", "i.e", "etc", "vs", "mr", "mrs", "dr", "no", "approx", NULL};
    return i > 0 && text_is(i, ".") && text_is_one_of(i - 1, words) && i + 1 < text.n && !text_capital(i + 1) &&
           text.tokens[i + 1].kind == TOKEN_WORD;
}

static bool not_a_verb_after(uint32_t i)
{
    static const char *const words[] = {"the", "a",    "an",  "our",  "my",   "your",  "this",  "that",
                                        "of",  "in",   "for", "with", "each", "its",   "their", "any",
                                        "all", "no",   "on",  "at",   "from", "every", "these", "as",
                                        "by",  "into", "per", "is",   "are",  "was",   NULL};
    return text_is_one_of(i, words);
}

static bool verb_may_follow(uint32_t i)
{
    static const char *const words[] = {"to",    "please",     "and",           "or",      "then",    "should",
                                        "must",  "can",        "could",         "will",    "would",   "you",
                                        "we",    "i",          "also",          "let's",   ",",       "just",
                                        "need",  "they",       "automatically", "quickly", "finally", "me",
                                        "first", "afterwards", "next",          "us",      "it",      NULL};
    return text_is_one_of(i, words) || text.tokens[i].kind == TOKEN_BREAK || text.tokens[i].kind == TOKEN_MARK;
}

/* "it must answer" tells how something has to be; "you must answer" asks for it. */
static bool said_of_something(uint32_t i, uint32_t from)
{
    static const char *const modal[] = {"must", "should", "will", "can", "could", "would", "need", "have", "to", NULL};
    static const char *const who[] = {"you", "we", "i", "please", "and", "then", "also", ",", "agent", NULL};
    uint32_t at = i;
    while (at > from && text_is_one_of(at - 1, modal))
        at--;
    return at < i && at > from && !text_is(i - 1, "to") && !text_is_one_of(at - 1, who);
}

/* A verb in the form that asks for something to be done, with something behind it. */
static const struct lex *asks(uint32_t i, uint32_t from, uint32_t *n)
{
    static const char *const not_behind[] = {"of", "is", "are", "was", "not", "sure", NULL};
    const struct lex *l = lexicon_base(i, LEX_VERB, n);
    if (!l || (i > from && (not_a_verb_after(i - 1) || !verb_may_follow(i - 1) || said_of_something(i, from))))
        return NULL;
    return text_is_one_of(i + *n, not_behind) ? NULL : l;
}

/* "…, sort them and send the list": a verb behind "and" or a comma begins another clause. */
static bool another_begins(uint32_t i)
{
    static const char *const links[] = {"and",  "then",       "also",   "finally", "please", "to",
                                        "next", "afterwards", "lastly", "but",     NULL};
    uint32_t n, at = i;
    if (!text_is(i, ",") && !text_is(i, "and") && !text_is(i, "then") && !text_is(i, "but"))
        return false;
    for (at = i + 1; at < i + 4 && text_is_one_of(at, links);)
        at++;
    const struct lex *l = asks(at, at, &n);
    /* "sort and count" shares what follows; a word that is a thing as often as a deed needs more than a comma. */
    return l && (!text_is(i, ",") || at > i + 1 || !lexicon_base(at, LEX_TOPIC, &n)) && !text_is(at + 1, ",");
}

static bool ends_clause(uint32_t i)
{
    if (text.tokens[i].kind == TOKEN_BREAK)
        return true;
    return (text_is_one_of(i, sentence_ends) && text.tokens[i].kind == TOKEN_MARK && !abbreviation(i)) ||
           another_begins(i);
}

static uint32_t skip_opening(uint32_t i, uint32_t to)
{
    static const char *const words[] = {
        "please", "can",    "could", "would",  "you",   "we",     "i",          "want", "need",    "like",
        "to",     "then",   "also",  "first",  "next",  "and",    "but",        "so",   "finally", "just",
        "now",    "kindly", "let's", "second", "third", "lastly", "afterwards", "our",  "goal",    "is",
        "task",   "your",   "hi",    "hello",  "hey",   "team",   ",",          "-",    "should",  "must",
        "help",   "me",     "us",    "will",   "after", "that",   "the",        "todo", "*",       NULL};
    while (i < to && (text_is_one_of(i, words) || text.tokens[i].kind == TOKEN_BREAK))
        i++;
    return i;
}

static bool negated(uint32_t from, uint32_t at)
{
    uint32_t n;
    for (uint32_t i = from; i < at; i++) {
        const struct lex *l = lexicon_base(i, LEX_CONSTRAINT, &n);
        if ((l && l->value == CONSTRAINT_MUST_NOT) || text_is(i, "not"))
            return true;
    }
    return false;
}

/* The verb of a clause: the first that says what kind of work it is, else the first. */
static const struct lex *verb_of(struct span s, uint32_t *at)
{
    const struct lex *general = NULL;
    uint32_t from = skip_opening(s.from, s.to), n;
    for (uint32_t i = from; i < s.to; i++) {
        const struct lex *l = asks(i, from, &n);
        if (!l || i + n > s.to)
            continue;
        if (l->value != KIND_UNKNOWN || !general) {
            *at = i;
            if (l->value != KIND_UNKNOWN)
                return l;
            general = l;
        }
    }
    return general;
}

/* Does it speak of what came before? */
static bool refers_back(struct span s)
{
    static const char *const words[] = {"it",      "them", "this", "these", "those", "result",
                                        "results", "that", "its",  "their", NULL};
    for (uint32_t i = s.from; i < s.to; i++)
        if (text_is_one_of(i, words) || (i < s.from + 3 && text_is_one_of(i, after)))
            return true;
    return false;
}

static void requirement(struct span s, const struct lex *verb, uint32_t at)
{
    enum kind kind = topics(s, verb->value, 3);
    bool code = verb->value == KIND_WRITING && kind == KIND_CODE;
    speak(code ? kind : (enum kind)verb->value, 3, at, at + 1);
    bool follows = analysis.requirements.all > 0 && refers_back(s);
    analysis.effort += verb->weight;
    found(&analysis.requirements, (struct finding){.span = {skip_opening(s.from, at), s.to},
                                                   .type = (uint8_t)kind,
                                                   .weight = verb->weight,
                                                   .follows = follows,
                                                   .verb = at,
                                                   .lex = verb});
}

static void clause(struct span s)
{
    uint32_t at = 0;
    const struct lex *verb = verb_of(s, &at);
    if (!verb || negated(s.from, at))
        topics(s, KIND_UNKNOWN, 0);
    else
        requirement(s, verb, at);
}

/* A title without a verb, "Weekly sales report as PDF", still asks for something. */
static void whole_is_one(void)
{
    static const struct lex provide = {"provide", LEX_VERB, KIND_UNKNOWN, 1};
    uint32_t end = 0;
    while (end < text.n && !ends_clause(end))
        end++;
    struct span s = {skip_opening(0, end), end};
    enum kind kind = KIND_UNKNOWN;
    for (unsigned k = 0; k < KINDS; k++)
        if (loudness[k] > (kind == KIND_UNKNOWN ? 1.5 : loudness[kind]))
            kind = (enum kind)k;
    if ((kind == KIND_UNKNOWN && !analysis.entity_counts[ENTITY_FORMAT]) || s.from >= s.to)
        return;
    analysis.effort += provide.weight;
    found(&analysis.requirements,
          (struct finding){.span = s, .type = (uint8_t)kind, .weight = 1, .verb = s.from, .lex = &provide});
}

static void find_requirements(void)
{
    uint32_t from = 0;
    for (uint32_t i = 0; i <= text.n; i++)
        if (i == text.n || ends_clause(i)) {
            if (i > from)
                clause((struct span){from, i});
            from = i + (i < text.n && !another_begins(i));
        }
    if (analysis.requirements.all == 0)
        whole_is_one();
}

/* ---- constraints, risks, what is left open ---- */

static uint32_t clause_end(uint32_t i)
{
    uint32_t n = i;
    while (n < text.n && n < i + 40 && !ends_clause(n))
        n++;
    return n;
}

static uint32_t format_at(uint32_t i)
{
    static const char *const links[] = {"as", "in", "to", "into", NULL};
    static const char *const fillers[] = {"a", "an", "valid", "one", "single", NULL};
    uint32_t n;
    if (!text_is_one_of(i, links))
        return 0;
    uint32_t at = i + 1 + text_is_one_of(i + 1, fillers);
    return lexicon_base(at, LEX_FORMAT, &n) ? at + n - i : 0;
}

static void constraint(enum constraint type, uint32_t from, uint32_t to)
{
    analysis.constraint_count++;
    found(&analysis.constraints, (struct finding){.span = {from, to}, .type = (uint8_t)type});
}

/* A limit needs something that it limits: "under 200 words", not "under the table". */
static bool has_amount(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to && i < from + 6; i++)
        if (text.tokens[i].kind == TOKEN_NUMBER || text.tokens[i].kind == TOKEN_MONEY ||
            text.tokens[i].kind == TOKEN_PERCENT || text.tokens[i].kind == TOKEN_TIME || text_is(i, "one") ||
            text_is(i, "two") || text_is(i, "budget"))
            return true;
    return false;
}

static void find_constraints(void)
{
    for (uint32_t i = 0, n; i < text.n; i += n) {
        uint32_t form = format_at(i), unused;
        struct finding when;
        n = 1;
        if (form) {
            constraint(CONSTRAINT_FORMAT, i, i + form);
            n = form;
            continue;
        }
        const struct lex *l = lexicon_base(i, LEX_CONSTRAINT, &n);
        if (!l) {
            n = 1;
            continue;
        }
        uint32_t end = clause_end(i + n);
        if (l->value == CONSTRAINT_LIMIT && (!has_amount(i, end) || when_at(i, NO_DAY, &when)))
            continue;
        if (l->value == CONSTRAINT_ONLY && lexicon_base(i + n, LEX_VERB, &unused) && text_is(i, "just"))
            continue;
        constraint((enum constraint)l->value, i, end); /* another may begin inside it */
    }
}

static bool is_verb(uint32_t i)
{
    for (uint32_t k = 0; k < analysis.requirements.n; k++)
        if (analysis.requirements.at[k].verb == i)
            return true;
    return false;
}

/* A deed that the text itself forbids: "do not delete anything". What is merely there, such as a password, stays. */
static bool ruled_out(uint32_t i, enum risk type)
{
    uint32_t from = i;
    if (type == RISK_PRODUCTION || type == RISK_CREDENTIALS || type == RISK_PERSONAL_DATA || type == RISK_LEGAL)
        return false;
    while (from > 0 && from + 12 > i && !ends_clause(from - 1))
        from--;
    return negated(from, i);
}

static void risk(enum risk type, unsigned weight, uint32_t from, uint32_t to)
{
    if (weight > analysis.severity[type])
        analysis.severity[type] = (uint8_t)weight;
    found(&analysis.risks, (struct finding){.span = {from, to}, .type = (uint8_t)type, .weight = (uint8_t)weight});
}

static bool tells_others(uint32_t i)
{
    uint32_t n;
    const struct lex *l = is_verb(i) ? lexicon_base(i, LEX_VERB, &n) : NULL;
    return l && l->value == KIND_COMMUNICATION;
}

static void find_risks(void)
{
    for (uint32_t i = 0, n; i < text.n; i += n) {
        const struct lex *l = lexicon_find(i, LEX_RISK, &n);
        if (l && !ruled_out(i, (enum risk)l->value) && (l->weight > 1 || is_verb(i)))
            risk((enum risk)l->value, l->weight, i, i + n);
        else if (tells_others(i))
            risk(RISK_OUTREACH, 1, i, i + 1);
        n = l ? n : 1;
    }
}

static void open_point(enum vague type, uint32_t from, uint32_t to)
{
    found(&analysis.ambiguities, (struct finding){.span = {from, to}, .type = (uint8_t)type});
}

/* What "the file" could be was said somewhere. */
static bool source_is_named(void)
{
    const uint32_t *c = analysis.entity_counts;
    return c[ENTITY_URL] || c[ENTITY_FILE] || c[ENTITY_QUOTED] || c[ENTITY_CODE] || c[ENTITY_REFERENCE] ||
           c[ENTITY_NUMBER] > 2;
}

static bool date_of_two_meanings(uint32_t i)
{
    int32_t day;
    return text.tokens[i].kind == TOKEN_DATE && memchr(text.bytes + text.tokens[i].at, '/', text.tokens[i].len) &&
           when_expression(i, NO_DAY, &day) && day == NO_DAY;
}

/* "Fix it": said first, of nothing. */
static bool of_nothing(uint32_t i)
{
    static const char *const words[] = {"it", "this", "that", "these", "those", "them", NULL};
    static const char *const ends[] = {".", ",", "!", "?", "and", "for", "by", "to", "again", "asap", "now", NULL};
    return analysis.requirements.n && i == analysis.requirements.at[0].verb + 1 && text_is_one_of(i, words) &&
           (i + 1 == text.n || text_is_one_of(i + 1, ends));
}

static void find_open_points(void)
{
    bool named = source_is_named();
    for (uint32_t i = 0, n; i < text.n; i += n) {
        const struct lex *l = lexicon_base(i, LEX_VAGUE, &n), *thing;
        if (l && !is_verb(i)) {
            analysis.vague_words++;
            open_point((enum vague)l->value, i, i + n);
            continue;
        }
        if (!named && (thing = lexicon_base(i, LEX_THING, &n)) && thing->value == THING_SOURCE) {
            open_point(VAGUE_REFERENCE, i, i + n);
            continue;
        }
        n = 1;
        if (of_nothing(i))
            open_point(VAGUE_REFERENCE, i, i + 1);
        else if (date_of_two_meanings(i))
            open_point(VAGUE_DATE, i, i + 1);
        else if (text_is(i, "and") && text_is(i + 1, "/") && text_is(i + 2, "or"))
            open_point(VAGUE_CHOICE, i, i + 3);
    }
}

/* ---- the whole ---- */

/* English where enough of its small words are; a text of a few words is taken for it when it is ASCII. */
static bool is_english(void)
{
    uint32_t words = 0, known = 0, foreign = 0, n;
    for (uint32_t i = 0; i < text.n; i++) {
        if (text.tokens[i].kind != TOKEN_WORD)
            continue;
        words++;
        known += lexicon_base(i, LEX_ENGLISH, &n) != NULL || lexicon_base(i, LEX_VERB, &n) != NULL;
        foreign += (unsigned char)text.bytes[text.tokens[i].at] >= 0x80;
    }
    return words && foreign * 3 < words && (known * 100 >= words * 12 || words < 6);
}

static void choose_kind(void)
{
    double sum = 0, best = 0;
    for (unsigned k = 0; k < KINDS; k++)
        sum += loudness[k];
    /* Of two that are equal the one that the text begins with. */
    if (analysis.requirements.n && analysis.requirements.at[0].type < KINDS)
        loudness[analysis.requirements.at[0].type] += 0.001;
    for (unsigned k = 0; k < KINDS; k++) {
        analysis.shares[k] = sum > 0 ? loudness[k] / sum : 0;
        if (loudness[k] > best && loudness[k] >= 2) {
            best = loudness[k];
            analysis.kind = (enum kind)k;
        }
    }
}

void analyze_text(size_t len, int32_t today)
{
    memset(&analysis, 0, sizeof analysis);
    memset(loudness, 0, sizeof loudness);
    analysis.kind = KIND_UNKNOWN;
    text_cut(len);
    lexicon_read();
    for (uint32_t i = 0, n; i < text.n; i++)
        analysis.technologies += lexicon_base(i, LEX_TECHNOLOGY, &n) != NULL;
    find_entities(today);
    if (!(analysis.english = is_english()))
        return;
    find_requirements();
    find_timings(today);
    find_constraints();
    find_risks();
    find_open_points();
    choose_kind();
}
