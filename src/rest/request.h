/* rest/request: the inside of a request, for src/rest only. */
#ifndef REST_REQUEST_H
#define REST_REQUEST_H

#include <jansson.h>
#include <stdatomic.h>

#include "rest/failures.h"
#include "rest/rest.h"
#include "rest/route.h"
#include "rest/run.h"
#include "rest/traffic.h"

struct rest {
    struct service *service;
    _Atomic bool draining;
    struct runs *runs;
    struct failures *failures;
    struct traffic *traffic;
    pthread_mutex_t lock; /* of openapi */
    struct buf openapi;   /* made when it is first asked for */
};

struct stream;
struct batch;

struct rest_request {
    struct rest *rest;
    struct rest_spares *spares;
    struct rest_request *next_spare; /* of those that are over */
    size_t room;                     /* of target_text */
    const struct route *route;
    const char *params[ROUTE_PARAMS]; /* "{name}" and what follows, decoded */
    uint64_t deadline_ns;             /* Moat-Deadline; 0: none */
    uint64_t began_ns;                /* monotonic */
    int64_t token;                    /* who asks */
    uint64_t token_expires, token_seen;
    uint64_t wait_ns; /* it may not yet */
    uint32_t scopes, uid;
    bool has_uid;
    char id[33];         /* of what is not a call: made when it runs */
    enum moat_code code; /* of the answer */
    char traceparent[56];

    struct buf body; /* in memory */
    int file;        /* or here: a file without a name in the home's incoming; -1: none */
    uint64_t received, limit;
    json_t *json;       /* BODY_OBJECT and BODY_PACKAGE as JSON: the fields */
    char path[32];      /* of `file`, for the service */
    char *metadata;     /* of an installation, as JSON; from jansson's allocator */
    const char *called; /* what messages call `file` */

    struct loop *loop;
    rest_done done;
    void *context;
    struct loop_task task;
    bool answered, calling, at_once;
    bool working; /* a task whose events are told: not freed until that is done, as with calling */
    bool in_one_piece;
    bool wants_events;        /* of a route that can tell them, and of a transport that takes them */
    bool abandoned;           /* ended by the transport while its call still runs: freed when that is done */
    struct stream *stream;    /* NULL: the answer comes in one piece */
    struct follow *follow;    /* or from here */
    struct log_follow *lines; /* or here */
    void (*follow_more)(struct rest_request *q, void *context);
    char last_event[40]; /* Last-Event-ID, or "" */
    struct batch *batch;
    char *origin;     /* of a page that is let in, or NULL */
    char *etag_known; /* If-None-Match, or NULL */

    struct rest_answer answer;
    struct service_file found; /* what a route answers with, when that is a file */
    char disposition[160];
    struct buf text; /* the answer's bytes, when they are ours */
    uint8_t *result; /* or the service's and the plugin's */
    char allow[64], etag[40], retry_after[24];
    char key[RUN_KEY_MAX + 1]; /* Idempotency-Key, or "" */

    /* Not zeroed at the start of every request. */
    struct uri target;
    char plugins[SERVICE_SCOPES_MAX]; /* with REST_EXECUTE: those of the token */
    char receipt[512];                /* Moat-Receipt */
    struct run run;                   /* set up by execute */
    char target_text[];
};

static inline struct service *request_service(const struct rest_request *q)
{
    return q->rest->service;
}

/* ---- what came ---- */
const char *request_query(const struct rest_request *q, const char *key); /* NULL: not there */
/* One that the route's fields have checked; 0 when it is not there. */
uint64_t request_number(const struct rest_request *q, const char *key);
/* Of the JSON body when there is one, else of the query. */
const char *request_text(const struct rest_request *q, const char *key);
bool request_flag(const struct rest_request *q, const char *key);

/* ---- the answer: exactly one of these, once; then the request is done ---- */

/* Any thread: the service's completions. */
void request_complete(void *context, const struct error *error, struct buf *result);
/* On the thread of rest_run or of the loop. */
__attribute__((format(printf, 3, 4))) void request_fail(struct rest_request *q, enum moat_code code, const char *format,
                                                        ...);
