#include "package/paths.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "package/package.h"

/* Names that a package uses itself when it is taken apart by hand. */
static const char *const reserved[] = {"plugin.json", "FILES"};

static const char *component_problem(const char *p, size_t n)
{
    if (n == 0)
        return "has an empty component";
    if (n == 1 && p[0] == '.')
        return "has a \".\" component";
    if (n == 2 && p[0] == '.' && p[1] == '.')
        return "leaves the package with \"..\"";
    if (p[0] == ' ' || p[n - 1] == ' ')
        return "has a component that starts or ends with a space";
    return NULL;
}

const char *path_problem(const char *path)
{
    size_t len = strnlen(path, PACKAGE_PATH_MAX + 1);
    if (len == 0)
        return "is empty";
    if (len > PACKAGE_PATH_MAX)
        return "is longer than 200 bytes";
    if (path[0] == '/')
        return "is absolute";
    if (path[0] == '-')
        return "starts with a hyphen, which commands take for an option";
    /* ASCII only: no two byte strings look alike, and the archive's library needs no character conversion. */
    for (size_t i = 0; i < len; i++)
        if (path[i] < 0x20 || path[i] > 0x7e || path[i] == '\\')
            return "has a character other than printable ASCII without backslash";
    size_t depth = 0;
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        const char *problem = ++depth > PATH_DEPTH_MAX ? "is deeper than 16 components" : component_problem(p, n);
        if (problem)
            return problem;
        p += n;
        if (!*p)
            break;
    }
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcasecmp(path, reserved[i]) == 0)
            return "is a name that the package itself uses";
    return NULL;
}

static int by_path(const void *a, const void *b)
{
    const char *const *const *x = a, *const *const *y = b;
    return strcasecmp(**x, **y);
}

/* The sorted element that equals the first len bytes of path, or NULL. */
static const char *const *find_prefix(const char *const **sorted, size_t n, const char *path, size_t len)
{
    char prefix[PACKAGE_PATH_MAX + 1];
    memcpy(prefix, path, len);
    prefix[len] = '\0';
    const char *text = prefix, *const *key = &text;
    const char *const **found = bsearch(&key, sorted, n, sizeof *sorted, by_path);
    return found ? *found : NULL;
}

const char *paths_clash(const char *const *paths, size_t n, size_t *first, size_t *second)
{
    *first = *second = 0;
    if (n < 2)
        return NULL;
    const char *const **sorted = calloc(n, sizeof *sorted);
    if (!sorted)
        return "no memory";
    for (size_t i = 0; i < n; i++)
        sorted[i] = &paths[i];
    qsort(sorted, n, sizeof *sorted, by_path);
    const char *why = NULL;
    for (size_t i = 1; i < n && !why; i++) {
        if (strcasecmp(*sorted[i - 1], *sorted[i]) != 0)
            continue;
        why = strcmp(*sorted[i - 1], *sorted[i]) == 0 ? "is there twice" : "differs from another only in letter case";
        size_t a = (size_t)(sorted[i - 1] - paths), b = (size_t)(sorted[i] - paths);
        *first = a < b ? a : b;
        *second = a < b ? b : a;
    }
    for (size_t i = 0; i < n && !why; i++) {
        for (const char *slash = strchr(paths[i], '/'); slash && !why; slash = strchr(slash + 1, '/')) {
            const char *const *file = find_prefix(sorted, n, paths[i], (size_t)(slash - paths[i]));
            if (!file)
                continue;
            why = "is also a directory of another path";
            *first = i;
            *second = (size_t)(file - paths);
        }
    }
    free(sorted);
    return why;
}
