/* `moat learn`: runs an action with nothing granted, reads what it was denied, asks the operator for the smallest grant
 * that would serve, and runs it again: in a home that is thrown away.  It ends with what to write into plugin.json and
 * which commands grant it where the plugin is to run.  Nothing is granted that nobody said yes to, or that lies outside
 * the directory of --auto. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/learn.h"

#define ROUNDS 10
#define GRANTS 48 /* a plugin has 64 at most */
#define PARAMETERS_MAX (1ull << 30)

struct learn {
    struct cli *c;
    struct learn_place place;
    struct learned learned;
    const char *parameters;
    size_t len;
    char automatic[PATH_MAX]; /* the directory of --auto, or "" */
    bool asks;                /* standard input is the operator's */
};

/* ---- who says yes ---- */

static int take_auto(struct learn *l)
{
    struct stat st;
    const char *dir = l->c->option[OPT_AUTO];
    if (!dir)
        return 0;
    if (!realpath(dir, l->automatic) || stat(l->automatic, &st) < 0 || !S_ISDIR(st.st_mode))
        return cli_failf(l->c, MOAT_E_NO_SUCH_FILE, "%.400s is no directory", dir);
    if (!strchr(l->automatic + 1, '/'))
        return cli_failf(l->c, MOAT_E_BAD_USAGE,
                         "--auto takes a directory to be thrown away, not %.400s: the plugin may destroy what is in it",
                         dir);
    return 0;
}

/* Where it leads to decides, not its name. */
static bool is_automatic(const struct learn *l, const json_t *proposal)
{
    char real[PATH_MAX];
    size_t n = strlen(l->automatic);
    const char *permission = json_string_value(json_object_get(proposal, "permission"));
    const char *scope = json_string_value(json_object_get(proposal, "scope"));
    if (!n || !permission || !scope || strncmp(permission, "file_", 5) != 0 || !realpath(scope, real))
        return false;
    return strncmp(real, l->automatic, n) == 0 && (real[n] == '/' || real[n] == '\0');
}

static bool operator_says_yes(struct learn *l, const json_t *proposal)
{
    char line[64] = "";
    if (!l->asks)
        return false;
    show_text(stderr, json_string_value(json_object_get(proposal, "grant")));
    fputs("\n  ", stderr);
    show_text(stderr, json_string_value(json_object_get(proposal, "reason")));
    fputs("\n  Grant it for one more run? [y/N] ", stderr);
    fflush(stderr);
    l->asks = fgets(line, sizeof line, stdin) != NULL;
    if (!l->asks)
        fputc('\n', stderr);
    return strcmp(line, "y\n") == 0 || strcmp(line, "yes\n") == 0;
}

/* ---- one round ---- */

/* 0, or the exit status when there is nothing to learn from: no such action, wrong parameters. */
static int run_once(struct learn *l)
{
    struct ask a;
    struct reply reply;
    struct learned *out = &l->learned;
    ask_init(&a, "POST", "/api/plugins/execute");
    ask_segment(&a, l->place.name);
    ask_segment(&a, out->action);
    a.content_type = "application/json";
    a.deadline = l->c->option[OPT_DEADLINE];
    a.body = l->parameters;
    a.len = l->len;
    out->succeeded = ask_quietly(&l->place.cli, &a, &reply, &out->failure) == 0;
    reply_free(&reply);
    out->rounds++;
    if (out->succeeded)
        return 0;
    int exit = error_info(out->failure.code)->exit;
    return exit == 2 || exit == 4 ? cli_fail(l->c, &out->failure) : 0;
}

static int read_proposals(struct learn *l)
{
    struct ask a;
    struct reply reply;
    ask_init(&a, "GET", "/api/plugins/info");
    ask_segment(&a, l->place.name);
    buf_puts(&a.target, "/proposals");
    int rc = ask_route(&l->place.cli, &a, &reply);
    json_decref(l->learned.last);
    l->learned.last = rc == 0 ? json_loadb(reply.result, reply.len, 0, NULL) : NULL;
    reply_free(&reply);
    if (rc == 0 && !l->learned.last)
        rc = cli_failf(l->c, MOAT_E_INTERNAL, "the proposals cannot be read");
    return rc;
}

static bool has_grant(const json_t *list, const json_t *proposal)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_object_get(json_array_get(list, i), "grant"), json_object_get(proposal, "grant")))
            return true;
    return false;
}

