/* broker/net_internal: what the net*.c files share.  Everything is the loop's unless it says otherwise. */
#ifndef BROKER_NET_INTERNAL_H
#define BROKER_NET_INTERNAL_H

#include <stdatomic.h>

#include "broker/address.h"
#include "broker/ask.h"
#include "broker/net.h"

#define PLUGIN_NAME_MAX 64
#define REVOKE_LATE_NS (5 * NS_PER_S)

/* One ask on its way: from net_take to its answer. */
struct wish {
    struct loop_task begin, stop;
    struct net *net;
    struct question *ask;
    struct side *side;
    struct wish *next; /* in the side's line */
    bool begun, stopped, in_line, answered;
    int id; /* its link, or -1 */
    char object[POLICY_SCOPE_MAX];
    unsigned port, flags;
    bool literal;
    struct net_address address; /* of a literal */
};

/* What the host knows of the helper's link of the same id. */
enum near_state {
    NEAR_FREE,
    NEAR_RESOLVING,
    NEAR_CONNECTING,
    NEAR_OPEN,
    NEAR_CLOSING, /* CLOSE was sent: whatever comes before ENDED is old news */
    NEAR_STATES
};
struct near {
    enum near_state state;
    struct wish *wish; /* RESOLVING, CONNECTING */
    int end;           /* CONNECTING: the worker's, or -1 */
};

enum helper_state {
    HELPER_NONE,
    HELPER_STARTING, /* SETUP was sent */
    HELPER_UP,
    HELPER_ENDING /* it was told to leave, or is killed; what is asked meanwhile waits for the next one */
};

struct revoker {
    struct revoker *next;
    struct loop_task task;
    struct net *net;
    char plugin[PLUGIN_NAME_MAX];
    void (*done)(void *context, const struct error *error);
    void *context;
};

/* One plugin that has asked. It stays: a plugin's name does. */
struct side {
    struct side *next;
    struct net *net;
    char plugin[PLUGIN_NAME_MAX];
    enum helper_state state;
    struct child child;
    int control;
    struct loop_watch control_watch, status_watch;
    bool kill; /* as soon as its pidfd is known */
    struct near links[NET_CONNECTIONS];
    unsigned used; /* links that are not free */
    struct wish *line, **line_end;
    struct loop_timer timer; /* idle: it leaves; ending: it is late */
    struct revoker *revokers;
    double tokens; /* of connects_per_second */
    uint64_t tokens_ns;
};

struct net {
    struct net_config config;
    struct side *sides;
    _Atomic uint64_t connections, refused, bytes_in, bytes_out;
    _Atomic uint32_t open, helpers;
    _Atomic bool stops;
};

struct side *side_of(struct net *n, const char *plugin); /* made when there is none; NULL: no memory */

/* ---- net.c: a wish ---- */

void wish_go(struct wish *w);           /* a helper is up */
void wish_hand(struct wish *w, int fd); /* connected; fd stays the caller's */
void wish_fail(struct wish *w, enum moat_code code, const char *why);
/* The helper's addresses of its name: false: it was answered. */
bool wish_judge(struct wish *w, const struct net_address *a, uint32_t n, struct net_order *out);
void wish_own(struct wish *w, const struct net_address *a); /* one of this machine's, not named */

/* ---- net_helper.c: its helper ---- */

bool helper_start(struct side *s, struct error *err);
void helper_end(struct side *s, bool kill);
bool helper_order(struct side *s, struct net_order *o, int fd); /* version is filled in; false: it has gone */
int link_take(struct side *s);                                  /* a free id, or -1 */
void link_free(struct side *s, int id);
void link_close(struct side *s, int id); /* the helper is told; it is free when that has answered */
void link_connect(struct side *s, int id, struct net_order *o); /* to the addresses of o */
void links_end(struct side *s, enum moat_code code, const char *why);
void helper_rest(struct side *s); /* leaves when nothing comes for a while */
/* What it said, of so many bytes: hostile. */
void helper_report(struct side *s, const struct net_report *r, size_t len);
void helper_gone(struct side *s); /* its process has ended: so has all that was asked of it */

#endif
