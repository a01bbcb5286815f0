/* Plugins that wait for each other.  A call that waits for a call of another plugin holds its worker; when every worker
 * that could run that one waits as well, for workers that wait …, nothing goes on before a deadline.  The last wait of
 * such a knot is refused instead.
 *
 * What a waiting call waits for is either on a worker already, and then for what that worker waits (child), or in the
 * target's queue, and then for any of the target's workers.  So nothing is put behind the running call of a plugin that
 * may wait (drive.c). Everything here is under the loader's knot_lock, in which each plugin's own is taken. */
#include "loader/internal.h"

/* For the first worker that waits for nothing, or is still to come: false. */
static bool all_wait(struct plugin *p, struct inquiry *waits[PLUGIN_SLOTS], unsigned *n)
{
    bool all = true;
    *n = 0;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLUGIN_SLOTS && all; i++) {
        struct worker *w = p->roster[i];
        if (!w || atomic_load(&w->flags) & (WORKER_DEAD | WORKER_KILLED | WORKER_RETIRED))
            continue;
        all = w->asks.waits != NULL;
        waits[(*n)++] = w->asks.waits;
    }
    all = all && p->current && !p->current->gate && *n >= p->current->nworkers;
    pthread_mutex_unlock(&p->lock);
    return all;
}

static void look_at(struct loader *l, struct plugin *p, struct plugin **todo)
{
    if (p->knot_round == l->knot_round)
        return;
    p->knot_round = l->knot_round;
    p->knot_next = *todo;
    *todo = p;
}

/* Whatever it leads to waits: one way out is enough. */
static bool is_knot(struct loader *l, const struct inquiry *x)
{
    struct inquiry *waits[PLUGIN_SLOTS];
    struct plugin *todo = NULL;
    unsigned n;
    l->knot_round++;
    look_at(l, x->target, &todo);
    while (todo) {
        struct plugin *p = todo;
        todo = p->knot_next;
        if (!all_wait(p, waits, &n))
            return false;
        for (unsigned i = 0; i < n; i++) {
            const struct inquiry *last = waits[i];
            while (last->child)
                last = last->child;
            look_at(l, last->target, &todo);
        }
    }
    return true;
}

static void untie(struct inquiry *x)
{
    if (x->parent && x->parent->child == x)
        x->parent->child = NULL;
    if (x->child)
        x->child->parent = NULL;
    if (x->w->asks.waits == x)
        x->w->asks.waits = NULL;
    x->parent = x->child = NULL;
    x->target = NULL;
}

int knot_open(struct inquiry *x, struct plugin *target)
{
    struct loader *l = x->w->l;
    int rc = 0;
    pthread_mutex_lock(&l->knot_lock);
    if (x->over) { /* its worker waits for something else by now, perhaps */
        pthread_mutex_unlock(&l->knot_lock);
        return -MOAT_E_CANCELLED;
    }
    if (x->of && x->of->target) {
        x->parent = x->of;
        x->parent->child = x;
    }
    x->target = target;
    x->w->asks.waits = x;
    if (is_knot(l, x)) {
        untie(x);
        rc = -MOAT_E_WOULD_DEADLOCK;
    }
    pthread_mutex_unlock(&l->knot_lock);
    return rc;
}

void knot_close(struct inquiry *x)
{
    struct loader *l = x->w->l;
    pthread_mutex_lock(&l->knot_lock);
    untie(x);
    pthread_mutex_unlock(&l->knot_lock);
}

void knot_end(struct inquiry *x)
{
    struct loader *l = x->w->l;
    pthread_mutex_lock(&l->knot_lock);
    untie(x);
    x->over = true;
    pthread_mutex_unlock(&l->knot_lock);
}
