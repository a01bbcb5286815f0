/* sandbox/resolve: which places are never granted.  Private to src/sandbox; wall_resolve is in sandbox/wall.h. */
#ifndef SANDBOX_RESOLVE_H
#define SANDBOX_RESOLVE_H

#include <stdbool.h>

/* path is absolute and without ".." : the root itself, or the machine's own file systems. */
bool wall_never_granted(const char *path);

#endif
