/* policy/emit: turns checked policies into C text through libseccomp.  Build time only. */
#ifndef POLICY_EMIT_H
#define POLICY_EMIT_H

#include "policy.h"

bool emit_all(const char *path, const struct policy *policies, unsigned n);
bool emit_names(const char *path); /* number -> name of every system call of this architecture */

#endif
