/* One request on a connection, from its first line to its last byte.
 *
 *     head -> body -> running -> answered
 *
 * A call that runs leaves its connection active for a moment, since most end within microseconds: libmicrohttpd asks
 * again and again whether there is an answer. What takes longer is suspended, and then its descriptor is watched: a
 * suspended connection would not notice that the client has left. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"

/* A refused request whose body still comes: most clients read the answer only once they have sent all of it. */
#define SWALLOW_MAX (32ull << 20)
#define SMALL_ANSWER (16 * 1024)
#define SMALL_BODY 4096 /* arrives with its head, or nearly */
#define STREAM_BLOCK 4096
#define CROWD 64
#define LOOK_NS (40 * NS_PER_MS)
#define LOOKS 3

enum state { HEAD, BODY, RUNNING, ANSWERED, STREAMING };

struct exchange {
    struct listener *listener;
    struct MHD_Connection *connection; /* NULL: the client is gone */
    struct connection *client;         /* the same, as connection.c has it */
    struct rest_request *request;
    enum state state;
    bool suspended;
    bool zips;    /* the client takes gzip, and a body */
    bool head;    /* it takes none: HEAD */
    bool chunked; /* the length of the body is not known before its end */
    bool astray;  /* where this request ends is not sure: nothing is read behind it */
    bool logged;
    char method[8];
    unsigned status;
    size_t sent;
    uint64_t begun, since; /* running since */
    uint64_t swallowed;    /* of a body that nobody wants */
    unsigned quiet;        /* looks at a body in chunks since it brought something */
    int unread;            /* in its socket, at the last of them */
    bool left;             /* the client of a stream */
    struct loop_watch watch;
    struct exchange *next, **link; /* of the listener's */
    char *path;                    /* of target: behind the host of one in absolute form */
    size_t room;                   /* of target */
    char small[512];               /* the body of a small answer, until the request is over */
    char target[];
};

#define SPARE_ROOM 256
#define SPARES_MAX 64

/* Not zeroed. */
static struct exchange *room_new(struct listener *l, size_t len, size_t *room)
{
    struct exchange *x = len <= SPARE_ROOM ? l->spare : NULL;
    *room = len < SPARE_ROOM ? SPARE_ROOM : len;
    if (!x)
        return malloc(sizeof *x + *room);
    l->spare = x->next;
    l->nspare--;
    return x;
}

/* As a request's: what is kept is zero. */
static void room_free(struct exchange *x)
{
    struct listener *l = x->listener;
    if (x->room != SPARE_ROOM || l->nspare == SPARES_MAX) {
        free(x);
        return;
    }
    memset(x, 0, offsetof(struct exchange, small));
    x->next = l->spare;
    l->spare = x;
    l->nspare++;
}

void exchange_spares_free(struct listener *l)
{
    for (struct exchange *x; (x = l->spare);) {
        l->spare = x->next;
        free(x);
    }
    rest_spares_free(&l->spares);
}

void *exchange_new(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct listener *l = cls;
    struct connection *client = connection_of(connection);
    size_t len = strlen(target) + 1, room;
    struct exchange *x = client ? room_new(l, len, &room) : NULL;
    if (!x)
        return NULL;
    memset(x, 0, offsetof(struct exchange, small));
    x->listener = l;
    x->connection = connection;
    x->client = client;
    x->watch.fd = -1;
    x->room = room;
    x->logged = ++l->requests >= limit(&l->http->limits.access_every);
    if (x->logged)
        l->requests = 0;
    if (x->logged)
        x->begun = clock_mono_ns();
    memcpy(x->target, target, len);
    x->path = x->target;
    x->next = l->exchanges;
    x->link = &l->exchanges;
    if (x->next)
        x->next->link = &x->next;
    l->exchanges = x;
    l->active++;
    atomic_fetch_add_explicit(&l->busy, 1, memory_order_relaxed);
    return x;
}

