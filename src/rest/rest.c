#include "rest/rest.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "rest/request.h"

#define BODY_OBJECT_MAX (256 * 1024) /* fields, a setting */
#define BODY_DOCUMENT_MAX (1ull << 30)
#define BODY_NONE_MAX 64 /* room for the empty object that some clients send */
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

struct rest_principal rest_bearer(struct rest *r, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    struct rest_principal principal = {0};
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return principal;
    const char *token = authorization + sizeof scheme - 1;
    struct service_principal found;
    if (!service_token_find(r->service, token + strspn(token, " "), &found))
        return principal;
    principal.scopes = found.scopes;
    principal.token = found.token;
    principal.wait_ns = found.wait_ns;
    memcpy(principal.plugins, found.plugins, sizeof principal.plugins);
    return principal;
}

/* ---- from the head to an admitted request ---- */

bool request_may_execute(const struct rest_request *q, const char *plugin)
{
    if (q->scopes & REST_ADMIN)
        return true;
    if (!(q->scopes & REST_EXECUTE))
        return false;
    if (strcmp(q->plugins, "*") == 0)
        return true;
    size_t len = strlen(plugin);
    for (const char *at = q->plugins; len && (at = strstr(at, plugin)); at++)
        if (at > q->plugins && at[-1] == ' ' && at[len] == ' ')
            return true;
    return false;
}

static int forbidden(const struct rest_request *q, struct error *err)
{
    if (q->route->body == BODY_CALL)
        return error_set(err, MOAT_E_FORBIDDEN, "the token lacks the scope `execute:%.64s`", q->params[0]);
    return error_set(err, MOAT_E_FORBIDDEN, "the token lacks the scope `%s`", route_scope_name(q->route->scope));
}

/* Nothing of the request but its route is looked at before it is known who asks. */
static int authorise(const struct rest_request *q, const struct rest_head *head, bool path_exists, struct error *err)
{
    if (q->route && q->route->scope == REST_OPEN)
        return 0;
    if (!q->scopes)
        return error_set(err, MOAT_E_UNAUTHORIZED, "a valid token is needed");
    if (q->wait_ns)
        return error_set(err, MOAT_E_RATE_LIMITED,
                         "token %lld has made as many requests as the setting "
                         "`token_requests` lets it make in a minute",
                         (long long)q->token);
    if (!q->route && path_exists)
        return error_set(err, MOAT_E_METHOD_NOT_ALLOWED, "%.16s is not a method of this path", head->method);
    if (!q->route)
        return error_set(err, MOAT_E_NOT_FOUND, "no route has this path");
    if (!(q->scopes & (q->route->scope | REST_ADMIN)))
        return forbidden(q, err);
    if (q->route->body == BODY_CALL && !request_may_execute(q, q->params[0]))
        return forbidden(q, err);
    if (atomic_load_explicit(&q->rest->draining, memory_order_relaxed))
        return error_set(err, MOAT_E_DRAINING, "the server is ending");
    return 0;
}

bool request_is_key(const char *text)
{
    size_t len = strlen(text);
    for (const char *c = text; *c; c++)
        if (*c < 0x21 || *c > 0x7e)
            return false;
    return len > 0 && len <= RUN_KEY_MAX;
}

static bool is_hex(const char *text, size_t len)
{
    return strspn(text, "0123456789abcdef") >= len;
}

/* A broken traceparent starts a new trace, as W3C Trace Context asks for, and is no reason to refuse. */
static void take_traceparent(struct rest_request *q, const char *text)
{
    bool good = text && strlen(text) == 55 && is_hex(text, 2) && text[2] == '-' && is_hex(text + 3, 32) &&
                text[35] == '-' && is_hex(text + 36, 16) && text[52] == '-' && is_hex(text + 53, 2) &&
                strncmp(text, "ff", 2) != 0 && strspn(text + 3, "0") < 32 && strspn(text + 36, "0") < 16;
    if (good)
        memcpy(q->traceparent, text, 56);
}

static int take_deadline(struct rest_request *q, const char *text, struct error *err)
{
    if (!text || (q->route->body != BODY_CALL && q->route->body != BODY_ITEMS))
        return 0;
    if (!clock_parse_span(text, &q->deadline_ns) || !q->deadline_ns)
        return error_set(err, MOAT_E_BAD_REQUEST, "Moat-Deadline is not a TIME such as 250ms, 90s or 10m");
    return 0;
}

/* What only a call takes; anywhere else these headers mean nothing and are left alone. */
static int take_call_headers(struct rest_request *q, const struct rest_head *head, struct error *err)
{
    if (q->route->body != BODY_CALL)
        return 0;
    if (head->idempotency_key && !request_is_key(head->idempotency_key))
        return error_set(err, MOAT_E_BAD_REQUEST, "Idempotency-Key is not 1 to %d printable ASCII characters",
                         RUN_KEY_MAX);
    text_copy(q->key, sizeof q->key, head->idempotency_key ? head->idempotency_key : "");
    if (stream_wanted(head->accept) && !(q->stream = stream_new(q)))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the events");
    return 0;
}

/* Has the header this media type, in UTF-8? */
static bool is_media(const char *header, const char *type)
{
    size_t len = strlen(type);
    if (strncasecmp(header, type, len) != 0)
        return false;
    header += len;
    header += strspn(header, " \t");
    if (*header && *header != ';')
        return false;
    const char *charset = strcasestr(header, "charset=");
    if (!charset)
        return true;
    charset += strlen("charset=");
    charset += *charset == '"';
    return strncasecmp(charset, "utf-8", 5) == 0 && (!charset[5] || strchr("\"; \t", charset[5]));
}

