/* Counting: time, CPU, memory, errors, and what loader_status says. Runs are record.c's. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "loader/cpu.h"
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

/* ---- CPU and memory ---- */

void tally_cpu(struct worker *w, uint64_t now)
{
    struct lane *lane = &w->lane;
    uint64_t cpu = worker_cpu(w);
    if (!cpu)
        return;
    uint64_t used = cpu > lane->cpu_seen_ns ? cpu - lane->cpu_seen_ns : 0;
    lane->cpu_share = lane->cpu_calls ? used / lane->cpu_calls : 0;
    lane->cpu_calls = 0;
    lane->cpu_seen_ns = cpu;
    lane->cpu_seen_at = now;
    atomic_store_explicit(&w->tally.cpu_ns, cpu, memory_order_relaxed);
}

/* VmHWM of a process; 0 when it is gone.  Reads a file of /proc: never on the path of a call. */
static uint64_t kib_of(const char *status, const char *key)
{
    const char *line = strstr(status, key);
    return line ? strtoull(line + strlen(key), NULL, 10) * 1024 : 0;
}

struct memory memory_of(pid_t pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : io_read_full(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return (struct memory){.now = kib_of(text, "\nVmRSS:"), .peak = kib_of(text, "\nVmHWM:")};
}

/* ---- errors ---- */

void stats_error(struct plugin *p, const struct generation *ran, const struct call *c)
{
    enum moat_code code = (unsigned)-c->code < MOAT_E_COUNT ? (enum moat_code) - c->code : MOAT_E_INTERNAL;
    pthread_mutex_lock(&p->lock);
    p->error_count++;
    struct counts_due *due = counts_due(p, ran);
    if (due)
        due->errors++;
    struct loader_figure *figure = record_figure(p, ran, c->action);
    if (figure) {
        figure->errors++;
        figure->failed += ran != NULL;
        figure->errors_by_code[code]++;
    }
    if (!p->errors)
        p->errors = calloc(1, sizeof *p->errors);
    struct errors_kept *e = p->errors;
    if (e) {
        e->by_code[code]++;
        struct last_error *slot = &e->last[e->next % 20];
        e->next++;
        slot->wall_ns = clock_wall_ns();
        slot->code = code;
        text_copy(slot->message, sizeof slot->message, c->error.message);
        memcpy(slot->call_id, c->id, sizeof slot->call_id);
    }
    pthread_mutex_unlock(&p->lock);
    counts_stir(p->l);
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

/* A worker whose process is asked once the lock is gone. */
struct living {
    pid_t pid;
    uint64_t cpu_ns; /* as the tally has it: up to its last answer */
};

/* Sums under the lock; the workers come back for what is slower to read. */
static unsigned fill(struct plugin *p, struct loader_status *out, struct living living[PLUGIN_SLOTS])
{
    struct loader_figure all = {0};
    uint64_t runs = p->gone_runs + p->killed_runs, cpu = p->gone_cpu_ns;
    unsigned n = 0;
    for (unsigned i = 0; i < PLUGIN_SLOTS; i++) {
        const struct worker *w = p->roster[i];
        if (!w)
            continue;
        runs += atomic_load_explicit(&w->tally.executions, memory_order_relaxed);
        cpu += atomic_load_explicit(&w->tally.cpu_ns, memory_order_relaxed);
        out->in_flight += atomic_load_explicit(&w->tally.in_flight, memory_order_relaxed);
        living[n++] = (struct living){w->child.pid, atomic_load(&w->tally.cpu_ns)};
    }
    record_sum_all(p, &all);
    out->workers = n;
    out->first_pid = n ? living[0].pid : 0;
    out->executions = runs;
    out->failed = all.failed;
    out->rated = all.executions;
    out->cpu_ns = cpu;
    out->bytes_in = all.bytes_in;
    out->bytes_out = all.bytes_out;
    out->runs = all.runs;
    out->waits = all.waits;
    out->peak_memory = p->peak;
    uint64_t now = clock_mono_ns();
    if (all.last_ns)
        out->last_executed_ns = clock_wall_ns() - (now > all.last_ns ? now - all.last_ns : 0);
    out->state = state_of(p, now);
    return n;
}

/* A call that computes since a minute has used that minute, though it has not answered. */
static void ask_process(const struct living *one, struct loader_status *out)
{
    struct memory m = memory_of(one->pid);
    clockid_t clock;
    struct timespec t;
    out->memory += m.now;
    out->peak_memory = m.peak > out->peak_memory ? m.peak : out->peak_memory;
    if (clock_getcpuclockid(one->pid, &clock) || clock_gettime(clock, &t))
        return;
    uint64_t cpu = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
    out->cpu_ns += cpu > one->cpu_ns ? cpu - one->cpu_ns : 0;
}

bool loader_brief(struct loader *l, const char *name, struct loader_brief *out)
{
    struct plugin *p = table_find(l, name);
    memset(out, 0, sizeof *out);
    if (!p)
        return false;
    pthread_mutex_lock(&p->lock);
    bool defined = p->shown.defined;
    for (unsigned i = 0; i < PLUGIN_SLOTS; i++)
        out->workers += p->roster[i] != NULL;
    if (p->current)
        text_copy(out->version, sizeof out->version, p->current->version);
    out->state = state_of(p, clock_mono_ns());
    pthread_mutex_unlock(&p->lock);
    return defined;
}

bool plugin_status(struct plugin *p, struct loader_status *out)
{
    struct living living[PLUGIN_SLOTS];
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&p->lock);
    bool defined = p->shown.defined;
    unsigned n = fill(p, out, living);
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
    out->quota_kills = atomic_load(&p->quota_kills);
    out->fallback_wall = atomic_load(&p->fallback);
    memcpy(out->last_log, p->last_log, sizeof out->last_log);
    fill_errors(p, out);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < n; i++)
        ask_process(&living[i], out);
    return defined;
}
