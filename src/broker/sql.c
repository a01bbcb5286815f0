#include "broker/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/sql_end.h"
#include "wire/archive.h"

#define LEAVE_NS NS_PER_S /* one whose seat is wanted */
#define CPU_SECONDS 3600  /* of one helper's life; the next query starts another */
#define MIB (1024ull * 1024)
#define ADDRESS_SPACE (512 * MIB) /* libraries and the two maps included */

/* One helper. Fields are fixed once it is in the list, but for those under the keeper's lock. */
struct sql_helper {
    struct sql_keeper *k;
    struct sql_helper *next; /* lock */
    char plugin[65], version[65], source[SEAT_SOURCE_MAX + 1];
    uint64_t worker, serial;
    bool write;
    unsigned number;
    struct seat *seat;
    struct child child; /* the loop's, and lock for its pidfd */
    int socket;
    bool doomed;                /* lock: killed, or to be killed as soon as it can be */
    bool clean;                 /* it has left by itself, with nothing begun */
    struct sql_start *start;    /* postgres: for the one that is sent after it; holds a password */
    int files;                  /* and what its options name; -1: nothing */
    struct sql_backend backend; /* as it says */
    struct wall_limits limits;
    struct loop_watch status, words;
    struct loop_task watch;
};

struct sql_keeper {
    struct sql_config config;
    struct loop *loop; /* lock to make it; of the thread that hears of ends and refusals, made with the first helper */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC */
    struct sql_helper *all; /* newest first */
    uint64_t serials;       /* lock */
    bool stopped;           /* lock */
    struct sql_enders enders;
};

int sql_keeper_new(const struct sql_config *config, struct sql_keeper **out, struct error *err)
{
    struct sql_keeper *k = calloc(1, sizeof *k);
    pthread_condattr_t attr;
    if (!k)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for what keeps sql helpers");
    k->config = *config;
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->changed, &attr);
    pthread_condattr_destroy(&attr);
    *out = k;
    return 0;
}

/* ---- the end of one ---- */

/* Under the lock. Before its process is known it cannot be killed: that is made up for when it is. */
static void doom(struct sql_helper *h)
{
    h->doomed = true;
    child_kill(&h->child);
}

static void release(struct sql_helper *h)
{
    if (h->start)
        explicit_bzero(h->start, sizeof *h->start);
    free(h->start);
    io_close(&h->files);
    seat_unmap(h->seat);
    child_close(&h->child);
    io_close(&h->socket);
    free(h);
}

static struct sql_user user_of(const struct sql_helper *h)
{
    return (struct sql_user){
        .plugin = h->plugin, .version = h->version, .source = h->source, .worker = h->worker, .write = h->write};
}

/* Under the lock: the spawner is there as long as nobody has stopped the keeper. */
static void end_behind(struct sql_helper *h)
{
    struct sql_user user = user_of(h);
    if (h->start && h->backend.pid > 0 && !h->clean && !h->k->stopped)
        sql_end_backend(&h->k->enders, h->k->config.spawner(h->k->config.context), &user, h->start, h->files,
                        &h->backend, &h->limits);
}

/* On the loop, or after it: its process is gone. The seat is closed before anybody can be given it. */
static void bury(struct sql_helper *h)
{
    struct sql_keeper *k = h->k;
    loop_unwatch(&h->status);
    loop_unwatch(&h->words);
    seat_close(h->seat);
    pthread_mutex_lock(&k->lock);
    end_behind(h);
    for (struct sql_helper **at = &k->all; *at; at = &(*at)->next)
        if (*at == h) {
            *at = h->next;
            break;
        }
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    release(h);
}

/* Its end in the log, when it was not meant to be. */
static void tell_end(const struct sql_helper *h, const struct child_event *ev)
{
    int status = ev->wait_status;
    if (ev->kind == CHILD_FAILED)
        log_event(LOG_ERROR, "sql_helper_failed", "plugin", h->plugin, "source", h->source, "step", ev->step, "why",
                  strerror(ev->errnum), NULL);
    else if (!h->doomed && status != 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == HELPER_LEFT_WORK))
        log_event(LOG_WARN, "sql_helper_died", "plugin", h->plugin, "source", h->source,
                  WIFSIGNALED(status) ? "#signal" : "#status",
                  log_num((uint64_t)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status))), NULL);
}

/* ---- what it says ---- */

