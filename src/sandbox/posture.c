#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "sandbox/posture_text.h"

#define TEXT_MAX (1024 * 1024)

/* proc is the open /proc/PID: whoever gets that number later is not read. */
static int open_file(int proc, const char *name)
{
    return openat(proc, name, O_RDONLY | O_CLOEXEC);
}

/* The kernel writes these texts when they are read, not when they are opened. */
static int read_file(int fd, struct buf *out)
{
    char chunk[8 * 1024];
    ssize_t n = fd < 0 ? -1 : 0;
    while (fd >= 0 && (n = io_read_full(fd, chunk, sizeof chunk)) > 0)
        if (!buf_put(out, chunk, (size_t)n) || n < (ssize_t)sizeof chunk)
            break;
    return n < 0 || out->failed ? -1 : 0;
}

/* "user:[4026531837]", or empty. */
static void read_namespace(int proc, const char *name, char out[32])
{
    char path[16];
    snprintf(path, sizeof path, "ns/%s", name);
    ssize_t n = readlinkat(proc, path, out, 31);
    out[n > 0 && n < 31 ? n : 0] = '\0';
}

void posture_surroundings(struct surroundings *out)
{
    *out = (struct surroundings){0};
    buf_auto status = BUF_INIT(TEXT_MAX);
    fd_auto proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0 || io_read_file("/proc/self/status", &status, NULL) != 0)
        return;
    const char *n = posture_field(buf_text(&status), "Seccomp_filters");
    out->filters = n ? (unsigned)strtoul(n, NULL, 10) : 0;
    for (int i = 0; i < POSTURE_NAMESPACES; i++)
        read_namespace(proc, posture_namespaces[i], out->namespaces[i]);
}

/* Both can be read and differ. */
static bool separate(int proc, int i, const struct surroundings *around)
{
    char theirs[32];
    read_namespace(proc, posture_namespaces[i], theirs);
    return theirs[0] && around->namespaces[i][0] && strcmp(theirs, around->namespaces[i]) != 0;
}

static int open_proc(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static unsigned separate_ones(int proc, const struct surroundings *around)
{
    unsigned bits = 0;
    for (int i = 0; i < POSTURE_NAMESPACES; i++)
        bits |= separate(proc, i, around) ? 1u << i : 0;
    return bits;
}

static bool still_lives(const struct child *worker)
{
    struct pollfd p = {.fd = worker->pidfd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

static int missing_error(const struct posture *p, uint32_t accepted, char why[WALL_LAYER_COUNT][128], struct error *err)
{
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        if ((p->missing & ~accepted) & (1u << i))
            return error_set(err, MOAT_E_WALL_MISSING, "the wall's layer %s is missing: %s; without it %s",
                             wall_layer_name((enum wall_layer)i), why[i], wall_layer_lost((enum wall_layer)i));
    return 0;
}

void posture_first(struct child *worker)
{
    int proc = open_proc(worker->pid);
    if (proc < 0)
        return;
    worker->separate = separate_ones(proc, &worker->around);
    worker->proc = proc;
    worker->proc_status = open_file(proc, "status");
    worker->proc_limits = open_file(proc, "limits");
    /* It shows the mounts as they are seen from the root that the worker has by now, which is the private one. */
    worker->proc_mounts = open_file(proc, "mountinfo");
    if (worker->proc_status < 0 || worker->proc_limits < 0 || worker->proc_mounts < 0)
        posture_end(worker); /* it is tried again */
}

void posture_end(struct child *worker)
{
    io_close(&worker->proc);
    io_close(&worker->proc_status);
    io_close(&worker->proc_limits);
    io_close(&worker->proc_mounts);
}

int posture_verify(struct child *worker, const struct wall_request *request, uint32_t self, struct posture *out,
                   struct error *err)
{
    buf_auto status = BUF_INIT(TEXT_MAX);
    buf_auto mountinfo = BUF_INIT(TEXT_MAX);
    buf_auto limits = BUF_INIT(TEXT_MAX);
    char why[WALL_LAYER_COUNT][128] = {{0}};
    struct stat st;
    if (worker->proc < 0)
        posture_first(worker);
    if (read_file(worker->proc_status, &status) || read_file(worker->proc_mounts, &mountinfo) ||
        read_file(worker->proc_limits, &limits) || fstatat(worker->proc, "status", &st, 0) < 0)
        return error_set(err, MOAT_E_WALL_MISSING, "the worker's posture cannot be read from /proc/%d",
                         (int)worker->pid);
    struct posture_seen seen = {.status = buf_text(&status),
                                .mountinfo = buf_text(&mountinfo),
                                .limits = buf_text(&limits),
                                .owner = st.st_uid,
                                .uid = worker->uid,
                                .filters_before = worker->around.filters,
                                .fallback = worker->fallback,
                                .self = self};
    for (int i = 0; i < POSTURE_NAMESPACES; i++)
        seen.separate[i] = worker->separate & 1u << i;
    /* The number could be another process's by now; a process that still lives has kept it all the time. */
    if (!still_lives(worker))
        return error_set(err, MOAT_E_WALL_MISSING, "the worker died before its posture was read");
    struct posture p = {.present = posture_judge(&seen, request, why)};
    p.missing = WALL_ALL & ~p.present;
    /* Where the fallback is in use it must be whole: nothing else may be missing, accepted or not. */
    uint32_t accepted = request->accepted;
    if (worker->fallback)
        accepted = accepted & WALL_BIT(USER_NS) ? WALL_FALLBACK_LACKS | (accepted & WALL_BIT(KEYRING)) : 0;
    int e = missing_error(&p, accepted, why, err);
    if (!e)
        *out = p;
    return e;
}
