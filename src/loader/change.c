#include "loader/change.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "loader/internal.h"

static bool same_rights(const struct spec *a, const struct spec *b)
{
    if (a->execute_code != b->execute_code || a->network != b->network || a->ngrants != b->ngrants)
        return false;
    for (size_t i = 0; i < a->ngrants; i++) {
        const struct wall_grant *x = &a->grants[i], *y = &b->grants[i];
        if (strcmp(x->path, y->path) != 0 || x->dev != y->dev || x->ino != y->ino || x->writable != y->writable)
            return false;
    }
    if (a->nprograms != b->nprograms)
        return false;
    for (size_t i = 0; i < a->nprograms; i++) {
        const struct wall_program *x = &a->programs[i], *y = &b->programs[i];
        if (strcmp(x->place, y->place) != 0 || x->shipped != y->shipped || x->file.dev != y->file.dev ||
            x->file.ino != y->file.ino)
            return false;
    }
    return true;
}

/* The same code with the same rights? Then only the configuration is another. */
static bool is_same_otherwise(const struct spec *a, const struct spec *b)
{
    return a && a->ncode && b->ncode && strcmp(a->manifest->version, b->manifest->version) == 0 && same_rights(a, b);
}

static bool same_config(const struct spec *a, const struct spec *b)
{
    return strcmp(a->config ? a->config : "{}", b->config ? b->config : "{}") == 0;
}

/* One of them may not have its code yet, and then not its rights. */
bool change_is_none(const struct spec *a, const struct spec *b)
{
    return a == b || (a && b && strcmp(a->manifest->version, b->manifest->version) == 0 && same_config(a, b) &&
                      (!a->ncode || !b->ncode || same_rights(a, b)));
}

static bool takes_part(const struct plugin *p, const struct worker *w)
{
    return w->gen == p->current && w->state == WORKER_READY && !(atomic_load(&w->flags) & ~(uint32_t)WORKER_PAUSED);
}

/* Can its workers be asked now? None is starting with what it was told before, and all are free. */
static bool can_ask(const struct plugin *p, const struct spec *spec)
{
    const struct generation *g = p->current;
    if (!g || p->next || g->gate || !g->ready || g->starting || !is_same_otherwise(g->told, spec))
        return false;
    for (const struct worker *w = p->living; w; w = w->next)
        if (takes_part(p, w) && !errand_is_free(w))
            return false;
    return true;
}

static void leave(struct worker *w)
{
    worker_flag(w, WORKER_RETIRED); /* the next call starts another, with what holds */
}

static bool ask(struct worker *w, const struct spec *spec)
{
    size_t len = spec->config ? spec->config_len : 2;
    uint8_t *copy = malloc(len + 1);
    if (!copy)
        return false;
    memcpy(copy, spec->config ? spec->config : "{}", len);
    copy[len] = 0;
    if (!errand_send(w, CHANNEL_CONFIGURE, copy, len, w->l->errand_ns)) {
        free(copy);
        return false;
    }
    w->asked = true;
    w->plugin->change.out++;
    return true;
}

/* ---- outcomes ---- */

/* It is over: everybody goes on. */
static struct op *end(struct plugin *p)
{
    struct op *op = p->change.op;
    p->change = (struct change){.op = NULL};
    for (struct worker *w = p->living; w; w = w->next) {
        w->took = w->asked = false;
        if (takes_part(p, w))
            worker_resume(w);
    }
    if (p->current->waiters) /* no start was begun meanwhile */
        generation_start(p->current, true);
    else if (atomic_load(&p->queued))
        plugin_want(p);
    return op;
}

static void hold(struct plugin *p)
{
    struct generation *g = p->current;
    guard_changed(p, g, p->change.op->guard_asked ? &p->change.op->guard : NULL); /* they are paused still */
    rate_restart(p);
    struct op *op = end(p);
    spec_unref(g->told);
    g->told = spec_ref(op->spec);
    io_close(&g->start_fd); /* written anew for the next worker */
    log_event(LOG_INFO, "configured", "plugin", p->name, NULL);
    op_done(op, NULL);
}

static void refuse(struct plugin *p)
{
    struct error why = p->change.why;
    struct op *op = end(p);
    log_event(LOG_WARN, "configuration_refused", "plugin", p->name, "why", why.message, NULL);
    op_done(op, &why);
}

static void start_fresh_instead(struct plugin *p)
{
    struct op *op = end(p);
    op->how = LOADER_START;
    op_set(op);
}

static void give_back(struct plugin *p)
{
    p->change.back = true;
    for (struct worker *w = p->living; w; w = w->next)
        if (takes_part(p, w) && w->took && !ask(w, p->current->told))
            leave(w);
}

static void settle(struct plugin *p)
{
    struct change *c = &p->change;
    if (c->out)
        return;
    if (!c->back && c->why.code)
        give_back(p);
    if (c->out)
        return;
    if (c->why.code)
        refuse(p);
    else if (c->unsupported)
        start_fresh_instead(p);
    else
        hold(p);
}

/* ---- events ---- */

void op_configure(struct op *op)
{
    struct plugin *p = op->plugin;
    if (!can_ask(p, op->spec)) {
        op->how = LOADER_START;
        op_set(op);
        return;
    }
    p->change = (struct change){.op = op};
    for (struct worker *w = p->living; w; w = w->next)
        if (takes_part(p, w) && !ask(w, op->spec))
            error_set(&p->change.why, MOAT_E_OUT_OF_MEMORY, "no memory to configure %s", p->name);
    settle(p);
}

void change_told(struct worker *w, const struct errand *answer)
{
    struct plugin *p = w->plugin;
    struct change *c = &p->change;
    if (!c->op || !w->asked)
        return; /* of one that was abandoned */
    w->asked = false;
    c->out--;
    if (c->back && answer->answer != ERRAND_DONE)
        leave(w);
    else if (!c->back && answer->answer == ERRAND_DONE)
        w->took = true;
    else if (answer->answer == ERRAND_NOT_SUPPORTED)
        c->unsupported = true;
    else if (!c->back)
        error_set(&c->why, MOAT_E_START_FAILED, "%s did not take the configuration: %s", p->name, answer->message);
    settle(p);
}

void change_worker_died(struct worker *w)
{
    struct error how;
    struct plugin *p = w->plugin;
    struct change *c = &p->change;
    if (!c->op || !w->asked)
        return;
    w->asked = false;
    c->out--;
    errand_death(w, &how);
    if (!c->back)
        error_set(&c->why, MOAT_E_START_FAILED, "%s did not take the configuration: %.700s", p->name, how.message);
    settle(p);
}

/* Who was asked may have taken it: those leave. */
void change_abandon(struct plugin *p)
{
    struct error err;
    if (!p->change.op)
        return;
    for (struct worker *w = p->living; w; w = w->next)
        if (takes_part(p, w) && (w->took || (w->asked && !errand_withdraw(w))))
            leave(w);
    struct op *op = end(p);
    error_set(&err, MOAT_E_WRONG_STATE, "%s: something else was asked of it before it had the configuration", p->name);
    op_done(op, &err);
}
