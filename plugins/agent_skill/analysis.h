/* analysis: what a task's text says, as far as words tell.  Each finding points at the tokens that it was read from. */
#ifndef AGENT_SKILL_ANALYSIS_H
#define AGENT_SKILL_ANALYSIS_H

#include "lexicon.h"
#include "text.h"

#define LISTED_MAX 100 /* of each sort; the rest is counted */

enum entity {
    ENTITY_URL,
    ENTITY_EMAIL,
    ENTITY_FILE,
    ENTITY_DATE,
    ENTITY_TIME,
    ENTITY_PERCENT,
    ENTITY_MONEY,
    ENTITY_VERSION,
    ENTITY_REFERENCE,
    ENTITY_MENTION,
    ENTITY_QUOTED,
    ENTITY_CODE,
    ENTITY_NUMBER,
    ENTITY_QUANTITY,
    ENTITY_TECHNOLOGY,
    ENTITY_FORMAT,
    ENTITY_NAME,
    ENTITIES
};
extern const char *const entity_names[ENTITIES];

enum timing { TIMING_DEADLINE, TIMING_SCHEDULED, TIMING_RECURRING, TIMING_URGENCY, TIMINGS };
extern const char *const timing_names[TIMINGS];

struct finding {
    struct span span;
    uint8_t type, weight;  /* a requirement: its kind, its effort */
    bool follows;          /* a requirement: it works on what the one before it leaves */
    int32_t day;           /* a timing: days since 1970-01-01, NO_DAY when the text does not tell */
    const struct lex *lex; /* what it was known by; may be NULL */
    uint32_t verb;         /* a requirement: the token of its verb */
};
#define NO_DAY INT32_MIN

struct findings {
    struct finding at[LISTED_MAX];
    uint32_t n, all; /* listed, found */
};

extern struct analysis {
    bool english;
    enum kind kind;
    double shares[KINDS]; /* of what speaks for a kind; their sum is 1, or 0 */
    struct findings evidence[KINDS];
    struct findings requirements, entities, constraints, timings, risks, ambiguities;
    uint32_t entity_counts[ENTITIES], vague_words;
    uint32_t effort, constraint_count, technologies; /* sums over all, listed or not */
    uint8_t severity[RISKS];                         /* the highest of each */
    double largest_quantity;
} analysis;

/* Reads text.bytes[0..len).  today: days since 1970-01-01, NO_DAY when unknown. */
void analyze_text(size_t len, int32_t today);

/* "2026-11-30" to days; NO_DAY when it is none. */
int32_t day_of(const char *iso);
#define DAY_ROOM 48
void day_write(int32_t day, char out[DAY_ROOM]);

#endif
