/* A plugin's helper as the host sees it: its start, its reports (each in a table with the states in which it may come),
 * its end.  Whatever it says is checked as hostile; one that speaks out of turn is killed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "broker/net_internal.h"

#define REPORTS_AT_ONCE 64
/* A connection has two descriptors, an attempt a third; the resolver has some. */
#define DESCRIPTORS (3 * NET_CONNECTIONS + 64)

/* ---- links ---- */

int link_take(struct side *s)
{
    for (int id = 0; id < (int)NET_CONNECTIONS; id++)
        if (s->links[id].state == NEAR_FREE) {
            s->used++;
            loop_timer_clear(&s->timer);
            return id;
        }
    return -1;
}

void link_free(struct side *s, int id)
{
    struct near *l = &s->links[id];
    if (l->state == NEAR_OPEN)
        atomic_fetch_sub(&s->net->open, 1);
    io_close(&l->end);
    if (l->wish)
        l->wish->id = -1;
    *l = (struct near){.end = -1};
    s->used--;
}

/* ---- the end ---- */

static void tell_revokers(struct side *s, const struct error *err)
{
    for (struct revoker *r = s->revokers, *next; r; r = next) {
        next = r->next;
        r->done(r->context, err);
        free(r);
    }
    s->revokers = NULL;
}

/* Everything that was asked of this one is over. */
void links_end(struct side *s, enum moat_code code, const char *why)
{
    for (int id = 0; id < (int)NET_CONNECTIONS; id++) {
        struct wish *w = s->links[id].wish;
        if (s->links[id].state == NEAR_FREE)
            continue;
        link_free(s, id);
        if (w)
            wish_fail(w, code, why);
    }
}

void helper_gone(struct side *s)
{
    loop_unwatch(&s->control_watch);
    loop_unwatch(&s->status_watch);
    loop_timer_clear(&s->timer);
    io_close(&s->control);
    child_close(&s->child);
    s->state = HELPER_NONE;
    s->kill = false;
    atomic_fetch_sub(&s->net->helpers, 1);
    links_end(s, MOAT_E_CONNECT_FAILED, "closed: the helper that makes connections has ended: try again");
    tell_revokers(s, NULL);
    struct error err;
    if (s->line && !helper_start(s, &err))
        while (s->line)
            wish_fail(s->line, err.code, err.message);
}

static void late(struct loop_timer *timer)
{
    struct side *s = (struct side *)(void *)((char *)timer - offsetof(struct side, timer));
    struct error err;
    if (s->state != HELPER_ENDING) {
        struct net_order quit = {.kind = NET_QUIT};
        if (helper_order(s, &quit, -1))
            helper_end(s, false);
        return;
    }
    error_set(&err, MOAT_E_REVOKE_INCOMPLETE, "the process %d that has the connections of %s has not ended",
              (int)s->child.pid, s->plugin);
    tell_revokers(s, &err);
    child_kill(&s->child);
    loop_timer_set(s->net->config.loop, &s->timer, clock_mono_ns() + REVOKE_LATE_NS);
}

/* Nobody but the helper has the other end: without ours it leaves, and killed it need not agree. */
void helper_end(struct side *s, bool kill)
{
    loop_unwatch(&s->control_watch);
    io_close(&s->control);
    s->state = HELPER_ENDING;
    s->kill = s->kill || kill;
    if (s->kill)
        child_kill(&s->child);
    loop_timer_set(s->net->config.loop, &s->timer, clock_mono_ns() + REVOKE_LATE_NS);
}

void helper_rest(struct side *s)
{
    if (s->state == HELPER_UP && !s->used && !s->line)
        loop_timer_set(s->net->config.loop, &s->timer, clock_mono_ns() + s->net->config.limits.idle_ns);
}

static void broke(struct side *s, const char *why)
{
    log_event(LOG_ERROR, "net_helper_broke_protocol", "plugin", s->plugin, "why", why, "#pid",
              log_num((uint64_t)s->child.pid), NULL);
    helper_end(s, true);
    links_end(s, MOAT_E_CONNECT_FAILED, "closed: the helper that makes connections was ended: try again");
}

/* ---- reports ---- */

static void take_ready(struct side *s, const struct net_report *r)
{
    s->state = HELPER_UP;
    struct wish *w = s->line;
    s->line = NULL;
    s->line_end = &s->line;
    for (struct wish *next; w; w = next) {
        next = w->next;
        w->in_line = false;
        wish_go(w);
    }
    helper_rest(s);
}

void link_close(struct side *s, int id)
{
    struct net_order o = {.kind = NET_CLOSE, .id = (uint32_t)id};
    s->links[id].wish = NULL;
    s->links[id].state = NEAR_CLOSING;
    helper_order(s, &o, -1);
}

