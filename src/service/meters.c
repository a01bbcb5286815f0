/* The monitor's figures for a collector (OTLP): running totals of each action and each recorded pair, what has become
 * worse, how many walls stand ready.  Made by the thread that looks, at most once in `otlp_metrics_every`; sent by
 * another one. */
#include "trace/meters.h"

#include "base/log.h"
#include "service/internal.h"
#include "trace/otlp.h"

/* 27 bounds, powers of two from a microsecond to a minute: where the histogram's own buckets end. */
#define FIRST_POWER 10
#define BOUNDS 27
#define BODY_MAX (4u << 20)
#define ATTRIBUTES 5

struct meter {
    struct buf *out;
    uint64_t start_ns, now_ns;
};

static struct otlp_point point_of(const struct meter *t, const char *const attributes[ATTRIBUTES][2])
{
    return (struct otlp_point){.attributes = attributes, .start_ns = t->start_ns, .time_ns = t->now_ns};
}

#define ATTRIBUTES_OF(e, kind) \
    { \
        {"moat.plugin", (e)->plugin}, {"moat.action", (e)->action}, \
            {"moat.source", (e)->tallies ? "platform" : "calls"}, {(kind) ? "moat.kind" : NULL, (kind)}, \
        { \
            NULL, NULL \
        } \
    }

static void put_calls(void *context, const struct monitor_entry *e)
{
    const struct meter *t = context;
    const char *const attributes[ATTRIBUTES][2] = ATTRIBUTES_OF(e, NULL);
    const struct otlp_point at = point_of(t, attributes);
    otlp_number(t->out, &at, e->all.calls);
}

static void put_failed(void *context, const struct monitor_entry *e)
{
    const struct meter *t = context;
    const char *const attributes[ATTRIBUTES][2] = ATTRIBUTES_OF(e, NULL);
    const struct otlp_point at = point_of(t, attributes);
    otlp_number(t->out, &at, e->all.bad);
}

static void put_durations(void *context, const struct monitor_entry *e)
{
    const struct meter *t = context;
    const char *const attributes[ATTRIBUTES][2] = ATTRIBUTES_OF(e, NULL);
    const struct otlp_point at = point_of(t, attributes);
    uint64_t counts[BOUNDS + 1] = {0};
    double bounds[BOUNDS];
    for (unsigned i = 0; i < BOUNDS; i++)
        bounds[i] = (double)(1ull << (FIRST_POWER + i)) / NS_PER_S;
    for (unsigned b = 0, i = 0; b < HISTOGRAM_BUCKETS; b++) {
        while (i < BOUNDS && b >= histogram_bucket(1ull << (FIRST_POWER + i)))
            i++;
        counts[i] += e->all.values.buckets[b];
    }
    otlp_histogram(t->out, &at, (double)e->all.values.sum / NS_PER_S, counts, bounds, BOUNDS);
}

static void put_anomalies(void *context, const struct monitor_entry *e)
{
    const struct meter *t = context;
    for (int k = 0; k < WATCH_KINDS; k++) {
        const char *const attributes[ATTRIBUTES][2] = ATTRIBUTES_OF(e, watch_kind_name((enum watch_kind)k));
        const struct otlp_point at = point_of(t, attributes);
        if (e->wall_ns[k][0])
            otlp_number(t->out, &at, e->series.found[k].on);
    }
}

static void put_pool(struct meter *t, struct service *s)
{
    const struct otlp_point at = {.start_ns = t->start_ns, .time_ns = t->now_ns};
    struct loader_pool pool;
    loader_pool(s->loader, &pool);
    otlp_metric_open(t->out, OTLP_GAUGE, "moat.pool.size", "{wall}", "Half-built walls that are to stand ready.");
    otlp_number(t->out, &at, pool.size);
    otlp_metric_close(t->out);
}

static bool encode(struct service *s, struct buf *out)
{
    static const struct {
        enum otlp_kind kind;
        const char *name, *unit, *about;
        monitor_each put;
    } metrics[] = {
        {OTLP_SUM, "moat.action.calls", "{call}", "Calls, and what was recorded.", put_calls},
        {OTLP_SUM, "moat.action.failed", "{call}", "Of them, those that failed by the plugin's fault.", put_failed},
        {OTLP_HISTOGRAM, "moat.action.duration", "s", "How long they ran.", put_durations},
        {OTLP_GAUGE, "moat.anomaly", "1", "1: worse than in the hour before; 0: it was, and is over.", put_anomalies},
    };
    struct meter t = {.out = out, .now_ns = clock_wall_ns()};
    t.start_ns = t.now_ns - (clock_mono_ns() - s->opened_ns);
    otlp_metrics_open(out, MOAT_VERSION);
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
        otlp_metric_open(out, metrics[i].kind, metrics[i].name, metrics[i].unit, metrics[i].about);
        monitor_visit(s->monitor, metrics[i].put, &t);
        otlp_metric_close(out);
    }
    put_pool(&t, s);
    return otlp_metrics_close(out);
}

static void send(struct service *s)
{
    struct buf body = BUF_INIT(BODY_MAX);
    if (encode(s, &body))
        meters_send(s->meters, &body);
    else
        log_event(LOG_ERROR, "metrics_not_exported", "why", "no memory for what is to be told", NULL);
    buf_free(&body);
    s->metrics_sent_ns = clock_mono_ns();
    s->metrics_moved = false;
}

bool meters_look(struct service *s, bool moved)
{
    if (!s->meters)
        return false;
    s->metrics_moved |= moved;
    if (s->metrics_moved && clock_mono_ns() - s->metrics_sent_ns >= s->settings.otlp_metrics_every)
        send(s);
    return s->metrics_moved;
}

/* Of a command that runs for a moment nothing is told. */
void meters_last(struct service *s)
{
    if (!s->meters || s->metrics_sent_ns == s->opened_ns)
        return;
    monitor_look(s->monitor);
    if (s->metrics_moved || atomic_load(&s->monitor->moved))
        send(s);
}

void meters_begin(struct service *s)
{
    struct error err;
    s->metrics_sent_ns = s->opened_ns;
    if (!*s->settings.otlp_endpoint || !s->settings.otlp_metrics_every)
        return;
    if (meters_open(s->settings.otlp_endpoint, &s->meters, &err) < 0)
        log_event(LOG_ERROR, "metrics_not_exported", "why", err.message, NULL);
}

void metrics_meters(struct buf *out, struct service *s)
{
    struct meters_figures f = s->meters ? meters_figures(s->meters) : (struct meters_figures){0};
    buf_puts(out,
             "# TYPE moat_metric_exports counter\n# HELP moat_metric_exports Figures for a collector, by what became "
             "of them.\n");
    buf_printf(out,
               "moat_metric_exports_total{outcome=\"exported\"} %llu\n"
               "moat_metric_exports_total{outcome=\"dropped\"} %llu\n"
               "moat_metric_exports_total{outcome=\"refused\"} %llu\n",
               (unsigned long long)f.exported, (unsigned long long)f.dropped, (unsigned long long)f.refused);
}
