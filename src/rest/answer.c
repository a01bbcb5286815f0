/* How a request ends: the one shape of success and the one shape of failure. */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

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

static void answer_success(struct rest_request *q, const void *result, size_t len)
{
    request_answer_header(q, "Content-Type", "application/json");
    if (!rest_is_call(q))
        request_answer_header(q, "Cache-Control", "no-store");
    request_answer_part(q, SUCCESS_PREFIX, sizeof SUCCESS_PREFIX - 1);
    request_answer_part(q, result, len);
    request_answer_part(q, SUCCESS_SUFFIX, sizeof SUCCESS_SUFFIX - 1);
    q->answer.status = 200;
    q->answered = true;
}

static void fresh_id(char id[33])
{
    uint8_t bytes[16] = {0};
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        memset(bytes, 0, sizeof bytes);
    text_hex(id, bytes, sizeof bytes);
}

/* The service knows an upload by a path that means nothing to the client. */
static void put_message(struct rest_request *q, const char *message)
{
    const char *name = q->named ? q->named : "the package";
    size_t path_len = strlen(q->path);
    for (const char *at; path_len && (at = strstr(message, q->path)); message = at + path_len) {
        text_json_escape(&q->text, message, (size_t)(at - message));
        text_json_escape(&q->text, name, strlen(name));
    }
    text_json_escape(&q->text, message, strlen(message));
}

static void error_headers(struct rest_request *q, enum moat_code code)
{
    request_answer_header(q, "Content-Type", "application/json");
    request_answer_header(q, "Cache-Control", "no-store");
    if (code == MOAT_E_UNAUTHORIZED)
        request_answer_header(q, "WWW-Authenticate", "Bearer realm=\"moat\"");
    if (code == MOAT_E_QUEUE_FULL || code == MOAT_E_DRAINING)
        request_answer_header(q, "Retry-After", "1");
}

void request_answer_error(struct rest_request *q, const struct error *err, const char *id)
{
    static const char no_memory[] =
        "{\"success\":false,\"error\":{\"code\":\"out_of_memory\",\"message\":\"no memory for "
        "the answer\",\"id\":\"00000000000000000000000000000000\",\"detail\":{}}}";
    const struct error_info *info = error_info(err->code);
    char fresh[33];
    if (!id || !*id) {
        fresh_id(fresh);
        id = fresh;
    }
    q->text = BUF_INIT(ANSWER_ERROR_MAX);
    buf_printf(&q->text, "{\"success\":false,\"error\":{\"code\":\"%s\",\"message\":\"", info->name);
    put_message(q, err->message);
    buf_printf(&q->text, "\",\"id\":\"%s\",\"detail\":%s}}", id, *err->detail ? err->detail : "{}");
    error_headers(q, err->code);
    if (q->text.failed) {
        request_answer_part(q, no_memory, sizeof no_memory - 1);
        info = error_info(MOAT_E_OUT_OF_MEMORY);
    } else {
        request_answer_part(q, q->text.data, q->text.len);
    }
    q->answer.status = info->http;
    q->answered = true;
    if (log_enabled(LOG_DEBUG))
        log_event(LOG_DEBUG, "refused", "id", id, "code", info->name, "message", err->message, "route",
                  q->route ? q->route->path : NULL, NULL);
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
