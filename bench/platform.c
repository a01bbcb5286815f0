/* What watching costs: recording a metric, a call while the monitor looks fifty times as often as it does by itself, a
 * forecast of 10,000 hours, a change of a parameter apart from its record's way to the disk. */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/clock.h"
#include "bench.h"

#define ROUNDS 21
#define RECORDS 200000
#define PAIRS 64
#define CALLS 4000
#define POINTS 10000
#define CHANGES 60

static void print(const char *name, const char *unit, double value, const char *reference, double of)
{
    figure_print(&(struct figure){.name = name,
                                  .unit = unit,
                                  .value = value,
                                  .p50 = -1,
                                  .p99 = -1,
                                  .reference = reference,
                                  .reference_value = of,
                                  .ratio = value / of});
}

/* ---- recording ---- */

static char names[PAIRS][16];

/* So many records over many pairs: ns of one. */
static double record(struct moat *m, unsigned pairs)
{
    struct moat_metric metric = {.size = sizeof metric, .plugin = "platform"};
    struct moat_error error;
    uint64_t from = clock_mono_ns();
    for (unsigned i = 0; i < RECORDS; i++) {
        metric.action = names[i % pairs];
        metric.success = i % 50 != 0;
        metric.duration_ns = 1000 + i;
        if (moat_record_metric(m, &metric, &error))
            bench_die("%s", error.message);
    }
    return (double)(clock_mono_ns() - from) / RECORDS;
}

/* What looking at the time costs, which recording does not. */
static double clock_floor(void)
{
    uint64_t from = clock_mono_ns(), sum = 0;
    for (unsigned i = 0; i < RECORDS; i++)
        sum += clock_mono_ns() & 1;
    return (double)(clock_mono_ns() - from) / (RECORDS + (sum & 0));
}

static void bench_record(struct moat *m)
{
    struct samples records = {0}, floor = {0};
    for (int i = 0; i < ROUNDS; i++) {
        samples_add(&records, record(m, PAIRS));
        samples_add(&floor, clock_floor());
    }
    print("platform.record_ns", "ns", samples_percentile(&records, 50), "looking at the clock, ns",
          samples_percentile(&floor, 50));
    samples_clear(&records);
    samples_clear(&floor);
}

struct recorder {
    struct moat *m;
    double ns;
};

static void *record_one_pair(void *context)
{
    struct recorder *r = context;
    r->ns = record(r->m, 1);
    return NULL;
}

/* Two threads at once, the very same pair. */
static void bench_record_together(struct moat *m)
{
    struct samples both = {0}, alone = {0};
    for (int i = 0; i < ROUNDS; i++) {
        struct recorder r[2] = {{.m = m}, {.m = m}};
        pthread_t other;
        samples_add(&alone, record(m, 1));
        if (pthread_create(&other, NULL, record_one_pair, &r[1]))
            bench_die("no thread");
        record_one_pair(&r[0]);
        pthread_join(other, NULL);
        samples_add(&both, (r[0].ns + r[1].ns) / 2);
    }
    print("platform.record_together_ns", "ns", samples_percentile(&both, 50), "by one thread, ns",
          samples_percentile(&alone, 50));
    samples_clear(&both);
    samples_clear(&alone);
}

/* ---- calls ---- */

static double calls(struct moat *m)
{
    uint64_t from = clock_mono_ns();
    for (unsigned i = 0; i < CALLS; i++) {
        struct moat_call_data c = {
            .size = sizeof c, .plugin = "echo", .action = "echo", .parameters = "{\"text\":\"watched or not\"}"};
        if (moat_call(m, &c))
            bench_die("%s", c.error.message);
        moat_free(c.result);
    }
    return (double)(clock_mono_ns() - from) / CALLS;
}

static struct moat *open_home(char home[256], const char *every)
{
    bench_home(home);
    bench_setting(home, "monitor_every", every);
    struct moat *m = bench_open(home);
    bench_install(m, "echo");
    calls(m);
    return m;
}

