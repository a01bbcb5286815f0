/* json/run: one value of a text against a compiled schema.  Private to src/json; schema.c begins it. */
#ifndef JSON_RUN_H
#define JSON_RUN_H

#include "json/program.h"
#include "json/unique.h"

struct run {
    unsigned depth;    /* containers around the value */
    unsigned branches; /* that look at it again */
    unsigned seen_used;
    int64_t steps;
    struct miss miss;
    struct unique unique;
    uint64_t seen[PROGRAM_SEEN_WORDS];
};

/* The byte behind the value that begins at p; NULL: r->miss says why, and the text behind it was not looked at. */
const uint8_t *run_text(struct run *r, const struct node *root, const uint8_t *p);

/* The same where only the kind of the outermost value matters, of a text that is known to be JSON; members: it has
 * objects, whose names must not stand twice. */
bool run_outermost(struct run *r, const struct node *root, const uint8_t *p, bool members);

#endif
