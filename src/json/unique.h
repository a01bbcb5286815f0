/* json/unique: is a member's name repeated in its object?  Names are compared after their escapes are resolved.
 * Private to src/json; allocates nothing: a short list holds the names of the small objects that are open, an object
 * with more members is looked at again, in as many passes as its names need. */
#ifndef JSON_UNIQUE_H
#define JSON_UNIQUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json/walk.h"

#define UNIQUE_LIST 512 /* names of all open objects */
#define UNIQUE_FEW 24   /* names of one object that are compared one by one */

/* One for a whole check. */
struct unique {
    const uint8_t *text;     /* at most 4 GiB */
    int64_t *steps;          /* what is left of the budget; below 0: over it */
    const uint8_t *repeated; /* the value of the member whose name stood before */
    unsigned used;
    struct unique_name {
        uint32_t hash, offset; /* offset of the raw name */
    } list[UNIQUE_LIST];
};

/* One for an object that is open; begin and end nest. */
struct unique_object {
    unsigned first;
    bool many;
};

void unique_init(struct unique *u, const uint8_t *text, int64_t *steps);
struct unique_object unique_begin(struct unique *u);

/* false when the name stood before: u->repeated is set to its value. */
bool unique_add(struct unique *u, struct unique_object *o, const struct walk_member *m);

/* object: its opening brace; it is now known to be valid.  false: repeated, or the budget is spent. */
bool unique_end(struct unique *u, struct unique_object *o, const uint8_t *object);

/* Every object in the valid value at p.  false as above. */
bool unique_value(struct unique *u, const uint8_t *p);

/* A hash of a name without escapes; 8 bytes behind it can be read. */
uint32_t unique_hash(const uint8_t *name, size_t len);

#endif
