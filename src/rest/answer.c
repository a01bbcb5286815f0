/* How a request ends: the one shape of success and the one shape of failure. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "rest/request.h"

#define ANSWER_ERROR_MAX (16 * 1024)
#define SUCCESS_PREFIX "{\"success\":true,\"result\":"
#define SUCCESS_SUFFIX "}"

void request_answer_header(struct rest_request *q, const char *name, const char *value)
{
    if (q->answer.nheaders == REST_HEADERS_MAX)
        return;
    q->answer.headers[q->answer.nheaders].name = name;
    q->answer.headers[q->answer.nheaders++].value = value;
}

void request_answer_part(struct rest_request *q, const void *bytes, size_t len)
{
    q->answer.parts[q->answer.nparts].bytes = bytes;
    q->answer.parts[q->answer.nparts++].len = len;
    q->answer.len += len;
}

/* Does an If-None-Match name this entity? Weak comparison, as RFC 9110 has it. */
static bool is_known(const char *header, const char *etag)
{
    etag += 2;
    for (size_t len = strlen(etag); header && *header;) {
        header += strspn(header, " \t,");
        if (*header == '*')
            return true;
        if (strncmp(header, "W/", 2) == 0)
            header += 2;
        if (strncmp(header, etag, len) == 0 && (!header[len] || strchr(" \t,", header[len])))
            return true;
        header += strcspn(header, ",");
    }
    return false;
}

/* A list that has not changed needs no second sending. true: 304. */
static bool answer_unchanged(struct rest_request *q, const void *result, size_t len)
{
    uint8_t hash[32];
    gnutls_hash_fast(GNUTLS_DIG_SHA256, result, len, hash);
    char hex[33];
    text_hex(hex, hash, 16);
    snprintf(q->etag, sizeof q->etag, "W/\"%s\"", hex); /* weak: it may be sent compressed as well */
    request_answer_header(q, "ETag", q->etag);
    if (!is_known(q->etag_known, q->etag))
        return false;
    q->answer.status = 304;
    q->answered = true;
    return true;
}

static void answer_success(struct rest_request *q, const void *result, size_t len)
{
    bool reads = q->route && strcmp(q->route->method, "GET") == 0;
    if (!rest_is_call(q))
        request_answer_header(q, "Cache-Control", reads ? "private, no-cache" : "no-store");
    if (reads && answer_unchanged(q, result, len))
        return;
    request_answer_header(q, "Content-Type", "application/json");
    request_answer_part(q, SUCCESS_PREFIX, sizeof SUCCESS_PREFIX - 1);
    request_answer_part(q, result, len);
    request_answer_part(q, SUCCESS_SUFFIX, sizeof SUCCESS_SUFFIX - 1);
    q->answer.status = 200;
    q->answered = true;
}

void request_bare(struct rest_request *q, const char *media, uint8_t *bytes, size_t len)
{
    q->result = bytes;
    request_answer_header(q, "Content-Type", media);
    request_answer_header(q, "Cache-Control", "no-cache");
    request_answer_part(q, bytes, len);
    q->answer.status = 200;
    q->answered = true;
}

/* What `why` will be asked for. */
static void remember(struct rest_request *q, const struct error *err, const char *id, const char *plugin,
                     const char *action)
{
    struct failure one = {.code = err->code,
                          .at_ns = clock_wall_ns(),
                          .token = q->token,
                          .scopes = q->scopes,
                          .method = q->route ? q->route->method : NULL,
                          .path = q->route ? q->route->path : NULL};
    text_copy(one.id, sizeof one.id, id);
    text_copy(one.plugin, sizeof one.plugin, plugin ? plugin : "");
    text_copy(one.action, sizeof one.action, action ? action : "");
    text_copy(one.message, sizeof one.message, err->message);
    if (strlen(err->detail) < sizeof one.detail)
        text_copy(one.detail, sizeof one.detail, err->detail);
    memcpy(one.traceparent, q->traceparent, sizeof one.traceparent);
    failures_keep(q->rest->failures, &one);
}

void request_actor(const struct rest_request *q, char out[32])
{
    out[0] = '\0';
    if (q->token)
        snprintf(out, 32, "token:%lld", (long long)q->token);
    else if (q->has_uid)
        snprintf(out, 32, "uid:%u", q->uid);
}

/* Who knocks without the right to, or too often, or wants of a plugin what it was not granted, is told of in the trail,
 * folded with a count. The subject is the plugin, when it is the one without the right; else the route. */
static void note(struct rest_request *q, const struct error *err, const char *id, const char *plugin)
{
    char actor[32];
    bool denied = err->code == MOAT_E_PERMISSION_DENIED;
    if (err->code != MOAT_E_UNAUTHORIZED && err->code != MOAT_E_FORBIDDEN && err->code != MOAT_E_RATE_LIMITED &&
        !denied)
        return;
    request_actor(q, actor);
    service_note_refusal(request_service(q), *actor ? actor : "nobody", id, "request.refused",
                         denied && plugin && *plugin ? plugin
                         : q->route                  ? q->route->path
                                                     : "",
                         err->code);
}

