/* Commands about what is installed. */
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"
#include "cli/show.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void say(const char *before, const char *text, const char *after)
{
    fputs(before, stdout);
    show_text(stdout, text);
    fputs(after, stdout);
}

/* The commands that decide what is still open, one a line. */
void show_needs(const json_t *result)
{
    const json_t *needs = json_object_get(result, "needs_grant");
    if (json_array_size(needs))
        puts("To decide:");
    for (size_t i = 0; i < json_array_size(needs); i++)
        say("  ", json_string_value(json_array_get(needs, i)), "\n");
    const json_t *unasked = json_object_get(result, "not_asked_for");
    for (size_t i = 0; i < json_array_size(unasked); i++)
        say("Granted but not asked for, so not in force: ", json_string_value(json_array_get(unasked, i)), "\n");
}

/* Permissions with their decisions, as install, info, grants and inspect have them. */
void show_permissions(const json_t *permissions)
{
    static const struct column columns[] = {{"PERMISSION", "permission", false},
                                            {"REQUIRED", "required", false},
                                            {"DECISION", "decision", false},
                                            {"SCOPES", "scopes", false},
                                            {"SUGGESTED", "suggested", false}};
    if (json_array_size(permissions))
        show_table(permissions, columns, 5, "");
}

/* ---- install, uninstall ---- */

static void show_part_error(const json_t *result, const char *key, const char *what)
{
    const json_t *error = json_object_get(result, key);
    if (!json_is_object(error))
        return;
    printf("But it was not %s: ", what);
    say("", text_of(error, "message"), "\n");
}

static void show_installed(struct cli *c, const json_t *result)
{
    bool already = json_is_true(json_object_get(result, "already"));
    say(already ? "Already installed: " : "Installed ", text_of(result, "name"), " ");
    say("", text_of(result, "version"), "");
    say(" of ", text_of(result, "publisher"), "");
    puts(json_is_true(json_object_get(result, "current")) ? ", current" : ", not current yet");
    if (json_is_true(json_object_get(result, "loaded")))
        puts("Loaded.");
    show_part_error(result, "use_error", "made current");
    show_part_error(result, "load_error", "loaded");
    show_needs(result);
}

int run_install(struct cli *c)
{
    struct ask a;
    struct error err;
    ask_init(&a, "POST", "/api/plugins/install");
    ask_query(&a, "auto_load", cli_has(c, OPT_LOAD) ? "true" : NULL);
    ask_query(&a, "use", cli_has(c, OPT_USE) ? "true" : NULL);
    ask_query(&a, "allow_older", cli_has(c, OPT_ALLOW_OLDER) ? "true" : NULL);
    ask_query(&a, "accept", cli_accept(c));
    ask_query(&a, "metadata", c->option[OPT_METADATA]);
    for (size_t i = 0; i < c->ngrants; i++)
        ask_query(&a, "grant", c->grants[i]);
    ask_query(&a, "for", c->option[OPT_FOR]);
    if (file_as_body(&a, c->args[0], &err) < 0) {
        ask_free(&a);
        return cli_fail(c, &err);
    }
    return ask_and_show(c, &a, show_installed);
}

static void show_done(struct cli *c, const json_t *result)
{
    printf("Done: %s ", c->command->name);
    say("", c->args[0], "\n");
}

int run_uninstall(struct cli *c)
{
    struct ask a;
    ask_init(&a, "DELETE", "/api/plugins/uninstall");
    ask_segment(&a, c->args[0]);
    ask_query(&a, "purge", cli_has(c, OPT_PURGE) ? "true" : NULL);
    return ask_and_show(c, &a, show_done);
}

/* ---- validate ---- */

/* Findings, each with where and how to mend it; the exit status of the first, which is what refuses if anything does.
 */
int show_findings(const json_t *findings)
{
    for (size_t i = 0; i < json_array_size(findings); i++) {
        const json_t *one = json_array_get(findings, i);
        say("  ", strcmp(text_of(one, "severity"), "warn") == 0 ? "advice" : text_of(one, "code"), ": ");
        say("", text_of(one, "message"), "");
        if (*text_of(one, "where"))
            say(", in ", text_of(one, "where"), "");
        if (*text_of(one, "cure"))
            say("; ", text_of(one, "cure"), "");
        puts("");
    }
    const json_t *first = json_array_get(findings, 0);
    return first ? error_info(cli_code(text_of(first, "code")))->exit : 0;
}

