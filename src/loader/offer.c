/* What there is to choose from: every plugin whose calls are taken, with its manifest and the figures that say how well
 * it does. Cheap: no file of /proc is read. */
#include <string.h>

#include "base/text.h"
#include "loader/internal.h"

/* What a plugin may be blamed for; the rest is its caller's, or nobody's. */
static const enum moat_code blamed[] = {MOAT_E_PLUGIN_CRASHED, MOAT_E_START_FAILED, MOAT_E_BAD_RESULT,
                                        MOAT_E_DEADLINE,       MOAT_E_LIMIT,        MOAT_E_ACTION_FAILED};

uint64_t loader_changes(const struct loader *l)
{
    return atomic_load_explicit(&l->changes, memory_order_acquire);
}

static struct manifest *manifest_of(struct plugin *p, enum moat_code *gate)
{
    struct manifest *m = NULL;
    pthread_mutex_lock(&p->lock);
    const struct generation *g = p->current;
    *gate = !g ? MOAT_E_NO_SUCH_PLUGIN : g->gate;
    if (g && !g->gate && g->spec)
        m = manifest_ref(g->spec->manifest);
    pthread_mutex_unlock(&p->lock);
    return m;
}

struct manifest *loader_manifest(struct loader *l, const char *name, enum moat_code *gate)
{
    struct plugin *p = table_find(l, name);
    if (p)
        return manifest_of(p, gate);
    *gate = MOAT_E_NO_SUCH_PLUGIN;
    return NULL;
}

bool loader_gate(struct loader *l, const char *name, char *message, size_t size)
{
    struct plugin *p = table_find(l, name);
    bool closed = false;
    if (!p)
        return false;
    pthread_mutex_lock(&p->lock);
    if (p->current && p->current->gate) {
        closed = true;
        text_copy(message, size, p->current->gate_message);
    }
    pthread_mutex_unlock(&p->lock);
    return closed;
}

void loader_offers(struct loader *l, void (*each)(void *context, const char *name, struct manifest *m), void *context)
{
    pthread_mutex_lock(&l->table_lock);
    struct plugin *p = l->plugins; /* a list that only grows, at its head */
    pthread_mutex_unlock(&l->table_lock);
    for (; p; p = p->next_of_all) {
        enum moat_code gate;
        struct manifest *m = manifest_of(p, &gate);
        if (m)
            each(context, p->name, m);
        manifest_unref(m);
    }
}

/* Calls that have ended, however; errors among them count twice: it is only to change with each. */
static bool is_busy(struct plugin *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t ended = p->gone_runs + p->killed_runs + p->error_count;
    for (unsigned i = 0; i < PLUGIN_SLOTS; i++)
        if (p->roster[i])
            ended += atomic_load_explicit(&p->roster[i]->tally.executions, memory_order_relaxed);
    bool busy = ended != p->busy_seen;
    p->busy_seen = ended;
    pthread_mutex_unlock(&p->lock);
    return busy;
}

void loader_busy(struct loader *l, void (*each)(void *context, const char *name), void *context)
{
    pthread_mutex_lock(&l->table_lock);
    struct plugin *p = l->plugins; /* a list that only grows, at its head */
    pthread_mutex_unlock(&l->table_lock);
    for (; p; p = p->next_of_all)
        if (is_busy(p))
            each(context, p->name);
}

bool loader_merits(struct loader *l, const char *name, struct loader_merits *out)
{
    struct plugin *p = table_find(l, name);
    struct loader_figure all = {0};
    if (!p)
        return false;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&p->lock);
    bool defined = p->shown.defined;
    out->health = p->shown.health;
    out->closed = p->circuit != CIRCUIT_CLOSED;
    record_sum_all(p, &all);
    pthread_mutex_unlock(&p->lock);
    out->runs = all.executions;
    out->ran_ns = all.runs.sum;
    out->cpu_ns = all.cpu_ns;
    for (size_t i = 0; i < sizeof blamed / sizeof *blamed; i++)
        out->faults += all.errors_by_code[blamed[i]];
    return defined;
}
