/* lexicon: what words and phrases mean to this plugin.  Data, and a look-up; constant once it is sorted. */
#ifndef AGENT_SKILL_LEXICON_H
#define AGENT_SKILL_LEXICON_H

#include <stdbool.h>
#include <stdint.h>

enum kind {
    KIND_DATA,
    KIND_CODE,
    KIND_WRITING,
    KIND_RESEARCH,
    KIND_OPERATIONS,
    KIND_INTEGRATION,
    KIND_COMMUNICATION,
    KIND_VISUALIZATION,
    KIND_MONITORING,
    KIND_SECURITY,
    KIND_MODEL,
    KIND_PLANNING,
    KINDS,
    KIND_UNKNOWN = KINDS
};

extern const char *const kind_names[KINDS + 1];        /* "unknown" is the last */
extern const char *const kind_capabilities[KINDS + 1]; /* who does such work; NULL for unknown */

enum lex_class {
    LEX_VERB,       /* what is to be done: value is its kind, weight its effort from 1 to 5 */
    LEX_TOPIC,      /* speaks for a kind: value is it, weight how loudly */
    LEX_RISK,       /* value is an enum risk, weight its severity from 1 to 3 */
    LEX_VAGUE,      /* value is an enum vague */
    LEX_CONSTRAINT, /* opens one; value is an enum constraint */
    LEX_WHEN,       /* value is an enum when */
    LEX_TECHNOLOGY, /* a product, a language, a service */
    LEX_FORMAT,     /* what a result can be written as */
    LEX_UNIT,       /* what a number may count; value 1: a time */
    LEX_THING,      /* something that a text should name: value is an enum thing */
    LEX_ENGLISH,    /* a word that tells that the text is English */
};

enum risk {
    RISK_DESTRUCTIVE,
    RISK_PRODUCTION,
    RISK_CREDENTIALS,
    RISK_PERSONAL_DATA,
    RISK_MONEY,
    RISK_OUTREACH,
    RISK_LEGAL,
    RISK_AVAILABILITY,
    RISK_PRIVILEGE,
    RISK_THIRD_PARTY,
    RISKS
};
extern const char *const risk_names[RISKS], *const risk_reasons[RISKS];

enum vague {
    VAGUE_QUANTITY,
    VAGUE_QUALITY,
    VAGUE_TIME,
    VAGUE_SCOPE,
    VAGUE_REFERENCE,
    VAGUE_DATE,
    VAGUE_CHOICE,
    VAGUES
};
extern const char *const vague_names[VAGUES];

enum constraint {
    CONSTRAINT_MUST,
    CONSTRAINT_MUST_NOT,
    CONSTRAINT_LIMIT,
    CONSTRAINT_ONLY,
    CONSTRAINT_FORMAT,
    CONSTRAINTS
};
extern const char *const constraint_names[CONSTRAINTS];

enum when { WHEN_BY, WHEN_DAY, WHEN_WEEKDAY, WHEN_MONTH, WHEN_END_OF, WHEN_URGENT, WHEN_RECURRING };
enum thing { THING_SOURCE, THING_RECIPIENT };

struct lex {
    const char *phrase; /* small letters, one to LEX_WORDS words */
    uint8_t class, value, weight;
};
#define LEX_WORDS 4

void lexicon_sort(void);
bool lexicon_sorted(void);

/* Looks up every token of the text that was cut last; before the others below. */
void lexicon_read(void);

/* The entry of this class whose phrase begins at token i and is the longest (its first word may be inflected), and how
 * many tokens it takes; NULL when there is none. */
const struct lex *lexicon_find(uint32_t i, enum lex_class class, uint32_t *tokens);

/* The same for phrases as they stand in the table, nothing inflected: "plan", not "plans". */
const struct lex *lexicon_base(uint32_t i, enum lex_class class, uint32_t *tokens);

/* The word without s, ed, ing and the like, as far as a table of English endings can tell; for comparing two words. */
void lexicon_stem(const char *word, char out[48]);

#endif
