/* The front door without a socket: who is let in, what is understood, what is answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "front.h"
#include "rest/uri.h"

struct fixture {
    struct front front;
    /* of the last answer */
    int status;
    char body[8192], headers[2048];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    front_open(&f->front);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    front_close(&f->front);
    free(f);
    return 0;
}

static void request_done(struct rest_request *q, void *context)
{
    struct fixture *f = context;
    front_done(&f->front);
}

static void keep_answer(struct fixture *f, struct rest_request *q)
{
    const struct rest_answer *a = rest_answer(q);
    size_t at = 0;
    f->status = a->status;
    for (size_t i = 0; i < a->nparts && at + a->parts[i].len < sizeof f->body; at += a->parts[i++].len)
        memcpy(f->body + at, a->parts[i].bytes, a->parts[i].len);
    f->body[at] = '\0';
    assert_int_equal(at, a->len);
    f->headers[0] = '\0';
    for (size_t i = 0; i < a->nheaders; i++)
        snprintf(f->headers + strlen(f->headers), sizeof f->headers - strlen(f->headers), "%s: %s\n",
                 a->headers[i].name, a->headers[i].value);
}

/* The whole of a request; the status. */
static int ask_head(struct fixture *f, const struct rest_head *head, const void *body, size_t len)
{
    struct rest_request *q = rest_begin(f->front.rest, head);
    assert_non_null(q);
    for (size_t at = 0; at < len && !rest_answered(q); at += 1000)
        rest_body(q, (const char *)body + at, len - at < 1000 ? len - at : 1000);
    f->front.done = false;
    rest_run(q, service_loop(f->front.service, 0), request_done, f);
    front_wait(&f->front);
    keep_answer(f, q);
    rest_end(q);
    return f->status;
}

static int ask(struct fixture *f, const char *method, const char *target, const char *type, const char *body)
{
    struct rest_head head = {.method = method,
                             .target = target,
                             .principal = {REST_ADMIN},
                             .content_type = type,
                             .content_length = body ? strlen(body) : 0};
    return ask_head(f, &head, body, body ? strlen(body) : 0);
}

#define JSON "application/json"
#define OCTETS "application/octet-stream"

/* ---- routes ---- */

