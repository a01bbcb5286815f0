/* parameter: what can be changed while everything runs. */
#include <string.h>

#include "cli/cli.h"

static void show_parameters(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {
        {"NAME", "name", false}, {"VALUE", "value", false},     {"MIN", "min", true},        {"MAX", "max", true},
        {"STEP", "step", true},  {"CHOICES", "choices", false}, {"CHANGES", "changes", true}};
    (void)c;
    show_table(show_list(result, "parameters"), columns, sizeof columns / sizeof *columns, "");
}

static void show_parameter(struct cli *c, const json_t *result)
{
    static const struct column fields[] = {{"Value", "value", false},     {"Least", "min", false},
                                           {"Most", "max", false},        {"Steps", "step", false},
                                           {"Choices", "choices", false}, {"Watched", "watched", false},
                                           {"What", "description", false}};
    static const struct column columns[] = {{"CHANGE", "number", true}, {"TIME", "time", false},
                                            {"FROM", "from", false},    {"TO", "to", false},
                                            {"WHO", "who", false},      {"WHY", "why", false},
                                            {"GUARD", "guard", false},  {"BECAUSE", "guard_why", false}};
    (void)c;
    show_fields(result, fields, sizeof fields / sizeof *fields);
    show_table(json_object_get(result, "history"), columns, sizeof columns / sizeof *columns,
               "It was not changed yet.");
}

int run_parameter_get(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/parameters");
    if (c->nargs)
        ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, c->nargs ? show_parameter : show_parameters);
}

/* VALUE is JSON, or a bare text that stands for its string. */
int run_parameter_set(struct cli *c)
{
    struct ask a;
    json_t *value = json_loads(c->args[1], JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    json_t *text = value ? NULL : json_string(c->args[1]);
    char *bare = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    json_decref(value);
    json_decref(text);
    if (!value && !bare)
        return cli_failf(c, MOAT_E_BAD_USAGE, "the value is no text in UTF-8");
    ask_init(&a, "PUT", "/api/parameters");
    ask_segment(&a, c->args[0]);
    ask_query(&a, "why", c->option[OPT_REASON]);
    ask_query(&a, "no_guard", cli_has(c, OPT_NO_GUARD) ? "true" : NULL);
    a.content_type = "application/json";
    a.body = bare ? bare : c->args[1];
    a.len = strlen(a.body);
    int rc = ask_and_show(c, &a, show_parameter);
    free(bare);
    return rc;
}
