/* From a request's head to an admitted request: its route, whether who asks may have it, what it may bring. */
#include <errno.h>
#include <fcntl.h>
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

int request_lacks(const char *scope, const char *plugin_or_null, struct error *err)
{
    char whole[96];
    buf_auto detail = BUF_INIT(ERROR_DETAIL_MAX - 1);
    snprintf(whole, sizeof whole, "%s%s%.64s", scope, plugin_or_null ? ":" : "", plugin_or_null ? plugin_or_null : "");
    int rc = error_set(err, MOAT_E_FORBIDDEN, "the token lacks the scope `%s`", whole);
    buf_puts(&detail, "{\"scope\":");
    text_json_string(&detail, whole);
    if (buf_putc(&detail, '}'))
        text_copy(err->detail, sizeof err->detail, buf_text(&detail));
    return rc;
}

static int forbidden(const struct rest_request *q, struct error *err)
{
    return request_lacks(route_scope_name(q->route->scope), q->route->body == BODY_CALL ? q->params[0] : NULL, err);
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
        return error_set(err, MOAT_E_BAD_REQUEST, "Moat-Deadline is not " CLOCK_SPAN_FORM " 250ms, 90s or 10m");
    return 0;
}

/* What only some routes take; anywhere else these headers mean nothing and are left alone. */
static int take_headers(struct rest_request *q, const struct rest_head *head, struct error *err)
{
    bool tells = q->route->body == BODY_CALL || q->route->handle == handle_task_run;
    q->in_one_piece = head->in_one_piece;
    q->wants_events = q->route->handle == handle_log && !q->in_one_piece && stream_wanted(head->accept);
    text_copy(q->last_event, sizeof q->last_event, head->last_event_id ? head->last_event_id : "");
    if (tells && stream_wanted(head->accept) && !(q->stream = stream_new(q)))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the events");
    if (q->route->body != BODY_CALL)
        return 0;
    if (head->idempotency_key && !request_is_key(head->idempotency_key))
        return error_set(err, MOAT_E_BAD_REQUEST, "Idempotency-Key is not 1 to %d printable ASCII characters",
                         RUN_KEY_MAX);
    text_copy(q->key, sizeof q->key, head->idempotency_key ? head->idempotency_key : "");
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

int request_admit(struct rest_request *q, const struct rest_head *head, struct error *err)
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
        rc = take_headers(q, head, err);
    if (!rc)
        rc = admit_body(q, head, err);
    take_traceparent(q, head->traceparent);
    if (!rc && head->if_none_match && q->route->body == BODY_NONE)
        q->etag_known = strdup(head->if_none_match); /* without memory it is sent once more */
    return rc;
}
