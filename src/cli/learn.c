#include "cli/learn.h"

#include <stdlib.h>
#include <string.h>

#include "cli/show.h"
#include "package/manifest.h"

void learned_clear(struct learned *l)
{
    json_decref(l->granted);
    json_decref(l->declined);
    json_decref(l->last);
}

/* ---- a fragment of plugin.json ---- */

/* What the author asks for already, in the form that has scopes. */
static json_t *asks_of(const json_t *manifest, const char *field)
{
    json_t *all = json_object();
    json_t *asked = json_object_get(manifest, field), *scopes;
    const char *name;
    for (size_t i = 0; json_is_array(asked) && i < json_array_size(asked); i++)
        json_object_set_new(all, json_string_value(json_array_get(asked, i)), json_object());
    json_object_foreach(asked, name, scopes)
    {
        json_object_set_new(all, name, json_deep_copy(scopes));
    }
    return all;
}

static void add_scope(json_t *ask, const char *permission, const char *scope)
{
    int p = permission_parse(permission);
    const char *member = p < 0 ? NULL : manifest_scopes_member((enum permission)p);
    json_t *list = member ? json_object_get(ask, member) : NULL;
    if (!member || !*scope)
        return;
    if (!list) {
        list = json_array();
        json_object_set_new(ask, member, list);
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), scope) == 0)
            return;
    json_array_append_new(list, json_string(scope));
}

/* Where the author asks for it already it stays; else it is required when the action failed without it. */
static void add_grant(json_t *required, json_t *optional, const json_t *grant)
{
    const char *permission = json_string_value(json_object_get(grant, "permission"));
    const char *scope = json_string_value(json_object_get(grant, "scope"));
    json_t *field = json_is_true(json_object_get(grant, "required")) ? required : optional;
    if (json_object_get(required, permission))
        field = required;
    else if (json_object_get(optional, permission))
        field = optional;
    if (!json_object_get(field, permission))
        json_object_set_new(field, permission, json_object());
    add_scope(json_object_get(field, permission), permission, scope ? scope : "");
}

static json_t *fragment_of(const struct learned *l)
{
    json_t *required = asks_of(l->place->manifest, "required_permissions");
    json_t *optional = asks_of(l->place->manifest, "optional_permissions");
    for (size_t i = 0; i < json_array_size(l->granted); i++)
        add_grant(required, optional, json_array_get(l->granted, i));
    return json_pack("{s:o, s:o}", "required_permissions", required, "optional_permissions", optional);
}

static json_t *commands_of(const struct learned *l)
{
    json_t *all = json_array();
    for (size_t i = 0; i < json_array_size(l->granted); i++)
        json_array_append(all, json_object_get(json_array_get(l->granted, i), "command"));
    return all;
}

/* ---- telling ---- */

static json_t *document(const struct learned *l)
{
    static const char *const numbers[] = {"left_out", "missing", "unnamed", "hopeless"};
    json_t *d = json_pack("{s:s, s:s, s:s, s:i, s:s, s:b, s:O, s:O}", "plugin", l->place->name, "version",
                          l->place->version, "action", l->action, "rounds", (int)l->rounds, "ended", l->ended,
                          "succeeded", l->succeeded, "granted", l->granted, "declined", l->declined);
    json_object_set_new(d, "failure",
                        l->succeeded ? json_null()
                                     : json_pack("{s:s, s:s}", "code", error_info(l->failure.code)->name, "message",
                                                 l->failure.message));
    json_object_set(d, "refused", json_object_get(l->last, "refused"));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_set(d, numbers[i], json_object_get(l->last, numbers[i]));
    json_object_set_new(d, "ceilings", json_boolean(l->place->bounded));
    json_object_set_new(d, "manifest", fragment_of(l));
    json_object_set_new(d, "commands", commands_of(l));
    return d;
}

static void show_note(const json_t *d, const char *key, const char *text)
{
    json_int_t n = json_integer_value(json_object_get(d, key));
    if (n)
        printf("%lld %s\n", (long long)n, text);
}

static void show_grants(const char *title, const json_t *rows)
{
    static const struct column columns[] = {{"GRANT", "grant", false}, {"WHY", "reason", false}};
    if (!json_array_size(rows))
        return;
    puts(title);
    show_table(rows, columns, 2, "");
}

static void show_people(const struct learned *l, const json_t *d)
{
    printf("Ran %s of %s %s %u times: ", l->action, l->place->name, l->place->version, l->rounds);
    show_text(stdout, l->succeeded ? "in the end it succeeded" : l->failure.message);
    puts(strcmp(l->ended, "rounds") == 0 ? ". So often and no more: learn again with what is granted by then." : ".");
    show_grants("\nNeeded:", l->granted);
    show_grants("\nDeclined:", l->declined);
    show_grants("\nNot to be granted:", json_object_get(d, "refused"));
    show_note(d, "left_out", "more are wanted and not told: it asks for more than a person would read.");
    show_note(d, "missing", "times it asked for what is not there, which nobody can grant.");
    show_note(d, "unnamed", "denials have no names: it tried more than is kept.");
    show_note(d, "hopeless", "denials are of what no grant allows: see `moat help grant`.");
    if (!l->place->bounded)
        puts("There is no home here whose ceilings would hold.");
    if (!json_array_size(l->granted))
        return;
    char *text = json_dumps(json_object_get(d, "manifest"), JSON_INDENT(2));
    puts("\nFor plugin.json:");
    puts(text ? text : "-");
    free(text);
    puts("\nWhere it is to run:");
    const json_t *list = json_object_get(d, "commands");
    for (size_t i = 0; i < json_array_size(list); i++) {
        show_text(stdout, json_string_value(json_array_get(list, i)));
        putchar('\n');
    }
}

void learned_show(const struct cli *c, const struct learned *l)
{
    json_t *d = document(l);
    if (cli_has(c, OPT_JSON)) {
        json_dumpf(d, stdout, JSON_COMPACT);
        putchar('\n');
    } else {
        show_people(l, d);
    }
    json_decref(d);
}
