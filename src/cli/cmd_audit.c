/* Commands of the audit trail. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "cli/show.h"
#include "package/key.h"

#define FOLLOW_MS 500
#define PAGE "1000"

/* ---- audit ---- */

static void put_column(const json_t *record, const char *path, int width)
{
    char *text = show_value(record, path);
    size_t len = text ? strlen(text) : 1;
    show_text(stdout, text ? text : "-");
    printf("%*s", len < (size_t)width ? width - (int)len + 1 : 1, "");
    free(text);
}

/* As `log` would: one line a record, in the order they came. */
static void show_record(const json_t *record)
{
    const json_t *detail = json_object_get(record, "detail");
    char *text = json_object_size(detail) ? json_dumps(detail, JSON_COMPACT) : NULL;
    json_int_t count = json_integer_value(json_object_get(record, "count"));
    put_column(record, "seq", 6);
    put_column(record, "time", 24);
    put_column(record, "actor", 10);
    put_column(record, "action", 16);
    put_column(record, "subject", 20);
    put_column(record, "outcome", 2);
    if (count > 1)
        printf("x%lld ", (long long)count);
    show_text(stdout, text ? text : "");
    putchar('\n');
    free(text);
}

static void show_records(struct cli *c, const json_t *list, bool backwards)
{
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        const json_t *record = json_array_get(list, backwards ? n - 1 - i : i);
        if (!cli_has(c, OPT_JSON)) {
            show_record(record);
            continue;
        }
        json_dumpf(record, stdout, JSON_COMPACT);
        putchar('\n');
    }
    fflush(stdout);
}

static void ask_trail(struct cli *c, struct ask *a)
{
    static const struct {
        enum cli_option option;
        const char *query;
    } filters[] = {{OPT_ACTOR, "actor"},     {OPT_ACTION, "action"}, {OPT_SUBJECT, "subject"},
                   {OPT_OUTCOME, "outcome"}, {OPT_SINCE, "since"},   {OPT_LIMIT, "limit"}};
    ask_init(a, "GET", "/api/audit");
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        ask_query(a, filters[i].query, c->option[filters[i].option]);
}

static void show_trail(struct cli *c, const json_t *result)
{
    const json_t *list = json_object_get(result, "records");
    if (json_array_size(list))
        show_records(c, list, true);
    else
        puts("Nothing of that kind has happened.");
}

static json_int_t newest(const json_t *list, json_int_t before)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t seq = json_integer_value(json_object_get(json_array_get(list, i), "seq"));
        before = seq > before ? seq : before;
    }
    return before;
}

/* A page of what came after record `after`; an exit status. */
static int follow_page(struct cli *c, json_int_t *after, bool first)
{
    struct ask a;
    struct reply reply;
    char number[24];
    ask_trail(c, &a);
    snprintf(number, sizeof number, "%lld", (long long)*after);
    if (!first)
        ask_query(&a, "after", number);
    int rc = ask_route(c, &a, &reply);
    if (rc == 0) {
        json_t *result = json_loadb(reply.result, reply.len, 0, NULL);
        const json_t *list = json_object_get(result, "records");
        show_records(c, list, first);
        *after = newest(list, *after);
        json_decref(result);
    }
    reply_free(&reply);
    return rc ? rc : cli_done(c);
}

static int follow(struct cli *c)
{
    const struct timespec pause = {.tv_nsec = FOLLOW_MS * 1000000L};
    json_int_t after = 0;
    int rc = follow_page(c, &after, true);
    c->option[OPT_LIMIT] = PAGE;
    c->option[OPT_SINCE] = NULL;
    while (rc == 0) {
        nanosleep(&pause, NULL);
        rc = follow_page(c, &after, after == 0);
    }
    return rc;
}

int run_audit(struct cli *c)
{
    struct ask a;
    if (cli_has(c, OPT_FOLLOW))
        return follow(c);
    ask_trail(c, &a);
    return ask_and_show(c, &a, show_trail);
}

/* ---- audit verify ---- */

static void show_check(const json_t *result)
{
    const json_t *segments = json_object_get(result, "segments");
    for (size_t i = 0; i < json_array_size(segments); i++) {
        const json_t *one = json_array_get(segments, i);
        char *file = show_value(one, "file"), *problem = show_value(one, "problem");
        printf("%s %s: ", json_is_true(json_object_get(one, "valid")) ? "ok" : "BAD", file ? file : "-");
        show_text(stdout, problem ? problem : "whole");
        putchar('\n');
        free(file);
        free(problem);
    }
    static const struct column fields[] = {{"Records", "records", false},
                                           {"Head", "head.count", false},
                                           {"Hash", "head.hash", false},
                                           {"Signed heads", "signatures", false},
                                           {"Clock went back", "clock_went_back", false}};
    show_fields(result, fields, 5);
    char *problem = show_value(result, "problem");
    bool valid = json_is_true(json_object_get(result, "valid"));
    fputs(valid ? "The audit trail is whole." : "THE AUDIT TRAIL IS NOT WHOLE: ", stdout);
    show_text(stdout, valid || !problem ? "" : problem);
    putchar('\n');
    free(problem);
}

