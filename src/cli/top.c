#include "cli/top.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

const char top_keys[TOP_SORTS + 1] = "acmeun";

/* ---- reading ---- */

void top_free(struct top_look *look)
{
    free(look->rows);
    *look = (struct top_look){0};
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(object, key));
    return n > 0 ? (uint64_t)n : 0;
}

static void take_text(char *out, size_t size, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    text_plain(out, size, text ? text : "-", text ? strlen(text) : 1);
}

static void take_row(struct top_row *row, const json_t *plugin)
{
    const json_t *latency = json_object_get(plugin, "latency");
    take_text(row->name, sizeof row->name, plugin, "name");
    take_text(row->loading, sizeof row->loading, plugin, "loading");
    take_text(row->health, sizeof row->health, plugin, "health_status");
    row->calls = number(plugin, "execution_count");
    row->errors = number(plugin, "error_count");
    row->cpu_ns = number(plugin, "cpu_ns");
    row->memory = number(plugin, "memory");
    row->queued = number(plugin, "queued");
    row->running = number(plugin, "in_flight");
    row->workers = number(plugin, "workers");
    row->p50_ns = number(latency, "p50_ns");
    row->p99_ns = number(latency, "p99_ns");
}

int top_ask(struct cli *c, const char *path, json_t **out, struct error *err)
{
    struct ask a;
    struct reply reply;
    ask_init(&a, "GET", path);
    a.server_only = "only a server keeps plugins running";
    int rc = ask_quietly(c, &a, &reply, err);
    *out = rc == 0 ? json_loadb(reply.result, reply.len, 0, NULL) : NULL;
    reply_free(&reply);
    return rc == 0 && !*out ? error_set(err, MOAT_E_INTERNAL, "the answer of %s cannot be read", path) : rc;
}

int top_read(struct cli *c, struct top_look *out, struct error *err)
{
    json_t *loaded = NULL, *health = NULL;
    struct top_look look = {0};
    int rc = top_ask(c, "/api/plugins/loaded", &loaded, err);
    look.at_ns = clock_mono_ns();
    if (rc == 0)
        rc = top_ask(c, "/api/plugins/health", &health, err);
    const json_t *plugins = json_object_get(loaded, "plugins");
    if (rc == 0 && !(look.rows = calloc(json_array_size(plugins) + 1, sizeof *look.rows)))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the plugins");
    for (size_t i = 0; rc == 0 && i < json_array_size(plugins); i++)
        take_row(&look.rows[look.nrows++], json_array_get(plugins, i));
    look.uptime_s = number(health, "uptime_seconds");
    json_decref(loaded);
    json_decref(health);
    if (rc == 0)
        *out = look;
    return rc;
}

/* ---- between two looks ---- */

static const struct top_row *find(const struct top_look *look, const char *name)
{
    for (size_t i = 0; look && i < look->nrows; i++)
        if (strcmp(look->rows[i].name, name) == 0)
            return &look->rows[i];
    return NULL;
}

/* Totals begin anew with a server or a plugin that was installed again. */
static double rate(uint64_t now, uint64_t before, double span)
{
    return now > before && span > 0 ? (double)(now - before) / span : 0;
}

void top_compare(struct top_look *now, const struct top_look *before)
{
    double seconds = before ? (double)(now->at_ns - before->at_ns) / 1e9 : 0;
    for (size_t i = 0; i < now->nrows; i++) {
        struct top_row *r = &now->rows[i];
        const struct top_row *old = find(before, r->name);
        if (!old)
            continue;
        r->calls_per_s = rate(r->calls, old->calls, seconds);
        r->errors_per_s = rate(r->errors, old->errors, seconds);
        r->cpu = rate(r->cpu_ns, old->cpu_ns, seconds * 1e9);
    }
}

static double value_of(const struct top_row *r, enum top_sort by)
{
    switch (by) {
    case TOP_CALLS:
        return r->calls_per_s;
    case TOP_CPU:
        return r->cpu;
    case TOP_MEMORY:
        return (double)r->memory;
    case TOP_ERRORS:
        return r->errors_per_s;
    case TOP_QUEUE:
        return (double)r->queued;
    default:
        return 0;
    }
}

/* The most first; what is equal by name, so that rows do not dance. */
static int compare(const void *a, const void *b, void *by)
{
    const struct top_row *x = a, *y = b;
    double left = value_of(x, *(enum top_sort *)by), right = value_of(y, *(enum top_sort *)by);
    return left < right ? 1 : left > right ? -1 : strcmp(x->name, y->name);
}

void top_sort(struct top_look *look, enum top_sort by)
{
    qsort_r(look->rows, look->nrows, sizeof *look->rows, compare, &by);
}

/* ---- figures in few characters ---- */

