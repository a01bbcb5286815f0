#include "trace/otlp.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

/* Of the specification's enums. */
#define KIND_SERVER 2
#define STATUS_ERROR 2

/* Without memory there is nothing to look at. */
static const char *comma(const struct buf *out)
{
    return out->len && out->data[out->len - 1] != '[' ? "," : "";
}

static void put_text(struct buf *out, const char *key, const char *value)
{
    if (!*value)
        return;
    buf_printf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":", comma(out), key);
    text_json_string(out, value);
    buf_puts(out, "}}");
}

static void put_number(struct buf *out, const char *key, uint64_t n)
{
    buf_printf(out, "%s{\"key\":\"%s\",\"value\":{\"intValue\":\"%llu\"}}", comma(out), key, (unsigned long long)n);
}

static void put_resource(struct buf *out, const char *version)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    buf_puts(out, "{\"attributes\":[");
    put_text(out, "service.name", "moat");
    put_text(out, "service.version", version);
    put_text(out, "host.name", host);
    put_number(out, "process.pid", (uint64_t)getpid());
    buf_puts(out, "]}");
}

static void put_attributes(struct buf *out, const struct span *s)
{
    buf_puts(out, ",\"attributes\":[");
    put_text(out, "moat.plugin", s->plugin);
    put_text(out, "moat.version", s->version);
    put_text(out, "moat.action", s->action);
    put_text(out, "moat.call", s->call);
    put_text(out, "moat.task", s->task);
    put_text(out, "moat.code", s->code);
    put_number(out, "moat.queued_ns", s->queued_ns);
    put_number(out, "moat.ran_ns", s->ran_ns);
    put_number(out, "moat.cpu_ns", s->cpu_ns);
    put_number(out, "moat.bytes_in", s->bytes_in);
    put_number(out, "moat.bytes_out", s->bytes_out);
    buf_puts(out, "]");
}

/* When a worker began it, between waiting and running. */
static void put_events(struct buf *out, const struct span *s)
{
    unsigned long long running_ns = s->begun_ns + s->queued_ns;
    if (s->ran_ns)
        buf_printf(out, ",\"events\":[{\"timeUnixNano\":\"%llu\",\"name\":\"running\"}]", running_ns);
}

static void put_span(struct buf *out, const struct span *s)
{
    buf_printf(out, "{\"traceId\":\"%s\",\"spanId\":\"%s\",\"parentSpanId\":\"%s\",\"name\":\"%s%s", s->trace, s->id,
               s->parent, s->plugin, *s->plugin ? "." : "");
    text_json_escape(out, s->action, strlen(s->action));
    buf_printf(out, "\",\"kind\":%d", KIND_SERVER);
    buf_printf(out, ",\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\"", (unsigned long long)s->begun_ns,
               (unsigned long long)s->ended_ns);
    put_attributes(out, s);
    put_events(out, s);
    if (s->failed) {
        buf_printf(out, ",\"status\":{\"code\":%d,\"message\":", STATUS_ERROR);
        text_json_string(out, s->message);
        buf_putc(out, '}');
    }
    buf_putc(out, '}');
}

bool otlp_encode(struct buf *out, const char *version, const struct span *spans, size_t n)
{
    buf_puts(out, "{\"resourceSpans\":[{\"resource\":");
    put_resource(out, version);
    buf_puts(out, ",\"scopeSpans\":[{\"scope\":{\"name\":\"moat\"},\"spans\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, ',');
        put_span(out, &spans[i]);
    }
    buf_puts(out, "]}]}]}");
    return !out->failed;
}

uint64_t otlp_rejected(const char *answer, size_t len, const char *key)
{
    json_t *root = json_loadb(answer, len, 0, NULL);
    const json_t *n = json_object_get(json_object_get(root, "partialSuccess"), key);
    json_int_t number = json_is_string(n) ? strtoll(json_string_value(n), NULL, 10) : json_integer_value(n);
    json_decref(root);
    return number > 0 ? (uint64_t)number : 0;
}

/* ---- figures ---- */

#define CUMULATIVE 2

void otlp_metrics_open(struct buf *out, const char *version)
{
    buf_puts(out, "{\"resourceMetrics\":[{\"resource\":");
    put_resource(out, version);
    buf_puts(out, ",\"scopeMetrics\":[{\"scope\":{\"name\":\"moat\"},\"metrics\":[");
}

bool otlp_metrics_close(struct buf *out)
{
    buf_puts(out, "]}]}]}");
    return !out->failed;
}

void otlp_metric_open(struct buf *out, enum otlp_kind kind, const char *name, const char *unit, const char *about)
{
    static const char *const kinds[] = {"sum", "gauge", "histogram"};
    buf_printf(out, "%s{\"name\":\"%s\",\"unit\":\"%s\",\"description\":", comma(out), name, unit);
    text_json_string(out, about);
    buf_printf(out, ",\"%s\":{", kinds[kind]);
    if (kind != OTLP_GAUGE)
        buf_printf(out, "\"aggregationTemporality\":%d,", CUMULATIVE);
    if (kind == OTLP_SUM)
        buf_puts(out, "\"isMonotonic\":true,");
    buf_puts(out, "\"dataPoints\":[");
}

void otlp_metric_close(struct buf *out)
{
    buf_puts(out, "]}}");
}

static void put_point(struct buf *out, const struct otlp_point *at)
{
    buf_printf(out, "%s{\"attributes\":[", comma(out));
    for (size_t i = 0; at->attributes && at->attributes[i][0]; i++)
        put_text(out, at->attributes[i][0], at->attributes[i][1]);
    buf_printf(out, "],\"startTimeUnixNano\":\"%llu\",\"timeUnixNano\":\"%llu\"", (unsigned long long)at->start_ns,
               (unsigned long long)at->time_ns);
}

void otlp_number(struct buf *out, const struct otlp_point *at, uint64_t n)
{
    put_point(out, at);
    buf_printf(out, ",\"asInt\":\"%llu\"}", (unsigned long long)n);
}

void otlp_histogram(struct buf *out, const struct otlp_point *at, double sum, const uint64_t *counts,
                    const double *bounds, size_t nbounds)
{
    uint64_t all = 0;
    put_point(out, at);
    buf_puts(out, ",\"bucketCounts\":[");
    for (size_t i = 0; i <= nbounds; i++) {
        buf_printf(out, "%s\"%llu\"", comma(out), (unsigned long long)counts[i]);
        all += counts[i];
    }
    buf_puts(out, "],\"explicitBounds\":[");
    for (size_t i = 0; i < nbounds; i++)
        buf_printf(out, "%s%.9g", comma(out), bounds[i]);
    buf_printf(out, "],\"count\":\"%llu\",\"sum\":%.9g}", (unsigned long long)all, sum);
}
