/* report: what plugins did, cost and were refused in a span of time: for people, or as one page of HTML that needs
 * nothing else. The page has no script, and every text of others is escaped. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "cli/page.h"
#include "cli/show.h"

/* ---- for people ---- */

static void show_report(struct cli *c, const json_t *result)
{
    static const struct column plugins[] = {{"PLUGIN", "name", false},          {"VERSION", "version", false},
                                            {"CALLS", "calls", true},           {"ERRORS", "errors", true},
                                            {"CPU NS", "cost.cpu_ns", true},    {"P99 NS", "cost.latency.p99_ns", true},
                                            {"REFUSED", "refused_count", true}, {"HEALTH", "health_status", false}};
    static const struct column refused[] = {{"REFUSED", "operation", false},
                                            {"OBJECT", "object", false},
                                            {"PERMISSION", "permission", false},
                                            {"COUNT", "count", true},
                                            {"LAST", "last", false}};
    static const struct column changes[] = {
        {"CHANGED", "time", false}, {"BY", "actor", false}, {"WHAT", "action", false}, {"OF", "subject", false}};
    const json_t *list = json_object_get(result, "plugins");
    (void)c;
    fputs("From ", stdout);
    show_text(stdout, json_string_value(json_object_get(result, "from")));
    fputs(" until ", stdout);
    show_text(stdout, json_string_value(json_object_get(result, "until")));
    puts("\n");
    show_table(list, plugins, sizeof plugins / sizeof *plugins, "No plugin is installed.");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *its = json_object_get(json_array_get(list, i), "refused");
        if (!json_array_size(its))
            continue;
        putchar('\n');
        show_text(stdout, json_string_value(json_object_get(json_array_get(list, i), "name")));
        puts(":");
        show_table(its, refused, sizeof refused / sizeof *refused, "");
    }
    putchar('\n');
    show_table(json_object_get(result, "changes"), changes, sizeof changes / sizeof *changes, "Nothing was changed.");
}

/* ---- the page ---- */

#define WHOLE 30 /* bytes of a cell that stay on one line */
#define WIDTH 660.0
#define HEIGHT 90.0

static const char *text(const json_t *object, const char *key)
{
    const char *t = json_string_value(json_object_get(object, key));
    return t ? t : "-";
}

static long long number(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void cell(struct buf *out, const json_t *object, const char *key)
{
    char *value = show_value(object, key);
    bool whole = !value || strlen(value) <= WHOLE; /* a time, a number, a name: never torn */
    buf_puts(out, whole ? "<td class=\"short\">" : "<td>");
    page_text(out, value ? value : "-");
    buf_puts(out, "</td>");
    free(value);
}

static void table(struct buf *out, const json_t *rows, const struct column *columns, size_t n)
{
    buf_puts(out, "<table><tr>");
    for (size_t k = 0; k < n; k++) {
        buf_puts(out, "<th>");
        page_text(out, columns[k].title);
        buf_puts(out, "</th>");
    }
    buf_puts(out, "</tr>\n");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        buf_puts(out, "<tr>");
        for (size_t k = 0; k < n; k++)
            cell(out, json_array_get(rows, i), columns[k].path);
        buf_puts(out, "</tr>\n");
    }
    buf_puts(out, "</table>\n");
}

static long long highest_of(const json_t *values)
{
    long long highest = 1;
    for (size_t i = 0; i < json_array_size(values); i++) {
        long long v = (long long)json_integer_value(json_array_get(values, i));
        highest = v > highest ? v : highest;
    }
    return highest;
}

static void bars(struct buf *out, const json_t *values, long long highest, const char *colour)
{
    size_t n = json_array_size(values);
    double each = WIDTH / (double)(n ? n : 1);
    for (size_t i = 0; i < n; i++) {
        double v = (double)json_integer_value(json_array_get(values, i)), h = HEIGHT * v / (double)highest;
        if (v > 0)
            buf_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>",
                       60 + each * (double)i, 10 + HEIGHT - h, each > 1.5 ? each - 0.5 : each, h, colour);
    }
}

/* Calls by time, and in front of them those that failed. */
static void plot(struct buf *out, const json_t *plugin, const json_t *report)
{
    const json_t *calls = json_object_get(plugin, "calls_by_time");
    long long highest = highest_of(calls);
    buf_printf(out,
               "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\"><line x1=\"60\" x2=\"%.0f\" y1=\"%.0f\" y2=\"%.0f\" "
               "stroke=\"#bbb\"/><text x=\"54\" y=\"18\" text-anchor=\"end\">%lld</text><text x=\"54\" y=\"%.0f\" "
               "text-anchor=\"end\">0</text>\n",
               WIDTH + 70, HEIGHT + 30, 60 + WIDTH, 10 + HEIGHT, 10 + HEIGHT, highest, 10 + HEIGHT);
    bars(out, calls, highest, "#47a");
    bars(out, json_object_get(plugin, "errors_by_time"), highest, "#c33");
    buf_printf(out, "\n<text x=\"60\" y=\"%.0f\">", HEIGHT + 26);
    page_text(out, text(report, "from"));
    buf_printf(out, "</text><text x=\"%.0f\" y=\"%.0f\" text-anchor=\"end\">", 60 + WIDTH, HEIGHT + 26);
    page_text(out, text(report, "until"));
    buf_puts(out, "</text></svg>\n");
}

