#include "service/guard.h"

#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "service/evidence.h"
#include "service/tell.h"

/* ---- telling ---- */

void tell_guard(struct buf *out, const char *key, const struct loader_guard *g)
{
    if (!g) {
        tell_raw(out, key, NULL);
        return;
    }
    tell_open(out, key, '{');
    tell_text(out, "state", guard_state_name(g->state));
    tell_number(out, "revision", g->revision);
    tell_number(out, "base", g->base);
    tell_time(out, "since", g->since_ns);
    tell_time(out, "ends", g->ends_ns);
    tell_time(out, "until", g->until_ns);
    tell_text(out, "why", g->why);
    tell_evidence(out, &g->before, &g->after, g->evidence_worse, g->evidence_fine);
    tell_close(out, '}');
}

void tell_guard_of(struct buf *out, const char *key, struct service *s, const char *name)
{
    struct loader_guard g;
    tell_guard(out, key, loader_guard_status(s->loader, name, &g) ? &g : NULL);
}

/* ---- its end ---- */

struct guard_op {
    struct op op;
    char name[MANIFEST_NAME_MAX + 1];
    struct loader_guard told;
};

static int record(struct guard_op *g, enum guard_state outcome, const char *why, bool *changed)
{
    buf_auto evidence = BUF_INIT(4096);
    tell_open(&evidence, NULL, '{');
    tell_evidence(&evidence, &g->told.before, &g->told.after, g->told.evidence_worse, g->told.evidence_fine);
    tell_close(&evidence, '}');
    struct registry_command c = {.verb = REGISTRY_GUARD_END,
                                 .guard_end = {.name = g->name,
                                               .outcome = guard_state_name(outcome),
                                               .why = why,
                                               .evidence = buf_text(&evidence),
                                               .revision = g->told.revision,
                                               .back = outcome == GUARD_ROLLED_BACK}};
    int rc = op_write(&g->op, &c, &g->op.error);
    *changed = rc == 0 && c.guard_end.changed;
    return rc;
}

/* What runs does not take it: fresh workers do, with what is recorded. */
static void went_back(struct op *op, struct job *job)
{
    struct guard_op *g = (struct guard_op *)op;
    if (op->code < 0)
        plan_define(job, g->name);
    loader_guard_settle(op->s->loader, g->name, g->told.revision, true, NULL);
    log_event(LOG_WARN, "config_rolled_back", "plugin", g->name, "#revision", log_num(g->told.revision), "why",
              g->told.why, NULL);
    op_end(op, 0);
}

/* Recorded first: a host that ends in between starts with what was before. */
static void go_back(struct guard_op *g, struct job *job)
{
    struct op *op = &g->op;
    struct plan p = {0};
    const struct loader_guard_ask back = {.revision = g->told.revision + 1, .base = g->told.base, .back = true};
    struct error why;
    if (plan_make(job, g->name, NULL, PLAN_CODE, false, &p, &why) == 0 && p.spec) {
        loader_configure(op->s->loader, g->name, p.spec, &back, op_loader_done, op_wait(op, went_back));
    } else {
        op->code = -MOAT_E_WRONG_STATE;
        went_back(op, job);
    }
    plan_clear(&p);
}

/* It stays, though it is worse. */
static int stay(struct guard_op *g, int rc)
{
    bool changed;
    char why[200];
    bool newer = rc == -MOAT_E_WRONG_STATE || rc == 0;
    text_copy(why, sizeof why,
              newer ? "it was worse, and another one came before it was taken back" : g->op.error.message);
    if (!newer)
        log_event(LOG_ERROR, "config_not_rolled_back", "plugin", g->name, "why", why, NULL);
    loader_guard_settle(g->op.s->loader, g->name, g->told.revision, false, why);
    return newer ? record(g, GUARD_ENDED, why, &changed) : rc;
}

static void settle(struct op *op, struct job *job)
{
    struct guard_op *g = (struct guard_op *)op;
    bool changed, worse = g->told.state == GUARD_WORSE;
    int rc = record(g, worse ? GUARD_ROLLED_BACK : g->told.state, g->told.why, &changed);
    if (worse && changed)
        go_back(g, job);
    else
        op_end(op, worse ? stay(g, rc) : rc);
}

static void settled(void *context, const struct error *error, struct buf *result)
{
    if (error && error->code != MOAT_E_DRAINING && error->code != MOAT_E_NO_SUCH_PLUGIN)
        log_event(LOG_ERROR, "guard_unrecorded", "code", error_info(error->code)->name, "why", error->message, NULL);
}

void guard_told(void *context, const char *plugin, const struct loader_guard *guard)
{
    struct guard_op *g = op_new(context, sizeof *g, settled, NULL);
    if (!g)
        return;
    text_copy(g->name, sizeof g->name, plugin);
    g->told = *guard;
    op_begin(&g->op, g->name, settle);
}

/* ---- history ---- */

#define HISTORY_USUAL 20

struct history_op {
    struct op op;
    struct target target;
    uint64_t limit, told;
};

static void tell_recorded(struct buf *out, const struct registry_config *c)
{
    tell_open(out, "guard", '{');
    tell_text(out, "state", *c->guard ? c->guard : "off");
    tell_number(out, "base", c->base);
    tell_seconds(out, "until", c->guard_until);
    tell_text(out, "why", c->why);
    tell_raw(out, "evidence", *c->evidence ? c->evidence : NULL);
    tell_close(out, '}');
}

static bool tell_revision(void *context, const struct registry_config *c)
{
    struct history_op *h = context;
    struct buf *out = &h->op.result;
    tell_open(out, NULL, '{');
    tell_number(out, "revision", c->revision);
    tell_seconds(out, "time", c->set_at);
    tell_raw(out, "set", c->value);
    if (c->back < 0)
        tell_raw(out, "back", NULL);
    else
        tell_number(out, "back", (uint64_t)c->back);
    tell_recorded(out, c);
    tell_close(out, '}');
    return ++h->told < h->limit;
}

static void history(struct op *op, struct job *job)
{
    struct history_op *h = (struct history_op *)op;
    struct registry_version v;
    int rc = op->code;
    if (rc == 0)
        rc = version_find(job, &h->target, &v, NULL, &op->error);
    tell_open(&op->result, NULL, '{');
    tell_text(&op->result, "name", h->target.name);
    tell_open(&op->result, "revisions", '[');
    if (rc == 0)
        rc = registry_each_config(job->reader, h->target.name, tell_revision, h, &op->error);
    tell_close(&op->result, ']');
    tell_guard_of(&op->result, "guard", op->s, h->target.name);
    tell_close(&op->result, '}');
    op_end(op, rc);
}

void service_config_history(struct service *s, const char *name, uint64_t limit, service_done done, void *context)
{
    struct history_op *h = op_new(s, sizeof *h, done, context);
    if (!h)
        return;
    h->limit = limit ? limit : HISTORY_USUAL;
    h->op.code = target_parse(name, false, &h->target, &h->op.error);
    op_read(&h->op, history);
}
