/* forecast: what is to come, as a line a few hours apart, or drawn. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "cli/page.h"
#include "cli/show.h"

#define WIDTH 860.0
#define HEIGHT 300.0
#define LEFT 60.0
#define TOP 40.0

/* It is of starts, not of calls. */
static bool has_pool(const json_t *result)
{
    return json_is_object(json_object_get(result, "pool"));
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* ---- drawing ---- */

struct picture {
    struct buf *out;
    const json_t *past, *points;
    size_t npast, n;
    double highest;
};

static double across(const struct picture *p, size_t i)
{
    size_t last = p->npast + p->n;
    return LEFT + WIDTH * (double)i / (double)(last > 1 ? last - 1 : 1);
}

static double up(const struct picture *p, double y)
{
    return TOP + HEIGHT * (1 - y / p->highest);
}

static void curve(const struct picture *p, const char *key, const char *style)
{
    buf_puts(p->out, "<polyline fill=\"none\" points=\"");
    for (size_t i = 0; !key && i < p->npast; i++)
        buf_printf(p->out, "%.1f,%.1f ", across(p, i), up(p, json_number_value(json_array_get(p->past, i))));
    for (size_t i = 0; key && i < p->n; i++)
        buf_printf(p->out, "%.1f,%.1f ", across(p, p->npast + i), up(p, number(json_array_get(p->points, i), key)));
    buf_printf(p->out, "\" %s/>\n", style);
}

static void band(const struct picture *p, const char *low, const char *high, const char *style)
{
    buf_puts(p->out, "<polygon points=\"");
    for (size_t i = 0; i < p->n; i++)
        buf_printf(p->out, "%.1f,%.1f ", across(p, p->npast + i), up(p, number(json_array_get(p->points, i), high)));
    for (size_t i = p->n; i-- > 0;)
        buf_printf(p->out, "%.1f,%.1f ", across(p, p->npast + i), up(p, number(json_array_get(p->points, i), low)));
    buf_printf(p->out, "\" %s/>\n", style);
}

/* A scale of five lines at round numbers. */
static double round_up(double x)
{
    double power = pow(10, floor(log10(x > 1 ? x : 1)));
    for (int k = 1; k <= 10; k++)
        if (k * power >= x)
            return k * power;
    return x;
}

static void scale(const struct picture *p)
{
    for (int k = 0; k <= 4; k++) {
        double y = p->highest * k / 4;
        buf_printf(p->out,
                   "<line x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/><text x=\"%.0f\" y=\"%.1f\" "
                   "text-anchor=\"end\">%.4g</text>\n",
                   LEFT, LEFT + WIDTH, up(p, y), up(p, y), LEFT - 6, up(p, y) + 4, y);
    }
}

static void labels(const struct picture *p, const json_t *result)
{
    const char *name = json_string_value(json_object_get(result, "plugin"));
    const char *until = p->n ? json_string_value(json_object_get(json_array_get(p->points, p->n - 1), "time")) : NULL;
    const char *of = has_pool(result) ? "Starts at once, at most in each hour" : "Calls an hour";
    buf_printf(p->out, "<text x=\"%.0f\" y=\"24\" font-size=\"15\">%s: ", LEFT, of);
    page_text(p->out, name ? name : "all plugins");
    buf_printf(p->out, "</text>\n<text x=\"%.0f\" y=\"%.0f\">%zu hours before</text>\n", LEFT, TOP + HEIGHT + 20,
               p->npast);
    buf_printf(p->out, "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"end\">", LEFT + WIDTH, TOP + HEIGHT + 20);
    page_text(p->out, until ? until : "");
    buf_printf(p->out, "</text>\n<text x=\"%.0f\" y=\"%.0f\" fill=\"#06c\">expected, with 80 %% and 95 %%</text>\n",
               LEFT + 200, TOP + HEIGHT + 20);
}

static void draw(struct buf *out, const json_t *result)
{
    struct picture p = {
        .out = out, .past = json_object_get(result, "past"), .points = json_object_get(result, "forecast")};
    p.npast = json_array_size(p.past);
    p.n = json_array_size(p.points);
    for (size_t i = 0; i < p.npast; i++)
        p.highest = fmax(p.highest, json_number_value(json_array_get(p.past, i)));
    for (size_t i = 0; i < p.n; i++)
        p.highest = fmax(p.highest, number(json_array_get(p.points, i), "high95"));
    p.highest = round_up(p.highest);
    buf_printf(out,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\" "
               "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
               LEFT + WIDTH + 20, TOP + HEIGHT + 40);
    scale(&p);
    band(&p, "low95", "high95", "fill=\"#06c\" fill-opacity=\"0.12\"");
    band(&p, "low80", "high80", "fill=\"#06c\" fill-opacity=\"0.18\"");
    curve(&p, NULL, "stroke=\"#333\" stroke-width=\"1.5\"");
    curve(&p, "mean", "stroke=\"#06c\" stroke-width=\"2\"");
    labels(&p, result);
    buf_puts(out, "</svg>\n");
}

/* ---- for people ---- */

static void show_accuracy(const json_t *model)
{
    const json_t *mase = json_object_get(model, "mase");
    if (json_is_number(mase))
        printf("Off on the last hours by %.2f of what a repetition of the season before is off by (%.2f on the same "
               "hours).\n",
               json_number_value(mase), number(model, "naive_mase"));
    else
        puts("How good it is cannot be told yet.");
}

static void show_limit(const json_t *limit, const char *what)
{
    const json_t *expected = json_object_get(limit, "expected_ahead"),
                 *possible = json_object_get(limit, "possible_ahead");
    if (!limit || json_is_null(limit))
        return;
    printf("%.10g %s: ", number(limit, "per_hour"), what);
    if (json_is_integer(expected))
        printf("expected in %lld hours", (long long)json_integer_value(expected));
    else
        fputs("not expected", stdout);
    if (json_is_integer(possible))
        printf(", possible in %lld\n", (long long)json_integer_value(possible));
    else
        puts("");
}

static void show_pool(const json_t *pool)
{
    printf("%.0f of %.0f half-built walls stand ready, from %.0f to %.0f are kept: ", number(pool, "ready"),
           number(pool, "size"), number(pool, "least"), number(pool, "most"));
    show_text(stdout, json_string_value(json_object_get(pool, "why")));
    puts(".");
    if (json_is_number(json_object_get(pool, "possible")))
        printf("Starts at once in this hour: %.2g expected, up to %.2g.\n", number(pool, "expected"),
               number(pool, "possible"));
}

static void show_forecast(struct cli *c, const json_t *result)
{
    static const struct column columns[] = {
        {"TIME", "time", false}, {"EXPECTED", "mean", true}, {"95% FROM", "low95", true}, {"TO", "high95", true}};
    (void)c;
    if (has_pool(result))
        show_pool(json_object_get(result, "pool"));
    if (!json_is_true(json_object_get(result, "enough"))) {
        printf("Too little is known: ");
        show_text(stdout, json_string_value(json_object_get(result, "why")));
        putchar('\n');
        return;
    }
    show_table(json_object_get(result, "forecast"), columns, 4, "");
    show_accuracy(json_object_get(result, "model"));
    show_limit(json_object_get(result, "limit"), has_pool(result) ? "starts at once" : "calls an hour");
}

/* The picture, whole or not at all; an exit status. */
static int draw_into(struct cli *c, const json_t *result, const char *path)
{
    struct error err;
    buf_auto out = BUF_INIT(1 << 20);
    draw(&out, result);
    if (io_replace_file(path, out.data, out.len, 0644, &err) < 0)
        return cli_fail(c, &err);
    return 0;
}

int run_forecast(struct cli *c)
{
    struct ask a;
    struct reply reply;
    ask_init(&a, "GET", "/api/forecast");
    ask_query(&a, "plugin", c->nargs ? c->args[0] : NULL);
    ask_query(&a, "limit", c->option[OPT_LIMIT]);
    ask_query(&a, "pool", cli_has(c, OPT_POOL) ? "true" : NULL);
    if (!cli_has(c, OPT_SVG))
        return ask_and_show(c, &a, show_forecast);
    int rc = ask_route(c, &a, &reply);
    json_t *result = rc == 0 ? json_loadb(reply.result, reply.len, JSON_DECODE_ANY, NULL) : NULL;
    if (rc == 0)
        rc = draw_into(c, result, c->option[OPT_SVG]);
    if (rc == 0 && cli_has(c, OPT_JSON))
        reply_print(&reply);
    else if (rc == 0)
        show_forecast(c, result);
    json_decref(result);
    reply_free(&reply);
    return rc ? rc : cli_done(c);
}
