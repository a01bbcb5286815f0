/* broker/net: network_access.  Decides whether a plugin may have the connection that it asks for, lets the plugin's net
 * helper make it, and sees that nothing of it is left when the right is taken back.
 *
 *   the plugin's ask ──> its name allowed? ──> resolved by the helper ──> each address allowed? ──> connected by the
 *   helper, which has one end of a pair and relays ──> the other end handed to the worker
 *
 * One helper for each plugin that has connections: its counts and its rate are the plugin's, and its death is the end
 * of them all. It starts with the first ask and leaves when it has had nothing to do for a while.
 *
 * All of it lives on one loop; what says "any thread" posts there. Nothing here blocks. */
#ifndef BROKER_NET_H
#define BROKER_NET_H

#include "base/loop.h"
#include "sandbox/spawner.h"
#include "wire/ask.h"
#include "wire/net.h"

struct broker;
struct net;

/* What a plugin may use. */
struct net_limits {
    uint32_t connections;          /* at once; NET_CONNECTIONS at most */
    uint32_t connects_per_second;  /* and as many at once after a rest; 0: no cap */
    uint64_t bytes_per_second;     /* both ways together; 0: no cap */
    uint64_t connect_ns;           /* for a name's addresses, and again for the connection */
    uint64_t idle_ns;              /* a helper without a connection stays for so long */
    char servers[NET_SERVERS_MAX]; /* name servers, "ADDRESS[:PORT],…"; "": those of this machine */
};

struct net_config {
    struct loop *loop;
    struct net_limits limits;
    struct broker *broker; /* whose rights are asked */
    /* Of the helpers; on the loop. */
    struct spawner *(*spawner)(void *context);
    void *context;
};

int net_new(const struct net_config *config, struct net **out, struct error *err);
/* No connection is made from here on, and the end of helpers is no surprise. Any thread. */
void net_stop(struct net *n);
void net_free(struct net *n); /* the loop has stopped, every ask was answered; NULL is fine */

/* Ends every connection of the plugin, those that are being made included: when done is called none is left, nothing is
 * on its way any more, and what is asked from then on is judged by the rights of then.
 * MOAT_E_REVOKE_INCOMPLETE when the helper has not ended after 5 s. done runs on the loop. Any thread. */
void net_revoke(struct net *n, const char *plugin, void (*done)(void *context, const struct error *error),
                void *context);

/* Is this a list of name servers that helpers take? Pure. */
bool net_servers_check(const char *list);

/* What was connected so far. Any thread. */
struct net_totals {
    uint64_t connections, refused, bytes_in, bytes_out;
    uint32_t open, helpers;
};
void net_totals(struct net *n, struct net_totals *out);

#endif
