/* From the addresses that the host has allowed to a connection: one after the other, to exactly these. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/io.h"
#include "helper/net.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t fill(union address *out, const struct net_address *a, uint16_t port)
{
    memset(out, 0, sizeof *out);
    if (a->family == NET_V4) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        memcpy(&out->v4.sin_addr, a->bytes, 4);
        return sizeof out->v4;
    }
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(port);
    memcpy(&out->v6.sin6_addr, a->bytes, 16);
    return sizeof out->v6;
}

static bool same_host(const union address *a, const union address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return memcmp(&a->v4.sin_addr, &b->v4.sin_addr, 4) == 0;
    return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16) == 0;
}

/* To a public address of its own a machine talks from that address: no packet has to leave to find that out.  What
 * cannot be found out will not connect either. */
static bool is_own(const union address *to, socklen_t len)
{
    union address from = {0};
    socklen_t size = sizeof from;
    fd_auto probe = socket(to->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return probe >= 0 && connect(probe, &to->any, len) == 0 && getsockname(probe, &from.any, &size) == 0 &&
           same_host(&from, to);
}

static enum net_why why_of(int e)
{
    switch (e) {
    case ECONNREFUSED:
    case ECONNRESET:
        return NET_WHY_REFUSED;
    case ETIMEDOUT:
        return NET_WHY_TIMEOUT;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL:
        return NET_WHY_NO_ROOM;
    default:
        return NET_WHY_UNREACHABLE;
    }
}

/* From now on whoever ends this process ends the connection with it: nothing that is still unsent goes out. */
static void set_up(int sock)
{
    static const int on = 1;
    static const struct linger at_once = {.l_onoff = 1};
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(sock, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

static void connected(struct net *n, uint32_t id)
{
    struct link *l = &n->links[id];
    struct net_report r = {.kind = NET_CONNECTED, .id = id, .naddresses = 1, .addresses = {l->addresses[l->tried - 1]}};
    net_report(n, &r);
    relay_begin(n, id);
}

/* true: connected, or on its way. */
static bool try_one(struct net *n, uint32_t id, const struct net_address *a)
{
    struct link *l = &n->links[id];
    union address to;
    socklen_t len = fill(&to, a, l->port);
    if (!a->named && is_own(&to, len)) {
        l->own = l->tried; /* says more than that another could not be reached */
        return false;
    }
    io_close(&l->sock);
    l->sock = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->sock >= 0) {
        set_up(l->sock);
        if (connect(l->sock, &to.any, len) == 0) {
            connected(n, id);
            return true;
        }
        if (errno == EINPROGRESS && net_watch(n, l->sock, SOURCE_SOCK, id, EPOLLOUT | EPOLLIN | EPOLLRDHUP | EPOLLET))
            return true;
    }
    l->why = why_of(errno);
    return false;
}

static void refuse_own(struct net *n, uint32_t id, const struct net_address *a)
{
    struct net_report r = {
        .kind = NET_REFUSED, .id = id, .why = NET_WHY_OWN_ADDRESS, .naddresses = 1, .addresses = {*a}};
    net_free_link(n, id);
    net_report(n, &r);
}

void connect_begin(struct net *n, uint32_t id, uint64_t now)
{
    struct link *l = &n->links[id];
    while (l->tried < l->naddresses && now < l->deadline)
        if (try_one(n, id, &l->addresses[l->tried++]))
            return;
    if (l->own)
        refuse_own(n, id, &l->addresses[l->own - 1]);
    else
        net_refuse(n, id, l->why ? (enum net_why)l->why : NET_WHY_TIMEOUT);
}

void connect_event(struct net *n, uint32_t id, uint64_t now)
{
    struct link *l = &n->links[id];
    int e = 0;
    socklen_t size = sizeof e;
    if (getsockopt(l->sock, SOL_SOCKET, SO_ERROR, &e, &size) < 0)
        e = errno;
    union address peer;
    size = sizeof peer;
    if (!e && getpeername(l->sock, &peer.any, &size) < 0) {
        if (errno == ENOTCONN)
            return; /* not yet */
        e = errno;
    }
    if (!e) {
        connected(n, id);
        return;
    }
    l->why = why_of(e);
    connect_begin(n, id, now);
}
