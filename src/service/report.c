/* A report over a span of time: what each plugin did, what it cost, what it was refused, and what was changed.  From
 * what the registry keeps; what a host counts only while it runs says since when. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "service/figures.h"
#include "service/internal.h"
#include "service/tell.h"

#define SPAN_DEFAULT (7ull * 24 * 3600 * NS_PER_S)
#define NS_PER_HOUR (3600 * NS_PER_S)
#define POINTS_MAX 168 /* of a plot */
#define PLUGINS_MAX 500
#define REFUSED_MAX 10 /* of a plugin, that are told one by one */
#define CHANGES_MAX 200

struct report_op {
    struct op op;
    uint64_t span_ns, now_ns;
    uint64_t first_hour, hours; /* hours: of one point */
    size_t points;
    char (*names)[REGISTRY_NAME_MAX + 1];
    size_t nnames, plugins; /* plugins: all that there are */
    /* of the plugin that is told */
    uint64_t calls[POINTS_MAX], errors[POINTS_MAX], refused;
    /* of all */
    uint64_t all_calls, all_errors, all_refused, changes;
    struct buf *out;
};

static void clear(struct op *op)
{
    free(((struct report_op *)op)->names);
}

/* ---- what is reported of ---- */

static bool remember(void *context, const struct registry_plugin *plugin, const struct registry_version *v,
                     const char *manifest, size_t len)
{
    struct report_op *r = context;
    (void)v, (void)manifest, (void)len;
    if (r->plugins++ < PLUGINS_MAX)
        text_copy(r->names[r->nnames++], sizeof *r->names, plugin->name);
    return true;
}

