/* Commands of tokens: who may ask over HTTP. */
#include <stdlib.h>
#include <string.h>

#include "cli/show.h"

/* The token alone on standard output, so that a script can keep it; what people want to know beside it. */
static void show_created(struct cli *c, const json_t *result)
{
    char *id = show_value(result, "id"), *scopes = show_value(result, "scopes"),
         *expires = show_value(result, "expires"), *token = show_value(result, "token");
    fprintf(stderr, "Token %s may %s%s%s. It is shown this once:\n", id ? id : "-", scopes ? scopes : "-",
            expires && strcmp(expires, "-") != 0 ? ", until " : "",
            expires && strcmp(expires, "-") != 0 ? expires : "");
    printf("%s\n", token ? token : "-");
    free(id);
    free(scopes);
    free(expires);
    free(token);
}

int run_token_create(struct cli *c)
{
    struct ask a;
    buf_auto body = {0};
    json_t *scopes = json_array(), *object = json_pack("{so}", "scopes", scopes);
    for (size_t i = 0; i < c->ngrants; i++)
        json_array_append_new(scopes, json_string(c->grants[i]));
    if (cli_has(c, OPT_FOR))
        json_object_set_new(object, "for", json_string(c->option[OPT_FOR]));
    if (cli_has(c, OPT_NAME))
        json_object_set_new(object, "name", json_string(c->option[OPT_NAME]));
    if (!c->ngrants || json_array_size(scopes) != c->ngrants) {
        json_decref(object);
        return cli_failf(c, MOAT_E_BAD_USAGE, "a token needs --scope: execute:NAME, execute:*, read, manage or admin");
    }
    ask_init(&a, "POST", "/api/tokens");
    ask_body(&a, object, &body);
    json_decref(object);
    return ask_and_show(c, &a, show_created);
}

static void show_tokens(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {
        {"ID", "id", true},        {"NAME", "name", false},       {"SCOPES", "scopes", false},
        {"STATE", "state", false}, {"EXPIRES", "expires", false}, {"LAST USED", "last_used", false}};
    show_table(show_list(result, "tokens"), columns, sizeof columns / sizeof *columns,
               "There are no tokens. `moat token create --scope read` makes one.");
}

int run_token_list(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/tokens");
    return ask_and_show(c, &a, show_tokens);
}

static void show_revoked(struct cli *c, const json_t *result)
{
    printf("Token %s is revoked: nobody is let in with it any more.\n", c->args[0]);
}

int run_token_revoke(struct cli *c)
{
    struct ask a;
    ask_init(&a, "DELETE", "/api/tokens");
    ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, show_revoked);
}