static void show_span(uint64_t ns, char out[16])
{
    static const struct {
        double most; /* of the unit before it */
        double unit;
        const char *name;
    } units[] = {{9.995e5, 1e3, "us"}, {9.995e8, 1e6, "ms"}, {5.995e10, 1e9, "s"}, {1e300, 6e10, "m"}};
    if (!ns) {
        memcpy(out, "-", 2);
        return;
    }
    size_t i = 0;
    while ((double)ns >= units[i].most)
        i++;
    double n = (double)ns / units[i].unit;
    snprintf(out, 16, n < 9.95 ? "%.1f%s" : "%.0f%s", n, units[i].name);
}

static void show_memory(uint64_t bytes, char out[16])
{
    static const char units[] = "BKMGT";
    double n = (double)bytes;
    size_t i = 0;
    while (n >= 1000 && units[i + 1])
        n /= 1024, i++;
    snprintf(out, 16, i && n < 9.95 ? "%.1f%c" : "%.0f%c", n, units[i]);
}

static void show_count(double n, char out[16])
{
    static const char *const units[] = {"", "k", "M", "G"};
    size_t i = 0;
    while (n >= 99999.5 && i < 3)
        n /= 1000, i++;
    bool whole = (double)(uint64_t)n == n;
    snprintf(out, 16, !whole && n < 9.95 ? "%.1f%s" : "%.0f%s", n, units[i]);
}

/* ---- the page ---- */

/* What is drawn so far of one line, in columns; beyond the width nothing is. */
struct line {
    struct buf *out;
    const struct top_page *page;
    unsigned used;
};

static void put(struct line *l, const char *text)
{
    for (; *text && l->used < l->page->width; text++) {
        buf_putc(l->out, *text);
        l->used += (*text & 0xc0) != 0x80;
    }
}

static void end_line(struct line *l)
{
    buf_puts(l->out, l->page->line_end);
    l->used = 0;
}

static void colour(struct line *l, const char *code)
{
    if (l->page->colours)
        buf_printf(l->out, "\x1b[%sm", code);
}

static const char *colour_of(const struct top_row *r)
{
    static const struct {
        const char *word, *code;
    } rows[] = {{"failed", "31"},  {"open_circuit", "31"}, {"degraded", "33"}, {"backoff", "33"},
                {"loading", "36"}, {"draining", "36"},     {"ready", "32"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].word, r->health) == 0 || strcmp(rows[i].word, r->loading) == 0)
            return rows[i].code;
    return "0";
}

/* One word for loading and health: what is worse. */
static const char *state_of(const struct top_row *r)
{
    if (strcmp(r->loading, "open_circuit") == 0)
        return "circuit";
    if (strcmp(r->loading, "needs_grant") == 0)
        return "grant";
    bool ready = strcmp(r->loading, "ready") == 0,
         well = !strcmp(r->health, "healthy") || !strcmp(r->health, "unknown");
    return ready && !well ? r->health : r->loading;
}

static unsigned name_width(const struct top_page *page)
{
    unsigned others = 61; /* what put_row puts behind it */
    unsigned room = page->width > others + 10 ? page->width - others : 10;
    return room < TOP_NAME_MAX - 1 ? room : TOP_NAME_MAX - 1;
}

static void put_name(struct line *l, const char *name)
{
    char cell[64];
    unsigned width = name_width(l->page);
    bool cut = strlen(name) > width;
    snprintf(cell, sizeof cell, "%-*.*s%s", (int)(cut ? width - 1 : width), (int)(cut ? width - 1 : width), name,
             cut ? "~" : "");
    put(l, cell);
}

static void put_row(struct line *l, const struct top_row *r)
{
    char cell[96], calls[16] = "-", errors[16] = "-", cpu[16] = "-", p50[16], p99[16], memory[16], queued[16];
    bool measured = l->page->measured;
    if (measured) {
        show_count(r->calls_per_s, calls);
        show_count(r->errors_per_s, errors);
        show_count(100 * r->cpu, cpu);
    }
    show_span(r->p50_ns, p50);
    show_span(r->p99_ns, p99);
    show_memory(r->memory, memory);
    show_count((double)r->queued, queued);
    put_name(l, r->name);
    colour(l, colour_of(r));
    snprintf(cell, sizeof cell, " %-8s", state_of(r));
    put(l, cell);
    colour(l, "0");
    snprintf(cell, sizeof cell, "%3llu%8s%6s%6s", (unsigned long long)r->workers, calls, p50, p99);
    put(l, cell);
    colour(l, measured && r->errors_per_s > 0 ? "31" : "0");
    snprintf(cell, sizeof cell, "%7s", errors);
    put(l, cell);
    colour(l, "0");
    snprintf(cell, sizeof cell, "%6s%8s%8s", cpu, memory, queued);
    put(l, cell);
    end_line(l);
}

static void put_titles(struct line *l)
{
    char cell[96];
    colour(l, "7");
    put_name(l, "PLUGIN");
    snprintf(cell, sizeof cell, " %-8s%3s%8s%6s%6s%7s%6s%8s%8s", "STATE", "W", "CALLS/S", "P50", "P99", "ERR/S", "CPU%",
             "MEMORY", "QUEUED");
    put(l, cell);
    colour(l, "0");
    end_line(l);
}

