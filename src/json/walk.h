/* json/walk: moving about in a text that is known to be JSON: over values, members and items, through escapes, and
 * back from a byte to its JSON Pointer.  Private to src/json; checks nothing and allocates nothing.
 *
 * Positions are pointers into one text with a 0 behind it (scan.h). */
#ifndef JSON_WALK_H
#define JSON_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json/scan.h"

/* The position behind the value at p. */
const uint8_t *walk_value(const uint8_t *p);

/* p stands behind an opening quote; the position of the closing one.  *escaped is set when there is an escape. */
const uint8_t *walk_string(const uint8_t *p, bool *escaped);

/* The next of " [ ] { } from p on. */
const uint8_t *walk_bracket(const uint8_t *p);

struct walk_member {
    const uint8_t *name, *name_end; /* raw, between the quotes */
    const uint8_t *value;
    bool escaped; /* the name has an escape */
};

/* for (p = object + 1; walk_member(p, &m); p = walk_value(m.value)) */
bool walk_member(const uint8_t *p, struct walk_member *m);

/* for (p = array + 1; (item = walk_item(p)); p = walk_value(item)) */
const uint8_t *walk_item(const uint8_t *p);

/* The characters of a string as UTF-8, escapes resolved.  A lone surrogate comes as the three bytes that UTF-8 would
 * have for it; no valid text contains these raw, so that it equals nothing but itself. */
struct walk_chars {
    const uint8_t *p;
    uint8_t bytes[4];
    unsigned next, count;
};

SCAN_INLINE struct walk_chars walk_chars(const uint8_t *behind_quote)
{
    return (struct walk_chars){.p = behind_quote};
}

/* The next byte, or -1 at the closing quote. */
int walk_char(struct walk_chars *c);

/* Both raw, behind their opening quotes. */
bool walk_same_string(const uint8_t *a, const uint8_t *b);

/* Code points of the string whose raw text is [p, end); a lone surrogate counts as one. */
uint64_t walk_code_points(const uint8_t *p, const uint8_t *end);

/* A text of limited size: cut with "…" at a boundary between two puts. */
struct walk_out {
    char *text;
    size_t size, len;
    bool cut;
};
void walk_put(struct walk_out *o, const void *bytes, size_t len);
void walk_puts(struct walk_out *o, const char *text);
/* Raw text of a string or another value, at most `most` bytes of it, whole characters; DEL becomes '?'. */
void walk_put_raw(struct walk_out *o, const uint8_t *p, const uint8_t *end, size_t most);

/* Which value is it?  The last step of its way from the top. */
struct walk_place {
    bool top, item;
    const uint8_t *name, *name_end; /* of a member */
    uint64_t index;                 /* of an item */
};

/* The JSON Pointer of the value that starts at target.  Control characters in it are written as \u00xx. */
void walk_pointer(const uint8_t *text, const uint8_t *target, char *pointer, size_t size, struct walk_place *place);

#endif