/* Turn by turn, so that what the machine does meanwhile falls on both. */
static void bench_hot(void)
{
    char home[2][256];
    struct moat *on = open_home(home[0], "\"100ms\""), *off = open_home(home[1], "\"1h\"");
    struct samples watched = {0}, bare = {0}, ratios = {0};
    for (int i = 0; i < 4 * ROUNDS; i++) {
        double a = i % 2 ? calls(on) : 0, b = calls(off);
        a = a > 0 ? a : calls(on);
        samples_add(&watched, a);
        samples_add(&bare, b);
        samples_add(&ratios, a / b);
    }
    double ratio = samples_percentile(&ratios, 50);
    figure_print(&(struct figure){.name = "platform.hot_ratio",
                                  .unit = "",
                                  .value = ratio,
                                  .p50 = samples_percentile(&watched, 50) / 1000,
                                  .p99 = -1,
                                  .reference = "a call without the monitor, us",
                                  .reference_value = samples_percentile(&bare, 50) / 1000,
                                  .ratio = ratio});
    samples_clear(&watched);
    samples_clear(&bare);
    samples_clear(&ratios);
    moat_close(on);
    moat_close(off);
    bench_cleanup(home[0]);
    bench_cleanup(home[1]);
}

/* ---- forecast ---- */

static void bench_forecast(struct moat *m)
{
    static double y[POINTS];
    struct samples took = {0};
    unsigned seed = 7;
    for (int i = 0; i < POINTS; i++)
        y[i] = 200 + 0.01 * i + 80 * sin(2 * M_PI * i / 24) + 40 * sin(2 * M_PI * i / 168) + rand_r(&seed) % 30;
    struct moat_forecast_options o = {.size = sizeof o, .plugin_executions = y, .n = POINTS, .horizon = 168};
    for (int i = 0; i < ROUNDS; i++) {
        struct moat_error error;
        char *json;
        uint64_t from = clock_mono_ns();
        if (moat_forecast(m, &o, &json, &error))
            bench_die("%s", error.message);
        samples_add(&took, (double)(clock_mono_ns() - from));
        moat_free(json);
    }
    figure_print(&(struct figure){.name = "platform.forecast_ms",
                                  .unit = "ms",
                                  .value = samples_percentile(&took, 50) / 1e6,
                                  .p50 = samples_percentile(&took, 50) / 1000,
                                  .p99 = samples_percentile(&took, 99) / 1000});
    samples_clear(&took);
}

/* ---- parameters ---- */

static bool take(void *context, const char *name, const char *value)
{
    (void)context, (void)name, (void)value;
    return true;
}

/* One page of a file, on the disk: what a record of the registry waits for at least. */
static double one_sync(int fd)
{
    static const char page[4096];
    uint64_t from = clock_mono_ns();
    if (write(fd, page, sizeof page) != sizeof page || fdatasync(fd))
        bench_die("cannot write beside the home");
    return (double)(clock_mono_ns() - from);
}

static void bench_parameter(struct moat *m, const char *home)
{
    struct moat_parameter p = {
        .size = sizeof p, .name = "batch", .current = "0", .bounded = true, .max = 1000, .step = 1, .set = take};
    struct samples sets = {0}, syncs = {0};
    struct moat_error error;
    char path[300], value[16];
    snprintf(path, sizeof path, "%s/sync", home);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || moat_register_parameter(m, &p, &error))
        bench_die("no parameter to change");
    for (int i = 1; i <= CHANGES; i++) {
        snprintf(value, sizeof value, "%d", i);
        uint64_t from = clock_mono_ns();
        if (moat_set_parameter(m, "batch", value, "measured", true, NULL, &error))
            bench_die("%s", error.message);
        samples_add(&sets, (double)(clock_mono_ns() - from));
        samples_add(&syncs, one_sync(fd));
    }
    close(fd);
    double all = samples_percentile(&sets, 50), sync = samples_percentile(&syncs, 50);
    figure_print(&(struct figure){.name = "platform.set_parameter_us",
                                  .unit = "us",
                                  .value = all > sync ? (all - sync) / 1000 : 0,
                                  .p50 = all / 1000,
                                  .p99 = samples_percentile(&sets, 99) / 1000,
                                  .reference = "one page to the disk, us (taken off the value)",
                                  .reference_value = sync / 1000,
                                  .ratio = all / sync});
    samples_clear(&sets);
    samples_clear(&syncs);
}

int main(void)
{
    char home[256];
    bench_home(home);
    struct moat *m = bench_open(home);
    for (unsigned i = 0; i < PAIRS; i++)
        snprintf(names[i], sizeof names[i], "action_%u", i);
    bench_record(m);
    bench_record_together(m);
    bench_forecast(m);
    bench_parameter(m, home);
    moat_close(m);
    bench_cleanup(home);
    bench_hot();
    return 0;
}
