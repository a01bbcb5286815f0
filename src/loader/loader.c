/* The loader itself: what may be asked of it from any thread, its beginning and its end. */
#include "loader/loader.h"

#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "loader/denials.h"
#include "loader/internal.h"

/* ---- specs ---- */

struct spec *spec_ref(struct spec *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void spec_unref(struct spec *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    manifest_unref(s->manifest);
    for (size_t i = 0; i < s->ncode; i++)
        io_close(&s->code[i]);
    if (s->assets > 0)
        io_close(&s->assets);
    free(s->programs);
    free(s->quotas);
    free(s->config);
    free(s);
}

const char *loader_state_name(enum loader_state s)
{
    static const char *const names[] = {"unloaded", "loading",      "ready",      "draining",
                                        "backoff",  "open_circuit", "needs_grant"};
    return (size_t)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

const char *health_name(enum health h)
{
    static const char *const names[] = {"unknown", "healthy", "degraded", "failed"};
    return (size_t)h < sizeof names / sizeof *names ? names[h] : "unknown";
}

/* ---- asking supervise ---- */

static void ask(struct loader *l, const char *name, struct op model, loader_done done, void *context)
{
    struct error err;
    struct op *op = malloc(sizeof *op);
    struct plugin *p = model.kind == OP_CLOSE || !text_is_name(name, MANIFEST_NAME_MAX) ? NULL
                       : model.kind == OP_SET                                           ? table_make(l, name)
                                                                                        : table_find(l, name);
    if (!op || (model.kind == OP_SET && !p)) {
        free(op);
        spec_unref(model.spec);
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory to change %.64s", name);
        if (done)
            done(context, &err);
        return;
    }
    *op = model;
    op->l = l;
    op->plugin = p;
    op->done = done;
    op->context = context;
    op->task.run = op_run;
    text_copy(op->name, sizeof op->name, name);
    loop_post(l->supervise, &op->task);
}

void loader_set(struct loader *l, const char *name, struct spec *spec, enum loader_how how, enum moat_code gate,
                const char *gate_message, loader_done done, void *context)
{
    struct op op = {.kind = OP_SET,
                    .spec = spec ? spec_ref(spec) : NULL,
                    .how = how == LOADER_HELD ? LOADER_START : how,
                    .held = how == LOADER_HELD,
                    .gate = gate};
    text_copy(op.gate_message, sizeof op.gate_message, gate_message ? gate_message : error_info(gate)->advice);
    ask(l, name, op, done, context);
}

void loader_configure(struct loader *l, const char *name, struct spec *spec, const struct loader_guard_ask *guard,
                      loader_done done, void *context)
{
    struct op op = {.kind = OP_CONFIGURE, .spec = spec_ref(spec), .guard_asked = guard != NULL};
    if (guard)
        op.guard = *guard;
    ask(l, name, op, done, context);
}

void loader_verdict(struct loader *l, const char *name, struct spec *spec, const struct error *refused)
{
    struct op op = {.kind = OP_VERDICT, .spec = spec_ref(spec)};
    if (refused)
        op.refused = *refused;
    ask(l, name, op, NULL, NULL);
}

void loader_start(struct loader *l, const char *name, loader_done done, void *context)
{
    ask(l, name, (struct op){.kind = OP_START}, done, context);
}

void loader_keep(struct loader *l, const char *name, bool keep)
{
    struct plugin *p = table_find(l, name);
    if (p)
        atomic_store(&p->keep, keep);
}

void loader_reload(struct loader *l, const char *name, loader_done done, void *context)
{
    ask(l, name, (struct op){.kind = OP_RELOAD}, done, context);
}

void loader_stop(struct loader *l, const char *name, uint64_t grace_ns, loader_done done, void *context)
{
    ask(l, name, (struct op){.kind = OP_STOP, .grace_ns = grace_ns}, done, context);
}

void loader_end(struct loader *l, const char *name, const char *version, loader_done done, void *context)
{
    struct op op = {.kind = OP_END};
    text_copy(op.version, sizeof op.version, version);
    ask(l, name, op, done, context);
}

void loader_forget(struct loader *l, const char *name, loader_done done, void *context)
{
    ask(l, name, (struct op){.kind = OP_FORGET}, done, context);
}

void loader_canary(struct loader *l, const char *name, struct spec *spec, unsigned percent, loader_done done,
                   void *context)
{
    ask(l, name, (struct op){.kind = OP_CANARY, .spec = spec_ref(spec), .percent = percent}, done, context);
}

void loader_canary_promote(struct loader *l, const char *name, const char *version, loader_done done, void *context)
{
    struct op op = {.kind = OP_CANARY_PROMOTE};
    text_copy(op.version, sizeof op.version, version);
    ask(l, name, op, done, context);
}

void loader_canary_end(struct loader *l, const char *name, const char *why, loader_done done, void *context)
{
    struct op op = {.kind = OP_CANARY_END};
    text_copy(op.gate_message, sizeof op.gate_message, why);
    ask(l, name, op, done, context);
}

bool loader_guard_status(struct loader *l, const char *name, struct loader_guard *out)
{
    struct plugin *p = table_find(l, name);
    return p && plugin_guard(p, out);
}

void loader_guard_settle(struct loader *l, const char *name, uint64_t revision, bool back, const char *why)
{
    struct plugin *p = table_find(l, name);
    if (p)
        plugin_guard_settle(p, revision, back, why);
}

bool loader_canary_status(struct loader *l, const char *name, struct loader_canary *out)
{
    struct plugin *p = table_find(l, name);
    return p && plugin_canary(p, out);
}

/* ---- telling ---- */

bool loader_status(struct loader *l, const char *name, struct loader_status *out)
{
    struct plugin *p = table_find(l, name);
    return p && plugin_status(p, out);
}

struct loader_figures *loader_figures(struct loader *l, const char *name)
{
    struct plugin *p = table_find(l, name);
    return p ? plugin_figures(p) : NULL;
}

void loader_figures_free(struct loader_figures *f)
{
    if (f)
        free(f->actions);
    free(f);
}

static int by_name(const void *a, const void *b)
{
    const struct plugin *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

void loader_each(struct loader *l, void (*each)(void *context, const struct loader_status *status), void *context)
{
    pthread_mutex_lock(&l->table_lock);
    size_t n = 0;
    struct plugin **all = malloc((l->nplugins + 1) * sizeof *all);
    for (struct plugin *p = l->plugins; p && all; p = p->next_of_all)
        all[n++] = p;
    pthread_mutex_unlock(&l->table_lock);
    struct loader_status *status = malloc(sizeof *status);
    if (all)
        qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n && status; i++)
        if (plugin_status(all[i], status))
            each(context, status);
    free(status);
    free(all);
}

static void collect_one(struct plugin *p)
{
    counts_collect(p);
    denials_hand_over(p);
}

bool loader_collect(struct loader *l, const char *name_or_null)
{
    if (name_or_null) {
        struct plugin *one = table_find(l, name_or_null);
        if (one)
            collect_one(one);
        return true;
    }
    if (!atomic_exchange(&l->stirred, false)) /* before the look: what comes after it says so again */
        return false;
    pthread_mutex_lock(&l->table_lock);
    struct plugin *p = l->plugins; /* a list that only grows, at its head */
    pthread_mutex_unlock(&l->table_lock);
    for (; p; p = p->next_of_all)
        collect_one(p);
    return true;
}

bool loader_is_stirred(const struct loader *l)
{
    return atomic_load(&l->stirred);
}

static uint64_t capped(uint64_t asked, uint64_t cap)
{
    return cap && (!asked || cap < asked) ? cap : asked;
}

struct manifest_limits loader_limits(const struct loader *l, const struct manifest_limits *asked)
{
    const struct loader_caps *caps = &l->config.caps;
    struct manifest_limits out = *asked;
    out.memory = capped(out.memory, caps->memory);
    out.tmp = capped(out.tmp, caps->tmp);
    out.file_size = capped(out.file_size, caps->file_size);
    out.cpu_ns = capped(out.cpu_ns, caps->cpu_ns);
    out.processes = (uint32_t)capped(out.processes, caps->processes);
    out.descriptors = (uint32_t)capped(out.descriptors, caps->descriptors);
    out.workers = (uint32_t)capped(out.workers ? out.workers : 1, caps->workers);
    if (out.workers > PLUGIN_WORKERS)
        out.workers = PLUGIN_WORKERS;
    return out;
}

bool loader_fallback(const struct loader *l)
{
    return atomic_load(&l->fallback);
}

struct spawner *loader_spawner(struct loader *l)
{
    return atomic_load(&l->spawner);
}

/* ---- errors of calls, told on the supervise thread ---- */

#define TOLD_MAX 256

struct told_error {
    struct told_error *next;
    const char *plugin;
    char call_id[33];
    struct error error;
};

static void tell_errors(struct loop_task *task)
{
    struct loader *l = (struct loader *)(void *)((char *)task - offsetof(struct loader, errors_task));
    pthread_mutex_lock(&l->errors_lock);
    struct told_error *t = l->errors;
    l->errors = NULL;
    l->errors_end = &l->errors;
    l->nerrors = 0;
    l->errors_posted = false;
    pthread_mutex_unlock(&l->errors_lock);
    while (t) {
        struct told_error *next = t->next;
        l->config.on_call_error(l->config.context, t->plugin, &t->error, t->call_id);
        free(t);
        t = next;
    }
}

/* Bounded: who sends bad calls faster than they can be told must not fill the memory. loader_status counts them all. */
void error_tell(struct plugin *p, const struct error *err, const char *call_id)
{
    struct loader *l = p->l;
    if (!l->config.on_call_error)
        return;
    struct told_error *t = malloc(sizeof *t);
    if (!t)
        return;
    t->next = NULL;
    t->plugin = p->name;
    t->error = *err;
    memcpy(t->call_id, call_id, sizeof t->call_id);
    pthread_mutex_lock(&l->errors_lock);
    bool room = l->nerrors < TOLD_MAX, post = room && !l->errors_posted;
    if (room) {
        *l->errors_end = t;
        l->errors_end = &t->next;
        l->nerrors++;
        l->errors_posted = true;
    }
    pthread_mutex_unlock(&l->errors_lock);
    if (!room)
        free(t);
    if (post)
        loop_post(l->supervise, &l->errors_task);
}

/* ---- beginning and end ---- */

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

void loader_tune(struct loader *l, const struct loader_tuning *to)
{
    const struct {
        _Atomic uint64_t *at;
        uint64_t value, otherwise;
    } all[] = {
        {&l->tuned.deadline_default_ns, to->deadline_default_ns, 30 * NS_PER_S},
        {&l->tuned.deadline_max_ns, to->deadline_max_ns, 3600 * NS_PER_S},
        {&l->tuned.idle_stop_ns, to->idle_stop_ns, 0},
        {&l->tuned.queue_per_plugin, to->queue_per_plugin, 1024},
        {&l->tuned.queue_total, to->queue_total, 16384},
        {&l->tuned.lines_per_second, to->lines_per_second, 50},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        atomic_store_explicit(all[i].at, or_default(all[i].value, all[i].otherwise), memory_order_relaxed);
}

static int fill_config(struct loader *l, const struct loader_config *config, struct error *err)
{
    struct loader_config *c = &l->config;
    *c = *config;
    if (!config->nloops || !config->worker_path)
        return error_set(err, MOAT_E_INTERNAL, "a loader needs a loop and the worker's executable");
    c->payload_max = or_default(c->payload_max, 8 * 1024 * 1024);
    loader_tune(l, &(struct loader_tuning){.deadline_default_ns = c->deadline_default_ns,
                                           .deadline_max_ns = c->deadline_max_ns,
                                           .idle_stop_ns = c->idle_stop_ns,
                                           .queue_per_plugin = c->queue_per_plugin,
                                           .queue_total = c->queue_total,
                                           .lines_per_second = c->lines_per_second});
    c->workers_total = (unsigned)or_default(c->workers_total, 1024);
    atomic_store(&l->pooled.size, c->pool);
    l->worker_path = strdup(config->worker_path);
    l->helper_path = config->helper_path ? strdup(config->helper_path) : NULL;
    struct loop **loops = malloc(config->nloops * sizeof *loops);
    struct table *table = table_new(64);
    if (loops)
        memcpy(loops, config->loops, config->nloops * sizeof *loops);
    c->loops = loops;
    atomic_store(&l->table, table);
    if (!l->worker_path || (config->helper_path && !l->helper_path) || !loops || !table)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the loader");
    return 0;
}

static void count_spinners(struct loader *l)
{
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    l->cpus = cpus > 0 ? (unsigned)cpus : 1;
    l->spinners = cpus > SPIN_SLOTS ? SPIN_SLOTS : cpus > 1 ? (unsigned)cpus - 1 : 0;
}

static void destroy(struct loader *l)
{
    quotas_close(&l->quotas);
    if (l->supervise)
        supervise_close(l);
    if (l->explain)
        explain_close(l);
    while (l->plugins) {
        struct plugin *p = l->plugins;
        l->plugins = p->next_of_all;
        collect_one(p);
        plugin_free(p);
    }
    table_free(atomic_load(&l->table));
    pthread_mutex_destroy(&l->table_lock);
    pthread_mutex_destroy(&l->denials_lock);
    pthread_mutex_destroy(&l->take_lock);
    pthread_mutex_destroy(&l->errors_lock);
    pthread_mutex_destroy(&l->knot_lock);
    quotas_clear(&l->quotas);
    free((void *)(uintptr_t)l->config.loops);
    starts_drop(&l->kept_starts);
    free(l->worker_path);
    free(l->helper_path);
    free(l);
}

int loader_new(const struct loader_config *config, struct loader **out, struct error *err)
{
    struct loader *l = aligned_alloc(64, (sizeof *l + 63) & ~63ul);
    if (!l)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the loader");
    memset(l, 0, sizeof *l);
    pthread_mutex_init(&l->table_lock, NULL);
    pthread_mutex_init(&l->denials_lock, NULL);
    pthread_mutex_init(&l->take_lock, NULL);
    pthread_mutex_init(&l->errors_lock, NULL);
    pthread_mutex_init(&l->knot_lock, NULL);
    quotas_init(&l->quotas);
    l->errors_end = &l->errors;
    l->errors_task.run = tell_errors;
    l->canary_slack_ns = CANARY_SLACK_NS;
    l->circuit_ns = CIRCUIT_NS;
    l->tick_ns = TICK_NS;
    l->probe_ns = PROBE_NS;
    l->drain_ns = HAND_DRAIN_NS;
    l->errand_ns = ERRAND_NS;
    ticks_init();
    count_spinners(l);
    if (getrandom(&l->seed, sizeof l->seed, 0) < 0)
        l->seed = clock_mono_ns(); /* only spreads restarts */
    int rc = fill_config(l, config, err);
    rc = rc ? rc : explain_open(l, err);
    rc = rc ? rc : supervise_open(l, err);
    if (rc) {
        destroy(l);
        return rc;
    }
    *out = l;
    return 0;
}

struct barrier {
    struct loop_task task;
    struct waiter *waiter;
};

static void pass_barrier(struct loop_task *task)
{
    struct barrier *b = (struct barrier *)(void *)task;
    waiter_tell(b->waiter);
}

static void closed(void *context, const struct error *error)
{
    (void)error;
    waiter_tell(context);
}

/* Everything that was posted to the loops has run, and no timer of ours is set there. */
static void wait_for_loops(struct loader *l)
{
    size_t n = l->config.nloops;
    for (struct plugin *p = l->plugins; p; p = p->next_of_all)
        if (atomic_load(&p->loop))
            loop_post(p->loop, &p->quiet);
    for (size_t i = 0; i < n; i++) {
        struct waiter w = {.left = 1};
        struct barrier b = {.task.run = pass_barrier, .waiter = &w};
        loop_post(l->config.loops[i], &b.task);
        waiter_wait(&w);
    }
}

void loader_close(struct loader *l, uint64_t grace_ns)
{
    struct waiter w = {.left = 1};
    if (atomic_exchange(&l->closing, true))
        return;
    ask(l, "", (struct op){.kind = OP_CLOSE, .grace_ns = grace_ns}, closed, &w);
    waiter_wait(&w);
    wait_for_loops(l);
    asks_drain(l);
}

void loader_free(struct loader *l, uint64_t grace_ns)
{
    if (!l)
        return;
    loader_close(l, grace_ns);
    destroy(l);
}
