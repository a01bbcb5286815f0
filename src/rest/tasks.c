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

/* ---- with its events ---- */

static void tell_event(void *context, const char *event, const char *json, size_t len)
{
    stream_tell(context, event, json, len);
}

/* On the request's loop, which is the task's. What fails before anything was told is an ordinary failure. */
static void end_events(void *context, const struct error *error, struct buf *result)
{
    struct rest_request *q = context;
    q->working = false;
    if (q->abandoned) {
        if (!stream_is_posted(q->stream))
            request_free(q);
    } else if (error && !q->answer.stream) {
        request_complete(q, error, result);
    } else {
        stream_end_with(q, error, result);
    }
}

void handle_task_run(struct rest_request *q)
{
    struct orchestrator *o = orchestrator(q);
    if (!o)
        return;
    struct task_request request = request_of(q);
    if (q->stream && !request.background) {
        q->working = true;
        request.told = tell_event;
        request.done = end_events;
    }
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

/* ---- following one ---- */

static void follow_ready(void *context, const struct error *error, struct follow *f)
{
    struct rest_request *q = context;
    if (error) {
        request_complete(q, error, NULL);
        return;
    }
    q->follow = f;
    stream_answer(q);
}

void handle_task_events(struct rest_request *q)
{
    struct task_following how = {.after = *q->last_event ? q->last_event : request_query(q, "after"),
                                 .loop = q->loop,
                                 .ready = follow_ready,
                                 .more = stream_more,
                                 .context = q};
    if (q->in_one_piece) {
        request_fail(q, MOAT_E_BAD_REQUEST, "events are not told this way: ask for the task itself");
        return;
    }
    struct orchestrator *o = stream_heartbeat(q, &how.heartbeat_ns) ? orchestrator(q) : NULL;
    if (o)
        orchestrator_follow(o, q->params[0], &how);
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