/* Words of capitals and spaces; anything else is not one of ours. */
static bool is_operation(const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    return len && len < size && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_ ") == len;
}

/* As long as this is so, or it has not been waited for, its number is nobody else's. */
static bool lives(const struct sql_helper *h)
{
    struct pollfd p = {.fd = h->child.pidfd, .events = POLLIN};
    return h->child.pidfd >= 0 && poll(&p, 1, 0) == 0;
}

/* To any other CPU, and then to where it likes; that it could not be moved only costs time. */
static void part(struct sql_helper *h, int cpu)
{
    cpu_set_t before, others;
    if (cpu < 0 || cpu >= CPU_SETSIZE || h->child.pid <= 0 ||
        sched_getaffinity(h->child.pid, sizeof before, &before) < 0 || !lives(h))
        return;
    others = before;
    CPU_CLR((unsigned)cpu, &others);
    if (CPU_COUNT(&others) && sched_setaffinity(h->child.pid, sizeof others, &others) == 0)
        sched_setaffinity(h->child.pid, sizeof before, &before);
}

/* false: there is nothing, or nothing that is its to say: then nobody listens any more. */
static bool hear(struct sql_helper *h)
{
    struct sql_word w;
    size_t none = 0;
    ssize_t n = io_recv(h->socket, &w, sizeof w, NULL, &none);
    struct sql_user user = user_of(h);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    bool sound = n == (ssize_t)sizeof w && w.version == SQL_VERSION;
    if (sound && w.kind == SQL_TOGETHER) {
        part(h, w.cpu);
    } else if (sound && w.kind == SQL_SERVED && h->start) {
        h->backend = w.backend;
    } else if (sound && w.kind == SQL_REFUSED && is_operation(w.operation, sizeof w.operation)) {
        if (h->k->config.refused)
            h->k->config.refused(h->k->config.context, &user, w.operation);
    } else {
        loop_unwatch(&h->words);
        return false;
    }
    return true;
}

static void on_words(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    hear((struct sql_helper *)(void *)((char *)watch - offsetof(struct sql_helper, words)));
}

/* true: it has ended. */
static bool take_event(struct sql_helper *h)
{
    struct child_event ev;
    pthread_mutex_lock(&h->k->lock);
    child_next(&h->child, &ev);
    if (ev.kind == CHILD_SPAWNED && h->doomed)
        child_kill(&h->child);
    if (ev.kind == CHILD_FAILED || ev.kind == CHILD_EXITED)
        tell_end(h, &ev);
    h->clean = ev.kind == CHILD_EXITED && ev.wait_status == 0;
    pthread_mutex_unlock(&h->k->lock);
    return ev.kind == CHILD_FAILED || ev.kind == CHILD_EXITED;
}

static void on_status(struct loop_watch *watch, uint32_t events)
{
    struct sql_helper *h = (struct sql_helper *)(void *)((char *)watch - offsetof(struct sql_helper, status));
    (void)events;
    if (!take_event(h))
        return;
    while (hear(h)) /* what it still had to say: who works for it */
        ;
    bury(h);
}

static void begin_watch(struct loop_task *task)
{
    struct sql_helper *h = (struct sql_helper *)(void *)((char *)task - offsetof(struct sql_helper, watch));
    struct error err;
    h->status = (struct loop_watch){.fd = h->child.status, .ready = on_status};
    h->words = (struct loop_watch){.fd = h->socket, .ready = on_words};
    if (loop_watch(h->k->loop, &h->status, EPOLLIN, &err) < 0) {
        /* Unseen it cannot be kept. */
        struct child_event end;
        pthread_mutex_lock(&h->k->lock);
        doom(h);
        pthread_mutex_unlock(&h->k->lock);
        while (!child_wait(&h->child, 1000, &end))
            child_kill(&h->child);
        bury(h);
        return;
    }
    loop_watch(h->k->loop, &h->words, EPOLLIN, &err); /* without it refusals are not counted, and refused still */
}

/* ---- the start of one ---- */

/* Under the lock, which others have meanwhile; false: it is late. */
static bool wait_changed(struct sql_keeper *k, uint64_t until)
{
    struct timespec t = {.tv_sec = (time_t)(until / NS_PER_S), .tv_nsec = (long)(until % NS_PER_S)};
    return pthread_cond_timedwait(&k->changed, &k->lock, &t) == 0 || clock_mono_ns() < until;
}