static void test_every_route_reaches_its_service(void **state)
{
    static const struct {
        const char *method, *target, *body, *asked;
    } cases[] = {
        {"POST", "/api/plugins/execute/data/sum", "[1]", "call data sum deadline=0 trace="},
        {"DELETE", "/api/plugins/uninstall/data@1.0.0", NULL, "uninstall data@1.0.0 purge=0"},
        {"DELETE", "/api/plugins/uninstall/data?purge=true", NULL, "uninstall data purge=1"},
        {"POST", "/api/plugins/use/data@1.0.0", NULL, "use data@1.0.0 NULL"},
        {"POST", "/api/plugins/use/data@1.0.0?accept=all", NULL, "use data@1.0.0 all"},
        {"POST", "/api/plugins/use/data@1.0.0?canary=10", NULL, "canary data@1.0.0 10 accept="},
        {"POST", "/api/plugins/use/data@1.0.0?canary=99&accept=all", NULL, "canary data@1.0.0 99 accept=all"},
        {"POST", "/api/plugins/rollback/data", NULL, "rollback data"},
        {"POST", "/api/plugins/pin/data", NULL, "pin data 1"},
        {"POST", "/api/plugins/unpin/data", NULL, "pin data 0"},
        {"POST", "/api/plugins/activate/data", NULL, "activate data 1"},
        {"POST", "/api/plugins/deactivate/data", NULL, "activate data 0"},
        {"POST", "/api/plugins/deprecate/data@1.0.0?reason=old", NULL, "deprecate data@1.0.0 1 old"},
        {"POST", "/api/plugins/deprecate/data@1.0.0?undo=1", NULL, "deprecate data@1.0.0 0 NULL"},
        {"POST", "/api/plugins/archive/data@1.0.0", NULL, "archive data@1.0.0 1"},
        {"POST", "/api/plugins/archive/data@1.0.0?undo=true", NULL, "archive data@1.0.0 0"},
        {"GET", "/api/plugins/info/data/versions", NULL, "versions data"},
        {"GET", "/api/plugins/info/data/errors", NULL, "errors data"},
        {"GET", "/api/plugins/info/data/config", NULL, "config_get data"},
        {"PUT", "/api/plugins/info/data/config/key", "1.0", "config_set data key 1.0 1"},
        {"DELETE", "/api/plugins/info/data/config/key", NULL, "config_set data key NULL 1"},
        {"DELETE", "/api/plugins/info/data/config/key?no_guard=true", NULL, "config_set data key NULL 0"},
        {"GET", "/api/plugins/info/data/config-history?limit=7", NULL, "config_history data 7"},
        {"POST", "/api/import", "{\"a\":1}", "import {\"a\":1}"},
        {"GET", "/api/diff?from=data&to=data@2.0.0", NULL, "diff data data@2.0.0"},
        {"POST", "/api/plugins/load/data", "{}", "load data"},
        {"POST", "/api/plugins/unload/data", NULL, "unload data"},
        {"POST", "/api/plugins/reload/data", NULL, "reload data"},
        {"POST", "/api/stop-all", NULL, "stop_all"},
        {"GET", "/api/plugins/available?limit=3&q=a+b%2B&capability=custom", NULL,
         "available custom NULL NULL NULL a b+ NULL 3"},
        {"HEAD", "/api/plugins/loaded", NULL, "loaded"},
        {"GET", "/api/plugins/info/d%61ta", NULL, "info data"},
        {"GET", "/api/plugins/info/data/grants", NULL, "grants data"},
        {"POST", "/api/plugins/info/data/grants", "{\"grant\":\"file_read=/a b\"}", "grant data file_read=/a b"},
        {"POST", "/api/plugins/info/data/grants", "{\"grant\":\"file_read=/a\",\"for\":\"2h\"}",
         "grant data file_read=/a for 2h"},
        {"GET", "/api/ceilings", NULL, "ceiling_list"},
        {"POST", "/api/ceilings", "{\"subject\":\"publisher:a\",\"never\":\"file_read\"}",
         "ceiling_set publisher:a file_read"},
        {"DELETE", "/api/ceilings?subject=everybody&never=file_read%3D%2Fetc", NULL,
         "ceiling_remove everybody file_read=/etc"},
        {"GET", "/api/sources", NULL, "source_list"},
        {"POST", "/api/sources", "{\"name\":\"main\",\"kind\":\"sqlite\",\"place\":\"/d/x.db\"}",
         "source_add main sqlite /d/x.db"},
        {"DELETE", "/api/sources/main", NULL, "source_remove main"},
        {"DELETE", "/api/plugins/info/data/grants?grant=file_read%3D%2Fdata", NULL, "revoke data file_read=/data"},
        {"POST", "/api/plugins/info/data/refusals", "{\"permission\":\"file_read\"}", "refuse data file_read"},
        {"GET", "/api/plugins/info/data/denials", NULL, "denials data"},
        {"GET", "/api/plugins/capabilities", NULL, "capabilities"},
        {"GET", "/api/plugins/permissions", NULL, "permissions"},
        {"GET", "/api/plugins/stats", NULL, "stats"},
        {"GET", "/api/plugins/health", NULL, "health"},
        {"GET", "/api/grants", NULL, "grants NULL"},
        {"GET", "/api/plugins/info/data/proposals", NULL, "proposals data"},
        {"GET", "/api/denials", NULL, "denials NULL"},
        {"GET", "/api/denials?since=2h&limit=5", NULL, "denials NULL since 2h limited"},
        {"GET", "/api/plugins/info/data/denials?since=2h", NULL, "denials data since 2h"},
        {"GET", "/api/trust", NULL, "trust_list"},
        {"POST", "/api/trust", "{\"publisher\":\"acme\",\"public_key\":\"PEM\\nX\"}", "trust_add acme PEM\nX NULL"},
        {"PUT", "/api/trust/acme", "{\"names\":\"a_*\"}", "trust_names acme a_*"},
        {"POST", "/api/trust/transfer", "{\"plugin\":\"x\",\"publisher\":\"acme\"}", "trust_transfer x acme"},
        {"DELETE", "/api/trust/acme%20inc", NULL, "trust_revoke acme inc NULL"},
        {"DELETE", "/api/trust/acme/00ff", NULL, "trust_revoke acme 00ff"},
        {"GET", "/api/settings", NULL, "settings_get NULL"},
        {"GET", "/api/settings/payload_max", NULL, "settings_get payload_max"},
        {"PUT", "/api/settings/payload_max", " 17 ", "settings_set payload_max  17 "},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = ask(f, cases[i].method, cases[i].target, cases[i].body ? JSON : NULL, cases[i].body);
        if (status != 200)
            fail_msg("%s %s: %d %s", cases[i].method, cases[i].target, status, f->body);
        assert_string_equal(fake_asked(f->front.service), cases[i].asked);
        bool call = strncmp(cases[i].asked, "call", 4) == 0;
        assert_string_equal(f->body, call ? "{\"success\":true,\"result\":[1]}"
                                          : "{\"success\":true,\"result\":{\"fake\":true}}");
        assert_non_null(strstr(f->headers, "Content-Type: application/json\n"));
    }
}

