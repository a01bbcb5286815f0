#include "broker/sql_end.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

struct sql_ender {
    struct sql_enders *of;
    struct sql_ender *next;
    char plugin[65], source[SEAT_SOURCE_MAX + 1];
    struct child child;
    struct loop_watch status;
    int socket; /* nothing is heard on it; without it the helper would have nobody */
};

static void tell(const char *plugin, const char *source, const char *why)
{
    log_event(LOG_WARN, "sql_statement_left", "plugin", plugin, "source", source, "why", why, NULL);
}

static void release(struct sql_ender *d)
{
    loop_unwatch(&d->status);
    child_close(&d->child);
    io_close(&d->socket);
    free(d);
}

static void forget(struct sql_ender *d)
{
    for (struct sql_ender **at = &d->of->all; *at; at = &(*at)->next)
        if (*at == d) {
            *at = d->next;
            d->of->count--;
            break;
        }
    release(d);
}

static void on_status(struct loop_watch *watch, uint32_t events)
{
    struct sql_ender *d = (struct sql_ender *)(void *)((char *)watch - offsetof(struct sql_ender, status));
    struct child_event ev;
    (void)events;
    child_next(&d->child, &ev);
    if (ev.kind != CHILD_FAILED && ev.kind != CHILD_EXITED)
        return;
    if (ev.kind == CHILD_FAILED || ev.wait_status != 0)
        tell(d->plugin, d->source, "the server does not let the role end what it has begun");
    struct sql_enders *e = d->of;
    forget(d);
    e->one_left(e);
}

static bool launch(struct sql_ender *d, struct spawner *spawner, const struct sql_start *start, int files,
                   const struct wall_limits *limits)
{
    int ends[2];
    struct error err;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    d->socket = ends[0];
    fd_auto theirs = ends[1];
    if (!io_send(d->socket, start, sizeof *start, &files, files >= 0) ||
        spawner_helper(spawner, "sql", theirs, theirs, limits, &d->child, &err) < 0)
        return false;
    d->status = (struct loop_watch){.fd = d->child.status, .ready = on_status};
    if (loop_watch(d->of->loop, &d->status, EPOLLIN, &err) == 0)
        return true;
    child_kill(&d->child);
    return false;
}

void sql_end_backend(struct sql_enders *e, struct spawner *spawner, const struct sql_user *user,
                     const struct sql_start *start, int files, const struct sql_backend *backend,
                     const struct wall_limits *limits)
{
    struct sql_start own = *start;
    struct sql_ender *d = e->count < SQL_ENDERS_MAX ? calloc(1, sizeof *d) : NULL;
    own.kind = SQL_POSTGRES_END;
    own.backend = *backend;
    if (d) {
        *d = (struct sql_ender){.of = e, .child = CHILD_NONE, .socket = -1};
        text_copy(d->plugin, sizeof d->plugin, user->plugin);
        text_copy(d->source, sizeof d->source, user->source);
    }
    if (d && launch(d, spawner, &own, files, limits)) {
        d->next = e->all;
        e->all = d;
        e->count++;
    } else {
        tell(user->plugin, user->source, d ? "no helper can be started to end it" : "too many are being ended");
        if (d)
            release(d);
    }
    explicit_bzero(own.options, sizeof own.options);
}

void sql_enders_clear(struct sql_enders *e)
{
    struct child_event end;
    while (e->all) {
        struct sql_ender *d = e->all;
        while (!child_wait(&d->child, 100, &end))
            child_kill(&d->child);
        forget(d);
    }
}