void request_fail_with(struct rest_request *q, const struct error *err);

/* Fills the answer without telling anybody; id NULL: a fresh one. */
void request_answer_error(struct rest_request *q, const struct error *err, const char *id);
void request_answer_header(struct rest_request *q, const char *name, const char *value);
void request_answer_part(struct rest_request *q, const void *bytes, size_t len);
void request_result(struct rest_request *q, uint8_t *result, size_t len); /* success; takes result, from malloc */
/* Completes a route that answers with q->found, bare. Any thread. */
void request_complete_file(void *context, const struct error *error, struct buf *result);
/* Success as it is, without the envelope; takes the bytes. media stays. */
void request_bare(struct rest_request *q, const char *media, uint8_t *bytes, size_t len);
void request_finish(struct rest_request *q); /* calls done */
void request_free(struct rest_request *q);

bool request_is_key(const char *text); /* an Idempotency-Key */

/* ---- admit.c ---- */
/* Route, right, query, the headers that count, room for the body. Or -MOAT_E_X, and it is to be refused. */
int request_admit(struct rest_request *q, const struct rest_head *head, struct error *err);

/* ---- origin.c: requests of web pages, and OPTIONS ---- */

/* Is the page that asks, if it is one, let in? MOAT_E_FORBIDDEN. */
int origin_check(struct rest_request *q, const struct rest_head *head, struct error *err);
/* Answers OPTIONS, a browser's preflight or anybody's. */
int origin_options(struct rest_request *q, const struct rest_head *head, struct error *err);
void request_allow(struct rest_request *q); /* the header Allow, of the path */

void request_actor(const struct rest_request *q, char out[32]); /* of the audit trail; "" when nobody is known */

/* bearer.c: is who asked still let in? Of what goes on long after it was asked for. */
bool request_is_let_in(struct rest_request *q);
/* May this token run that plugin's actions? */
bool request_may_execute(const struct rest_request *q, const char *plugin);
/* MOAT_E_FORBIDDEN, with the scope that was missing ("execute:echo", "manage") as its detail. */
int request_lacks(const char *scope, const char *plugin_or_null, struct error *err);
void request_receipt(char out[512], const struct call *call); /* as JSON */
/* {"success":false,"error":{…}} of what went wrong; remembered for `why` under id. */
bool request_put_failure(struct rest_request *q, struct buf *out, const struct error *err, const char *id,
                         const char *plugin, const char *action);

/* ---- stream.c: an answer that is told while it comes about ---- */
bool stream_wanted(const char *accept);
struct stream *stream_new(struct rest_request *q); /* NULL: no memory */
void stream_free(struct stream *s);
bool stream_is_posted(struct stream *s); /* its task is still in the loop, and will free the request */
void stream_told(struct call *call, const struct call_told *what);
void stream_end(struct rest_request *q, struct call *call); /* takes the result; answers */
/* The same for what is no call: an event and the end. */
void stream_tell(struct rest_request *q, const char *event, const char *json, size_t len);
void stream_end_with(struct rest_request *q, const struct error *error, const struct buf *result);
void stream_answer(struct rest_request *q); /* the head of such an answer */
/* Of one that is followed: more may be there to read. On the loop. */
void stream_more(void *request);
/* The query's `heartbeat`. false: it is none, and the request is answered. */
bool stream_heartbeat(struct rest_request *q, uint64_t *span);

/* The package of the request, from its upload or from `plugin_path`; NULL: it has failed. */
const char *request_package(struct rest_request *q);

/* ---- handlers ---- */
void handle_execute(struct rest_request *q);
void execute_cancel(struct rest_request *q);

