/* 200 reloads while callers call without a pause: does one fail, does one happen twice, what does the slowest wait?
 * Each call carries a number of its own that the plugin appends to a file: what a plugin did outlives its worker there.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/clock.h"
#include "bench.h"

#define RELOADS 200
#define CALLERS 3
#define BATCH 16
#define CALM_NS (3 * NS_PER_S)

struct caller {
    pthread_t thread;
    struct moat *m;
    unsigned number;
    uint64_t next;
    struct samples took;
};

static _Atomic bool stop;
static _Atomic uint64_t failed;

static void note(const struct moat_call_data *call, uint64_t n)
{
    if (call->code) {
        atomic_fetch_add(&failed, 1);
        fprintf(stderr, "bench: %s\n", call->error.message);
    } else if (strtoull(call->result, NULL, 10) != n) {
        bench_die("a call was answered with another one's answer");
    }
    moat_free(call->result);
}

/* The last caller sends many at once, the others one after the other. */
static void call_some(struct caller *c)
{
    static _Thread_local struct moat_call_data calls[BATCH];
    static _Thread_local char texts[BATCH][48];
    unsigned n = c->number == CALLERS - 1 ? BATCH : 1;
    uint64_t first = c->next, begin = clock_mono_ns();
    for (unsigned i = 0; i < n; i++) {
        snprintf(texts[i], sizeof texts[i], "{\"n\":%" PRIu64 "}", c->next);
        c->next += CALLERS;
        calls[i] = (struct moat_call_data){
            .size = sizeof *calls, .plugin = "ledger", .action = "note", .parameters = texts[i]};
    }
    if (n == 1)
        moat_call(c->m, calls);
    else
        moat_call_many(c->m, calls, n);
    if (n == 1)
        samples_add(&c->took, (double)(clock_mono_ns() - begin));
    for (unsigned i = 0; i < n; i++)
        note(&calls[i], first + (uint64_t)i * CALLERS);
}

static void *call_on(void *context)
{
    struct caller *c = context;
    while (!atomic_load(&stop))
        call_some(c);
    return NULL;
}

static void start(struct caller c[CALLERS], struct moat *m)
{
    atomic_store(&stop, false);
    for (unsigned i = 0; i < CALLERS; i++) {
        c[i].m = m;
        c[i].number = i;
        c[i].next = c[i].next ? c[i].next : i;
        if (pthread_create(&c[i].thread, NULL, call_on, &c[i]))
            bench_die("no thread");
    }
}

/* The slowest of a thousand, in us; the samples are gone. */
static double end(struct caller c[CALLERS])
{
    struct samples all = {0};
    atomic_store(&stop, true);
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(c[i].thread, NULL);
        for (size_t k = 0; k < c[i].took.count; k++)
            samples_add(&all, c[i].took.ns[k]);
        samples_clear(&c[i].took);
    }
    double p999 = samples_percentile(&all, 99.9) / 1e3;
    samples_clear(&all);
    return p999;
}

/* How many numbers stand in the file more than once. One that was answered and does not stand there was lost. */
static uint64_t count_duplicates(const char *path, const struct caller c[CALLERS])
{
    uint64_t most = 0, n, twice = 0, missing = 0;
    for (unsigned i = 0; i < CALLERS; i++)
        most = c[i].next > most ? c[i].next : most;
    uint8_t *seen = calloc(most + 1, 1);
    FILE *f = fopen(path, "re");
    if (!f || !seen)
        bench_die("the plugin left no file");
    while (fread(&n, sizeof n, 1, f) == 1) {
        if (n >= most)
            bench_die("the plugin noted a number that nobody sent");
        twice += seen[n] != 0;
        seen[n] = 1;
    }
    fclose(f);
    for (unsigned i = 0; i < CALLERS; i++)
        for (n = i; n < c[i].next; n += CALLERS)
            missing += !seen[n];
    free(seen);
    if (missing > atomic_load(&failed))
        bench_die("%" PRIu64 " calls were answered and not done", missing - atomic_load(&failed));
    return twice;
}

static void plain(const char *name, const char *unit, double value)
{
    figure_print(&(struct figure){.name = name, .unit = unit, .value = value, .p50 = -1, .p99 = -1});
}

static void measure_reloads(struct moat *m, const char *numbers)
{
    struct caller c[CALLERS] = {{0}};
    struct samples reloads = {0};
    start(c, m);
    usleep(CALM_NS / NS_PER_US);
    double calm = end(c);
    start(c, m);
    for (int i = 0; i < RELOADS; i++) {
        uint64_t begin = clock_mono_ns();
        bench_request(m, "POST", "/api/plugins/reload/ledger", NULL);
        samples_add(&reloads, (double)(clock_mono_ns() - begin));
    }
    double busy = end(c);
    plain("reload.failed_calls", "calls", (double)atomic_load(&failed));
    plain("reload.duplicate_calls", "calls", (double)count_duplicates(numbers, c));
    figure_print(&(struct figure){.name = "reload.p999_ratio",
                                  .unit = "",
                                  .value = busy / calm,
                                  .p50 = -1,
                                  .p99 = -1,
                                  .reference = "p99.9 without reloads, us",
                                  .reference_value = calm,
                                  .ratio = busy / calm});
    figure_print(&(struct figure){.name = "reload.time",
                                  .unit = "ms",
                                  .value = samples_percentile(&reloads, 50) / 1e6,
                                  .p50 = samples_percentile(&reloads, 50) / 1e3,
                                  .p99 = samples_percentile(&reloads, 99) / 1e3});
    samples_clear(&reloads);
}

int main(void)
{
    char home[256], folder[256], grant[300], numbers[300], value[310];
    bench_home(home);
    bench_home(folder);
    snprintf(grant, sizeof grant, "file_write=%s", folder);
    snprintf(numbers, sizeof numbers, "%s/numbers", folder);
    snprintf(value, sizeof value, "\"%s\"", numbers);
    struct moat *m = bench_open(home);
    const char *grants[] = {grant};
    struct moat_error error;
    bench_install_granted(m, "ledger", grants, 1);
    bench_request(m, "PUT", "/api/plugins/info/ledger/config/file", value);
    if (moat_load(m, "ledger", &error))
        bench_die("load: %s", error.message);
    measure_reloads(m, numbers);
    moat_close(m);
    bench_cleanup(home);
    bench_cleanup(folder);
    return 0;
}
