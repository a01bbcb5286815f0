/* What is counted of each action and generation.  A worker's tallies have one writer, its owner, and are read by
 * anyone. A record belongs to one generation and holds what its ended workers have left and what failed; the plugin
 * keeps the last ones, and the sum of all before them by the actions' names.  A sum is made when somebody asks. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "loader/internal.h"

/* ---- sums ---- */

/* By name; made when it is not there. NULL: no memory, or more names than a plugin has in its life. */
static struct action_sum *sum_of(struct action_sum **list, const char *name)
{
    size_t n = 0;
    for (; *list; list = &(*list)->next, n++)
        if (strcmp((*list)->name, name) == 0)
            return *list;
    if (n >= LOADER_ACTIONS_MAX)
        return NULL;
    *list = calloc(1, sizeof **list);
    if (*list)
        text_copy((*list)->name, sizeof(*list)->name, name);
    return *list;
}

static void sums_free(struct action_sum *list)
{
    for (struct action_sum *next; list; list = next) {
        next = list->next;
        free(list);
    }
}

static void figure_add(struct loader_figure *to, const struct loader_figure *from)
{
    to->executions += from->executions;
    to->failed += from->failed;
    to->errors += from->errors;
    to->bytes_in += from->bytes_in;
    to->bytes_out += from->bytes_out;
    to->cpu_ns += from->cpu_ns;
    to->last_ns = from->last_ns > to->last_ns ? from->last_ns : to->last_ns;
    for (int i = 0; i < MOAT_E_COUNT; i++)
        to->errors_by_code[i] += from->errors_by_code[i];
    histogram_merge(&to->runs, &from->runs);
    histogram_merge(&to->waits, &from->waits);
}

static uint64_t read64(const _Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void spread_add(struct histogram *to, const struct spread_tally *from)
{
    to->sum += read64(&from->sum);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t n = read64(&from->buckets[i]);
        to->buckets[i] += n;
        to->count += n;
    }
}

static void tally_read(struct loader_figure *to, const struct action_tally *from)
{
    uint64_t last = read64(&from->last_ns);
    to->executions += read64(&from->executions);
    to->bytes_in += read64(&from->bytes_in);
    to->bytes_out += read64(&from->bytes_out);
    to->cpu_ns += read64(&from->cpu_ns);
    to->last_ns = last > to->last_ns ? last : to->last_ns;
    spread_add(&to->runs, &from->runs);
    spread_add(&to->waits, &from->waits);
}

/* ---- records ---- */

static size_t actions_of(const struct record *r)
{
    return r->manifest->nactions;
}

static struct action_sum *record_sum(struct record *r, size_t action)
{
    if (!r->sums[action])
        r->sums[action] = calloc(1, sizeof *r->sums[action]);
    return r->sums[action];
}

static void record_free(struct record *r)
{
    for (size_t i = 0; i < actions_of(r); i++)
        free(r->sums[i]);
    manifest_unref(r->manifest);
    free(r);
}

static void fold(struct plugin *p, const struct record *r)
{
    if (r->canary)
        return; /* what it did was never the plugin's */
    for (size_t i = 0; i < actions_of(r); i++) {
        if (!r->sums[i])
            continue;
        struct action_sum *past = sum_of(&p->past, r->manifest->actions[i].name);
        if (past)
            figure_add(&past->figure, &r->sums[i]->figure);
    }
}

/* The oldest ones to which nothing can be added any more. */
static void trim(struct plugin *p)
{
    size_t kept = 0;
    for (struct record **link = &p->records, *r; (r = *link);) {
        if (kept < LOADER_GENERATIONS_MAX || r->users) {
            kept++;
            link = &r->older;
            continue;
        }
        *link = r->older;
        fold(p, r);
        record_free(r);
    }
}

void record_open(struct generation *g)
{
    struct plugin *p = g->plugin;
    size_t n = g->spec->manifest->nactions;
    /* Only before its first worker, so that all of them know the same; without it the plugin's own counts are right. */
    struct record *r = g->loaded || g->old ? NULL : calloc(1, sizeof *r + n * sizeof *r->sums);
    if (!r)
        return;
    text_copy(r->version, sizeof r->version, g->version);
    r->manifest = manifest_ref(g->spec->manifest);
    r->since_ns = clock_wall_ns();
    r->users = 1;
    r->canary = g->percent != 0;
    pthread_mutex_lock(&p->lock);
    r->number = ++p->generations;
    r->older = p->records;
    p->records = r;
    g->record = r;
    trim(p);
    pthread_mutex_unlock(&p->lock);
}