/* A file that the kernel forgets with its last descriptor: whatever ends an upload, nothing is left of it. */
static int open_incoming(struct rest_request *q, struct error *err)
{
    const struct home *home = service_home(request_service(q));
    char dir[PATH_MAX + 16], name[PATH_MAX + 40];
    snprintf(dir, sizeof dir, "%s/incoming", home->plugin_dir);
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT && io_mkdirs(dir, 0700, NULL) == 0)
        fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) { /* not every file system has files without names */
        snprintf(name, sizeof name, "%s/.upload-XXXXXX", dir);
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0)
            unlink(name);
    }
    if (fd < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot take the upload into %s", dir);
    q->file = fd;
    return 0;
}

static int admit_package(struct rest_request *q, const struct rest_head *head, struct error *err)
{
    if (head->content_type && is_media(head->content_type, "application/octet-stream")) {
        q->limit = service_setting_package_max(request_service(q));
        return 0;
    }
    q->limit = BODY_OBJECT_MAX;
    if (head->content_type && is_media(head->content_type, "application/json"))
        return 0;
    return error_set(err, MOAT_E_UNSUPPORTED_MEDIA_TYPE,
                     "the body must be application/octet-stream (a package) or application/json");
}

static bool takes_file(const struct rest_request *q, const struct rest_head *head)
{
    return q->route->body == BODY_DOCUMENT ||
           (q->route->body == BODY_PACKAGE && is_media(head->content_type, "application/octet-stream"));
}

static int admit_body(struct rest_request *q, const struct rest_head *head, struct error *err)
{
    enum route_body kind = q->route->body;
    if (kind == BODY_PACKAGE) {
        int rc = admit_package(q, head, err);
        if (rc)
            return rc;
    } else if (kind == BODY_NONE) {
        q->limit = BODY_NONE_MAX;
    } else {
        if (head->content_type && !is_media(head->content_type, "application/json"))
            return error_set(err, MOAT_E_UNSUPPORTED_MEDIA_TYPE, "the body must be application/json");
        q->limit = kind == BODY_CALL || kind == BODY_ITEMS || kind == BODY_TASK
                       ? service_setting_payload_max(request_service(q))
                   : kind == BODY_DOCUMENT ? BODY_DOCUMENT_MAX
                                           : BODY_OBJECT_MAX;
    }
    uint64_t length = head->content_length;
    if (length != REST_LENGTH_UNKNOWN && length > q->limit)
        return kind == BODY_NONE ? error_set(err, MOAT_E_BAD_REQUEST, "this route takes no body")
                                 : error_set(err, MOAT_E_TOO_LARGE, "the body has %llu bytes, %llu are taken",
                                             (unsigned long long)length, (unsigned long long)q->limit);
    q->body = BUF_INIT(q->limit);
    return takes_file(q, head) ? open_incoming(q, err) : 0;
}

static int admit(struct rest_request *q, const struct rest_head *head, struct error *err)
{
    bool path_exists = false;
    int rc = uri_parse(q->target_text, &q->target, err);
    if (rc && rc != -MOAT_E_NOT_FOUND)
        return rc;
    if (!rc)
        q->route = route_find(head->method, &q->target, q->params, &path_exists);
    rc = authorise(q, head, path_exists, err);
    if (!rc)
        rc = route_check_query(q->route, &q->target, err);
    if (!rc)
        rc = take_deadline(q, head->deadline, err);
    if (!rc)
        rc = take_call_headers(q, head, err);
    if (!rc)
        rc = admit_body(q, head, err);
    take_traceparent(q, head->traceparent);
    if (!rc && head->if_none_match && q->route->body == BODY_NONE)
        q->etag_known = strdup(head->if_none_match); /* without memory it is sent once more */
    return rc;
}

static struct rest_request *request_new(struct rest *r, const char *target, const struct rest_principal *who)
{
    size_t len = strlen(target) + 1;
    struct rest_request *q = malloc(sizeof *q + len);
    if (!q)
        return NULL;
    memset(q, 0, offsetof(struct rest_request, target));
    q->target.nsegments = q->target.npairs = 0;
    memcpy(q->target_text, target, len);
    q->plugins[0] = '\0';
    if (who) {
        q->scopes = who->scopes;
        q->token = who->token;
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
    struct rest_request *q = request_new(r, head->target, &head->principal);
    struct error err;
    if (!q)
        return NULL;
    int rc = origin_check(q, head, &err);
    if (rc == 0 && strcmp(head->method, "OPTIONS") == 0) {
        rc = origin_options(q, head, &err);
        if (rc == 0)
            return q;
    } else if (rc == 0) {
        rc = admit(q, head, &err);
    }
    if (rc < 0)
        refuse(q, &err);
    return q;
}

struct rest_request *rest_refuse(struct rest *r, const struct error *why)
{
    struct rest_request *q = request_new(r, "", NULL);
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
    batch_free(q->batch);
    free(q);
}

void rest_end(struct rest_request *q)
{
    if (!q)
        return;
    traffic_add(q->rest->traffic, q->route, q->code, clock_mono_ns() - q->began_ns);
    q->abandoned = true;
    if (q->calling)
        execute_cancel(q);
    else if (!stream_is_posted(q->stream))
        request_free(q);
}

const struct rest_answer *rest_answer(const struct rest_request *q)
{
    return &q->answer;
}
