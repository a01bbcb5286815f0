/* OpenMetrics: the host and its plugins in figures for a machine that watches.  Labels are bounded: at most
 * METRICS_PLUGINS plugins that have run, by name; those behind them are summed under the name "other_plugins", which no
 * plugin can have beside them because theirs are cut off first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/internal.h"

#define METRICS_PLUGINS 500

struct one {
    char name[MANIFEST_NAME_MAX + 1];
    enum loader_state state;
    uint64_t executions, errors, restarts, denials, lines_dropped, quota_kills, queued, in_flight, workers, cpu_ns,
        memory, peak, p50, p99;
    uint64_t by_code[MOAT_E_COUNT];
};

struct collected {
    struct one *list;
    size_t count;
};

static void collect(void *context, const struct loader_status *s)
{
    struct collected *c = context;
    if (!s->executions && !s->errors && !s->workers)
        return;
    bool other = c->count >= METRICS_PLUGINS;
    struct one *o = &c->list[other ? METRICS_PLUGINS : c->count];
    if (other)
        snprintf(o->name, sizeof o->name, "other_plugins");
    else
        memcpy(o->name, s->name, sizeof o->name);
    c->count = other ? METRICS_PLUGINS + 1 : c->count + 1;
    o->state = s->state;
    o->executions += s->executions;
    o->errors += s->errors;
    o->restarts += s->restarts;
    o->denials += s->denials;
    o->lines_dropped += s->lines_dropped;
    o->quota_kills += s->quota_kills;
    o->queued += s->queued;
    o->in_flight += s->in_flight;
    o->workers += s->workers;
    o->cpu_ns += s->cpu_ns;
    o->memory += s->memory;
    o->peak = s->peak_memory > o->peak ? s->peak_memory : o->peak;
    o->p50 = histogram_quantile(&s->runs, 0.5);
    o->p99 = histogram_quantile(&s->runs, 0.99);
    for (int i = 0; i < MOAT_E_COUNT; i++)
        o->by_code[i] += s->errors_by_code[i];
}

static void put_family(struct buf *out, const char *name, const char *type, const char *unit, const char *help)
{
    buf_printf(out, "# TYPE moat_%s %s\n", name, type);
    if (unit)
        buf_printf(out, "# UNIT moat_%s %s\n", name, unit);
    buf_printf(out, "# HELP moat_%s %s\n", name, help);
}

static void put_gauge(struct buf *out, const char *name, const char *unit, const char *help, double n)
{
    put_family(out, name, "gauge", unit, help);
    buf_printf(out, "moat_%s %.17g\n", name, n);
}

/* ---- per plugin ---- */

static const struct family {
    const char *name, *suffix, *type, *unit, *help;
    size_t offset;
    double scale;
} families[] = {
#define F(field) offsetof(struct one, field)
    {"plugin_executions", "_total", "counter", NULL, "Calls that a worker ran.", F(executions), 1},
    {"plugin_restarts", "_total", "counter", NULL, "Workers started in the place of one that died.", F(restarts), 1},
    {"plugin_denials", "_total", "counter", NULL, "What the plugin tried and did not get.", F(denials), 1},
    {"plugin_lines_dropped", "_total", "counter", NULL, "Lines of its log and output that were thrown away.",
     F(lines_dropped), 1},
    {"plugin_quota_kills", "_total", "counter", NULL,
     "How often its workers were ended because more lay where it may write than its grants allow.", F(quota_kills), 1},
    {"plugin_cpu_seconds", "_total", "counter", "seconds", "CPU time of its workers.", F(cpu_ns), 1e-9},
    {"plugin_workers", "", "gauge", NULL, "Living workers.", F(workers), 1},
    {"plugin_queued", "", "gauge", NULL, "Calls that wait.", F(queued), 1},
    {"plugin_in_flight", "", "gauge", NULL, "Calls that a worker has.", F(in_flight), 1},
    {"plugin_memory_bytes", "", "gauge", "bytes", "Memory of its workers.", F(memory), 1},
    {"plugin_memory_peak_bytes", "", "gauge", "bytes", "The most memory a worker had.", F(peak), 1},
#undef F
};

static void put_plugins(struct buf *out, const struct collected *c, const struct family *f)
{
    put_family(out, f->name, f->type, f->unit, f->help);
    for (size_t i = 0; i < c->count; i++) {
        uint64_t n;
        memcpy(&n, (const char *)&c->list[i] + f->offset, sizeof n);
        buf_printf(out, "moat_%s%s{plugin=\"%s\"} %.17g\n", f->name, f->suffix, c->list[i].name, (double)n * f->scale);
    }
}

static void put_errors(struct buf *out, const struct collected *c)
{
    put_family(out, "plugin_errors", "counter", NULL, "Calls that failed, by code.");
    for (size_t i = 0; i < c->count; i++)
        for (int code = 1; code < MOAT_E_COUNT; code++)
            if (c->list[i].by_code[code])
                buf_printf(out, "moat_plugin_errors_total{plugin=\"%s\",code=\"%s\"} %llu\n", c->list[i].name,
                           error_info(code)->name, (unsigned long long)c->list[i].by_code[code]);
}

