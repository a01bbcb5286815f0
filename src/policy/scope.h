/* policy/scope: what stands behind the '=' of a grant, one row per permission: how it is normalised, when one contains
 * another, and how a command names it.  Inside src/policy only. */
#ifndef POLICY_SCOPE_H
#define POLICY_SCOPE_H

#include "policy/policy.h"

struct scope_rule {
    bool needed;             /* without a scope the grant would mean everything, which this permission never does */
    const char *placeholder; /* in a command that does not know the object; NULL: the bare name is the whole grant */
    /* Writes the normal form of a scope that is not empty; false with why. NULL: this permission takes no scope. */
    bool (*normalise)(const char *text, char out[POLICY_SCOPE_MAX], const char **why);
    /* Both normal and not empty. */
    bool (*contains)(const char *outer, const char *inner);
};

const struct scope_rule *scope_rule(enum permission p);

/* Places whose content is the kernel's or the machine's, never a plugin's: no command can grant them. */
bool scope_path_is_closed(const char *path);

#endif
