/* package/paths: which paths an entry of a package may have, and whether a set of them can stand side by side.  Pure.
 */
#ifndef PACKAGE_PATHS_H
#define PACKAGE_PATHS_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_DEPTH_MAX 16

/* NULL for a clean relative path; else what is wrong with it, as in "leaves the package". */
const char *path_problem(const char *path);

/* NULL when no two paths are the same (letter case aside) and none is a directory of another; else why not, with the
 * two that clash; "no memory" is a reason too. */
const char *paths_clash(const char *const *paths, size_t n, size_t *first, size_t *second);

#endif
