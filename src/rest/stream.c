/* An answer as server-sent events: progress and log lines while an action runs, then its receipt and its outcome.
 *
 *     event: progress     data: {"done":0.25,"message":"…"}
 *     event: log          data: {"level":"info","text":"…"}
 *     event: dropped      data: {"events":3}            the client reads too slowly for what is told, or the plugin
 *                                                       logs more lines than are told
 *     event: receipt      data: {…}
 *     event: result       data: {"success":true,"result":…}       or
 *     event: error        data: {"success":false,"error":{…}}
 *
 * A task's events are told in the same way, then its result or error, by src/orchestrator's names.
 *
 * The answer begins with the first event; what fails before it is an ordinary failure with its own status.
 *
 * Events come on the thread that reads the worker's channel and wait here, at most STREAM_MAX bytes of them, until the
 * transport takes them on the request's loop. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/text.h"
#include "orchestrator/orchestrator.h"
#include "rest/request.h"

#define STREAM_MAX (256 * 1024)
#define OUTCOME_MAX (2ull << 30)
_Static_assert(FOLLOW_END == REST_STREAM_END && LOG_FOLLOW_END == REST_STREAM_END, "one end of all");
#define HEARTBEAT_NS (15 * NS_PER_S)
#define HEARTBEAT_LEAST (100 * NS_PER_MS)
#define HEARTBEAT_MOST (3600 * NS_PER_S) /* nothing that is added to a clock may come round */

struct stream {
    pthread_mutex_t lock;
    struct rest_request *q;
    struct buf text;
    size_t at; /* read so far */
    uint64_t dropped;
    bool started, ended, posted;
    struct loop_task task;
    void (*more)(struct rest_request *q, void *context);
};

/* Does Accept name it? Quality is not weighed: who names it wants it. */
bool stream_wanted(const char *accept)
{
    return accept && strcasestr(accept, "text/event-stream");
}

static void on_loop(struct loop_task *task);

struct stream *stream_new(struct rest_request *q)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    s->q = q;
    s->text = BUF_INIT(OUTCOME_MAX);
    s->task.run = on_loop;
    return s;
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    buf_free(&s->text);
    free(s);
}

bool stream_is_posted(struct stream *s)
{
    if (!s)
        return false;
    pthread_mutex_lock(&s->lock);
    bool posted = s->posted;
    pthread_mutex_unlock(&s->lock);
    return posted;
}

/* ---- events ---- */

static void put_progress(struct buf *out, const struct call_told *what)
{
    buf_printf(out, "event: progress\ndata: {\"done\":%u.%03u,\"message\":", what->thousandths / 1000,
               what->thousandths % 1000);
    text_json_string(out, what->text);
    buf_puts(out, "}\n\n");
}

static void put_log(struct buf *out, const struct call_told *what)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    buf_printf(out, "event: log\ndata: {\"level\":\"%s\",\"text\":", levels[what->level & 3]);
    text_json_string(out, what->text);
    buf_puts(out, "}\n\n");
}

static void put_dropped(struct stream *s)
{
    if (s->dropped)
        buf_printf(&s->text, "event: dropped\ndata: {\"events\":%llu}\n\n", (unsigned long long)s->dropped);
    s->dropped = 0;
}

/* The lock is held. */
static bool has_room(struct stream *s, unsigned lost)
{
    if (!lost && s->text.len - s->at <= STREAM_MAX) {
        put_dropped(s);
        return true;
    }
    s->dropped += lost ? lost : 1;
    return false;
}

/* Gives back the lock. */
static void wake(struct stream *s)
{
    bool post = !s->posted;
    s->posted = true;
    pthread_mutex_unlock(&s->lock);
    if (post)
        loop_post(s->q->loop, &s->task);
}

void stream_told(struct call *call, const struct call_told *what)
{
    struct run *run = (struct run *)((char *)call - offsetof(struct run, call));
    struct rest_request *q = run->context;
    struct stream *s = q->stream;
    pthread_mutex_lock(&s->lock);
    if (has_room(s, what->dropped))
        (what->progress ? put_progress : put_log)(&s->text, what);
    wake(s);
}

void stream_tell(struct rest_request *q, const char *event, const char *json, size_t len)
{
    struct stream *s = q->stream;
    pthread_mutex_lock(&s->lock);
    if (has_room(s, 0)) {
        buf_printf(&s->text, "event: %s\ndata: ", event);
        buf_put(&s->text, json, len);
        buf_puts(&s->text, "\n\n");
    }
    wake(s);
}

/* ---- on the request's loop ---- */

void stream_answer(struct rest_request *q)
{
    q->answer.stream = true;
    q->answer.status = 200;
    q->answered = true;
    request_answer_header(q, "Content-Type", "text/event-stream");
    request_answer_header(q, "Cache-Control", "no-store");
    request_finish(q);
}

