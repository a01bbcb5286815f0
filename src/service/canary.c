#include "service/canary.h"

#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "service/evidence.h"
#include "service/tell.h"

/* ---- telling ---- */

void tell_canary(struct buf *out, const char *key, struct service *s, const char *name)
{
    struct loader_canary c;
    if (!loader_canary_status(s->loader, name, &c)) {
        tell_raw(out, key, NULL);
        return;
    }
    tell_open(out, key, '{');
    tell_text(out, "version", c.version);
    tell_text(out, "current", c.current);
    tell_number(out, "percent", c.percent);
    tell_text(out, "state", canary_state_name(c.state));
    tell_time(out, "since", c.since_ns);
    tell_time(out, "until", c.until_ns);
    tell_text(out, "why", c.why);
    tell_evidence(out, &c.before, &c.after, c.evidence_worse, c.evidence_fine);
    tell_close(out, '}');
}

bool canary_runs(struct service *s, const char *name, struct loader_canary *out)
{
    return loader_canary_status(s->loader, name, out) && !out->until_ns;
}

/* ---- its end by somebody else's hand ---- */

int canary_end(struct service *s, const char *name, const char *version, bool kill, const char *why, struct error *err)
{
    struct loader_canary c;
    if (!canary_runs(s, name, &c) || (version && strcmp(c.version, version) != 0))
        return 0;
    struct waits *w = waits_new(2);
    if (!w)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to end the canary of %s", name);
    loader_canary_end(s->loader, name, why, waits_done, waits_add(w, name));
    if (kill)
        loader_end(s->loader, name, c.version, waits_done, waits_add(w, name));
    int rc = waits_finish(w, WAIT_DEAD_NS, err);
    return rc == -MOAT_E_WRONG_STATE ? 0 : rc; /* its verdict came first */
}

/* ---- the verdict ---- */

struct verdict_op {
    struct op op;
    char name[MANIFEST_NAME_MAX + 1];
    struct loader_canary told;
};

/* The registry has the new version by now: should the loader have lost it meanwhile, it is defined anew. */
static void promoted(struct op *op, struct job *job)
{
    struct verdict_op *v = (struct verdict_op *)op;
    if (op->code < 0)
        plan_define(job, v->name);
    op_end(op, op->code);
}

/* Current in the registry first, in one transaction with its record: a host that ends in between starts with it. */
static void promote(struct verdict_op *v, const char *evidence)
{
    struct op *op = &v->op;
    struct loader_canary now;
    struct registry_command c = {.verb = REGISTRY_USE,
                                 .use = {.name = v->name, .version = v->told.version, .evidence = evidence}};
    if (!canary_runs(op->s, v->name, &now) || now.since_ns != v->told.since_ns) {
        op_end(op, 0); /* something else ended it first, and was told */
        return;
    }
    int rc = op_write(op, &c, &op->error);
    if (rc < 0) {
        log_event(LOG_WARN, "canary_not_promoted", "plugin", v->name, "version", v->told.version, "why",
                  op->error.message, NULL);
        canary_end(op->s, v->name, v->told.version, false, op->error.message, NULL);
        op_end(op, rc);
        return;
    }
    loader_canary_promote(op->s->loader, v->name, v->told.version, op_loader_done, op_wait(op, promoted));
}

static void settle(struct op *op, struct job *job)
{
    struct verdict_op *v = (struct verdict_op *)op;
    buf_auto evidence = BUF_INIT(4096);
    tell_open(&evidence, NULL, '{');
    tell_number(&evidence, "percent", v->told.percent);
    tell_evidence(&evidence, &v->told.before, &v->told.after, v->told.evidence_worse, v->told.evidence_fine);
    tell_close(&evidence, '}');
    if (v->told.state == CANARY_PASSED) {
        promote(v, buf_text(&evidence));
        return;
    }
    struct registry_command c = {.verb = REGISTRY_CANARY_END,
                                 .canary = {.name = v->name,
                                            .version = v->told.version,
                                            .outcome = canary_state_name(v->told.state),
                                            .why = v->told.why,
                                            .evidence = buf_text(&evidence)}};
    op_end(op, op_write(op, &c, &op->error));
}

static void settled(void *context, const struct error *error, struct buf *result)
{
    if (error && error->code != MOAT_E_DRAINING)
        log_event(LOG_ERROR, "canary_unrecorded", "code", error_info(error->code)->name, "why", error->message, NULL);
}

void canary_told(void *context, const char *plugin, const struct loader_canary *canary)
{
    struct verdict_op *v;
    if (canary->state == CANARY_PROMOTED)
        return; /* its record was written with it */
    v = op_new(context, sizeof *v, settled, NULL);
    if (!v)
        return;
    text_copy(v->name, sizeof v->name, plugin);
    v->told = *canary;
    op_begin(&v->op, v->name, settle);
}