static void exchange_free(struct exchange *x)
{
    loop_unwatch(&x->watch);
    *x->link = x->next;
    if (x->next)
        x->next->link = x->link;
    atomic_fetch_sub_explicit(&x->listener->busy, 1, memory_order_relaxed);
    rest_end(x->request);
    room_free(x);
}

/* ---- the head ---- */

static uint32_t peer_uid(struct MHD_Connection *connection)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof peer;
    getsockopt(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd, SOL_SOCKET,
               SO_PEERCRED, &peer, &len);
    return peer.uid;
}

static struct rest_principal principal_of(struct exchange *x, const char *authorization)
{
    struct connection *c = x->client;
    if (c->trusted)
        return (struct rest_principal){.scopes = REST_ADMIN, .has_uid = true, .uid = peer_uid(x->connection)};
    return *rest_bearer_known(x->listener->http->rest, &c->known, authorization);
}

static enum MHD_Result answer(struct exchange *x);

static void watch_client(struct exchange *x, uint32_t events, void (*ready)(struct loop_watch *watch, uint32_t events))
{
    loop_unwatch(&x->watch);
    x->watch.fd = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    x->watch.ready = ready;
    /* Unwatched, a client that leaves only costs the rest of its request. */
    loop_watch(x->listener->loop, &x->watch, events, NULL);
}

/* Its descriptor is watched instead. */
static void suspend(struct exchange *x, uint32_t events, void (*ready)(struct loop_watch *watch, uint32_t events))
{
    x->suspended = true;
    MHD_suspend_connection(x->connection);
    watch_client(x, events, ready);
}

static void resume(struct exchange *x)
{
    loop_unwatch(&x->watch);
    x->suspended = false;
    MHD_resume_connection(x->connection);
    listener_kick(x->listener);
}

/* libmicrohttpd takes a short read for an emptied socket, and does not see an end that came together with the last
 * bytes: a broken upload would keep its connection and its file until the timeout. */
