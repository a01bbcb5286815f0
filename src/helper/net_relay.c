/* Bytes between the two sockets of a connection, both edge-triggered: each event moves what can be moved.  Only so much
 * at a time, so that one connection holds up no other; the rest has its turn after the next wait. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "helper/net.h"

#define TURN_BYTES (1u << 20)
#define BURST_MIN (128u << 10)
#define UNREAD_MAX (1 << 20) /* by the plugin, where the machine allows as much: each wait for it costs a wake-up */
#define BURST_NS (100 * NS_PER_MS) /* of the rate: what may be moved at once */

/* ---- the rate of all of them ---- */

static double burst(const struct net *n)
{
    double b = (double)n->rate * (double)BURST_NS / (double)NS_PER_S;
    return b < (double)BURST_MIN ? (double)BURST_MIN : b;
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

/* ---- one way ---- */

enum pumped { PUMP_WAITS, PUMP_MORE, PUMP_FAILED };

static enum pumped blocked(void)
{
    return errno == EAGAIN ? PUMP_WAITS : errno == EINTR ? PUMP_MORE : PUMP_FAILED;
}

static void moved(struct net *n, struct flow *f, size_t bytes)
{
    f->bytes += bytes;
    if (n->rate)
        n->tokens -= (double)bytes;
}

static bool keep(struct flow *f, const uint8_t *bytes, size_t len)
{
    f->rest = malloc(len);
    if (!f->rest)
        return false;
    memcpy(f->rest, bytes, len);
    f->at = 0;
    f->len = (uint32_t)len;
    return true;
}

/* Nothing is left to be written. What cannot be written at once is kept. */
static enum pumped take(struct net *n, struct flow *f)
{
    ssize_t got = read(f->from, n->chunk, n->rate ? BURST_MIN : NET_CHUNK);
    if (got < 0)
        return blocked();
    f->ended = got == 0;
    if (f->ended)
        return PUMP_MORE;
    ssize_t put = write(f->to, n->chunk, (size_t)got);
    if (put < 0 && blocked() == PUMP_FAILED)
        return PUMP_FAILED;
    size_t done = put < 0 ? 0 : (size_t)put;
    moved(n, f, done);
    return done == (size_t)got || keep(f, n->chunk + done, (size_t)got - done) ? PUMP_MORE : PUMP_FAILED;
}

static enum pumped give(struct net *n, struct flow *f)
{
    ssize_t put = write(f->to, f->rest + f->at, f->len);
    if (put < 0)
        return blocked();
    f->at += (uint32_t)put;
    f->len -= (uint32_t)put;
    moved(n, f, (size_t)put);
    if (!f->len)
        flow_clear(f);
    return PUMP_MORE;
}

void flow_clear(struct flow *f)
{
    free(f->rest);
    f->rest = NULL;
    f->len = 0;
}

static enum pumped pump(struct net *n, struct flow *f)
{
    enum pumped how = PUMP_MORE;
    uint64_t until = f->bytes + TURN_BYTES;
    while (how == PUMP_MORE && !f->done && f->bytes < until && may_move(n)) {
        if (f->len) {
            how = give(n, f);
        } else if (!f->ended) {
            how = take(n, f);
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
    l->out = (struct flow){.from = l->pair, .to = l->sock};
    l->in = (struct flow){.from = l->sock, .to = l->pair};
    l->state = LINK_OPEN;
    setsockopt(l->pair, SOL_SOCKET, SO_SNDBUF, &(int){UNREAD_MAX}, sizeof(int));
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    e.data.u64 = 0;
    /* The socket may be watched already, while it connected. */
    bool watched = net_watch(n, l->pair, SOURCE_PAIR, id, e.events) &&
                   (net_watch(n, l->sock, SOURCE_SOCK, id, e.events) || errno == EEXIST);
    if (!watched)
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
