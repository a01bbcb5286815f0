/* sandbox/cgroup: a control group (version 2) of its own for each worker, where the host was given a place to make
 * them. Owns the groups that it made and leaves none behind; touches no other.  Limits and filters hold without: this
 * bounds what they do not see, such as page cache, temporary files and kernel memory.  Blocks only for the kernel's
 * moment.
 *
 * A place is given by running the host in a group called `moat-host`: its parent is then ours (systemd: Delegate=yes
 * and DelegateSubgroup=moat-host).  Nothing is moved but workers, which start in the host's group. */
#ifndef SANDBOX_CGROUP_H
#define SANDBOX_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CGROUP_HOST "moat-host"

struct cgroup_place;

/* root: where version 2 is mounted; self: /proc/self/cgroup.  NULL when there is no place for us, and why in words. */
struct cgroup_place *cgroup_place_open(const char *root, const char *self, char *why, size_t size);
void cgroup_place_close(struct cgroup_place *p); /* sweeps; NULL is fine */

/* Removes the groups of hosts that are gone, and this host's empty ones.  Not while one is made on another thread. */
void cgroup_sweep(struct cgroup_place *p);

struct cgroup {
    char name[64]; /* empty: none */
    uint64_t memory;
};

struct cgroup_limits {
    uint64_t memory; /* bytes of all kinds together */
    uint32_t processes;
};

/* The group, with the process in it; false with errno, and nothing is left. */
bool cgroup_make(struct cgroup_place *p, const struct cgroup_limits *limits, pid_t pid, struct cgroup *out);

/* Was a process of the group ended because its memory was used up?  *peak: the most that it had, 0 where the kernel
 * does not count that. */
bool cgroup_ran_out(const struct cgroup_place *p, const struct cgroup *g, uint64_t *peak);

/* false: it still holds its dead process, and is left to the next sweep. */
bool cgroup_remove(struct cgroup_place *p, struct cgroup *g);

#endif
