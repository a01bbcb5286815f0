/* Who answers: the server that holds the home, or this process, for one request, with the same routes. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "cli/here.h"
#include "cli/show.h"
#include "http/client.h"
#include "rest/uri.h"

#define HOME_WAIT_NS (10 * NS_PER_S)
#define HOME_RETRY_US 20000
#define CLOSE_GRACE_NS (5 * NS_PER_S)
#define TARGET_MAX (64 * 1024)
#define CHUNK (64 * 1024)

int cli_home(struct cli *c, struct error *err)
{
    if (c->home_known)
        return 0;
    int rc = home_resolve(c->option[OPT_HOME], NULL, NULL, &c->home, err);
    c->home.mode = HOME_AS_IT_IS;
    c->home_known = rc == 0;
    return rc;
}

int cli_secrets(const struct cli *c, struct error *err)
{
    if (c->secrets_error.code)
        *err = c->secrets_error;
    return -(int)c->secrets_error.code;
}

/* ---- building a request ---- */

void ask_init(struct ask *a, const char *method, const char *path)
{
    *a = (struct ask){.method = method, .target = BUF_INIT(TARGET_MAX), .file = -1, .answer_file = -1};
    buf_puts(&a->target, path);
}

void ask_segment(struct ask *a, const char *text)
{
    buf_putc(&a->target, '/');
    uri_encode(&a->target, text);
}

void ask_query(struct ask *a, const char *key, const char *value)
{
    if (!value)
        return;
    buf_printf(&a->target, "%c%s=", strchr(buf_text(&a->target), '?') ? '&' : '?', key);
    uri_encode(&a->target, value);
}

static int put_json(const char *bytes, size_t len, void *out)
{
    return buf_put(out, bytes, len) ? 0 : -1;
}

void ask_body(struct ask *a, const json_t *object, struct buf *text)
{
    *text = BUF_INIT(1 << 20);
    /* Left empty when there is no memory, which the route then refuses. */
    if (json_dump_callback(object, put_json, text, JSON_COMPACT) < 0)
        buf_clear(text);
    a->content_type = "application/json";
    a->body = buf_text(text);
    a->len = text->len;
}

void ask_free(struct ask *a)
{
    buf_free(&a->target);
    io_close(&a->file);
}

void reply_free(struct reply *r)
{
    buf_free(&r->document);
}

/* ---- asked over the socket ---- */

static int ask_server(struct cli *c, int socket, const struct ask *a, struct reply *reply, int *status,
                      struct error *err)
{
    struct client_request request = {.method = a->method,
                                     .target = buf_text(&a->target),
                                     .content_type = a->content_type,
                                     .body = a->body,
                                     .body_file = a->file,
                                     .body_len = a->len,
                                     .deadline = a->deadline,
                                     .stream = a->stream,
                                     .context = a->context,
                                     .answer_file = a->answer_file};
    struct client_answer answer;
    int rc = client_ask(socket, c->home.socket, &request, &answer, err);
    if (rc < 0)
        return rc;
    *status = answer.status;
    reply->document = answer.body;
    memcpy(reply->receipt, answer.receipt, sizeof reply->receipt);
    return 0;
}

/* ---- which of the two ---- */

/* Routes that neither call a plugin nor tell how one is: for them alone, a home of thousands need not be defined. */
static bool is_about_the_registry(const struct ask *a)
{
    static const char *const routes[] = {"/api/apply",    "/api/audit",  "/api/backup", "/api/check",
                                         "/api/denials",  "/api/export", "/api/import", "/api/production",
                                         "/api/settings", "/api/tokens"};
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strncmp(buf_text(&a->target), routes[i], strlen(routes[i])) == 0)
            return true;
    return false;
}

/* Either *socket is connected to the owner, or *service is open in this process.  The owner may be another command,
 * which ends soon, or a server that is just starting or ending; in no case do two write at once. */
static int reach(struct cli *c, const struct ask *a, int *socket, struct service **service, struct error *err)
{
    struct service_options options = {
        .home = c->home, .loops = 1, .secrets = &c->secrets, .undefined = is_about_the_registry(a)};
    uint64_t until = clock_mono_ns() + HOME_WAIT_NS;
    for (;;) {
        *socket = client_connect(c->home.socket);
        if (*socket >= 0)
            return 0;
        /* EAGAIN: a server with more connections waiting than it takes just now. */
        int rc = errno == EAGAIN ? -MOAT_E_HOME_BUSY : cli_secrets(c, err);
        if (rc == 0)
            rc = service_open(&options, service, err);
        if (rc != -MOAT_E_HOME_BUSY)
            return rc;
        if (clock_mono_ns() > until)
            break;
        usleep(HOME_RETRY_US);
    }
    struct home_owner owner = {0};
    fd_auto lock = -1;
    int rc = home_lock(&c->home, false, &lock, &owner, err);
    if (rc == -MOAT_E_HOME_BUSY && owner.server)
        return error_set(err, MOAT_E_NO_ANSWER, "the server (process %d) that holds %s does not answer on its socket",
                         (int)owner.pid, c->home.dir);
    return rc < 0 ? rc : error_set(err, MOAT_E_HOME_BUSY, "%s was held by others for too long", c->home.dir);
}

