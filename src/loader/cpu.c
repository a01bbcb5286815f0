/* CPU time of a worker: its own clock, and, where it may start programs, what these use as the kernel tells it: of
 * those that live each one's, of those that were waited for their parent's sum. And whether it ends. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "loader/cpu.h"
#include "loader/internal.h"

#define LOOKS_MAX 256 /* processes and threads; more than any of ours may have */

#define STAT_MAX 1024
#define PF_EXITING 4u /* the kernel's, among the flags of /proc/PID/stat */

/* The part of /proc/PID/stat behind the name, which may hold anything; "" of a process that is gone. It begins with the
 * third field. */
static const char *stat_of(pid_t pid, char text[STAT_MAX])
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : io_read_full(fd, text, STAT_MAX - 1);
    text[n > 0 ? n : 0] = '\0';
    const char *rest = strrchr(text, ')');
    return rest ? rest + 1 : "";
}

bool worker_ends(const struct worker *w)
{
    char text[STAT_MAX];
    unsigned flags; /* 9 */
    return sscanf(stat_of(w->child.pid, text), " %*c %*s %*s %*s %*s %*s %u", &flags) == 1 && flags & PF_EXITING;
}

/* utime, stime, cutime and cstime are 14 to 17. */
static uint64_t ticks_of(pid_t pid, bool own)
{
    char text[STAT_MAX];
    unsigned long long t[4];
    if (sscanf(stat_of(pid, text), " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %llu %llu", &t[0], &t[1],
               &t[2], &t[3]) != 4)
        return 0;
    return (own ? t[0] + t[1] : 0) + t[2] + t[3];
}

/* ---- what it started ---- */

struct walk {
    unsigned looks;
    void (*each)(void *context, pid_t child);
    void *context;
};

static void below(pid_t pid, struct walk *w);

static void children(pid_t pid, const char *thread, struct walk *w)
{
    char path[64 + sizeof((struct dirent *)0)->d_name], text[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)pid, thread);
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : io_read_full(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    char *save = NULL;
    for (char *word = strtok_r(text, " ", &save); word && w->looks; word = strtok_r(NULL, " ", &save)) {
        pid_t child = (pid_t)strtol(word, NULL, 10);
        w->each(w->context, child);
        below(child, w);
    }
}

/* Each thread has children of its own. */
static void below(pid_t pid, struct walk *w)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    for (const struct dirent *e; threads && w->looks && (e = readdir(threads));) {
        if (e->d_name[0] == '.')
            continue;
        w->looks--;
        children(pid, e->d_name, w);
    }
    if (threads)
        closedir(threads);
}

void worker_each_started(const struct worker *w, void (*each)(void *context, pid_t child), void *context)
{
    struct walk walk = {LOOKS_MAX, each, context};
    if (w->request.nprograms && !w->child.fallback)
        below(w->child.pid, &walk);
}

/* ---- together ---- */

static void add_ticks(void *context, pid_t child)
{
    *(uint64_t *)context += ticks_of(child, true);
}

uint64_t worker_cpu(const struct worker *w)
{
    struct timespec t;
    if (clock_gettime(w->cpu_clock, &t))
        return 0;
    uint64_t own = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
    if (!w->request.nprograms || w->child.fallback)
        return own;
    uint64_t ticks = ticks_of(w->child.pid, false);
    worker_each_started(w, add_ticks, &ticks);
    return own + ticks * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}