static int show_valid(struct cli *c, const json_t *result)
{
    const json_t *findings = json_object_get(result, "findings");
    bool valid = json_is_true(json_object_get(result, "valid"));
    if (valid) {
        say("", c->args[0], " would be accepted: ");
        say("", text_of(result, "name"), " ");
        say("", text_of(result, "version"), "");
        say(" of ", text_of(result, "publisher"), "\n");
        show_permissions(json_object_get(result, "permissions"));
        show_findings(findings);
        return 0;
    }
    say("", c->args[0], " would be refused:\n");
    return show_findings(findings);
}

int run_validate(struct cli *c)
{
    struct ask a;
    struct reply reply;
    struct error err;
    ask_init(&a, "POST", "/api/plugins/validate");
    ask_query(&a, "metadata", c->option[OPT_METADATA]);
    if (file_as_body(&a, c->args[0], &err) < 0) {
        ask_free(&a);
        return cli_fail(c, &err);
    }
    int rc = ask_route(c, &a, &reply);
    if (rc) {
        reply_free(&reply);
        return rc;
    }
    json_t *result = json_loadb(reply.result, reply.len, 0, NULL);
    const json_t *first = json_array_get(json_object_get(result, "findings"), 0);
    if (!cli_has(c, OPT_JSON)) {
        rc = show_valid(c, result);
    } else {
        reply_print(&reply);
        rc = json_is_true(json_object_get(result, "valid")) ? 0 : error_info(cli_code(text_of(first, "code")))->exit;
    }
    json_decref(result);
    reply_free(&reply);
    int written = cli_done(c);
    return rc ? rc : written;
}

/* ---- list, info ---- */

static void show_plugins(const json_t *result, const char *none)
{
    static const struct column columns[] = {{"NAME", "name", false},
                                            {"VERSION", "version", false},
                                            {"STATUS", "status", false},
                                            {"LOADING", "loading", false},
                                            {"PUBLISHER", "publisher", false},
                                            {"CAPABILITIES", "capabilities", false},
                                            {"DESCRIPTION", "description", false}};
    show_table(show_list(result, "plugins"), columns, sizeof columns / sizeof *columns, none);
    const char *next = json_string_value(json_object_get(result, "next"));
    if (next)
        fprintf(stderr, "There is more: --after %s\n", next);
}

static void show_available(struct cli *c, const json_t *result)
{
    show_plugins(result, "Nothing is installed; `moat install FILE` does it.");
}

static void show_found(struct cli *c, const json_t *result)
{
    show_plugins(result, "Nothing is found.");
}

static void show_loaded(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {{"NAME", "name", false},        {"VERSION", "version", false},
                                            {"LOADING", "loading", false},  {"HEALTH", "health_status", false},
                                            {"WORKERS", "workers", true},   {"CALLS", "execution_count", true},
                                            {"ERRORS", "error_count", true}};
    show_table(show_list(result, "plugins"), columns, 7,
               "Nothing is loaded; a first call or `moat load NAME` does it.");
}

static int list(struct cli *c, const char *text)
{
    static const struct {
        enum cli_option option;
        const char *key;
    } filters[] = {{OPT_CAPABILITY, "capability"},
                   {OPT_PERMISSION, "permission"},
                   {OPT_STATUS, "status"},
                   {OPT_PUBLISHER, "publisher"},
                   {OPT_AFTER, "after"}};
    struct ask a;
    ask_init(&a, "GET", "/api/plugins/available");
    ask_query(&a, "q", text);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        ask_query(&a, filters[i].key, c->option[filters[i].option]);
    ask_query(&a, "limit", cli_has(c, OPT_LIMIT) ? c->option[OPT_LIMIT] : text ? "100" : "10000");
    return ask_and_show(c, &a, text ? show_found : show_available);
}

int run_list(struct cli *c)
{
    struct ask a;
    if (!cli_has(c, OPT_LOADED))
        return list(c, NULL);
    ask_init(&a, "GET", "/api/plugins/loaded");
    return ask_and_show(c, &a, show_loaded);
}

