/* Routes of the audit trail and of the registry as a whole. */
#include "rest/request.h"

void handle_audit(struct rest_request *q)
{
    struct service_audit filter = {.actor = request_query(q, "actor"),
                                   .action = request_query(q, "action"),
                                   .subject = request_query(q, "subject"),
                                   .outcome = request_query(q, "outcome"),
                                   .since = request_query(q, "since"),
                                   .after = request_number(q, "after"),
                                   .before = request_number(q, "before"),
                                   .limit = request_number(q, "limit")};
    service_audit(request_service(q), &filter, request_complete, q);
}

void handle_audit_head(struct rest_request *q)
{
    service_audit_head(request_service(q), request_complete, q);
}

void handle_audit_verify(struct rest_request *q)
{
    service_audit_verify(request_service(q), request_query(q, "anchor"), request_query(q, "key"), request_complete, q);
}

void handle_audit_sign(struct rest_request *q)
{
    service_audit_sign(request_service(q), request_text(q, "head"), request_text(q, "key"),
                       request_text(q, "signature"), request_complete, q);
}

void handle_audit_rotate(struct rest_request *q)
{
    service_audit_rotate(request_service(q), request_number(q, "keep"), request_complete, q);
}

void handle_check(struct rest_request *q)
{
    service_check(request_service(q), request_complete, q);
}

void handle_production(struct rest_request *q)
{
    service_production(request_service(q), request_complete, q);
}

void handle_backup(struct rest_request *q)
{
    service_backup(request_service(q), request_text(q, "file"), request_complete, q);
}
