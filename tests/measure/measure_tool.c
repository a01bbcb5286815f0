/* What test_measure.py compares with Python.
 *   measure_tool quantiles Q…             values on standard input, by words; the word "merge" begins another histogram
 *   measure_tool sequential T M A P K L   outcomes on standard input: b or n, of the old one or the new one, then 0 or
 * 1
 *   measure_tool guard                    cases on standard input, each of runs that were seen, "|", new runs, "."; a
 * run is g (good), f (failed), l (late) or c (cut short) and its time in ns: the verdict, and after how many new runs
 * it fell measure_tool forecast S T H           a series on standard input, seasons of S and T points: the fit, then H
 * points measure_tool smooth S A B G L R       one season, the parameters, the first level and trend; the first
 * season's values and then the series on standard input: the sum of squares, then 3 points */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/forecast.h"
#include "measure/guard.h"
#include "measure/histogram.h"
#include "measure/sequential.h"
#include "measure/series.h"
#include "measure/watch.h"

static int quantiles(int argc, char **argv)
{
    struct histogram all = {0}, one = {0};
    char word[32];
    while (scanf("%31s", word) == 1) {
        if (strcmp(word, "merge") != 0) {
            histogram_add(&one, strtoull(word, NULL, 10));
            continue;
        }
        histogram_merge(&all, &one);
        memset(&one, 0, sizeof one);
    }
    histogram_merge(&all, &one);
    printf("%" PRIu64 " %" PRIu64 "\n", all.count, all.sum);
    for (int i = 0; i < argc; i++)
        printf("%" PRIu64 "\n", histogram_quantile(&all, strtod(argv[i], NULL)));
    return 0;
}

static int sequential(char **argv)
{
    struct sequential s;
    struct sequential_limits limits = {strtod(argv[0], NULL), strtod(argv[1], NULL), strtod(argv[2], NULL),
                                       strtod(argv[3], NULL)};
    char word[8];
    sequential_init(&s, &limits, (unsigned)atoi(argv[4]), (unsigned)atoi(argv[5]));
    while (scanf("%7s", word) == 1) {
        enum sequential_verdict v =
            word[0] == 'b' ? sequential_before(&s, word[1] == '1') : sequential_after(&s, word[1] == '1');
        printf("%s %.9g %.9g\n", sequential_verdict_name(v), s.log_worse, s.log_fine);
    }
    return 0;
}

static bool read_run(const char *word, uint32_t *out)
{
    static const char kinds[] = "gflc";
    const char *kind = strchr(kinds, word[0]);
    if (!kind)
        return false;
    *out = guard_run((enum guard_kind)(kind - kinds), 0, strtoull(word + 1, NULL, 10));
    return true;
}

static uint32_t seen[1 << 16];

static int guard(void)
{
    char word[32];
    uint32_t run;
    size_t n = 0;
    while (scanf("%31s", word) == 1) {
        if (read_run(word, &run)) {
            if (n == sizeof seen / sizeof *seen)
                return 2;
            seen[n++] = run;
            continue;
        }
        struct guard_test t;
        uint16_t border;
        unsigned news = 0;
        bool begun = guard_init(&t, seen, n, &border, 1, 10);
        while (scanf("%31s", word) == 1 && read_run(word, &run))
            if (begun && t.test.verdict == SEQUENTIAL_OPEN) {
                guard_add(&t, run);
                news++;
            }
        printf("%s %u\n", begun ? sequential_verdict_name(t.test.verdict) : "none", news);
        n = 0;
    }
    return 0;
}

static size_t series(double *y, size_t room)
{
    size_t n = 0;
    while (n < room && scanf("%lf", &y[n]) == 1)
        n++;
    return n;
}

static double y[FORECAST_POINTS_MAX + 10];

static void ahead(const struct forecast *f, unsigned points, bool counts)
{
    for (unsigned h = 1; h <= points; h++) {
        struct forecast_point p;
        forecast_at(f, h, counts, &p);
        printf("%.12g %.12g %.12g %.12g %.12g\n", p.mean, p.low80, p.high80, p.low95, p.high95);
    }
}

static int fitted(char **argv)
{
    const unsigned seasons[2] = {(unsigned)atoi(argv[0]), (unsigned)atoi(argv[1])};
    struct forecast f;
    enum forecast_result rc = forecast_fit(y, series(y, sizeof y / sizeof *y), seasons, &f);
    if (rc != FORECAST_DONE) {
        puts(rc == FORECAST_TOO_LITTLE ? "too little" : "bad value");
        return 0;
    }
    printf("%zu %u %u %.9g %.9g %.9g %.9g %.12g %.9g %.9g\n", f.points, f.length[0], f.length[1], f.parameters.level,
           f.parameters.trend, f.parameters.season[0], f.parameters.season[1], f.sse, f.mase, f.naive);
    ahead(&f, (unsigned)atoi(argv[2]), true);
    return 0;
}

static int smoothed(char **argv)
{
    struct forecast f = {.length = {(unsigned)atoi(argv[0])},
                         .at_level = strtod(argv[4], NULL),
                         .at_trend = strtod(argv[5], NULL)},
                    out;
    f.parameters = (struct forecast_parameters){strtod(argv[1], NULL), strtod(argv[2], NULL), {strtod(argv[3], NULL)}};
    if (f.length[0] > FORECAST_SEASON_MAX || series(f.at_season[0], f.length[0]) != f.length[0])
        return 2;
    forecast_smooth(y, series(y, sizeof y / sizeof *y), &f, &out);
    printf("%.12g\n", out.sse);
    ahead(&out, 3, false);
    return 0;
}