static void test_refusals(void **state)
{
    static const struct {
        int status;
        const char *code, *method, *target, *type, *body;
    } cases[] = {
        {404, "not_found", "GET", "/", NULL, NULL},
        {404, "not_found", "GET", "/api", NULL, NULL},
        {404, "not_found", "GET", "/api/plugins/stats/", NULL, NULL},
        {404, "not_found", "GET", "/api//plugins/stats", NULL, NULL},
        {404, "not_found", "GET", "/api/plugins%2Fstats", NULL, NULL},
        {404, "not_found", "GET", "/api/plugins/info/..", NULL, NULL},
        {404, "not_found", "GET", "/a/b/c/d/e/f/g/h/i/j", NULL, NULL},
        {405, "method_not_allowed", "GET", "/api/plugins/execute/a/b", NULL, NULL},
        {405, "method_not_allowed", "PATCH", "/api/trust", NULL, NULL},
        {400, "bad_request", "GET", "http://x/api/plugins/stats", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/a%00b", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/a%0ab", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/a%c2%9bb", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/a%ff", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/a%ed%a0%80", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/a%c0%af", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/a%4", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/a%zz", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/\xc3\xa4", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/info/a#b", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/stats?x=1", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/available?limit=-1", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/available?limit=1&limit=2", NULL, NULL},
        {400, "bad_request", "GET", "/api/plugins/available?limit", NULL, NULL},
        {400, "bad_request", "DELETE", "/api/plugins/uninstall/a?purge=yes", NULL, NULL},
        {400, "bad_request", "DELETE", "/api/plugins/info/a/grants", NULL, NULL},
        {400, "bad_request", "POST", "/api/plugins/load/a", JSON, "{\"version\":\"2\"}"},
        {400, "bad_json", "POST", "/api/trust", JSON, ""},
        {400, "bad_json", "POST", "/api/trust", JSON, "{"},
        {400, "bad_json", "POST", "/api/trust", JSON, "{\"publisher\":\"\xff\"}"},
        {400, "bad_request", "POST", "/api/trust", JSON, "[]"},
        {400, "bad_request", "POST", "/api/trust", JSON, "{\"publisher\":\"a\"}"},
        {400, "bad_request", "POST", "/api/trust", JSON, "{\"publisher\":1,\"public_key\":\"\"}"},
        {400, "bad_request", "POST", "/api/trust", JSON, "{\"publisher\":\"a\",\"public_key\":\"\",\"key\":1}"},
        {400, "bad_request", "POST", "/api/trust", JSON,
         "{\"publisher\":\"a\",\"publisher\":\"b\",\"public_key\":\"\"}"},
        {400, "bad_json", "PUT", "/api/settings/x", JSON, ""},
        {400, "bad_json", "PUT", "/api/settings/x", JSON, "1 2"},
        {415, "unsupported_media_type", "PUT", "/api/settings/x", "text/plain", "1"},
        {415, "unsupported_media_type", "PUT", "/api/settings/x", "application/json;charset=latin1", "1"},
        {415, "unsupported_media_type", "PUT", "/api/settings/x", "application/jsonp", "1"},
        {415, "unsupported_media_type", "POST", "/api/plugins/execute/a/b", "application/x-www-form-urlencoded", "1"},
        {415, "unsupported_media_type", "POST", "/api/plugins/install", NULL, "x"},
        {415, "unsupported_media_type", "POST", "/api/plugins/install", "text/plain", "x"},
        {400, "bad_request", "POST", "/api/plugins/install?grants=a", OCTETS, "x"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = ask(f, cases[i].method, cases[i].target, cases[i].type, cases[i].body);
        char code[80];
        snprintf(code, sizeof code, "{\"success\":false,\"error\":{\"code\":\"%s\",\"message\":\"", cases[i].code);
        if (status != cases[i].status || strncmp(f->body, code, strlen(code)) != 0)
            fail_msg("%s %s %s: %d %s", cases[i].method, cases[i].target, cases[i].body, status, f->body);
        const char *id = strstr(f->body, "\",\"id\":\"");
        assert_non_null(id);
        assert_int_equal(strspn(id + 8, "0123456789abcdef"), 32);
        assert_string_equal(id + 40, "\",\"detail\":{}}}");
    }
    assert_string_equal(fake_asked(f->front.service), ""); /* nothing of it reached the service */
}

static void test_allow_names_the_methods(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "PUT", "/api/trust", JSON, "{}"), 405);
    assert_non_null(strstr(f->headers, "Allow: GET, HEAD, POST, OPTIONS\n"));
}