static void put_forecast(struct line *l)
{
    char text[TOP_FORECAST_MAX] = "";
    if (l->page->forecast)
        top_forecast_text(l->page->forecast, text);
    put(l, text);
    end_line(l);
}

static void put_sums(struct line *l, const struct top_look *look)
{
    struct top_row sum = {0};
    char text[200], calls[16], errors[16], memory[16], up[32], clock[CLOCK_RFC3339_MAX];
    for (size_t i = 0; i < look->nrows; i++) {
        const struct top_row *r = &look->rows[i];
        sum.calls_per_s += r->calls_per_s;
        sum.errors_per_s += r->errors_per_s;
        sum.cpu += r->cpu;
        sum.memory += r->memory;
        sum.queued += r->queued;
        sum.running += r->running;
        sum.workers += r->workers;
    }
    clock_rfc3339(clock_wall_ns(), clock);
    uint64_t s = look->uptime_s;
    snprintf(up, sizeof up, "%llud %02llu:%02llu:%02llu", (unsigned long long)(s / 86400),
             (unsigned long long)(s / 3600 % 24), (unsigned long long)(s / 60 % 60), (unsigned long long)(s % 60));
    snprintf(text, sizeof text, "moat  %.8s UTC  up %s  plugins %zu  workers %llu", clock + 11, up, look->nrows,
             (unsigned long long)sum.workers);
    colour(l, "1");
    put(l, text);
    colour(l, "0");
    end_line(l);
    show_count(sum.calls_per_s, calls);
    show_count(sum.errors_per_s, errors);
    show_memory(sum.memory, memory);
    bool m = l->page->measured;
    snprintf(text, sizeof text, "calls/s %s  errors/s %s  running %llu  queued %llu  cpu %.0f%%  memory %s",
             m ? calls : "-", m ? errors : "-", (unsigned long long)sum.running, (unsigned long long)sum.queued,
             100 * sum.cpu, memory);
    put(l, text);
    end_line(l);
    put_forecast(l);
}

static void put_keys(struct line *l, const struct top_look *look, size_t shown)
{
    static const char *const names[TOP_SORTS] = {"c[a]lls", "[c]pu", "[m]emory", "[e]rrors", "q[u]eue", "[n]ame"};
    char text[64];
    put(l, "[q]uit  sort: ");
    for (int i = 0; i < TOP_SORTS; i++) {
        colour(l, i == (int)l->page->sort ? "1" : "2");
        put(l, names[i]);
        put(l, " ");
    }
    colour(l, "0");
    if (shown < look->nrows) {
        snprintf(text, sizeof text, " %zu-%zu of %zu (j, k)", l->page->first + 1, l->page->first + shown, look->nrows);
        put(l, text);
    }
}

/* Two lines of sums, one of what is to come, the titles, the rows, an empty one, the keys; what has no room is left
 * out. */
#define LINES_AROUND 6

void top_draw(struct buf *out, const struct top_look *look, const struct top_page *page)
{
    struct line l = {.out = out, .page = page};
    size_t room = !page->height ? look->nrows : page->height > LINES_AROUND ? page->height - LINES_AROUND : 0;
    size_t left = page->first < look->nrows ? look->nrows - page->first : 0;
    size_t shown = left < room ? left : room;
    put_sums(&l, look);
    put_titles(&l);
    for (size_t i = 0; i < shown; i++)
        put_row(&l, &look->rows[page->first + i]);
    if (!look->nrows) {
        put(&l, "No plugin is loaded: its first call starts it.");
        end_line(&l);
    }
    if (!page->height)
        return;
    end_line(&l);
    put_keys(&l, look, shown);
}

void top_json(struct buf *out, const struct top_look *look)
{
    buf_printf(out, "{\"uptime_seconds\":%llu,\"plugins\":[", (unsigned long long)look->uptime_s);
    for (size_t i = 0; i < look->nrows; i++) {
        const struct top_row *r = &look->rows[i];
        buf_printf(out, "%s{\"name\":\"%s\",\"loading\":\"%s\",\"health_status\":\"%s\",\"workers\":%llu,",
                   i ? "," : "", r->name, r->loading, r->health, (unsigned long long)r->workers);
        buf_printf(out, "\"calls_per_s\":%.3f,\"errors_per_s\":%.3f,\"cpu\":%.4f,\"memory\":%llu,", r->calls_per_s,
                   r->errors_per_s, r->cpu, (unsigned long long)r->memory);
        buf_printf(out, "\"p50_ns\":%llu,\"p99_ns\":%llu,\"queued\":%llu,\"in_flight\":%llu}",
                   (unsigned long long)r->p50_ns, (unsigned long long)r->p99_ns, (unsigned long long)r->queued,
                   (unsigned long long)r->running);
    }
    buf_puts(out, "]}");
}
