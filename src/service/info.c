/* info: all about one plugin. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/canary.h"
#include "service/figures.h"
#include "service/guard.h"
#include "service/internal.h"
#include "service/tell.h"

struct info_op {
    struct op op;
    struct target target;
    struct registry_plugin plugin;
    struct registry_version version;
    struct registry_counts counts; /* of the plugin, or of the version when one was asked for */
    struct manifest *manifest;
    struct decisions decisions;
    struct loader_status *status;   /* NULL: the loader does not know it */
    struct loader_figures *figures; /* NULL: likewise */
};

static void clear(struct op *op)
{
    struct info_op *i = (struct info_op *)op;
    manifest_unref(i->manifest);
    decisions_free(&i->decisions);
    free(i->status);
    loader_figures_free(i->figures);
}

static void tell_words(struct buf *out, const char *key, const char *const *words, size_t n)
{
    tell_open(out, key, '[');
    for (size_t i = 0; i < n; i++)
        tell_text(out, NULL, words[i]);
    tell_close(out, ']');
}

static void tell_actions(struct buf *out, const struct manifest *m, const struct loader_figures *figures)
{
    tell_open(out, "actions", '[');
    for (size_t i = 0; i < m->nactions; i++) {
        const struct manifest_action *a = &m->actions[i];
        tell_open(out, NULL, '{');
        tell_text(out, "name", a->name);
        tell_text(out, "description", a->description ? a->description : "");
        tell_flag(out, "idempotent", a->idempotent);
        tell_raw(out, "parameters", a->parameters_json);
        tell_raw(out, "result", a->result_json);
        tell_action_figure(out, "statistics", figures, a->name);
        tell_close(out, '}');
    }
    tell_close(out, ']');
}

static void tell_span(struct buf *out, const char *key, uint64_t ns)
{
    char text[32];
    clock_format_span(ns, text);
    tell_text(out, key, ns ? text : NULL);
}

static void tell_limits(struct buf *out, const char *key, const struct manifest_limits *l)
{
    tell_open(out, key, '{');
    tell_number(out, "memory", l->memory);
    tell_number(out, "tmp", l->tmp);
    tell_number(out, "file_size", l->file_size);
    tell_number(out, "processes", l->processes);
    tell_number(out, "descriptors", l->descriptors);
    tell_span(out, "deadline", l->deadline_ns);
    tell_span(out, "cpu", l->cpu_ns);
    tell_number(out, "workers", l->workers);
    tell_close(out, '}');
}

static void tell_manifest(struct buf *out, const struct service *s, const struct manifest *m,
                          const struct loader_figures *figures)
{
    tell_text(out, "author", m->author ? m->author : "");
    tell_text(out, "description", m->description ? m->description : "");
    tell_text(out, "license", m->license);
    tell_text(out, "homepage", m->homepage);
    tell_words(out, "keywords", m->keywords, m->nkeywords);
    tell_open(out, "capabilities", '[');
    for (int c = 0; c < CAPABILITY_COUNT; c++)
        if (m->capabilities >> c & 1)
            tell_text(out, NULL, capability_name((enum capability)c));
    tell_close(out, ']');
    tell_actions(out, m, figures);
    tell_raw(out, "config_schema", m->config_json);
    struct manifest_limits held = loader_limits(s->loader, &m->limits);
    tell_limits(out, "limits", &held);
    tell_limits(out, "limits_asked", &m->limits);
}

static void tell_last_errors(struct buf *out, const struct loader_status *s)
{
    tell_open(out, "last_errors", '[');
    for (size_t i = 0; i < s->nlast; i++) {
        tell_open(out, NULL, '{');
        tell_time(out, "time", s->last[i].wall_ns);
        tell_text(out, "code", error_info(s->last[i].code)->name);
        tell_text(out, "message", s->last[i].message);
        tell_text(out, "call_id", s->last[i].call_id);
        tell_close(out, '}');
    }
    tell_close(out, ']');
}

