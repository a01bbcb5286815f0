/* What loader_set and its friends ask, done on the supervise thread, one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "loader/internal.h"

void op_done(struct op *op, const struct error *err)
{
    if (op->done)
        op->done(op->context, err);
    spec_unref(op->spec);
    free(op);
}

static void op_failed(struct op *op, enum moat_code code, const char *what)
{
    struct error err;
    error_set(&err, code, "%s", what);
    op_done(op, &err);
}

static void too_late(struct loop_timer *timer)
{
    struct op *op = (struct op *)(void *)((char *)timer - offsetof(struct op, late));
    struct plugin *p = op->plugin;
    struct error err;
    pid_t pid = 0;
    for (const struct worker *w = p->living; w; w = w->next)
        if (op_waits_for(op, w))
            pid = w->child.pid;
    for (struct op **link = &p->enders; *link; link = &(*link)->next)
        if (*link == op) {
            *link = op->next;
            break;
        }
    generation_unref(op->closed);
    error_set(&err, MOAT_E_REVOKE_INCOMPLETE, "process %d of %s was killed and has not ended yet", (int)pid, p->name);
    op_done(op, &err);
}

/* Done when every worker that lives now has ended. */
static void wait_for_end(struct op *op, struct generation *closed)
{
    struct plugin *p = op->plugin;
    op->births = p->births;
    op->closed = closed ? generation_ref(closed) : NULL;
    waiters_add(&p->enders, op);
    if (op->kind == OP_END || (op->kind == OP_SET && op->how == LOADER_REVOKE)) {
        op->late.fire = too_late;
        loop_timer_set(p->l->supervise, &op->late, clock_mono_ns() + REVOKE_LATE_NS);
    }
    enders_check(p);
}

static const char *const superseded = "it was defined anew before it was ready";

/* Whoever waits for a definition's code waits for its answer, this op; others are told. */
static void give_up_next(struct plugin *p, struct op **carried)
{
    struct error err;
    if (p->next && p->next->asked)
        waiters_move(carried, &p->next->waiters);
    error_set(&err, MOAT_E_WRONG_STATE, "%s: %s", p->name, superseded);
    generation_drop_next(p, &err);
}

static void close_gate(struct op *op, struct generation *g, enum retire how, uint64_t grace_ns)
{
    struct plugin *p = op->plugin;
    plugin_publish(p, g, how, grace_ns);
    wait_for_end(op, g);
    generation_unref(g);
}

/* Starts g beside the current generation, which stays until g is ready. */
static void start_next(struct op *op, struct generation *g)
{
    struct plugin *p = op->plugin;
    p->next = g;
    waiters_add(&g->waiters, op);
    generation_start(g, true);
}

static void set_open(struct op *op, struct generation *g, struct op *carried)
{
    struct plugin *p = op->plugin;
    struct generation *now = p->current;
    bool running = now && !now->gate && (now->ready || now->starting);
    waiters_move(&g->waiters, &carried);
    if (op->how == LOADER_REVOKE) {
        plugin_publish(p, g, RETIRE_REVOKE, 0);
        wait_for_end(op, NULL);
        if (g->waiters)
            generation_start(g, true);
        generation_unref(g);
    } else if (running || g->held || (now && now->gate && op->how == LOADER_START)) {
        start_next(op, g);
    } else {
        bool start = op->how == LOADER_START || g->waiters || (now && now->waiters);
        plugin_publish(p, g, RETIRE_DRAIN, UINT64_MAX);
        if (op->how == LOADER_START)
            waiters_add(&g->waiters, op);
        if (start)
            generation_start(g, true);
        if (op->how != LOADER_START)
            op_done(op, NULL);
        generation_unref(g);
    }
}

/* The definition is the one that is there already. */
static bool set_same(struct op *op)
{
    struct generation *now = op->plugin->current;
    if (!now || now->gate || op->gate || now->told != op->spec || op->how == LOADER_REVOKE)
        return false;
    if (op->how == LOADER_LAZY || now->ready) {
        op_done(op, NULL);
        return true;
    }
    waiters_add(&now->waiters, op);
    plugin_forgive(op->plugin);
    generation_start(now, true);
    return true;
}

void op_set(struct op *op)
{
    struct plugin *p = op->plugin;
    struct op *carried = NULL;
    if (!op->gate && !op->spec) {
        op_failed(op, MOAT_E_INTERNAL, "an open gate needs a spec");
        return;
    }
    give_up_next(p, &carried);
    if (!carried && !op->held && set_same(op))
        return;
    struct generation *g = generation_new(p, op->spec, op->gate, op->gate_message);
    if (!g) {
        struct error err;
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory to define %s", p->name);
        waiters_tell(&carried, &err);
        op_done(op, &err);
        return;
    }
    if (!g->gate) {
        g->held = op->held;
        g->guard_asked = op->guard_asked;
        g->guard = op->guard;
        set_open(op, g, carried);
        return;
    }
    waiters_move(&g->waiters, &carried); /* publishing tells them the gate's words */
    bool revoke = op->how == LOADER_REVOKE;
    close_gate(op, g, revoke ? RETIRE_REVOKE : RETIRE_DRAIN, revoke ? 0 : GATE_GRACE_NS);
}

/* The spec again in a generation of its own. */
static void start_fresh(struct op *op, struct spec *spec)
{
    struct plugin *p = op->plugin;
    struct generation *g = generation_new(p, spec, MOAT_E_OK, "");
    if (!g) {
        op_failed(op, MOAT_E_OUT_OF_MEMORY, "no memory to start it");
        return;
    }
    start_next(op, g);
}