bool request_put_failure(struct rest_request *q, struct buf *out, const struct error *err, const char *id,
                         const char *plugin, const char *action)
{
    const struct error_info *info = error_info(err->code);
    char fresh[33];
    if (!id || !*id)
        id = q->id;
    if (!*id) {
        call_make_id(fresh);
        id = fresh;
    }
    buf_printf(out, "{\"success\":false,\"error\":{\"code\":\"%s\",\"message\":", info->name);
    text_json_string(out, err->message);
    buf_printf(out, ",\"id\":\"%s\",\"detail\":%s}}", id, *err->detail ? err->detail : "{}");
    remember(q, err, id, plugin, action);
    note(q, err, id, plugin);
    if (log_enabled(LOG_DEBUG))
        log_event(LOG_DEBUG, "refused", "id", id, "code", info->name, "message", err->message, "route",
                  q->route ? q->route->path : NULL, NULL);
    return !out->failed;
}

static void error_headers(struct rest_request *q, enum moat_code code)
{
    request_answer_header(q, "Content-Type", "application/json");
    request_answer_header(q, "Cache-Control", "no-store");
    if (code == MOAT_E_UNAUTHORIZED)
        request_answer_header(q, "WWW-Authenticate", "Bearer realm=\"moat\"");
    if (code == MOAT_E_QUEUE_FULL || code == MOAT_E_DRAINING || code == MOAT_E_NOT_READY)
        request_answer_header(q, "Retry-After", "1");
    if (code == MOAT_E_RATE_LIMITED) {
        snprintf(q->retry_after, sizeof q->retry_after, "%llu",
                 (unsigned long long)((q->wait_ns + NS_PER_S - 1) / NS_PER_S));
        request_answer_header(q, "Retry-After", q->retry_after);
    }
}

void request_answer_error(struct rest_request *q, const struct error *err, const char *id)
{
    static const char no_memory[] =
        "{\"success\":false,\"error\":{\"code\":\"out_of_memory\",\"message\":\"no memory for "
        "the answer\",\"id\":\"00000000000000000000000000000000\",\"detail\":{}}}";
    const struct error_info *info = error_info(err->code);
    bool named = q->route && strstr(q->route->path, "/plugins/") && strstr(q->route->path, "{name}");
    q->text = BUF_INIT(ANSWER_ERROR_MAX);
    error_headers(q, err->code);
    if (request_put_failure(q, &q->text, err, id, named ? q->params[0] : NULL,
                            q->route && q->route->body == BODY_CALL ? q->params[1] : NULL)) {
        request_answer_part(q, q->text.data, q->text.len);
    } else {
        request_answer_part(q, no_memory, sizeof no_memory - 1);
        info = error_info(MOAT_E_OUT_OF_MEMORY);
    }
    q->code = err->code;
    q->answer.status = info->http;
    q->answered = true;
}

static void finish_on_loop(struct loop_task *task)
{
    struct rest_request *q = (struct rest_request *)((char *)task - offsetof(struct rest_request, task));
    q->done(q, q->context);
}

void request_finish(struct rest_request *q)
{
    if (loop_is_mine(q->loop)) {
        q->done(q, q->context);
        return;
    }
    q->task.run = finish_on_loop;
    loop_post(q->loop, &q->task);
}

void request_complete(void *context, const struct error *error, struct buf *result)
{
    struct rest_request *q = context;
    size_t len = 0;
    if (!error && result)
        q->result = buf_steal(result, &len);
    if (error)
        request_answer_error(q, error, NULL);
    else if (q->result)
        answer_success(q, q->result, len);
    else
        answer_success(q, "null", 4);
    request_finish(q);
}

void request_complete_file(void *context, const struct error *error, struct buf *result)
{
    struct rest_request *q = context;
    if (error) {
        request_answer_error(q, error, NULL);
    } else {
        request_answer_header(q, "Content-Type", q->found.media);
        request_answer_header(q, "Cache-Control", "no-store");
        if (*q->found.name) {
            snprintf(q->disposition, sizeof q->disposition, "attachment; filename=\"%s\"", q->found.name);
            request_answer_header(q, "Content-Disposition", q->disposition);
        }
        q->answer.file = q->found.fd;
        q->answer.len = q->found.len;
        q->answer.status = 200;
        q->answered = true;
    }
    request_finish(q);
}

void request_result(struct rest_request *q, uint8_t *result, size_t len)
{
    q->result = result;
    answer_success(q, result, len);
}

void request_fail_with(struct rest_request *q, const struct error *err)
{
    request_answer_error(q, err, NULL);
    request_finish(q);
}

void request_fail(struct rest_request *q, enum moat_code code, const char *format, ...)
{
    struct error err = {.code = code};
    va_list args;
    va_start(args, format);
    vsnprintf(err.message, sizeof err.message, format, args);
    va_end(args);
    request_fail_with(q, &err);
}

bool rest_unwrap(const char *document, size_t len, const char **result, size_t *result_len)
{
    size_t prefix = sizeof SUCCESS_PREFIX - 1, suffix = sizeof SUCCESS_SUFFIX - 1;
    if (len <= prefix + suffix || memcmp(document, SUCCESS_PREFIX, prefix) != 0 ||
        memcmp(document + len - suffix, SUCCESS_SUFFIX, suffix) != 0)
        return false;
    *result = document + prefix;
    *result_len = len - prefix - suffix;
    return true;
}
