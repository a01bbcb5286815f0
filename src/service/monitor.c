#include "service/monitor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"

/* ---- what the platform records: any thread, no lock ---- */

static uint64_t hash_of(const char *plugin, const char *action)
{
    uint64_t h = 0xcbf29ce484222325;
    for (const char *c = plugin; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3;
    h = (h ^ 0x100) * 0x100000001b3;
    for (const char *c = action; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3;
    return h ^ h >> 29;
}

/* The entry, or NULL and the free place where it would be; *place at its end: the table is full. */
static struct monitor_entry *table_find(struct monitor *m, uint64_t hash, const char *plugin, const char *action,
                                        size_t *place)
{
    for (size_t i = 0; i < MONITOR_TABLE; i++) {
        *place = (hash + i) % MONITOR_TABLE;
        struct monitor_entry *e = atomic_load_explicit(&m->table[*place], memory_order_acquire);
        if (!e || (e->hash == hash && strcmp(e->plugin, plugin) == 0 && strcmp(e->action, action) == 0))
            return e;
    }
    return NULL;
}

/* Words that may stand in a metric's label, a log line, a page. */
static bool is_word(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:/-");
    return n > 0 && n <= MONITOR_WORD_MAX && !text[n];
}

static struct monitor_entry *entry_new(const char *plugin, const char *action, bool platform)
{
    struct monitor_entry *e = calloc(1, sizeof *e);
    size_t size = MONITOR_STRIPES * sizeof *e->tallies;
    if (e && platform && (e->tallies = aligned_alloc(_Alignof(struct monitor_tally), size)))
        memset(e->tallies, 0, size);
    if (!e || (platform && !e->tallies)) {
        free(e);
        return NULL;
    }
    text_copy(e->plugin, sizeof e->plugin, plugin);
    text_copy(e->action, sizeof e->action, action);
    e->hash = hash_of(plugin, action);
    series_init(&e->series, e->hash);
    return e;
}

static void entry_free(struct monitor_entry *e)
{
    free(e->tallies);
    free(e);
}

static int recorded_new(struct monitor *m, const char *plugin, const char *action, struct monitor_entry **out,
                        struct error *err)
{
    size_t place;
    int rc = 0;
    if (!is_word(plugin) || !is_word(action))
        return error_set(err, MOAT_E_BAD_USAGE,
                         "a metric's plugin and action are words of 1 to %d letters, digits and _.:/-",
                         MONITOR_WORD_MAX);
    pthread_mutex_lock(&m->record_lock);
    struct monitor_entry *e = table_find(m, hash_of(plugin, action), plugin, action, &place);
    if (!e && m->nrecorded == MONITOR_RECORDED) {
        atomic_fetch_add(&m->refused, 1);
        rc = error_set(err, MOAT_E_LIMIT, "%d pairs of plugin and action are recorded already: no more are taken",
                       MONITOR_RECORDED);
    } else if (!e && !(e = entry_new(plugin, action, true))) {
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the metric");
    } else if (!atomic_load(&m->table[place])) {
        m->recorded[m->nrecorded++] = e;
        atomic_store_explicit(&m->table[place], e, memory_order_release);
    }
    pthread_mutex_unlock(&m->record_lock);
    *out = e;
    return rc;
}

static unsigned my_stripe(void)
{
    static _Atomic unsigned next;
    static _Thread_local unsigned mine; /* from 1 */
    if (__builtin_expect(!mine, 0))
        mine = atomic_fetch_add(&next, 1) % MONITOR_STRIPES + 1;
    return mine - 1;
}

static void count(_Atomic uint64_t *n, uint64_t by)
{
    atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

int service_record(struct service *s, const struct service_metric *metric, struct error *err)
{
    struct monitor *m = s->monitor;
    size_t place;
    if (metric->duration_ns > CLOCK_SPAN_MAX)
        return error_set(err, MOAT_E_BAD_PARAMETERS, "a metric's duration is 100 years at most");
    struct monitor_entry *e =
        table_find(m, hash_of(metric->plugin, metric->action), metric->plugin, metric->action, &place);
    int rc = e ? 0 : recorded_new(m, metric->plugin, metric->action, &e, err);
    if (rc < 0)
        return rc;
    struct monitor_tally *t = &e->tallies[my_stripe()];
    atomic_fetch_add(&t->calls, 1); /* before the look at whether somebody will see it */
    if (!metric->success)
        count(&t->bad, 1);
    if (metric->duration_ns) {
        count(&t->sum, metric->duration_ns);
        count(&t->buckets[histogram_bucket(metric->duration_ns)], 1);
    }
    if (__builtin_expect(atomic_load(&m->resting), 0))
        monitor_stir(m);
    return 0;
}

/* ---- what happened since the last look: under the lock ---- */

static void sum_recorded(const struct monitor_entry *e, struct window_sum *all)
{
    for (int i = 0; i < MONITOR_STRIPES; i++) {
        struct monitor_tally *t = &e->tallies[i];
        all->bad += atomic_load_explicit(&t->bad, memory_order_relaxed);
        all->values.sum += atomic_load_explicit(&t->sum, memory_order_relaxed);
        for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
            uint64_t n = atomic_load_explicit(&t->buckets[b], memory_order_relaxed);
            all->values.buckets[b] += n;
            all->values.count += n;
        }
        all->calls += atomic_load_explicit(&t->calls, memory_order_relaxed);
    }
}

/* As the canary blames: what the plugin failed at, not its caller or its operator. */
static void sum_figure(const struct loader_figure *f, struct window_sum *all)
{
    static const enum moat_code answered[] = {MOAT_E_ACTION_FAILED, MOAT_E_BAD_RESULT};
    static const enum moat_code silent[] = {MOAT_E_PLUGIN_CRASHED, MOAT_E_LIMIT, MOAT_E_DEADLINE};
    all->values = f->runs;
    all->calls = f->runs.count;
    for (size_t i = 0; i < sizeof answered / sizeof *answered; i++)
        all->bad += f->errors_by_code[answered[i]];
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
        all->bad += f->errors_by_code[silent[i]];
        all->calls += f->errors_by_code[silent[i]];
    }
}

static uint64_t more(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

static void difference(const struct window_sum *now, const struct window_sum *before, struct window_sum *out)
{
    *out = (struct window_sum){.bad = more(now->bad, before->bad)};
    out->values.sum = more(now->values.sum, before->values.sum);
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        out->values.buckets[b] = more(now->values.buckets[b], before->values.buckets[b]);
        out->values.count += out->values.buckets[b];
    }
    out->calls = more(now->calls, before->calls);
    out->calls = out->calls < out->values.count ? out->values.count : out->calls; /* read while somebody counts */
    out->bad = out->bad < out->calls ? out->bad : out->calls;
}

void anomaly_explain(const struct monitor_entry *e, enum watch_kind k, char *out, size_t size)
{
    const struct anomaly *f = &e->series.found[k];
    char border[64] = "";
    if (k == WATCH_LATENCY)
        snprintf(border, sizeof border, " took longer than %.4g ms", (double)f->slow_ns / NS_PER_MS);
    snprintf(out, size, "%llu of %llu calls%s; before it were %llu of %llu", (unsigned long long)f->after.bad,
             (unsigned long long)f->after.calls, k == WATCH_LATENCY ? border : " failed",
             (unsigned long long)f->before.bad, (unsigned long long)f->before.calls);
}

static void tell_change(struct monitor *m, struct monitor_entry *e, enum watch_kind k)
{
    bool on = e->series.found[k].on;
    char why[160];
    anomaly_explain(e, k, why, sizeof why);
    e->wall_ns[k][!on] = clock_wall_ns();
    if (on)
        e->wall_ns[k][1] = 0;
    atomic_fetch_add(&m->anomalies, on ? 1 : -1u);
    log_event(on ? LOG_WARN : LOG_INFO, on ? "anomaly" : "anomaly_over", "plugin", e->plugin, "action", e->action,
              "source", e->tallies ? "platform" : "calls", "kind", watch_kind_name(k), "why", why, NULL);
}

static void tell_sink(const struct monitor *m, const struct monitor_entry *e, const struct window_sum *some,
                      uint64_t now)
{
    struct window_sum minute;
    if (!m->sink)
        return;
    window_read(&e->series.minute, now, &minute);
    struct service_metric_report r = {.plugin = e->plugin,
                                      .action = e->action,
                                      .platform = e->tallies != NULL,
                                      .calls = some->calls,
                                      .failed = some->bad,
                                      .p50_ns = histogram_quantile(&minute.values, 0.5),
                                      .p99_ns = histogram_quantile(&minute.values, 0.99),
                                      .errors_anomaly = e->series.found[WATCH_ERRORS].on,
                                      .latency_anomaly = e->series.found[WATCH_LATENCY].on};
    m->sink(m->sink_context, &r);
}

static bool has_anomaly(const struct monitor_entry *e)
{
    return e->series.found[WATCH_ERRORS].on || e->series.found[WATCH_LATENCY].on;
}

static void take(struct monitor *m, struct monitor_entry *e, const struct window_sum *all, uint64_t now)
{
    struct window_sum some;
    difference(all, &e->all, &some);
    if (!some.calls && !has_anomaly(e))
        return;
    e->all = *all;
    unsigned changed = series_add(&e->series, now, &some);
    for (int k = 0; k < WATCH_KINDS; k++)
        if (changed >> k & 1)
            tell_change(m, e, (enum watch_kind)k);
    atomic_store(&m->moved, true);
    parameters_feed(m->s->parameters, e->plugin, &some);
    tell_sink(m, e, &some, now);
}

/* ---- the host's own calls ---- */

static struct monitor_entry *make_room(struct monitor *m, uint64_t now)
{
    for (size_t i = 0; i < m->nactions; i++)
        if (series_is_idle(&m->actions[i]->series, now)) {
            struct monitor_entry *e = m->actions[i];
            m->actions[i] = m->actions[--m->nactions];
            m->evicted = true;
            return e;
        }
    return NULL;
}

static struct monitor_entry *action_entry(struct monitor *m, const char *plugin, const struct loader_action *a,
                                          uint64_t now)
{
    for (size_t i = 0; i < m->nactions; i++)
        if (strcmp(m->actions[i]->action, a->name) == 0 && strcmp(m->actions[i]->plugin, plugin) == 0)
            return m->actions[i];
    struct monitor_entry *room = m->nactions == MONITOR_ACTIONS ? make_room(m, now) : NULL;
    if (room)
        entry_free(room);
    struct monitor_entry *e = m->nactions < MONITOR_ACTIONS ? entry_new(plugin, a->name, false) : NULL;
    if (!e) {
        m->left_out++;
        return NULL;
    }
    if (m->evicted) /* it may be one that made room once: what it did before is known */
        sum_figure(&a->figure, &e->all);
    m->actions[m->nactions++] = e;
    return e;
}

static void look_at_plugin(void *context, const char *name)
{
    struct monitor *m = context;
    struct loader_figures *f = loader_figures(m->s->loader, name);
    uint64_t now = clock_mono_ns();
    for (size_t i = 0; f && i < f->nactions; i++) {
        struct window_sum all = {0};
        struct monitor_entry *e = action_entry(m, name, &f->actions[i], now);
        sum_figure(&f->actions[i].figure, &all);
        if (e)
            take(m, e, &all, now);
    }
    loader_figures_free(f);
}

size_t monitor_recorded(struct monitor *m)
{
    pthread_mutex_lock(&m->record_lock);
    size_t n = m->nrecorded;
    pthread_mutex_unlock(&m->record_lock);
    return n;
}

void monitor_look(struct monitor *m)
{
    pthread_mutex_lock(&m->lock);
    loader_busy(m->s->loader, look_at_plugin, m);
    uint64_t now = clock_mono_ns();
    size_t recorded = monitor_recorded(m);
    for (size_t i = 0; i < recorded; i++) {
        struct window_sum all = {0};
        sum_recorded(m->recorded[i], &all);
        take(m, m->recorded[i], &all, now);
    }
    for (size_t i = 0; i < m->nactions; i++) /* nobody calls any more what has an anomaly: it ends by itself */
        if (has_anomaly(m->actions[i]))
            take(m, m->actions[i], &m->actions[i]->all, now);
    pthread_mutex_unlock(&m->lock);
    parameters_judge(m->s->parameters);
}

static void add_hour(const struct monitor_entry *e, const char *plugin, uint64_t now, struct window_sum *out)
{
    struct window_sum hour;
    if (*plugin && strcmp(plugin, e->plugin) != 0)
        return;
    window_read(&e->series.hour, now, &hour);
    window_sum_add(out, &hour);
}

void monitor_hour(struct monitor *m, const char *plugin, struct window_sum *out)
{
    monitor_look(m);
    size_t recorded = monitor_recorded(m);
    uint64_t now = clock_mono_ns();
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->nactions; i++)
        add_hour(m->actions[i], plugin, now, out);
    for (size_t i = 0; i < recorded; i++)
        add_hour(m->recorded[i], plugin, now, out);
    pthread_mutex_unlock(&m->lock);
}