/* Under the lock: the number of a seat that nobody has, made free where it must be. */
static int take_seat(struct sql_keeper *k, const struct sql_user *user, struct error *err)
{
    uint64_t until = clock_mono_ns() + LEAVE_NS;
    for (;;) {
        struct sql_helper *oldest = NULL, *same = NULL;
        unsigned used = 0;
        for (struct sql_helper *h = k->all; h; h = h->next) {
            if (h->worker != user->worker)
                continue;
            used |= 1u << h->number;
            oldest = h;
            if (strcmp(h->source, user->source) == 0)
                same = h;
        }
        if (!same && used != (1u << SEATS) - 1)
            return __builtin_ctz(~used);
        doom(same ? same : oldest);
        if (!wait_changed(k, until))
            return error_set(err, MOAT_E_NOT_READY, "the sql helper before this one has not ended yet");
    }
}

static bool send_start(int socket, const struct sql_opening *o, const struct sql_start *start)
{
    int fds[SQL_FDS_MAX] = {o->seats};
    memcpy(fds + SQL_FD_DATABASE, o->fds, o->nfds * sizeof *fds);
    return io_send(socket, start, sizeof *start, fds, 1 + o->nfds);
}

static int launch(struct sql_helper *h, const struct sql_opening *o, struct error *err)
{
    int ends[2];
    struct sql_start start = o->start;
    start.version = SQL_VERSION;
    start.seat = h->number;
    start.serial = h->serial;
    start.write = h->write;
    struct wall_limits limits = {.memory = ADDRESS_SPACE,
                                 .cpu_seconds = CPU_SECONDS,
                                 .file_size = start.kind == SQL_SQLITE ? 2 * start.database_max + 16 * MIB : 0};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot make the sql helper's socket");
    h->socket = ends[0];
    fd_auto theirs = ends[1];
    if (fcntl(h->socket, F_SETFL, O_NONBLOCK) < 0 || !send_start(h->socket, o, &start))
        return error_errno(err, MOAT_E_START_FAILED, errno, "cannot tell the sql helper what to open");
    h->limits = limits;
    seat_open(h->seat);
    return spawner_helper(o->spawner, "sql", theirs, theirs, &limits, &h->child, err);
}

static bool keep_start(struct sql_helper *h, const struct sql_opening *o)
{
    if (o->nfds && (h->files = fcntl(o->fds[0], F_DUPFD_CLOEXEC, 0)) < 0)
        return false;
    h->start = malloc(sizeof *h->start);
    if (h->start)
        *h->start = o->start, h->start->version = SQL_VERSION;
    return h->start;
}

static struct sql_helper *helper_new(struct sql_keeper *k, const struct sql_opening *o, unsigned number)
{
    struct sql_helper *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    *h = (struct sql_helper){.k = k,
                             .worker = o->user.worker,
                             .serial = ++k->serials,
                             .write = o->user.write,
                             .number = number,
                             .child = CHILD_NONE,
                             .socket = -1,
                             .files = -1,
                             .watch = {.run = begin_watch},
                             .seat = seat_map(o->seats, number)};
    text_copy(h->plugin, sizeof h->plugin, o->user.plugin);
    text_copy(h->version, sizeof h->version, o->user.version);
    text_copy(h->source, sizeof h->source, o->user.source);
    if (h->seat && (o->start.kind != SQL_POSTGRES || keep_start(h, o)))
        return h;
    release(h);
    return NULL;
}

static void *listen_main(void *context)
{
    struct sql_keeper *k = context;
    pthread_setname_np(pthread_self(), "moat-sql");
    loop_run(k->loop);
    return NULL;
}

