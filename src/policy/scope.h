/* policy/scope: what stands behind the '=' of a grant, one row per permission: how it is normalised, when one contains
 * another or meets it, and how a command names it.  Inside src/policy only. */
#ifndef POLICY_SCOPE_H
#define POLICY_SCOPE_H

#include "policy/policy.h"

struct scope_rule {
    bool needed;             /* without a scope the grant would mean everything, which this permission never does */
    bool walls;              /* given by the kernel's walls, as a whole */
    const char *about;       /* Markdown */
    const char *placeholder; /* in a command that does not know the object; NULL: the bare name is the whole grant */
    /* Writes the normal form of a scope that is not empty; false with why. NULL: this permission takes no scope. */
    bool (*normalise)(const char *text, char out[POLICY_SCOPE_MAX], const char **why);
    /* The scope that names an object and nothing else; false: none does. */
    bool (*object)(const char *text, char out[POLICY_SCOPE_MAX]);
    /* Both normal and not empty. meets: something is in both. */
    bool (*contains)(const char *outer, const char *inner);
    bool (*meets)(const char *a, const char *b);
    bool (*admits)(const char *scope, const char *object); /* is the object within? */
    /* Does the bare name give what lies in this scope? NULL: it gives all. A ceiling's bare name always forbids all. */
    bool (*bare_gives)(const char *scope);
};

const struct scope_rule *scope_rule(enum permission p);

/* Of a ceiling (or of grants whose bare name gives all) that is normal: no scope is everything. */
bool scope_contains(const struct grant *outer, const struct grant *inner);
bool scope_meets(const struct grant *never, const struct grant *g);
/* Of a grant: does it give all that the other one gives? */
bool scope_gives(const struct grant *outer, const struct grant *inner);
/* Of a grant or a ceiling, and what `object` made. */
bool scope_admits(const struct grant *g, const struct grant *object);
/* false: a scope that means nothing. bare: may the scope be left out where a grant needs one? */
bool scope_normal(const struct grant *g, bool bare, struct grant *out);

/* Places whose content is the kernel's or the machine's, never a plugin's: no command can grant them. */
bool scope_path_is_closed(const char *path);

/* ---- host.c ---- */
bool host_normalise(const char *text, char out[POLICY_SCOPE_MAX], const char **why);
bool host_object(const char *text, char out[POLICY_SCOPE_MAX]);
bool host_contains(const char *outer, const char *inner);
bool host_meets(const char *a, const char *b);
bool host_is_address(const char *normal); /* or a range of them */

#endif
