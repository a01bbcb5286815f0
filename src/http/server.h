/* http/server: the inside of the server, for src/http only. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http/http.h"

struct exchange;
struct tls;
struct tls_pair;

/* One connection, from accept to close; libmicrohttpd's socket context.  On the loop. */
struct connection {
    struct listener *listener;
    struct MHD_Connection *daemons;
    int fd;
    bool trusted;                    /* the home's owner or root, by the Unix socket */
    uint64_t until;                  /* when its phase is over; UINT64_MAX: it has all time */
    struct address *address;         /* NULL: not counted */
    struct connection *next, **link; /* of the listener's */
    struct rest_known known;         /* whose token came last */
};

#define ADDRESS_ROWS 1024
#define PATIENCE_NS (500 * NS_PER_US) /* a call that runs longer has its connection suspended */

/* One listening socket with its connections, on one loop. */
struct listener {
    struct http *http;
    struct loop *loop;
    struct MHD_Daemon *daemon; /* NULL: not running */
    uint64_t now;              /* when this run of the daemon began, monotonic */
    bool is_unix;
    struct loop_watch watch; /* of the daemon's epoll descriptor */
    struct loop_idle idle;
    struct loop_task kick;
    struct loop_timer tick; /* while there are connections */
    struct loop_timer look; /* while bodies come in chunks */
    struct connection *connections;
    size_t count, peak;                      /* of connections: now, and the most since memory was given back */
    struct address *addresses[ADDRESS_ROWS]; /* who has how many connections, by hash */
    uint64_t requests;                       /* since one was logged */
    bool must_run;                           /* the daemon has something to do */
    bool inside;                             /* it is being run just now */
    bool kicking;                            /* kick is linked in the loop, where it must not be linked twice */
    bool looks;                              /* behind the next run, at bodies in chunks */
    bool stopping;                           /* connections are given up */
    unsigned begun;                          /* calls, in this run of the daemon */
    unsigned crowd;       /* so many more calls, each alone, until they are taken for a single client's */
    size_t active;        /* requests that the daemon has something to do for: not those whose calls run */
    size_t waiting;       /* calls under way whose connections are not suspended */
    uint64_t patience_at; /* when those are looked at again */
    struct exchange *exchanges;
    struct exchange *spare; /* room of those that are over */
    unsigned nspare;
    struct rest_spares spares;
    _Atomic size_t busy;
};

/* As struct http_limits, without zeros. Atomic: http_limit changes them under the loops' hands. */
struct limits {
    _Atomic uint64_t head_ns, idle_ns, body_ns, rate, per_address, access_every;
    unsigned connections; /* fixed */
};
static inline uint64_t limit(const _Atomic uint64_t *one)
{
    return atomic_load_explicit(one, memory_order_relaxed);
}

struct http {
    struct rest *rest;
    struct listener unix_socket, tcp;
    char url[96];
    char hosts[3][72]; /* what a Host header may say on a loopback address, without the port; empty: anything */
    char port[8];      /* digits */
    bool loopback;     /* of tcp */
    bool made_socket;  /* the Unix socket is ours to remove */
    struct limits limits;
    struct tls *tls; /* NULL: none */
    _Atomic bool draining;
};

/* ---- listen.c ---- */
/* A listening socket for the options' address, or the one they bring; fills url, hosts, port and loopback of h. Or
 * -MOAT_E_X. */
int listen_tcp(struct http_options *options, struct http *h, struct error *err);
/* On path, mode 0600, however long the path is; what is there is removed first. Or -MOAT_E_X. */
int listen_unix(const char *path, struct error *err);
/* A connected socket, or -1 with errno. */
int connect_unix(const char *path);

/* ---- sound.c ---- */
/* Where the library keeps them: what lies between and behind them is looked at, too. */
bool sound_header(const char *name, size_t name_len, const char *value, size_t value_len);
bool sound_coding(const char *transfer_encoding);

/* ---- head.c ---- */
struct head {
    const char *accept, *accept_encoding, *asked_method, *authorization, *content_length, *content_type, *deadline,
        *expect, *host, *idempotency_key, *if_none_match, *last_event_id, *origin, *traceparent, *transfer;
    const char *authority; /* of a target in absolute form: it counts, not the header Host */
    const char *repeated;  /* the name of a header that came twice and must not */
    bool unsound;          /* one of them is none */
};
void head_read(struct MHD_Connection *connection, struct head *out);
/* The path and query of a target in whichever form; authority is cut out of it. */
char *head_take_host(struct head *head, char *target);
/* What makes it no request of ours: MOAT_E_BAD_REQUEST, MOAT_E_FORBIDDEN. */
int head_check(const struct listener *l, const struct head *head, const char *version, struct error *err);

/* ---- exchange.c: one request and its answer ---- */
enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                const char *version, const char *data, size_t *size, void **context);
void *exchange_new(void *cls, const char *target, struct MHD_Connection *connection);
void exchange_completed(void *cls, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode why);
/* At the bodies that come in chunks, right behind a run of the daemon: is there one that gets nowhere? */
void exchange_look_all(struct listener *l);
/* Behind the last request. */
void exchange_spares_free(struct listener *l);
/* On the loop: ends streams that only watch: all, for the server drains, or those whose token is no good any more. */
void exchange_end_watchers(struct listener *l, bool all);
/* On the loop: cancels what runs; when the listener is stopping its connections are taken back as well, for the daemon
 * cannot end with suspended ones. */
void exchange_abandon_all(struct listener *l);

/* ---- connection.c: who is connected, and for how long; on the loop ---- */
void connection_notify(void *cls, struct MHD_Connection *connection, void **context,
                       enum MHD_ConnectionNotificationCode what);
/* libmicrohttpd asks before it accepts. */
enum MHD_Result connection_admit(void *cls, const struct sockaddr *address, socklen_t len);
struct connection *connection_of(struct MHD_Connection *connection);
/* A phase begins: it may take ns, and as long as `bytes` need at the least rate. */
void connection_phase(struct connection *c, uint64_t ns, uint64_t bytes);
/* So many bytes more have come than the phase knew of. */
void connection_earned(struct connection *c, uint64_t bytes);
/* None: a call has its own deadline, and its client is watched. */
void connection_forever(struct connection *c);
/* Whatever it does: within a second it is closed, and its request is over. */
void connection_end(struct connection *c);
bool connection_is_ending(const struct connection *c);
void connection_tick(struct loop_timer *timer);

/* ---- tls.c ---- */
int tls_new(const char *cert, const char *key, struct tls **out, struct error *err);
void tls_free(struct tls *t); /* NULL is fine */
int tls_reload(struct tls *t, struct error *err);
/* Handshakes inside MHD_run on this thread take their certificate from t. */
void tls_here(struct tls *t);
extern const char tls_priorities[];
void *tls_chooser(void); /* MHD_OPTION_HTTPS_CERT_CALLBACK's function */

/* ---- compress.c ---- */
/* Does the client take gzip (an Accept-Encoding header), and is the answer worth it? */
bool compress_accepted(const char *header);
bool compress_worth(const struct rest_answer *a);
/* NULL without memory; else q is the response's. */
struct MHD_Response *compress_response(struct rest_request *q);

/* ---- server.c ---- */
void listener_init(struct listener *l, struct http *h, bool is_unix);
/* The daemon has to be run before the loop sleeps. On the loop. */
void listener_kick(struct listener *l);

#endif
