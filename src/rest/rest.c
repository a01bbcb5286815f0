#include "rest/rest.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "orchestrator/orchestrator.h"
#include "rest/request.h"

#define OPENAPI_MAX (4 << 20)

int rest_new(struct service *service, struct rest **out, struct error *err)
{
    struct rest *r = calloc(1, sizeof *r);
    if (r) {
        r->service = service;
        r->openapi = BUF_INIT(OPENAPI_MAX);
        pthread_mutex_init(&r->lock, NULL);
        r->runs = runs_new(service_loader(service));
        r->failures = failures_new();
        r->traffic = traffic_new();
    }
    if (!r || !r->runs || !r->failures || !r->traffic) {
        rest_free(r);
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the routes");
    }
    orchestrator_offer(service);
    *out = r;
    return 0;
}

void rest_free(struct rest *r)
{
    if (!r)
        return;
    runs_free(r->runs);
    failures_free(r->failures);
    traffic_free(r->traffic);
    buf_free(&r->openapi);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

struct service *rest_service(const struct rest *r)
{
    return r->service;
}

void rest_drain(struct rest *r)
{
    atomic_store(&r->draining, true);
    service_end_waits(r->service);
}

/* ---- beginning ---- */

#define SPARE_ROOM 256 /* of a target */
#define SPARES_MAX 64

static struct rest_request *room_new(struct rest_spares *spares, size_t len)
{
    struct rest_request *q = spares && len <= SPARE_ROOM ? spares->first : NULL;
    size_t room = len < SPARE_ROOM ? SPARE_ROOM : len;
    if (q) {
        spares->first = q->next_spare;
        spares->count--;
        q->next_spare = NULL;
    } else if ((q = malloc(sizeof *q + room))) {
        memset(q, 0, offsetof(struct rest_request, target));
    }
    if (q) {
        q->spares = spares;
        q->room = room;
    }
    return q;
}

/* What is kept is zero: whoever still had the request would meet NULL, and not the next one's. */
static void room_free(struct rest_request *q)
{
    struct rest_spares *spares = q->spares;
    if (!spares || q->room != SPARE_ROOM || spares->count == SPARES_MAX) {
        free(q);
        return;
    }
    memset(q, 0, offsetof(struct rest_request, target));
    q->next_spare = spares->first;
    spares->first = q;
    spares->count++;
}

void rest_spares_free(struct rest_spares *s)
{
    for (struct rest_request *q; (q = s->first);) {
        s->first = q->next_spare;
        free(q);
    }
    s->count = 0;
}

static struct rest_request *request_new(struct rest *r, const char *target, const struct rest_principal *who,
                                        struct rest_spares *spares)
{
    size_t len = strlen(target) + 1;
    struct rest_request *q = room_new(spares, len);
    if (!q)
        return NULL;
    q->target.nsegments = q->target.npairs = 0;
    memcpy(q->target_text, target, len);
    q->plugins[0] = '\0';
    if (who) {
        q->scopes = who->scopes;
        q->token = who->token;
        q->token_expires = who->expires;
        q->wait_ns = who->wait_ns;
        q->has_uid = who->has_uid;
        q->uid = who->uid;
        text_copy(q->plugins, sizeof q->plugins, who->plugins);
    }
    q->rest = r;
    q->file = q->found.fd = q->answer.file = -1;
    q->began_ns = clock_mono_ns();
    return q;
}

static void refuse(struct rest_request *q, const struct error *err)
{
    if (err->code == MOAT_E_METHOD_NOT_ALLOWED)
        request_allow(q);
    request_answer_error(q, err, NULL);
}

struct rest_request *rest_begin(struct rest *r, const struct rest_head *head)
{
    struct rest_request *q = request_new(r, head->target, &head->principal, head->spares);
    struct error err;
    if (!q)
        return NULL;
    int rc = origin_check(q, head, &err);
    if (rc == 0 && strcmp(head->method, "OPTIONS") == 0) {
        rc = origin_options(q, head, &err);
        if (rc == 0)
            return q;
    } else if (rc == 0) {
        rc = request_admit(q, head, &err);
    }
    if (rc < 0)
        refuse(q, &err);
    return q;
}

struct rest_request *rest_refuse(struct rest *r, const struct error *why)
{
    struct rest_request *q = request_new(r, "", NULL, NULL);
    if (q)
        request_answer_error(q, why, NULL);
    return q;
}

bool rest_answered(const struct rest_request *q)
{
    return q->answered;
}

/* ---- the body ---- */

static int take_body(struct rest_request *q, const void *bytes, size_t len, struct error *err)
{
    if (len > q->limit - q->received)
        return q->route->body == BODY_NONE
                   ? error_set(err, MOAT_E_BAD_REQUEST, "this route takes no body")
                   : error_set(err, MOAT_E_TOO_LARGE, "the body has more than the %llu bytes that are taken",
                               (unsigned long long)q->limit);
    q->received += len;
    if (q->file >= 0)
        return io_write_all(q->file, bytes, len)
                   ? 0
                   : error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot write the upload");
    return buf_put(&q->body, bytes, len) ? 0 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the body");
}

bool rest_body(struct rest_request *q, const void *bytes, size_t len)
{
    struct error err;
    if (q->answered)
        return false;
    if (take_body(q, bytes, len, &err) == 0)
        return true;
    request_answer_error(q, &err, NULL);
    return false;
}

static int read_body(struct rest_request *q, struct error *err)
{
    static const struct field none[] = {{0}};
    enum route_body kind = q->route->body;
    bool fields = kind == BODY_OBJECT || (kind == BODY_PACKAGE && q->file < 0);
    bool empty = kind == BODY_NONE && q->body.len;
    if (!fields && !empty)
        return 0;
    if (!q->body.data && !buf_reserve(&q->body, 1))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the body");
    const struct field *wanted = fields && q->route->fields ? q->route->fields : none;
    return route_read_fields(wanted, q->body.data, q->body.len, &q->json, err);
}

/* ---- running ---- */

/* What it begins is begun in the name of who asks, which the audit trail keeps. */
static void run_as(struct rest_request *q)
{
    char actor[32];
    call_make_id(q->id);
    request_actor(q, actor);
    service_act_as(*actor ? actor : NULL, q->id);
    q->route->handle(q);
    service_act_as(NULL, NULL);
}

void rest_run(struct rest_request *q, struct loop *loop, rest_done done, void *context)
{
    struct error err;
    q->loop = loop;
    q->done = done;
    q->context = context;
    if (q->answered)
        request_finish(q);
    else if (read_body(q, &err) < 0)
        request_fail_with(q, &err);
    else if (rest_is_call(q))
        q->route->handle(q);
    else
        run_as(q);
}

void rest_at_once(struct rest_request *q)
{
    q->at_once = true;
}

void rest_cancel(struct rest_request *q)
{
    if (q->calling)
        execute_cancel(q);
}

bool rest_is_call(const struct rest_request *q)
{
    return q->route && q->route->body == BODY_CALL && !q->stream;
}

void request_free(struct rest_request *q)
{
    io_close(&q->file);
    io_close(&q->found.fd);
    buf_free(&q->body);
    buf_free(&q->text);
    json_decref(q->json);
    free(q->metadata);
    free(q->result);
    free(q->origin);
    free(q->etag_known);
    stream_free(q->stream);
    follow_end(q->follow);
    log_follow_end(q->lines);
    batch_free(q->batch);
    room_free(q);
}

void rest_end(struct rest_request *q)
{
    if (!q)
        return;
    traffic_add(q->rest->traffic, q->route, q->code, clock_mono_ns() - q->began_ns);
    q->abandoned = true;
    if (q->calling)
        execute_cancel(q);
    else if (!q->working && !stream_is_posted(q->stream))
        request_free(q);
}

const struct rest_answer *rest_answer(const struct rest_request *q)
{
    return &q->answer;
}