void handle_install(struct rest_request *q);
void handle_validate(struct rest_request *q);
void handle_uninstall(struct rest_request *q);
void handle_use(struct rest_request *q);
void handle_rollback(struct rest_request *q);
void handle_pin(struct rest_request *q);
void handle_unpin(struct rest_request *q);
void handle_activate(struct rest_request *q);
void handle_deactivate(struct rest_request *q);
void handle_deprecate(struct rest_request *q);
void handle_archive(struct rest_request *q);
void handle_versions(struct rest_request *q);
void handle_errors(struct rest_request *q);
void handle_fetch(struct rest_request *q);
void handle_export(struct rest_request *q);
void handle_import(struct rest_request *q);
void handle_apply(struct rest_request *q);
void handle_diff(struct rest_request *q);
void handle_diff_package(struct rest_request *q);
void handle_config_get(struct rest_request *q);
void handle_config_history(struct rest_request *q);
void handle_config_set(struct rest_request *q);
void handle_config_unset(struct rest_request *q);
void handle_load(struct rest_request *q);
void handle_unload(struct rest_request *q);
void handle_reload(struct rest_request *q);
void handle_stop_all(struct rest_request *q);

void handle_grant(struct rest_request *q);
void handle_revoke(struct rest_request *q);
void handle_refuse(struct rest_request *q);
void handle_grants(struct rest_request *q);
void handle_plugin_grants(struct rest_request *q);
void handle_denials(struct rest_request *q);
void handle_plugin_denials(struct rest_request *q);
void handle_proposals(struct rest_request *q);
void handle_ceiling_list(struct rest_request *q);
void handle_ceiling_set(struct rest_request *q);
void handle_ceiling_remove(struct rest_request *q);
void handle_source_list(struct rest_request *q);
void handle_source_add(struct rest_request *q);
void handle_source_remove(struct rest_request *q);
void handle_trust_add(struct rest_request *q);
void handle_trust_list(struct rest_request *q);
void handle_trust_revoke(struct rest_request *q);
void handle_trust_names(struct rest_request *q);
void handle_trust_transfer(struct rest_request *q);

void handle_available(struct rest_request *q);
void handle_loaded(struct rest_request *q);
void handle_info(struct rest_request *q);
void handle_capabilities(struct rest_request *q);
void handle_permissions(struct rest_request *q);
void handle_stats(struct rest_request *q);
void handle_forecast(struct rest_request *q);
void handle_monitor(struct rest_request *q);
void handle_record(struct rest_request *q);
void handle_report(struct rest_request *q);
void handle_parameters(struct rest_request *q);
void handle_parameter_get(struct rest_request *q);
void handle_parameter_set(struct rest_request *q);
void handle_forecast_series(struct rest_request *q);
void handle_health(struct rest_request *q);
void handle_check(struct rest_request *q);
void handle_production(struct rest_request *q);
void handle_backup(struct rest_request *q);
void handle_audit(struct rest_request *q);
void handle_audit_head(struct rest_request *q);
void handle_audit_verify(struct rest_request *q);
void handle_audit_sign(struct rest_request *q);
void handle_audit_rotate(struct rest_request *q);
void handle_settings_list(struct rest_request *q);
void handle_settings_get(struct rest_request *q);
void handle_settings_set(struct rest_request *q);

void handle_batch(struct rest_request *q);
void batch_leave(struct rest_request *q);
void batch_free(struct batch *b);
void handle_calls(struct rest_request *q);
void handle_cancel(struct rest_request *q);
void handle_why(struct rest_request *q);
void handle_log(struct rest_request *q);
void handle_task_run(struct rest_request *q);
void handle_task_check(struct rest_request *q);
void handle_task_select(struct rest_request *q);
void handle_task_list(struct rest_request *q);
void handle_task_stats(struct rest_request *q);
void handle_task_show(struct rest_request *q);
void handle_task_events(struct rest_request *q);
void handle_task_cancel(struct rest_request *q);
void handle_tokens(struct rest_request *q);
void handle_token_create(struct rest_request *q);
void handle_token_revoke(struct rest_request *q);
void handle_openapi(struct rest_request *q);
void handle_metrics(struct rest_request *q);

#endif
