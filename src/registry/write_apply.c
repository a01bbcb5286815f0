/* Several commands as one: each with its own record of the trail, all in the savepoint of the one. */
#include "registry/write.h"

int write_apply(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    struct registry_together *t = c->apply.together;
    struct registry_command one;
    int rc;
    while ((rc = t->next(t->context, &one, err)) > 0) {
        one.actor = c->actor;
        one.call = c->call;
        rc = write_run(r, &one, err);
        if (rc < 0) {
            t->where(t->context, err);
            return rc;
        }
        t->commands++;
    }
    return rc < 0 ? rc : t->commands ? WRITE_CHANGED : WRITE_NOTHING_NEW;
}