static void ender_left(struct sql_enders *enders)
{
    struct sql_keeper *k = (struct sql_keeper *)(void *)((char *)enders - offsetof(struct sql_keeper, enders));
    pthread_mutex_lock(&k->lock);
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

static int listen_begin(struct sql_keeper *k, struct error *err)
{
    struct loop *loop;
    if (k->loop)
        return 0;
    int rc = loop_new(&loop, err);
    if (rc < 0)
        return rc;
    k->loop = k->enders.loop = loop;
    k->enders.one_left = ender_left;
    if ((rc = pthread_create(&k->thread, NULL, listen_main, k))) {
        k->loop = NULL;
        loop_free(loop);
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start the thread that hears of sql helpers");
    }
    return 0;
}

/* Under the lock from the choice of a seat to its entry in the list; starting one blocks nobody for long. */
static int open_locked(struct sql_keeper *k, const struct sql_opening *o, struct seat_told *out, struct error *err)
{
    int rc = listen_begin(k, err);
    int number = rc < 0 ? rc : take_seat(k, &o->user, err);
    if (number < 0)
        return number;
    struct sql_helper *h = helper_new(k, o, (unsigned)number);
    if (!h)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for an sql helper");
    rc = launch(h, o, err);
    if (rc < 0) {
        seat_close(h->seat); /* nobody serves it */
        release(h);
        return rc;
    }
    h->next = k->all;
    k->all = h;
    *out = (struct seat_told){.serial = h->serial, .seat = h->number, .write = h->write};
    loop_post(k->loop, &h->watch);
    return 0;
}

int sql_open(struct sql_keeper *k, const struct sql_opening *o, struct seat_told *out, struct error *err)
{
    if (o->nfds > SQL_FDS_MAX - 1)
        return error_set(err, MOAT_E_INTERNAL, "an sql helper is given %zu descriptors", o->nfds);
    pthread_mutex_lock(&k->lock);
    int rc = open_locked(k, o, out, err);
    pthread_mutex_unlock(&k->lock);
    return rc;
}

/* ---- ends ---- */

void sql_close(struct sql_keeper *k, uint64_t serial)
{
    pthread_mutex_lock(&k->lock);
    for (struct sql_helper *h = k->all; h; h = h->next)
        if (h->serial == serial)
            doom(h);
    pthread_mutex_unlock(&k->lock);
}

void sql_worker_gone(struct sql_keeper *k, uint64_t worker)
{
    pthread_mutex_lock(&k->lock);
    for (struct sql_helper *h = k->all; h; h = h->next)
        if (h->worker == worker)
            doom(h);
    pthread_mutex_unlock(&k->lock);
}

/* Under the lock: one that was doomed and is still there. */
static const struct sql_helper *still_there(const struct sql_keeper *k)
{
    for (const struct sql_helper *h = k->all; h; h = h->next)
        if (h->doomed)
            return h;
    return NULL;
}

int sql_end(struct sql_keeper *k, bool (*keep)(void *context, const struct sql_user *user), void *context,
            uint64_t timeout_ns, struct error *err)
{
    uint64_t until = clock_mono_ns() + timeout_ns;
    const struct sql_helper *left;
    int rc = 0;
    pthread_mutex_lock(&k->lock);
    for (struct sql_helper *h = k->all; h; h = h->next) {
        struct sql_user user = user_of(h);
        if (!keep(context, &user))
            doom(h);
    }
    while ((left = still_there(k)) && wait_changed(k, until))
        ;
    if (left)
        rc = error_set(err, MOAT_E_REVOKE_INCOMPLETE, "the sql helper of %s for the source %s has not ended yet",
                       left->plugin, left->source);
    pthread_mutex_unlock(&k->lock);
    return rc;
}

size_t sql_helpers(struct sql_keeper *k)
{
    size_t n = 0;
    pthread_mutex_lock(&k->lock);
    for (const struct sql_helper *h = k->all; h; h = h->next)
        n++;
    pthread_mutex_unlock(&k->lock);
    return n;
}

static bool keep_none(void *context, const struct sql_user *user)
{
    (void)context;
    (void)user;
    return false;
}

void sql_keeper_stop(struct sql_keeper *k, uint64_t timeout_ns)
{
    uint64_t until = clock_mono_ns() + timeout_ns;
    sql_end(k, keep_none, NULL, timeout_ns, NULL);
    pthread_mutex_lock(&k->lock);
    while (k->enders.count && wait_changed(k, until))
        ;
    k->stopped = true;
    pthread_mutex_unlock(&k->lock);
}

/* Their ends come through the loop, so that none is left on it when it stops. */
void sql_keeper_free(struct sql_keeper *k)
{
    if (!k)
        return;
    while (k->loop && sql_end(k, keep_none, NULL, LEAVE_NS, NULL) < 0)
        ;
    if (k->loop) {
        loop_stop(k->loop);
        pthread_join(k->thread, NULL);
        sql_enders_clear(&k->enders);
        loop_free(k->loop);
    }
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
    free(k);
}
