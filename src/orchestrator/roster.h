/* orchestrator/roster: a task that was checked against what there is: for each of its actions who may run it.
 * Immutable; reference-counted; holds the offers that it was checked with. */
#ifndef ORCHESTRATOR_ROSTER_H
#define ORCHESTRATOR_ROSTER_H

#include "orchestrator/catalog.h"

struct roster_action {
    struct offer *named; /* a reference, or NULL: */
    uint32_t action;     /* of named: its index in the manifest */
    struct choice *choice;
    const uint64_t *mask; /* candidates whose schemas the parameters fit; NULL: all */
};

struct roster {
    _Atomic int refs;
    struct arena arena;
    struct task *task;
    struct roster_action *actions; /* by task_action.number */
};

/* Who asks: may their steps run that plugin's action? NULL: everything. Any thread. */
struct roster_rights {
    bool (*may)(void *context, const char *plugin, const char *action);
    /* They may not: what that step would need. any: of some candidate, of which plugin is one. */
    int (*refuse)(void *context, const char *step, const char *plugin, const char *action, bool any, struct error *err);
    void *context;
};

/* Does planning this take more than a moment, or a look into the registry? Then only the planner does it. */
bool roster_is_long(struct catalog *c, const struct task *t);

/* Takes a reference of the task. MOAT_E_BAD_TASK with faults; what rights->refuse says; reader: the planner's,
 * else NULL. */
int roster_make(struct catalog *c, struct task *t, const struct roster_rights *rights, struct registry_reader *reader,
                struct roster **out, struct faults *faults, struct error *err);
struct roster *roster_ref(struct roster *p);
void roster_unref(struct roster *p); /* NULL is fine */

#endif
