/* rest: the one front door.  Owns the table of routes and every request from its head to its answer; knows no socket
 * and no terminal.  The HTTP server, the Unix socket, the command line without a server and an embedding program all
 * come through here, so that who may do what is decided once.
 *
 *     q = rest_begin(rest, &head);                       refused already, or wants a body, or not
 *     while (more) rest_body(q, bytes, len);             in memory or to a file, as the route says
 *     rest_run(q, loop, done, context);                  done: rest_answer(q) is complete
 *     rest_end(q);
 *
 * Threads: a request belongs to one thread until rest_run, and to its loop's thread from then on. */
#ifndef REST_REST_H
#define REST_REST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/loop.h"
#include "service/service.h"

struct rest; /* the table, bound to one service; immutable but for draining */

int rest_new(struct service *service, struct rest **out, struct error *err);
void rest_free(struct rest *r); /* every request has ended; NULL is fine */
struct service *rest_service(const struct rest *r);

/* The server has begun: tasks that another end left unfinished go on. Blocks. */
int rest_resume(struct rest *r, struct error *err);
/* From now on new requests but health are answered `draining`. Any thread. */
void rest_drain(struct rest *r);

/* ---- who asks ---- */

enum rest_scope {
    REST_OPEN = 0, /* nothing is needed */
    REST_EXECUTE = SCOPE_EXECUTE,
    REST_READ = SCOPE_READ,
    REST_MANAGE = SCOPE_MANAGE,
    REST_ADMIN = SCOPE_ADMIN,                  /* everything */
    REST_TASKS = SCOPE_EXECUTE | SCOPE_MANAGE, /* one of both; the route looks further */
};

/* What the transport found out. No scope at all: nobody, who is asked for a token. */
struct rest_principal {
    uint32_t scopes;  /* of enum rest_scope */
    int64_t token;    /* its id; 0: none, the transport vouches */
    uint64_t expires; /* the token: seconds; 0: never */
    uint64_t wait_ns; /* 0, or how long the token has to wait for its next request */
    bool has_uid;     /* for this user of the machine: */
    uint32_t uid;
    char plugins[SERVICE_SCOPES_MAX]; /* with REST_EXECUTE: "*" or names with a space before and behind each */
};

/* From the value of an Authorization header, or NULL: once for each request, for it counts. Any thread, no SQL. */
struct rest_principal rest_bearer(struct rest *r, const char *authorization);

/* Who a connection's last header named, in the connection's memory: zeroed at first, wiped in the end by its owner. */
#define REST_KNOWN_MAX 96
struct rest_known {
    uint64_t epoch, second; /* what it was found in: looked up again in another */
    size_t len;             /* 0: nobody */
    char header[REST_KNOWN_MAX];
    struct rest_principal who;
};
/* As rest_bearer; the same header again is not looked up again within a second, unless a token was revoked meanwhile.
 * What is returned is valid until known is used again. */
const struct rest_principal *rest_bearer_known(struct rest *r, struct rest_known *known, const char *authorization);

/* ---- a request ---- */

struct rest_request;

#define REST_LENGTH_UNKNOWN UINT64_MAX

/* Room of requests that are over, for the next ones: a transport's, one for each of its loops, whose thread alone
 * begins and ends requests with it. Zero at first; rest_spares_free behind the last request. */
struct rest_spares {
    struct rest_request *first;
    unsigned count;
};
void rest_spares_free(struct rest_spares *s);

/* Texts are looked at during rest_begin only. */
struct rest_head {
    const char *method; /* "GET" */
    const char *target; /* "/api/plugins/info/x?limit=3", as it was sent */
    struct rest_principal principal;
    struct rest_spares *spares; /* NULL: none */
    uint64_t content_length;    /* 0: no body; REST_LENGTH_UNKNOWN: one of unknown length */
    /* Headers; NULL: not there. */
    const char *content_type, *deadline, *traceparent, *accept, *idempotency_key, *if_none_match, *last_event_id;
    const char *origin;       /* of a web page that asks: refused unless the setting `cors_origins` names it */
    bool in_one_piece;        /* the transport takes no stream */
    const char *asked_method; /* Access-Control-Request-Method: with `origin` and OPTIONS, a browser's preflight */
};

/* NULL only without memory. */
struct rest_request *rest_begin(struct rest *r, const struct rest_head *head);
/* A request that the transport itself refuses, answered in the one shape. */
struct rest_request *rest_refuse(struct rest *r, const struct error *why);

/* true: answered already (refused); a body that still comes is to be thrown away. */
bool rest_answered(const struct rest_request *q);
/* The next bytes of the body. false: refused and answered now. May write to a file. */
bool rest_body(struct rest_request *q, const void *bytes, size_t len);

/* The whole body was given, or the request is answered already. done is called once, on the loop's thread; when that is
 * the caller's, perhaps before this returns. */
typedef void (*rest_done)(struct rest_request *q, void *context);
void rest_run(struct rest_request *q, struct loop *loop, rest_done done, void *context);
/* Before rest_run: nothing else comes in this turn of the loop with which the call could share its way to the plugin
 * and back. */
void rest_at_once(struct rest_request *q);
/* Nobody waits for it any more: a call is cancelled, unless it has an Idempotency-Key and its client may come back for
 * the answer; anything else runs to its end. done still comes. On the loop's thread, between rest_run and done. */
void rest_cancel(struct rest_request *q);
/* Is it a plugin's action, which mostly ends within microseconds? */
bool rest_is_call(const struct rest_request *q);

/* Not between rest_run and done. Gives back all that the request holds: a body half received leaves nothing; a call
 * whose stream was not read to its end is cancelled. On the loop's thread when it was run. */
void rest_end(struct rest_request *q);

/* ---- its answer ---- */

#define REST_HEADERS_MAX 12

struct rest_answer {
    int status;
    struct {
        const char *name, *value;
    } headers[REST_HEADERS_MAX]; /* Content-Type among them */
    size_t nheaders;
    struct {
        const void *bytes;
        size_t len;
    } parts[3]; /* of the body, in order */
    size_t nparts, len;
    int file;    /* or the body is this file from its start, len bytes; -1: the parts. The request closes it */
    bool stream; /* instead of parts: rest_stream_read gives the body */
};

/* Valid from done (or rest_answered) to rest_end. */
const struct rest_answer *rest_answer(const struct rest_request *q);

/* Of a stream, on the loop's thread: the number of bytes put into room, 0: none now, `more` comes when there are, or
 * REST_STREAM_END. `more` is called on the loop's thread, never from inside rest_stream_read. */
#define REST_STREAM_END (-1)
void rest_stream_on_more(struct rest_request *q, void (*more)(struct rest_request *q, void *context));
long rest_stream_read(struct rest_request *q, void *room, size_t size);

/* Is it a stream that only watches what goes on without it, perhaps for hours? It need not be waited for. */
bool rest_watches(const struct rest_request *q);
/* Is it such a stream, of a token that was revoked meanwhile or has expired? Its next read ends it. On the loop. */
bool rest_has_outlived(struct rest_request *q);

/* The result inside a successful document: false when it is not one of ours. */
bool rest_unwrap(const char *document, size_t len, const char **result, size_t *result_len);

/* ---- its documentation ---- */

/* docs/api.md, from the table that routes. */
bool rest_document(struct buf *out);
/* /openapi.json, from the same table: OpenAPI 3.1. */
bool rest_openapi(struct buf *out);

#endif
