/* Bytes between the two sockets of a connection, both edge-triggered: each event moves what can be moved.  Only so much
 * at a time, so that one connection holds up no other; the rest has its turn after the next wait. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "helper/net.h"

#define TURN_BYTES (1u << 20)
#define BURST_NS (100 * NS_PER_MS) /* of the rate: what may be moved at once */

/* ---- the rate of all of them ---- */

static double burst(const struct net *n)
{
    double b = (double)n->rate * (double)BURST_NS / (double)NS_PER_S;
    return b < (double)NET_BUFFER ? (double)NET_BUFFER : b;
}

static void refill(struct net *n, uint64_t now)
{
    if (!n->rate)
        return;
    n->tokens += (double)n->rate * (double)(now - n->tokens_at) / (double)NS_PER_S;
    n->tokens = n->tokens > burst(n) ? burst(n) : n->tokens;
    n->tokens_at = now;
}

static bool may_move(const struct net *n)
{
    return !n->rate || n->tokens > 0;
}

static void moved(struct net *n, size_t bytes)
{
    if (n->rate)
        n->tokens -= (double)bytes;
}

/* ---- one way ---- */

enum pumped { PUMP_WAITS, PUMP_MORE, PUMP_FAILED };

/* Reads when nothing is left to be written. PUMP_WAITS: for an event. */
static enum pumped take(struct flow *f)
{
    ssize_t got = read(f->from, f->buffer, NET_BUFFER);
    if (got < 0)
        return errno == EAGAIN ? PUMP_WAITS : errno == EINTR ? PUMP_MORE : PUMP_FAILED;
    f->ended = got == 0;
    f->at = 0;
    f->len = (uint32_t)got;
    return PUMP_MORE;
}

static enum pumped give(struct net *n, struct flow *f)
{
    ssize_t put = write(f->to, f->buffer + f->at, f->len);
    if (put < 0)
        return errno == EAGAIN ? PUMP_WAITS : errno == EINTR ? PUMP_MORE : PUMP_FAILED;
    f->at += (uint32_t)put;
    f->len -= (uint32_t)put;
    f->bytes += (uint64_t)put;
    moved(n, (size_t)put);
    return PUMP_MORE;
}

static enum pumped pump(struct net *n, struct flow *f)
{
    enum pumped how = PUMP_MORE;
    uint64_t until = f->bytes + TURN_BYTES;
    while (how == PUMP_MORE && !f->done && f->bytes < until && may_move(n)) {
        if (f->len) {
            how = give(n, f);
        } else if (!f->ended) {
            how = take(f);
        } else {
            f->done = true;
            shutdown(f->to, SHUT_WR);
        }
    }
    return f->done ? PUMP_WAITS : how;
}

/* ---- both ways ---- */

static void end(struct net *n, uint32_t id, bool well)
{
    struct link *l = &n->links[id];
    static const struct linger in_peace = {0};
    struct net_report r = {.kind = NET_ENDED, .id = id, .bytes_out = l->out.bytes, .bytes_in = l->in.bytes};
    /* What was sent still arrives; after a failure the other side shall know that it is one. */
    if (well)
        setsockopt(l->sock, SOL_SOCKET, SO_LINGER, &in_peace, sizeof in_peace);
    net_free_link(n, id);
    net_report(n, &r);
}

static void pump_both(struct net *n, uint32_t id)
{
    struct link *l = &n->links[id];
    enum pumped out = pump(n, &l->out), in = pump(n, &l->in);
    if (in == PUMP_FAILED && l->hung_up)
        in = PUMP_WAITS; /* nobody reads it any more; what the plugin sent still goes out */
    if (out == PUMP_FAILED || in == PUMP_FAILED)
        end(n, id, false);
    else if (l->out.done && (l->in.done || l->hung_up))
        end(n, id, true);
    else
        l->waits = out == PUMP_MORE || in == PUMP_MORE;
}

void relay_begin(struct net *n, uint32_t id)
{
    struct link *l = &n->links[id];
    l->out = (struct flow){.from = l->pair, .to = l->sock, .buffer = malloc(NET_BUFFER)};
    l->in = (struct flow){.from = l->sock, .to = l->pair, .buffer = malloc(NET_BUFFER)};
    l->state = LINK_OPEN;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    e.data.u64 = 0;
    /* The socket may be watched already, while it connected. */
    bool watched = net_watch(n, l->pair, SOURCE_PAIR, id, e.events) &&
                   (net_watch(n, l->sock, SOURCE_SOCK, id, e.events) || errno == EEXIST);
    if (!l->out.buffer || !l->in.buffer || !watched)
        end(n, id, false);
    else
        l->waits = true;
}

void relay_event(struct net *n, uint32_t id, enum net_source source, uint32_t events)
{
    if (source == SOURCE_PAIR && events & EPOLLHUP)
        n->links[id].hung_up = true;
    refill(n, clock_mono_ns());
    pump_both(n, id);
}

void relay_turns(struct net *n, uint64_t now)
{
    refill(n, now);
    for (uint32_t id = 0; id < NET_CONNECTIONS && may_move(n); id++)
        if (n->links[id].state == LINK_OPEN && n->links[id].waits)
            pump_both(n, id);
}

int relay_timeout(struct net *n, uint64_t now)
{
    bool waits = false;
    for (uint32_t id = 0; id < NET_CONNECTIONS && !waits; id++)
        waits = n->links[id].state == LINK_OPEN && n->links[id].waits;
    if (!waits)
        return -1;
    refill(n, now);
    return may_move(n) ? 0 : (int)(-n->tokens * 1000 / (double)n->rate) + 1;
}
