/* Commands over what grants may and can name: ceilings, data sources. */
#include <stdlib.h>

#include "cli/file.h"

/* ---- ceilings ---- */

static void show_ceilings(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"OVER", "subject", false},
                                            {"NEVER", "permission", false},
                                            {"SCOPE", "scope", false},
                                            {"SET", "set_at", false}};
    show_table(show_list(result, "ceilings"), columns, 4, "There are no ceilings.");
}

int run_ceiling_list(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/ceilings");
    return ask_and_show(c, &a, show_ceilings);
}

static void show_changed(struct cli *c, const json_t *result)
{
    char *less = show_value(result, "have_less"), *more = show_value(result, "have_more");
    const char *names = json_object_get(result, "have_less") ? less : more;
    printf("%s. Plugins that have %s now: ", names == less ? "Set" : "Removed", names == less ? "less" : "more");
    show_text(stdout, names ? names : "-");
    putchar('\n');
    free(less);
    free(more);
}

int run_ceiling_set(struct cli *c)
{
    struct ask a;
    buf_auto body = {0};
    json_t *object = json_pack("{s:s, s:s}", "subject", c->args[0], "never", c->args[1]);
    if (!object)
        return cli_failf(c, MOAT_E_BAD_USAGE, "%.200s is not UTF-8", c->args[1]);
    ask_init(&a, "POST", "/api/ceilings");
    ask_body(&a, object, &body);
    json_decref(object);
    return ask_and_show(c, &a, show_changed);
}

int run_ceiling_remove(struct cli *c)
{
    struct ask a;
    ask_init(&a, "DELETE", "/api/ceilings");
    ask_query(&a, "subject", c->args[0]);
    ask_query(&a, "never", c->args[1]);
    return ask_and_show(c, &a, show_changed);
}

/* ---- data sources ---- */

static void show_sources(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"NAME", "name", false},
                                            {"KIND", "kind", false},
                                            {"PLACE", "place", false},
                                            {"GRANTED TO", "granted_to", false}};
    show_table(show_list(result, "sources"), columns, 4, "There are no data sources.");
}

int run_source_list(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/sources");
    return ask_and_show(c, &a, show_sources);
}

static void show_source(struct cli *c, const json_t *result)
{
    printf("Added. It is granted as database_read=%s or database_write=%s.\n", c->args[0], c->args[0]);
}

int run_source_add(struct cli *c)
{
    struct ask a;
    struct error err;
    char place[PATH_MAX];
    buf_auto body = {0};
    if (file_from_root(c->args[2], place, &err) < 0)
        return cli_fail(c, &err);
    json_t *object = json_pack("{s:s, s:s, s:s}", "name", c->args[0], "kind", c->args[1], "place", place);
    if (!object)
        return cli_failf(c, MOAT_E_BAD_USAGE, "the arguments are not UTF-8");
    ask_init(&a, "POST", "/api/sources");
    ask_body(&a, object, &body);
    json_decref(object);
    return ask_and_show(c, &a, show_source);
}

static void show_removed(struct cli *c, const json_t *result)
{
    char *users = show_value(result, "granted_to");
    printf("Removed. Plugins whose grants of it give nothing now: ");
    show_text(stdout, users ? users : "-");
    putchar('\n');
    free(users);
}

int run_source_remove(struct cli *c)
{
    struct ask a;
    ask_init(&a, "DELETE", "/api/sources");
    ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, show_removed);
}
