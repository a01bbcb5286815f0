/* Routes for those who watch or administer the host itself: tokens, the log, figures, the API's own description. */
#include <stdlib.h>
#include <string.h>

#include "rest/request.h"

/* ---- tokens ---- */

void handle_tokens(struct rest_request *q)
{
    service_token_list(request_service(q), request_complete, q);
}

void handle_token_create(struct rest_request *q)
{
    const json_t *list = json_object_get(q->json, "scopes");
    size_t n = json_array_size(list);
    const char **scopes = calloc(n + 1, sizeof *scopes);
    if (!scopes) {
        request_fail(q, MOAT_E_OUT_OF_MEMORY, "no memory for the token");
        return;
    }
    for (size_t i = 0; i < n; i++)
        scopes[i] = json_string_value(json_array_get(list, i));
    service_token_create(request_service(q), scopes, n, request_text(q, "name"), request_text(q, "for"),
                         request_complete, q);
    free(scopes);
}

void handle_token_revoke(struct rest_request *q)
{
    service_token_revoke(request_service(q), q->params[0], request_complete, q);
}

/* ---- what plugins said ---- */

static void lines_ready(void *context, const struct error *error, struct log_follow *f)
{
    struct rest_request *q = context;
    if (error) {
        request_complete(q, error, NULL);
        return;
    }
    q->lines = f;
    stream_answer(q);
}

static void follow_log(struct rest_request *q, const struct service_log *filter)
{
    struct service_following how = {.loop = q->loop,
                                    .last = *q->last_event ? q->last_event : NULL,
                                    .ready = lines_ready,
                                    .more = stream_more,
                                    .context = q};
    if (stream_heartbeat(q, &how.heartbeat_ns))
        service_log_follow(request_service(q), filter, &how);
}

/* It may have been waited for. */
static void page_told(void *context, const struct error *error, struct buf *result)
{
    struct rest_request *q = context;
    struct error gone;
    if (!error && !request_is_let_in(q)) {
        error_set(&gone, MOAT_E_UNAUTHORIZED, "the token was revoked or has expired while lines were waited for");
        error = &gone;
    }
    request_complete(q, error, result);
}

void handle_log(struct rest_request *q)
{
    struct service_log filter = {.plugin = request_query(q, "plugin"),
                                 .call = request_query(q, "call"),
                                 .trace = request_query(q, "trace"),
                                 .level = request_query(q, "level"),
                                 .source = request_query(q, "source"),
                                 .since = request_query(q, "since"),
                                 .wait = request_query(q, "wait"),
                                 .after = request_number(q, "after"),
                                 .before = request_number(q, "before"),
                                 .limit = request_number(q, "limit"),
                                 .goes_on = request_query(q, "after") != NULL};
    if (q->wants_events)
        follow_log(q, &filter);
    else
        service_log(request_service(q), &filter, page_told, q);
}

/* ---- figures ---- */

static void metrics_told(void *context, const struct error *error, struct buf *result)
{
    struct rest_request *q = context;
    size_t len;
    if (error) {
        request_complete(q, error, NULL);
        return;
    }
    buf_printf(result,
               "# TYPE moat_calls_running gauge\n# HELP moat_calls_running Calls of requests under way.\n"
               "moat_calls_running %zu\n",
               runs_running(q->rest->runs));
    traffic_write(q->rest->traffic, result);
    buf_puts(result, "# EOF\n");
    uint8_t *bytes = buf_steal(result, &len);
    struct error err = {.code = MOAT_E_OUT_OF_MEMORY, .message = "no memory for the figures"};
    if (!bytes) {
        request_complete(q, &err, NULL);
        return;
    }
    request_bare(q, "application/openmetrics-text; version=1.0.0; charset=utf-8", bytes, len);
    request_finish(q);
}

void handle_metrics(struct rest_request *q)
{
    service_metrics(request_service(q), metrics_told, q);
}

/* ---- the API's description: made once, the same for the life of the table ---- */

static uint8_t *copy_of(const struct buf *text)
{
    uint8_t *bytes = malloc(text->len + 1);
    return bytes ? memcpy(bytes, text->data, text->len) : NULL;
}

void handle_openapi(struct rest_request *q)
{
    struct rest *r = q->rest;
    pthread_mutex_lock(&r->lock);
    bool made = r->openapi.len || rest_openapi(&r->openapi);
    uint8_t *bytes = made ? copy_of(&r->openapi) : NULL;
    size_t len = r->openapi.len;
    if (!made)
        buf_clear(&r->openapi);
    pthread_mutex_unlock(&r->lock);
    if (!bytes) {
        request_fail(q, MOAT_E_OUT_OF_MEMORY, "no memory for the description");
        return;
    }
    request_bare(q, "application/json", bytes, len);
    request_finish(q);
}
