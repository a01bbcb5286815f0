/* Generations: made, started, published, retired.  Everything here runs on the supervise thread, which is the only one
 * that changes what a plugin's current generation is. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "loader/internal.h"

/* ---- objects ---- */

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* No file in a place can come to be longer than all that may lie there; files elsewhere are no longer than /tmp. */
static uint64_t largest_file(const struct spec *s, uint64_t most, uint64_t tmp)
{
    uint64_t largest = tmp;
    for (size_t i = 0; i < s->nquotas; i++)
        largest = s->quotas[i].bound > largest ? s->quotas[i].bound : largest;
    return s->nquotas ? smaller(most, largest) : most;
}

static bool fill_limits(struct generation *g, const struct loader *l)
{
    const struct manifest *m = g->spec->manifest;
    uint64_t own = m->limits.deadline_ns, most = tuned(&l->tuned.deadline_max_ns);
    g->limits = loader_limits(l, &m->limits);
    g->limits.file_size = largest_file(g->spec, g->limits.file_size, g->limits.tmp);
    g->deadline_max_ns = own ? smaller(own, most) : most;
    g->deadline_own = own != 0;
    g->nworkers = g->limits.workers;
    uint64_t at_once = g->limits.processes < l->cpus ? g->limits.processes : l->cpus;
    g->cpu_ns = g->limits.cpu_ns < g->deadline_max_ns * at_once ? g->limits.cpu_ns : 0;
    text_copy(g->version, sizeof g->version, m->version);
    for (size_t i = 0; i < m->nasks; i++)
        g->may_wait |= m->asks[i].permission == PERMISSION_AGENT_CONTROL;
    g->estimate = calloc(m->nactions ? m->nactions : 1, sizeof *g->estimate);
    for (size_t i = 0; g->estimate && i < m->nactions; i++)
        g->estimate[i] = WINDOW_WORK_NS;
    return g->estimate != NULL;
}

struct generation *generation_new(struct plugin *p, struct spec *spec, enum moat_code gate, const char *message)
{
    struct generation *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->refs = 1;
    g->plugin = p;
    g->gate = gate;
    g->start_fd = -1;
    text_copy(g->gate_message, sizeof g->gate_message, message ? message : error_info(gate)->name);
    g->spec = spec ? spec_ref(spec) : NULL;
    g->told = spec ? spec_ref(spec) : NULL;
    if (spec && (!fill_limits(g, p->l) || !quota_make(g))) {
        generation_unref(g);
        return NULL;
    }
    return g;
}