static void put_plugin(struct buf *out, const json_t *plugin, const json_t *report)
{
    static const struct column figures[] = {{"Calls", "calls"},
                                            {"Errors", "errors"},
                                            {"CPU ns", "cost.cpu_ns"},
                                            {"p50 ns", "cost.latency.p50_ns"},
                                            {"p99 ns", "cost.latency.p99_ns"},
                                            {"Bytes in", "cost.bytes_in"},
                                            {"Bytes out", "cost.bytes_out"},
                                            {"Peak memory", "cost.peak_memory"},
                                            {"Restarts", "cost.restarts"},
                                            {"Health", "health_status"}};
    static const struct column refused[] = {{"Refused", "operation"},
                                            {"Object", "object"},
                                            {"Permission", "permission"},
                                            {"Count", "count"},
                                            {"Last", "last"}};
    static const struct column anomalies[] = {
        {"Worse since", "since"}, {"Action", "action"}, {"What", "kind"}, {"Evidence", "why"}};
    json_t *one = json_pack("[O]", plugin);
    buf_puts(out, "<section><h2>");
    page_text(out, text(plugin, "name"));
    buf_puts(out, " <small>");
    page_text(out, text(plugin, "version"));
    buf_puts(out, ", ");
    page_text(out, text(plugin, "publisher"));
    buf_puts(out, ", ");
    page_text(out, text(plugin, "status"));
    buf_puts(out, "</small></h2>\n");
    plot(out, plugin, report);
    table(out, one, figures, sizeof figures / sizeof *figures);
    if (json_array_size(json_object_get(plugin, "anomalies")))
        table(out, json_object_get(plugin, "anomalies"), anomalies, sizeof anomalies / sizeof *anomalies);
    if (json_array_size(json_object_get(plugin, "refused")))
        table(out, json_object_get(plugin, "refused"), refused, sizeof refused / sizeof *refused);
    buf_puts(out, "</section>\n");
    json_decref(one);
}

static void put_page(struct buf *out, const json_t *result)
{
    static const struct column changes[] = {
        {"Changed", "time"}, {"By", "actor"}, {"What", "action"}, {"Of", "subject"}};
    const json_t *plugins = json_object_get(result, "plugins"), *totals = json_object_get(result, "totals");
    page_begin(out, "Moat report");
    buf_puts(out, "<h1>Moat report</h1>\n<p>From ");
    page_text(out, text(result, "from"));
    buf_puts(out, " until ");
    page_text(out, text(result, "until"));
    buf_printf(out,
               ": plugins %lld, calls %lld, of them failed %lld, refusals %lld, changes %lld.</p>\n<p>A bar is %lld "
               "h of calls, red what failed. Times, CPU and memory are those since ",
               number(totals, "plugins"), number(totals, "calls"), number(totals, "errors"), number(totals, "refused"),
               number(totals, "changes"), number(result, "hours_per_point"));
    page_text(out, text(result, "since"));
    buf_puts(out, ".</p>\n");
    for (size_t i = 0; i < json_array_size(plugins); i++)
        put_plugin(out, json_array_get(plugins, i), result);
    buf_puts(out, "<section><h2>Changes</h2>\n");
    table(out, json_object_get(result, "changes"), changes, sizeof changes / sizeof *changes);
    buf_puts(out, "</section>\n");
    page_end(out);
}

static int write_page(struct cli *c, const json_t *result, const char *path)
{
    struct error err;
    buf_auto out = BUF_INIT(32 << 20);
    put_page(&out, result);
    if (out.failed)
        return cli_failf(c, MOAT_E_OUT_OF_MEMORY, "no memory for the page");
    return io_replace_file(path, out.data, out.len, 0600, &err) < 0 ? cli_fail(c, &err) : 0;
}

int run_report(struct cli *c)
{
    struct ask a;
    struct reply reply;
    ask_init(&a, "GET", "/api/report");
    ask_query(&a, "since", c->option[OPT_SINCE]);
    if (!cli_has(c, OPT_HTML))
        return ask_and_show(c, &a, show_report);
    int rc = ask_route(c, &a, &reply);
    json_t *result = rc == 0 ? json_loadb(reply.result, reply.len, JSON_DECODE_ANY, NULL) : NULL;
    if (rc == 0 && !result)
        rc = cli_failf(c, MOAT_E_INTERNAL, "the result cannot be read");
    if (rc == 0)
        rc = write_page(c, result, c->option[OPT_HTML]);
    if (rc == 0 && cli_has(c, OPT_JSON))
        reply_print(&reply);
    json_decref(result);
    reply_free(&reply);
    return rc ? rc : cli_done(c);
}
