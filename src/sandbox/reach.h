/* sandbox/reach: whether a file that a plugin may execute can also be written by it, under whatever name: the place has
 * another path, is mounted twice, or holds a hard link.  Looks and changes nothing.  May block on a slow disk: not on a
 * loop. */
#ifndef SANDBOX_REACH_H
#define SANDBOX_REACH_H

#include "sandbox/wall.h"

struct reached {
    const struct wall_program *program;
    const struct wall_grant *place; /* through which it is reached */
    bool file;                      /* as a file of that place; else a directory above it is there, too */
};

/* The first of the host's programs that can be reached through a place that may be written: 1 and *out; 0: none can.
 * MOAT_E_LIMIT: a place cannot be looked through (weigh_find). MOAT_E_START_FAILED: a program is not there any more. */
int reach_writable(const struct wall_grant *grants, size_t ngrants, const struct wall_program *programs,
                   size_t nprograms, struct reached *out, struct error *err);

#endif
