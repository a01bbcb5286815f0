/* Commands that decide: whom to trust, what a plugin may, how the host is set. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "cli/show.h"
#include "json/json.h"

#define PEM_MAX (64 * 1024)

/* ---- trust ---- */

static void show_trusted(struct cli *c, const json_t *result)
{
    char *id = show_value(result, "key_id"), *names = show_value(result, "names");
    printf("Trusted: %s may publish ", c->args[0]);
    show_text(stdout, names ? names : "-");
    printf(" with key %s\n", id ? id : "-");
    free(id);
    free(names);
}

int run_trust_add(struct cli *c)
{
    struct ask a;
    struct error err;
    buf_auto pem = BUF_INIT(PEM_MAX), body = {0};
    if (io_read_file(c->args[1], &pem, &err) < 0)
        return cli_fail(c, &err);
    /* Looked at before it is sent: a private key that was given by mistake goes nowhere. */
    struct public_key key;
    if (key_parse_public(buf_text(&pem), pem.len, &key, &err) < 0) {
        error_prefix(&err, "%.400s", c->args[1]);
        return cli_fail(c, &err);
    }
    json_t *object = json_pack("{s:s, s:s#}", "publisher", c->args[0], "public_key", buf_text(&pem), (int)pem.len);
    if (!object) /* jansson takes UTF-8 only */
        return cli_failf(c, MOAT_E_BAD_USAGE, "%.400s is not a PEM public key", c->args[1]);
    if (cli_has(c, OPT_NAMES))
        json_object_set_new(object, "names", json_string(c->option[OPT_NAMES]));
    ask_init(&a, "POST", "/api/trust");
    ask_body(&a, object, &body);
    json_decref(object);
    return ask_and_show(c, &a, show_trusted);
}

static void show_publishers(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"PUBLISHER", "name", false},    {"MAY PUBLISH", "names", false},
                                            {"KEY", "key.id", false},        {"ALGORITHM", "key.algorithm", false},
                                            {"STATUS", "key.status", false}, {"REVOKED", "key.revoked_at", false}};
    json_t *rows = json_array(); /* one a key */
    const json_t *publishers = show_list(result, "publishers");
    for (size_t i = 0; i < json_array_size(publishers); i++) {
        const json_t *publisher = json_array_get(publishers, i), *keys = json_object_get(publisher, "keys");
        for (size_t k = 0; k < json_array_size(keys); k++)
            json_array_append_new(rows,
                                  json_pack("{s:O, s:O, s:O}", "name", json_object_get(publisher, "name"), "names",
                                            json_object_get(publisher, "names"), "key", json_array_get(keys, k)));
    }
    show_table(rows, columns, 6, "Nobody is trusted; `moat trust add NAME PUBFILE` changes that.");
    json_decref(rows);
}

int run_trust_list(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/trust");
    return ask_and_show(c, &a, show_publishers);
}

static void show_revoked_key(struct cli *c, const json_t *result)
{
    char *stopped = show_value(result, "stopped");
    printf("Revoked: %s of %s. Stopped: ", c->nargs > 1 ? c->args[1] : "every key", c->args[0]);
    show_text(stdout, stopped ? stopped : "-");
    putchar('\n');
    free(stopped);
}

int run_trust_revoke(struct cli *c)
{
    struct ask a;
    ask_init(&a, "DELETE", "/api/trust");
    ask_segment(&a, c->args[0]);
    if (c->nargs > 1)
        ask_segment(&a, c->args[1]);
    return ask_and_show(c, &a, show_revoked_key);
}

static void show_names(struct cli *c, const json_t *result)
{
    printf("%s may publish ", c->args[0]);
    show_text(stdout, c->args[1]);
    putchar('\n');
}

int run_trust_names(struct cli *c)
{
    struct ask a;
    buf_auto body = {0};
    json_t *object = json_pack("{s:s}", "names", c->args[1]);
    if (!object)
        return cli_failf(c, MOAT_E_BAD_USAGE, "%.200s is not UTF-8", c->args[1]);
    ask_init(&a, "PUT", "/api/trust");
    ask_segment(&a, c->args[0]);
    ask_body(&a, object, &body);
    json_decref(object);
    return ask_and_show(c, &a, show_names);
}

static void show_transferred(struct cli *c, const json_t *result)
{
    char *before = show_value(result, "before");
    printf("%s belonged to %s and belongs to %s now.\n", c->args[0], before ? before : "-", c->args[1]);
    free(before);
}

int run_trust_transfer(struct cli *c)
{
    struct ask a;
    buf_auto body = {0};
    json_t *object = json_pack("{s:s, s:s}", "plugin", c->args[0], "publisher", c->args[1]);
    if (!object)
        return cli_failf(c, MOAT_E_BAD_USAGE, "the names are not UTF-8");
    ask_init(&a, "POST", "/api/trust/transfer");
    ask_body(&a, object, &body);
    json_decref(object);
    return ask_and_show(c, &a, show_transferred);
}

/* ---- grants ---- */

static void show_decided(struct cli *c, const json_t *result)
{
    show_permissions(json_object_get(result, "permissions"));
    show_needs(result);
}