static void op_start(struct op *op)
{
    struct plugin *p = op->plugin;
    struct generation *now = p->current;
    if (p->next && !p->next->percent) {
        waiters_add(&p->next->waiters, op);
    } else if (now->gate && now->stopped && now->spec) {
        start_fresh(op, now->told);
    } else if (now->gate) {
        op_failed(op, now->gate, now->gate_message);
    } else if (now->ready) {
        plugin_forgive(p);
        plugin_show(p);
        op_done(op, NULL);
    } else {
        waiters_add(&now->waiters, op);
        plugin_forgive(p);
        generation_start(now, true);
    }
}

static void op_reload(struct op *op)
{
    struct plugin *p = op->plugin;
    struct generation *now = p->current;
    if (p->next || now->gate || !now->ready) {
        op_start(op); /* what starts now is fresh */
        return;
    }
    start_fresh(op, now->told);
}

static void op_stop(struct op *op)
{
    struct plugin *p = op->plugin;
    struct generation *now = p->current;
    struct error err;
    char message[256];
    bool open = !now->gate || now->stopped;
    if (open)
        snprintf(message, sizeof message, "%s is unloaded: `moat load %s` loads it", p->name, p->name);
    else
        text_copy(message, sizeof message, now->gate_message);
    error_set(&err, MOAT_E_WRONG_STATE, "%s was unloaded before it was ready", p->name);
    generation_drop_next(p, &err);
    enum moat_code gate = open ? MOAT_E_WRONG_STATE : now->gate;
    struct generation *g = generation_new(p, now->told, gate, message);
    if (!g) {
        op_failed(op, MOAT_E_OUT_OF_MEMORY, "no memory to stop it");
        return;
    }
    g->stopped = open;
    close_gate(op, g, RETIRE_DRAIN, op->grace_ns);
}

static void op_end(struct op *op)
{
    canary_end_version(op->plugin, op->version, "its version may not run any more");
    for (struct worker *w = op->plugin->living; w; w = w->next)
        if (w->gen->old && strcmp(w->gen->version, op->version) == 0)
            worker_kill(w, KILL_REVOKED);
    wait_for_end(op, NULL);
}

static void op_close(struct op *op)
{
    struct loader *l = op->l;
    struct error err;
    error_set(&err, MOAT_E_DRAINING, "the host is shutting down");
    l->closer = op;
    pthread_mutex_lock(&l->table_lock);
    struct plugin *all = l->plugins;
    pthread_mutex_unlock(&l->table_lock);
    for (struct plugin *p = all; p; p = p->next_of_all) {
        canary_give_way(p, err.message);
        change_abandon(p);
        generation_drop_next(p, &err);
        loop_timer_clear(&p->retry);
        if (!p->current)
            continue;
        struct generation *g = generation_new(p, NULL, MOAT_E_DRAINING, err.message);
        if (!g)
            continue; /* its calls end with its workers below all the same */
        plugin_publish(p, g, RETIRE_DRAIN, op->grace_ns);
        generation_unref(g);
    }
    loader_closed_check(l);
}

/* The last worker has ended: the half-built walls too, then nothing is left. */
void loader_closed_check(struct loader *l)
{
    struct op *op = l->closer;
    if (!op)
        return;
    for (const struct worker *w = l->workers; w; w = w->next_of_all)
        if (w->gen)
            return;
    l->closer = NULL; /* walls_close comes back here for each */
    walls_close(l);
    op_done(op, NULL);
}

/* What the canary was compared with is not what will be. */
static bool ends_canary(const struct op *op)
{
    return op->kind == OP_SET || op->kind == OP_CONFIGURE || op->kind == OP_RELOAD || op->kind == OP_STOP ||
           op->kind == OP_FORGET;
}

/* What makes a change of the configuration that goes on pointless. */
static bool ends_change(const struct op *op)
{
    return op->kind != OP_START && op->kind != OP_END && op->kind != OP_VERDICT;
}

void op_run(struct loop_task *task)
{
    struct op *op = (struct op *)(void *)((char *)task - offsetof(struct op, task));
    static void (*const handlers[])(struct op *) = {
        [OP_SET] = op_set,
        [OP_CONFIGURE] = op_configure,
        [OP_START] = op_start,
        [OP_RELOAD] = op_reload,
        [OP_STOP] = op_stop,
        [OP_END] = op_end,
        [OP_FORGET] = op_stop,
        [OP_VERDICT] = op_verdict,
        [OP_CLOSE] = op_close,
        [OP_CANARY] = op_canary,
        [OP_CANARY_PROMOTE] = op_canary_promote,
        [OP_CANARY_END] = op_canary_end,
    };
    struct error err;
    if (op->kind != OP_CLOSE && atomic_load(&op->l->closing)) {
        op_failed(op, MOAT_E_DRAINING, "the host is shutting down");
    } else if (op->kind != OP_CLOSE &&
               (!op->plugin || (op->kind != OP_SET && op->kind != OP_VERDICT && !op->plugin->current))) {
        error_set(&err, MOAT_E_NO_SUCH_PLUGIN, "there is no plugin \"%s\"", op->name);
        op_done(op, &err);
    } else {
        if (op->plugin && ends_canary(op))
            canary_give_way(op->plugin, "the plugin was defined anew, configured, reloaded or stopped");
        if (op->plugin && ends_change(op))
            change_abandon(op->plugin);
        handlers[op->kind](op);
    }
}
