#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "http/server.h"

#define HEADER_MEMORY 8192u /* per connection; a longer head is answered 431 */
#define IDLE_SECONDS 60u
#define TCP_CONNECTIONS 4096u
#define UNIX_CONNECTIONS 512u
#define RUNS_AT_ONCE 4

/* ---- the daemon inside the loop ---- */

static uint64_t wish_of(struct listener *l)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (l->must_run)
        return 0;
    if (MHD_get_timeout(l->daemon, &ms) != MHD_YES)
        return l->waiting ? NS_PER_MS : UINT64_MAX;
    /* While calls wait with their connections left active, the daemon always says 0: their answers wake the loop, and
     * a millisecond later they are old enough to be suspended. */
    if (!ms)
        return l->waiting ? NS_PER_MS : 0;
    return ms * NS_PER_MS;
}

/* Handlers publish calls and queue answers; an answer queued in one run is written in the next. */
static uint64_t before_sleep(struct loop_idle *idle)
{
    struct listener *l = (struct listener *)((char *)idle - offsetof(struct listener, idle));
    if (!l->daemon)
        return UINT64_MAX;
    bool due = l->must_run || l->waiting || wish_of(l) == 0;
    for (int i = 0; due && i < RUNS_AT_ONCE; i++) {
        l->must_run = false;
        l->inside = true;
        MHD_run(l->daemon);
        l->inside = false;
        due = l->must_run;
    }
    return wish_of(l);
}

static void daemon_ready(struct loop_watch *watch, uint32_t events)
{
    struct listener *l = (struct listener *)((char *)watch - offsetof(struct listener, watch));
    l->must_run = true; /* before_sleep comes next */
}

static void kicked(struct loop_task *task)
{
    struct listener *l = (struct listener *)((char *)task - offsetof(struct listener, kick));
    l->kicking = false; /* it has woken the loop: that was its whole purpose */
}

void listener_init(struct listener *l, struct http *h, bool is_unix)
{
    l->http = h;
    l->is_unix = is_unix;
    l->watch.ready = daemon_ready;
    l->kick.run = kicked;
    l->idle.before_sleep = before_sleep;
}

void listener_kick(struct listener *l)
{
    l->must_run = true;
    /* The daemon may have been run, and must_run cleared, before the loop comes to a kick that was posted: that one
     * still stands in the loop's list, and will wake it. */
    if (l->inside || l->kicking)
        return;
    l->kicking = true;
    loop_post(l->loop, &l->kick);
}

/* The peer of the Unix socket, looked at once per connection: the home's owner and root are admin. */
static void connection_started(void *cls, struct MHD_Connection *connection, void **context,
                               enum MHD_ConnectionNotificationCode what)
{
    struct listener *l = cls;
    if (what != MHD_CONNECTION_NOTIFY_STARTED || !l->is_unix)
        return;
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == geteuid() || peer.uid == 0))
        *context = l; /* any value but NULL: trusted */
}

static int daemon_start(struct listener *l, int fd, struct error *err)
{
    unsigned limit = l->is_unix ? UNIX_CONNECTIONS : TCP_CONNECTIONS;
    l->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, exchange_handle, l,
                                 MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, exchange_new, l,
                                 MHD_OPTION_NOTIFY_COMPLETED, exchange_completed, l, MHD_OPTION_NOTIFY_CONNECTION,
                                 connection_started, l, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_MEMORY,
                                 MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
                                 MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!l->daemon) {
        io_close(&fd);
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "cannot start the HTTP server");
    }
    l->watch.fd = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    return 0;
}

/* ---- doing a thing on a loop's thread and waiting for it ---- */

struct errand {
    struct loop_task task;
    void (*run)(struct listener *l);
    struct listener *listener;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
};

static void errand_run(struct loop_task *task)
{
    struct errand *e = (struct errand *)((char *)task - offsetof(struct errand, task));
    e->run(e->listener);
    pthread_mutex_lock(&e->mutex);
    e->done = true;
    pthread_cond_signal(&e->cond);
    pthread_mutex_unlock(&e->mutex);
}

static void on_loop(struct listener *l, void (*run)(struct listener *l))
{
    struct errand e = {.task.run = errand_run,
                       .run = run,
                       .listener = l,
                       .mutex = PTHREAD_MUTEX_INITIALIZER,
                       .cond = PTHREAD_COND_INITIALIZER};
    if (!l->daemon)
        return;
    loop_post(l->loop, &e.task);
    pthread_mutex_lock(&e.mutex);
    while (!e.done)
        pthread_cond_wait(&e.cond, &e.mutex);
    pthread_mutex_unlock(&e.mutex);
}

static void attach(struct listener *l)
{
    loop_on_idle(l->loop, &l->idle);
    if (loop_watch(l->loop, &l->watch, EPOLLIN, NULL) < 0)
        l->watch.loop = NULL; /* listen_on sees it */
}

static void quiesce(struct listener *l)
{
    int fd = MHD_quiesce_daemon(l->daemon);
    io_close(&fd);
    listener_kick(l);
}

static void abandon(struct listener *l)
{
    exchange_abandon_all(l);
}

static void stop(struct listener *l)
{
    loop_unwatch(&l->watch);
    l->stopping = true;
    exchange_abandon_all(l);
    struct MHD_Daemon *daemon = l->daemon;
    l->inside = true;
    MHD_run(daemon);
    l->inside = false;
    l->daemon = NULL;
    MHD_stop_daemon(daemon);
}

static int listen_on(struct listener *l, struct loop *loop, int fd, struct error *err)
{
    l->loop = loop;
    int rc = daemon_start(l, fd, err);
    if (rc)
        return rc;
    on_loop(l, attach);
    return l->watch.loop ? 0 : error_set(err, MOAT_E_OUT_OF_MEMORY, "cannot watch the HTTP server");
}

int http_new(struct rest *rest, struct http **out, struct error *err)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the HTTP server");
    h->rest = rest;
    listener_init(&h->unix_socket, h, true);
    listener_init(&h->tcp, h, false);
    *out = h;
    return 0;
}

int http_listen(struct http *h, const struct http_options *options, struct error *err)
{
    struct service *s = rest_service(h->rest);
    struct loop *first = service_loop(s, 0), *last = service_loop(s, service_loops(s) - 1);
    int fd = listen_unix(service_home(s)->socket, err);
    int rc = fd < 0 ? fd : listen_on(&h->unix_socket, last, fd, err);
    if (rc < 0)
        return rc;
    fd = listen_tcp(options->listen ? options->listen : HTTP_DEFAULT_LISTEN, h, err);
    return fd < 0 ? fd : listen_on(&h->tcp, first, fd, err);
}

const char *http_url(const struct http *h)
{
    return h->url;
}

void http_drain(struct http *h)
{
    rest_drain(h->rest);
    atomic_store(&h->draining, true);
    on_loop(&h->tcp, quiesce);
    on_loop(&h->unix_socket, quiesce);
}

size_t http_busy(const struct http *h)
{
    return atomic_load(&h->tcp.busy) + atomic_load(&h->unix_socket.busy);
}

void http_abandon(struct http *h)
{
    on_loop(&h->tcp, abandon);
    on_loop(&h->unix_socket, abandon);
}

void http_stop(struct http *h)
{
    bool had_socket = h->unix_socket.daemon != NULL;
    on_loop(&h->tcp, stop);
    on_loop(&h->unix_socket, stop);
    if (had_socket)
        unlink(service_home(rest_service(h->rest))->socket);
}

void http_free(struct http *h)
{
    free(h);
}