struct generation *generation_ref(struct generation *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void generation_unref(struct generation *g)
{
    if (!g || atomic_fetch_sub(&g->refs, 1) != 1)
        return;
    spec_unref(g->spec);
    spec_unref(g->told);
    io_close(&g->start_fd);
    quota_free(g->quota);
    free(g->estimate);
    free(g);
}

/* ---- waiters ---- */

void waiters_tell(struct op **list, const struct error *err)
{
    struct op *op = *list;
    *list = NULL;
    while (op) {
        struct op *next = op->next;
        op_done(op, err);
        op = next;
    }
}

void waiters_add(struct op **list, struct op *op)
{
    op->next = *list;
    *list = op;
}

/* Takes the whole of `from` over. */
void waiters_move(struct op **to, struct op **from)
{
    while (*from) {
        struct op *op = *from;
        *from = op->next;
        waiters_add(to, op);
    }
}

/* ---- failing again and again ---- */

#define ROW_SPAN_NS (60 * NS_PER_S)
#define ROW_OPENS 5
#define MORE_NS NS_PER_S
#define BACKOFF_FIRST_NS (100 * NS_PER_MS)
#define BACKOFF_LAST_NS (30 * NS_PER_S)

static uint64_t backoff(struct loader *l, unsigned failures)
{
    uint64_t ns = failures > 10 ? BACKOFF_LAST_NS : BACKOFF_FIRST_NS << (failures - 1);
    ns = smaller(ns, BACKOFF_LAST_NS);
    l->seed = l->seed * 6364136223846793005ull + 1442695040888963407ull;
    return ns - ns / 4 + (l->seed >> 33) % (ns / 2); /* jitter: many plugins must not come back at once */
}

/* Calls that wait are answered; on which thread does not matter, nobody is left to run them. */
static void fail_queue(struct plugin *p, const struct error *err)
{
    struct call_list all;
    call_list_init(&all);
    queue_empty(p, &all);
    for (struct call *c = all.first, *next; c; c = next) {
        next = c->next;
        c->error = *err;
        call_finish(c, -(int)err->code, NULL);
    }
}

static void open_circuit(struct plugin *p, const struct error *err, uint64_t now)
{
    pthread_mutex_lock(&p->lock);
    p->circuit = CIRCUIT_OPEN;
    p->circuit_until = now + p->l->circuit_ns;
    p->circuit_code = err->code;
    text_copy(p->circuit_why, sizeof p->circuit_why, err->message);
    pthread_mutex_unlock(&p->lock);
    log_event(LOG_ERROR, "circuit_open", "plugin", p->name, "why", err->message, NULL);
}

/* fresh: it had worked before, so that this is the first failure of a row. */
static void count_failure(struct plugin *p, bool fresh, const struct error *err)
{
    uint64_t now = clock_mono_ns();
    if (fresh || now - p->crashes_since > ROW_SPAN_NS) {
        p->crashes = 0;
        p->crashes_since = now;
    }
    p->crashes++;
    p->not_before = now + backoff(p->l, p->crashes);
    pthread_mutex_lock(&p->lock);
    bool trial = p->circuit == CIRCUIT_TRIAL, open = p->circuit == CIRCUIT_OPEN;
    pthread_mutex_unlock(&p->lock);
    if (!trial && (p->crashes < ROW_OPENS || open))
        return;
    open_circuit(p, err, now);
    guard_gave_up(p, err);
}

void plugin_forgive(struct plugin *p)
{
    p->crashes = 0;
    p->not_before = 0;
    loop_timer_clear(&p->retry);
    pthread_mutex_lock(&p->lock);
    p->circuit = CIRCUIT_CLOSED;
    pthread_mutex_unlock(&p->lock);
}

/* ---- starting ---- */

static void ask_for_code(struct generation *g)
{
    struct plugin *p = g->plugin;
    const struct loader_config *config = &p->l->config;
    if (g->asked)
        return;
    if (config->need_spec) {
        g->asked = true;
        config->need_spec(config->context, p->name);
        return;
    }
    struct error err;
    error_set(&err, MOAT_E_INTERNAL, "%s was defined without its code", p->name);
    generation_start_failed(g, &err);
}

void generation_start(struct generation *g, bool forced)
{
    struct plugin *p = g->plugin;
    uint64_t now = clock_mono_ns();
    if (g->gate || g->old || g->starting || g->ready >= g->nworkers || atomic_load(&p->l->closing) ||
        (p->change.op && g == p->current)) /* its end comes back here */
        return;
    pthread_mutex_lock(&p->lock);
    forced |= p->circuit == CIRCUIT_TRIAL; /* it waited long enough */
    pthread_mutex_unlock(&p->lock);
    if (now < p->not_before && !forced) {
        loop_timer_set(p->l->supervise, &p->retry, p->not_before);
    } else if (!g->spec->ncode) {
        if (!p->next || p->next == g) /* else that one brings it */
            ask_for_code(g);
    } else if (!quota_first(g)) { /* else it comes back here when that is done */
        walls_ask(p->l, g);
    }
    plugin_show(p);
}

void plugin_wanted(struct loop_task *task)
{
    struct plugin *p = (struct plugin *)(void *)((char *)task - offsetof(struct plugin, want));
    atomic_exchange(&p->wanted, false);
    if (p->current && atomic_load(&p->queued))
        generation_start(p->current, false);
    canary_wants(p);
}

void plugin_retry(struct loop_timer *timer)
{
    struct plugin *p = (struct plugin *)(void *)((char *)timer - offsetof(struct plugin, retry));
    if (p->current && atomic_load(&p->queued))
        generation_start(p->current, false);
}

/* The trial call of an open circuit had an answer. */
void plugin_probed(struct loop_task *task)
{
    struct plugin *p = (struct plugin *)(void *)((char *)task - offsetof(struct plugin, probe));
    atomic_exchange(&p->probed, false);
    plugin_forgive(p);
    plugin_health(p, HEALTH_HEALTHY, "");
    log_event(LOG_INFO, "circuit_closed", "plugin", p->name, NULL);
    plugin_show(p);
}

/* A worker is ready: new calls meet its generation before they can meet the worker. */
void generation_met(struct generation *g, struct worker *w)
{
    struct plugin *p = g->plugin;
    record_open(g);
    record_worker(w);
    w->outcomes_from = g->percent ? UINT64_MAX : 0; /* a canary's say nothing about what is current */
    if (g != p->next)
        return;
    if (g->percent && !canary_begin(g)) {
        struct error err;
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for a canary of %s", p->name);
        generation_drop_next(p, &err);
        return;
    }
    p->next = NULL;
    if (!g->percent)
        plugin_publish(p, g, RETIRE_DRAIN, UINT64_MAX);
    generation_unref(g); /* next's */
}

/* It can be met: those who waited for that hear of it. */
void generation_serves(struct generation *g)
{
    struct plugin *p = g->plugin;
    plugin_show(p);
    counts_loaded(g);
    if (canary_is(g))
        waiters_tell(&g->waiters, NULL);
    if (g->old || canary_is(g))
        return;
    pthread_mutex_lock(&p->lock);
    p->restarts += p->restart_due;
    pthread_mutex_unlock(&p->lock);
    plugin_health(p, p->restart_due ? HEALTH_DEGRADED : HEALTH_HEALTHY, p->restart_due ? p->last_death : "");
    p->restart_due = 0;
    waiters_tell(&g->waiters, NULL);
}

/* What was to come does not: calls that wait have only what is there. */
static void forget_next(struct plugin *p)
{
    p->next = NULL;
    if (atomic_load(&p->queued))
        plugin_want(p);
}

void generation_start_failed(struct generation *g, const struct error *err)
{
    struct plugin *p = g->plugin;
    if (g->old)
        return; /* it was ended, or something newer took its place */
    log_event(LOG_WARN, "start_failed", "plugin", p->name, "version", g->version, "why", err->message, NULL);
    if (canary_is(g)) {
        if (!g->ready)
            canary_stop(p, CANARY_ROLLED_BACK, err->message);
        return;
    }
    generation_ref(g);
    if (g == p->next) {
        forget_next(p);
        g->old = true;
        generation_unref(g);
    } else if (g == p->current && !g->ready) {
        plugin_health(p, HEALTH_FAILED, err->message);
        if (!quota_shut(p)) /* nothing of it ran */
            count_failure(p, false, err);
    } else if (g == p->current) {
        p->not_before = clock_mono_ns() + MORE_NS; /* the others work on; one more is tried again later */
    }
    plugin_show(p); /* before anyone hears of it and looks */
    waiters_tell(&g->waiters, err);
    if (g == p->current && !g->ready)
        fail_queue(p, err);
    generation_unref(g);
}

/* ---- ends ---- */

void worker_describe_death(const struct worker *w, struct error *err)
{
    int status = w->death.wait_status;
    struct overrun o;
    char line[LINE_MAX_SHOWN];
    pthread_mutex_lock(&w->plugin->lock);
    memcpy(line, w->last_line, sizeof line);
    pthread_mutex_unlock(&w->plugin->lock);
    const char *tail = *line ? "; last log line: " : "";
    if (atomic_load(&w->why) == KILL_BROKEN)
        error_set(err, MOAT_E_PLUGIN_CRASHED, "its worker broke the channel's protocol and was ended");
    else if (overrun_of_death(w, &o))
        overrun_error(w, &o, err, "its worker ended");
    else if (WIFSIGNALED(status))
        error_set(err, MOAT_E_PLUGIN_CRASHED, "its worker was ended by SIG%s%s%s",
                  sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?", tail, line);
    else
        error_set(err, MOAT_E_PLUGIN_CRASHED, "its worker ended by itself with status %d%s%s", WEXITSTATUS(status),
                  tail, line);
}

void generation_worker_died(struct generation *g, struct worker *w)
{
    struct plugin *p = g->plugin;
    int why = atomic_load(&w->why);
    bool crash = why == KILL_BROKEN || (why == KILL_NOT && !(atomic_load(&w->flags) & WORKER_RETIRED));
    if (!crash) {
        canary_lost_worker(g);
        return;
    }
    struct error err;
    worker_describe_death(w, &err);
    log_event(LOG_WARN, "plugin_crashed", "plugin", p->name, "version", g->version, "why", err.message, "#pid",
              log_num(w->child.pid), NULL);
    record_crash(g);
    if (canary_is(g)) {
        canary_crashed(g, &err);
        return;
    }
    if (g->old)
        return;
    text_copy(p->last_death, sizeof p->last_death, err.message);
    p->restart_due++;
    plugin_health(p, why == KILL_BROKEN ? HEALTH_FAILED : HEALTH_DEGRADED, err.message);
    /* "In a row" means without an answer in between. */
    count_failure(p, atomic_load(&w->tally.executions) > 0, &err);
    pthread_mutex_lock(&p->lock);
    bool open = p->circuit == CIRCUIT_OPEN;
    pthread_mutex_unlock(&p->lock);
    if (open)
        fail_queue(p, &err);
}

/* All that lived at its birth, or the draining ones of one version. */
bool op_waits_for(const struct op *op, const struct worker *w)
{
    if (w->birth > op->births)
        return false;
    return op->kind != OP_END || (w->gen->old && strcmp(w->gen->version, op->version) == 0);
}

static bool ended(const struct plugin *p, const struct op *op)
{
    for (const struct worker *w = p->living; w; w = w->next)
        if (op_waits_for(op, w))
            return false;
    return true;
}

void enders_check(struct plugin *p)
{
    for (struct op **link = &p->enders, *op; (op = *link);) {
        if (!ended(p, op)) {
            link = &op->next;
            continue;
        }
        *link = op->next;
        loop_timer_clear(&op->late);
        if (op->closed && op->closed == p->current && op->kind == OP_FORGET)
            plugin_unpublish(p);
        generation_unref(op->closed);
        op->closed = NULL;
        plugin_show(p); /* before anyone can look */
        op_done(op, NULL);
    }
}

/* ---- rest ---- */

static bool is_leaving(const struct worker *w)
{
    return atomic_load(&w->flags) != 0;
}

uint64_t plugin_rests_since(const struct plugin *p)
{
    const struct generation *g = p->current;
    uint64_t since = 0;
    if (!g || !g->ready || g->starting || p->next || p->canary || atomic_load(&p->queued))
        return 0;
    if (g->spec->manifest->state)
        return 0; /* what it has in memory would be lost */
    for (const struct worker *w = p->living; w; w = w->next) {
        if (is_leaving(w) || w->state != WORKER_READY || atomic_load(&w->tally.in_flight))
            return 0;
        uint64_t last = atomic_load_explicit(&w->tally.last_ns, memory_order_relaxed);
        last = last > w->ready_ns ? last : w->ready_ns;
        since = last > since ? last : since;
    }
    return since;
}

void plugin_rest(struct plugin *p)
{
    for (struct worker *w = p->living; w; w = w->next)
        if (w->gen == p->current && w->state == WORKER_READY)
            worker_flag(w, WORKER_RETIRED);
    plugin_kick(p);
}

void generation_worker_gone(struct generation *g, struct worker *w)
{
    struct plugin *p = g->plugin;
    for (struct worker **link = &p->living; *link; link = &(*link)->next)
        if (*link == w) {
            *link = w->next;
            break;
        }
    enders_check(p);
}

static void end_grace(struct loop_timer *timer)
{
    worker_kill((struct worker *)(void *)((char *)timer - offsetof(struct worker, timer)), KILL_STOPPED);
}

/* The shortest grace that was ever given holds. */
static void give_grace(struct worker *w, uint64_t grace_ns)
{
    uint64_t at = clock_mono_ns() + grace_ns;
    worker_flag(w, WORKER_RETIRED);
    if (grace_ns == UINT64_MAX || (w->timer.slot && w->timer.at <= at))
        return;
    w->timer.fire = end_grace;
    loop_timer_set(w->l->supervise, &w->timer, at);
}

static void retire_worker(struct worker *w, enum retire how, uint64_t grace_ns)
{
    if (w->state == WORKER_ENDED)
        return;
    if (how == RETIRE_REVOKE)
        worker_kill(w, KILL_REVOKED);
    else if (w->state != WORKER_READY)
        worker_kill(w, KILL_START);
    else if (grace_ns == 0)
        worker_kill(w, KILL_STOPPED);
    else
        give_grace(w, grace_ns);
}

/* No worker starts for it any more. */
static void grow_old(struct generation *g)
{
    g->old = true;
    record_close(g);
    walls_forget(g->plugin->l, g);
}

/* Every worker that is not of g: the generation before it, and those before that which still drain.  They have the
 * rights of their time. */
static void retire_all_before(struct generation *g, enum retire how, uint64_t grace_ns)
{
    for (struct worker *w = g->plugin->living; w; w = w->next)
        if (w->gen != g)
            retire_worker(w, how, grace_ns);
}

void plugin_publish(struct plugin *p, struct generation *g, enum retire how, uint64_t grace_ns)
{
    struct generation *old = p->current;
    guard_published(p, g);
    pthread_mutex_lock(&p->lock);
    p->current = generation_ref(g);
    pthread_mutex_unlock(&p->lock);
    atomic_fetch_add(&p->l->changes, 1);
    plugin_forgive(p);
    rate_restart(p);
    plugin_show(p);
    if (old) {
        waiters_move(&g->waiters, &old->waiters);
        grow_old(old);
        generation_unref(old);
    }
    retire_all_before(g, how, grace_ns);
    if (g->gate) {
        struct error err;
        error_set(&err, g->gate, "%s", g->gate_message);
        waiters_tell(&g->waiters, &err);
    }
    plugin_kick(p); /* queued calls move, or are answered by the gate */
}

void generation_withdraw(struct generation *g)
{
    grow_old(g);
    for (struct worker *w = g->plugin->living; w; w = w->next)
        if (w->gen == g)
            retire_worker(w, RETIRE_DRAIN, UINT64_MAX);
}

void plugin_unpublish(struct plugin *p)
{
    struct generation *old = p->current;
    pthread_mutex_lock(&p->lock);
    p->current = NULL;
    pthread_mutex_unlock(&p->lock);
    record_close(old);
    atomic_fetch_add(&p->l->changes, 1);
    generation_unref(old);
    plugin_health(p, HEALTH_UNKNOWN, "");
    plugin_show(p);
    plugin_kick(p);
}

/* Given up before it was published. */
void generation_drop_next(struct plugin *p, const struct error *err)
{
    struct generation *g = p->next;
    if (!g)
        return;
    hand_end(p);
    forget_next(p);
    waiters_tell(&g->waiters, err);
    grow_old(g);
    for (struct worker *w = p->living; w; w = w->next)
        if (w->gen == g)
            retire_worker(w, RETIRE_DRAIN, 0);
    generation_unref(g);
}