static int reach_server(struct cli *c, const char *why, int *socket, struct error *err)
{
    *socket = client_connect(c->home.socket);
    return *socket >= 0 ? 0
                        : error_set(err, MOAT_E_NO_ANSWER, "no server holds %s, and %s: start one with `moat serve`",
                                    c->home.dir, why);
}

static int ask_any(struct cli *c, const struct ask *a, struct reply *reply, int *status, struct error *err)
{
    struct service *service = NULL;
    int socket = -1;
    if (a->target.failed)
        return error_set(err, MOAT_E_TOO_LARGE, "the arguments are too long");
    int rc = cli_home(c, err);
    if (rc == 0 && a->server_only)
        rc = reach_server(c, a->server_only, &socket, err);
    else if (rc == 0)
        rc = reach(c, a, &socket, &service, err);
    if (rc < 0)
        return rc;
    if (socket >= 0)
        return ask_server(c, socket, a, reply, status, err);
    rc = ask_here(service, a, reply, status, err);
    service_close(service, CLOSE_GRACE_NS);
    return rc;
}

int ask_file(struct cli *c, struct ask *a, int out)
{
    struct error err;
    struct reply reply = {0};
    int status = 0;
    a->answer_file = out;
    int rc = ask_any(c, a, &reply, &status, &err);
    ask_free(a);
    if (rc < 0)
        return cli_fail(c, &err);
    rc = status == 200 ? 0 : cli_fail_document(c, buf_text(&reply.document), reply.document.len);
    reply_free(&reply);
    return rc;
}

/* The answer's result into reply; of a stream of events there may be none left to tell. */
static int ask_result(struct cli *c, struct ask *a, bool may_be_empty, struct reply *reply)
{
    struct error err;
    int status = 0;
    *reply = (struct reply){0};
    int rc = ask_any(c, a, reply, &status, &err);
    ask_free(a);
    if (rc < 0)
        return cli_fail(c, &err);
    const char *document = buf_text(&reply->document);
    bool empty = may_be_empty && !reply->document.len;
    if (status == 200 && (empty || rest_unwrap(document, reply->document.len, &reply->result, &reply->len)))
        return 0;
    rc = cli_fail_document(c, document, reply->document.len);
    return rc ? rc : error_info(MOAT_E_INTERNAL)->exit;
}

int ask_route(struct cli *c, struct ask *a, struct reply *reply)
{
    return ask_result(c, a, false, reply);
}

int ask_events(struct cli *c, struct ask *a, struct reply *reply)
{
    return ask_result(c, a, true, reply);
}

static int failure_of(const char *document, size_t len, struct error *err)
{
    json_t *root = json_loadb(document, len, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *message = json_string_value(json_object_get(error, "message"));
    enum moat_code code = cli_code(json_string_value(json_object_get(error, "code")));
    int rc = error_set(err, code, "%s", message ? message : "the server's answer cannot be read");
    json_decref(root);
    return rc;
}

int ask_quietly(struct cli *c, struct ask *a, struct reply *reply, struct error *err)
{
    int status = 0;
    *reply = (struct reply){0};
    int rc = ask_any(c, a, reply, &status, err);
    ask_free(a);
    if (rc < 0)
        return rc;
    const char *document = buf_text(&reply->document);
    size_t len = reply->document.len;
    return status == 200 && rest_unwrap(document, len, &reply->result, &reply->len) ? 0
                                                                                    : failure_of(document, len, err);
}

void reply_print(const struct reply *r)
{
    fwrite(r->result, 1, r->len, stdout);
    fputc('\n', stdout);
}

int ask_and_show(struct cli *c, struct ask *a, show_result show)
{
    struct reply reply;
    int rc = ask_route(c, a, &reply);
    if (rc == 0 && (cli_has(c, OPT_JSON) || !show)) {
        reply_print(&reply);
    } else if (rc == 0) {
        json_t *result = json_loadb(reply.result, reply.len, JSON_DECODE_ANY, NULL);
        if (result) {
            show_warnings(result);
            show(c, result);
        } else {
            rc = cli_failf(c, MOAT_E_INTERNAL, "the result cannot be read");
        }
        json_decref(result);
    }
    reply_free(&reply);
    return rc ? rc : cli_done(c);
}
