/* `moat doctor`: the whole wall, tried on this machine. */
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "sandbox/doctor.h"

static void put_member(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, ",\"%s\":", name);
    text_json_string(out, text);
}

static void print_json(const struct doctor_report *r, const char *development)
{
    buf_auto out = BUF_INIT(256 * 1024);
    buf_printf(&out, "{\"complete\":%s", r->complete ? "true" : "false");
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
    buf_puts(&out, "]}");
    puts(buf_text(&out));
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
    if (cli_has(c, OPT_JSON))
        print_json(&report, home_development_name(development));
    else
        print_text(&report, development);
    int rc = cli_done(c);
    return rc ? rc : report.complete ? 0 : error_info(MOAT_E_WALL_MISSING)->exit;
}
