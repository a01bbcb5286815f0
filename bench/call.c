/* What a call costs through moat/moat.h, to a real walled plugin, beside what no call can beat.
 * Three settings, each in a process of its own: caller and worker on two CPUs, everything on one CPU, and a caller that
 * rests between calls on whatever CPU it likes. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <moat/moat.h>

#include "base/clock.h"
#include "bench.h"
#include "call_floor.h"

#define MIB ((size_t)1 << 20)
#define BATCH 512
#define BATCHES 200
#define RUNS 21

static const char small[] = "{\"text\":\"sixty-four bytes of JSON go there and come back here.\"}";
_Static_assert(sizeof small - 1 == 64, "64 bytes");
static char *big;

static void check(const struct moat_call_data *call, const char *sent, size_t len)
{
    if (call->code)
        bench_die("%s", call->error.message);
    if (call->result_len != len || memcmp(call->result, sent, len) != 0)
        bench_die("the echo is not what was sent");
}

static void call_with(struct moat *m, const char *json, size_t len)
{
    static struct moat_call_data call;
    call = (struct moat_call_data){
        .size = sizeof call, .plugin = "echo", .action = "echo", .parameters = json, .parameters_len = len};
    moat_call(m, &call);
    check(&call, json, len);
    moat_free(call.result);
}

static void call_small(void *m)
{
    call_with(m, small, sizeof small - 1);
}

static void call_big(void *m)
{
    call_with(m, big, MIB);
}

static void copy_twice(void *unused)
{
    static char *copy;
    if (!copy)
        copy = malloc(MIB);
    memcpy(copy, big, MIB);
    __asm__ volatile("" ::"r"(copy) : "memory");
    memcpy(big, copy, MIB);
    __asm__ volatile("" ::"r"(big) : "memory");
}

static void apart(void *unused)
{
    pin_thread(cpu_number(0));
    floor_child_on(cpu_number(1));
}

static void together(void *unused)
{
    pin_thread(cpu_number(0));
    floor_child_on(cpu_number(0));
}

static void anywhere(void *unused)
{
    pin_thread(-1);
}

static void pipelined(struct moat *m)
{
    static struct moat_call_data calls[BATCH];
    struct samples rates = {0};
    for (unsigned run = 0; run < RUNS; run++) {
        uint64_t before = clock_mono_ns();
        for (unsigned batch = 0; batch < BATCHES; batch++) {
            for (unsigned i = 0; i < BATCH; i++)
                calls[i] = (struct moat_call_data){.size = sizeof *calls,
                                                   .plugin = "echo",
                                                   .action = "echo",
                                                   .parameters = small,
                                                   .parameters_len = sizeof small - 1};
            if (moat_call_many(m, calls, BATCH))
                bench_die("a call of a batch failed");
            for (unsigned i = 0; i < BATCH; i++) {
                check(&calls[i], small, sizeof small - 1);
                moat_free(calls[i].result);
            }
        }
        samples_add(&rates, BATCH * BATCHES / ((double)(clock_mono_ns() - before) / 1e9));
    }
    figure_print(&(struct figure){
        .name = "call.pipelined", .unit = "per_s", .value = samples_percentile(&rates, 50), .p50 = -1, .p99 = -1});
    samples_clear(&rates);
}

/* The settings. */

static void on_two_cpus(struct moat *m)
{
    race_run(&(struct race){.name = "call.spin",
                            .reference = "floor.spin",
                            .candidate = call_small,
                            .floor = floor_spin,
                            .before_candidate = apart,
                            .before_floor = apart,
                            .rounds = 60,
                            .turn = 500},
             m);
    race_run(&(struct race){.name = "call.mib_string",
                            .reference = "floor.two_copies",
                            .candidate = call_big,
                            .floor = copy_twice,
                            .before_candidate = apart,
                            .before_floor = apart,
                            .rounds = 20,
                            .turn = 50},
             m);
    pipelined(m);
}

static void on_one_cpu(struct moat *m)
{
    race_run(&(struct race){.name = "call.blocked",
                            .reference = "floor.futex",
                            .candidate = call_small,
                            .floor = floor_futex,
                            .before_candidate = together,
                            .before_floor = together,
                            .rounds = 60,
                            .turn = 300},
             m);
}

static void with_gaps(struct moat *m)
{
    race_run(&(struct race){.name = "call.gap",
                            .reference = "floor.futex_gap",
                            .candidate = call_small,
                            .floor = floor_futex,
                            .before_candidate = anywhere,
                            .before_floor = together,
                            .rounds = 30,
                            .turn = 200,
                            .gap_ns = 100 * NS_PER_US},
             m);
}

/* A process of its own: which CPUs Moat may use is read when it opens. */
static bool set(const char *home, void (*measure)(struct moat *m), bool one_cpu)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        bench_die("fork failed");
    if (pid == 0) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET((unsigned)sched_getcpu(), &one);
        if (one_cpu && sched_setaffinity(0, sizeof one, &one) < 0)
            bench_die("sched_setaffinity failed");
        floor_start();
        struct moat *m = bench_open(home);
        measure(m);
        moat_close(m);
        floor_stop();
        exit(0);
    }
    int status;
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static void install(struct moat *m)
{
    bench_install(m, "echo");
}

/* bench/call [SETTING]: all, or one of two_cpus, one_cpu, gaps. */
int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL;
    const struct {
        const char *name;
        void (*measure)(struct moat *m);
        bool one_cpu;
    } settings[] = {{"two_cpus", on_two_cpus, false}, {"one_cpu", on_one_cpu, true}, {"gaps", with_gaps, false}};
    bool known = !only;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        known |= only && strcmp(only, settings[i].name) == 0;
    if (!known)
        bench_die("there is no part %s: two_cpus one_cpu gaps", only);
    char home[256];
    bench_home(home);
    big = malloc(MIB + 1);
    if (!big)
        bench_die("out of memory");
    memset(big, 'a', MIB);
    big[0] = big[MIB - 1] = '"';
    bool ok = set(home, install, false);
    for (size_t i = 0; i < sizeof settings / sizeof *settings && ok; i++) {
        if (only && strcmp(only, settings[i].name) != 0)
            continue;
        if (i == 0 && sysconf(_SC_NPROCESSORS_ONLN) < 2)
            fprintf(stderr, "bench: one CPU only: call.spin, call.mib_string, call.pipelined are left out\n");
        else
            ok = set(home, settings[i].measure, settings[i].one_cpu);
    }
    bench_cleanup(home);
    return ok ? 0 : 1;
}
