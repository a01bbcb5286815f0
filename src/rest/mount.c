/* libmoat's front door: the routes of the table under a server of the embedding program's own. */
#include <moat/moat.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/io.h"
#include "rest/rest.h"
#include "service/embed.h"

struct mounted {
    struct moat_rest_request *of;
    struct rest_request *q;
    void (*done)(struct moat_rest_request *request);
    struct moat_rest_header headers[REST_HEADERS_MAX];
    char *bytes;
};

static void *front_make(struct service *s)
{
    struct rest *r = NULL;
    return rest_new(s, &r, NULL) < 0 ? NULL : r;
}

static void front_free(void *front)
{
    rest_free(front);
}

/* ---- the answer ---- */

static char *copy_file(const struct rest_answer *a)
{
    char *bytes = malloc(a->len + 1);
    if (bytes && pread(a->file, bytes, a->len, 0) != (ssize_t)a->len) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

static char *copy_parts(const struct rest_answer *a)
{
    char *bytes = malloc(a->len + 1);
    size_t at = 0;
    for (size_t i = 0; bytes && i < a->nparts; at += a->parts[i++].len)
        memcpy(bytes + at, a->parts[i].bytes, a->parts[i].len);
    return bytes;
}

static void give(struct mounted *m)
{
    const struct rest_answer *a = rest_answer(m->q);
    struct moat_rest_request *r = m->of;
    m->bytes = a->file >= 0 ? copy_file(a) : copy_parts(a);
    if (m->bytes)
        m->bytes[a->len] = '\0';
    for (size_t i = 0; i < a->nheaders; i++)
        m->headers[i] = (struct moat_rest_header){a->headers[i].name, a->headers[i].value};
    r->status = m->bytes ? a->status : 503;
    r->answer_headers = m->headers;
    r->nanswer_headers = m->bytes ? a->nheaders : 0;
    r->answer = m->bytes ? m->bytes : "";
    r->answer_len = m->bytes ? a->len : 0;
}

static void request_done(struct rest_request *q, void *context)
{
    struct mounted *m = context;
    give(m);
    m->done(m->of);
}

/* ---- the request ---- */

static const char *header(const struct moat_rest_request *r, const char *name)
{
    for (size_t i = 0; i < r->nheaders; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return NULL;
}

/* "/moat/api/x" under "/moat" is "/api/x"; another's path is none of ours. */
static const char *inner_target(const struct moat_rest_request *r)
{
    size_t len = r->mount ? strlen(r->mount) : 0;
    bool under = strncmp(r->target, r->mount ? r->mount : "", len) == 0 && r->target[len] == '/';
    return under ? r->target + len : "/";
}

static struct rest_request *begin(struct rest *rest, const struct moat_rest_request *r)
{
    struct rest_head head = {.method = r->method,
                             .target = inner_target(r),
                             .content_length = r->body_len,
                             .content_type = header(r, "Content-Type"),
                             .deadline = header(r, "Moat-Deadline"),
                             .traceparent = header(r, "traceparent"),
                             .idempotency_key = header(r, "Idempotency-Key"),
                             .if_none_match = header(r, "If-None-Match"),
                             .in_one_piece = true,
                             .origin = header(r, "Origin"),
                             .asked_method = header(r, "Access-Control-Request-Method")};
    if (r->trusted)
        head.principal = (struct rest_principal){.scopes = REST_ADMIN, .has_uid = true, .uid = getuid()};
    else
        head.principal = rest_bearer(rest, header(r, "Authorization"));
    return rest_begin(rest, &head);
}

static int fail(struct moat_error *error, enum moat_code code, const char *message)
{
    if (error) {
        memset(error, 0, sizeof *error);
        error->code = code;
        strncpy(error->message, message, sizeof error->message - 1);
    }
    return code;
}

int moat_rest_begin(struct moat *moat, struct moat_rest_request *request, void (*done)(struct moat_rest_request *),
                    struct moat_error *error)
{
    if (request->size < sizeof *request || !request->method || !request->target)
        return fail(error, MOAT_E_BAD_USAGE, "set moat_rest_request.size, method and target");
    struct rest *rest = moat_front(moat, front_make, front_free);
    struct mounted *m = rest ? calloc(1, sizeof *m) : NULL;
    if (m && !(m->q = begin(rest, request))) {
        free(m);
        m = NULL;
    }
    if (!m)
        return fail(error, MOAT_E_OUT_OF_MEMORY, "no memory for the request");
    m->of = request;
    m->done = done;
    request->internal = m;
    if (request->body_len && !rest_answered(m->q))
        rest_body(m->q, request->body, request->body_len);
    rest_run(m->q, service_loop(rest_service(rest), 0), request_done, m);
    return MOAT_E_OK;
}

void moat_rest_end(struct moat_rest_request *request)
{
    struct mounted *m = request->internal;
    if (!m)
        return;
    request->internal = NULL;
    rest_end(m->q);
    free(m->bytes);
    free(m);
}
