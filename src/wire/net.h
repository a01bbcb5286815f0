/* wire/net: what the host and a net helper say to each other.  One packet of exactly its struct's size each, unused
 * bytes zero; anything else is refused by whoever reads it.  docs/network.md draws the order.
 *
 *   host    SETUP     CONNECT(id, address…, one end of a pair)                             CLOSE(id)
 *                     RESOLVE(id, name) ──> CONNECT(id, …)                                 QUIT
 *   helper  READY     RESOLVED(id, address…)    CONNECTED(id) or REFUSED(id, why)          ENDED(id, bytes)
 *
 * The host makes the pair and sends one of its ends: a helper never hands anything to a plugin. */
#ifndef WIRE_NET_H
#define WIRE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Goes up with every change of this file. */
#define NET_VERSION 0x4d4e0001u

#define NET_HOST_MAX 256     /* with its 0 */
#define NET_SERVERS_MAX 256  /* with its 0 */
#define NET_ADDRESSES_MAX 8  /* of one name that are looked at */
#define NET_CONNECTIONS 128u /* of one helper at most: ids are below */

enum net_family { NET_V4 = 4, NET_V6 = 6 };

struct net_address {
    uint8_t family; /* enum net_family */
    uint8_t named;  /* the operator named it: it may be a private one, or this machine itself */
    uint8_t bytes[16];
};

enum net_order_kind { NET_SETUP = 1, NET_RESOLVE, NET_CONNECT, NET_CLOSE, NET_QUIT, NET_ORDERS };

/* Host to helper.  CONNECT comes with one descriptor, the others with none. */
struct net_order {
    uint32_t version, kind;
    uint32_t id; /* RESOLVE, CONNECT, CLOSE */
    uint32_t port;
    uint32_t timeout_ms; /* RESOLVE, CONNECT: then it is refused */
    uint32_t naddresses;
    struct net_address addresses[NET_ADDRESSES_MAX]; /* CONNECT: in the order in which they are tried */
    uint64_t bytes_per_second;                       /* SETUP: of all connections both ways; 0: no cap */
    char text[NET_HOST_MAX];                         /* RESOLVE: the name; SETUP: name servers, or "" */
};

enum net_report_kind { NET_READY = 1, NET_RESOLVED, NET_CONNECTED, NET_REFUSED, NET_ENDED, NET_REPORTS };

/* Why there is no connection. docs/network.md and moat/plugin.h have the words. */
#define NET_WHYS(X) \
    X(NONE, "", "") \
    X(NO_SUCH_HOST, "no_such_host", "the name has no address") \
    X(NO_NAME_SERVER, "no_name_server", "no name server answered") \
    X(REFUSED, "connection_refused", "nobody listens there") \
    X(UNREACHABLE, "unreachable", "there is no way there") \
    X(TIMEOUT, "timeout", "it did not answer in time") \
    X(OWN_ADDRESS, "own_address", "the address is this machine's own, which has to be named") \
    X(CLOSED, "closed", "it was closed") \
    X(NO_ROOM, "no_room", "the helper has no memory or no descriptor left")

enum net_why {
#define X(id, name, text) NET_WHY_##id,
    NET_WHYS(X)
#undef X
        NET_WHY_COUNT,
};

/* Helper to host. */
struct net_report {
    uint32_t version, kind;
    uint32_t id;  /* all but READY */
    uint32_t why; /* REFUSED: enum net_why */
    uint32_t naddresses;
    struct net_address addresses[NET_ADDRESSES_MAX]; /* RESOLVED: at least one; CONNECTED: the one; OWN_ADDRESS: it */
    uint64_t bytes_out, bytes_in;                    /* ENDED: from the plugin, to the plugin */
};

/* What a worker asks of the host for a connection (wire/ask.h): this, and behind it the host's name or address. */
struct net_wish {
    uint16_t port, flags;
};
#define NET_WISH_NONBLOCK 1u

/* Of what came in one packet with so many descriptors: NULL, or what is wrong with it whatever came before. */
const char *net_order_fault(const struct net_order *o, size_t len, size_t nfds);
const char *net_report_fault(const struct net_report *r, size_t len);

const char *net_why_name(uint32_t why); /* "" for one that there is not */
const char *net_why_text(uint32_t why);

#endif