/* ---- who asks ---- */

static void test_nobody_gets_no_further_than_health(void **state)
{
    static const struct {
        int status;
        const char *method, *target;
    } cases[] = {
        {200, "GET", "/api/plugins/health"},       {401, "GET", "/api/plugins/stats"},
        {401, "GET", "/api/plugins/info/a"},       {401, "GET", "/nothing"},
        {401, "PUT", "/api/plugins/health"},       {401, "POST", "/api/plugins/install?nonsense=1"},
        {401, "POST", "/api/plugins/execute/a/b"}, {401, "GET", "/api/plugins/stats/"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rest_head head = {.method = cases[i].method,
                                 .target = cases[i].target,
                                 .content_type = "text/nonsense",
                                 .content_length = UINT32_MAX};
        if (cases[i].status == 200)
            head.content_length = 0;
        int status = ask_head(f, &head, NULL, 0);
        if (status != cases[i].status)
            fail_msg("%s %s: %d %s", cases[i].method, cases[i].target, status, f->body);
        if (status == 401)
            assert_non_null(strstr(f->headers, "WWW-Authenticate: Bearer"));
    }
}

static void test_a_scope_covers_its_routes_only(void **state)
{
    static const struct {
        uint32_t scope;
        int execute, read, manage, admin;
    } cases[] = {{REST_EXECUTE, 200, 403, 403, 403},
                 {REST_READ, 403, 200, 403, 403},
                 {REST_MANAGE, 403, 403, 200, 403},
                 {REST_READ | REST_MANAGE, 403, 200, 200, 403},
                 {REST_ADMIN, 200, 200, 200, 200}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rest_head head = {
            .method = "POST", .principal = {.scopes = cases[i].scope, .plugins = "*"}, .content_length = 2};
        head.target = "/api/plugins/execute/a/b";
        assert_int_equal(ask_head(f, &head, "{}", 2), cases[i].execute);
        head.target = "/api/plugins/load/a";
        assert_int_equal(ask_head(f, &head, "{}", 2), cases[i].manage);
        head.method = "GET";
        head.target = "/api/plugins/stats";
        assert_int_equal(ask_head(f, &head, "{}", 2), cases[i].read);
        head.method = "DELETE";
        head.target = "/api/plugins/uninstall/a";
        assert_int_equal(ask_head(f, &head, "{}", 2), cases[i].admin);
    }
}

static void test_bearer(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rest_bearer(f->front.rest, NULL).scopes, 0);
    assert_int_equal(rest_bearer(f->front.rest, "").scopes, 0);
    assert_int_equal(rest_bearer(f->front.rest, "Bearer ").scopes, 0);
    assert_int_equal(rest_bearer(f->front.rest, "Basic " FAKE_TOKEN).scopes, 0);
    assert_int_equal(rest_bearer(f->front.rest, "Bearer x" FAKE_TOKEN).scopes, 0);
    assert_int_equal(rest_bearer(f->front.rest, "Bearer " FAKE_TOKEN " ").scopes, 0);
    assert_int_equal(rest_bearer(f->front.rest, "Bearer " FAKE_TOKEN).scopes, REST_ADMIN);
    assert_int_equal(rest_bearer(f->front.rest, "bearer  " FAKE_TOKEN).scopes, REST_ADMIN);
}

