/* The whole in figures: stats, health. */
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "service/figures.h"
#include "service/internal.h"
#include "service/tell.h"

struct sums {
    uint64_t defined, loaded, workers, executions, errors, queued, in_flight, denials, restarts;
    uint64_t rated, failed, bytes_in, bytes_out, cpu_ns, peak_memory;
    uint64_t by_code[MOAT_E_COUNT];
    struct histogram runs, waits;
    uint64_t health[HEALTH_FAILED + 1];
};

static void sum(void *context, const struct loader_status *s)
{
    struct sums *t = context;
    t->defined++;
    t->loaded += s->workers > 0;
    t->workers += s->workers;
    t->executions += s->executions;
    t->errors += s->errors;
    t->queued += s->queued;
    t->in_flight += s->in_flight;
    t->denials += s->denials;
    t->restarts += s->restarts;
    t->failed += s->failed;
    t->rated += s->rated;
    t->bytes_in += s->bytes_in;
    t->bytes_out += s->bytes_out;
    t->cpu_ns += s->cpu_ns;
    t->peak_memory = s->peak_memory > t->peak_memory ? s->peak_memory : t->peak_memory;
    histogram_merge(&t->runs, &s->runs);
    histogram_merge(&t->waits, &s->waits);
    for (int i = 0; i < MOAT_E_COUNT; i++)
        t->by_code[i] += s->errors_by_code[i];
    if (s->health <= HEALTH_FAILED)
        t->health[s->health]++;
}

/* ---- memory ---- */

static void trim(struct op *op, struct job *job)
{
    malloc_trim(0);
    op_end(op, 0);
}

static void nothing_told(void *context, const struct error *error, struct buf *result)
{
}

void service_give_back(struct service *s)
{
    struct op *op = op_new(s, sizeof *op, nothing_told, NULL);
    if (op)
        op_begin(op, NULL, trim);
}

/* ---- stats ---- */

static void tell_registry(struct buf *out, const struct registry_totals *t)
{
    const struct {
        const char *key;
        uint64_t n;
    } rows[] = {{"plugins", t->plugins},
                {"active", t->active},
                {"versions", t->versions},
                {"damaged", t->damaged},
                {"publishers", t->publishers},
                {"keys", t->keys},
                {"decisions", t->decisions},
                {"package_bytes", t->package_bytes},
                {"database_bytes", t->database_bytes}};
    tell_open(out, "registry", '{');
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tell_number(out, rows[i].key, rows[i].n);
    tell_close(out, '}');
}

/* "fallback_accepted": nothing has started yet, or namespaces are there after all. */
static const char *wall_word(const struct service *s)
{
    if (loader_fallback(s->loader))
        return "fallback";
    return s->settings.accept_missing_layers & WALL_BIT(USER_NS) ? "fallback_accepted" : "whole";
}

/* A worker runs no plugin code unless every layer holds, or was accepted as missing by name. */
static void tell_security(struct buf *out, const struct service *s)
{
    tell_open(out, "security", '{');
    tell_flag(out, "enabled", !trust_in_development(s)); /* the walls stand in any case */
    tell_text(out, "development", home_development_name(s->home.development));
    tell_text(out, "wall", wall_word(s));
    tell_open(out, "walls", '{');
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        tell_text(out, wall_layer_name((enum wall_layer)i),
                  s->settings.accept_missing_layers >> i & 1 ? "may_be_missing" : "required");
    tell_close(out, '}');
    tell_close(out, '}');
}

static void tell_executions(struct buf *out, const struct sums *t)
{
    tell_open(out, "executions", '{');
    tell_number(out, "total", t->executions);
    tell_number(out, "errors", t->errors);
    tell_error_codes(out, "errors_by_code", t->by_code);
    tell_success_rate(out, t->rated, t->failed);
    tell_number(out, "queued", t->queued);
    tell_number(out, "in_flight", t->in_flight);
    tell_number(out, "denials", t->denials);
    tell_number(out, "restarts", t->restarts);
    tell_number(out, "bytes_in", t->bytes_in);
    tell_number(out, "bytes_out", t->bytes_out);
    tell_number(out, "cpu_ns", t->cpu_ns);
    tell_number(out, "peak_memory", t->peak_memory);
    tell_spread(out, "latency", &t->runs);
    tell_spread(out, "queue_wait", &t->waits);
    tell_close(out, '}');
}

