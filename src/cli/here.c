#include "cli/here.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

#define CHUNK (64 * 1024)
#define STREAM_MAX (2ull << 30)

struct wait {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done, over; /* over: nothing more of a stream comes */
    struct buf text; /* of a stream, as far as it was not shown yet */
    struct rest_request *q;
    struct loop_task ending;
};

/* On the loop: what there is of a stream goes to the thread that may wait. */
static void read_stream(struct rest_request *q, void *context)
{
    struct wait *w = context;
    long n = 1;
    pthread_mutex_lock(&w->mutex);
    while (n > 0) {
        bool room = buf_reserve(&w->text, CHUNK);
        n = room ? rest_stream_read(q, w->text.data + w->text.len, CHUNK) : REST_STREAM_END;
        if (n > 0)
            w->text.len += (size_t)n;
    }
    w->over |= n == REST_STREAM_END;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

static void request_done(struct rest_request *q, void *context)
{
    struct wait *w = context;
    bool streams = rest_answer(q)->stream;
    pthread_mutex_lock(&w->mutex);
    w->done = true;
    w->over |= !streams;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
    if (!streams)
        return;
    rest_stream_on_more(q, read_stream);
    read_stream(q, context);
}

static void end_request(struct loop_task *task)
{
    struct wait *w = (struct wait *)(void *)((char *)task - offsetof(struct wait, ending));
    rest_end(w->q);
    pthread_mutex_lock(&w->mutex);
    w->q = NULL;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

/* A stream belongs to its loop to its end. */
static void end_there(struct wait *w, struct loop *loop)
{
    w->ending.run = end_request;
    loop_post(loop, &w->ending);
    pthread_mutex_lock(&w->mutex);
    while (w->q)
        pthread_cond_wait(&w->cond, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
}

/* Until all of it has come. */
static void show_stream(struct wait *w, const struct ask *a)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->done || !w->over || w->text.len) {
        struct buf text = w->text;
        w->text = BUF_INIT(STREAM_MAX);
        if (!text.len)
            pthread_cond_wait(&w->cond, &w->mutex);
        pthread_mutex_unlock(&w->mutex);
        if (text.len && a->stream)
            a->stream(a->context, (const char *)text.data, text.len);
        buf_free(&text);
        pthread_mutex_lock(&w->mutex);
    }
    pthread_mutex_unlock(&w->mutex);
}

static int give_body(struct rest_request *q, const struct ask *a, struct error *err)
{
    if (a->file < 0) {
        rest_body(q, a->body, a->len);
        return 0;
    }
    char chunk[CHUNK];
    for (;;) {
        ssize_t n = read(a->file, chunk, sizeof chunk);
        if (n < 0)
            return error_errno(err, MOAT_E_NO_SUCH_FILE, errno, "cannot read the file to send");
        if (n == 0 || !rest_body(q, chunk, (size_t)n))
            return 0;
    }
}

static int copy_file(int from, uint64_t len, int to, struct error *err)
{
    char chunk[CHUNK];
    for (uint64_t at = 0; at < len;) {
        ssize_t n = pread(from, chunk, len - at < sizeof chunk ? (size_t)(len - at) : sizeof chunk, (off_t)at);
        if (n <= 0)
            return error_errno(err, MOAT_E_STORAGE_FAILED, n < 0 ? errno : EIO, "cannot read the answer");
        if (!io_write_all(to, chunk, (size_t)n))
            return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot write the answer");
        at += (uint64_t)n;
    }
    return 0;
}

static int copy_answer(const struct rest_request *q, int answer_file, struct reply *reply, int *status,
                       struct error *err)
{
    const struct rest_answer *a = rest_answer(q);
    *status = a->status;
    if (a->file >= 0)
        return copy_file(a->file, a->len, answer_file, err);
    reply->document = BUF_INIT(1ull << 30);
    for (size_t i = 0; i < a->nparts; i++)
        buf_put(&reply->document, a->parts[i].bytes, a->parts[i].len);
    for (size_t i = 0; i < a->nheaders; i++)
        if (strcmp(a->headers[i].name, "Moat-Receipt") == 0)
            snprintf(reply->receipt, sizeof reply->receipt, "%s", a->headers[i].value);
    return reply->document.failed ? error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the answer") : 0;
}

/* Takes the request. */
static int run_request(struct rest_request *q, struct loop *loop, const struct ask *a, struct reply *reply, int *status,
                       struct error *err)
{
    struct wait w = {
        .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .text = BUF_INIT(STREAM_MAX), .q = q};
    int rc = rest_answered(q) ? 0 : give_body(q, a, err);
    if (rc == 0) {
        rest_run(q, loop, request_done, &w);
        show_stream(&w, a);
        rc = copy_answer(q, a->answer_file, reply, status, err);
        end_there(&w, loop);
    } else {
        rest_end(q);
    }
    buf_free(&w.text);
    return rc;
}

int ask_here(struct service *s, const struct ask *a, struct reply *reply, int *status, struct error *err)
{
    struct rest *rest;
    int rc = rest_new(s, &rest, err);
    if (rc < 0)
        return rc;
    struct rest_head head = {.method = a->method,
                             .target = buf_text(&a->target),
                             .principal = {.scopes = REST_ADMIN, .has_uid = true, .uid = getuid()},
                             .content_length = a->len,
                             .content_type = a->content_type,
                             .accept = a->stream ? "text/event-stream" : NULL,
                             .in_one_piece = !a->stream,
                             .deadline = a->deadline};
    struct rest_request *q = rest_begin(rest, &head);
    rc = q ? run_request(q, service_loop(s, 0), a, reply, status, err)
           : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the request");
    rest_free(rest);
    return rc;
}