/* The home that is thrown away has the last word, as any home: what it refuses is declined. */
static bool give(struct learn *l, json_t *proposal)
{
    struct ask a;
    struct reply reply;
    struct error err;
    buf_auto body = {0};
    json_t *object = json_pack("{s:O}", "grant", json_object_get(proposal, "grant"));
    ask_init(&a, "POST", "/api/plugins/info");
    ask_segment(&a, l->place.name);
    buf_puts(&a.target, "/grants");
    ask_body(&a, object, &body);
    json_decref(object);
    int rc = ask_quietly(&l->place.cli, &a, &reply, &err);
    reply_free(&reply);
    if (rc < 0)
        json_object_set_new(proposal, "reason", json_string(err.message));
    else
        json_object_set_new(proposal, "required", json_boolean(!l->learned.succeeded));
    return rc == 0;
}

/* Files that were granted one by one before all of their directory was. */
static void drop_within(json_t *granted, const json_t *directory)
{
    const char *scope = json_string_value(json_object_get(directory, "scope"));
    size_t n = strlen(scope);
    for (size_t i = json_array_size(granted); i-- > 0;) {
        const json_t *one = json_array_get(granted, i);
        const char *path = json_string_value(json_object_get(one, "scope"));
        if (path[0] == '/' && strncmp(path, scope, n) == 0 && path[n] == '/' &&
            json_equal(json_object_get(one, "permission"), json_object_get(directory, "permission")))
            json_array_remove(granted, i);
    }
}

/* How many more are granted now. */
static unsigned decide(struct learn *l)
{
    struct learned *out = &l->learned;
    const json_t *proposals = json_object_get(out->last, "proposals");
    unsigned more = 0;
    for (size_t i = 0; i < json_array_size(proposals); i++) {
        json_t *proposal = json_array_get(proposals, i);
        if (has_grant(out->declined, proposal) || has_grant(out->granted, proposal) ||
            json_array_size(out->granted) >= GRANTS)
            continue;
        bool yes = is_automatic(l, proposal) || operator_says_yes(l, proposal);
        if (yes && give(l, proposal)) {
            drop_within(out->granted, proposal);
            json_array_append(out->granted, proposal);
            more++;
        } else {
            json_array_append(out->declined, proposal);
        }
    }
    return more;
}

static int learn(struct learn *l)
{
    struct learned *out = &l->learned;
    for (;;) {
        int rc = run_once(l);
        if (rc == 0)
            rc = read_proposals(l);
        if (rc)
            return rc;
        bool proposed = json_array_size(json_object_get(out->last, "proposals")) > 0;
        out->ended = out->rounds >= ROUNDS ? "rounds"
                     : proposed            ? "declined"
                     : out->succeeded      ? "done"
                                           : "nothing_to_propose";
        if (out->rounds >= ROUNDS || !decide(l))
            return 0;
    }
}

/* ---- the command ---- */

static int take_parameters(struct learn *l, struct buf *input)
{
    struct error err;
    l->parameters = l->c->nargs == 3 ? l->c->args[2] : "{}";
    l->len = strlen(l->parameters);
    l->asks = strcmp(l->parameters, "-") != 0;
    if (l->asks)
        return 0;
    if (file_read_stdin(input, &err) < 0)
        return cli_fail(l->c, &err);
    l->parameters = buf_text(input);
    l->len = input->len;
    return 0;
}

int run_learn(struct cli *c)
{
    struct learn *l = calloc(1, sizeof *l);
    buf_auto input = BUF_INIT(PARAMETERS_MAX);
    if (!l)
        return cli_failf(c, MOAT_E_OUT_OF_MEMORY, "no memory to learn");
    l->c = c;
    l->learned = (struct learned){
        .place = &l->place, .action = c->args[1], .granted = json_array(), .declined = json_array(), .ended = ""};
    int rc = take_auto(l);
    if (rc == 0)
        rc = take_parameters(l, &input);
    if (rc == 0)
        rc = learn_place_make(c, c->args[0], &l->place);
    if (rc == 0)
        rc = learn(l);
    if (rc == 0) {
        learned_show(c, &l->learned);
        rc = cli_done(c);
    }
    if (rc == 0 && !l->learned.succeeded)
        rc = error_info(MOAT_E_ACTION_FAILED)->exit;
    learned_clear(&l->learned);
    learn_place_remove(&l->place);
    free(l);
    return rc;
}