void record_close(struct generation *g)
{
    struct plugin *p = g->plugin;
    if (!g->record || g->record->until_ns)
        return;
    pthread_mutex_lock(&p->lock);
    g->record->until_ns = clock_wall_ns();
    g->record->users--;
    pthread_mutex_unlock(&p->lock);
}

void record_worker(struct worker *w)
{
    pthread_mutex_lock(&w->plugin->lock);
    if (w->gen->record)
        w->gen->record->users++;
    pthread_mutex_unlock(&w->plugin->lock);
}

void record_worker_gone(struct worker *w, uint64_t peak)
{
    struct record *r = w->gen->record;
    for (size_t i = 0; i < w->nacts; i++) {
        const struct action_tally *t = atomic_load(&w->acts[i]);
        struct action_sum *sum = !t  ? NULL
                                 : r ? record_sum(r, i)
                                     : sum_of(&w->plugin->past, w->gen->spec->manifest->actions[i].name);
        if (sum)
            tally_read(&sum->figure, t);
    }
    if (!r)
        return;
    r->peak = peak > r->peak ? peak : r->peak;
    r->users--;
}

void record_promote(struct generation *g)
{
    pthread_mutex_lock(&g->plugin->lock);
    if (g->record)
        g->record->canary = false;
    pthread_mutex_unlock(&g->plugin->lock);
}

void record_crash(struct generation *g)
{
    pthread_mutex_lock(&g->plugin->lock);
    if (g->record)
        g->record->crashes++;
    pthread_mutex_unlock(&g->plugin->lock);
}

void records_free(struct plugin *p)
{
    for (struct record *r = p->records, *older; r; r = older) {
        older = r->older;
        record_free(r);
    }
    sums_free(p->past);
}

/* ---- counting: the owner's, on the way of each call ---- */

/* One writer: no locked instruction. */
static inline void add64(_Atomic uint64_t *to, uint64_t n)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void spread_count(struct spread_tally *t, uint64_t ns)
{
    add64(&t->sum, ns);
    add64(&t->buckets[histogram_bucket(ns)], 1);
}

/* Made at the action's first answer: most plugins use few of their actions. */
static struct action_tally *tally_make(struct worker *w, uint32_t action)
{
    struct action_tally *t = calloc(1, sizeof *t);
    atomic_store_explicit(&w->acts[action], t, memory_order_release);
    return t;
}

void tally_run(struct worker *w, uint32_t action, const struct counted_run *run, uint64_t now)
{
    struct action_tally *t = atomic_load_explicit(&w->acts[action], memory_order_relaxed);
    add64(&w->tally.executions, 1);
    counts_stir(w->l);
    atomic_store_explicit(&w->tally.last_ns, now, memory_order_relaxed);
    if (__builtin_expect(!t, 0) && !(t = tally_make(w, action)))
        return; /* no memory: the plugin's count is right all the same */
    add64(&t->executions, 1);
    add64(&t->bytes_in, run->in);
    add64(&t->bytes_out, run->out);
    add64(&t->cpu_ns, run->cpu_ns);
    spread_count(&t->runs, run->ran_ns);
    spread_count(&t->waits, run->waited_ns);
    atomic_store_explicit(&t->last_ns, now, memory_order_relaxed);
}

/* ---- failures: under the lock ---- */

struct loader_figure *record_figure(struct plugin *p, const struct generation *g, const char *action)
{
    const struct generation *of = g ? g : p->current;
    if (!of || !of->spec)
        return NULL;
    int i = manifest_action(of->spec->manifest, action);
    struct action_sum *sum = i < 0 ? NULL : of->record ? record_sum(of->record, (size_t)i) : sum_of(&p->past, action);
    return sum ? &sum->figure : NULL;
}

/* ---- telling ---- */

