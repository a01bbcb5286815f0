/* http: HTTP/1.1 in front of src/rest, on a TCP address (TLS or not) and on the home's Unix socket.  Owns sockets,
 * connections and how long each may take (libmicrohttpd, its epoll descriptor nested in a loop of the service's);
 * decides nothing that a route decides.  Runs no thread of its own. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "rest/rest.h"

struct http;

#define HTTP_DEFAULT_LISTEN "127.0.0.1:8642"

/* What a client may take of the server.  0 anywhere: the default.  Each phase of a request has a time of its own, which
 * no trickle of bytes renews. */
struct http_limits {
    uint64_t head_ns; /* from a new connection to its first whole head, the TLS handshake included; 20 s */
    uint64_t idle_ns; /* from an answer to the next whole head; 60 s */
    uint64_t body_ns; /* for a body, and for an answer to be taken: this, and as long again as rate asks for; 30 s */
    uint64_t rate;    /* the least bytes a second, in either direction; 16 KiB */
    unsigned connections;  /* on TCP; 16384, or what descriptors allow */
    unsigned per_address;  /* 256; an IPv6 client is its /64. A loopback address has no such limit */
    unsigned access_every; /* one request in so many is logged; UINT_MAX: none; 100 */
};

struct http_options {
    const char *listen;     /* "127.0.0.1:8642", "[::1]:0", "localhost:0"; port 0: any free one */
    bool insecure;          /* addresses that are not loopback need TLS or this */
    bool development;       /* and are refused whatever they have */
    const char *cert, *key; /* PEM files of a certificate chain and its key: TLS 1.2 and later. NULL: none */
    int tcp_fd, unix_fd;    /* listening sockets that were inherited instead of made here; -1: none; taken */
    struct http_limits limits;
};
#define HTTP_OPTIONS ((struct http_options){.tcp_fd = -1, .unix_fd = -1})

int http_new(struct rest *rest, struct http **out, struct error *err);
/* Opens the Unix socket (removing a stale one: the caller's service holds the home), then the TCP port. Blocks. When it
 * fails: http_stop, service_close, http_free. */
int http_listen(struct http *h, struct http_options *options, struct error *err);
/* From now on, for phases and connections that begin then; `connections` stays. Any thread. */
void http_limit(struct http *h, const struct http_limits *limits);
const char *http_url(const struct http *h); /* "http://127.0.0.1:8642" */
/* Reads certificate and key again: new handshakes meet them, connections that stand keep theirs. On failure the old
 * ones stay. Any thread but a loop; blocks. 0 when there is no TLS. */
int http_reload(struct http *h, struct error *err);

/* Ending, in this order. None of it on a loop. */
void http_drain(struct http *h);        /* takes no new connection and, on those there are, no new request */
size_t http_busy(const struct http *h); /* requests under way */
void http_abandon(struct http *h);      /* cancels the calls of those */
void http_stop(struct http *h);         /* closes every connection; blocks */
void http_free(struct http *h);         /* after service_close: the loops are gone. NULL is fine */

#endif
