/* The head of an entry and the manifest of a backup: nothing is taken for one that would not be written just so, and no
 * name leads out of the directory that it is taken out to. */
#include <stdlib.h>
#include <string.h>

#include "registry/archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
    if (name[0] == '/' || strstr(name, "..") || strlen(name) > TAR_NAME_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t block[TAR_BLOCK] = {0}, same[TAR_BLOCK];
    char name[TAR_NAME_MAX + 1];
    uint64_t bytes;
    memcpy(block, data, size < TAR_BLOCK ? size : TAR_BLOCK);
    if (tar_read(block, name, &bytes) && (!tar_header(name, bytes, same) || memcmp(block, same, TAR_BLOCK) != 0))
        abort();
    char *text = calloc(1, size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    struct archive_line line;
    const char *at = text;
    while (archive_next_line(&at, &line) > 0) {
        check_name(line.name);
        if (at > text + size)
            abort();
    }
    free(text);
    return 0;
}