/* The pair is the host's: what a worker gets is never of the helper's making. */
void link_connect(struct side *s, int id, struct net_order *o)
{
    struct near *l = &s->links[id];
    struct wish *w = l->wish;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
        w->id = -1;
        link_close(s, id);
        wish_fail(w, MOAT_E_OUT_OF_MEMORY, "the host has no descriptor left");
        return;
    }
    if (!(w->flags & NET_WISH_NONBLOCK))
        fcntl(ends[0], F_SETFL, fcntl(ends[0], F_GETFL) & ~O_NONBLOCK);
    l->end = ends[0];
    l->state = NEAR_CONNECTING;
    helper_order(s, o, ends[1]);
    close(ends[1]);
}

static void take_resolved(struct side *s, const struct net_report *r)
{
    struct wish *w = s->links[r->id].wish;
    struct net_order o = {.kind = NET_CONNECT, .id = r->id};
    w->id = -1; /* an answer frees it and leaves the link */
    if (!wish_judge(w, r->addresses, r->naddresses, &o)) {
        link_close(s, (int)r->id);
        return;
    }
    w->id = (int)r->id;
    link_connect(s, (int)r->id, &o);
}

static void take_connected(struct side *s, const struct net_report *r)
{
    struct near *l = &s->links[r->id];
    struct wish *w = l->wish;
    l->state = NEAR_OPEN;
    l->wish = NULL;
    w->id = -1;
    atomic_fetch_add(&s->net->connections, 1);
    atomic_fetch_add(&s->net->open, 1);
    wish_hand(w, l->end);
    io_close(&l->end);
}

static void take_refused(struct side *s, const struct net_report *r)
{
    struct wish *w = s->links[r->id].wish;
    char why[160];
    link_free(s, (int)r->id);
    atomic_fetch_add(&s->net->refused, 1);
    snprintf(why, sizeof why, "%s: %s", net_why_name(r->why), net_why_text(r->why));
    if (r->why == NET_WHY_OWN_ADDRESS)
        wish_own(w, &r->addresses[0]);
    else
        wish_fail(w, MOAT_E_CONNECT_FAILED, why);
}

static void take_ended(struct side *s, const struct net_report *r)
{
    atomic_fetch_add(&s->net->bytes_in, r->bytes_in);
    atomic_fetch_add(&s->net->bytes_out, r->bytes_out);
    link_free(s, (int)r->id);
}

/* It crossed our CLOSE. A refusal or an end frees the helper's link, and its answer to CLOSE is nothing then. */
static void take_crossed(struct side *s, const struct net_report *r)
{
    if (r->kind == NET_REFUSED || r->kind == NET_ENDED)
        take_ended(s, r);
}

#define IN(state) (1u << (state))

/* Which report may come in which states of the link that it names; READY names none and comes once. */
static const struct turn {
    uint32_t states;
    void (*run)(struct side *s, const struct net_report *r);
} turns[NET_REPORTS] = {
    [NET_RESOLVED] = {IN(NEAR_RESOLVING), take_resolved},
    [NET_CONNECTED] = {IN(NEAR_CONNECTING), take_connected},
    [NET_REFUSED] = {IN(NEAR_RESOLVING) | IN(NEAR_CONNECTING), take_refused},
    [NET_ENDED] = {IN(NEAR_OPEN), take_ended},
};

static const char *take_report(struct side *s, const struct net_report *r, size_t len)
{
    const char *why = net_report_fault(r, len);
    if (why)
        return why;
    if (r->kind == NET_READY) {
        if (s->state != HELPER_STARTING)
            return "it said twice that it is ready";
        take_ready(s, r);
        return NULL;
    }
    const struct turn *t = &turns[r->kind];
    enum near_state state = s->links[r->id].state;
    if (s->state != HELPER_UP || (state != NEAR_CLOSING && !(t->states & IN(state))))
        return "a report that was not due";
    if (r->kind == NET_REFUSED && (r->why == NET_WHY_OWN_ADDRESS) != (r->naddresses == 1))
        return "a refusal with or without an address, and it should be the other way";
    (state == NEAR_CLOSING ? take_crossed : t->run)(s, r);
    helper_rest(s);
    return NULL;
}

void helper_report(struct side *s, const struct net_report *r, size_t len)
{
    const char *why = take_report(s, r, len);
    if (why)
        broke(s, why);
}

