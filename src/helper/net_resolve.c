/* Names: c-ares, which asks the name servers that resolv.conf (read before the lock) or the host's setting says.  No
 * search domains, no host file: a name stands for what the name servers say of exactly that name. */
#include <ares.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "helper/net.h"

#define TRY_MS 2000
#define TRIES 2
#define QUERIES_MAX 256 /* those that nobody waits for any more included */

struct resolver {
    struct net *net;
    ares_channel channel;
    unsigned queries;
};

struct query {
    struct resolver *resolver;
    uint32_t id;
    bool forgotten;
};

/* The resolver's sockets come and go. */
static void watch(void *context, ares_socket_t fd, int readable, int writable)
{
    struct net *n = ((struct resolver *)context)->net;
    struct epoll_event e = {.events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0)};
    e.data.u64 = (uint64_t)SOURCE_RESOLVER << 56 | (uint32_t)fd;
    if (!e.events)
        epoll_ctl(n->epoll, EPOLL_CTL_DEL, fd, &e);
    else if (epoll_ctl(n->epoll, EPOLL_CTL_MOD, fd, &e) < 0)
        epoll_ctl(n->epoll, EPOLL_CTL_ADD, fd, &e);
}

struct resolver *resolver_new(struct net *n)
{
    struct resolver *r = calloc(1, sizeof *r);
    struct ares_options options = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_STAYOPEN,
                                   .timeout = TRY_MS,
                                   .tries = TRIES,
                                   .lookups = (char[]){"b"},
                                   .sock_state_cb = watch,
                                   .sock_state_cb_data = r};
    if (!r)
        return NULL;
    r->net = n;
    if (ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS &&
        ares_init_options(&r->channel, &options,
                          ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                              ARES_OPT_SOCK_STATE_CB) == ARES_SUCCESS)
        return r;
    free(r);
    return NULL;
}

bool resolver_servers(struct resolver *r, const char *list)
{
    return ares_set_servers_ports_csv(r->channel, list) == ARES_SUCCESS;
}

/* ---- answers ---- */

static enum net_why why_of(int status)
{
    switch (status) {
    case ARES_ETIMEOUT:
        return NET_WHY_TIMEOUT;
    case ARES_ECONNREFUSED:
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
    case ARES_ENOTINITIALIZED:
        return NET_WHY_NO_NAME_SERVER;
    case ARES_ENOMEM:
        return NET_WHY_NO_ROOM;
    default:
        return NET_WHY_NO_SUCH_HOST;
    }
}

static bool take(const struct ares_addrinfo_node *node, struct net_address *out)
{
    *out = (struct net_address){0};
    if (node->ai_family == AF_INET) {
        out->family = NET_V4;
        memcpy(out->bytes, &((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr, 4);
    } else if (node->ai_family == AF_INET6) {
        out->family = NET_V6;
        memcpy(out->bytes, &((const struct sockaddr_in6 *)(const void *)node->ai_addr)->sin6_addr, 16);
    }
    return out->family != 0;
}

static void answered(void *context, int status, int timeouts, struct ares_addrinfo *info)
{
    struct query *q = context;
    struct resolver *r = q->resolver;
    struct net_address a[NET_ADDRESSES_MAX];
    uint32_t count = 0;
    bool forgotten = q->forgotten;
    uint32_t id = q->id;
    free(q);
    r->queries--;
    for (const struct ares_addrinfo_node *node = info ? info->nodes : NULL; node && count < NET_ADDRESSES_MAX;
         node = node->ai_next)
        count += take(node, &a[count]);
    if (info)
        ares_freeaddrinfo(info);
    if (!forgotten)
        resolver_answered(r->net, id, a, count,
                          status != ARES_SUCCESS ? why_of(status)
                          : count                ? NET_WHY_NONE
                                                 : NET_WHY_NO_SUCH_HOST);
}

void resolver_ask(struct resolver *r, uint32_t id, const char *name)
{
    static const struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT};
    struct query *q = r->queries < QUERIES_MAX ? malloc(sizeof *q) : NULL;
    if (!q) {
        resolver_answered(r->net, id, NULL, 0, NET_WHY_NO_ROOM);
        return;
    }
    *q = (struct query){.resolver = r, .id = id};
    r->queries++;
    r->net->links[id].query = q;
    ares_getaddrinfo(r->channel, name, NULL, &hints, answered, q);
}

void resolver_forget(struct query *q)
{
    q->forgotten = true;
}

/* ---- the wait ---- */

void resolver_event(struct resolver *r, int fd, uint32_t events)
{
    bool failed = events & (EPOLLERR | EPOLLHUP);
    ares_process_fd(r->channel, failed || events & EPOLLIN ? fd : ARES_SOCKET_BAD,
                    events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
}

int resolver_timeout(struct resolver *r)
{
    struct timeval most = {.tv_sec = 3600}, out;
    if (!r->queries)
        return -1;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (!r->queries)
        return -1;
    const struct timeval *t = ares_timeout(r->channel, &most, &out);
    return (int)(t->tv_sec * 1000 + t->tv_usec / 1000 + 1);
}
