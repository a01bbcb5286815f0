/* Requests that a web page of elsewhere makes in somebody's browser: refused unless the operator named the page's
 * origin in the setting `cors_origins`.  Tokens are not sent by browsers on their own, so what is let in still needs
 * one. */
#include <stdlib.h>
#include <string.h>

#include "rest/request.h"

#define EXPOSED "Moat-Receipt, Moat-Idempotency, ETag, Retry-After"
#define TAKEN "Authorization, Content-Type, Moat-Deadline, Idempotency-Key, traceparent, If-None-Match"
#define METHODS "GET, HEAD, POST, PUT, DELETE"

void request_allow(struct rest_request *q)
{
    buf_auto allow = BUF_INIT(sizeof q->allow - 1);
    route_allow(&q->target, &allow);
    buf_puts(&allow, allow.len ? ", OPTIONS" : "OPTIONS");
    snprintf(q->allow, sizeof q->allow, "%s", buf_text(&allow));
    request_answer_header(q, "Allow", q->allow);
}

int origin_check(struct rest_request *q, const struct rest_head *head, struct error *err)
{
    if (!head->origin)
        return 0;
    if (!service_origin_is_allowed(request_service(q), head->origin))
        return error_set(err, MOAT_E_FORBIDDEN,
                         "requests from web pages of this origin are not taken: the setting cors_origins names those "
                         "that are");
    q->origin = strdup(head->origin);
    if (!q->origin)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the origin");
    request_answer_header(q, "Access-Control-Allow-Origin", q->origin);
    request_answer_header(q, "Access-Control-Expose-Headers", EXPOSED);
    request_answer_header(q, "Vary", "Origin");
    return 0;
}

/* A preflight carries no token and learns nothing of what there is: it is answered alike for every path. */
static void preflight(struct rest_request *q)
{
    request_answer_header(q, "Access-Control-Allow-Methods", METHODS);
    request_answer_header(q, "Access-Control-Allow-Headers", TAKEN);
    request_answer_header(q, "Access-Control-Max-Age", "600");
    q->answer.status = 204;
    q->answered = true;
}

int origin_options(struct rest_request *q, const struct rest_head *head, struct error *err)
{
    const char *params[ROUTE_PARAMS];
    bool exists = false;
    if (head->origin && head->asked_method) {
        preflight(q);
        return 0;
    }
    if (!q->scopes)
        return error_set(err, MOAT_E_UNAUTHORIZED, "a valid token is needed");
    if (strcmp(head->target, "*") == 0) {
        request_answer_header(q, "Allow", METHODS ", OPTIONS");
    } else {
        int rc = uri_parse(q->target_text, &q->target, err);
        if (rc)
            return rc;
        route_find("", &q->target, params, &exists);
        if (!exists)
            return error_set(err, MOAT_E_NOT_FOUND, "no route has this path");
        request_allow(q);
    }
    q->answer.status = 204;
    q->answered = true;
    return 0;
}
