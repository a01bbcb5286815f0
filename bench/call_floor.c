#include "call_floor.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench.h"

enum mode { REST, SPIN, FUTEX };

static struct shared {
    alignas(64) _Atomic uint32_t ping;
    alignas(64) _Atomic uint32_t pong;
    alignas(64) _Atomic uint32_t mode;
} * shared;
static pid_t child;
static uint32_t count;
static cpu_set_t all_cpus;

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void child_run(void)
{
    uint32_t seen = 0;
    for (;;) {
        uint32_t mode = atomic_load_explicit(&shared->mode, memory_order_relaxed);
        uint32_t now = atomic_load_explicit(&shared->ping, memory_order_acquire);
        if (now != seen) {
            seen = now;
            atomic_store_explicit(&shared->pong, now, memory_order_release);
            if (mode == FUTEX)
                futex_wake(&shared->pong);
        } else if (mode == SPIN) {
            relax();
        } else {
            futex_wait(&shared->ping, seen);
        }
    }
}

void floor_start(void)
{
    if (sched_getaffinity(0, sizeof all_cpus, &all_cpus) < 0)
        bench_die("sched_getaffinity failed");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        bench_die("no shared memory");
    child = fork();
    if (child < 0)
        bench_die("fork failed");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child_run();
    }
}

void floor_stop(void)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void set_mode(enum mode mode)
{
    if (atomic_load_explicit(&shared->mode, memory_order_relaxed) == mode)
        return;
    atomic_store(&shared->mode, mode);
    futex_wake(&shared->ping);
}

void floor_rest(void)
{
    set_mode(REST);
    futex_wake(&shared->ping);
}

void floor_spin(void *unused)
{
    (void)unused;
    set_mode(SPIN);
    atomic_store_explicit(&shared->ping, ++count, memory_order_release);
    while (atomic_load_explicit(&shared->pong, memory_order_acquire) != count)
        relax();
}

void floor_futex(void *unused)
{
    (void)unused;
    set_mode(FUTEX);
    atomic_store_explicit(&shared->ping, ++count, memory_order_release);
    futex_wake(&shared->ping);
    for (uint32_t now; (now = atomic_load_explicit(&shared->pong, memory_order_acquire)) != count;)
        futex_wait(&shared->pong, now);
}

static void one_cpu(pid_t pid, int cpu)
{
    cpu_set_t set = all_cpus;
    if (cpu >= 0) {
        CPU_ZERO(&set);
        CPU_SET((unsigned)cpu, &set);
    }
    if (sched_setaffinity(pid, sizeof set, &set) < 0)
        bench_die("sched_setaffinity failed");
}

void floor_child_on(int cpu)
{
    one_cpu(child, cpu);
}

void pin_thread(int cpu)
{
    one_cpu(0, cpu);
}

int cpu_number(unsigned n)
{
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all_cpus) && n-- == 0)
            return (int)cpu;
    return -1;
}

/* The race. */

/* Reading a clock costs 20 to 40 ns, a fifth of the shortest round trip: the time stamp counter costs half. */
static uint64_t ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return clock_mono_ns();
#endif
}

static double ns_per_tick(void)
{
    static double known;
    if (known > 0)
        return known;
    uint64_t ns = clock_mono_ns(), t = ticks();
    while (clock_mono_ns() - ns < 20 * NS_PER_MS)
        ;
    uint64_t t2 = ticks();
    known = (double)(clock_mono_ns() - ns) / (double)(t2 - t);
    return known;
}

static void turn(const struct race *race, void (*one)(void *), void *context, struct samples *out)
{
    struct timespec gap = {.tv_sec = 0, .tv_nsec = (long)race->gap_ns};
    for (unsigned i = 0; i < race->turn + race->turn / 5; i++) {
        if (race->gap_ns)
            nanosleep(&gap, NULL);
        uint64_t before = ticks();
        one(context);
        uint64_t after = ticks();
        if (i >= race->turn / 5)
            samples_add(out, (double)(after - before) * ns_per_tick());
    }
}

struct side {
    struct samples now, p50, p99;
};

static double close_turn(struct side *s, double scale)
{
    double p50 = samples_percentile(&s->now, 50) * scale;
    samples_add(&s->p50, p50);
    samples_add(&s->p99, samples_percentile(&s->now, 99) * scale);
    s->now.count = 0;
    return p50;
}

static void side_clear(struct side *s)
{
    samples_clear(&s->now);
    samples_clear(&s->p50);
    samples_clear(&s->p99);
}

void race_run(const struct race *race, void *context)
{
    struct side floor = {0}, candidate = {0};
    struct samples ratios = {0};
    for (unsigned round = 0; round < race->rounds; round++) {
        if (race->before_floor)
            race->before_floor(context);
        turn(race, race->floor, context, &floor.now);
        floor_rest();
        if (race->before_candidate)
            race->before_candidate(context);
        turn(race, race->candidate, context, &candidate.now);
        double reference = close_turn(&floor, race->scale > 0 ? race->scale : 1);
        samples_add(&ratios, close_turn(&candidate, 1) / reference);
    }
    double p50 = samples_percentile(&candidate.p50, 50) / 1e3;
    figure_print(&(struct figure){.name = race->name,
                                  .unit = "us",
                                  .value = p50,
                                  .p50 = p50,
                                  .p99 = samples_percentile(&candidate.p99, 50) / 1e3,
                                  .reference = race->reference,
                                  .reference_value = samples_percentile(&floor.p50, 50) / 1e3,
                                  .ratio = samples_percentile(&ratios, 50)});
    side_clear(&floor);
    side_clear(&candidate);
    samples_clear(&ratios);
}
