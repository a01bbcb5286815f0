/* Counting: time, runs, CPU, memory, errors.  A worker's tally has one writer, its owner, and is read by anyone; a
 * plugin's sum is made when somebody asks. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "loader/internal.h"

/* ---- time ---- */

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>

/* clock_gettime costs as much as a third of a spinning call; the TSC, where it is invariant, a quarter of that.  Each
 * thread carries its own base and goes back to the clock every few dozen milliseconds, so that an error in the rate
 * cannot grow. */
#define TICKS_RESYNC (1ull << 27)

static struct {
    bool usable;
    uint64_t tsc, mono;
} start;
static _Thread_local struct {
    uint64_t tsc, mono, rate; /* rate: ns per tick, 32 bits behind the point; 0 at first */
} mine;

void ticks_init(void)
{
    unsigned a, b, c, d = 0;
    start.usable = __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
    start.mono = clock_mono_ns();
    start.tsc = __rdtsc();
}

static uint64_t ticks_sync(void)
{
    uint64_t mono = clock_mono_ns(), tsc = __rdtsc();
    uint64_t span = mono - start.mono;
    mine.mono = mono;
    mine.tsc = tsc;
    /* Below 50 ms the rate would be too coarse. */
    mine.rate = span < 50 * NS_PER_MS ? 0 : (uint64_t)((double)span / (double)(tsc - start.tsc) * 4294967296.0);
    return mono;
}

uint64_t ticks_now(void)
{
    if (!start.usable)
        return clock_mono_ns();
    uint64_t gone = __rdtsc() - mine.tsc; /* huge when this CPU's counter is behind: back to the clock */
    if (!mine.rate || gone > TICKS_RESYNC)
        return ticks_sync();
    return mine.mono + (gone * mine.rate >> 32);
}
#else
void ticks_init(void)
{
}

uint64_t ticks_now(void)
{
    return clock_mono_ns();
}
#endif

/* ---- tallies ---- */

/* One writer: no locked instruction. */
static inline void add64(_Atomic uint64_t *to, uint64_t n)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void add32(_Atomic uint32_t *to, uint32_t n)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Values up to 15 have a bucket each; above, eight per power of two: within an eighth of the truth. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns < 16)
        return (unsigned)ns;
    unsigned power = 63u - (unsigned)__builtin_clzll(ns);
    unsigned b = 16 + (power - 4) * 8 + (unsigned)(ns >> (power - 3) & 7);
    return b < RUN_BUCKETS ? b : RUN_BUCKETS - 1;
}

/* The middle of a bucket. */
static uint64_t bucket_value(unsigned b)
{
    if (b < 16)
        return b;
    unsigned power = 4 + (b - 16) / 8;
    uint64_t step = 1ull << (power - 3);
    return (8 + (b - 16) % 8) * step + step / 2;
}

void tally_run(struct worker *w, uint64_t ran_ns, size_t in, size_t out, uint64_t now)
{
    struct tally *t = &w->tally;
    add64(&t->executions, 1);
    add64(&t->bytes_in, in);
    add64(&t->bytes_out, out);
    add64(&t->run_ns, ran_ns);
    add32(&t->runs[bucket_of(ran_ns)], 1);
    atomic_store_explicit(&t->last_ns, now, memory_order_relaxed);
}

void tally_cpu(struct worker *w, uint64_t now)
{
    struct timespec t;
    struct lane *lane = &w->lane;
    if (clock_gettime(w->cpu_clock, &t))
        return;
    uint64_t cpu = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
    uint64_t used = cpu > lane->cpu_seen_ns ? cpu - lane->cpu_seen_ns : 0;
    lane->cpu_share = lane->cpu_calls ? used / lane->cpu_calls : 0;
    lane->cpu_calls = 0;
    lane->cpu_seen_ns = cpu;
    lane->cpu_seen_at = now;
    atomic_store_explicit(&w->tally.cpu_ns, cpu, memory_order_relaxed);
}

void tally_add(struct tally *to, const struct tally *from)
{
    add64(&to->executions, atomic_load_explicit(&from->executions, memory_order_relaxed));
    add64(&to->bytes_in, atomic_load_explicit(&from->bytes_in, memory_order_relaxed));
    add64(&to->bytes_out, atomic_load_explicit(&from->bytes_out, memory_order_relaxed));
    add64(&to->run_ns, atomic_load_explicit(&from->run_ns, memory_order_relaxed));
    add64(&to->cpu_ns, atomic_load_explicit(&from->cpu_ns, memory_order_relaxed));
    add32(&to->in_flight, atomic_load_explicit(&from->in_flight, memory_order_relaxed));
    for (unsigned i = 0; i < RUN_BUCKETS; i++)
        add32(&to->runs[i], atomic_load_explicit(&from->runs[i], memory_order_relaxed));
    uint64_t last = atomic_load_explicit(&from->last_ns, memory_order_relaxed);
    if (last > atomic_load_explicit(&to->last_ns, memory_order_relaxed))
        atomic_store_explicit(&to->last_ns, last, memory_order_relaxed);
}

