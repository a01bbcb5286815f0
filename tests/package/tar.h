/* Tar archives with any mistake one likes, packed with zstd. */
#ifndef TESTS_PACKAGE_TAR_H
#define TESTS_PACKAGE_TAR_H

#include "base/buf.h"

struct tar_entry {
    const char *path, *link;
    char type; /* '0' */
    unsigned mode;
    const void *data;
    size_t len;
    size_t claimed; /* size in the header, when not len */
};

void tar_put(struct buf *tar, const struct tar_entry *entry);
void tar_end(struct buf *tar);
void zstd_pack(const struct buf *plain, struct buf *out);
/* The entry, then so many zeros, without ever holding them. */
void zstd_bomb(const struct tar_entry *entry, uint64_t zeros, struct buf *out);

#endif
