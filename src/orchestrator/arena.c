#include "orchestrator/arena.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_LEAST 2048
#define BLOCK_MOST (256 * 1024)

struct arena_block {
    struct arena_block *next;
    size_t size;
    max_align_t bytes[];
};

static bool add_block(struct arena *a, size_t least)
{
    size_t size = a->blocks ? a->blocks->size * 2 : BLOCK_LEAST;
    if (size > BLOCK_MOST)
        size = BLOCK_MOST;
    if (size < least)
        size = least;
    struct arena_block *b = malloc(sizeof *b + size);
    if (!b)
        return false;
    b->next = a->blocks;
    b->size = size;
    a->blocks = b;
    a->at = (uint8_t *)b->bytes;
    a->end = a->at + size;
    return true;
}

void *arena_get(struct arena *a, size_t count, size_t size)
{
    size_t align = sizeof(max_align_t) - 1;
    size_t bytes = count && size > (SIZE_MAX / 2) / count ? SIZE_MAX : (count * size + align) & ~align;
    if (a->failed || bytes == SIZE_MAX || (bytes > (size_t)(a->end - a->at) && !add_block(a, bytes))) {
        a->failed = true;
        return NULL;
    }
    void *got = a->at;
    a->at += bytes;
    return memset(got, 0, bytes);
}

void arena_free(struct arena *a)
{
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct arena){0};
}