static void start(struct stream *s)
{
    s->started = true;
    stream_answer(s->q);
}

static void on_loop(struct loop_task *task)
{
    struct stream *s = (struct stream *)((char *)task - offsetof(struct stream, task));
    struct rest_request *q = s->q;
    pthread_mutex_lock(&s->lock);
    s->posted = false;
    pthread_mutex_unlock(&s->lock);
    if (q->abandoned) {
        if (!q->calling && !q->working)
            request_free(q);
    } else if (!s->started) {
        start(s);
    } else if (s->more) {
        s->more(q, q->context);
    }
}

/* A line's end would end the event's line; in JSON it can only stand between tokens. */
static void put_json(struct buf *out, const uint8_t *json, size_t len)
{
    size_t from = out->len;
    buf_put(out, json, len);
    for (size_t i = from; i < out->len; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
}

static void put_result(struct stream *s, const uint8_t *json, size_t len)
{
    buf_puts(&s->text, "event: result\ndata: {\"success\":true,\"result\":");
    put_json(&s->text, json, len);
    buf_puts(&s->text, "}\n\n");
}

static void put_outcome(struct stream *s, const struct call *call)
{
    struct rest_request *q = s->q;
    put_dropped(s);
    buf_printf(&s->text, "event: receipt\ndata: %s\n\n", q->receipt);
    if (!call->code) {
        put_result(s, call->result, call->result_len);
        return;
    }
    buf_puts(&s->text, "event: error\ndata: ");
    request_put_failure(q, &s->text, &call->error, call->id, call->plugin, call->action);
    buf_puts(&s->text, "\n\n");
}

/* The lock is held, and given back. */
static void end(struct stream *s)
{
    s->ended = true;
    pthread_mutex_unlock(&s->lock);
    if (!s->started)
        start(s);
    else if (s->more)
        s->more(s->q, s->q->context);
}

void stream_end(struct rest_request *q, struct call *call)
{
    struct stream *s = q->stream;
    pthread_mutex_lock(&s->lock);
    put_outcome(s, call);
    free(call->result);
    call->result = NULL;
    end(s);
}

void stream_end_with(struct rest_request *q, const struct error *error, const struct buf *result)
{
    struct stream *s = q->stream;
    pthread_mutex_lock(&s->lock);
    put_dropped(s);
    if (error) {
        buf_puts(&s->text, "event: error\ndata: ");
        request_put_failure(q, &s->text, error, q->id, NULL, NULL);
        buf_puts(&s->text, "\n\n");
    } else {
        put_result(s, result->data, result->len);
    }
    end(s);
}

void stream_more(void *request)
{
    struct rest_request *q = request;
    if (q->follow_more)
        q->follow_more(q, q->context);
}

bool stream_heartbeat(struct rest_request *q, uint64_t *span)
{
    const char *text = request_query(q, "heartbeat");
    *span = HEARTBEAT_NS;
    if (!text || (clock_parse_span(text, span) && *span >= HEARTBEAT_LEAST && *span <= HEARTBEAT_MOST))
        return true;
    request_fail(q, MOAT_E_BAD_REQUEST, "`heartbeat` is a TIME from 100ms to 1h, such as 15s");
    return false;
}

void rest_stream_on_more(struct rest_request *q, void (*more)(struct rest_request *q, void *context))
{
    if (q->stream)
        q->stream->more = more;
    q->follow_more = more;
}

bool rest_watches(const struct rest_request *q)
{
    return q->follow || q->lines;
}

bool rest_has_outlived(struct rest_request *q)
{
    return rest_watches(q) && !request_is_let_in(q);
}

/* What was read gives its room back, even when the reader never comes to the end of what is told. Each byte is moved
 * once at most: what is left is less than what was read. */
static void forget_read(struct stream *s, size_t left)
{
    if (left && (s->at <= STREAM_MAX || left > s->at))
        return;
    if (left)
        memmove(s->text.data, s->text.data + s->at, left);
    else
        buf_clear(&s->text);
    s->text.len = left;
    s->at = 0;
}

long rest_stream_read(struct rest_request *q, void *room, size_t size)
{
    struct stream *s = q->stream;
    if (rest_has_outlived(q))
        return REST_STREAM_END;
    if (q->follow)
        return follow_read(q->follow, room, size); /* whose end is the same number */
    if (q->lines)
        return log_follow_read(q->lines, room, size); /* likewise */
    pthread_mutex_lock(&s->lock);
    size_t left = s->text.len - s->at, n = left < size ? left : size;
    bool over = s->ended && !left;
    if (n)
        memcpy(room, s->text.data + s->at, n);
    s->at += n;
    if (!s->ended)
        forget_read(s, left - n);
    pthread_mutex_unlock(&s->lock);
    return over ? REST_STREAM_END : (long)n;
}