/* What a connection remembers of its token never lets in more than the token itself. */
static void test_bearer_known(void **state)
{
    struct fixture *f = *state;
    struct rest_known known = {0};
    char longer[400];
    assert_int_equal(rest_bearer_known(f->front.rest, &known, NULL)->scopes, 0);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, "Bearer " FAKE_TOKEN)->scopes, REST_ADMIN);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, "Bearer " FAKE_TOKEN)->scopes, REST_ADMIN);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, "Bearer " FAKE_READ_TOKEN)->scopes, REST_READ);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, NULL)->scopes, 0);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, "")->scopes, 0);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, "Bearer " FAKE_TOKEN)->scopes, REST_ADMIN);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, "Bearer " FAKE_TOKEN " ")->scopes, 0);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, "Bearer x" FAKE_TOKEN)->scopes, 0);
    snprintf(longer, sizeof longer, "Bearer %100s%s", "", FAKE_TOKEN);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, longer)->scopes, REST_ADMIN);
    longer[strlen(longer) - 1] ^= 1; /* where the memory of it would not reach */
    assert_int_equal(rest_bearer_known(f->front.rest, &known, longer)->scopes, 0);
    /* A token that was taken away is looked up again. */
    assert_int_equal(rest_bearer_known(f->front.rest, &known, "Bearer " FAKE_TOKEN)->scopes, REST_ADMIN);
    fake_forget_tokens(f->front.service);
    assert_int_equal(rest_bearer_known(f->front.rest, &known, "Bearer " FAKE_TOKEN)->scopes, 0);
}

static void test_draining_leaves_health(void **state)
{
    struct fixture *f = *state;
    rest_drain(f->front.rest);
    assert_int_equal(ask(f, "GET", "/api/plugins/stats", NULL, NULL), 503);
    assert_non_null(strstr(f->body, "\"code\":\"draining\""));
    assert_non_null(strstr(f->headers, "Retry-After: "));
    assert_int_equal(ask(f, "GET", "/api/plugins/health", NULL, NULL), 200);
}

/* ---- bodies ---- */

static void test_body_limits(void **state)
{
    struct fixture *f = *state;
    char *big = malloc(5 << 20);
    memset(big, '1', 5 << 20);
    fake_limits(f->front.service, 1000, 2000);
    struct rest_head head = {.method = "POST", .target = "/api/plugins/execute/a/b", .principal = {REST_ADMIN}};
    head.content_length = 1000;
    assert_int_equal(ask_head(f, &head, big, 1000), 200);
    head.content_length = 1001;
    assert_int_equal(ask_head(f, &head, big, 1001), 413);
    head.content_length = REST_LENGTH_UNKNOWN;
    assert_int_equal(ask_head(f, &head, big, 1000), 200);
    assert_int_equal(ask_head(f, &head, big, 1001), 413);
    assert_int_equal(ask_head(f, &head, big, 5 << 20), 413);
    head.target = "/api/plugins/install";
    head.content_type = OCTETS;
    assert_int_equal(ask_head(f, &head, big, 2000), 200);
    assert_int_equal(ask_head(f, &head, big, 2001), 413);
    head.content_length = 2001;
    assert_int_equal(ask_head(f, &head, NULL, 0), 413);
    head.target = "/api/trust";
    head.content_type = JSON;
    head.content_length = 300 << 10;
    assert_int_equal(ask_head(f, &head, NULL, 0), 413);
    head.target = "/api/plugins/load/a";
    assert_int_equal(ask_head(f, &head, NULL, 0), 400);
    head.content_length = REST_LENGTH_UNKNOWN;
    assert_int_equal(ask_head(f, &head, big, 1000), 400);
    free(big);
}

static const char *in_incoming(struct fixture *f, const char *name)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/incoming/%s", service_home(f->front.service)->plugin_dir, name);
    return path;
}