static void on_control(struct loop_watch *watch, uint32_t events)
{
    struct side *s = (struct side *)(void *)((char *)watch - offsetof(struct side, control_watch));
    for (int i = 0; i < REPORTS_AT_ONCE && s->control >= 0; i++) {
        struct net_report r;
        ssize_t got = io_recv(s->control, &r, sizeof r, NULL, NULL);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (got <= 0 && (got == 0 || errno == ECONNRESET)) {
            loop_unwatch(&s->control_watch); /* how it ended comes from the spawner */
            return;
        }
        if (got < 0)
            broke(s, "a report that cannot be read");
        else
            helper_report(s, &r, (size_t)got);
    }
}

static void tell_end(const struct side *s, const struct child_event *ev)
{
    if (s->state == HELPER_ENDING || atomic_load(&s->net->stops))
        return;
    char how[96];
    if (ev->kind == CHILD_FAILED)
        snprintf(how, sizeof how, "its wall cannot be built: %.48s: %s", ev->step, strerrorname_np(ev->errnum));
    else if (WIFSIGNALED(ev->wait_status))
        snprintf(how, sizeof how, "signal %d", WTERMSIG(ev->wait_status));
    else
        snprintf(how, sizeof how, "status %d", WEXITSTATUS(ev->wait_status));
    log_event(LOG_WARN, "net_helper_died", "plugin", s->plugin, "how", how, "#pid", log_num((uint64_t)s->child.pid),
              NULL);
}

static void on_status(struct loop_watch *watch, uint32_t events)
{
    struct side *s = (struct side *)(void *)((char *)watch - offsetof(struct side, status_watch));
    struct child_event ev;
    child_next(&s->child, &ev);
    if (ev.kind == CHILD_SPAWNED && s->kill)
        child_kill(&s->child);
    if (ev.kind != CHILD_FAILED && ev.kind != CHILD_EXITED)
        return;
    tell_end(s, &ev);
    if (ev.kind == CHILD_FAILED || s->state == HELPER_STARTING) { /* the next one would fare no better */
        char why[160];
        snprintf(why, sizeof why, "the helper that makes connections cannot start%s%.64s: `moat doctor`",
                 *ev.step ? ": " : "", ev.step);
        while (s->line)
            wish_fail(s->line, MOAT_E_WALL_MISSING, why);
    }
    helper_gone(s);
}

/* ---- the start ---- */

/* One that does not even take its orders is of no use: its end answers all that was asked of it. */
bool helper_order(struct side *s, struct net_order *o, int fd)
{
    o->version = NET_VERSION;
    if (s->control >= 0 && io_send(s->control, o, sizeof *o, &fd, fd >= 0 ? 1 : 0))
        return true;
    if (s->control >= 0)
        helper_end(s, true);
    return false;
}

static bool set_up(struct side *s)
{
    struct net_order o;
    memset(&o, 0, sizeof o);
    o.kind = NET_SETUP;
    o.bytes_per_second = s->net->config.limits.bytes_per_second;
    snprintf(o.text, sizeof o.text, "%s", s->net->config.limits.servers);
    return helper_order(s, &o, -1);
}

bool helper_start(struct side *s, struct error *err)
{
    const struct net_config *c = &s->net->config;
    const struct wall_limits limits = {.descriptors = DESCRIPTORS, .cpu_seconds = UINT32_MAX};
    int ends[2];
    if (atomic_load(&s->net->stops))
        return error_set(err, MOAT_E_DRAINING, "the host ends"), false;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot make a helper's socket"), false;
    fcntl(ends[0], F_SETFL, fcntl(ends[0], F_GETFL) | O_NONBLOCK);
    fd_auto theirs = ends[1];
    s->control = ends[0];
    s->child = CHILD_NONE;
    int rc = spawner_helper(c->spawner(c->context), "net", theirs, theirs, &limits, &s->child, err);
    s->control_watch = (struct loop_watch){.fd = s->control, .ready = on_control};
    s->status_watch = (struct loop_watch){.fd = s->child.status, .ready = on_status};
    s->timer.fire = late;
    if (rc == 0)
        rc = loop_watch(c->loop, &s->control_watch, EPOLLIN, err);
    if (rc == 0)
        rc = loop_watch(c->loop, &s->status_watch, EPOLLIN, err);
    if (rc == 0 && !set_up(s))
        rc = error_set(err, MOAT_E_START_FAILED, "the helper that makes connections has gone");
    if (rc == 0) {
        s->state = HELPER_STARTING;
        atomic_fetch_add(&s->net->helpers, 1);
        return true;
    }
    loop_unwatch(&s->control_watch);
    loop_unwatch(&s->status_watch);
    io_close(&s->control); /* without it a child that was born leaves */
    child_close(&s->child);
    return false;
}
