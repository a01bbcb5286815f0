/* update, retire: guided forms of what docs/flows.md does command by command.  Each run looks where things stand, makes
 * the steps that decide nothing, stops at the next decision, and says what the choices are. */
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"
#include "cli/show.h"

/* ---- what a run has found and done ---- */

struct flow {
    struct cli *c;
    const char *name;
    const char *stage;
    json_t *did, *next; /* texts; commands */
    json_t *told;       /* the document's other members */
};

static void flow_begin(struct flow *f, struct cli *c)
{
    *f = (struct flow){.c = c, .name = c->args[0], .did = json_array(), .next = json_array(), .told = json_object()};
}

/* Frees it; an exit status. */
static int flow_end(struct flow *f, int rc)
{
    json_t *all = f->told;
    if (rc == 0 || f->stage) {
        json_object_set_new(all, "name", json_string(f->name));
        json_object_set_new(all, "stage", json_string(f->stage));
        json_object_set(all, "did", f->did);
        json_object_set(all, "next", f->next);
    }
    if (f->stage && cli_has(f->c, OPT_JSON)) {
        json_dumpf(all, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (f->stage) {
        for (size_t i = 0; i < json_array_size(f->did); i++) {
            show_text(stdout, json_string_value(json_array_get(f->did, i)));
            putchar('\n');
        }
        puts(json_array_size(f->next) ? "Next:" : "Nothing is left to do.");
        for (size_t i = 0; i < json_array_size(f->next); i++) {
            fputs("  ", stdout);
            show_text(stdout, json_string_value(json_array_get(f->next, i)));
            putchar('\n');
        }
    }
    json_decref(f->did);
    json_decref(f->next);
    json_decref(f->told);
    return rc ? rc : cli_done(f->c);
}

__attribute__((format(printf, 2, 3))) static void add(json_t *list, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    json_array_append_new(list, json_vsprintf(format, args));
    va_end(args);
}

/* Of a document that may lack it: never NULL. */
static const char *text(const json_t *object, const char *key)
{
    const char *t = json_string_value(json_object_get(object, key));
    return t ? t : "";
}

/* Asks; *out is the result. An exit status; a failure was reported. */
static int ask_json(struct flow *f, struct ask *a, json_t **out)
{
    struct reply reply;
    int rc = ask_route(f->c, a, &reply);
    *out = rc == 0 ? json_loadb(reply.result, reply.len, JSON_DECODE_ANY, NULL) : NULL;
    if (rc == 0 && !*out)
        rc = cli_failf(f->c, MOAT_E_INTERNAL, "the result cannot be read");
    reply_free(&reply);
    return rc;
}

/* METHOD PATH/NAME, or /NAME@VERSION. */
static int ask_of(struct flow *f, const char *method, const char *path, const char *version, json_t **out)
{
    struct ask a;
    char what[256];
    snprintf(what, sizeof what, "%s%s%s", f->name, version ? "@" : "", version ? version : "");
    ask_init(&a, method, path);
    ask_segment(&a, what);
    return ask_json(f, &a, out);
}

static int post_file(struct flow *f, const char *path, json_t **out)
{
    struct ask a;
    struct error err;
    ask_init(&a, "POST", path);
    if (file_as_body(&a, f->c->args[1], &err) < 0) {
        ask_free(&a);
        return cli_fail(f->c, &err);
    }
    return ask_json(f, &a, out);
}

/* A word for a shell, as the operator would type it again. */
static const char *quoted(const char *word, struct buf *out)
{
    size_t plain = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+@:");
    if (*word && !word[plain])
        return word;
    buf_putc(out, '\'');
    for (; *word; word++)
        if (*word == '\'')
            buf_puts(out, "'\\''");
        else
            buf_putc(out, *word);
    buf_putc(out, '\'');
    return buf_text(out);
}

/* ---- update ---- */

static const json_t *version_of(const json_t *info, const char *version)
{
    const json_t *list = json_object_get(info, "versions");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(text(json_array_get(list, i), "version"), version) == 0)
            return json_array_get(list, i);
    return NULL;
}

static unsigned workers_of(const json_t *info, const char *version)
{
    const json_t *list = json_object_get(info, "generations");
    unsigned n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(text(json_array_get(list, i), "version"), version) == 0)
            n += (unsigned)json_integer_value(json_object_get(json_array_get(list, i), "workers"));
    return n;
}