static void sender_ended(struct loop_watch *watch, uint32_t events)
{
    struct exchange *x = (struct exchange *)((char *)watch - offsetof(struct exchange, watch));
    char byte;
    if (recv(watch->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
        listener_kick(x->listener); /* there is more to read first */
        return;
    }
    loop_unwatch(watch);
    connection_end(x->client);
}

/* ---- a body in chunks ----
 *
 * libmicrohttpd 0.9.75 looks at a chunk's line that fills its room again and again, whether more of it comes or not.
 * Whose body brings nothing for some looks is ended when bytes wait in its socket, for then they are not read;
 * otherwise its connection is suspended until some come.  It is safe here: between two runs of the daemon, on the same
 * thread, a connection whose request is not over is in none of the daemon's hands. */

static void look_later(struct listener *l)
{
    if (!l->look.slot)
        loop_timer_set(l->loop, &l->look, clock_mono_ns() + LOOK_NS);
}

static void chunks_came(struct loop_watch *watch, uint32_t events)
{
    struct exchange *x = (struct exchange *)((char *)watch - offsetof(struct exchange, watch));
    resume(x);
    x->quiet = 0;
    watch_client(x, EPOLLRDHUP, sender_ended);
    look_later(x->listener);
}

/* Right behind a run of the daemon, in which all that waits in the socket of a sound body is read. */
static void look(struct exchange *x)
{
    int unread = 0;
    ioctl(x->client->fd, FIONREAD, &unread);
    if (unread < x->unread)
        x->quiet = 0;
    x->unread = unread;
    if (++x->quiet < LOOKS)
        return;
    if (unread)
        connection_end(x->client);
    else
        suspend(x, EPOLLIN | EPOLLRDHUP, chunks_came);
}

void exchange_look_all(struct listener *l)
{
    l->looks = false;
    bool some = false;
    for (struct exchange *x = l->exchanges; x; x = x->next) {
        if (x->state != BODY || !x->chunked || x->suspended || connection_is_ending(x->client))
            continue;
        look(x);
        some = true;
    }
    if (some)
        look_later(l);
}

static uint64_t length_of(const struct head *head)
{
    if (head->transfer)
        return REST_LENGTH_UNKNOWN;
    /* libmicrohttpd has refused what is not a number. The largest is one as well, and too large. */
    uint64_t length = head->content_length ? strtoull(head->content_length, NULL, 10) : 0;
    return length == REST_LENGTH_UNKNOWN ? length - 1 : length;
}

static enum MHD_Result begin(struct exchange *x, const char *method, const char *version)
{
    struct head head;
    struct error err;
    head_read(x->connection, &head);
    x->path = head_take_host(&head, x->target);
    uint64_t length = length_of(&head);
    if (head_check(x->listener, &head, version, &err) < 0) {
        x->request = rest_refuse(x->listener->http->rest, &err);
        x->astray = err.code == MOAT_E_BAD_REQUEST;
    } else {
        struct rest_head rest_head = {.method = method,
                                      .target = x->path,
                                      .principal = principal_of(x, head.authorization),
                                      .spares = &x->listener->spares,
                                      .content_length = length,
                                      .content_type = head.content_type,
                                      .deadline = head.deadline,
                                      .traceparent = head.traceparent,
                                      .accept = head.accept,
                                      .idempotency_key = head.idempotency_key,
                                      .if_none_match = head.if_none_match,
                                      .last_event_id = head.last_event_id,
                                      .origin = head.origin,
                                      .asked_method = head.asked_method};
        x->request = rest_begin(x->listener->http->rest, &rest_head);
    }
    if (!x->request)
        return MHD_NO;
    x->state = BODY;
    x->head = strcmp(method, "HEAD") == 0;
    x->zips = !x->head && head.accept_encoding && compress_accepted(head.accept_encoding);
    x->chunked = length == REST_LENGTH_UNKNOWN;
    if (x->logged)
        snprintf(x->method, sizeof x->method, "%s", method);
    connection_phase(x->client, limit(&x->listener->http->limits.body_ns), x->chunked ? 0 : length);
    /* An early answer ends the connection. Otherwise it is given when the body was taken and thrown away. */
    bool unsent = head.expect || (length != REST_LENGTH_UNKNOWN && length > SWALLOW_MAX);
    if (x->astray || (rest_answered(x->request) && length && unsent))
        return answer(x);
    if (length > SMALL_BODY)
        watch_client(x, EPOLLRDHUP, sender_ended);
    if (x->chunked)
        look_later(x->listener);
    return MHD_YES;
}

static enum MHD_Result take_body(struct exchange *x, const char *data, size_t *size)
{
    size_t len = *size;
    *size = 0;
    x->quiet = 0;
    if (x->chunked)
        connection_earned(x->client, len);
    if (rest_body(x->request, data, len))
        return MHD_YES;
    x->swallowed += len;
    return x->swallowed <= SWALLOW_MAX ? MHD_YES : MHD_NO;
}

/* ---- the answer ---- */

static void end_request(void *cls)
{
    rest_end(cls);
}

/* ---- a stream: between its events the connection is suspended, and its descriptor watched ---- */

static void stream_left(struct loop_watch *watch, uint32_t events)
{
    struct exchange *x = (struct exchange *)((char *)watch - offsetof(struct exchange, watch));
    x->left = true;
    resume(x); /* the next read ends the connection */
}

static void stream_more(struct rest_request *q, void *context)
{
    struct exchange *x = context;
    if (x->connection && x->suspended)
        resume(x);
}

static ssize_t stream_read(void *cls, uint64_t at, char *room, size_t size)
{
    struct exchange *x = cls;
    if (x->left || x->listener->stopping)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (rest_watches(x->request) && atomic_load_explicit(&x->listener->http->draining, memory_order_relaxed))
        return MHD_CONTENT_READER_END_OF_STREAM;
    long n = rest_stream_read(x->request, room, size);
    if (n == REST_STREAM_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    x->sent += (size_t)n;
    if (n > 0) {
        connection_phase(x->client, limit(&x->listener->http->limits.body_ns), (uint64_t)n);
    } else {
        connection_forever(x->client);
        suspend(x, EPOLLRDHUP, stream_left);
    }
    return n;
}

/* libmicrohttpd 0.9.75 ends an answer in chunks to HEAD with the last chunk, which its client would take for the
 * beginning of the next answer: there the connection's end is that of the answer. */
static struct MHD_Response *stream_response(struct exchange *x)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_read, x, NULL);
    if (response && x->head)
        MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    return response;
}

