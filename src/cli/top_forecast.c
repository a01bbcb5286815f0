/* The line of `moat top` that says what is to come: a day back, a day ahead. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "cli/top.h"

#define AGAIN_NS (60 * NS_PER_S) /* an hour's forecast does not change in a second */

/* ---- reading ---- */

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void take(struct top_forecast *f, const json_t *answer)
{
    const json_t *past = json_object_get(answer, "past"), *ahead = json_object_get(answer, "forecast");
    size_t n = json_array_size(past), first = n > TOP_HOURS ? n - TOP_HOURS : 0;
    f->known = json_is_true(json_object_get(answer, "enough"));
    f->npast = f->nahead = 0;
    for (size_t i = first; i < n; i++)
        f->past[f->npast++] = json_number_value(json_array_get(past, i));
    for (size_t i = 0; i < json_array_size(ahead) && f->nahead < TOP_HOURS; i++)
        f->ahead[f->nahead++] = number(json_array_get(ahead, i), "mean");
    f->next = number(json_array_get(ahead, 0), "mean");
    f->next_high = number(json_array_get(ahead, 0), "high95");
}

void top_forecast_read(struct cli *c, struct top_forecast *f)
{
    struct error err;
    json_t *answer = NULL;
    uint64_t now = clock_mono_ns();
    if (f->read_ns && now - f->read_ns < AGAIN_NS)
        return;
    f->read_ns = now;
    if (top_ask(c, "/api/forecast", &answer, &err) == 0)
        take(f, answer);
    else
        f->known = false;
    json_decref(answer);
}

/* ---- drawing ---- */

static bool has_blocks(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

static char *put_bars(char *at, const double *values, size_t n, double highest)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const letters[] = {" ", ".", ".", ":", "-", "=", "+", "*", "#"};
    const char *const *marks = has_blocks() ? blocks : letters;
    for (size_t i = 0; i < n; i++) {
        double share = highest > 0 ? values[i] / highest : 0;
        int k = share <= 0 ? 0 : share >= 1 ? 8 : (int)ceil(share * 8);
        at = stpcpy(at, marks[k]);
    }
    return at;
}

void top_forecast_text(const struct top_forecast *f, char out[TOP_FORECAST_MAX])
{
    double highest = 0;
    char *at = out;
    *out = '\0';
    if (!f->known)
        return;
    for (size_t i = 0; i < f->npast; i++)
        highest = fmax(highest, f->past[i]);
    for (size_t i = 0; i < f->nahead; i++)
        highest = fmax(highest, f->ahead[i]);
    at = stpcpy(at, "calls/h ");
    at = put_bars(at, f->past, f->npast, highest);
    at = stpcpy(at, "|");
    at = put_bars(at, f->ahead, f->nahead, highest);
    snprintf(at, TOP_FORECAST_MAX - (size_t)(at - out), " %.3g, up to %.3g", f->next, f->next_high);
}