void service_on_metric(struct service *s, service_metric_sink sink, void *context)
{
    struct monitor *m = s->monitor;
    pthread_mutex_lock(&m->lock);
    m->sink = sink;
    m->sink_context = context;
    pthread_mutex_unlock(&m->lock);
}

/* ---- every few seconds, while anything happens ---- */

void monitor_stir(struct monitor *m)
{
    atomic_fetch_add(&m->stirs, 1);
    if (atomic_exchange(&m->resting, false) && !atomic_exchange(&m->arming, true))
        loop_post(m->s->loops[0], &m->arm);
}

static bool was_recorded(struct monitor *m)
{
    bool more = false;
    size_t n = monitor_recorded(m);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < n && !more; i++) {
        struct window_sum all = {0};
        sum_recorded(m->recorded[i], &all);
        more = all.calls != m->recorded[i]->all.calls;
    }
    pthread_mutex_unlock(&m->lock);
    return more;
}

/* Said first and looked at again then: what happens in between either sees that it rests, or is seen. */
static void rest(struct monitor *m, uint64_t stirs)
{
    if (atomic_load(&m->anomalies) || atomic_load(&m->s->parameters->watching))
        return; /* their time may be over before anything happens */
    atomic_store(&m->resting, true);
    if (atomic_load(&m->stirs) != stirs || loader_is_stirred(m->s->loader) || was_recorded(m))
        monitor_stir(m);
}

