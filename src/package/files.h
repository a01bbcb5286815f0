/* package/files: FILES, the list of every entry and its SHA-256 in the form of sha256sum.  Owns its entries. */
#ifndef PACKAGE_FILES_H
#define PACKAGE_FILES_H

#include "base/buf.h"
#include "package/package.h"

struct files_entry {
    char path[PACKAGE_PATH_MAX + 1];
    uint8_t sha256[32];
    bool asset; /* set when the manifest was read: data, not code */
};
struct files {
    struct files_entry *list; /* ascending by path, bytewise */
    size_t count;
};

/* Exactly "<64 lower-case hex>  <clean path>\n" a line, ascending, nothing else; MOAT_E_NOT_A_PACKAGE with the line. */
int files_parse(const uint8_t *text, size_t len, struct files *out, struct error *err);
bool files_format(const struct files *files, struct buf *out);
void files_sort(struct files *files);
long files_find(const struct files *files, const char *path); /* its index, or -1 */
void files_free(struct files *files);

#endif
