/* The one route that must be fast: straight to the loader, the result is never copied into another buffer. */
#include <stdio.h>
#include <string.h>

#include "rest/request.h"

/* {"id":"…","version":"1.0.0","queued_ns":1,"ran_ns":2,"cpu_ns":2,"bytes_in":3,"bytes_out":4} */
static void put_number(char **at, const char *name, uint64_t n)
{
    char digits[20];
    size_t len = 0;
    *at = stpcpy(stpcpy(stpcpy(*at, ",\""), name), "\":");
    do
        digits[len++] = (char)('0' + n % 10);
    while (n /= 10);
    while (len)
        *(*at)++ = digits[--len];
}

static void write_receipt(struct rest_request *q, const struct call *call)
{
    const struct receipt *r = &call->receipt;
    char *at = stpcpy(stpcpy(q->receipt, "{\"id\":\""), call->id);
    at = stpcpy(stpcpy(stpcpy(at, "\",\"version\":\""), r->version), "\"");
    put_number(&at, "queued_ns", r->queued_ns);
    put_number(&at, "ran_ns", r->ran_ns);
    put_number(&at, "cpu_ns", r->cpu_ns);
    put_number(&at, "bytes_in", r->bytes_in);
    put_number(&at, "bytes_out", r->bytes_out);
    stpcpy(at, "}");
    request_answer_header(q, "Moat-Receipt", q->receipt);
}

static void call_done(struct call *call)
{
    struct rest_request *q = call->context;
    q->calling = false;
    write_receipt(q, call);
    if (call->code == 0) {
        request_result(q, call->result, call->result_len);
    } else {
        q->result = call->result;
        request_answer_error(q, &call->error, call->id);
    }
    q->done(q, q->context);
}

void handle_execute(struct rest_request *q)
{
    struct call *call = &q->call;
    memset(call, 0, sizeof *call);
    call->plugin = q->params[0];
    call->action = q->params[1];
    call->parameters = buf_text(&q->body);
    call->parameters_len = q->body.len;
    call->deadline_ns = q->deadline_ns;
    memcpy(call->traceparent, q->traceparent, sizeof call->traceparent);
    call->loop = q->loop;
    call->done = call_done;
    call->context = q;
    q->calling = true;
    call_begin(service_loader(request_service(q)), call);
}

void execute_cancel(struct rest_request *q)
{
    call_cancel(service_loader(request_service(q)), &q->call);
}
