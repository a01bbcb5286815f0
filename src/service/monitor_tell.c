/* The monitor's figures, as JSON and as OpenMetrics. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "service/figures.h"
#include "service/internal.h"
#include "service/tell.h"

/* ---- one entry: under the lock ---- */

static void tell_window(struct buf *out, const char *key, const struct window *w, uint64_t now)
{
    struct window_sum sum;
    window_read(w, now, &sum);
    tell_open(out, key, '{');
    tell_number(out, "calls", sum.calls);
    tell_number(out, "failed", sum.bad);
    tell_success_rate(out, sum.calls, sum.bad);
    tell_spread(out, "latency", &sum.values);
    tell_close(out, '}');
}

static void tell_share(struct buf *out, const char *key, const struct watch_share *share)
{
    tell_open(out, key, '{');
    tell_number(out, "calls", share->calls);
    tell_number(out, "bad", share->bad);
    tell_close(out, '}');
}

static void tell_anomaly(struct buf *out, const struct monitor_entry *e, enum watch_kind k)
{
    const struct anomaly *f = &e->series.found[k];
    char why[160];
    anomaly_explain(e, k, why, sizeof why);
    tell_open(out, NULL, '{');
    tell_text(out, "plugin", e->plugin);
    tell_text(out, "action", e->action);
    tell_text(out, "source", e->tallies ? "platform" : "calls");
    tell_text(out, "kind", watch_kind_name(k));
    tell_flag(out, "on", f->on);
    tell_time(out, "since", e->wall_ns[k][0]);
    tell_time(out, "until", e->wall_ns[k][1]);
    tell_text(out, "why", why);
    tell_share(out, "before", &f->before);
    tell_share(out, "after", &f->after);
    tell_real(out, "evidence", f->evidence);
    tell_close(out, '}');
}

static void tell_found(struct buf *out, const struct monitor_entry *e, bool past)
{
    for (int k = 0; k < WATCH_KINDS; k++)
        if (e->series.found[k].on || (past && e->wall_ns[k][0]))
            tell_anomaly(out, e, (enum watch_kind)k);
}

static void tell_entry(struct buf *out, const struct monitor_entry *e, uint64_t now)
{
    tell_open(out, NULL, '{');
    tell_text(out, "plugin", e->plugin);
    tell_text(out, "action", e->action);
    tell_text(out, "source", e->tallies ? "platform" : "calls");
    tell_number(out, "calls", e->all.calls);
    tell_number(out, "failed", e->all.bad);
    tell_window(out, "minute", &e->series.minute, now);
    tell_window(out, "hour", &e->series.hour, now);
    tell_flag(out, "compared", e->series.watched);
    tell_open(out, "anomalies", '[');
    tell_found(out, e, true);
    tell_close(out, ']');
    tell_close(out, '}');
}

/* ---- all of them ---- */

void monitor_visit(struct monitor *m, monitor_each each, void *context)
{
    size_t recorded = monitor_recorded(m);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->nactions; i++)
        each(context, m->actions[i]);
    for (size_t i = 0; i < recorded; i++)
        each(context, m->recorded[i]);
    pthread_mutex_unlock(&m->lock);
}

struct telling {
    struct buf *out;
    const char *name; /* NULL: all */
    uint64_t now;
};

static void tell_one(void *context, const struct monitor_entry *e)
{
    const struct telling *t = context;
    if (!t->name || strcmp(t->name, e->plugin) == 0)
        tell_entry(t->out, e, t->now);
}

static void tell_figures(struct buf *out, struct monitor *m)
{
    pthread_mutex_lock(&m->lock);
    tell_number(out, "actions", m->nactions);
    tell_number(out, "left_out", m->left_out);
    pthread_mutex_unlock(&m->lock);
    tell_number(out, "recorded", monitor_recorded(m));
    tell_number(out, "refused", atomic_load(&m->refused));
    tell_number(out, "anomalies", atomic_load(&m->anomalies));
}

void tell_monitor_stats(struct buf *out, const char *key, struct monitor *m)
{
    tell_open(out, key, '{');
    tell_figures(out, m);
    tell_close(out, '}');
}

static void tell_its_anomalies(void *context, const struct monitor_entry *e)
{
    const struct telling *t = context;
    if (!e->tallies && strcmp(t->name, e->plugin) == 0)
        tell_found(t->out, e, false);
}

