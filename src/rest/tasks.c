/* Tasks over several plugins: what a request says, for src/orchestrator. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "orchestrator/orchestrator.h"
#include "rest/request.h"

/* NULL: the request is answered, and gone. */
static struct orchestrator *orchestrator(struct rest_request *q)
{
    struct error err;
    struct orchestrator *o = orchestrator_of(request_service(q), &err);
    if (!o)
        request_fail_with(q, &err);
    return o;
}

int rest_resume(struct rest *r, struct error *err)
{
    struct orchestrator *o = orchestrator_of(r->service, err);
    if (!o)
        return -(int)err->code;
    orchestrator_resume(o);
    return 0;
}

static struct task_asker asker_of(const struct rest_request *q)
{
    struct task_asker a = {.everything = (q->scopes & REST_ADMIN) != 0, .token = q->token};
    text_copy(a.plugins, sizeof a.plugins, q->plugins);
    request_actor(q, a.actor);
    return a;
}

static struct task_request request_of(struct rest_request *q)
{
    const char *wait = request_query(q, "wait");
    struct task_request request = {.text = buf_text(&q->body),
                                   .len = q->body.len,
                                   .asker = asker_of(q),
                                   .loop = q->loop,
                                   .background = wait && !request_flag(q, "wait"),
                                   .explain = request_flag(q, "explain"),
                                   .done = request_complete,
                                   .context = q};
    memcpy(request.traceparent, q->traceparent, sizeof request.traceparent);
    return request;
}

void handle_task_run(struct rest_request *q)
{
    struct orchestrator *o = orchestrator(q);
    if (!o)
        return;
    struct task_request request = request_of(q);
    orchestrator_run(o, &request, NULL);
}

void handle_task_check(struct rest_request *q)
{
    struct orchestrator *o = orchestrator(q);
    if (!o)
        return;
    struct task_request request = request_of(q);
    orchestrator_check(o, &request);
}

void handle_task_select(struct rest_request *q)
{
    struct orchestrator *o = orchestrator(q);
    if (!o)
        return;
    struct task_asker asker = asker_of(q);
    orchestrator_select(o, buf_text(&q->body), q->body.len, &asker, request_complete, q);
}

void handle_task_list(struct rest_request *q)
{
    struct orchestrator *o = orchestrator(q);
    if (!o)
        return;
    const char *limit = request_query(q, "limit");
    struct task_filter filter = {.status = request_query(q, "status"),
                                 .after = request_query(q, "after"),
                                 .limit = limit ? (unsigned)strtoul(limit, NULL, 10) : 0};
    orchestrator_list(o, &filter, request_complete, q);
}

void handle_task_stats(struct rest_request *q)
{
    struct orchestrator *o = orchestrator(q);
    struct error err;
    buf_auto out = BUF_INIT(4 << 20);
    if (!o)
        return;
    bool good = orchestrator_stats(o, &out);
    if (!good)
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the figures");
    request_complete(q, good ? NULL : &err, &out);
}

void handle_task_show(struct rest_request *q)
{
    struct orchestrator *o = orchestrator(q);
    if (o)
        orchestrator_show(o, q->params[0], request_complete, q);
}

void handle_task_cancel(struct rest_request *q)
{
    struct orchestrator *o = orchestrator(q);
    if (!o)
        return;
    struct task_asker asker = asker_of(q);
    asker.everything |= (q->scopes & REST_MANAGE) != 0;
    orchestrator_cancel(o, q->params[0], &asker, request_complete, q);
}
