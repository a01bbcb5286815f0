/* What the wall costs the plugin behind it: the same work inside and outside, in turns, so that noise meets both alike;
 * and what it costs to look into a package behind the helper's wall.  Everything on one core is a process of its own.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/clock.h"
#include "bench.h"
#include "wall_work.h"

#define FILE_SIZE (4 << 20)
#define BLOCK_NS 4e6 /* one turn of either */
#define BLOCKS 150
#define INSPECTIONS 60

struct place {
    char home[256], file[300];
    struct moat *m;
};

static void make_file(struct place *p)
{
    snprintf(p->file, sizeof p->file, "%s.data", p->home);
    char *bytes = calloc(1, FILE_SIZE);
    int fd = open(p->file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (!bytes || fd < 0 || write(fd, bytes, FILE_SIZE) != FILE_SIZE)
        bench_die("cannot write %s", p->file);
    close(fd);
    free(bytes);
}

static void place_open(struct place *p)
{
    char grant[320];
    bench_home(p->home);
    make_file(p);
    snprintf(grant, sizeof grant, "file_read=%s", p->file);
    p->m = bench_open(p->home);
    bench_install_granted(p->m, "walled", (const char *const[]){grant}, 1);
}

static void place_close(struct place *p)
{
    moat_close(p->m);
    unlink(p->file);
    bench_cleanup(p->home);
}

/* One turn inside; the plugin reads the clock, so that the call itself is not measured. */
static double inside(struct place *p, enum work what, unsigned times)
{
    char parameters[400];
    snprintf(parameters, sizeof parameters, "{\"what\":\"%s\",\"times\":%u,\"path\":\"%s\"}", work_names[what], times,
             p->file);
    struct moat_call_data call = {.size = sizeof call, .plugin = "walled", .action = "work", .parameters = parameters};
    if (moat_call(p->m, &call))
        bench_die("work: %s", call.error.message);
    double ns = strtod(call.result, NULL);
    moat_free(call.result);
    return ns / times;
}

static double outside(struct place *p, enum work what, unsigned times)
{
    int64_t ns = work_run(what, times, p->file);
    if (ns < 0)
        bench_die("the work fails outside: %s", strerror((int)-ns));
    return (double)ns / times;
}

struct turns {
    struct samples in, out, ratio; /* ratio: of each turn inside to the one outside just before it */
};

static void take_turns(struct place *p, enum work what, struct turns *t)
{
    *t = (struct turns){{0}};
    outside(p, what, 3); /* cold */
    double one = outside(p, what, 3);
    double slow = inside(p, what, 3);
    unsigned times_out = (unsigned)(BLOCK_NS / one) + 1, times_in = (unsigned)(BLOCK_NS / slow) + 1;
    for (int i = 0; i < BLOCKS; i++) {
        double out = outside(p, what, times_out), in = inside(p, what, times_in);
        samples_add(&t->out, out);
        samples_add(&t->in, in);
        samples_add(&t->ratio, in / out);
    }
}

static void turns_free(struct turns *t)
{
    samples_clear(&t->in);
    samples_clear(&t->out);
    samples_clear(&t->ratio);
}

static void report_ratio(struct place *p, const char *name, enum work what)
{
    struct turns t;
    take_turns(p, what, &t);
    double in = samples_percentile(&t.in, 50), out = samples_percentile(&t.out, 50);
    figure_print(&(struct figure){.name = name,
                                  .unit = "us",
                                  .value = in / 1e3,
                                  .p50 = in / 1e3,
                                  .p99 = samples_percentile(&t.in, 99) / 1e3,
                                  .reference = "outside",
                                  .reference_value = out / 1e3,
                                  .ratio = samples_percentile(&t.ratio, 50)});
    turns_free(&t);
}

/* An open is asked of the host, so it costs more by a time, not by a part. */
static void report_open(struct place *p, const char *name)
{
    struct turns t;
    take_turns(p, WORK_OPEN, &t);
    double in = samples_percentile(&t.in, 50), out = samples_percentile(&t.out, 50);
    figure_print(&(struct figure){.name = name,
                                  .unit = "us more",
                                  .value = (in - out) / 1e3,
                                  .p50 = in / 1e3,
                                  .p99 = samples_percentile(&t.in, 99) / 1e3,
                                  .reference = "outside",
                                  .reference_value = out / 1e3,
                                  .ratio = samples_percentile(&t.ratio, 50)});
    turns_free(&t);
}

static void report_inspect(struct place *p)
{
    struct samples took = {0};
    char *path = bench_package("data_processor");
    for (int i = 0; i < INSPECTIONS; i++) {
        struct moat_error error;
        char *json = NULL;
        uint64_t begin = clock_mono_ns();
        if (moat_validate(p->m, path, &json, &error))
            bench_die("%s: %s", path, error.message);
        samples_add(&took, (double)(clock_mono_ns() - begin));
        moat_free(json);
    }
    double p50 = samples_percentile(&took, 50);
    figure_print(&(struct figure){.name = "wall.inspect_ms",
                                  .unit = "ms",
                                  .value = p50 / 1e6,
                                  .p50 = p50 / 1e3,
                                  .p99 = samples_percentile(&took, 99) / 1e3});
    samples_clear(&took);
    free(path);
}

static int on_one_core(void)
{
    struct place p;
    cpu_set_t all, one;
    int cpu = 0;
    if (sched_getaffinity(0, sizeof all, &all) < 0)
        return 1;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        return 1;
    place_open(&p); /* its threads, and all that it starts, stay on that core */
    report_open(&p, "wall.open_us.one_core");
    place_close(&p);
    return 0;
}

int main(void)
{
    struct place p;
    int status;
    pid_t pid = fork(); /* before there is any thread */
    if (pid == 0)
        return on_one_core();
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        bench_die("measuring on one core failed");
    place_open(&p);
    report_ratio(&p, "wall.compute", WORK_COMPUTE);
    report_ratio(&p, "wall.file_read", WORK_READ);
    report_ratio(&p, "wall.file_read_4k", WORK_READ_4K);
    report_open(&p, "wall.open_us");
    report_inspect(&p);
    place_close(&p);
    return 0;
}