void tell_anomalies(struct buf *out, const char *key, struct monitor *m, const char *plugin)
{
    struct telling t = {.out = out, .name = plugin};
    monitor_look(m);
    tell_open(out, key, '[');
    monitor_visit(m, tell_its_anomalies, &t);
    tell_close(out, ']');
}

/* ---- the route ---- */

struct monitor_op {
    struct op op;
    char name[MONITOR_WORD_MAX + 1]; /* a plugin's, or any word that the platform has for one */
};

static void monitor(struct op *op, struct job *job)
{
    struct monitor_op *o = (struct monitor_op *)op;
    struct buf *out = &op->result;
    (void)job;
    if (op->code == 0) {
        monitor_look(op->s->monitor);
        struct telling t = {.out = out, .name = *o->name ? o->name : NULL, .now = clock_mono_ns()};
        tell_open(out, NULL, '{');
        tell_open(out, "entries", '[');
        monitor_visit(op->s->monitor, tell_one, &t);
        tell_close(out, ']');
        tell_figures(out, op->s->monitor);
        tell_close(out, '}');
    }
    op_end(op, op->code);
}

void service_monitor(struct service *s, const char *name_or_null, service_done done, void *context)
{
    struct monitor_op *o = op_new(s, sizeof *o, done, context);
    if (!o)
        return;
    if (name_or_null && (!*name_or_null || !text_copy(o->name, sizeof o->name, name_or_null)))
        o->op.code = error_set(&o->op.error, MOAT_E_BAD_USAGE, "a plugin's name has 1 to %d letters", MONITOR_WORD_MAX);
    op_read(&o->op, monitor);
}

/* ---- OpenMetrics: names are words without quotes ---- */

static void family(struct buf *out, const char *name, const char *type, const char *unit, const char *help)
{
    buf_printf(out, "# TYPE moat_%s %s\n", name, type);
    if (unit)
        buf_printf(out, "# UNIT moat_%s %s\n", name, unit);
    buf_printf(out, "# HELP moat_%s %s\n", name, help);
}

static void labels(struct buf *out, const char *name, const struct monitor_entry *e)
{
    buf_printf(out, "moat_%s{plugin=\"%s\",action=\"%s\",source=\"%s\"", name, e->plugin, e->action,
               e->tallies ? "platform" : "calls");
}

static void put_calls(void *context, const struct monitor_entry *e)
{
    const struct telling *t = context;
    struct window_sum minute;
    window_read(&e->series.minute, t->now, &minute);
    labels(t->out, "action_minute_calls", e);
    buf_printf(t->out, "} %llu\n", (unsigned long long)minute.calls);
}

static void put_failed(void *context, const struct monitor_entry *e)
{
    const struct telling *t = context;
    struct window_sum minute;
    window_read(&e->series.minute, t->now, &minute);
    labels(t->out, "action_minute_failed", e);
    buf_printf(t->out, "} %llu\n", (unsigned long long)minute.bad);
}

static void put_p99(void *context, const struct monitor_entry *e)
{
    const struct telling *t = context;
    struct window_sum minute;
    window_read(&e->series.minute, t->now, &minute);
    labels(t->out, "action_minute_p99_seconds", e);
    buf_printf(t->out, "} %.9f\n", (double)histogram_quantile(&minute.values, 0.99) / 1e9);
}

static void put_anomalies(void *context, const struct monitor_entry *e)
{
    const struct telling *t = context;
    for (int k = 0; k < WATCH_KINDS; k++)
        if (e->wall_ns[k][0]) {
            labels(t->out, "anomaly", e);
            buf_printf(t->out, ",kind=\"%s\"} %d\n", watch_kind_name((enum watch_kind)k), e->series.found[k].on);
        }
}

void metrics_monitor(struct buf *out, struct monitor *m)
{
    static const struct {
        const char *name, *unit, *help;
        monitor_each put;
    } families[] = {
        {"action_minute_calls", NULL, "Calls of the last minute.", put_calls},
        {"action_minute_failed", NULL, "Of them, those that failed by the plugin's fault.", put_failed},
        {"action_minute_p99_seconds", "seconds", "99 of 100 of them took no longer.", put_p99},
        {"anomaly", NULL, "1: worse than in the hour before; 0: it was, and is over.", put_anomalies},
    };
    monitor_look(m);
    struct telling t = {.out = out, .now = clock_mono_ns()};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        family(out, families[i].name, "gauge", families[i].unit, families[i].help);
        monitor_visit(m, families[i].put, &t);
    }
}
