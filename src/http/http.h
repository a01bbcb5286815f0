/* http: HTTP/1.1 in front of src/rest, on a loopback address and on the home's Unix socket.  Owns sockets and
 * connections (libmicrohttpd, its epoll descriptor nested in a loop of the service's); decides nothing that a route
 * decides.  Runs no thread of its own. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stddef.h>

#include "base/error.h"
#include "rest/rest.h"

struct http;

#define HTTP_DEFAULT_LISTEN "127.0.0.1:8642"

struct http_options {
    const char *listen; /* "127.0.0.1:8642", "[::1]:0", "localhost:0"; port 0: any free one */
};

int http_new(struct rest *rest, struct http **out, struct error *err);
/* Opens the Unix socket (removing a stale one: the caller's service holds the home), then the TCP port. Blocks. When it
 * fails: http_stop, service_close, http_free. */
int http_listen(struct http *h, const struct http_options *options, struct error *err);
const char *http_url(const struct http *h); /* "http://127.0.0.1:8642" */

/* Ending, in this order. None of it on a loop. */
void http_drain(struct http *h);        /* takes no new connection and, on those there are, no new request */
size_t http_busy(const struct http *h); /* requests under way */
void http_abandon(struct http *h);      /* cancels the calls of those */
void http_stop(struct http *h);         /* closes every connection; blocks */
void http_free(struct http *h);         /* after service_close: the loops are gone. NULL is fine */

#endif
