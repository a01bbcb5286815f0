/* orchestrator/arena: memory that is given back all at once.  One thread at a time. */
#ifndef ORCHESTRATOR_ARENA_H
#define ORCHESTRATOR_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena_block;
struct arena {
    struct arena_block *blocks;
    uint8_t *at, *end;
    bool failed; /* a piece could not be had: NULL from then on */
};

/* Zeroed, aligned for any object; NULL without memory. */
void *arena_get(struct arena *a, size_t count, size_t size);
void arena_free(struct arena *a); /* safe on a zeroed one */

#endif
