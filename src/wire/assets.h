/* wire/assets: the files that a plugin brings beside its code, in one sealed memory file that all its workers map.
 * Written by the host once per package, read by every worker; the reader checks every offset all the same.
 *
 *     page 0    head
 *     page 1…   each asset's bytes from a page's start, with at least one 0 behind them
 *     the end   the entries, ascending by name
 *
 * One file for all: a worker gets one descriptor and makes one mapping however many assets there are. */
#ifndef WIRE_ASSETS_H
#define WIRE_ASSETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ASSETS_MAX 1000
#define ASSETS_NAME_MAX 200 /* bytes */
#define ASSETS_PAGE 4096

struct assets_entry {
    uint64_t offset, len;
    char name[ASSETS_NAME_MAX + 8]; /* zeros behind it */
};

/* ---- the host's half ---- */

struct assets_writer {
    int fd; /* not yet sealed */
    uint64_t end;
    struct assets_entry *list;
    size_t count, most;
};

/* 0, or -MOAT_E_OUT_OF_MEMORY. assets_abandon whatever comes. */
int assets_begin(struct assets_writer *w, size_t most, struct error *err);

/* The next asset, names ascending: exactly len bytes are to be written to w->fd now, and they will stand at the offset
 * that is returned.  Or a negative code. */
int64_t assets_add(struct assets_writer *w, const char *name, uint64_t len, struct error *err);

/* The sealed file, read-only, the caller's; or a negative code. */
int assets_finish(struct assets_writer *w, struct error *err);
void assets_abandon(struct assets_writer *w);

/* ---- the worker's half; links libc only ---- */

struct assets {
    const uint8_t *base; /* the whole file, mapped read-only and shared; NULL: there are none */
    const struct assets_entry *list;
    size_t count;
};

/* Maps the file for the process's life.  false when anything in it is not as written above. */
bool assets_map(int fd, struct assets *out);

/* NULL when there is none of that name; an empty one has an address too. */
const void *assets_find(const struct assets *a, const char *name, size_t *len);

#endif
