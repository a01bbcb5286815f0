/* What runs follows what the file has made of the registry: whatever lost a right dies first, then the rest is replaced
 * without losing a call. */
#include <stdio.h>

#include "service/apply.h"

#define START_NS (60 * NS_PER_S) /* a start that takes longer goes on; the answer says so */

static void note(struct error *first, const struct error *why, const char *name)
{
    if (first->code)
        return;
    *first = *why;
    error_prefix(first, "the file is applied, but %s could not follow it", name);
}

/* Calls meet what the registry says, and no worker goes on that it does not know: also when a start has failed. */
static void retreat(struct job *job, const char *name)
{
    struct error unsaid;
    struct waits *w = waits_new(1);
    if (w) {
        loader_stop(job->s->loader, name, STOP_GRACE_NS, waits_done, waits_add(w, name));
        waits_finish(w, STOP_GRACE_NS + WAIT_DEAD_NS, &unsaid);
    }
    plan_define(job, name);
}

/* The plan of what the registry says now. What cannot be planned becomes a closed gate. */
static int plan(struct job *job, const char *name, enum plan_depth depth, struct plan *p, struct error *why)
{
    int rc = plan_make(job, name, NULL, depth, false, p, why);
    if (rc < 0) {
        *p = (struct plan){.gate = why->code};
        snprintf(p->message, sizeof p->message, "%s", why->message);
    }
    return rc;
}

/* ---- first: what may not go on ---- */

static int revoke(struct job *job, const struct change *list, size_t count, size_t n, struct error *first)
{
    struct waits *w = waits_new(2 * n);
    struct error why;
    if (!w)
        return error_set(first, MOAT_E_OUT_OF_MEMORY, "no memory to wait for %zu plugins", n);
    for (size_t i = 0; i < count; i++) {
        const char *name = list[i].wanted->name;
        struct plan p = {0};
        if (!list[i].loses || !plugin_is_running(job->s, name))
            continue;
        if (plan(job, name, PLAN_MANIFEST, &p, &why) < 0)
            note(first, &why, name);
        plan_set(job->s, name, &p, LOADER_REVOKE, waits_done, waits_add(w, name));
        net_revoke(job->s->net, name, waits_done, waits_add(w, name));
        plan_clear(&p);
    }
    return waits_finish(w, WAIT_DEAD_NS, &why) < 0 && !first->code ? (*first = why, -(int)why.code) : 0;
}

/* ---- then: what is to run with something else ---- */

static bool is_to_start(struct job *job, const struct change *c)
{
    bool loads = (c->wants || c->activates) && c->wanted->says_wanted && c->wanted->wanted == REGISTRY_LOADED;
    return loads || (!c->loses && plugin_is_running(job->s, c->wanted->name));
}

static bool needs_nothing(struct job *job, const struct change *c)
{
    return !c->differences ||
           (!c->replaces && !c->loses && !c->activates && !c->wants && plugin_is_running(job->s, c->wanted->name));
}

/* What starts is awaited one after the other: a start takes some milliseconds, and a failure is told by its name. */
static void replace(struct job *job, const struct change *c, struct error *first)
{
    const char *name = c->wanted->name;
    struct error why = {0};
    struct plan p = {0};
    int rc = plan(job, name, PLAN_CODE, &p, &why);
    struct waits *w = waits_new(1);
    if (!w)
        rc = error_set(&why, MOAT_E_OUT_OF_MEMORY, "no memory to wait for %s", name);
    else {
        plan_set(job->s, name, &p, LOADER_START, waits_done, waits_add(w, name));
        int started = waits_finish(w, START_NS, rc < 0 ? NULL : &why);
        rc = rc < 0 ? rc : started;
    }
    plan_clear(&p);
    if (rc == 0)
        return;
    note(first, &why, name);
    retreat(job, name);
}

int apply_follow(struct job *job, const struct change *list, size_t count, struct error *err)
{
    struct error first = {0};
    size_t losing = 0;
    for (size_t i = 0; i < count; i++)
        losing += list[i].loses;
    if (losing)
        revoke(job, list, count, losing, &first);
    for (size_t i = 0; i < count; i++) {
        const struct change *c = &list[i];
        if (needs_nothing(job, c))
            continue;
        if (c->wants)
            loader_keep(job->s->loader, c->wanted->name, c->wanted->wanted == REGISTRY_LOADED);
        if (is_to_start(job, c))
            replace(job, c, &first);
        else
            plan_define(job, c->wanted->name);
    }
    if (first.code && err)
        *err = first;
    return -(int)first.code;
}
