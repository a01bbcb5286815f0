/* Routes of the monitor, of reports and of parameters. */
#include "base/clock.h"
#include "rest/request.h"
#include "json/json.h"

void handle_monitor(struct rest_request *q)
{
    service_monitor(request_service(q), request_query(q, "plugin"), request_complete, q);
}

void handle_record(struct rest_request *q)
{
    const char *span = request_text(q, "duration");
    struct service_metric metric = {.plugin = request_text(q, "plugin"),
                                    .action = request_text(q, "action"),
                                    .success = request_flag(q, "success")};
    struct error err;
    if (span && !clock_parse_span(span, &metric.duration_ns)) {
        request_fail(q, MOAT_E_BAD_PARAMETERS, "/duration: not " CLOCK_SPAN_FORM " 250ms");
        return;
    }
    if (service_record(request_service(q), &metric, &err) < 0) {
        request_fail_with(q, &err);
        return;
    }
    struct buf told = BUF_INIT(512); /* both are words: nothing to escape */
    buf_printf(&told, "{\"plugin\":\"%s\",\"action\":\"%s\"}", metric.plugin, metric.action);
    request_complete(q, NULL, &told);
    buf_free(&told);
}

void handle_report(struct rest_request *q)
{
    service_report(request_service(q), request_query(q, "since"), request_complete, q);
}

void handle_parameters(struct rest_request *q)
{
    service_parameters(request_service(q), NULL, request_complete, q);
}

void handle_parameter_get(struct rest_request *q)
{
    service_parameters(request_service(q), q->params[0], request_complete, q);
}

void handle_parameter_set(struct rest_request *q)
{
    struct json_fault fault;
    if (!q->body.len) {
        request_fail(q, MOAT_E_BAD_JSON, "the body is empty; it must be the parameter's value");
        return;
    }
    if (!json_explain(q->body.data, q->body.len, &fault)) {
        request_fail(q, MOAT_E_BAD_JSON, "the body is not JSON: %s, at byte %zu", fault.reason, fault.offset);
        return;
    }
    q->body.data[q->body.len] = 0; /* the checker may have written behind the text */
    service_parameter_set(request_service(q), q->params[0], buf_text(&q->body), request_query(q, "why"),
                          !request_flag(q, "no_guard"), request_complete, q);
}
