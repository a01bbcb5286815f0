/* GET /api/why/{id}: what decided, who asked, which grant would have allowed it, what the plugin logged.  The failure
 * is from memory, the plugin's decisions and denials are as they are now. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "rest/request.h"

#define WHY_MAX (4u << 20)

/* What a code of the table is the word of. */
static const char *decided_by(enum moat_code code)
{
    static const struct {
        const char *by;
        enum moat_code codes[16];
    } rows[] = {
        {"token", {MOAT_E_UNAUTHORIZED, MOAT_E_RATE_LIMITED}},
        {"scope", {MOAT_E_FORBIDDEN}},
        {"route", {MOAT_E_NOT_FOUND, MOAT_E_METHOD_NOT_ALLOWED}},
        {"request",
         {MOAT_E_BAD_USAGE, MOAT_E_BAD_REQUEST, MOAT_E_BAD_JSON, MOAT_E_TOO_LARGE, MOAT_E_UNSUPPORTED_MEDIA_TYPE,
          MOAT_E_METADATA_MISMATCH, MOAT_E_IDEMPOTENCY_CONFLICT, MOAT_E_ANSWER_NOT_KEPT}},
        {"schema", {MOAT_E_BAD_PARAMETERS}},
        {"policy", {MOAT_E_PERMISSION_DENIED, MOAT_E_REVOKE_INCOMPLETE}},
        {"queue", {MOAT_E_QUEUE_FULL, MOAT_E_CANCELLED}},
        {"plugin", {MOAT_E_ACTION_FAILED, MOAT_E_PLUGIN_CRASHED, MOAT_E_START_FAILED, MOAT_E_BAD_RESULT}},
        {"limit", {MOAT_E_DEADLINE, MOAT_E_LIMIT}},
        {"wall", {MOAT_E_WALL_MISSING}},
        {"host",
         {MOAT_E_STORAGE_FAILED, MOAT_E_OUT_OF_MEMORY, MOAT_E_NO_ANSWER, MOAT_E_INTERNAL, MOAT_E_DRAINING,
          MOAT_E_HOME_BUSY, MOAT_E_NOT_READY}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (const enum moat_code *c = rows[i].codes; *c; c++)
            if (*c == code)
                return rows[i].by;
    return "registry";
}

struct why {
    struct rest_request *q;
    struct failure failure;
    json_t *grants; /* what service_grants told, or NULL */
};

static void put_caller(struct buf *out, const struct failure *f)
{
    static const enum rest_scope scopes[] = {REST_EXECUTE, REST_READ, REST_MANAGE, REST_ADMIN};
    bool any = false;
    buf_puts(out, ",\"caller\":{\"token\":");
    if (f->token)
        buf_printf(out, "%lld", (long long)f->token);
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"scopes\":[");
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++)
        if (f->scopes & scopes[i]) {
            buf_printf(out, "%s\"%s\"", any ? "," : "", route_scope_name(scopes[i]));
            any = true;
        }
    buf_printf(out, "],\"traceparent\":%s%s%s}", *f->traceparent ? "\"" : "", *f->traceparent ? f->traceparent : "null",
               *f->traceparent ? "\"" : "");
}

/* From who asked to what was asked for. */
static void put_chain(struct buf *out, const struct failure *f)
{
    buf_auto call = BUF_INIT(256);
    buf_puts(out, ",\"chain\":[");
    if (f->token)
        buf_printf(out, "\"token %lld\"", (long long)f->token);
    else
        buf_puts(out, f->scopes ? "\"owner of the home\"" : "\"nobody\"");
    if (f->path)
        buf_printf(out, ",\"%s %s\"", f->method, f->path);
    if (*f->plugin) {
        buf_printf(&call, "%s%s%s", f->plugin, *f->action ? "." : "", f->action);
        buf_putc(out, ',');
        text_json_string(out, buf_text(&call));
    }
    buf_putc(out, ']');
}

static const struct route *route_of(const struct failure *f)
{
    for (size_t i = 0; i < nroutes; i++)
        if (routes[i].path == f->path && routes[i].method == f->method)
            return &routes[i];
    return NULL;
}

