/* Commands over calls that others made: what runs, what ran, an end to it, and why something failed. */
#include <stdlib.h>
#include <string.h>

#include "cli/show.h"

static void show_calls(struct cli *c, const json_t *result)
{
    static const struct column running[] = {
        {"CALL", "id", false}, {"PLUGIN", "plugin", false}, {"ACTION", "action", false}, {"BEGAN", "began", false}};
    static const struct column ended[] = {{"CALL", "id", false},       {"PLUGIN", "plugin", false},
                                          {"ACTION", "action", false}, {"BEGAN", "began", false},
                                          {"CODE", "code", false},     {"RAN NS", "ran_ns", true}};
    puts("Running:");
    show_table(show_list(result, "running"), running, 4, "nothing");
    puts("Ended, newest first:");
    show_table(show_list(result, "ended"), ended, 6, "nothing since the server started");
}

int run_calls(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/calls");
    ask_query(&a, "plugin", c->nargs ? c->args[0] : NULL);
    ask_query(&a, "limit", c->option[OPT_LIMIT]);
    return ask_and_show(c, &a, show_calls);
}

static void show_cancelled(struct cli *c, const json_t *result)
{
    printf("Call %s is cancelled.\n", c->args[0]);
}

int run_cancel(struct cli *c)
{
    struct ask a;
    ask_init(&a, "DELETE", "/api/calls");
    ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, show_cancelled);
}

/* ---- why ---- */

static void show_lines(const char *title, const json_t *list, const char *const *paths, size_t npaths)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        printf("%-12s", i ? "" : title);
        for (size_t k = 0; k < npaths; k++) {
            char *text = show_value(json_array_get(list, i), paths[k]);
            fputs(k ? "  " : "", stdout);
            show_text(stdout, text ? text : "-");
            free(text);
        }
        putchar('\n');
    }
}

static void show_why(struct cli *c, const json_t *result)
{
    static const struct column fields[] = {{"Code", "code", false},
                                           {"Message", "message", false},
                                           {"When", "time", false},
                                           {"Decided by", "decision.by", false},
                                           {"Chain", "chain", false},
                                           {"Cure", "advice", false},
                                           {"Would allow", "decision.needs_grant", false},
                                           {"Token", "caller.token", false},
                                           {"Its name", "caller.name", false},
                                           {"Its scopes", "caller.scopes", false},
                                           {"Missing", "decision.needs_scope", false},
                                           {"Mend with", "decision.mend", false}};
    static const char *const grant[] = {"permission", "scope", "decision"};
    static const char *const denial[] = {"operation", "object", "command"};
    static const char *const line[] = {"time", "level", "text"};
    show_fields(result, fields, sizeof fields / sizeof *fields);
    show_lines("Decisions:", show_list(result, "grants"), grant, 3);
    show_lines("Denials:", show_list(result, "denials"), denial, 3);
    show_lines("Log:", show_list(result, "log"), line, 3);
}

int run_why(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/why");
    ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, show_why);
}