/* Lines "SECONDS CALLS BAD VALUE…", or CALLS of value V as "V*CALLS"; after each that changed something its anomalies.
 */
static bool some_of(struct window_sum *some, uint64_t *now)
{
    static char line[1 << 20];
    char *at = line;
    if (!fgets(line, sizeof line, stdin))
        return false;
    *some = (struct window_sum){0};
    *now = (uint64_t)(strtod(at, &at) * 1e9);
    some->calls = strtoull(at, &at, 10);
    some->bad = strtoull(at, &at, 10);
    for (char *end; strtoull(at, &end, 10), end != at; at = end) {
        uint64_t value = strtoull(at, &end, 10), times = *end == '*' ? strtoull(end + 1, &end, 10) : 1;
        some->values.count += times;
        some->values.sum += value * times;
        some->values.buckets[histogram_bucket(value)] += times;
    }
    return true;
}

static int watched(const char *seed)
{
    static struct series s;
    static struct window_sum some;
    uint64_t now;
    series_init(&s, strtoull(seed, NULL, 10));
    while (some_of(&some, &now)) {
        unsigned changed = series_add(&s, now, &some);
        for (int k = 0; k < WATCH_KINDS; k++)
            if (changed >> k & 1)
                printf("%.9g %s %s %.4g %.4g %.4g\n", (double)now / 1e9, watch_kind_name((enum watch_kind)k),
                       s.found[k].on ? "on" : "off", (double)s.found[k].before.bad / (double)s.found[k].before.calls,
                       (double)s.found[k].after.bad / (double)s.found[k].after.calls, s.found[k].evidence);
    }
    return 0;
}

/* ---- changes that are watched, made up here: what a test needs thousands of ---- */

static uint64_t chance_state;

static double chance(void)
{
    chance_state ^= chance_state >> 12;
    chance_state ^= chance_state << 25;
    chance_state ^= chance_state >> 27;
    return ((double)(chance_state * 0x2545f4914f6cdd1d >> 11) + 0.5) * 0x1p-53;
}

/* Times around 9 ms, one of a hundred more than three times as long. */
static void draw(struct window_sum *out, unsigned calls, double failing, double slower)
{
    for (unsigned i = 0; i < calls; i++) {
        double normal = sqrt(-2 * log(chance())) * cos(6.283185307179586 * chance());
        out->calls++;
        out->bad += chance() < failing;
        histogram_add(&out->values, (uint64_t)(slower * exp(16 + 0.5 * normal)));
    }
}

/* One change: the verdict, and after how many calls. Judged as src/service/parameter_set.c does. */
static void watch_one(unsigned before, unsigned calls, unsigned sums, const double failing[2], double slower)
{
    static struct window_sum then, now;
    static struct watch w;
    unsigned n = 0;
    then = (struct window_sum){0};
    draw(&then, before, failing[0], 1);
    bool begun = watch_begin(&w, &watch_change, &then, (uint64_t)(chance() * 1e15) | 1), worse = false, fine = false;
    for (unsigned i = 0; begun && i < sums && !worse && !fine; i++) {
        now = (struct window_sum){0};
        draw(&now, calls, failing[1], slower);
        watch_feed(&w, &now);
        n += calls;
        fine = true;
        for (int k = 0; k < WATCH_KINDS; k++) {
            worse = worse || w.tests[k].verdict == SEQUENTIAL_WORSE;
            fine = fine && (w.tests[k].verdict == SEQUENTIAL_FINE || w.before[k].calls < WATCH_LEAST_TIMED);
        }
        fine = fine && w.tests[WATCH_ERRORS].verdict == SEQUENTIAL_FINE;
    }
    printf("%s %u\n", !begun ? "none" : worse ? "worse" : fine ? "fine" : "open", n);
}

/* SEED TESTS BEFORE CALLS SUMS P Q SLOWER: so many changes after BEFORE calls of which a share P failed; then SUMS of
 * CALLS calls, of which Q fail, so many times as slow. */
static int changes(char **argv)
{
    const double failing[2] = {strtod(argv[5], NULL), strtod(argv[6], NULL)};
    chance_state = strtoull(argv[0], NULL, 10) | 1;
    for (unsigned i = (unsigned)atoi(argv[1]); i; i--)
        watch_one((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]), failing,
                  strtod(argv[7], NULL));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 10 && strcmp(argv[1], "changes") == 0)
        return changes(argv + 2);
    if (argc > 2 && strcmp(argv[1], "quantiles") == 0)
        return quantiles(argc - 2, argv + 2);
    if (argc == 2 && strcmp(argv[1], "guard") == 0)
        return guard();
    if (argc == 8 && strcmp(argv[1], "sequential") == 0)
        return sequential(argv + 2);
    if (argc == 5 && strcmp(argv[1], "forecast") == 0)
        return fitted(argv + 2);
    if (argc == 8 && strcmp(argv[1], "smooth") == 0)
        return smoothed(argv + 2);
    if (argc == 3 && strcmp(argv[1], "series") == 0)
        return watched(argv[2]);
    fprintf(stderr, "usage: measure_tool changes SEED TESTS BEFORE CALLS SUMS P Q SLOWER | guard | series SEED | "
                    "forecast S T H | smooth S A B G L R | quantiles Q… | sequential "
                    "T M A P K L\n");
    return 2;
}
