/* `moat doctor`: the whole wall, tried on this machine, and with --deep all that the home keeps, with
 * --production the checklist of a deployment. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/show.h"
#include "sandbox/doctor.h"

static void put_member(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, ",\"%s\":", name);
    text_json_string(out, text);
}

static void print_json(const struct doctor_report *r, const char *development, const struct reply *home,
                       const struct reply *production)
{
    buf_auto out = BUF_INIT(64u << 20);
    buf_printf(&out, "{\"complete\":%s,\"fallback\":%s", r->complete ? "true" : "false",
               r->fallback ? "true" : "false");
    put_member(&out, "development", development);
    put_member(&out, "kernel", r->kernel);
    put_member(&out, "failed_step", r->failed_step);
    put_member(&out, "failed_why", r->failed_why);
    buf_puts(&out, ",\"layers\":[");
    for (int i = 0; i < WALL_LAYER_COUNT; i++) {
        const struct doctor_line *line = &r->lines[i];
        buf_printf(&out, "%s{\"layer\":\"%s\",\"works\":%s", i ? "," : "", wall_layer_name(line->layer),
                   line->works ? "true" : "false");
        put_member(&out, "detail", line->detail);
        put_member(&out, "cost", line->cost);
        put_member(&out, "cure", line->cure);
        buf_putc(&out, '}');
    }
    buf_putc(&out, ']');
    if (home->result)
        buf_printf(&out, ",\"home\":%.*s", (int)home->len, home->result);
    if (production->result)
        buf_printf(&out, ",\"production\":%.*s", (int)production->len, production->result);
    buf_putc(&out, '}');
    puts(buf_text(&out));
}

/* ---- --deep: the home's records and packages ---- */

static void print_home(const json_t *result)
{
    const json_t *findings = json_object_get(result, "findings");
    puts("\nThe home:");
    for (size_t i = 0; i < json_array_size(findings); i++) {
        const json_t *f = json_array_get(findings, i);
        char *what = show_value(f, "what"), *detail = show_value(f, "detail"), *cure = show_value(f, "cure");
        char *plugin = show_value(f, "plugin"), *version = show_value(f, "version");
        printf("  %-8s %-20s ", json_is_true(json_object_get(f, "good")) ? "ok" : "WRONG", what ? what : "-");
        if (plugin) {
            show_text(stdout, plugin);
            printf(" %s: ", version ? version : "");
        }
        show_text(stdout, detail ? detail : "");
        putchar('\n');
        if (cure)
            printf("%31s to mend it: %s\n", "", cure);
        free(what);
        free(detail);
        free(cure);
        free(plugin);
        free(version);
    }
    json_int_t strays = json_integer_value(json_object_get(result, "collected"));
    if (strays)
        printf("  note     %lld packages that no version refers to were removed\n", (long long)strays);
    if (json_is_true(json_object_get(result, "search_rebuilt")))
        puts("  note     the search was made anew");
}

/* ---- --production ---- */

static void print_production(const json_t *result)
{
    const json_t *lines = json_object_get(result, "lines");
    puts("\nIn production:");
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *l = json_array_get(lines, i);
        char *check = show_value(l, "check"), *detail = show_value(l, "detail");
        const char *cure = json_string_value(json_object_get(l, "cure"));
        printf("  %-8s %-20s ", json_is_true(json_object_get(l, "good")) ? "ok" : "WRONG", check ? check : "-");
        show_text(stdout, detail ? detail : "");
        putchar('\n');
        if (cure)
            printf("%31s to mend it: %s\n", "", cure);
        free(check);
        free(detail);
    }
}

/* An exit status; *good becomes false when something is wrong in there. */
static int look(struct cli *c, const char *method, const char *route, void (*print)(const json_t *result),
                struct reply *reply, bool *good)
{
    struct ask a;
    ask_init(&a, method, route);
    int rc = ask_route(c, &a, reply);
    json_t *result = rc == 0 ? json_loadb(reply->result, reply->len, 0, NULL) : NULL;
    *good = *good && json_is_true(json_object_get(result, "good"));
    if (result && !cli_has(c, OPT_JSON))
        print(result);
    json_decref(result);
    return rc;
}

static void print_text(const struct doctor_report *r, enum home_development development)
{
    printf("%s\n\n", r->kernel);
    if (development == HOME_ON)
        puts("  UNSAFE   this home is in development mode: unsigned packages run\n"
             "                                to end it: `moat secure`\n");
    if (development == HOME_PAST)
        puts("  note     this home was in development mode before; what is unsigned in it is refused\n");
    for (int i = 0; i < WALL_LAYER_COUNT; i++) {
        const struct doctor_line *line = &r->lines[i];
        printf("  %-8s %-20s ", line->works ? "ok" : "MISSING", wall_layer_name(line->layer));
        show_text(stdout, line->detail);
        putchar('\n');
        if (*line->cost)
            printf("%31s it costs: %s\n", "", line->cost);
        if (*line->cure)
            printf("%31s to get it: %s\n", "", line->cure);
    }
    putchar('\n');
    if (r->complete) {
        puts("Every layer works: plugins can be run here.");
        return;
    }
    if (*r->failed_step)
        printf("A worker cannot start: %s failed: %s.\n", r->failed_step, r->failed_why);
    if (r->fallback)
        puts("The fallback wall (Landlock, seccomp and limits, without namespaces) works here. It is used only when it "
             "is\n"
             "accepted by name, and then said at every start; docs/walls.md tells what is lost:\n"
             "`moat settings set accept_missing_layers '[\"user_namespace\"]'`.");
    puts("Plugins are not run here until each missing layer is there, or accepted by name with\n"
         "`moat settings set accept_missing_layers '[\"LAYER\"]'`.");
}

int run_doctor(struct cli *c)
{
    static struct doctor_report report; /* large */
    char worker[PATH_MAX], helper[PATH_MAX];
    struct error err;
    if (cli_executables(worker, helper, &err) < 0)
        return cli_fail(c, &err);
    doctor_run(worker, helper, &report);
    /* Where there is no home, or none can be told, there is nothing to say of it. */
    enum home_development development = cli_home(c, &err) == 0 ? home_peek(&c->home) : HOME_NEVER;
    struct reply home = {0}, production = {0};
    bool good = true;
    if (!cli_has(c, OPT_JSON))
        print_text(&report, development);
    int rc = cli_has(c, OPT_DEEP) ? look(c, "POST", "/api/check", print_home, &home, &good) : 0;
    if (rc == 0 && cli_has(c, OPT_PRODUCTION))
        rc = look(c, "GET", "/api/production", print_production, &production, &good);
    if (cli_has(c, OPT_JSON))
        print_json(&report, home_development_name(development), &home, &production);
    reply_free(&home);
    reply_free(&production);
    if (rc == 0)
        rc = cli_done(c);
    return rc ? rc : !good ? 1 : report.complete ? 0 : error_info(MOAT_E_WALL_MISSING)->exit;
}