static size_t files_in_incoming(struct fixture *f)
{
    DIR *dir = opendir(in_incoming(f, ""));
    size_t n = 0;
    for (struct dirent *e; dir && (e = readdir(dir));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (dir)
        closedir(dir);
    return n;
}

static void test_upload_goes_to_a_file_without_a_name(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "POST",
                         "/api/plugins/install?auto_load=1&grant=file_read%3D/a&use=false&grant=execute_code", OCTETS,
                         "the package"),
                     200);
    assert_string_equal(fake_asked(f->front.service),
                        "install metadata=NULL grants=[file_read=/a,execute_code] load=1 use=0 older=0");
    assert_string_equal(fake_package(f->front.service), "the package");
    assert_int_equal(files_in_incoming(f), 0);

    struct rest_head head = {.method = "POST",
                             .target = "/api/plugins/install",
                             .principal = {REST_ADMIN},
                             .content_type = OCTETS,
                             .content_length = 100};
    struct rest_request *q = rest_begin(f->front.rest, &head);
    assert_true(rest_body(q, "half", 4));
    assert_int_equal(files_in_incoming(f), 0);
    rest_end(q);
}

static void put_incoming(struct fixture *f, const char *name, const char *bytes)
{
    assert_int_equal(io_mkdirs(in_incoming(f, ""), 0700, NULL), 0);
    assert_int_equal(io_replace_file(in_incoming(f, name), bytes, strlen(bytes), 0600, NULL), 0);
}

static void test_plugin_path_stays_inside_incoming(void **state)
{
    struct fixture *f = *state;
    put_incoming(f, "good.moat", "from incoming");
    assert_int_equal(symlink("/etc/passwd", in_incoming(f, "link")), 0);
    assert_int_equal(symlink("good.moat", in_incoming(f, "inner")), 0);
    assert_int_equal(mkdir(in_incoming(f, "dir"), 0700), 0);
    assert_int_equal(mkfifo(in_incoming(f, "fifo"), 0600), 0);

    static const struct {
        int status;
        const char *path;
    } cases[] = {{404, "missing"},
                 {404, ""},
                 {400, "/etc/passwd"},
                 {400, "../../../../../../../etc/passwd"},
                 {400, "dir/../../incoming/good.moat"},
                 {400, "link"},
                 {400, "inner"},
                 {400, "dir"},
                 {400, "."},
                 {400, "fifo"},
                 {200, "dir/../good.moat"},
                 {200, "good.moat"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"plugin_path\":\"%s\"}", cases[i].path);
        int status = ask(f, "POST", "/api/plugins/validate", JSON, body);
        if (status != cases[i].status)
            fail_msg("%s: %d %s", cases[i].path, status, f->body);
    }
    assert_string_equal(fake_package(f->front.service), "from incoming");
    assert_int_equal(ask(f, "POST", "/api/plugins/install", JSON,
                         "{\"plugin_path\":\"good.moat\",\"metadata\":{\"name\":\"x\"},\"auto_load\":true,"
                         "\"grants\":[\"execute_code\"]}"),
                     200);
    assert_string_equal(fake_asked(f->front.service),
                        "install metadata={\"name\":\"x\"} grants=[execute_code] load=1 use=0 older=0");
}

static void test_a_failure_names_the_file_as_the_client_does(void **state)
{
    struct fixture *f = *state;
    fake_fail(f->front.service, MOAT_E_NOT_A_PACKAGE, "PATH");
    assert_int_equal(ask(f, "POST", "/api/plugins/install", OCTETS, "x"), 422);
    assert_non_null(strstr(f->body, "\"message\":\"the upload is not a package\""));
    put_incoming(f, "good.moat", "x");
    fake_fail(f->front.service, MOAT_E_NOT_A_PACKAGE, "PATH");
    assert_int_equal(ask(f, "POST", "/api/plugins/install", JSON, "{\"plugin_path\":\"good.moat\"}"), 422);
    assert_non_null(strstr(f->body, "\"message\":\"good.moat is not a package\""));
}

/* ---- calls ---- */