/* One older version: who still calls it, by numbers, and what to do with it. */
static int look_at_old(struct flow *f, const json_t *info, const json_t *v, json_t *rows)
{
    const char *version = text(v, "version"), *state = text(v, "state");
    json_t *its = NULL;
    int rc = ask_of(f, "GET", "/api/plugins/info", version, &its);
    if (rc)
        return rc;
    const json_t *counters = json_object_get(its, "counters");
    unsigned workers = workers_of(info, version);
    json_array_append_new(rows, json_pack("{ss ss sO sO si}", "version", version, "state", state, "calls",
                                          json_object_get(counters, "calls"), "last_call",
                                          json_object_get(counters, "last_call"), "workers", (int)workers));
    if (strcmp(state, "available") == 0)
        add(f->next, "moat deprecate %s@%s --reason 'use %s'", f->name, version, text(info, "current"));
    else if (strcmp(state, "deprecated") == 0 && !workers)
        add(f->next, "moat archive %s@%s", f->name, version);
    json_decref(its);
    return 0;
}

/* It is current: what becomes of those before it. */
static int watch_migration(struct flow *f, const json_t *info)
{
    static const struct column columns[] = {{"OLDER VERSION", "version", false},
                                            {"STATE", "state", false},
                                            {"CALLS", "calls", true},
                                            {"LAST CALL", "last_call", false},
                                            {"WORKERS", "workers", true}};
    const json_t *list = json_object_get(info, "versions");
    json_t *rows = json_array();
    int rc = 0;
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
        if (strcmp(text(json_array_get(list, i), "version"), text(info, "current")) != 0)
            rc = look_at_old(f, info, json_array_get(list, i), rows);
    if (rc == 0) {
        f->stage = json_array_size(f->next) ? "current" : "done";
        add(f->did, "%s %s is the current version: every new call meets it.", f->name, text(info, "current"));
        if (!cli_has(f->c, OPT_JSON))
            show_table(rows, columns, 5, "There is no older version.");
    }
    json_object_set_new(f->told, "versions", rows);
    return rc;
}

/* The canary of this version, when there is one to speak of: true. */
static bool tell_canary(struct flow *f, const json_t *info, const char *version)
{
    const json_t *canary = json_object_get(info, "canary");
    const char *state = text(canary, "state");
    bool runs = strcmp(state, "running") == 0 || strcmp(state, "passed") == 0;
    if (strcmp(text(canary, "version"), version) != 0)
        return false;
    json_object_set(f->told, "canary", json_object_get(info, "canary"));
    if (!runs && strcmp(state, "rolled_back") != 0)
        return false;
    const json_t *after = json_object_get(canary, "after");
    long long calls = json_integer_value(json_object_get(after, "calls")),
              bad = json_integer_value(json_object_get(after, "failed"));
    add(f->did, "The canary %s has had %lld calls, %lld of them failed: it is %s%s%s.", version, calls, bad, state,
        *text(canary, "why") ? ", because " : "", text(canary, "why"));
    f->stage = runs ? "canary" : "rolled_back";
    return runs;
}

static int review(struct flow *f, const json_t *info, const char *version, const char *file)
{
    struct ask a;
    char to[256];
    json_t *its = NULL, *diff = NULL;
    int rc = ask_of(f, "GET", "/api/plugins/info", version, &its);
    snprintf(to, sizeof to, "%s@%s", f->name, version);
    ask_init(&a, "GET", "/api/diff");
    ask_query(&a, "from", f->name);
    ask_query(&a, "to", to);
    if (rc)
        ask_free(&a);
    else
        rc = ask_json(f, &a, &diff);
    if (rc == 0) {
        const json_t *needs = json_object_get(its, "needs_grant");
        bool same = json_is_true(json_object_get(diff, "same_face"));
        char accept[64] = "";
        if (!same)
            snprintf(accept, sizeof accept, " --accept %.16s", text(diff, "digest"));
        if (!cli_has(f->c, OPT_JSON))
            show_diff(f->c, diff);
        for (size_t i = 0; i < json_array_size(needs); i++)
            json_array_append(f->next, json_array_get(needs, i));
        f->stage = f->stage ? f->stage : json_array_size(needs) ? "grants" : "review";
        add(f->next, "moat update %s %s --canary 10%s", f->name, file, accept);
        add(f->next, "moat update %s %s --use%s", f->name, file, accept);
        add(f->next, "moat uninstall %s@%s", f->name, version);
        json_object_set(f->told, "diff", diff);
    }
    json_decref(its);
    json_decref(diff);
    return rc;
}

