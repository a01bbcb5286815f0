/* Duty "net": orders of the host, each in a table with the states in which it may come, and the one wait. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "helper/net.h"
#include "sandbox/inside_helper.h"
#include "wire/archive.h"

#define EVENTS_AT_ONCE 32

/* ---- what the files share ---- */

/* Which of the descriptors, of which link, in which turn of its slot. */
static uint64_t key_of(const struct net *n, int fd, enum net_source source, uint32_t id)
{
    uint64_t low = source == SOURCE_RESOLVER ? (uint32_t)fd : id;
    uint64_t turn = source == SOURCE_SOCK || source == SOURCE_PAIR ? n->links[id].turn & 0xffffffu : 0;
    return (uint64_t)source << 56 | turn << 32 | low;
}

bool net_watch(struct net *n, int fd, enum net_source source, uint32_t id, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u64 = key_of(n, fd, source, id)};
    return epoll_ctl(n->epoll, EPOLL_CTL_ADD, fd, &e) == 0;
}

/* The host reads as fast as it can; one that does not has gone. */
void net_report(struct net *n, const struct net_report *r)
{
    struct net_report out = *r;
    out.version = NET_VERSION;
    ssize_t done;
    do
        done = write(n->control, &out, sizeof out);
    while (done < 0 && errno == EINTR);
    if (done != (ssize_t)sizeof out)
        n->over = true;
}

void net_refuse(struct net *n, uint32_t id, enum net_why why)
{
    struct net_report r = {.kind = NET_REFUSED, .id = id, .why = why};
    net_free_link(n, id);
    net_report(n, &r);
}

void net_free_link(struct net *n, uint32_t id)
{
    struct link *l = &n->links[id];
    if (l->query)
        resolver_forget(l->query);
    io_close(&l->pair);
    io_close(&l->sock);
    flow_clear(&l->out);
    flow_clear(&l->in);
    *l = (struct link){.turn = l->turn + 1, .pair = -1, .sock = -1};
}

/* ---- orders ---- */

static uint64_t deadline_of(const struct net_order *o)
{
    return clock_mono_ns() + (uint64_t)o->timeout_ms * NS_PER_MS;
}

static void order_setup(struct net *n, const struct net_order *o, int *fd)
{
    struct net_report ready = {.kind = NET_READY};
    n->set_up = true;
    n->rate = o->bytes_per_second;
    n->tokens_at = clock_mono_ns();
    if (*o->text && !resolver_servers(n->resolver, o->text))
        n->over = true;
    else
        net_report(n, &ready);
}

static void order_resolve(struct net *n, const struct net_order *o, int *fd)
{
    struct link *l = &n->links[o->id];
    l->state = LINK_RESOLVING;
    l->deadline = deadline_of(o);
    resolver_ask(n->resolver, o->id, o->text);
}

void resolver_answered(struct net *n, uint32_t id, const struct net_address *a, uint32_t count, enum net_why why)
{
    struct link *l = &n->links[id];
    struct net_report r = {.kind = NET_RESOLVED, .id = id, .naddresses = count};
    l->query = NULL;
    if (why) {
        net_refuse(n, id, why);
        return;
    }
    l->state = LINK_RESOLVED;
    memcpy(r.addresses, a, count * sizeof *a);
    net_report(n, &r);
}

static void order_connect(struct net *n, const struct net_order *o, int *fd)
{
    struct link *l = &n->links[o->id];
    l->state = LINK_CONNECTING;
    l->pair = io_steal(fd);
    l->deadline = deadline_of(o);
    l->port = (uint16_t)o->port;
    l->naddresses = o->naddresses;
    memcpy(l->addresses, o->addresses, sizeof l->addresses);
    connect_begin(n, o->id, clock_mono_ns());
}

static void order_close(struct net *n, const struct net_order *o, int *fd)
{
    struct link *l = &n->links[o->id];
    struct net_report r = {.kind = NET_ENDED, .id = o->id, .bytes_out = l->out.bytes, .bytes_in = l->in.bytes};
    /* Both may have ended it at the same moment: then the host has the end already, or will. */
    if (l->state == LINK_FREE)
        return;
    net_free_link(n, o->id);
    net_report(n, &r);
}

static void order_quit(struct net *n, const struct net_order *o, int *fd)
{
    n->over = true;
}

