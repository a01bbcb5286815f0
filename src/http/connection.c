/* Connections: who is there, and how long each phase of theirs may take.
 *
 * libmicrohttpd's own timeout starts again with every byte, so that a client with a byte a second would live for ever.
 * Here a phase has an end from its beginning on; a tick looks through all connections once in a while, which costs less
 * than a timer moved at every request. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/server.h"

#define TICK_NS NS_PER_S
#define CROWD 500
#define TICKS_PER_HEAD 8 /* short times, as tests have them, are kept as well */

struct connection *connection_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

void connection_phase(struct connection *c, uint64_t ns, uint64_t bytes)
{
    c->until = c->listener->now + ns;
    connection_earned(c, bytes);
}

void connection_earned(struct connection *c, uint64_t bytes)
{
    uint64_t rate = limit(&c->listener->http->limits.rate);
    c->until += bytes / rate * NS_PER_S + bytes % rate * NS_PER_S / rate;
}

void connection_forever(struct connection *c)
{
    c->until = UINT64_MAX;
}

/* The daemon sees that the socket was shut down; unless its descriptor was not watched since it was resumed, and what
 * came fills the room: then its own timeout, the shortest there is, ends it. */
void connection_end(struct connection *c)
{
    shutdown(c->fd, SHUT_RDWR);
    MHD_set_connection_option(c->daemons, MHD_CONNECTION_OPTION_TIMEOUT, 1u);
    connection_forever(c);
    listener_kick(c->listener);
}

/* While its body comes: a phase that always has an end. */
bool connection_is_ending(const struct connection *c)
{
    return c->until == UINT64_MAX;
}

/* ---- addresses ---- */

struct address {
    struct address *next;
    unsigned char key[16];
    unsigned count;
};

/* An IPv4 client is its address; an IPv6 one is its network, of whose addresses it has as many as it likes. false: no
 * limit is kept for it. */
static bool address_key(const struct sockaddr *a, unsigned char key[16])
{
    memset(key, 0, 16);
    if (a->sa_family == AF_INET) {
        uint32_t ip = ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr;
        memcpy(key + 12, &ip, 4);
        return ntohl(ip) >> 24 != 127;
    }
    if (a->sa_family != AF_INET6)
        return false;
    const struct in6_addr *ip = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(ip)) {
        memcpy(key + 12, ip->s6_addr + 12, 4);
        return key[12] != 127;
    }
    memcpy(key, ip->s6_addr, 8);
    return !IN6_IS_ADDR_LOOPBACK(ip);
}

static struct address **address_find(struct listener *l, const unsigned char key[16])
{
    uint32_t hash = 2166136261u;
    for (int i = 0; i < 16; i++)
        hash = (hash ^ key[i]) * 16777619u;
    struct address **link = &l->addresses[(hash ^ hash >> 16) % ADDRESS_ROWS];
    while (*link && memcmp((*link)->key, key, 16) != 0)
        link = &(*link)->next;
    return link;
}

enum MHD_Result connection_admit(void *cls, const struct sockaddr *address, socklen_t len)
{
    struct listener *l = cls;
    unsigned char key[16];
    if (l->is_unix || !address_key(address, key))
        return MHD_YES;
    const struct address *a = *address_find(l, key);
    return !a || a->count < limit(&l->http->limits.per_address) ? MHD_YES : MHD_NO;
}

static struct address *address_take(struct listener *l, const struct sockaddr *address)
{
    unsigned char key[16];
    if (!address_key(address, key))
        return NULL;
    struct address **link = address_find(l, key);
    if (!*link) {
        struct address *a = calloc(1, sizeof *a);
        if (!a)
            return NULL;
        memcpy(a->key, key, 16);
        *link = a;
    }
    (*link)->count++;
    return *link;
}

static void address_give(struct listener *l, struct address *a)
{
    if (!a || --a->count)
        return;
    struct address **link = address_find(l, a->key);
    *link = a->next;
    free(a);
}

/* ---- beginning and end ---- */

static bool is_trusted_peer(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}

static uint64_t tick_span(const struct listener *l)
{
    uint64_t span = limit(&l->http->limits.head_ns) / TICKS_PER_HEAD;
    return span < TICK_NS ? span : TICK_NS;
}

static struct connection *connection_new(struct listener *l, struct MHD_Connection *connection)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->listener = l;
    c->daemons = connection;
    c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    /* The peer of the Unix socket, looked at once per connection: the home's owner and root are admin. */
    c->trusted = l->is_unix && is_trusted_peer(c->fd);
    if (!l->is_unix)
        c->address =
            address_take(l, MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
    connection_phase(c, limit(&l->http->limits.head_ns), 0);
    c->next = l->connections;
    c->link = &l->connections;
    if (c->next)
        c->next->link = &c->next;
    l->connections = c;
    if (++l->count > l->peak)
        l->peak = l->count;
    if (!l->tick.slot)
        loop_timer_set(l->loop, &l->tick, clock_mono_ns() + tick_span(l));
    return c;
}

static void connection_free(struct connection *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->listener->count--;
    address_give(c->listener, c->address);
    explicit_bzero(&c->known, sizeof c->known);
    free(c);
}

void connection_notify(void *cls, struct MHD_Connection *connection, void **context,
                       enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = connection_new(cls, connection); /* without memory its requests are refused */
    } else if (*context) {
        /* Who waits for room is accepted by the run after the one that made it. */
        ((struct connection *)*context)->listener->must_run = true;
        connection_free(*context);
        *context = NULL;
    }
}

/* After a crowd: what its connections took is free, but still the process's. */
static void give_back(struct listener *l)
{
    if (l->peak < CROWD || l->count > l->peak / 4)
        return;
    l->peak = l->count;
    service_give_back(rest_service(l->http->rest));
}

void connection_tick(struct loop_timer *timer)
{
    struct listener *l = (struct listener *)((char *)timer - offsetof(struct listener, tick));
    uint64_t now = clock_mono_ns();
    for (struct connection *c = l->connections; c; c = c->next) {
        if (now >= c->until)
            connection_end(c);
    }
    exchange_end_watchers(l, false);
    give_back(l);
    if (l->connections && l->daemon)
        loop_timer_set(l->loop, &l->tick, now + tick_span(l));
}
