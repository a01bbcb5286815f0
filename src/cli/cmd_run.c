/* Commands that run plugins. */
#include <stdlib.h>
#include <string.h>

#include "cli/file.h"

#define PARAMETERS_MAX (1ull << 30) /* the host's own limit is smaller and answers */

static void show_state(struct cli *c, const json_t *result)
{
    char *name = show_value(result, "name"), *version = show_value(result, "version"),
         *state = show_value(result, "state");
    bool already = json_is_true(json_object_get(result, "already"));
    if (name && version && state) {
        show_text(stdout, name);
        if (strcmp(version, "-") != 0)
            putchar(' '), show_text(stdout, version);
        printf(" is %s%s\n", already ? "already " : "", state);
    }
    free(name);
    free(version);
    free(state);
}

static int run_state(struct cli *c, const char *path)
{
    struct ask a;
    ask_init(&a, "POST", path);
    ask_segment(&a, c->args[0]);
    return ask_and_show(c, &a, show_state);
}

int run_load(struct cli *c)
{
    return run_state(c, "/api/plugins/load");
}

int run_unload(struct cli *c)
{
    return run_state(c, "/api/plugins/unload");
}

int run_reload(struct cli *c)
{
    return run_state(c, "/api/plugins/reload");
}

static void show_stopped(struct cli *c, const json_t *result)
{
    char *names = show_value(result, "stopped");
    printf("Stopped: ");
    show_text(stdout, names ? names : "-");
    putchar('\n');
    free(names);
}

int run_stop_all(struct cli *c)
{
    struct ask a;
    ask_init(&a, "POST", "/api/stop-all");
    return ask_and_show(c, &a, show_stopped);
}

/* ---- call ---- */

static void show_receipt(const struct cli *c, const char *receipt)
{
    static const struct column fields[] = {{"call", "id", false},
                                           {"version", "version", false},
                                           {"queued ns", "queued_ns", false},
                                           {"ran ns", "ran_ns", false},
                                           {"cpu ns", "cpu_ns", false},
                                           {"bytes in", "bytes_in", false},
                                           {"bytes out", "bytes_out", false}};
    json_t *root = json_loads(receipt, 0, NULL);
    if (cli_has(c, OPT_JSON) || !root) {
        fprintf(stderr, "%s\n", receipt);
    } else {
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            char *value = show_value(root, fields[i].path);
            fprintf(stderr, "%s%s ", i ? ", " : "", fields[i].title);
            show_text(stderr, value ? value : "-");
            free(value);
        }
        fputc('\n', stderr);
    }
    json_decref(root);
}

int run_call(struct cli *c)
{
    struct ask a;
    struct reply reply;
    struct error err;
    buf_auto input = BUF_INIT(PARAMETERS_MAX);
    const char *parameters = c->nargs == 3 ? c->args[2] : "{}";
    ask_init(&a, "POST", "/api/plugins/execute");
    ask_segment(&a, c->args[0]);
    ask_segment(&a, c->args[1]);
    a.content_type = "application/json";
    a.deadline = c->option[OPT_DEADLINE];
    a.body = parameters;
    a.len = strlen(parameters);
    if (strcmp(parameters, "-") == 0) {
        if (file_read_stdin(&input, &err) < 0) {
            ask_free(&a);
            return cli_fail(c, &err);
        }
        a.body = buf_text(&input);
        a.len = input.len;
    }
    int rc = ask_route(c, &a, &reply);
    if (cli_has(c, OPT_RECEIPT) && *reply.receipt)
        show_receipt(c, reply.receipt);
    if (rc == 0) {
        reply_print(&reply);
        rc = cli_done(c);
    }
    reply_free(&reply);
    return rc;
}
