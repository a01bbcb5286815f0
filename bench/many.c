/* A thousand plugins loaded in one host: what each costs while it rests, what they do while nobody asks, and whether
 * one that is called notices the others.
 *
 * The memory is the machine's: by how much MemAvailable fell while they were loaded and called once, so that page
 * tables, stacks and all that the kernel keeps for a walled process count.  Others on the machine disturb it; beside it
 * stands what the workers themselves hold by their own books (their share of each page, and of their page tables). */
#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "bench.h"
#include "many.h"

#define PLUGINS 1000
#define SETTLE_S 40 /* each plugin that was used is asked for its health once, within half a minute */
#define IDLE_S 20
#define HOT_CALLS 10000
#define HOT_ROUNDS 15

extern char **environ;

static void name_of(unsigned i, char out[16])
{
    snprintf(out, 16, "plugin_%u", i);
}

/* ---- a thousand packages ---- */

static void run(const char *const argv[])
{
    posix_spawn_file_actions_t quiet;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)(uintptr_t)argv, environ) ||
        waitpid(pid, &status, 0) != pid || status)
        bench_die("%s %s failed", argv[0], argv[1]);
    posix_spawn_file_actions_destroy(&quiet);
}

/* The echo plugin's folder, as scripts/packages staged it, under another name. */
static void write_manifest(const char *stage, const char *name)
{
    char path[700];
    struct error why;
    buf_auto text = BUF_INIT(1 << 20);
    snprintf(path, sizeof path, "%s/stage/echo/plugin.json", bench_build());
    if (io_read_file(path, &text, &why))
        bench_die("%s", why.message);
    const char *at = strstr(buf_text(&text), "\"name\": \"echo\"");
    if (!at)
        bench_die("%s has no name", path);
    snprintf(path, sizeof path, "%s/plugin.json", stage);
    FILE *f = fopen(path, "we");
    if (!f)
        bench_die("cannot write %s", path);
    fprintf(f, "%.*s\"name\": \"%s\"%s", (int)(at - buf_text(&text)), buf_text(&text), name,
            at + strlen("\"name\": \"echo\""));
    fclose(f);
}

static void install(struct moat *m, const char *home, const char *stage, unsigned i)
{
    char moat[600], key[600], package[300], name[16];
    name_of(i, name);
    write_manifest(stage, name);
    snprintf(moat, sizeof moat, "%s/moat", bench_build());
    snprintf(key, sizeof key, "%s/packages/demo.key", bench_build());
    snprintf(package, sizeof package, "%s/one.moat", home);
    unlink(package);
    run((const char *const[]){moat, "pack", stage, "--key", key, "-o", package, NULL});
    bench_install_file(m, package, NULL, 0);
}

static void prepare_stage(const char *stage)
{
    char from[700], to[300];
    snprintf(from, sizeof from, "%s/stage/echo/echo.so", bench_build());
    snprintf(to, sizeof to, "%s/echo.so", stage);
    run((const char *const[]){"cp", from, to, NULL});
}

static void load(struct moat *m, unsigned i)
{
    char name[16];
    struct moat_error error;
    name_of(i, name);
    if (moat_load(m, name, &error))
        bench_die("load %s: %s", name, error.message);
}

static void call(struct moat *m, const char *name)
{
    struct moat_call_data c = {
        .size = sizeof c, .plugin = name, .action = "echo", .parameters = "{\"text\":\"one of many\"}"};
    if (moat_call(m, &c))
        bench_die("%s: %s", name, c.error.message);
    moat_free(c.result);
}

/* ---- what the machine says ---- */

static double meminfo_kib(const char *what)
{
    char line[200];
    double kib = -1;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, what, strlen(what)) == 0)
            kib = atof(line + strlen(what) + 1);
    if (f)
        fclose(f);
    return kib;
}

/* The number behind `what` in a file of /proc; 0 when the process has gone. */
static double number_in(const char *path, const char *what)
{
    char line[300];
    double n = 0;
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, what, strlen(what)) == 0)
            n = atof(line + strlen(what));
    if (f)
        fclose(f);
    return n;
}

static bool is_ours(int pid)
{
    char path[64];
    for (int i = 0; i < 4 && pid > 1; i++) {
        if (pid == (int)getpid())
            return true;
        snprintf(path, sizeof path, "/proc/%d/status", pid);
        pid = (int)number_in(path, "PPid:");
    }
    return false;
}

struct census {
    unsigned processes;
    double pss_kib, tables_kib, switches;
};

static double switches_of(int pid)
{
    char path[64], status[400];
    double sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(status, sizeof status, "%s/%s/status", path, e->d_name);
        sum += number_in(status, "voluntary_ctxt_switches:");
    }
    if (d)
        closedir(d);
    return sum;
}