static void look(struct op *op, struct job *job)
{
    struct monitor *m = op->s->monitor;
    uint64_t stirs = atomic_load(&m->stirs);
    monitor_look(m);
    bool moved = atomic_exchange(&m->moved, false), owed = meters_look(op->s, moved);
    pool_look(op->s, job);
    if (!moved && !owed)
        rest(m, stirs);
    op_end(op, 0);
}

static void looked(void *context, const struct error *error, struct buf *result)
{
    (void)error;
    (void)result;
    atomic_store(&((struct monitor *)context)->looking, false);
}

static void sleep_for(struct monitor *m, uint64_t ns)
{
    loop_timer_set(m->s->loops[0], &m->timer, clock_mono_ns() + ns);
}

/* While nothing happens it looks once more before the pool needs another size: it may be long since. */
static void fire(struct loop_timer *timer)
{
    struct monitor *m = (struct monitor *)(void *)((char *)timer - offsetof(struct monitor, timer));
    uint64_t now = clock_wall_ns(), due = pool_next(m->s, now) - now;
    m->slept = !m->slept && atomic_load(&m->resting);
    sleep_for(m, m->slept && due > m->every_ns ? due : m->every_ns);
    if (m->slept || atomic_exchange(&m->looking, true))
        return;
    struct op *op = op_new(m->s, sizeof *op, looked, m);
    if (op)
        op_begin(op, NULL, look);
}

static void arm(struct loop_task *task)
{
    struct monitor *m = (struct monitor *)(void *)((char *)task - offsetof(struct monitor, arm));
    atomic_store(&m->arming, false);
    m->slept = false;
    sleep_for(m, m->every_ns);
}

struct monitor *monitor_new(struct service *s)
{
    struct monitor *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->record_lock, NULL);
    m->s = s;
    m->timer.fire = fire;
    m->arm.run = arm;
    return m;
}

void monitor_start(struct monitor *m)
{
    m->every_ns = m->s->settings.monitor_every;
    atomic_store(&m->arming, true);
    loop_post(m->s->loops[0], &m->arm);
}

void monitor_free(struct monitor *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->nactions; i++)
        entry_free(m->actions[i]);
    for (size_t i = 0; i < m->nrecorded; i++)
        entry_free(m->recorded[i]);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->record_lock);
    free(m);
}
