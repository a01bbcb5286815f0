/* What the operator says about a plugin or a version without changing which one is current: pin, unpin, activate,
 * deactivate, deprecate, archive.  Each is one command of the registry; only deactivate and activate touch what runs.
 */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "service/canary.h"
#include "service/internal.h"
#include "service/tell.h"

struct state_op {
    struct op op;
    struct target target;
    bool on;
    enum registry_state state;
    char reason[REGISTRY_REASON_MAX + 1];
};

static struct state_op *new_op(struct service *s, const char *what, bool may_have_version, bool on, service_done done,
                               void *context)
{
    struct state_op *st = op_new(s, sizeof *st, done, context);
    if (!st)
        return NULL;
    st->on = on;
    st->op.code = target_parse(what, may_have_version, &st->target, &st->op.error);
    return st;
}

static void start(struct state_op *st, op_step step)
{
    op_begin(&st->op, st->op.code < 0 ? NULL : st->target.name, step);
}

/* ---- pin ---- */

static void pin(struct op *op, struct job *job)
{
    struct state_op *st = (struct state_op *)op;
    struct registry_command c = {.verb = REGISTRY_PIN, .pin = {.name = st->target.name, .on = st->on}};
    struct registry_plugin plugin = {0};
    int rc = op->code;
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0 && st->on)
        rc = canary_end(op->s, st->target.name, NULL, false, "the plugin was pinned", &op->error);
    if (rc == 0)
        rc = registry_find_plugin(job->reader, st->target.name, &plugin, &op->error);
    tell_open(&op->result, NULL, '{');
    tell_text(&op->result, "name", st->target.name);
    tell_text(&op->result, "current", plugin.current);
    tell_flag(&op->result, "pinned", st->on);
    tell_flag(&op->result, "already", !c.pin.changed);
    tell_close(&op->result, '}');
    op_end(op, rc < 0 ? rc : 0);
}

void service_pin(struct service *s, const char *name, bool on, service_done done, void *context)
{
    struct state_op *st = new_op(s, name, false, on, done, context);
    if (st)
        start(st, pin);
}

/* ---- activate, deactivate ---- */

static void tell_active(struct state_op *st)
{
    struct buf *out = &st->op.result;
    tell_open(out, NULL, '{');
    tell_text(out, "name", st->target.name);
    tell_text(out, "status", st->on ? "active" : "inactive");
    tell_close(out, '}');
}

/* The gate says what is the matter, whatever became of the workers. */
static void settled(struct op *op, struct job *job)
{
    struct state_op *st = (struct state_op *)op;
    plan_define(job, st->target.name);
    if (op->code == 0)
        tell_active(st);
    op_end(op, op->code);
}

static void activate(struct op *op, struct job *job)
{
    struct state_op *st = (struct state_op *)op;
    const char *name = st->target.name;
    struct registry_command c = {.verb = REGISTRY_ACTIVATE, .activate = {.name = name, .on = st->on}};
    int rc = op->code;
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc < 0) {
        op_end(op, rc);
    } else if (st->on) {
        if (c.activate.changed)
            plan_define(job, name);
        tell_active(st);
        op_end(op, 0);
    } else {
        loader_stop(op->s->loader, name, STOP_GRACE_NS, op_loader_done, op_wait(op, settled));
    }
}

void service_activate(struct service *s, const char *name, bool on, service_done done, void *context)
{
    struct state_op *st = new_op(s, name, false, on, done, context);
    if (st)
        start(st, activate);
}

/* ---- deprecate, archive ---- */

static void mark(struct op *op, struct job *job)
{
    struct state_op *st = (struct state_op *)op;
    struct target *t = &st->target;
    struct registry_command c = {
        .verb = REGISTRY_MARK,
        .mark = {.name = t->name, .version = t->version, .state = st->state, .on = st->on, .reason = st->reason}};
    struct registry_version v = {0};
    int rc = op->code;
    if (rc == 0 && !t->version[0])
        rc = error_set(&op->error, MOAT_E_BAD_USAGE, "say which version: %s@VERSION", t->name);
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    if (rc == 0 && st->on && st->state == REGISTRY_ARCHIVED)
        rc = canary_end(op->s, t->name, t->version, false, "its version was archived", &op->error);
    if (rc == 0)
        rc = registry_find_version(job->reader, t->name, t->version, &v, NULL, &op->error);
    tell_open(&op->result, NULL, '{');
    tell_text(&op->result, "name", t->name);
    tell_text(&op->result, "version", t->version);
    tell_text(&op->result, "state", registry_state_name(v.state));
    tell_deprecated(&op->result, "deprecated", &v);
    tell_flag(&op->result, "already", !c.mark.changed);
    tell_close(&op->result, '}');
    op_end(op, rc < 0 ? rc : 0);
}

static void begin_mark(struct service *s, const char *what, enum registry_state state, bool on, const char *reason,
                       service_done done, void *context)
{
    struct state_op *st = new_op(s, what, true, on, done, context);
    if (!st)
        return;
    st->state = state;
    if (st->op.code == 0 && reason && !text_copy(st->reason, sizeof st->reason, reason))
        st->op.code =
            error_set(&st->op.error, MOAT_E_BAD_REQUEST, "a reason has at most %d bytes", REGISTRY_REASON_MAX);
    start(st, mark);
}

void service_deprecate(struct service *s, const char *what, bool on, const char *reason_or_null, service_done done,
                       void *context)
{
    begin_mark(s, what, REGISTRY_DEPRECATED, on, reason_or_null, done, context);
}

void service_archive(struct service *s, const char *what, bool on, service_done done, void *context)
{
    begin_mark(s, what, REGISTRY_ARCHIVED, on, NULL, done, context);
}
