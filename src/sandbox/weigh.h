/* sandbox/weigh: how many bytes lie in a granted place, as its file system has allocated them, and whether a file
 * has a name there.  From descriptor to descriptor, no link is followed, each file counts once however many names it
 * has.  Private to nobody: src/service weighs when a place is granted, src/loader while it is written.  May block on a
 * slow disk: not on a loop. */
#ifndef SANDBOX_WEIGH_H
#define SANDBOX_WEIGH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "sandbox/wall.h"

#define WEIGH_ENTRY 512         /* what each entry counts beside its blocks: its inode and name are somewhere too */
#define WEIGH_DEPTH 200         /* directories in each other */
#define WEIGH_ENTRIES 4000000ul /* of a place */

/* At most `enough` is counted: *bytes is then above it and the rest was not looked at. UINT64_MAX: all of it. stop:
 * NULL, or becomes true when nobody wants to know any more. MOAT_E_NO_SUCH_FILE: the place is gone, or another one.
 * MOAT_E_LIMIT: it cannot be counted (deeper, more entries, or a directory that may be written and not be read).
 * MOAT_E_CANCELLED: stop. */
int weigh(const struct wall_grant *place, uint64_t enough, const _Atomic bool *stop, uint64_t *bytes,
          struct error *err);

/* The number of the first program of the host's that has a name (or is mounted) in the place, or n when none has. The
 * errors are weigh's. */
int weigh_find(const struct wall_grant *place, const struct wall_program *programs, size_t n, size_t *found,
               struct error *err);

struct weigh_holder {
    pid_t pid;
    int pidfd; /* -1: of its number */
};

/* Bytes of files without a name in the file system of that number, which these processes still hold: those that they
 * have open among their first `descriptors`, and what they have mapped and closed (of which only root sees more than
 * the mapped part). Each file once. Those behind the first are what it started: one in another pid namespace is a
 * stranger, with the number of one that has ended. What cannot be seen is 0. */
uint64_t weigh_nameless(const struct weigh_holder *list, size_t n, unsigned descriptors, uint64_t dev);

/* Bytes free in its file system, for all users; 0: that is not known. */
uint64_t weigh_free(const struct wall_grant *place);

#endif