static void tell_status(struct buf *out, const struct loader_status *s, const struct registry_counts *counts)
{
    tell_text(out, "loading", loader_state_name(s->state));
    tell_text(out, "health_status", health_name(s->health));
    tell_time(out, "health_since", s->health_since_ns);
    tell_text(out, "health_why", s->health_why);
    tell_number(out, "workers", s->workers);
    tell_number(out, "execution_count", counts->calls);
    tell_number(out, "error_count", counts->errors);
    tell_error_codes(out, "errors", s->errors_by_code);
    tell_success_rate(out, s->rated, s->failed);
    tell_time(out, "last_executed", counts->last_call_ms * NS_PER_MS);
    tell_counts(out, "counters", counts);
    tell_last_errors(out, s);
    tell_spread(out, "latency", &s->runs);
    tell_spread(out, "queue_wait", &s->waits);
    tell_number(out, "restarts", s->restarts);
    tell_number(out, "denials", s->denials);
    tell_number(out, "queued", s->queued);
    tell_number(out, "in_flight", s->in_flight);
    tell_number(out, "bytes_in", s->bytes_in);
    tell_number(out, "bytes_out", s->bytes_out);
    tell_number(out, "cpu_ns", s->cpu_ns);
    tell_number(out, "peak_memory", s->peak_memory);
    tell_text(out, "last_log", s->last_log);
    tell_number(out, "lines_dropped", s->lines_dropped);
    tell_text(out, "wall", s->fallback_wall ? "fallback" : "whole");
}

/* Where what runs may write, and how much it has. */
static void tell_writes(struct buf *out, struct loader *l, const char *name)
{
    struct loader_place *places = calloc(WALL_GRANTS_MAX, sizeof *places);
    size_t n = places ? loader_places(l, name, places) : 0;
    tell_open(out, "writes", '[');
    for (size_t k = 0; k < n; k++) {
        tell_open(out, NULL, '{');
        tell_text(out, "place", places[k].place);
        tell_number(out, "held", places[k].held);
        tell_number(out, "max", places[k].most);
        if (places[k].weighed)
            tell_number(out, "added", places[k].added);
        else
            tell_text(out, "added", NULL);
        tell_close(out, '}');
    }
    tell_close(out, ']');
    free(places);
}

static int tell_info(struct info_op *i, struct job *job)
{
    struct buf *out = &i->op.result;
    struct loader_status nothing = {.state = STATE_UNLOADED, .health = HEALTH_UNKNOWN};
    struct policy_answer answer;
    bool other = strcmp(i->version.version, i->plugin.current) != 0; /* what runs is the current version */
    tell_open(out, NULL, '{');
    tell_text(out, "name", i->plugin.name);
    tell_text(out, "version", i->version.version);
    tell_text(out, "current", i->plugin.current[0] ? i->plugin.current : NULL);
    tell_text(out, "publisher", i->plugin.owner);
    tell_text(out, "status", i->plugin.active ? "active" : "inactive");
    tell_text(out, "state", registry_state_name(i->version.state));
    tell_deprecated(out, "deprecated", &i->version);
    tell_flag(out, "pinned", i->plugin.pinned);
    tell_text(out, "previous", i->plugin.previous[0] ? i->plugin.previous : NULL);
    int rc = tell_versions(out, job, i->plugin.name, &i->op.error);
    tell_manifest(out, i->op.s, i->manifest, other ? NULL : i->figures);
    decisions_answer(i->manifest, i->version.publisher, &i->decisions, &answer);
    tell_permissions(out, "permissions", i->manifest, &answer, &i->decisions);
    tell_needs_grant(out, "needs_grant", i->manifest, &answer);
    tell_status(out, i->status && !other ? i->status : &nothing, &i->counts);
    tell_writes(out, i->op.s->loader, other ? "" : i->plugin.name);
    tell_generations(out, "generations", i->figures);
    tell_canary(out, "canary", i->op.s, i->plugin.name);
    tell_guard_of(out, "config_guard", i->op.s, i->plugin.name);
    tell_anomalies(out, "anomalies", i->op.s->monitor, i->plugin.name);
    tell_close(out, '}');
    return rc;
}

static bool first_version(void *context, const struct registry_version *v)
{
    snprintf(context, MANIFEST_VERSION_MAX + 1, "%s", v->version);
    return false;
}