static uint64_t percentile(const struct tally *t, unsigned percent)
{
    uint64_t all = 0, seen = 0;
    for (unsigned i = 0; i < RUN_BUCKETS; i++)
        all += atomic_load_explicit(&t->runs[i], memory_order_relaxed);
    if (!all)
        return 0;
    uint64_t want = (all * percent + 99) / 100;
    for (unsigned i = 0; i < RUN_BUCKETS; i++) {
        seen += atomic_load_explicit(&t->runs[i], memory_order_relaxed);
        if (seen >= want)
            return bucket_value(i);
    }
    return 0;
}

/* VmHWM of a process; 0 when it is gone.  Reads a file of /proc: never on the path of a call. */
uint64_t memory_peak(pid_t pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = io_read_full(fd, text, sizeof text - 1);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *line = strstr(text, "\nVmHWM:");
    return line ? strtoull(line + 7, NULL, 10) * 1024 : 0;
}

/* ---- errors ---- */

void stats_error(struct plugin *p, const struct call *c)
{
    pthread_mutex_lock(&p->lock);
    p->error_count++;
    if (!p->errors)
        p->errors = calloc(1, sizeof *p->errors);
    struct errors_kept *e = p->errors;
    if (e) {
        enum moat_code code = (unsigned)-c->code < MOAT_E_COUNT ? (enum moat_code) - c->code : MOAT_E_INTERNAL;
        e->by_code[code]++;
        struct last_error *slot = &e->last[e->next % 20];
        e->next++;
        slot->wall_ns = clock_wall_ns();
        slot->code = code;
        text_copy(slot->message, sizeof slot->message, c->error.message);
        memcpy(slot->call_id, c->id, sizeof slot->call_id);
    }
    pthread_mutex_unlock(&p->lock);
    error_tell(p, &c->error, c->id);
}

/* ---- what loader_status says ---- */

static enum loader_state state_of(const struct plugin *p, uint64_t now)
{
    const struct shown *s = &p->shown;
    if (s->gate_closed) {
        if (s->living && !s->next)
            return STATE_DRAINING;
        return s->next ? STATE_LOADING : s->needs_grant ? STATE_NEEDS_GRANT : STATE_UNLOADED;
    }
    if (p->circuit != CIRCUIT_CLOSED)
        return STATE_OPEN_CIRCUIT;
    if (s->ready)
        return STATE_READY;
    if (s->starting || s->next)
        return STATE_LOADING;
    return now < s->not_before ? STATE_BACKOFF : STATE_UNLOADED;
}

static void fill_errors(const struct plugin *p, struct loader_status *out)
{
    const struct errors_kept *e = p->errors;
    out->errors = p->error_count;
    if (!e)
        return;
    memcpy(out->errors_by_code, e->by_code, sizeof out->errors_by_code);
    out->nlast = e->next < 20 ? e->next : 20;
    for (size_t i = 0; i < out->nlast; i++)
        out->last[i] = e->last[(e->next - 1 - i) % 20];
}

/* Sums under the lock; the pids come back for what is slower to read. */
static unsigned fill(struct plugin *p, struct loader_status *out, pid_t pids[PLUGIN_SLOTS])
{
    struct tally sum = {0};
    unsigned n = 0;
    tally_add(&sum, &p->gone);
    for (unsigned i = 0; i < PLUGIN_SLOTS; i++) {
        if (!p->roster[i])
            continue;
        tally_add(&sum, &p->roster[i]->tally);
        pids[n++] = p->roster[i]->child.pid;
    }
    out->workers = n;
    out->first_pid = n ? pids[0] : 0;
    out->executions = sum.executions + p->killed_runs;
    out->cpu_ns = sum.cpu_ns;
    out->in_flight = sum.in_flight;
    out->run_ns_p50 = percentile(&sum, 50);
    out->run_ns_p99 = percentile(&sum, 99);
    out->peak_memory = p->peak;
    uint64_t now = clock_mono_ns();
    if (sum.last_ns)
        out->last_executed_ns = clock_wall_ns() - (now > sum.last_ns ? now - sum.last_ns : 0);
    out->state = state_of(p, now);
    return n;
}

bool plugin_status(struct plugin *p, struct loader_status *out)
{
    pid_t pids[PLUGIN_SLOTS];
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&p->lock);
    bool defined = p->shown.defined;
    unsigned n = fill(p, out, pids);
    text_copy(out->name, sizeof out->name, p->name);
    if (p->current)
        text_copy(out->version, sizeof out->version, p->current->version);
    out->health = p->shown.health;
    out->health_since_ns = p->shown.health_since_ns;
    memcpy(out->health_why, p->shown.health_why, sizeof out->health_why);
    out->restarts = p->restarts;
    out->queued = atomic_load(&p->queued);
    out->denials = atomic_load(&p->denials);
    out->lines_dropped = atomic_load(&p->lines_dropped);
    out->fallback_wall = atomic_load(&p->fallback);
    memcpy(out->last_log, p->last_log, sizeof out->last_log);
    fill_errors(p, out);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < n; i++) {
        uint64_t peak = memory_peak(pids[i]);
        out->peak_memory = peak > out->peak_memory ? peak : out->peak_memory;
    }
    return defined;
}
