/* From a verified package to its first answer, beside bubblewrap starting /bin/true in the same kind of namespaces.
 * Rounds are interleaved, so that noise meets all three alike. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/clock.h"
#include "bench.h"

#define ROUNDS 60
#define PAUSE_US 30000 /* lets the pool of half-built walls fill up again */

extern char **environ;

static double run_bwrap(void)
{
    const char *const argv[] = {"bwrap", "--unshare-all", "--ro-bind", "/", "/", "true", NULL};
    uint64_t begin = clock_mono_ns();
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, "bwrap", NULL, NULL, (char *const *)(uintptr_t)argv, environ) ||
        waitpid(pid, &status, 0) != pid || status)
        bench_die("bwrap does not run here: it is the reference of this group");
    return (double)(clock_mono_ns() - begin);
}

static double load_and_call(struct moat *m)
{
    struct moat_error error;
    uint64_t begin = clock_mono_ns();
    if (moat_load(m, "echo", &error))
        bench_die("load: %s", error.message);
    struct moat_call_data call = {
        .size = sizeof call, .plugin = "echo", .action = "echo", .parameters = "{\"text\":\"first\"}"};
    if (moat_call(m, &call))
        bench_die("call: %s", call.error.message);
    uint64_t end = clock_mono_ns();
    moat_free(call.result);
    if (moat_unload(m, "echo", &error))
        bench_die("unload: %s", error.message);
    return (double)(end - begin);
}

static double rss_mib(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[200];
    double kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %lf", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib / 1024;
}

static void report(const char *name, struct samples *s, double bwrap_ns)
{
    double p50 = samples_percentile(s, 50);
    figure_print(&(struct figure){.name = name,
                                  .unit = "ms",
                                  .value = p50 / 1e6,
                                  .p50 = p50 / 1e3,
                                  .p99 = samples_percentile(s, 99) / 1e3,
                                  .reference = "bwrap",
                                  .reference_value = bwrap_ns / 1e6,
                                  .ratio = p50 / bwrap_ns});
}

int main(void)
{
    char homes[2][256];
    struct moat *m[2]; /* without a pool of half-built walls, and with */
    struct samples took[2] = {{0}}, bwrap = {0};
    for (int i = 0; i < 2; i++) {
        bench_home(homes[i]);
        bench_setting(homes[i], "pool", i ? "1" : "0");
        m[i] = bench_open(homes[i]);
        bench_install(m[i], "echo");
        load_and_call(m[i]);
    }
    for (int round = 0; round < ROUNDS; round++) {
        samples_add(&bwrap, run_bwrap());
        for (int i = 0; i < 2; i++) {
            samples_add(&took[i], load_and_call(m[i]));
            usleep(PAUSE_US);
        }
    }
    double reference = samples_percentile(&bwrap, 50);
    report("start.cold", &took[0], reference);
    report("start.pooled", &took[1], reference);
    moat_close(m[0]);
    figure_print(&(struct figure){.name = "host.rss_mib", .unit = "MiB", .value = rss_mib(), .p50 = -1, .p99 = -1});
    moat_close(m[1]);
    for (int i = 0; i < 2; i++)
        bench_cleanup(homes[i]);
    return 0;
}