static int put_json(const char *bytes, size_t len, void *out)
{
    return buf_put(out, bytes, len) ? 0 : -1;
}

static void put_tree(struct buf *out, const char *key, const json_t *tree)
{
    buf_printf(out, ",\"%s\":", key);
    if (!tree || json_dump_callback(tree, put_json, out, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
        buf_puts(out, "[]");
}

static void put_decision(struct buf *out, const struct why *w)
{
    const struct failure *f = &w->failure;
    const struct route *r = route_of(f);
    buf_printf(out, ",\"decision\":{\"by\":\"%s\",\"route\":", decided_by(f->code));
    if (r)
        buf_printf(out, "\"%s %s\",\"scope\":\"%s\"", r->method, r->path, route_scope_name(r->scope));
    else
        buf_puts(out, "null,\"scope\":null");
    bool lacked = f->code == MOAT_E_PERMISSION_DENIED;
    put_tree(out, "needs_grant", lacked ? json_object_get(w->grants, "needs_grant") : NULL);
    buf_putc(out, '}');
}

static void put_failure(struct buf *out, const struct failure *f)
{
    const struct error_info *info = error_info(f->code);
    char time[CLOCK_RFC3339_MAX];
    clock_rfc3339(f->at_ns, time);
    buf_printf(out, "{\"id\":\"%s\",\"time\":\"%s\",\"code\":\"%s\",\"status\":%d,\"message\":", f->id, time,
               info->name, info->http);
    text_json_string(out, f->message);
    buf_puts(out, ",\"advice\":");
    text_json_string(out, info->advice);
    buf_printf(out, ",\"detail\":%s", *f->detail ? f->detail : "{}");
}

static void finish(struct why *w, const json_t *denials)
{
    struct rest_request *q = w->q;
    buf_auto out = BUF_INIT(WHY_MAX);
    put_failure(&out, &w->failure);
    put_decision(&out, w);
    put_caller(&out, &w->failure);
    put_chain(&out, &w->failure);
    put_tree(&out, "grants", json_object_get(w->grants, "grants"));
    put_tree(&out, "denials", json_object_get(denials, "denials"));
    buf_puts(&out, ",\"log\":");
    buf_auto log = BUF_INIT(WHY_MAX);
    if (*w->failure.plugin)
        service_log_of(request_service(q), w->failure.id, &log);
    buf_puts(&out, log.failed || !log.len ? "[]" : buf_text(&log));
    buf_putc(&out, '}');
    json_decref(w->grants);
    free(w);
    struct error err = {.code = MOAT_E_OUT_OF_MEMORY, .message = "no memory for the explanation"};
    request_complete(q, out.failed ? &err : NULL, &out);
}

/* A plugin that is not there has nothing to tell: that may be why. */
static json_t *tree_of(const struct error *error, struct buf *result)
{
    return error || !result ? NULL : json_loadb(buf_text(result), result->len, 0, NULL);
}

static void denials_told(void *context, const struct error *error, struct buf *result)
{
    json_t *denials = tree_of(error, result);
    finish(context, denials);
    json_decref(denials);
}

static void grants_told(void *context, const struct error *error, struct buf *result)
{
    struct why *w = context;
    w->grants = tree_of(error, result);
    service_denials(request_service(w->q), w->failure.plugin, NULL, 0, denials_told, w);
}

void handle_why(struct rest_request *q)
{
    struct why *w = calloc(1, sizeof *w);
    if (!w) {
        request_fail(q, MOAT_E_OUT_OF_MEMORY, "no memory for the explanation");
        return;
    }
    w->q = q;
    if (!failures_find(q->rest->failures, q->params[0], &w->failure)) {
        free(w);
        request_fail(q, MOAT_E_NOT_FOUND,
                     "no failure %.40s is remembered: the last %d are, since this server or command started",
                     q->params[0], FAILURES_KEPT);
    } else if (*w->failure.plugin) {
        service_grants(request_service(q), w->failure.plugin, grants_told, w);
    } else {
        finish(w, NULL);
    }
}
