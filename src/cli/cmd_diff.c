/* diff: what another version would change, for people. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/file.h"
#include "cli/show.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* One line, with the value as JSON unless it is a text. */
static void show_line(const char *before, const json_t *value)
{
    char *dumped = json_is_string(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    fputs(before, stdout);
    show_text(stdout, json_is_string(value) ? json_string_value(value) : dumped ? dumped : "");
    putchar('\n');
    free(dumped);
}

static void show_heading(bool *said, const char *heading)
{
    if (!*said && heading)
        puts(heading);
    *said = true;
}

/* [{"pointer", "from", "to"}] */
static void show_changes(const json_t *changes, const char *heading, const char *indent)
{
    bool said = false;
    char line[64];
    for (size_t i = 0; i < json_array_size(changes); i++) {
        const json_t *one = json_array_get(changes, i), *from = json_object_get(one, "from"),
                     *to = json_object_get(one, "to");
        show_heading(&said, heading);
        if (*text_of(one, "pointer")) {
            fputs(indent, stdout);
            show_text(stdout, text_of(one, "pointer"));
            putchar('\n');
        }
        snprintf(line, sizeof line, "%s- ", indent);
        if (from)
            show_line(line, from);
        snprintf(line, sizeof line, "%s+ ", indent);
        if (to)
            show_line(line, to);
    }
}

static void show_ask(const char *sign, const char *name, const json_t *ask)
{
    char *scopes = show_value(ask, "suggested");
    printf("  %s %s, %s", sign, name, json_is_true(json_object_get(ask, "required")) ? "required" : "optional");
    if (scopes && strcmp(scopes, "-") != 0) {
        fputs(", suggests ", stdout);
        show_text(stdout, scopes);
    }
    putchar('\n');
    free(scopes);
}

static void show_asks(const json_t *permissions)
{
    bool said = false;
    for (size_t i = 0; i < json_array_size(permissions); i++) {
        const json_t *one = json_array_get(permissions, i);
        show_heading(&said, "Permissions:");
        if (json_object_get(one, "from"))
            show_ask("-", text_of(one, "permission"), json_object_get(one, "from"));
        if (json_object_get(one, "to"))
            show_ask("+", text_of(one, "permission"), json_object_get(one, "to"));
    }
}

static void show_named(const json_t *actions, const char *sign, bool *said)
{
    for (size_t i = 0; i < json_array_size(actions); i++) {
        const json_t *one = json_array_get(actions, i);
        show_heading(said, "Actions:");
        printf("  %s %s: ", sign, text_of(one, "name"));
        show_text(stdout, text_of(one, "description"));
        putchar('\n');
    }
}

static void show_pair(const json_t *action, const char *what)
{
    const json_t *pair = json_object_get(action, what);
    if (!pair)
        return;
    printf("    %s:\n", what);
    show_line("    - ", json_object_get(pair, "from"));
    show_line("    + ", json_object_get(pair, "to"));
}

static void show_actions(const json_t *actions)
{
    bool said = false;
    const json_t *changed = json_object_get(actions, "changed");
    show_named(json_object_get(actions, "added"), "+", &said);
    show_named(json_object_get(actions, "removed"), "-", &said);
    for (size_t i = 0; i < json_array_size(changed); i++) {
        const json_t *one = json_array_get(changed, i);
        show_heading(&said, "Actions:");
        printf("  ~ %s\n", text_of(one, "name"));
        show_pair(one, "description");
        show_pair(one, "idempotent");
        show_changes(json_object_get(one, "parameters"), "    parameters:", "    ");
        show_changes(json_object_get(one, "result"), "    result:", "    ");
    }
}

void show_diff(struct cli *c, const json_t *result)
{
    const char *name = text_of(result, "name"), *from = text_of(json_object_get(result, "from"), "version"),
               *to = text_of(json_object_get(result, "to"), "version");
    printf("%s %s -> %s\n", name, from, to);
    show_asks(json_object_get(result, "permissions"));
    show_changes(json_object_get(result, "description"), "Description:", "  ");
    show_actions(json_object_get(result, "actions"));
    show_changes(json_object_get(result, "limits"), "Limits:", "  ");
    show_changes(json_object_get(result, "config"), "Configuration:", "  ");
    show_changes(json_object_get(result, "other"), "Other:", "  ");
    if (json_is_true(json_object_get(result, "cut")))
        puts("… and more: too much to show all of it");
    if (json_is_true(json_object_get(result, "same_face")))
        puts("Agents are told the same.");
    else
        printf("Agents would be told something else. When that is fine: moat use %s@%s --accept %.16s\n", name, to,
               text_of(result, "digest"));
}

/* NAME or NAME@VERSION is a version, whatever files there are; anything else is a file. */
static bool is_target(const char *text)
{
    char name[64];
    size_t len = strcspn(text, "@");
    if (len >= sizeof name)
        return false;
    memcpy(name, text, len);
    name[len] = '\0';
    return text_is_name(name, 30);
}

int run_diff(struct cli *c)
{
    struct ask a;
    struct error err;
    bool file = !is_target(c->args[1]);
    ask_init(&a, file ? "POST" : "GET", "/api/diff");
    ask_query(&a, "from", c->args[0]);
    if (!file) {
        ask_query(&a, "to", c->args[1]);
    } else if (file_as_body(&a, c->args[1], &err) < 0) {
        ask_free(&a);
        return cli_fail(c, &err);
    }
    return ask_and_show(c, &a, show_diff);
}