int run_search(struct cli *c)
{
    return list(c, c->args[0]);
}

static void show_actions(const json_t *actions)
{
    for (size_t i = 0; i < json_array_size(actions); i++) {
        const json_t *action = json_array_get(actions, i);
        char *parameters = json_dumps(json_object_get(action, "parameters"), JSON_COMPACT | JSON_ENCODE_ANY);
        say("  ", text_of(action, "name"), ": ");
        say("", text_of(action, "description"), "\n");
        if (parameters)
            say("    parameters ", parameters, "\n");
        free(parameters);
    }
}

static bool has_run(const json_t *rows)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (json_integer_value(json_object_get(json_object_get(row, "statistics"), "execution_count")))
            return true;
    }
    return false;
}

/* What each action did since this host began, and each of the last sets of workers. */
static void show_statistics(const json_t *result)
{
    static const struct column actions[] = {{"ACTION", "name", false},
                                            {"CALLS", "statistics.execution_count", true},
                                            {"ERRORS", "statistics.error_count", true},
                                            {"SUCCESS", "statistics.success_rate", true},
                                            {"P50 ns", "statistics.latency.p50_ns", true},
                                            {"P99 ns", "statistics.latency.p99_ns", true},
                                            {"WAIT P99 ns", "statistics.queue_wait.p99_ns", true},
                                            {"LAST", "statistics.last_executed", false}};
    static const struct column generations[] = {{"GENERATION", "number", true},     {"VERSION", "version", false},
                                                {"SINCE", "since", false},          {"UNTIL", "until", false},
                                                {"CALLS", "execution_count", true}, {"ERRORS", "error_count", true},
                                                {"P99 ns", "latency.p99_ns", true}, {"CRASHES", "crashes", true}};
    const json_t *rows = json_object_get(result, "actions");
    if (has_run(rows))
        show_table(rows, actions, 8, "");
    rows = json_object_get(result, "generations");
    if (json_array_size(rows) > 1)
        show_table(rows, generations, 8, "");
}

static void show_info(struct cli *c, const json_t *result)
{
    static const struct column fields[] = {{"Name", "name", false},
                                           {"Version", "version", false},

                                           {"Publisher", "publisher", false},
                                           {"Author", "author", false},
                                           {"Description", "description", false},
                                           {"License", "license", false},
                                           {"Capabilities", "capabilities", false},
                                           {"Status", "status", false},
                                           {"Loading", "loading", false},
                                           {"Health", "health_status", false},
                                           {"Why", "health_why", false},
                                           {"Limits", "limits", false},
                                           {"Calls", "execution_count", false},
                                           {"Errors", "error_count", false},
                                           {"By code", "errors", false},
                                           {"Last call", "last_executed", false},
                                           {"Latency", "latency", false},
                                           {"Restarts", "restarts", false},
                                           {"Canary", "canary.version", false},
                                           {"Its state", "canary.state", false},
                                           {"Its end", "canary.why", false},
                                           {"Configuration", "config_guard.state", false},
                                           {"Because", "config_guard.why", false}};
    static const struct column versions[] = {{"VERSION", "version", false},
                                             {"STATE", "state", false},
                                             {"BYTES", "size", true},
                                             {"SIGNED", "signed_at", false},
                                             {"INSTALLED", "installed_at", false}};
    static const struct column errors[] = {
        {"TIME", "time", false}, {"CODE", "code", false}, {"MESSAGE", "message", false}, {"CALL", "call_id", false}};
    show_fields(result, fields, sizeof fields / sizeof *fields);
    show_permissions(json_object_get(result, "permissions"));
    show_needs(result);
    if (json_array_size(json_object_get(result, "versions")) > 1)
        show_table(json_object_get(result, "versions"), versions, 5, "");
    puts("Actions:");
    show_actions(json_object_get(result, "actions"));
    show_statistics(result);
    const json_t *last = json_object_get(result, "last_errors");
    if (json_array_size(last)) {
        puts("Last errors:");
        show_table(last, errors, 4, "");
    }
}

int run_info(struct cli *c)
{
    struct ask a;
    ask_init(&a, "GET", "/api/plugins/info");
    ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, show_info);
}