#define IN(state) (1u << (state))
#define IN_ANY (IN(LINK_FREE) | IN(LINK_RESOLVING) | IN(LINK_RESOLVED) | IN(LINK_CONNECTING) | IN(LINK_OPEN))

/* Which order may come when: before or after the setup, and in which states of the link that it names. */
static const struct {
    bool set_up;
    uint32_t states; /* 0: it names none */
    void (*run)(struct net *n, const struct net_order *o, int *fd);
} orders[NET_ORDERS] = {
    [NET_SETUP] = {false, 0, order_setup},
    [NET_RESOLVE] = {true, IN(LINK_FREE), order_resolve},
    [NET_CONNECT] = {true, IN(LINK_FREE) | IN(LINK_RESOLVED), order_connect},
    [NET_CLOSE] = {true, IN_ANY, order_close},
    [NET_QUIT] = {true, 0, order_quit},
};

/* One order, which is there: the socket blocks, so that a report is never lost. */
static void take_order(struct net *n)
{
    struct net_order o;
    fd_auto fd = -1;
    size_t nfds = 1;
    ssize_t got = io_recv(n->control, &o, sizeof o, &fd, &nfds);
    if (got <= 0 || net_order_fault(&o, (size_t)got, nfds) || orders[o.kind].set_up != n->set_up ||
        (orders[o.kind].states && !(orders[o.kind].states & IN(n->links[o.id].state))))
        n->over = true; /* the host has gone, or it is none of ours */
    else
        orders[o.kind].run(n, &o, &fd);
}

/* ---- the wait ---- */

static void handle(struct net *n, const struct epoll_event *e)
{
    enum net_source source = (enum net_source)(e->data.u64 >> 56);
    uint32_t turn = e->data.u64 >> 32 & 0xffffffu, low = (uint32_t)e->data.u64;
    if (source == SOURCE_CONTROL) {
        take_order(n);
    } else if (source == SOURCE_RESOLVER) {
        resolver_event(n->resolver, (int)low, e->events);
    } else if (low < NET_CONNECTIONS && (n->links[low].turn & 0xffffffu) == turn) {
        if (n->links[low].state == LINK_CONNECTING && source == SOURCE_SOCK)
            connect_event(n, low, clock_mono_ns());
        else if (n->links[low].state == LINK_OPEN)
            relay_event(n, low, source, e->events);
    }
}

static int sooner(int a, int b)
{
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

/* What took too long is refused; ms until the next one would. */
static int expire(struct net *n, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t id = 0; id < NET_CONNECTIONS; id++) {
        const struct link *l = &n->links[id];
        if (l->state != LINK_RESOLVING && l->state != LINK_CONNECTING)
            continue;
        if (l->deadline <= now)
            net_refuse(n, id, NET_WHY_TIMEOUT);
        else
            next = l->deadline < next ? l->deadline : next;
    }
    return next == UINT64_MAX ? -1 : (int)((next - now) / NS_PER_MS + 1);
}

static void serve(struct net *n)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    while (!n->over) {
        uint64_t now = clock_mono_ns();
        int wait = sooner(expire(n, now), resolver_timeout(n->resolver));
        wait = sooner(wait, relay_timeout(n, now));
        int count = epoll_wait(n->epoll, events, EVENTS_AT_ONCE, wait);
        if (count < 0 && errno != EINTR)
            return;
        for (int i = 0; i < count && !n->over; i++)
            handle(n, &events[i]);
        if (!n->over)
            relay_turns(n, clock_mono_ns());
    }
}

int duty_net(const char *called)
{
    static struct net n = {.control = 0, .epoll = -1};
    for (size_t i = 0; i < NET_CONNECTIONS; i++)
        n.links[i].pair = n.links[i].sock = -1;
    signal(SIGPIPE, SIG_IGN);
    n.resolver = resolver_new(&n);
    n.chunk = malloc(NET_CHUNK);
    if (!n.resolver || !n.chunk)
        return HELPER_NO_MEMORY;
    if (inside_helper_lock_net(called))
        return HELPER_NO_LOCK;
    n.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (n.epoll < 0 || !net_watch(&n, n.control, SOURCE_CONTROL, 0, EPOLLIN))
        return HELPER_NO_MEMORY;
    serve(&n);
    return HELPER_DONE;
}
