/* Routes about versions: which one is current, what is said of them, what they are, how a plugin is configured. */
#include <stdlib.h>
#include <string.h>

#include "rest/request.h"
#include "json/json.h"

void handle_use(struct rest_request *q)
{
    const char *text = request_query(q, "canary"), *accept = request_query(q, "accept");
    unsigned long percent = text ? strtoul(text, NULL, 10) : 0; /* the table has seen that it is a whole number */
    if (!text)
        service_use(request_service(q), q->params[0], accept, request_complete, q);
    else if (percent < 1 || percent > 99)
        request_fail(q, MOAT_E_BAD_REQUEST, "`canary` is a percentage from 1 to 99, not %.20s", text);
    else
        service_canary(request_service(q), q->params[0], (unsigned)percent, accept, request_complete, q);
}

void handle_rollback(struct rest_request *q)
{
    service_rollback(request_service(q), q->params[0], request_complete, q);
}

void handle_pin(struct rest_request *q)
{
    service_pin(request_service(q), q->params[0], true, request_complete, q);
}

void handle_unpin(struct rest_request *q)
{
    service_pin(request_service(q), q->params[0], false, request_complete, q);
}

void handle_activate(struct rest_request *q)
{
    service_activate(request_service(q), q->params[0], true, request_complete, q);
}

void handle_deactivate(struct rest_request *q)
{
    service_activate(request_service(q), q->params[0], false, request_complete, q);
}

void handle_deprecate(struct rest_request *q)
{
    service_deprecate(request_service(q), q->params[0], !request_flag(q, "undo"), request_query(q, "reason"),
                      request_complete, q);
}

void handle_archive(struct rest_request *q)
{
    service_archive(request_service(q), q->params[0], !request_flag(q, "undo"), request_complete, q);
}

/* ---- what they are ---- */

void handle_versions(struct rest_request *q)
{
    service_versions(request_service(q), q->params[0], request_complete, q);
}

void handle_errors(struct rest_request *q)
{
    service_errors(request_service(q), q->params[0], request_complete, q);
}

void handle_fetch(struct rest_request *q)
{
    service_fetch(request_service(q), q->params[0], &q->found, request_complete_file, q);
}

void handle_diff(struct rest_request *q)
{
    service_diff(request_service(q), request_query(q, "from"), request_query(q, "to"), NULL, NULL, request_complete, q);
}

void handle_diff_package(struct rest_request *q)
{
    const char *path = request_package(q);
    if (path)
        service_diff(request_service(q), request_query(q, "from"), NULL, path, q->called, request_complete, q);
}

void handle_export(struct rest_request *q)
{
    service_export(request_service(q), &q->found, request_complete_file, q);
}

void handle_import(struct rest_request *q)
{
    service_import(request_service(q), q->file, request_complete, q);
}

void handle_apply(struct rest_request *q)
{
    service_apply(request_service(q), q->file, request_flag(q, "check"), request_complete, q);
}

/* ---- configuration ---- */

void handle_config_get(struct rest_request *q)
{
    service_config_get(request_service(q), q->params[0], request_complete, q);
}

void handle_config_history(struct rest_request *q)
{
    uint64_t limit = request_number(q, "limit");
    if (request_query(q, "limit") && (limit < 1 || limit > 1000))
        request_fail(q, MOAT_E_BAD_REQUEST, "`limit` is 1 to 1000");
    else
        service_config_history(request_service(q), q->params[0], limit, request_complete, q);
}

void handle_config_set(struct rest_request *q)
{
    struct json_fault fault;
    if (!q->body.len) {
        request_fail(q, MOAT_E_BAD_JSON, "the body is empty; it must be the property's value");
        return;
    }
    if (!json_explain(q->body.data, q->body.len, &fault)) {
        request_fail(q, MOAT_E_BAD_JSON, "the body is not JSON: %s, at byte %zu", fault.reason, fault.offset);
        return;
    }
    q->body.data[q->body.len] = 0; /* the checker may have written behind the text */
    service_config_set(request_service(q), q->params[0], q->params[1], buf_text(&q->body), !request_flag(q, "no_guard"),
                       request_complete, q);
}

void handle_config_unset(struct rest_request *q)
{
    service_config_set(request_service(q), q->params[0], q->params[1], NULL, !request_flag(q, "no_guard"),
                       request_complete, q);
}
