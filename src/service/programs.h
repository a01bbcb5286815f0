/* service/programs: which programs a plugin's workers may start: what its package ships and the operator let run, and
 * what the operator named.  Jobs threads. */
#ifndef SERVICE_PROGRAMS_H
#define SERVICE_PROGRAMS_H

#include "loader/loader.h"
#include "package/package.h"
#include "policy/policy.h"

/* Notes where each program that the manifest names lies in the package. */
int programs_ship(struct spec *s, const struct unpacked *files, struct error *err);

/* Keeps of them what is granted, and adds what was named of this machine, with what all of it needs; behind the spec's
 * other grants, which decide what may lie where. */
int programs_grant(struct spec *s, const struct policy_answer *a, struct spawner *spawner, struct error *err);

/* One file of this machine, by its path in g's scope. */
int programs_add(struct spec *s, const struct grant *g, const struct policy_answer *a, struct error *err);

/* Does a version with this manifest ship it? path: as a grant has it. */
bool programs_are_shipped(const struct manifest *m, const char *path);

#endif
