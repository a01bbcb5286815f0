/* http/server: the inside of the server, for src/http only. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "http/http.h"

struct exchange;

/* One listening socket with its connections, on one loop. */
struct listener {
    struct http *http;
    struct loop *loop;
    struct MHD_Daemon *daemon; /* NULL: not running */
    bool is_unix;
    struct loop_watch watch; /* of the daemon's epoll descriptor */
    struct loop_idle idle;
    struct loop_task kick;
    bool must_run;  /* the daemon has something to do */
    bool inside;    /* it is being run just now */
    bool kicking;   /* kick is linked in the loop, where it must not be linked twice */
    bool stopping;  /* connections are given up */
    size_t waiting; /* calls under way whose connections are not suspended */
    struct exchange *exchanges;
    _Atomic size_t busy;
};

struct http {
    struct rest *rest;
    struct listener unix_socket, tcp;
    char url[96];
    char hosts[3][72]; /* what a Host header may say on TCP, without the port */
    unsigned port;
    _Atomic bool draining;
};

/* ---- listen.c ---- */
/* A listening socket for "ADDRESS:PORT", loopback only; fills url, hosts and port of h. Or -MOAT_E_X. */
int listen_tcp(const char *address, struct http *h, struct error *err);
/* On path, mode 0600, however long the path is; what is there is removed first. Or -MOAT_E_X. */
int listen_unix(const char *path, struct error *err);
/* A connected socket, or -1 with errno. */
int connect_unix(const char *path);

/* ---- exchange.c: one request and its answer ---- */
enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                const char *version, const char *data, size_t *size, void **context);
void *exchange_new(void *cls, const char *target, struct MHD_Connection *connection);
void exchange_completed(void *cls, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode why);
/* On the loop: cancels what runs; when the listener is stopping its connections are taken back as well, for the daemon
 * cannot end with suspended ones. */
void exchange_abandon_all(struct listener *l);

/* ---- server.c ---- */
void listener_init(struct listener *l, struct http *h, bool is_unix);
/* The daemon has to be run before the loop sleeps. On the loop. */
void listener_kick(struct listener *l);

#endif
