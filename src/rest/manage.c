/* Routes that decide and routes that tell. */
#include <stdlib.h>

#include "rest/request.h"
#include "json/json.h"

/* ---- decisions ---- */

void handle_grant(struct rest_request *q)
{
    service_grant(request_service(q), q->params[0], request_text(q, "grant"), request_text(q, "for"), request_complete,
                  q);
}

void handle_revoke(struct rest_request *q)
{
    service_revoke(request_service(q), q->params[0], request_query(q, "grant"), request_complete, q);
}

void handle_refuse(struct rest_request *q)
{
    service_refuse(request_service(q), q->params[0], request_text(q, "permission"), request_complete, q);
}

void handle_grants(struct rest_request *q)
{
    service_grants(request_service(q), NULL, request_complete, q);
}

void handle_plugin_grants(struct rest_request *q)
{
    service_grants(request_service(q), q->params[0], request_complete, q);
}

void handle_denials(struct rest_request *q)
{
    service_denials(request_service(q), NULL, request_query(q, "since"), request_number(q, "limit"), request_complete,
                    q);
}

void handle_plugin_denials(struct rest_request *q)
{
    service_denials(request_service(q), q->params[0], request_query(q, "since"), request_number(q, "limit"),
                    request_complete, q);
}

void handle_proposals(struct rest_request *q)
{
    service_proposals(request_service(q), q->params[0], request_complete, q);
}

void handle_ceiling_list(struct rest_request *q)
{
    service_ceiling_list(request_service(q), request_complete, q);
}

void handle_ceiling_set(struct rest_request *q)
{
    service_ceiling_set(request_service(q), request_text(q, "subject"), request_text(q, "never"), request_complete, q);
}

void handle_ceiling_remove(struct rest_request *q)
{
    service_ceiling_remove(request_service(q), request_query(q, "subject"), request_query(q, "never"), request_complete,
                           q);
}

void handle_source_list(struct rest_request *q)
{
    service_source_list(request_service(q), request_complete, q);
}

void handle_source_add(struct rest_request *q)
{
    service_source_add(request_service(q), request_text(q, "name"), request_text(q, "kind"), request_text(q, "place"),
                       request_complete, q);
}

void handle_source_remove(struct rest_request *q)
{
    service_source_remove(request_service(q), q->params[0], request_complete, q);
}

void handle_trust_add(struct rest_request *q)
{
    service_trust_add(request_service(q), request_text(q, "publisher"), request_text(q, "public_key"),
                      request_text(q, "names"), request_complete, q);
}

void handle_trust_list(struct rest_request *q)
{
    service_trust_list(request_service(q), request_complete, q);
}

void handle_trust_revoke(struct rest_request *q)
{
    service_trust_revoke(request_service(q), q->params[0], q->params[1], request_complete, q);
}

void handle_trust_names(struct rest_request *q)
{
    service_trust_names(request_service(q), q->params[0], request_text(q, "names"), request_complete, q);
}

void handle_trust_transfer(struct rest_request *q)
{
    service_trust_transfer(request_service(q), request_text(q, "plugin"), request_text(q, "publisher"),
                           request_complete, q);
}

/* ---- telling ---- */

void handle_available(struct rest_request *q)
{
    uint64_t limit = request_number(q, "limit");
    struct service_filter filter = {.capability = request_query(q, "capability"),
                                    .permission = request_query(q, "permission"),
                                    .status = request_query(q, "status"),
                                    .publisher = request_query(q, "publisher"),
                                    .q = request_query(q, "q"),
                                    .after = request_query(q, "after"),
                                    .limit = limit < UINT32_MAX ? (unsigned)limit : UINT32_MAX};
    service_available(request_service(q), &filter, request_complete, q);
}

void handle_loaded(struct rest_request *q)
{
    service_loaded(request_service(q), request_complete, q);
}

void handle_info(struct rest_request *q)
{
    service_info(request_service(q), q->params[0], request_complete, q);
}

void handle_capabilities(struct rest_request *q)
{
    service_capabilities(request_service(q), request_complete, q);
}

void handle_permissions(struct rest_request *q)
{
    service_permissions(request_service(q), request_complete, q);
}

void handle_stats(struct rest_request *q)
{
    service_stats(request_service(q), request_complete, q);
}

/* Alive is who answers at all; ready is who may be sent new work. */
void handle_health(struct rest_request *q)
{
    struct error err;
    if (request_flag(q, "ready")) {
        int rc = atomic_load(&q->rest->draining) ? error_set(&err, MOAT_E_DRAINING, "the server is ending")
                                                 : service_ready(request_service(q), &err);
        if (rc < 0) {
            request_fail_with(q, &err);
            return;
        }
    }
    service_health(request_service(q), request_complete, q);
}

/* ---- settings ---- */

void handle_settings_list(struct rest_request *q)
{
    service_settings_get(request_service(q), NULL, request_complete, q);
}

void handle_settings_get(struct rest_request *q)
{
    service_settings_get(request_service(q), q->params[0], request_complete, q);
}

void handle_settings_set(struct rest_request *q)
{
    struct json_fault fault;
    if (!q->body.len) {
        request_fail(q, MOAT_E_BAD_JSON, "the body is empty; it must be the setting's value");
        return;
    }
    if (!json_explain(q->body.data, q->body.len, &fault)) {
        request_fail(q, MOAT_E_BAD_JSON, "the body is not JSON: %s, at byte %zu", fault.reason, fault.offset);
        return;
    }
    q->body.data[q->body.len] = 0; /* the checker may have written behind the text */
    service_settings_set(request_service(q), q->params[0], buf_text(&q->body), request_complete, q);
}