/* Since this host began. */
static void tell_network(struct buf *out, const struct service *s)
{
    struct net_totals n;
    net_totals(s->net, &n);
    tell_open(out, "network", '{');
    tell_number(out, "open", n.open);
    tell_number(out, "connections", n.connections);
    tell_number(out, "refused", n.refused);
    tell_number(out, "bytes_in", n.bytes_in);
    tell_number(out, "bytes_out", n.bytes_out);
    tell_number(out, "helpers", n.helpers);
    tell_close(out, '}');
}

static void stats(struct op *op, struct job *job)
{
    struct sums t = {0};
    struct registry_totals totals;
    struct registry_counts counts;
    struct buf *out = &op->result;
    int rc = registry_totals(job->reader, &totals, &op->error);
    if (rc == 0)
        rc = counters_read(job, NULL, NULL, &counts, &op->error);
    loader_each(op->s->loader, sum, &t);
    if (rc == 0) {
        tell_open(out, NULL, '{');
        tell_number(out, "loaded_plugins", t.loaded);
        tell_number(out, "workers", t.workers);
        tell_registry(out, &totals);
        tell_security(out, op->s);
        tell_executions(out, &t);
        tell_network(out, op->s);
        tell_counts(out, "counters", &counts);
        tell_monitor_stats(out, "platform_metrics", op->s->monitor);
        tell_pool(out, "pool", op->s);
        tell_number(out, "uptime_seconds", (clock_mono_ns() - op->s->opened_ns) / NS_PER_S);
        tell_close(out, '}');
    }
    op_end(op, rc);
}

void service_stats(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_begin(op, NULL, stats);
}

/* ---- health ---- */

static void tell_explainer(struct buf *out, const struct loader_explainer *e)
{
    tell_open(out, "explainer", '{');
    tell_text(out, "state", e->gone ? "gone" : e->stuck ? "stuck" : "works");
    tell_number(out, "lost", e->lost);
    tell_number(out, "restarts", e->restarts);
    tell_time(out, "mended", e->mended_ns);
    tell_close(out, '}');
}

/* Open to everybody: figures, no names. */
static void health(struct op *op, struct job *job)
{
    struct sums t = {0};
    struct buf *out = &op->result;
    struct registry_plugin none;
    struct loader_explainer explainer;
    int rc = registry_find_plugin(job->reader, "", &none, &op->error);
    loader_each(op->s->loader, sum, &t);
    loader_explainer(op->s->loader, &explainer);
    unsigned anomalies = atomic_load(&op->s->monitor->anomalies);
    bool failing =
        t.health[HEALTH_FAILED] || t.health[HEALTH_DEGRADED] || anomalies || explainer.stuck || explainer.gone;
    if (rc >= 0) {
        tell_open(out, NULL, '{');
        tell_text(out, "status", failing ? "degraded" : "healthy");
        tell_text(out, "wall", wall_word(op->s));
        tell_text(out, "development", home_development_name(op->s->home.development));
        tell_number(out, "uptime_seconds", (clock_mono_ns() - op->s->opened_ns) / NS_PER_S);
        tell_number(out, "anomalies", anomalies);
        tell_explainer(out, &explainer);
        tell_pool_size(out, "pool", op->s);
        tell_open(out, "plugins", '{');
        for (int h = HEALTH_UNKNOWN; h <= HEALTH_FAILED; h++)
            tell_number(out, health_name((enum health)h), t.health[h]);
        tell_close(out, '}');
        tell_close(out, '}');
    }
    op_end(op, rc < 0 ? rc : 0);
}

void service_health(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_read(op, health);
}
