/* registry/archive: what the two sides of a backup agree on (docs/backup.md): its names, its manifest, how bytes are
 * copied.  Private to src/registry. */
#ifndef REGISTRY_ARCHIVE_H
#define REGISTRY_ARCHIVE_H

#include "base/error.h"
#include "registry/tar.h"

#define ARCHIVE_MANIFEST "MANIFEST"
#define ARCHIVE_DATABASE "registry.db"
#define ARCHIVE_PACKAGES "packages/"
#define ARCHIVE_SEGMENTS "audit/"
#define ARCHIVE_FIRST_LINE "# moat-backup 1\n"
#define ARCHIVE_MANIFEST_MAX (256u << 20)
#define ARCHIVE_CHUNK (256 * 1024)

/* "HEX  NAME" of a manifest, as sha256sum writes it. */
struct archive_line {
    uint8_t sha256[32];
    char name[TAR_NAME_MAX + 1];
};
/* The next one that is no comment: 1, 0 at the end, -1: neither a line nor a name that a backup has. A package's name
 * is its hash; nothing leads out of its directory. */
int archive_next_line(const char **at, struct archive_line *out);
bool archive_is_segment(const char *name); /* FIRST-LAST.jsonl */

/* Reads at most `most` bytes of from, writes them to `to` (-1: nowhere), tells their hash and number; chunk has
 * ARCHIVE_CHUNK bytes. path is for errors. */
int archive_copy(int from, int to, uint64_t most, char *chunk, uint8_t sha256[32], uint64_t *size, const char *path,
                 struct error *err);

#endif