/* The host, its spawner and the workers. */
static struct census count(bool memory)
{
    struct census all = {0};
    char path[64];
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d));) {
        int pid = atoi(e->d_name);
        if (pid <= 0 || !is_ours(pid))
            continue;
        all.processes++;
        all.switches += switches_of(pid);
        if (!memory)
            continue;
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
        all.pss_kib += number_in(path, "Pss:");
        snprintf(path, sizeof path, "/proc/%d/status", pid);
        all.tables_kib += number_in(path, "VmPTE:");
    }
    if (d)
        closedir(d);
    return all;
}

/* ---- the figures ---- */

static void plain(const char *name, const char *unit, double value)
{
    figure_print(&(struct figure){.name = name, .unit = unit, .value = value, .p50 = -1, .p99 = -1});
}

static double median_ns(void (*one)(void *context), void *context, unsigned times)
{
    struct samples took = {0};
    for (unsigned i = 0; i < times; i++) {
        uint64_t begin = clock_mono_ns();
        one(context);
        samples_add(&took, (double)(clock_mono_ns() - begin));
    }
    double p50 = samples_percentile(&took, 50);
    samples_clear(&took);
    return p50;
}

static void hot_call(void *m)
{
    call(m, "plugin_0");
}

/* A host with this plugin alone and the one with a thousand, in turns: between the beginning and the end lie minutes,
 * in which a virtual machine's CPUs move nearer to each other or farther. */
static void measure_hot(struct moat *alone, struct moat *among)
{
    struct samples ns[2] = {{0}}, ratios = {0};
    for (int round = 0; round < HOT_ROUNDS; round++) {
        double one = median_ns(hot_call, alone, HOT_CALLS), many = median_ns(hot_call, among, HOT_CALLS);
        samples_add(&ns[0], one);
        samples_add(&ns[1], many);
        samples_add(&ratios, many / one);
    }
    double ratio = samples_percentile(&ratios, 50);
    figure_print(&(struct figure){.name = "many.hot_ratio",
                                  .unit = "",
                                  .value = ratio,
                                  .p50 = samples_percentile(&ns[1], 50) / 1e3,
                                  .p99 = -1,
                                  .reference = "the only one loaded in its host, us",
                                  .reference_value = samples_percentile(&ns[0], 50) / 1e3,
                                  .ratio = ratio});
    samples_clear(&ns[0]);
    samples_clear(&ns[1]);
    samples_clear(&ratios);
}

static void measure_idle(void)
{
    sleep(SETTLE_S);
    struct census before = count(false);
    sleep(IDLE_S);
    struct census after = count(false);
    if (after.processes != before.processes || after.processes < PLUGINS)
        bench_die("%u processes were there, then %u", before.processes, after.processes);
    /* The reader of /proc sleeps once by itself. */
    plain("many.idle_wakeups_per_s", "1/s", (after.switches - before.switches - 1) / IDLE_S);
}

static void measure_many(struct moat *m)
{
    char name[16];
    load(m, 0);
    sync();
    struct census before = count(true);
    double available = meminfo_kib("MemAvailable");
    uint64_t begin = clock_mono_ns();
    for (unsigned i = 1; i < PLUGINS; i++)
        load(m, i);
    double took_ms = (double)(clock_mono_ns() - begin) / 1e6;
    for (unsigned i = 0; i < PLUGINS; i++) {
        name_of(i, name);
        call(m, name);
    }
    measure_idle();
    double used = available - meminfo_kib("MemAvailable");
    struct census after = count(true);
    plain("many.memory_per_plugin_kib", "KiB", used / (PLUGINS - 1));
    plain("many.pss_per_plugin_kib", "KiB",
          (after.pss_kib + after.tables_kib - before.pss_kib - before.tables_kib) / (PLUGINS - 1));
    plain("many.load_ms", "ms", took_ms / (PLUGINS - 1));
}

static struct moat *open_with(char home[256], const char *stage, unsigned plugins)
{
    bench_home(home);
    struct moat *m = bench_open(home);
    bench_trust(m);
    for (unsigned i = 0; i < plugins; i++)
        install(m, home, stage, i);
    return m;
}

int main(void)
{
    char homes[2][256], stage[256];
    bench_home(stage);
    prepare_stage(stage);
    struct moat *among = open_with(homes[1], stage, PLUGINS);
    measure_many(among); /* what is counted is this process's: one host */
    struct moat *alone = open_with(homes[0], stage, 1);
    load(alone, 0);
    measure_hot(alone, among);
    moat_close(alone);
    moat_close(among);
    for (int i = 0; i < 2; i++)
        bench_cleanup(homes[i]);
    bench_cleanup(stage);
    measure_fairness();
    return 0;
}
