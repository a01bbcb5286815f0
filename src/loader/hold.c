/* A start whose code is still being judged: its worker is built up to its finished wall, and goes on, or ends, with the
 * verdict.  Everything here runs on the supervise thread. */
#include <errno.h>

#include "loader/internal.h"

/* The wall stands and was looked at; nothing of the plugin has run. */
void worker_go(struct worker *w)
{
    if (w->gen->held) {
        w->state = WORKER_HELD;
        return;
    }
    loop_timer_set(w->l->supervise, &w->timer, clock_mono_ns() + START_TIMEOUT_NS);
    w->state = WORKER_GOING;
    if (!wall_go(&w->child))
        worker_failed(w, "go", errno, "");
}

static void release(struct generation *g)
{
    struct worker *next;
    g->held = false;
    for (struct worker *w = g->plugin->living; w; w = next) {
        next = w->next;
        if (w->gen == g && w->state == WORKER_HELD)
            worker_go(w);
    }
}

void op_verdict(struct op *op)
{
    struct plugin *p = op->plugin;
    struct generation *g = p->next;
    if (g && g->held && g->spec == op->spec) {
        if (op->refused.code)
            generation_drop_next(p, &op->refused);
        else
            release(g);
    }
    op_done(op, NULL);
}