static void test_call_headers_and_receipt(void **state)
{
    struct fixture *f = *state;
    struct rest_head head = {.method = "POST",
                             .target = "/api/plugins/execute/a/b",
                             .principal = {.scopes = REST_EXECUTE, .token = 77, .plugins = " b a "},
                             .content_length = 2,
                             .content_type = "Application/JSON; charset=\"UTF-8\"",
                             .deadline = "250ms",
                             .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
    assert_int_equal(ask_head(f, &head, "{}", 2), 200);
    assert_int_equal(fake_principal(f->front.service), 77); /* by which tokens take turns in a plugin's queue */
    assert_string_equal(fake_asked(f->front.service),
                        "call a b deadline=250000000 trace=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_non_null(strstr(f->headers,
                           "Moat-Receipt: {\"id\":\"00112233445566778899aabbccddeeff\",\"version\":\"1.2.3\","
                           "\"queued_ns\":0,\"ran_ns\":18446744073709551615,\"cpu_ns\":0,\"bytes_in\":2,"
                           "\"bytes_out\":0}\n"));
    head.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
    assert_int_equal(ask_head(f, &head, "{}", 2), 200);
    assert_string_equal(fake_asked(f->front.service), "call a b deadline=250000000 trace=");
    head.deadline = "soon";
    assert_int_equal(ask_head(f, &head, "{}", 2), 400);
    head.deadline = "0s";
    assert_int_equal(ask_head(f, &head, "{}", 2), 400);
}

static void test_call_failure_carries_its_id_and_detail(void **state)
{
    struct fixture *f = *state;
    fake_fail(f->front.service, MOAT_E_BAD_PARAMETERS, "\"quoted\"\n");
    assert_int_equal(ask(f, "POST", "/api/plugins/execute/a/b", JSON, "[]"), 422);
    assert_string_equal(f->body,
                        "{\"success\":false,\"error\":{\"code\":\"bad_parameters\",\"message\":\"\\\"quoted\\\"?\","
                        "\"id\":\"00112233445566778899aabbccddeeff\",\"detail\":{\"pointer\":\"/a\"}}}");
    assert_non_null(strstr(f->headers, "Moat-Receipt: "));
    fake_fail(f->front.service, MOAT_E_QUEUE_FULL, "full");
    assert_int_equal(ask(f, "POST", "/api/plugins/execute/a/b", JSON, "[]"), 429);
    assert_non_null(strstr(f->headers, "Retry-After: 1\n"));
}

static void test_unwrap(void **state)
{
    const char *result;
    size_t len;
    static const char document[] = "{\"success\":true,\"result\":[1,{}]}";
    assert_true(rest_unwrap(document, sizeof document - 1, &result, &len));
    assert_int_equal(len, 6);
    assert_memory_equal(result, "[1,{}]", 6);
    for (size_t n = 0; n < sizeof document - 1; n++)
        assert_false(rest_unwrap(document, n, &result, &len) && result[len] != '}');
    assert_false(rest_unwrap("{\"success\":false,\"error\":{}}", 28, &result, &len));
}

/* What encode writes, parse reads. */
static void test_encode_and_parse(void **state)
{
    buf_auto out = BUF_INIT(1024);
    static const char text[] = "a/b c+d%\"\xc3\xa4?&=#~";
    buf_puts(&out, "/x/");
    uri_encode(&out, text);
    buf_puts(&out, "?k=");
    uri_encode(&out, text);
    struct uri target;
    assert_int_equal(uri_parse((char *)out.data, &target, NULL), 0);
    assert_int_equal(target.nsegments, 2);
    assert_string_equal(target.segments[1], text);
    assert_string_equal(target.pairs[0].value, text);
}

static void test_document_has_every_route(void **state)
{
    buf_auto out = BUF_INIT(1 << 20);
    assert_true(rest_document(&out));
    assert_non_null(strstr(buf_text(&out), "### POST /api/plugins/execute/{name}/{action}\n"));
    assert_non_null(strstr(buf_text(&out), "| `bad_json` | 400 | 2 |"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_every_route_reaches_its_service),
                                       T(test_refusals),
                                       T(test_allow_names_the_methods),
                                       T(test_nobody_gets_no_further_than_health),
                                       T(test_a_scope_covers_its_routes_only),
                                       T(test_bearer),
                                       T(test_bearer_known),
                                       T(test_draining_leaves_health),
                                       T(test_body_limits),
                                       T(test_upload_goes_to_a_file_without_a_name),
                                       T(test_plugin_path_stays_inside_incoming),
                                       T(test_a_failure_names_the_file_as_the_client_does),
                                       T(test_call_headers_and_receipt),
                                       T(test_call_failure_carries_its_id_and_detail),
                                       cmocka_unit_test(test_unwrap),
                                       cmocka_unit_test(test_encode_and_parse),
                                       cmocka_unit_test(test_document_has_every_route)};
    return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