/* Where a sum goes: by the action's name, to one figure, or to both. */
struct sink {
    struct action_sum **by_name; /* NULL: not asked for */
    struct loader_figure *one;   /* likewise */
};

static void sink_add(const struct sink *to, const char *name, const struct loader_figure *figure,
                     const struct action_tally *tally)
{
    struct action_sum *sum = to->by_name ? sum_of(to->by_name, name) : NULL;
    struct loader_figure *const both[] = {sum ? &sum->figure : NULL, to->one};
    for (size_t i = 0; i < 2; i++) {
        if (both[i] && figure)
            figure_add(both[i], figure);
        if (both[i] && tally)
            tally_read(both[i], tally);
    }
}

/* The living workers of a record, or (NULL) of generations that have none. */
static unsigned add_living(const struct plugin *p, const struct record *r, const struct sink *to)
{
    unsigned workers = 0;
    for (unsigned s = 0; s < PLUGIN_SLOTS; s++) {
        const struct worker *w = p->roster[s];
        if (!w || w->gen->record != r)
            continue;
        workers++;
        for (size_t i = 0; i < w->nacts; i++) {
            const struct action_tally *t = atomic_load_explicit(&w->acts[i], memory_order_acquire);
            if (t)
                sink_add(to, w->gen->spec->manifest->actions[i].name, NULL, t);
        }
    }
    return workers;
}

static unsigned add_record(const struct plugin *p, const struct record *r, const struct sink *to)
{
    for (size_t i = 0; i < actions_of(r); i++)
        if (r->sums[i])
            sink_add(to, r->manifest->actions[i].name, &r->sums[i]->figure, NULL);
    return add_living(p, r, to);
}

static void add_past(const struct plugin *p, const struct sink *to)
{
    for (const struct action_sum *s = p->past; s; s = s->next)
        sink_add(to, s->name, &s->figure, NULL);
    add_living(p, NULL, to);
}

static void tell_record(const struct record *r, struct loader_generation *out)
{
    text_copy(out->version, sizeof out->version, r->version);
    out->number = r->number;
    out->since_ns = r->since_ns;
    out->until_ns = r->until_ns;
    out->peak_memory = r->peak;
    out->crashes = r->crashes;
}

/* The monotonic clock's times become the wall's. */
static void to_wall(struct loader_figure *f)
{
    uint64_t mono = clock_mono_ns();
    if (f->last_ns)
        f->last_ns = clock_wall_ns() - (mono > f->last_ns ? mono - f->last_ns : 0);
}

static bool take_actions(struct loader_figures *out, const struct action_sum *totals)
{
    size_t n = 0;
    for (const struct action_sum *s = totals; s; s = s->next)
        n++;
    out->actions = calloc(n ? n : 1, sizeof *out->actions);
    for (const struct action_sum *s = totals; s && out->actions; s = s->next) {
        struct loader_action *a = &out->actions[out->nactions++];
        memcpy(a->name, s->name, sizeof a->name);
        a->figure = s->figure;
        to_wall(&a->figure);
    }
    return out->actions != NULL;
}

struct loader_figures *plugin_figures(struct plugin *p)
{
    struct loader_figures *out = calloc(1, sizeof *out);
    struct action_sum *totals = NULL;
    struct loader_generation unshown = {0}; /* more at once than are told: they still drain */
    if (!out)
        return NULL;
    pthread_mutex_lock(&p->lock);
    add_past(p, &(struct sink){.by_name = &totals});
    for (const struct record *r = p->records; r; r = r->older) {
        bool shown = out->ngenerations < LOADER_GENERATIONS_MAX;
        struct loader_generation *one = shown ? &out->generations[out->ngenerations++] : &unshown;
        tell_record(r, one);
        one->workers = add_record(p, r, &(struct sink){r->canary ? NULL : &totals, &one->figure});
    }
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < out->ngenerations; i++)
        to_wall(&out->generations[i].figure);
    bool whole = take_actions(out, totals);
    sums_free(totals);
    if (whole)
        return out;
    free(out);
    return NULL;
}

void record_sum_all(const struct plugin *p, struct loader_figure *all)
{
    const struct sink to = {.one = all};
    add_past(p, &to);
    for (const struct record *r = p->records; r; r = r->older)
        if (!r->canary)
            add_record(p, r, &to);
}