/* Small answers go out in one piece with their head; large ones are not copied. taken: the response has the request. */
static struct MHD_Response *make_response(struct exchange *x, bool *taken)
{
    const struct rest_answer *a = rest_answer(x->request);
    struct MHD_Response *response;
    if (a->file >= 0) { /* the response closes its own descriptor; the request ends with the exchange */
        int fd = fcntl(a->file, F_DUPFD_CLOEXEC, 3);
        response = fd < 0 ? NULL : MHD_create_response_from_fd64(a->len, fd);
        if (fd >= 0 && !response)
            close(fd);
        return response;
    }
    if (a->stream)
        return stream_response(x);
    if (x->zips && compress_worth(a)) {
        response = compress_response(x->request);
        *taken = response != NULL;
        return response;
    }
    if (a->len > SMALL_ANSWER) {
        struct MHD_IoVec parts[3];
        for (size_t i = 0; i < a->nparts; i++)
            parts[i] = (struct MHD_IoVec){a->parts[i].bytes, a->parts[i].len};
        response = MHD_create_response_from_iovec(parts, (unsigned)a->nparts, end_request, x->request);
        *taken = response != NULL;
        return response;
    }
    bool fits = a->len <= sizeof x->small;
    char *bytes = fits ? x->small : malloc(a->len);
    if (!bytes)
        return NULL;
    size_t at = 0;
    for (size_t i = 0; i < a->nparts; at += a->parts[i++].len)
        memcpy(bytes + at, a->parts[i].bytes, a->parts[i].len);
    response = MHD_create_response_from_buffer(a->len, bytes, fits ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (!response && !fits)
        free(bytes);
    return response;
}

static enum MHD_Result answer(struct exchange *x)
{
    const struct rest_answer *a = rest_answer(x->request);
    bool taken = false;
    struct MHD_Response *response = make_response(x, &taken);
    if (!response)
        return MHD_NO;
    for (size_t i = 0; i < a->nheaders; i++)
        MHD_add_response_header(response, a->headers[i].name, a->headers[i].value);
    if (compress_worth(a))
        MHD_add_response_header(response, "Vary", "Accept-Encoding");
    x->sent = a->len;
    x->status = (unsigned)a->status;
    connection_phase(x->client, limit(&x->listener->http->limits.body_ns), x->sent);
    if (x->astray || atomic_load_explicit(&x->listener->http->draining, memory_order_relaxed))
        MHD_add_response_header(response, "Connection", "close");
    x->state = a->stream ? STREAMING : ANSWERED;
    if (a->stream)
        rest_stream_on_more(x->request, stream_more);
    if (taken)
        x->request = NULL;
    enum MHD_Result rc = MHD_queue_response(x->connection, x->status, response);
    MHD_destroy_response(response);
    listener_kick(x->listener);
    return rc;
}

/* ---- running ---- */

static void client_left(struct loop_watch *watch, uint32_t events)
{
    struct exchange *x = (struct exchange *)((char *)watch - offsetof(struct exchange, watch));
    loop_unwatch(&x->watch);
    rest_cancel(x->request); /* its end resumes the connection, which then finds the client gone */
}

static void request_done(struct rest_request *q, void *context)
{
    struct exchange *x = context;
    x->state = ANSWERED;
    if (!x->connection) {
        exchange_free(x);
        return;
    }
    x->listener->active++;
    loop_unwatch(&x->watch);
    if (x->suspended)
        MHD_resume_connection(x->connection);
    else
        x->listener->waiting--;
    x->suspended = false;
    listener_kick(x->listener);
}

/* Calls that come together share their way to the worker and back; one that comes alone would only wait. */
static bool is_alone(struct listener *l)
{
    if (l->begun++ || l->waiting)
        l->crowd = CROWD;
    else if (l->crowd)
        l->crowd--;
    return !l->crowd;
}

static enum MHD_Result run(struct exchange *x)
{
    struct listener *l = x->listener;
    loop_unwatch(&x->watch); /* the body is whole */
    x->state = RUNNING;
    x->since = l->now;
    if (rest_is_call(x->request) && is_alone(l))
        rest_at_once(x->request);
    connection_forever(x->client);
    l->active--;
    if (!l->waiting++)
        l->patience_at = x->since + PATIENCE_NS;
    rest_run(x->request, l->loop, request_done, x);
    if (x->state == ANSWERED)
        return answer(x);
    if (!rest_is_call(x->request)) {
        l->waiting--;
        suspend(x, EPOLLRDHUP, client_left);
    }
    return MHD_YES;
}

/* Asked again while the call runs. */
static enum MHD_Result wait_on(struct exchange *x)
{
    if (x->listener->stopping)
        return MHD_NO;
    if (x->listener->now > x->since + PATIENCE_NS) {
        x->listener->waiting--;
        suspend(x, EPOLLRDHUP, client_left);
    }
    return MHD_YES;
}

enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                const char *version, const char *data, size_t *size, void **context)
{
    struct exchange *x = *context;
    if (!x)
        return MHD_NO; /* there was no memory for it */
    switch (x->state) {
    case HEAD:
        return begin(x, method, version);
    case BODY:
        return *size ? take_body(x, data, size) : run(x);
    case RUNNING:
        return wait_on(x);
    case ANSWERED:
        return answer(x);
    case STREAMING:
        break; /* it has its answer: MHD does not ask again */
    }
    return MHD_NO;
}

