/* config: a plugin's configuration. */
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"
#include "cli/show.h"
#include "json/json.h"

#define VALUE_MAX (256 * 1024)

static void config_route(struct cli *c, struct ask *a, const char *method, const char *key)
{
    ask_init(a, method, "/api/plugins/info");
    ask_segment(a, c->args[0]);
    buf_puts(&a->target, "/config");
    if (key)
        ask_segment(a, key);
}

static void show_config(struct cli *c, const json_t *result)
{
    const json_t *config = json_object_get(result, "config"), *set = json_object_get(result, "set"),
                 *secrets = json_object_get(result, "secrets");
    const char *key;
    json_t *value, *all = json_copy((json_t *)(uintptr_t)config); /* iterating takes no const */
    if (!json_object_size(config) && !json_array_size(secrets))
        puts("There is nothing to configure.");
    json_object_foreach(all, key, value)
    {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        show_text(stdout, key);
        fputs(" = ", stdout);
        show_text(stdout, text ? text : "");
        puts(json_object_get(set, key) ? "" : " (default)");
        free(text);
    }
    for (size_t i = 0; i < json_array_size(secrets); i++) {
        const json_t *one = json_array_get(secrets, i);
        show_text(stdout, json_string_value(json_object_get(one, "name")));
        puts(json_is_true(json_object_get(one, "set")) ? " is set (secret)" : " is not set (secret)");
    }
    json_decref(all);
}

/* The guard of this change, or the one that was last looked at. */
static void show_guard(const json_t *guard)
{
    const char *state = json_string_value(json_object_get(guard, "state")),
               *why = json_string_value(json_object_get(guard, "why")),
               *ends = json_string_value(json_object_get(guard, "ends"));
    if (!state)
        return;
    if (strcmp(state, "running") == 0)
        printf("Watched until %s: when calls are worse with it than before it is taken back.\n", ends ? ends : "?");
    else if (strcmp(state, "off") == 0 || strcmp(state, "none") == 0)
        printf("Not watched: %s.\n", why);
    else
        printf("Watched: %s, %s.\n", state, why);
}

static void show_change(struct cli *c, const json_t *result)
{
    show_config(c, result);
    show_guard(json_object_get(result, "guard"));
}

int run_config_get(struct cli *c)
{
    struct ask a;
    config_route(c, &a, "GET", NULL);
    return ask_and_show(c, &a, show_config);
}

int run_config_unset(struct cli *c)
{
    struct ask a;
    config_route(c, &a, "DELETE", c->args[1]);
    ask_query(&a, "no_guard", cli_has(c, OPT_NO_GUARD) ? "true" : NULL);
    return ask_and_show(c, &a, show_change);
}

/* ---- history ---- */

static void show_history(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"REVISION", "revision", true},  {"TIME", "time", false},
                                            {"SET", "set", false},           {"BACK TO", "back", true},
                                            {"GUARD", "guard.state", false}, {"BECAUSE", "guard.why", false}};
    show_table(json_object_get(result, "revisions"), columns, sizeof columns / sizeof *columns,
               "Nothing was ever set.");
}

int run_config_history(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/plugins/info");
    ask_segment(&a, c->args[0]);
    buf_puts(&a.target, "/config-history");
    ask_query(&a, "limit", c->option[OPT_LIMIT]);
    return ask_and_show(c, &a, show_history);
}

/* ---- set ---- */

static bool is_secret(const json_t *now, const char *key)
{
    const json_t *secrets = json_object_get(now, "secrets");
    for (size_t i = 0; i < json_array_size(secrets); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(secrets, i), "name"));
        if (name && strcmp(name, key) == 0)
            return true;
    }
    return false;
}

static bool wants_text(const json_t *now, const char *key)
{
    const json_t *properties = json_object_get(json_object_get(now, "schema"), "properties");
    const char *type = json_string_value(json_object_get(json_object_get(properties, key), "type"));
    return type && strcmp(type, "string") == 0;
}

/* The property's schema and whether it is secret; NULL: reported, with *status. */
static json_t *read_now(struct cli *c, int *status)
{
    struct ask a;
    struct reply reply;
    json_t *now = NULL;
    config_route(c, &a, "GET", NULL);
    *status = ask_route(c, &a, &reply);
    if (*status == 0) {
        now = json_loadb(reply.result, reply.len, JSON_DECODE_INT_AS_REAL, NULL);
        if (!now)
            *status = cli_failf(c, MOAT_E_INTERNAL, "the result cannot be read");
    }
    reply_free(&reply);
    return now;
}

/* VALUE is JSON; where the schema says string, and where it is no JSON, a bare text stands for its string. */
static bool as_json(const struct buf *given, bool text, struct buf *out)
{
    buf_auto copy = BUF_INIT(2 * VALUE_MAX);
    size_t len = given->len;
    while (len && (given->data[len - 1] == '\n' || given->data[len - 1] == '\r'))
        len--; /* of a line that was typed or of a file */
    if (!buf_put(&copy, given->data, len) || !buf_reserve(&copy, 1))
        return false;
    bool valid = len && json_valid(copy.data, len);
    if (valid && (!text || given->data[0] == '"'))
        return buf_put(out, given->data, len);
    json_t *word = json_stringn((const char *)given->data, len);
    char *dumped = word ? json_dumps(word, JSON_ENCODE_ANY) : NULL;
    bool good = dumped && buf_puts(out, dumped);
    if (dumped)
        explicit_bzero(dumped, strlen(dumped));
    free(dumped);
    json_decref(word);
    explicit_bzero(copy.data, copy.cap);
    return good;
}

static int take_value(struct cli *c, const json_t *now, struct buf *out)
{
    struct error err;
    buf_auto given = BUF_INIT(VALUE_MAX);
    bool from_stdin = strcmp(c->args[2], "-") == 0;
    if (is_secret(now, c->args[1]) && !from_stdin)
        return cli_failf(c, MOAT_E_BAD_USAGE,
                         "%.100s is a secret, and others can see an argument: `moat config set %.40s %.100s -` takes "
                         "it from standard input",
                         c->args[1], c->args[0], c->args[1]);
    if (from_stdin && file_read_stdin(&given, &err) < 0)
        return cli_fail(c, &err);
    if (!from_stdin)
        buf_puts(&given, c->args[2]);
    if (from_stdin && !given.len)
        return cli_failf(c, MOAT_E_BAD_JSON, "standard input is empty; it must be the property's value");
    bool good = buf_reserve(&given, 1) && as_json(&given, wants_text(now, c->args[1]), out);
    explicit_bzero(given.data, given.cap);
    return good ? 0 : cli_failf(c, MOAT_E_BAD_USAGE, "the value is neither JSON nor UTF-8 text");
}

int run_config_set(struct cli *c)
{
    struct ask a;
    int status;
    buf_auto value = BUF_INIT(2 * VALUE_MAX);
    json_t *now = read_now(c, &status);
    if (!now)
        return status;
    status = take_value(c, now, &value);
    json_decref(now);
    if (status)
        return status;
    config_route(c, &a, "PUT", c->args[1]);
    ask_query(&a, "no_guard", cli_has(c, OPT_NO_GUARD) ? "true" : NULL);
    a.content_type = "application/json";
    a.body = buf_text(&value);
    a.len = value.len;
    status = ask_and_show(c, &a, show_change);
    explicit_bzero(value.data, value.cap);
    return status;
}
