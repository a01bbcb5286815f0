/* What the registry keeps beyond this process: loads, calls, errors of each version.  Told as differences, each once,
 * to config.on_counts: when somebody asks, when a worker ends, and at the end of all. */
#include <string.h>

#include "base/text.h"
#include "loader/internal.h"

/* Versions whose workers live at once: the current one and those that drain. */
#define VERSIONS_MAX 8

struct counted {
    struct loader_counts list[VERSIONS_MAX];
    char versions[VERSIONS_MAX][MANIFEST_VERSION_MAX + 1];
    size_t n;
};

static struct loader_counts *counts_of(struct counted *c, const char *version)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->versions[i], version) == 0)
            return &c->list[i];
    if (c->n == VERSIONS_MAX) /* as good as never: the numbers stay right, the version is a neighbour */
        return &c->list[c->n - 1];
    text_copy(c->versions[c->n], sizeof c->versions[0], version);
    return &c->list[c->n++];
}

/* Under the plugin's lock. */
static void take_worker(struct counted *c, struct worker *w)
{
    uint64_t executions = atomic_load_explicit(&w->tally.executions, memory_order_relaxed);
    uint64_t last = atomic_load_explicit(&w->tally.last_ns, memory_order_relaxed);
    if (executions == w->counted)
        return;
    struct loader_counts *one = counts_of(c, w->gen->version);
    one->calls += executions - w->counted;
    one->last_call_ns = last > one->last_call_ns ? last : one->last_call_ns;
    w->counted = executions;
}

static void take_plugin(struct counted *c, struct plugin *p)
{
    for (size_t i = 0; i < COUNTS_DUE && p->due[i].version[0]; i++) {
        struct loader_counts *one = counts_of(c, p->due[i].version);
        one->errors += p->due[i].errors;
        one->calls += p->due[i].killed;
    }
    memset(p->due, 0, sizeof p->due);
}

void counts_stir(struct loader *l)
{
    if (atomic_load_explicit(&l->stirred, memory_order_relaxed) || atomic_exchange(&l->stirred, true))
        return;
    if (l->config.on_stir)
        l->config.on_stir(l->config.context);
}

struct counts_due *counts_due(struct plugin *p, const struct generation *ran)
{
    const struct generation *of = ran ? ran : p->current;
    size_t i = 0;
    if (!of || !of->version[0])
        return NULL;
    while (i < COUNTS_DUE - 1 && p->due[i].version[0] && strcmp(p->due[i].version, of->version) != 0)
        i++;
    if (!p->due[i].version[0]) /* else its own, or as good as never a neighbour's */
        text_copy(p->due[i].version, sizeof p->due[i].version, of->version);
    return &p->due[i];
}

static void tell(struct plugin *p, struct counted *c)
{
    const struct loader_config *config = &p->l->config;
    uint64_t mono = clock_mono_ns(), wall = clock_wall_ns();
    for (size_t i = 0; i < c->n; i++) {
        struct loader_counts *one = &c->list[i];
        one->plugin = p->name;
        one->version = c->versions[i];
        if (one->last_call_ns) /* so far a time of the monotonic clock */
            one->last_call_ns = wall - (mono > one->last_call_ns ? mono - one->last_call_ns : 0);
        config->on_counts(config->context, one);
    }
}

void counts_worker_gone(struct worker *w)
{
    struct plugin *p = w->plugin;
    struct counted c = {.n = 0};
    if (!p->l->config.on_counts)
        return;
    pthread_mutex_lock(&p->lock);
    take_worker(&c, w);
    pthread_mutex_unlock(&p->lock);
    tell(p, &c);
}

void counts_collect(struct plugin *p)
{
    struct counted c = {.n = 0};
    if (!p->l->config.on_counts)
        return;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLUGIN_SLOTS; i++)
        if (p->roster[i])
            take_worker(&c, p->roster[i]);
    take_plugin(&c, p);
    pthread_mutex_unlock(&p->lock);
    tell(p, &c);
}

void counts_loaded(struct generation *g)
{
    struct plugin *p = g->plugin;
    struct loader_counts one = {.plugin = p->name, .version = g->version, .loads = 1};
    if (!g->loaded && p->l->config.on_counts)
        p->l->config.on_counts(p->l->config.context, &one);
    g->loaded = true;
}
