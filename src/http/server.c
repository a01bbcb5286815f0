#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "http/server.h"

#define HEADER_MEMORY 8192u /* per connection; a longer head is answered 431 */
#define UNIX_CONNECTIONS 512u
#define TCP_CONNECTIONS 16384u
#define OWN_DESCRIPTORS 1024u /* left to everything that is no connection */
#define RUNS_AT_ONCE 4

/* ---- the daemon inside the loop ---- */

/* Connections whose calls run are active to the daemon, which therefore always says 0; it is not to be believed while
 * they are the only ones: an answer kicks, and what takes long is looked at again when its time is over. */
static uint64_t wish_of(struct listener *l, uint64_t now)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (l->must_run)
        return 0;
    if (l->waiting && !l->active)
        return l->patience_at > now ? l->patience_at - now : 0;
    if (MHD_get_timeout(l->daemon, &ms) != MHD_YES)
        return UINT64_MAX;
    return ms * NS_PER_MS;
}

/* Handlers publish calls and queue answers; an answer queued in one run is written in the next. */
static uint64_t before_sleep(struct loop_idle *idle)
{
    struct listener *l = (struct listener *)((char *)idle - offsetof(struct listener, idle));
    if (!l->daemon)
        return UINT64_MAX;
    uint64_t now = clock_mono_ns(), wish = wish_of(l, now);
    tls_here(l->is_unix ? NULL : l->http->tls);
    for (int i = 0; !wish && i < RUNS_AT_ONCE; i++) {
        l->must_run = false;
        l->begun = 0;
        l->now = now;
        l->inside = true;
        MHD_run(l->daemon);
        l->inside = false;
        now = clock_mono_ns();
        if (l->waiting && now >= l->patience_at)
            l->patience_at = now + PATIENCE_NS;
        wish = wish_of(l, now);
    }
    if (l->looks)
        exchange_look_all(l);
    return wish;
}

static void daemon_ready(struct loop_watch *watch, uint32_t events)
{
    struct listener *l = (struct listener *)((char *)watch - offsetof(struct listener, watch));
    l->must_run = true; /* before_sleep comes next */
}

static void look_due(struct loop_timer *timer)
{
    struct listener *l = (struct listener *)((char *)timer - offsetof(struct listener, look));
    l->looks = true;
    listener_kick(l);
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
    l->tick.fire = connection_tick;
    l->look.fire = look_due;
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

static int daemon_start(struct listener *l, int fd, struct error *err)
{
    struct http *h = l->http;
    bool tls = h->tls && !l->is_unix;
    unsigned limit = l->is_unix ? UNIX_CONNECTIONS : h->limits.connections;
    struct MHD_OptionItem secure[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls_chooser()},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)tls_priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    l->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (tls ? MHD_USE_TLS : 0), 0, connection_admit, l, exchange_handle, l,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, exchange_new, l, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_completed, l, MHD_OPTION_NOTIFY_CONNECTION, connection_notify, l, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEADER_MEMORY, MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, tls ? secure : &secure[2], MHD_OPTION_END);
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
    exchange_end_watchers(l, true);
    listener_kick(l);
}

static void abandon(struct listener *l)
{
    exchange_abandon_all(l);
}

static void stop(struct listener *l)
{
    loop_unwatch(&l->watch);
    loop_timer_clear(&l->tick);
    loop_timer_clear(&l->look);
    l->stopping = true;
    exchange_abandon_all(l);
    struct MHD_Daemon *daemon = l->daemon;
    l->now = clock_mono_ns();
    l->inside = true;
    tls_here(l->is_unix ? NULL : l->http->tls);
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

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

/* Every connection is a descriptor: more of them than there are would be accepted and dropped. */
static unsigned connections_max(unsigned wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= (rlim_t)wanted + OWN_DESCRIPTORS)
        return wanted;
    return limit.rlim_cur > 2 * OWN_DESCRIPTORS ? (unsigned)limit.rlim_cur - OWN_DESCRIPTORS
                                                : (unsigned)limit.rlim_cur / 2;
}

void http_limit(struct http *h, const struct http_limits *limits)
{
    const struct {
        _Atomic uint64_t *at;
        uint64_t value, otherwise;
    } all[] = {
        {&h->limits.head_ns, limits->head_ns, 20 * NS_PER_S}, {&h->limits.idle_ns, limits->idle_ns, 60 * NS_PER_S},
        {&h->limits.body_ns, limits->body_ns, 30 * NS_PER_S}, {&h->limits.rate, limits->rate, 16 * 1024},
        {&h->limits.per_address, limits->per_address, 256},   {&h->limits.access_every, limits->access_every, 100},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        atomic_store_explicit(all[i].at, or_default(all[i].value, all[i].otherwise), memory_order_relaxed);
}

static int listen_home(struct http *h, struct http_options *options, struct loop *loop, struct error *err)
{
    int fd = io_steal(&options->unix_fd);
    h->made_socket = fd < 0;
    if (fd < 0)
        fd = listen_unix(service_home(rest_service(h->rest))->socket, err);
    return fd < 0 ? fd : listen_on(&h->unix_socket, loop, fd, err);
}

static int start_tls(struct http *h, const struct http_options *options, struct error *err)
{
    if (options->cert || options->key)
        return tls_new(options->cert, options->key, &h->tls, err);
    return 0;
}

int http_listen(struct http *h, struct http_options *options, struct error *err)
{
    struct service *s = rest_service(h->rest);
    struct loop *first = service_loop(s, 0), *last = service_loop(s, service_loops(s) - 1);
    http_limit(h, &options->limits);
    h->limits.connections = connections_max((unsigned)or_default(options->limits.connections, TCP_CONNECTIONS));
    int rc = start_tls(h, options, err);
    if (rc == 0)
        rc = listen_home(h, options, last, err);
    if (rc < 0)
        return rc;
    int fd = listen_tcp(options, h, err);
    return fd < 0 ? fd : listen_on(&h->tcp, first, fd, err);
}

int http_reload(struct http *h, struct error *err)
{
    return h->tls ? tls_reload(h->tls, err) : 0;
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
    bool had_socket = h->made_socket && h->unix_socket.daemon;
    on_loop(&h->tcp, stop);
    on_loop(&h->unix_socket, stop);
    if (had_socket)
        unlink(service_home(rest_service(h->rest))->socket);
}

void http_free(struct http *h)
{
    if (h) {
        exchange_spares_free(&h->tcp);
        exchange_spares_free(&h->unix_socket);
        tls_free(h->tls);
    }
    free(h);
}