static void put_runs(struct buf *out, const struct collected *c)
{
    put_family(out, "plugin_run_seconds", "summary", "seconds", "How long its actions ran.");
    for (size_t i = 0; i < c->count && i < METRICS_PLUGINS; i++) {
        const struct one *o = &c->list[i];
        buf_printf(out, "moat_plugin_run_seconds{plugin=\"%s\",quantile=\"0.5\"} %.9f\n", o->name,
                   (double)o->p50 / 1e9);
        buf_printf(out, "moat_plugin_run_seconds{plugin=\"%s\",quantile=\"0.99\"} %.9f\n", o->name,
                   (double)o->p99 / 1e9);
        buf_printf(out, "moat_plugin_run_seconds_count{plugin=\"%s\"} %llu\n", o->name,
                   (unsigned long long)o->executions);
    }
}

static void put_states(struct buf *out, const struct collected *c)
{
    put_family(out, "plugin_state", "stateset", NULL, "Where its loading stands.");
    for (size_t i = 0; i < c->count && i < METRICS_PLUGINS; i++)
        for (int state = STATE_UNLOADED; state <= STATE_NEEDS_GRANT; state++)
            buf_printf(out, "moat_plugin_state{plugin=\"%s\",moat_plugin_state=\"%s\"} %d\n", c->list[i].name,
                       loader_state_name((enum loader_state)state), c->list[i].state == (enum loader_state)state);
}

/* ---- the host ---- */

static void put_host(struct buf *out, const struct service *s, const struct registry_totals *t)
{
    put_gauge(out, "uptime_seconds", "seconds", "Since this process opened its home.",
              (double)(clock_mono_ns() - s->opened_ns) / 1e9);
    put_gauge(out, "plugins_installed", NULL, "Installed plugins.", (double)t->plugins);
    put_gauge(out, "plugins_active", NULL, "Installed plugins that may run.", (double)t->active);
    put_gauge(out, "versions_installed", NULL, "Installed versions.", (double)t->versions);
    put_gauge(out, "versions_damaged", NULL, "Versions whose package is not what was installed.", (double)t->damaged);
    put_gauge(out, "package_bytes", "bytes", "Bytes of all packages.", (double)t->package_bytes);
    put_gauge(out, "registry_bytes", "bytes", "Bytes of the registry's database.", (double)t->database_bytes);
}

static void put_network(struct buf *out, const struct service *s)
{
    struct net_totals n;
    net_totals(s->net, &n);
    put_family(out, "network_connections", "counter", NULL, "Connections that were made for plugins.");
    buf_printf(out, "moat_network_connections_total %llu\n", (unsigned long long)n.connections);
    put_family(out, "network_refused", "counter", NULL, "Connections that were not, whatever the reason.");
    buf_printf(out, "moat_network_refused_total %llu\n", (unsigned long long)n.refused);
    put_family(out, "network_bytes", "counter", "bytes", "Bytes of connections that have ended, to and from plugins.");
    buf_printf(out, "moat_network_bytes_total{way=\"in\"} %llu\nmoat_network_bytes_total{way=\"out\"} %llu\n",
               (unsigned long long)n.bytes_in, (unsigned long long)n.bytes_out);
    put_gauge(out, "network_open", NULL, "Connections of plugins that are open.", (double)n.open);
}

/* ---- spans ---- */

static void put_spans(struct buf *out, const struct service *s)
{
    struct spans_figures f = s->spans ? spans_figures(s->spans) : (struct spans_figures){0};
    put_family(out, "spans", "counter", NULL, "Calls as spans, by what became of them.");
    buf_printf(out,
               "moat_spans_total{outcome=\"exported\"} %llu\nmoat_spans_total{outcome=\"dropped\"} %llu\n"
               "moat_spans_total{outcome=\"refused\"} %llu\n",
               (unsigned long long)f.exported, (unsigned long long)f.dropped, (unsigned long long)f.refused);
    put_gauge(out, "spans_queued", NULL, "Spans that wait to be exported.", (double)f.queued);
}

static void metrics(struct op *op, struct job *job)
{
    struct collected c = {.list = calloc(METRICS_PLUGINS + 1, sizeof *c.list)};
    struct registry_totals totals;
    int rc = c.list ? registry_totals(job->reader, &totals, &op->error)
                    : error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "no memory for the figures");
    if (rc == 0) {
        loader_each(op->s->loader, collect, &c);
        put_host(&op->result, op->s, &totals);
        for (size_t i = 0; i < sizeof families / sizeof *families; i++)
            put_plugins(&op->result, &c, &families[i]);
        put_errors(&op->result, &c);
        put_runs(&op->result, &c);
        put_states(&op->result, &c);
        put_network(&op->result, op->s);
        put_spans(&op->result, op->s);
        metrics_monitor(&op->result, op->s->monitor);
        metrics_pool(&op->result, op->s);
        metrics_meters(&op->result, op->s);
    }
    free(c.list);
    op_end(op, rc);
}

void service_metrics(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_read(op, metrics);
}
