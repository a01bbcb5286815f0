/* wire/assets_format: the head of the file of assets. */
#ifndef WIRE_ASSETS_FORMAT_H
#define WIRE_ASSETS_FORMAT_H

#include <stdint.h>

#include "wire/assets.h"

#define ASSETS_MAGIC 0x31307465737361ull
/* What a package may unpack to, and what alignment and entries add. */
#define ASSETS_FILE_MAX ((1ull << 30) + (ASSETS_MAX + 2) * 2ull * ASSETS_PAGE)

struct assets_head {
    uint64_t magic, count, entries; /* entries: offset of the first */
};

_Static_assert(sizeof(struct assets_head) <= ASSETS_PAGE, "the head has a page");
_Static_assert(sizeof(struct assets_entry) == 224, "no padding");
_Static_assert(ASSETS_MAX * sizeof(struct assets_entry) <= ASSETS_MAX * ASSETS_PAGE, "entries fit their share");

#endif
