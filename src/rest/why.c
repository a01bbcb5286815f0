/* GET /api/why/{id}: what decided, who asked, which grant or scope would have allowed it, what the plugin logged.  The
 * failure is from memory, the token's name and the plugin's decisions and denials are as they are now. */
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
    json_t *tokens; /* what service_token_list told, or NULL; of a refusal by scope only */
};

/* ---- refused by scope ---- */

/* The caller's own row of the tokens, or NULL. */
static const json_t *token_of(const struct why *w)
{
    const json_t *list = json_object_get(w->tokens, "tokens");
    for (size_t i = 0; w->failure.token && i < json_array_size(list); i++)
        if (json_integer_value(json_object_get(json_array_get(list, i), "id")) == w->failure.token)
            return json_array_get(list, i);
    return NULL;
}

/* One word of a shell, of a scope that tokens can have. */
static void put_scope(struct buf *command, const char *scope)
{
    bool any = strchr(scope, '*') != NULL;
    buf_printf(command, " --scope %s%s%s", any ? "'" : "", scope, any ? "'" : "");
}

/* A token of the same name with the missing scope besides: what a token may is not changed, it is made anew. */
static void put_mend(struct buf *out, const json_t *token, const char *needs)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    const json_t *scopes = json_object_get(token, "scopes");
    const char *name = json_string_value(json_object_get(token, "name")), *plugin = strchr(needs, ':');
    buf_auto command = BUF_INIT(8 * 1024);
    buf_puts(&command, "moat token create");
    for (size_t i = 0; i < json_array_size(scopes); i++)
        put_scope(&command, json_string_value(json_array_get(scopes, i)));
    if (plugin ? text_is_name(plugin + 1, MANIFEST_NAME_MAX) : strncmp(needs, "execute", 7) != 0)
        put_scope(&command, needs);
    else
        put_scope(&command, "execute:NAME"); /* which plugin is the operator's to say, when the request did not */
    if (name && *name && name[strspn(name, plain)] == '\0')
        buf_printf(&command, " --name %s", name);
    buf_puts(out, ",\"mend\":");
    text_json_string(out, buf_text(&command));
}

/* A page of elsewhere is refused with the same code, and lacks no scope. */
static void put_missing_scope(struct buf *out, const struct why *w)
{
    json_t *detail = w->failure.code == MOAT_E_FORBIDDEN ? json_loads(w->failure.detail, 0, NULL) : NULL;
    const char *needs = json_string_value(json_object_get(detail, "scope"));
    const json_t *token = token_of(w);
    if (needs) {
        buf_puts(out, ",\"needs_scope\":");
        text_json_string(out, needs);
    }
    if (needs && token)
        put_mend(out, token, needs);
    json_decref(detail);
}

/* ---- the explanation ---- */

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

static void put_scopes(struct buf *out, uint32_t has)
{
    static const enum rest_scope scopes[] = {REST_EXECUTE, REST_READ, REST_MANAGE, REST_ADMIN};
    bool any = false;
    buf_puts(out, ",\"scopes\":[");
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++)
        if (has & scopes[i]) {
            buf_printf(out, "%s\"%s\"", any ? "," : "", route_scope_name(scopes[i]));
            any = true;
        }
    buf_putc(out, ']');
}

static void put_caller(struct buf *out, const struct why *w)
{
    const struct failure *f = &w->failure;
    const json_t *token = token_of(w);
    buf_puts(out, ",\"caller\":{\"token\":");
    if (f->token)
        buf_printf(out, "%lld", (long long)f->token);
    else
        buf_puts(out, "null");
    if (token) { /* with the plugins of `execute` */
        put_tree(out, "name", json_object_get(token, "name"));
        put_tree(out, "scopes", json_object_get(token, "scopes"));
    } else {
        put_scopes(out, f->scopes);
    }
    buf_printf(out, ",\"traceparent\":%s%s%s}", *f->traceparent ? "\"" : "", *f->traceparent ? f->traceparent : "null",
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
    put_missing_scope(out, w);
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
    put_caller(&out, w);
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
    json_decref(w->tokens);
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

static void tokens_told(void *context, const struct error *error, struct buf *result)
{
    struct why *w = context;
    w->tokens = tree_of(error, result);
    finish(w, NULL);
}

/* Did the request get as far as a plugin? What is told of one that it never reached would lead astray. */
static bool is_before_plugins(enum moat_code code)
{
    const char *by = decided_by(code);
    return strcmp(by, "token") == 0 || strcmp(by, "scope") == 0;
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
    } else if (w->failure.code == MOAT_E_FORBIDDEN) {
        service_token_list(request_service(q), tokens_told, w);
    } else if (*w->failure.plugin && !is_before_plugins(w->failure.code)) {
        service_grants(request_service(q), w->failure.plugin, grants_told, w);
    } else {
        finish(w, NULL);
    }
}