/* Without its query: what stands there is the client's business. */
static void log_access(const struct exchange *x)
{
    char path[200];
    size_t len = strcspn(x->path, "?");
    snprintf(path, sizeof path, "%.*s", (int)(len < sizeof path ? len : sizeof path - 1), x->path);
    log_event(LOG_INFO, "access", "method", x->method, "path", path, "#status", log_num(x->status), "#bytes",
              log_num(x->sent), "#us", log_num((clock_mono_ns() - x->begun) / NS_PER_US), NULL);
}

/* The request is over for its connection, answered or broken off. */
void exchange_completed(void *cls, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode why)
{
    struct exchange *x = *context;
    *context = NULL;
    if (!x)
        return;
    if (x->logged && x->status)
        log_access(x);
    connection_phase(connection_of(connection), limit(&x->listener->http->limits.idle_ns), 0);
    if (x->state != RUNNING) {
        /* Its client's next request may be here before the calls that wait are worked, and then goes with them. */
        if (x->listener->waiting)
            x->listener->must_run = true;
        x->listener->active--;
        exchange_free(x);
        return;
    }
    if (!x->suspended)
        x->listener->waiting--;
    loop_unwatch(&x->watch);
    x->connection = NULL;
    rest_cancel(x->request); /* request_done frees it */
}

void exchange_end_watchers(struct listener *l, bool all)
{
    struct exchange *next;
    for (struct exchange *x = l->exchanges; x; x = next) {
        next = x->next;
        if (x->state != STREAMING || !x->suspended || !x->connection)
            continue;
        if (all ? rest_watches(x->request) : rest_has_outlived(x->request))
            resume(x); /* the next read ends it */
    }
}

void exchange_abandon_all(struct listener *l)
{
    struct exchange *next;
    for (struct exchange *x = l->exchanges; x; x = next) {
        next = x->next;
        if (l->stopping && x->state == BODY && x->suspended)
            resume(x);
        if ((x->state != RUNNING && x->state != STREAMING) || !x->connection)
            continue;
        rest_cancel(x->request);
        if (l->stopping && x->state == STREAMING && x->suspended)
            resume(x);
        if (!l->stopping || x->state != RUNNING || !x->suspended)
            continue;
        x->suspended = false;
        l->waiting++;
        loop_unwatch(&x->watch);
        MHD_resume_connection(x->connection);
    }
}
