/* apply: what a declarative file changes, for people one plugin at a time. */
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"
#include "cli/show.h"

static void put_value(const json_t *value)
{
    if (json_is_string(value)) {
        show_text(stdout, json_string_value(value));
    } else if (json_is_boolean(value)) {
        fputs(json_is_true(value) ? "yes" : "no", stdout);
    } else {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        show_text(stdout, text ? text : "-");
        free(text);
    }
}

/* A configured text keeps its quotes: "1" is not 1. */
static void put_side(const json_t *change, const json_t *value)
{
    char *text = json_object_get(change, "key") ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text)
        show_text(stdout, text);
    else
        put_value(value);
    free(text);
}

/* "  + grant file_read=/data", "  ~ version 1.0.0 -> 2.0.0" */
static void show_change(const json_t *change)
{
    const json_t *from = json_object_get(change, "from"), *to = json_object_get(change, "to");
    bool comes = json_is_null(from), goes = json_is_null(to);
    const char *what = json_string_value(json_object_get(change, "what"));
    const char *key = json_string_value(json_object_get(change, "key"));
    printf("  %c %-9s ", comes ? '+' : goes ? '-' : '~', what ? what : "");
    if (key) {
        show_text(stdout, key);
        fputs(": ", stdout);
    }
    if (!comes)
        put_side(change, from);
    if (!comes && !goes)
        fputs(" -> ", stdout);
    if (!goes)
        put_side(change, to);
    putchar('\n');
}

static void show_changes(struct cli *c, const json_t *result)
{
    const json_t *list = json_object_get(result, "changes");
    size_t n = json_array_size(list), plugins = 0;
    const char *last = "";
    for (size_t i = 0; i < n; i++) {
        const json_t *change = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(change, "plugin"));
        if (name && strcmp(name, last) != 0) {
            show_text(stdout, name);
            putchar('\n');
            last = name;
            plugins++;
        }
        show_change(change);
    }
    json_int_t named = json_integer_value(json_object_get(result, "plugins"));
    if (!n)
        printf("All is as the file says (%lld plugin%s).\n", (long long)named, named == 1 ? "" : "s");
    else if (cli_has(c, OPT_CHECK))
        printf("%zu of %lld plugins would change. Nothing has.\n", plugins, (long long)named);
    else
        printf("%zu of %lld plugins changed.\n", plugins, (long long)named);
}

int run_apply(struct cli *c)
{
    struct ask a;
    struct reply reply;
    struct error err;
    ask_init(&a, "POST", "/api/apply");
    ask_query(&a, "check", cli_has(c, OPT_CHECK) ? "true" : NULL);
    if (file_as_body(&a, c->args[0], &err) < 0) {
        ask_free(&a);
        return cli_fail(c, &err);
    }
    a.content_type = "application/json";
    int rc = ask_route(c, &a, &reply);
    bool differs = false;
    if (rc == 0) {
        json_t *result = json_loadb(reply.result, reply.len, 0, NULL);
        differs = json_array_size(json_object_get(result, "changes")) != 0;
        if (cli_has(c, OPT_JSON))
            reply_print(&reply);
        else
            show_changes(c, result);
        json_decref(result);
        rc = cli_done(c);
    }
    reply_free(&reply);
    return rc ? rc : differs && cli_has(c, OPT_CHECK) ? 1 : 0;
}