/* What is told of a plugin without a current version is told of the one installed last. */
static int choose_version(struct info_op *i, struct job *job, char version[MANIFEST_VERSION_MAX + 1])
{
    const char *told = i->target.version[0] ? i->target.version : i->plugin.current;
    snprintf(version, MANIFEST_VERSION_MAX + 1, "%s", told);
    return *told ? 0 : registry_each_version(job->reader, i->plugin.name, first_version, version, &i->op.error);
}

static int find(struct info_op *i, struct job *job, struct buf *text)
{
    const struct target *t = &i->target;
    struct error *err = &i->op.error;
    int rc = registry_find_plugin(job->reader, t->name, &i->plugin, err);
    if (rc < 0)
        return rc;
    if (rc == 0 || !i->plugin.versions)
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", t->name);
    char version[MANIFEST_VERSION_MAX + 1];
    rc = choose_version(i, job, version);
    if (rc < 0)
        return rc;
    rc = registry_find_version(job->reader, t->name, version, &i->version, text, err);
    if (rc == 0)
        return error_set(err, MOAT_E_NO_SUCH_VERSION, "`%s` is not installed in version %s", t->name, version);
    return rc < 0 ? rc : manifest_parse(text->data, text->len, &i->manifest, err);
}

static int find_status(struct info_op *i)
{
    i->status = malloc(sizeof *i->status);
    if (!i->status)
        return error_set(&i->op.error, MOAT_E_OUT_OF_MEMORY, "no memory to tell of %s", i->target.name);
    if (!loader_status(i->op.s->loader, i->target.name, i->status)) {
        free(i->status);
        i->status = NULL;
    }
    return 0;
}

static void info(struct op *op, struct job *job)
{
    struct info_op *i = (struct info_op *)op;
    buf_auto text = BUF_INIT(2 * MANIFEST_MAX);
    int rc = op->code;
    if (rc < 0) {
        op_end(op, rc);
        return;
    }
    const char *version = i->target.version[0] ? i->target.version : NULL;
    rc = counters_read(job, i->target.name, version, &i->counts, &op->error);
    if (rc < 0) {
        op_end(op, rc);
        return;
    }
    rc = registry_snapshot_begin(job->reader, &op->error);
    if (rc == 0)
        rc = find(i, job, &text);
    if (rc == 0)
        rc = decisions_read(job, i->target.name, &i->decisions, &op->error);
    if (rc == 0)
        rc = find_status(i);
    i->figures = rc == 0 ? loader_figures(op->s->loader, i->target.name) : NULL;
    if (rc == 0)
        rc = tell_info(i, job);
    registry_snapshot_end(job->reader);
    op_end(op, rc);
}

void service_info(struct service *s, const char *what, service_done done, void *context)
{
    struct info_op *i = op_new(s, sizeof *i, done, context);
    if (!i)
        return;
    i->op.clear = clear;
    i->op.code = target_parse(what, true, &i->target, &i->op.error);
    op_begin(&i->op, NULL, info);
}

/* ---- errors ---- */

static void errors(struct op *op, struct job *job)
{
    struct info_op *i = (struct info_op *)op;
    struct loader_status nothing = {.state = STATE_UNLOADED};
    struct registry_version v;
    int rc = op->code;
    if (rc == 0)
        rc = version_find(job, &i->target, &v, NULL, &op->error);
    if (rc == 0)
        rc = find_status(i);
    if (rc == 0) {
        const struct loader_status *s = i->status ? i->status : &nothing;
        tell_open(&op->result, NULL, '{');
        tell_text(&op->result, "name", i->target.name);
        tell_number(&op->result, "error_count", s->errors);
        tell_error_codes(&op->result, "errors", s->errors_by_code);
        tell_last_errors(&op->result, s);
        tell_close(&op->result, '}');
    }
    op_end(op, rc);
}

void service_errors(struct service *s, const char *name, service_done done, void *context)
{
    struct info_op *i = op_new(s, sizeof *i, done, context);
    if (!i)
        return;
    i->op.clear = clear;
    i->op.code = target_parse(name, false, &i->target, &i->op.error);
    op_begin(&i->op, NULL, errors);
}