int run_audit_verify(struct cli *c)
{
    struct ask a;
    struct reply reply;
    struct public_key key;
    struct error err;
    char hex[65];
    if (cli_has(c, OPT_KEY) && key_read_public(c->option[OPT_KEY], &key, &err) < 0)
        return cli_fail(c, &err);
    ask_init(&a, "GET", "/api/audit/verify");
    ask_query(&a, "anchor", c->option[OPT_ANCHOR]);
    if (cli_has(c, OPT_KEY)) {
        text_hex(hex, key.bytes, sizeof key.bytes);
        ask_query(&a, "key", hex);
    }
    int rc = ask_route(c, &a, &reply);
    bool valid = false;
    if (rc == 0) {
        json_t *result = json_loadb(reply.result, reply.len, 0, NULL);
        valid = json_is_true(json_object_get(result, "valid"));
        if (cli_has(c, OPT_JSON))
            reply_print(&reply);
        else
            show_check(result);
        json_decref(result);
        rc = cli_done(c);
    }
    reply_free(&reply);
    return rc ? rc : valid ? 0 : 1;
}

/* ---- head, sign, rotate ---- */

static void show_head(struct cli *c, const json_t *result)
{
    char *count = show_value(result, "count"), *hash = show_value(result, "hash");
    printf("%s:%s\n", count ? count : "0", hash ? hash : "");
    free(count);
    free(hash);
}

int run_audit_head(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/audit/head");
    return ask_and_show(c, &a, show_head);
}

/* The text that docs/audit.md defines, signed here: the key does not leave this process. */
static json_t *signed_head(const struct signing_key *key, const json_t *head)
{
    const char *registry = json_string_value(json_object_get(head, "registry"));
    const char *hash = json_string_value(json_object_get(head, "hash"));
    long long count = json_integer_value(json_object_get(head, "count"));
    char anchor[100], id[65], hex[129];
    uint8_t signature[SIGNATURE_LEN];
    buf_auto text = BUF_INIT(1000);
    if (!registry || !hash || strlen(hash) != 64)
        return NULL;
    buf_printf(&text, "moat-audit-head-1\n%s\n%lld\n%s\n", registry, count, hash);
    key_sign(key, text.data, text.len, signature);
    text_hex(id, key_public(key)->bytes, 32);
    text_hex(hex, signature, sizeof signature);
    snprintf(anchor, sizeof anchor, "%lld:%s", count, hash);
    return json_pack("{s:s, s:s, s:s}", "head", anchor, "key", id, "signature", hex);
}

static void show_signed(struct cli *c, const json_t *result)
{
    fputs("Signed: ", stdout);
    show_head(c, result);
}

int run_audit_sign(struct cli *c)
{
    struct ask a;
    struct reply reply;
    struct error err;
    struct signing_key *key = NULL;
    buf_auto body = {0};
    if (key_read(c->args[0], &key, &err) < 0)
        return cli_fail(c, &err);
    ask_init(&a, "GET", "/api/audit/head");
    int rc = ask_route(c, &a, &reply);
    json_t *head = rc == 0 ? json_loadb(reply.result, reply.len, 0, NULL) : NULL;
    json_t *object = head ? signed_head(key, head) : NULL;
    reply_free(&reply);
    json_decref(head);
    key_free(key);
    if (rc)
        return rc;
    if (!object)
        return cli_failf(c, MOAT_E_INTERNAL, "the head of the trail cannot be read");
    ask_init(&a, "POST", "/api/audit/heads");
    ask_body(&a, object, &body);
    json_decref(object);
    return ask_and_show(c, &a, show_signed);
}

static void show_rotated(struct cli *c, const json_t *result)
{
    static const struct column fields[] = {
        {"File", "file", false}, {"Up to record", "upto", false}, {"Hash", "hash", false}};
    show_fields(result, fields, 3);
}

int run_audit_rotate(struct cli *c)
{
    struct ask a;
    ask_init(&a, "POST", "/api/audit/rotate");
    ask_query(&a, "keep", c->option[OPT_KEEP]);
    return ask_and_show(c, &a, show_rotated);
}
