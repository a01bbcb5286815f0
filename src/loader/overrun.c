/* Which limit a worker ran into.  The kernel does not say: it answers an error to the plugin, which then fails in some
 * way of its own.  Here is gathered what can be known, from the surest to the worker's own word; docs/walls.md says for
 * each limit how it is told and when it is not. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "loader/cpu.h"
#include "loader/internal.h"

const char *limit_name(enum wall_limit limit)
{
    static const char *const names[WALL_LIMIT_COUNT] = {
        [WALL_LIMIT_NONE] = "none",
        [WALL_LIMIT_MEMORY] = "memory",
        [WALL_LIMIT_TMP] = "tmp",
        [WALL_LIMIT_FILE_SIZE] = "file_size",
        [WALL_LIMIT_PROCESSES] = "processes",
        [WALL_LIMIT_CPU] = "cpu",
        [WALL_LIMIT_DESCRIPTORS] = "descriptors",
    };
    return (unsigned)limit < WALL_LIMIT_COUNT ? names[limit] : names[0];
}

/* Held open, it can still be looked at when its worker is dead.  Only to be looked at: O_PATH. */
void overrun_watch(struct worker *w)
{
    char path[64];
    if (w->child.fallback)
        return; /* it has no /tmp of its own */
    snprintf(path, sizeof path, "/proc/%d/root/tmp", (int)w->child.pid);
    w->tmp = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* ---- memory and files ---- */

/* Nothing can be written any more: no byte, or no file. */
static bool tmp_full(const struct worker *w, struct overrun *out)
{
    struct statfs st;
    if (w->tmp < 0 || fstatfs(w->tmp, &st) < 0 || (st.f_bfree && st.f_ffree))
        return false;
    *out = (struct overrun){WALL_LIMIT_TMP, w->gen->limits.tmp, (uint64_t)(st.f_blocks - st.f_bfree) * st.f_bsize};
    return true;
}

static uint64_t value_of(const struct worker *w, enum wall_limit limit)
{
    const struct manifest_limits *l = &w->gen->limits;
    switch (limit) {
    case WALL_LIMIT_MEMORY:
        return l->memory;
    case WALL_LIMIT_FILE_SIZE:
        return l->file_size;
    default:
        return 0;
    }
}

/* How many descriptors a living process has, 0 when that cannot be seen.  Linux 6.2 and later tell it as the size of
 * the directory, which costs no listing. */
static uint64_t descriptors_of(pid_t pid)
{
    char path[32];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    if (stat(path, &st) == 0 && st.st_size > 0)
        return (uint64_t)st.st_size;
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    uint64_t n = 0;
    for (const struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* It could open nothing more when it failed. */
static bool descriptors_out(const struct worker *w, struct overrun *out)
{
    uint64_t n = descriptors_of(w->child.pid), most = w->gen->limits.descriptors;
    if (!most || n < most)
        return false;
    *out = (struct overrun){WALL_LIMIT_DESCRIPTORS, most, n};
    return true;
}

/* The worker's own word, believed only where it fits: to have met a limit it must have wanted more than that. */
static bool said(const struct worker *w, enum channel_when when, struct overrun *out)
{
    uint64_t seen;
    enum wall_limit limit = (enum wall_limit)channel_overran(w->lane.ch, when, &seen);
    uint64_t value = value_of(w, limit);
    if (!value || (limit == WALL_LIMIT_MEMORY && seen < value / 2))
        return false;
    *out = (struct overrun){limit, value, seen};
    return true;
}

/* The kernel ended it for its group's sake: the surest word there is. */
static bool ran_out(const struct worker *w, struct overrun *out)
{
    uint64_t peak;
    if (!cgroup_ran_out(w->l->cgroups, &w->cgroup, &peak))
        return false;
    *out = (struct overrun){WALL_LIMIT_MEMORY, w->cgroup.memory, peak > w->cgroup.memory ? peak : w->cgroup.memory};
    return true;
}

/* What it had in memory at its peak, by the kernel's count: that close to the limit the next step was over it. */
static bool peaked(const struct worker *w, const struct child_event *death, struct overrun *out)
{
    uint64_t peak = (uint64_t)death->usage.ru_maxrss * 1024, value = w->gen->limits.memory;
    if (!WIFSIGNALED(death->wait_status) || peak < value - value / 16)
        return false;
    *out = (struct overrun){WALL_LIMIT_MEMORY, value, peak};
    return true;
}

bool overrun_of_start(const struct worker *w, const struct child_event *death, struct overrun *out)
{
    if (!w->gen || !w->lane.ch || w->state < WORKER_GOING)
        return false;
    return ran_out(w, out) || said(w, CHANNEL_AT_START, out) || (death && peaked(w, death, out)) || tmp_full(w, out);
}

bool overrun_of_failure(const struct worker *w, struct overrun *out)
{
    return said(w, CHANNEL_AT_ANSWERED, out) || tmp_full(w, out) || descriptors_out(w, out);
}

/* ---- CPU time ---- */

uint64_t overrun_cpu_used(const struct worker *w, const struct flight *f)
{
    uint64_t now = worker_cpu(w);
    return now > f->cpu_from_ns ? now - f->cpu_from_ns : 0;
}

#define EXACT_BELOW_NS NS_PER_S

/* The clock as it was last read is at most some milliseconds old (look_at_cpu): good enough where the limit is large,
 * and a reading saved for each call.  Threads can use the limit up only as fast as there are processors: until then
 * nobody need look. */
void overrun_cpu_begin(struct worker *w, struct flight *f, uint64_t now)
{
    uint64_t most = w->gen->cpu_ns;
    f->cpu_from_ns = most < EXACT_BELOW_NS ? worker_cpu(w) : w->lane.cpu_seen_ns;
    f->cpu_at = now + most / w->l->cpus;
}

uint64_t overrun_cpu(struct worker *w, struct flight *f, uint64_t now)
{
    if (!f->cpu_at)
        return UINT64_MAX;
    if (now < f->cpu_at)
        return f->cpu_at;
    uint64_t used = overrun_cpu_used(w, f), most = w->gen->cpu_ns;
    if (used >= most)
        return 0;
    uint64_t left = (most - used) / w->l->cpus;
    f->cpu_at = now + (left > NS_PER_MS ? left : NS_PER_MS);
    return f->cpu_at;
}

/* ---- together ---- */

bool overrun_of_death(const struct worker *w, struct overrun *out)
{
    return ran_out(w, out) || said(w, CHANNEL_AT_OLDEST, out) || peaked(w, &w->death, out) || tmp_full(w, out);
}

static void amount(enum wall_limit limit, uint64_t n, char out[48])
{
    if (limit == WALL_LIMIT_CPU)
        clock_format_span(n, out);
    else
        snprintf(out, 48, "%llu%s", (unsigned long long)n,
                 limit == WALL_LIMIT_PROCESSES || limit == WALL_LIMIT_DESCRIPTORS ? "" : " bytes");
}

int overrun_error(const struct worker *w, const struct overrun *o, struct error *err, const char *format, ...)
{
    char what[400], value[48], seen[48];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    amount(o->limit, o->value, value);
    amount(o->limit, o->seen, seen);
    const struct manifest_limits *asked = &w->gen->spec->manifest->limits;
    struct manifest_limits held = w->gen->limits;
    bool caps = (o->limit == WALL_LIMIT_MEMORY && held.memory != asked->memory) ||
                (o->limit == WALL_LIMIT_TMP && held.tmp != asked->tmp) ||
                (o->limit == WALL_LIMIT_FILE_SIZE && held.file_size != asked->file_size) ||
                (o->limit == WALL_LIMIT_CPU && held.cpu_ns != asked->cpu_ns) ||
                (o->limit == WALL_LIMIT_DESCRIPTORS && held.descriptors != asked->descriptors);
    const char *name = limit_name(o->limit);
    if (o->limit == WALL_LIMIT_FILE_SIZE && held.file_size < loader_limits(w->l, asked).file_size)
        error_set(err, MOAT_E_LIMIT,
                  "%s: its limit on %s is %s, seen were %s; its grants of file_write allow no more in any place", what,
                  name, value, seen);
    else
        error_set(err, MOAT_E_LIMIT, "%s: its limit on %s is %s, seen were %s; %s%s%s", what, name, value, seen,
                  caps ? "the operator's cap is the setting " : "its manifest asks for no more", caps ? name : "",
                  caps ? "_max" : "");
    if (err)
        snprintf(err->detail, sizeof err->detail, "{\"limit\":\"%s\",\"value\":%llu,\"seen\":%llu}", name,
                 (unsigned long long)o->value, (unsigned long long)o->seen);
    return -MOAT_E_LIMIT;
}