/* --canary or --use: it was reviewed. */
static int decide(struct flow *f, const char *version, const char *file)
{
    struct ask a;
    char what[256];
    json_t *result = NULL;
    bool canary = cli_has(f->c, OPT_CANARY);
    snprintf(what, sizeof what, "%s@%s", f->name, version);
    ask_init(&a, "POST", "/api/plugins/use");
    ask_segment(&a, what);
    ask_query(&a, "accept", cli_accept(f->c));
    ask_query(&a, "canary", f->c->option[OPT_CANARY]);
    int rc = ask_json(f, &a, &result);
    json_decref(result);
    if (rc)
        return rc;
    if (canary) {
        f->stage = "canary";
        add(f->did, "%s now gets %s %% of the calls, until it is shown to be as good or worse.", what,
            f->c->option[OPT_CANARY]);
        add(f->next, "moat update %s %s", f->name, file);
        add(f->next, "moat rollback %s", f->name);
        return 0;
    }
    rc = ask_of(f, "GET", "/api/plugins/info", NULL, &result);
    if (rc == 0)
        rc = watch_migration(f, result);
    json_decref(result);
    return rc;
}

static int update_from(struct flow *f, const json_t *info, const char *version, const char *file)
{
    bool decided = cli_has(f->c, OPT_CANARY) || cli_has(f->c, OPT_USE);
    if (strcmp(text(info, "current"), version) == 0)
        return watch_migration(f, info);
    if (tell_canary(f, info, version)) {
        add(f->next, "moat update %s %s", f->name, file);
        add(f->next, "moat rollback %s", f->name);
        return 0;
    }
    return decided ? decide(f, version, file) : review(f, info, version, file);
}

/* Would it be accepted, and is it that plugin's? Then *version. */
static int examine(struct flow *f, char version[64])
{
    json_t *found = NULL;
    int rc = post_file(f, "/api/plugins/validate", &found);
    if (rc == 0 && !json_is_true(json_object_get(found, "valid")))
        rc = show_findings(json_object_get(found, "findings"));
    else if (rc == 0 && strcmp(text(found, "name"), f->name) != 0)
        rc = cli_failf(f->c, MOAT_E_BAD_USAGE, "%s is a package of %s, not of %s", f->c->args[1], text(found, "name"),
                       f->name);
    else if (rc == 0)
        snprintf(version, 64, "%s", text(found, "version"));
    json_decref(found);
    return rc;
}

int run_update(struct cli *c)
{
    struct flow f;
    char version[64] = "";
    buf_auto word = BUF_INIT(64 * 1024);
    const char *file = quoted(c->args[1], &word);
    json_t *info = NULL, *installed = NULL;
    flow_begin(&f, c);
    int rc = ask_of(&f, "GET", "/api/plugins/info", NULL, &info);
    if (rc == 0)
        rc = examine(&f, version);
    if (rc == 0 && !version_of(info, version)) {
        rc = post_file(&f, "/api/plugins/install", &installed);
        if (rc == 0)
            add(f.did, "Installed %s %s beside %s.", f.name, version, text(info, "current"));
    }
    json_object_set_new(f.told, "version", json_string(version));
    if (rc == 0)
        rc = update_from(&f, info, version, file);
    if (rc == 0 && strcmp(f.stage, "rolled_back") == 0)
        rc = 1;
    json_decref(installed);
    json_decref(info);
    return flow_end(&f, rc);
}

/* ---- retire ---- */

static void count_caller(json_t *callers, const json_t *call)
{
    const json_t *token = json_object_get(call, "token");
    char who[32];
    snprintf(who, sizeof who, json_is_integer(token) ? "token %lld" : "no token", (long long)json_integer_value(token));
    json_int_t n = json_integer_value(json_object_get(callers, who));
    json_object_set_new(callers, who, json_integer(n + 1));
}

