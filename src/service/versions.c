/* Which versions there are, and which one is current. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "service/internal.h"
#include "service/tell.h"

struct version_op {
    struct op op;
    struct target target;
    bool purge, live;
    char before[MANIFEST_VERSION_MAX + 1];
};

static void begin(struct service *s, const char *what, bool purge, op_step step, service_done done, void *context)
{
    struct version_op *v = op_new(s, sizeof *v, done, context);
    if (!v)
        return;
    v->purge = purge;
    v->op.code = target_parse(what, true, &v->target, &v->op.error);
    op_begin(&v->op, v->op.code < 0 ? NULL : v->target.name, step);
}

/* ---- uninstall ---- */

static int forget(struct service *s, const char *name, struct error *err)
{
    if (!loader_plugin(s->loader, name))
        return 0;
    struct waits *w = waits_new(1);
    if (!w)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to stop %s", name);
    loader_forget(s->loader, name, waits_done, waits_add(w, name));
    return waits_finish(w, WAIT_DEAD_NS, err);
}

/* The registry first: when it cannot be written, nothing was stopped. */
static void uninstall(struct op *op, struct job *job)
{
    struct version_op *v = (struct version_op *)op;
    const struct target *t = &v->target;
    struct registry_plugin plugin;
    struct registry_command c = {
        .verb = REGISTRY_UNINSTALL,
        .uninstall = {.name = t->name, .version = t->version[0] ? t->version : NULL, .purge = v->purge}};
    int rc = op->code;
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    int left = rc < 0 ? rc : registry_find_plugin(job->reader, t->name, &plugin, &op->error);
    if (left == 0 || (left > 0 && !plugin.versions))
        rc = forget(op->s, t->name, &op->error);
    tell_open(&op->result, NULL, '{');
    tell_text(&op->result, "name", t->name);
    tell_number(&op->result, "removed", c.uninstall.removed);
    tell_flag(&op->result, "purged", v->purge);
    tell_close(&op->result, '}');
    op_end(op, left < 0 ? left : rc);
}

void service_uninstall(struct service *s, const char *what, bool purge, service_done done, void *context)
{
    begin(s, what, purge, uninstall, done, context);
}

/* ---- use ---- */

static void tell_used(struct version_op *v)
{
    struct buf *out = &v->op.result;
    tell_open(out, NULL, '{');
    tell_text(out, "name", v->target.name);
    tell_text(out, "version", v->target.version);
    tell_text(out, "before", v->before);
    tell_flag(out, "already", strcmp(v->before, v->target.version) == 0);
    tell_close(out, '}');
}

/* A running plugin runs the new version by now: when that cannot be recorded, it goes back. One that did not run is
 * defined anew. */
static void record(struct op *op, struct job *job)
{
    struct version_op *v = (struct version_op *)op;
    struct registry_command c = {.verb = REGISTRY_USE, .use = {.name = v->target.name, .version = v->target.version}};
    int rc = op->code;
    if (rc == 0) {
        rc = op_write(op, &c, &op->error);
        if (rc < 0 || !v->live)
            plan_define(job, v->target.name);
    }
    if (rc == 0)
        tell_used(v);
    op_end(op, rc);
}

/* The version must be able to run before anything is changed; `unload` does not stand in its way. */
static void use(struct op *op, struct job *job)
{
    struct version_op *v = (struct version_op *)op;
    const struct target *t = &v->target;
    struct plan p = {0};
    int rc = op->code;
    if (rc == 0 && !t->version[0])
        rc = error_set(&op->error, MOAT_E_BAD_USAGE, "say which version: %s@VERSION", t->name);
    if (rc == 0)
        rc = plan_make(job, t->name, t->version, PLAN_CODE, true, &p, &op->error);
    if (rc == 0 && p.gate != MOAT_E_OK)
        rc = error_set(&op->error, p.gate, "%s", p.message);
    snprintf(v->before, sizeof v->before, "%s", p.plugin.current);
    if (rc < 0) {
        op_end(op, rc);
    } else if (strcmp(v->before, t->version) == 0) {
        tell_used(v);
        op_end(op, 0);
    } else if (plugin_is_running(op->s, t->name)) {
        v->live = true;
        plan_set(op->s, t->name, &p, LOADER_START, op_loader_done, op_wait(op, record));
    } else {
        op_then(op, record);
    }
    plan_clear(&p);
}

void service_use(struct service *s, const char *what, service_done done, void *context)
{
    begin(s, what, false, use, done, context);
}
