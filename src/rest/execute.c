/* The one route that must be fast: straight to the loader, the result is never copied into another buffer. */
#include <stdio.h>
#include <stdlib.h>
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

void request_receipt(char out[512], const struct call *call)
{
    const struct receipt *r = &call->receipt;
    char *at = stpcpy(stpcpy(out, "{\"id\":\""), call->id);
    at = stpcpy(stpcpy(stpcpy(at, "\",\"version\":\""), r->version), "\"");
    put_number(&at, "queued_ns", r->queued_ns);
    put_number(&at, "ran_ns", r->ran_ns);
    put_number(&at, "cpu_ns", r->cpu_ns);
    put_number(&at, "bytes_in", r->bytes_in);
    put_number(&at, "bytes_out", r->bytes_out);
    if (r->calls) {
        put_number(&at, "calls", r->calls);
        put_number(&at, "calls_ns", r->calls_ns);
        put_number(&at, "calls_cpu_ns", r->calls_cpu_ns);
    }
    stpcpy(at, "}");
}

/* The client is told what its key holds: only what this process remembers. */
static void replay_header(struct rest_request *q, enum run_replay replay)
{
    if (replay != RUN_PLAIN)
        request_answer_header(q, "Moat-Idempotency",
                              replay == RUN_FIRST ? "first; max-age=600; holds=server-life"
                                                  : "replayed; max-age=600; holds=server-life");
}

static void run_done(struct run *run)
{
    struct rest_request *q = run->context;
    struct call *call = &run->call;
    q->calling = false;
    if (q->abandoned) {
        q->result = call->result;
        if (!stream_is_posted(q->stream))
            request_free(q);
        return;
    }
    request_receipt(q->receipt, call);
    bool streams = q->stream && (q->answer.stream || call->code == 0);
    if (!q->answer.stream) {
        request_answer_header(q, "Moat-Receipt", q->receipt);
        replay_header(q, run->replay);
    }
    if (streams) {
        stream_end(q, call);
        return;
    }
    if (call->code == 0) {
        request_result(q, call->result, call->result_len);
    } else {
        q->result = call->result;
        request_answer_error(q, &call->error, call->id);
    }
    request_finish(q);
}

void handle_execute(struct rest_request *q)
{
    struct run *run = &q->run;
    run_clear(run);
    run->call.plugin = q->params[0];
    run->call.action = q->params[1];
    run->call.parameters = buf_text(&q->body);
    run->call.parameters_len = q->body.len;
    run->call.deadline_ns = q->deadline_ns;
    memcpy(run->call.traceparent, q->traceparent, sizeof run->call.traceparent);
    if (q->stream)
        run->call.told = stream_told;
    run->token = q->token;
    run->key = *q->key ? q->key : NULL;
    run->loop = q->loop;
    run->at_once = q->at_once;
    run->done = run_done;
    run->context = q;
    q->calling = true;
    run_begin(q->rest->runs, run);
}

void execute_cancel(struct rest_request *q)
{
    if (q->batch)
        batch_leave(q);
    else
        run_leave(&q->run);
}