/* Who called it lately, by what is still remembered of calls. */
static int find_callers(struct flow *f)
{
    struct ask a;
    json_t *calls = NULL, *callers = json_object(), *n;
    const char *who;
    ask_init(&a, "GET", "/api/calls");
    ask_query(&a, "plugin", f->name);
    ask_query(&a, "limit", "10000");
    int rc = ask_json(f, &a, &calls);
    const char *const lists[] = {"running", "ended"};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < json_array_size(json_object_get(calls, lists[i])); k++)
            count_caller(callers, json_array_get(json_object_get(calls, lists[i]), k));
    json_object_foreach(callers, who, n)
    {
        add(f->did, "Called %lld times by %s since the server started.", (long long)json_integer_value(n), who);
    }
    json_object_set_new(f->told, "callers", callers);
    json_decref(calls);
    return rc;
}

/* Plugins that may call it. */
static int find_plugins(struct flow *f)
{
    struct ask a;
    json_t *all = NULL, *plugins = json_array();
    size_t len = strlen(f->name);
    ask_init(&a, "GET", "/api/grants");
    int rc = ask_json(f, &a, &all);
    const json_t *list = json_object_get(all, "grants");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *g = json_array_get(list, i);
        const char *scope = text(g, "scope");
        if (strcmp(text(g, "permission"), "agent_control") != 0 || strcmp(text(g, "decision"), "granted") != 0 ||
            strncmp(scope, f->name, len) != 0 || (scope[len] && scope[len] != '.'))
            continue;
        add(plugins, "%s", text(g, "plugin"));
        add(f->did, "%s may call it (agent_control=%s).", text(g, "plugin"), scope);
    }
    json_object_set_new(f->told, "plugins", plugins);
    json_decref(all);
    return rc;
}

static int retire_active(struct flow *f, const json_t *info)
{
    json_t *done = NULL;
    int rc = find_callers(f);
    if (rc == 0)
        rc = find_plugins(f);
    if (rc)
        return rc;
    const char *last = text(json_object_get(info, "counters"), "last_call");
    add(f->did, "Its last call was %s.", *last ? last : "never");
    f->stage = "callers";
    if (cli_has(f->c, OPT_GO_ON)) {
        rc = ask_of(f, "POST", "/api/plugins/deactivate", NULL, &done);
        json_decref(done);
        f->stage = rc ? NULL : "deactivated";
        add(f->did, "Its running calls have ended, its workers are gone, and new calls are refused.");
        add(f->next, "moat activate %s", f->name);
    }
    add(f->next, "moat retire %s --go-on", f->name);
    return rc;
}

/* The current one is not archived: nothing of an inactive plugin runs. */
static int retire_inactive(struct flow *f, const json_t *info)
{
    const json_t *list = json_object_get(info, "versions");
    unsigned left = 0;
    int rc = 0;
    json_t *back = json_array();
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        const json_t *v = json_array_get(list, i);
        const char *version = text(v, "version"), *state = text(v, "state");
        json_t *done = NULL;
        if (strcmp(version, text(info, "current")) == 0)
            continue;
        if (strcmp(state, "archived") != 0 && cli_has(f->c, OPT_GO_ON)) {
            rc = ask_of(f, "POST", "/api/plugins/archive", version, &done);
            json_decref(done);
            add(f->did, "Archived %s %s.", f->name, version);
        } else if (strcmp(state, "archived") != 0) {
            left++;
            continue;
        }
        add(back, "moat archive %s@%s --undo", f->name, version);
    }
    f->stage = rc ? NULL : left ? "deactivated" : "retired";
    if (left)
        add(f->next, "moat retire %s --go-on", f->name);
    add(f->next, "moat activate %s", f->name);
    json_array_extend(f->next, back);
    if (!left)
        add(f->next, "moat uninstall %s --purge", f->name);
    json_decref(back);
    return rc;
}

int run_retire(struct cli *c)
{
    struct flow f;
    json_t *info = NULL;
    flow_begin(&f, c);
    int rc = ask_of(&f, "GET", "/api/plugins/info", NULL, &info);
    if (rc == 0)
        rc = strcmp(text(info, "status"), "active") == 0 ? retire_active(&f, info) : retire_inactive(&f, info);
    json_decref(info);
    return flow_end(&f, rc);
}
