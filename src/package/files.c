#include "package/files.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "package/paths.h"

#define HASH_HEX 64
#define LINE_FIXED (HASH_HEX + 2 + 1) /* hash, two spaces, newline */

void files_free(struct files *files)
{
    free(files->list);
    *files = (struct files){0};
}

static bool is_lower_hex(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
            return false;
    return true;
}

/* One line without its newline; NULL or what is wrong. */
static const char *parse_line(const uint8_t *line, size_t len, struct files_entry *out)
{
    char hex[HASH_HEX + 1];
    if (len < HASH_HEX + 2 || !is_lower_hex(line, HASH_HEX) || line[HASH_HEX] != ' ' || line[HASH_HEX + 1] != ' ')
        return "is not 64 hexadecimal digits, two spaces and a path";
    memcpy(hex, line, HASH_HEX);
    hex[HASH_HEX] = '\0';
    if (!text_unhex(out->sha256, sizeof out->sha256, hex))
        return "has a bad hash";
    const uint8_t *path = line + HASH_HEX + 2;
    size_t path_len = len - HASH_HEX - 2;
    if (path_len > PACKAGE_PATH_MAX || memchr(path, 0, path_len))
        return "has a path that is too long or holds a zero byte";
    memcpy(out->path, path, path_len);
    out->path[path_len] = '\0';
    return path_problem(out->path);
}

static int refuse(struct error *err, size_t line, const char *why)
{
    return error_set(err, MOAT_E_NOT_A_PACKAGE, "line %zu of FILES %s", line, why);
}

static int check_clashes(const struct files *files, struct error *err)
{
    const char **paths = calloc(files->count + 1, sizeof *paths);
    if (!paths)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the list of files");
    for (size_t i = 0; i < files->count; i++)
        paths[i] = files->list[i].path;
    size_t first, second;
    const char *why = paths_clash(paths, files->count, &first, &second);
    free(paths);
    return why ? refuse(err, second + 1, why) : 0;
}

static int parse_lines(const uint8_t *text, size_t len, struct files *files, struct error *err)
{
    for (const uint8_t *p = text, *end = text + len; p < end;) {
        size_t line = files->count + 1;
        const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
        if (!newline)
            return refuse(err, line, "does not end with a newline");
        if (files->count == PACKAGE_FILES_MAX)
            return refuse(err, line, "is one entry more than a package may have (1000)");
        struct files_entry *entry = &files->list[files->count];
        const char *why = parse_line(p, (size_t)(newline - p), entry);
        if (why)
            return refuse(err, line, why);
        if (files->count && strcmp(entry[-1].path, entry->path) >= 0)
            return refuse(err, line, "is not in ascending order");
        files->count++;
        p = newline + 1;
    }
    return 0;
}

int files_parse(const uint8_t *text, size_t len, struct files *out, struct error *err)
{
    size_t most = len / LINE_FIXED + 1;
    struct files files = {.list = calloc(most < PACKAGE_FILES_MAX ? most : PACKAGE_FILES_MAX, sizeof *files.list)};
    if (!files.list)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the list of files");
    int rc = parse_lines(text, len, &files, err);
    if (rc == 0 && files.count == 0)
        rc = error_set(err, MOAT_E_NOT_A_PACKAGE, "FILES names no file");
    if (rc == 0)
        rc = check_clashes(&files, err);
    if (rc) {
        files_free(&files);
        return rc;
    }
    *out = files;
    return 0;
}

bool files_format(const struct files *files, struct buf *out)
{
    for (size_t i = 0; i < files->count; i++) {
        char hex[HASH_HEX + 1];
        text_hex(hex, files->list[i].sha256, 32);
        buf_printf(out, "%s  %s\n", hex, files->list[i].path);
    }
    return !out->failed;
}

static int by_path(const void *a, const void *b)
{
    const struct files_entry *x = a, *y = b;
    return strcmp(x->path, y->path);
}

void files_sort(struct files *files)
{
    qsort(files->list, files->count, sizeof *files->list, by_path);
}

static int path_to_entry(const void *path, const void *entry)
{
    return strcmp(path, ((const struct files_entry *)entry)->path);
}

long files_find(const struct files *files, const char *path)
{
    const struct files_entry *found = bsearch(path, files->list, files->count, sizeof *found, path_to_entry);
    return found ? found - files->list : -1;
}