static int find_plugins(struct report_op *r, struct job *job)
{
    static const struct registry_filter all = {.active = -1};
    r->names = calloc(PLUGINS_MAX, sizeof *r->names);
    return r->names ? registry_each_plugin(job->reader, &all, remember, r, &r->op.error)
                    : error_set(&r->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for the report");
}

/* ---- one plugin ---- */

static bool add_hour(void *context, uint64_t hour, uint64_t calls, uint64_t errors)
{
    struct report_op *r = context;
    if (hour < r->first_hour || (hour - r->first_hour) / r->hours >= r->points)
        return true;
    size_t point = (hour - r->first_hour) / r->hours;
    r->calls[point] += calls;
    r->errors[point] += errors;
    return true;
}

static uint64_t tell_points(struct report_op *r, const char *key, const uint64_t *values)
{
    uint64_t sum = 0;
    tell_open(r->out, key, '[');
    for (size_t i = 0; i < r->points; i++) {
        tell_number(r->out, NULL, values[i]);
        sum += values[i];
    }
    tell_close(r->out, ']');
    return sum;
}

static int tell_calls(struct report_op *r, struct job *job, const char *name)
{
    memset(r->calls, 0, sizeof r->calls);
    memset(r->errors, 0, sizeof r->errors);
    int rc = registry_each_hour(job->reader, name, r->first_hour, add_hour, r, &r->op.error);
    if (rc < 0)
        return rc;
    uint64_t calls = tell_points(r, "calls_by_time", r->calls), errors = tell_points(r, "errors_by_time", r->errors);
    tell_number(r->out, "calls", calls);
    tell_number(r->out, "errors", errors);
    tell_success_rate(r->out, calls, errors);
    r->all_calls += calls;
    r->all_errors += errors;
    return 0;
}

/* Of this process alone, as `since` of the whole says. */
static void tell_cost(struct report_op *r, struct service *s, const char *name, struct loader_status *status)
{
    struct histogram none = {0};
    bool known = loader_status(s->loader, name, status);
    tell_open(r->out, "cost", '{');
    tell_number(r->out, "cpu_ns", known ? status->cpu_ns : 0);
    tell_number(r->out, "bytes_in", known ? status->bytes_in : 0);
    tell_number(r->out, "bytes_out", known ? status->bytes_out : 0);
    tell_number(r->out, "peak_memory", known ? status->peak_memory : 0);
    tell_number(r->out, "restarts", known ? status->restarts : 0);
    tell_spread(r->out, "latency", known ? &status->runs : &none);
    tell_close(r->out, '}');
    tell_text(r->out, "health_status", health_name(known ? status->health : HEALTH_UNKNOWN));
}

struct refused {
    struct report_op *r;
    unsigned told;
};

static bool tell_refused(void *context, const struct registry_denial *d)
{
    struct refused *f = context;
    bool known = d->permission >= 0 && d->permission < PERMISSION_COUNT;
    f->r->refused += d->count;
    if (f->told++ >= REFUSED_MAX)
        return true;
    tell_open(f->r->out, NULL, '{');
    tell_text(f->r->out, "operation", d->operation);
    tell_text(f->r->out, "object", d->object);
    tell_text(f->r->out, "permission", known ? permission_name((enum permission)d->permission) : NULL);
    tell_number(f->r->out, "count", d->count);
    tell_time(f->r->out, "last", d->last_ms * NS_PER_MS);
    tell_close(f->r->out, '}');
    return true;
}

static int tell_denied(struct report_op *r, struct job *job, const char *name)
{
    struct refused f = {.r = r};
    r->refused = 0;
    tell_open(r->out, "refused", '[');
    int rc =
        registry_each_denial(job->reader, name, (r->now_ns - r->span_ns) / NS_PER_MS, tell_refused, &f, &r->op.error);
    tell_close(r->out, ']');
    tell_number(r->out, "refused_count", r->refused);
    r->all_refused += r->refused;
    return rc;
}

static int tell_plugin(struct report_op *r, struct job *job, const char *name, struct loader_status *status)
{
    struct registry_plugin plugin;
    int rc = registry_find_plugin(job->reader, name, &plugin, &r->op.error);
    if (rc <= 0)
        return rc; /* it went meanwhile */
    tell_open(r->out, NULL, '{');
    tell_text(r->out, "name", name);
    tell_text(r->out, "version", plugin.current[0] ? plugin.current : NULL);
    tell_text(r->out, "publisher", plugin.owner);
    tell_text(r->out, "status", plugin.active ? "active" : "inactive");
    rc = tell_calls(r, job, name);
    if (rc == 0)
        rc = tell_denied(r, job, name);
    tell_cost(r, job->s, name, status);
    tell_anomalies(r->out, "anomalies", job->s->monitor, name);
    tell_close(r->out, '}');
    return rc;
}

static int tell_plugins(struct report_op *r, struct job *job)
{
    struct loader_status *status = calloc(1, sizeof *status);
    int rc = status ? 0 : error_set(&r->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for the report");
    tell_open(r->out, "plugins", '[');
    for (size_t i = 0; i < r->nnames && rc == 0; i++)
        rc = tell_plugin(r, job, r->names[i], status);
    tell_close(r->out, ']');
    free(status);
    return rc;
}

/* ---- what was changed ---- */

static bool tell_record(void *context, const struct registry_audit_record *record)
{
    struct report_op *r = context;
    if (r->changes++ >= CHANGES_MAX)
        return true;
    tell_open(r->out, NULL, '{');
    tell_time(r->out, "time", record->time_ms * NS_PER_MS);
    tell_text(r->out, "actor", record->actor);
    tell_text(r->out, "action", record->action);
    tell_text(r->out, "subject", record->subject);
    tell_close(r->out, '}');
    return true;
}

static int tell_changes(struct report_op *r, struct job *job)
{
    const struct registry_audit_filter filter = {
        .outcome = "ok", .since_ms = (r->now_ns - r->span_ns) / NS_PER_MS, .newest_first = true};
    tell_open(r->out, "changes", '[');
    int rc = registry_each_audit(job->reader, &filter, tell_record, r, &r->op.error);
    tell_close(r->out, ']');
    return rc;
}

/* ---- all of it ---- */

static void tell_totals(struct report_op *r)
{
    tell_open(r->out, "totals", '{');
    tell_number(r->out, "plugins", r->plugins);
    tell_number(r->out, "calls", r->all_calls);
    tell_number(r->out, "errors", r->all_errors);
    tell_number(r->out, "refused", r->all_refused);
    tell_number(r->out, "changes", r->changes);
    tell_close(r->out, '}');
}

static void report(struct op *op, struct job *job)
{
    struct report_op *r = (struct report_op *)op;
    if (op->code < 0) {
        op_end(op, op->code);
        return;
    }
    r->out = &op->result;
    r->now_ns = clock_wall_ns();
    uint64_t last = r->now_ns / NS_PER_HOUR, hours = r->span_ns / NS_PER_HOUR;
    r->first_hour = last - hours + 1;
    r->hours = (hours + POINTS_MAX - 1) / POINTS_MAX;
    r->points = (hours + r->hours - 1) / r->hours;
    int rc = denials_flush(job, NULL, &op->error); /* calls as well */
    if (rc == 0)
        rc = find_plugins(r, job);
    tell_open(r->out, NULL, '{');
    tell_time(r->out, "from", r->now_ns - r->span_ns);
    tell_time(r->out, "until", r->now_ns);
    tell_time(r->out, "since", r->now_ns - (clock_mono_ns() - op->s->opened_ns));
    tell_number(r->out, "hours_per_point", r->hours);
    if (rc >= 0)
        rc = tell_plugins(r, job);
    if (rc == 0)
        rc = tell_changes(r, job);
    tell_totals(r);
    tell_close(r->out, '}');
    op_end(op, rc < 0 ? rc : 0);
}

void service_report(struct service *s, const char *since_or_null, service_done done, void *context)
{
    struct report_op *r = op_new(s, sizeof *r, done, context);
    if (!r)
        return;
    r->op.clear = clear;
    r->span_ns = SPAN_DEFAULT;
    if (since_or_null && !clock_parse_span(since_or_null, &r->span_ns))
        r->op.code = error_set(&r->op.error, MOAT_E_BAD_USAGE, "\"%.32s\" is not a TIME such as 7d", since_or_null);
    else if (r->span_ns < NS_PER_HOUR || r->span_ns > REGISTRY_HOURS * NS_PER_HOUR)
        r->op.code = error_set(&r->op.error, MOAT_E_BAD_USAGE,
                               "a report reaches back an hour at least, %d days at most", REGISTRY_HOURS / 24);
    op_begin(&r->op, NULL, report);
}