static int decide(struct cli *c, const char *what, const char *key)
{
    struct ask a;
    buf_auto body = {0};
    ask_init(&a, "POST", "/api/plugins/info");
    ask_segment(&a, c->args[0]);
    buf_printf(&a.target, "/%s", what);
    json_t *object = json_pack("{s:s}", key, c->args[1]);
    if (!object) {
        ask_free(&a);
        return cli_failf(c, MOAT_E_BAD_USAGE, "%.200s is not UTF-8", c->args[1]);
    }
    if (cli_has(c, OPT_FOR))
        json_object_set_new(object, "for", json_string(c->option[OPT_FOR]));
    ask_body(&a, object, &body);
    json_decref(object);
    return ask_and_show(c, &a, show_decided);
}

int run_grant(struct cli *c)
{
    return decide(c, "grants", "grant");
}

int run_refuse(struct cli *c)
{
    return decide(c, "refusals", "permission");
}

int run_revoke(struct cli *c)
{
    struct ask a;
    ask_init(&a, "DELETE", "/api/plugins/info");
    ask_segment(&a, c->args[0]);
    buf_puts(&a.target, "/grants");
    ask_query(&a, "grant", c->args[1]);
    return ask_and_show(c, &a, show_decided);
}

static void show_grants(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"PLUGIN", "plugin", false},  {"PERMISSION", "permission", false},
                                            {"SCOPE", "scope", false},    {"DECISION", "decision", false},
                                            {"HOLDS", "in_force", false}, {"WHY", "reason", false},
                                            {"UNTIL", "until", false},    {"DECIDED", "decided_at", false}};
    show_table(show_list(result, "grants"), columns, 8, "Nothing is decided.");
    char *reaches = show_value(result, "reaches");
    if (json_array_size(json_object_get(result, "reaches"))) {
        printf("Reaches through others: ");
        show_text(stdout, reaches ? reaches : "-");
        putchar('\n');
    }
    free(reaches);
    show_needs(result);
}

static int about_plugins(struct cli *c, const char *what, show_result show)
{
    struct ask a;
    ask_init(&a, "GET", c->nargs ? "/api/plugins/info" : "/api");
    if (c->nargs)
        ask_segment(&a, c->args[0]);
    buf_printf(&a.target, "/%s", what);
    ask_query(&a, "since", c->option[OPT_SINCE]);
    ask_query(&a, "limit", c->option[OPT_LIMIT]);
    return ask_and_show(c, &a, show);
}

int run_grants(struct cli *c)
{
    return about_plugins(c, "grants", show_grants);
}

static void show_denials(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"PLUGIN", "plugin", false},       {"ACTION", "action", false},
                                            {"OPERATION", "operation", false}, {"OBJECT", "object", false},
                                            {"TIMES", "count", true},          {"PERMISSION", "permission", false},
                                            {"WALL", "wall", false},           {"WOULD ALLOW IT", "command", false}};
    show_table(show_list(result, "denials"), columns, 8, "Nothing was denied.");
    json_int_t dropped = json_integer_value(json_object_get(result, "dropped"));
    if (dropped)
        fprintf(stderr, "And %lld more, whose rows are not kept any more.\n", (long long)dropped);
}

int run_denials(struct cli *c)
{
    return about_plugins(c, "denials", show_denials);
}

/* ---- settings ---- */

static void show_settings(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"KEY", "key", false},
                                            {"VALUE", "value", false},
                                            {"DEFAULT", "default", false},
                                            {"TAKES EFFECT", "takes_effect", false},
                                            {"DESCRIPTION", "description", false}};
    static const struct column one[] = {
        {"Value", "value", false}, {"Default", "default", false},           {"Least", "min", false},
        {"Most", "max", false},    {"Takes effect", "takes_effect", false}, {"Description", "description", false}};
    const json_t *list = show_list(result, "settings");
    if (list)
        show_table(list, columns, 5, "There are no settings.");
    else
        show_fields(result, one, 6);
}

int run_settings_get(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/settings");
    if (c->nargs)
        ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, show_settings);
}

/* VALUE is JSON, or else a word that stands for its string. */
int run_settings_set(struct cli *c)
{
    struct ask a;
    const char *value = c->args[1];
    buf_auto text = BUF_INIT(PEM_MAX), quoted = BUF_INIT(PEM_MAX);
    buf_puts(&text, value);
    bool is_json = text.data && json_valid(text.data, text.len);
    if (!is_json) {
        json_t *word = json_string(value);
        if (!word || !text.data)
            return cli_failf(c, MOAT_E_BAD_USAGE, "the value is neither JSON nor UTF-8 text");
        char *dumped = json_dumps(word, JSON_ENCODE_ANY);
        buf_puts(&quoted, dumped ? dumped : "");
        free(dumped);
        json_decref(word);
    }
    ask_init(&a, "PUT", "/api/settings");
    ask_segment(&a, c->args[0]);
    a.content_type = "application/json";
    a.body = is_json ? value : buf_text(&quoted);
    a.len = strlen(a.body);
    return ask_and_show(c, &a, show_settings);
}
