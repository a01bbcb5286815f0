/* helper/net: duty "net": resolves names, connects, and relays between a TCP socket and one end of a Unix pair that the
 * host sent.  UNTRUSTED code: it decides nothing; which addresses it may connect to, the host says of each.
 *
 * One helper serves one plugin. Single thread, one epoll; nothing here blocks. */
#ifndef HELPER_NET_H
#define HELPER_NET_H

#include "wire/net.h"

/* argv[0]. Prepares, locks itself in, serves until the host quits or has gone; the exit status. */
int duty_net(const char *called);

/* ---- shared by the net_*.c files ---- */

#define NET_CHUNK (512u << 10) /* what is moved at once */

struct net;
struct query;

/* One way of a relay.  It owns memory only while something is left to be written. */
struct flow {
    int from, to;
    uint8_t *rest;    /* what was read and not yet written, owned; NULL: nothing */
    uint32_t at, len; /* of it */
    bool ended;       /* no more will come */
    bool done;        /* and the other side knows */
    uint64_t bytes;
};

enum link_state {
    LINK_FREE,
    LINK_RESOLVING,
    LINK_RESOLVED, /* the host has the addresses and says which */
    LINK_CONNECTING,
    LINK_OPEN
};

struct link {
    enum link_state state;
    uint32_t turn;       /* of this slot: events of an earlier one are not this one's */
    int pair, sock;      /* owned; -1 */
    uint64_t deadline;   /* RESOLVING, CONNECTING: monotonic ns */
    struct query *query; /* RESOLVING */
    struct net_address addresses[NET_ADDRESSES_MAX];
    uint32_t naddresses, tried;
    uint32_t own; /* 1 + the one that is this machine's and not named; 0: none was */
    uint16_t port;
    uint32_t why;        /* CONNECTING: of the last address */
    struct flow out, in; /* from the plugin; to it */
    bool hung_up;        /* the plugin has closed its end */
    bool waits;          /* for its turn: bytes were left when its share was used up */
};

struct net {
    int control, epoll;
    bool set_up, over;
    struct resolver *resolver;
    struct link links[NET_CONNECTIONS];
    uint8_t *chunk; /* of NET_CHUNK: what is moved passes through here */
    uint64_t rate;  /* bytes a second; 0: no cap */
    double tokens;
    uint64_t tokens_at;
};

enum net_source { SOURCE_CONTROL = 1, SOURCE_RESOLVER, SOURCE_SOCK, SOURCE_PAIR };

bool net_watch(struct net *n, int fd, enum net_source source, uint32_t id, uint32_t events);
void net_report(struct net *n, const struct net_report *r); /* version is filled in */
void net_refuse(struct net *n, uint32_t id, enum net_why why);
void net_free_link(struct net *n, uint32_t id); /* closes what it has */

/* ---- net_resolve.c ---- */

struct resolver *resolver_new(struct net *n); /* before the lock: it reads which name servers there are */
bool resolver_servers(struct resolver *r, const char *list);
/* Begins; answers by resolver_answered, perhaps before it returns. */
void resolver_ask(struct resolver *r, uint32_t id, const char *name);
void resolver_forget(struct query *q); /* nobody waits for it any more */
void resolver_event(struct resolver *r, int fd, uint32_t events);
int resolver_timeout(struct resolver *r); /* ms, -1: none; also lets it look at its clock */
/* net.c */
void resolver_answered(struct net *n, uint32_t id, const struct net_address *a, uint32_t count, enum net_why why);

/* ---- net_connect.c ---- */

void connect_begin(struct net *n, uint32_t id, uint64_t now); /* the next address, or the refusal */
void connect_event(struct net *n, uint32_t id, uint64_t now);

/* ---- net_relay.c ---- */

void relay_begin(struct net *n, uint32_t id);
void flow_clear(struct flow *f); /* what is left of it is thrown away */
void relay_event(struct net *n, uint32_t id, enum net_source source, uint32_t events);
void relay_turns(struct net *n, uint64_t now); /* those that wait */
int relay_timeout(struct net *n, uint64_t now);

#endif
