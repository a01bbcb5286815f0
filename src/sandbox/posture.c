#include <errno.h>
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

static int read_proc(pid_t pid, const char *name, struct buf *out, struct error *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return io_read_file(path, out, err);
}

/* Both links can be read and differ. */
static bool separate(pid_t pid, const char *name)
{
    char path[64], theirs[64], ours[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
    ssize_t a = readlink(path, theirs, sizeof theirs);
    snprintf(path, sizeof path, "/proc/self/ns/%s", name);
    ssize_t b = readlink(path, ours, sizeof ours);
    return a > 0 && b > 0 && (a != b || memcmp(theirs, ours, (size_t)a) != 0);
}

static unsigned own_filters(void)
{
    buf_auto status = BUF_INIT(TEXT_MAX);
    if (io_read_file("/proc/self/status", &status, NULL) != 0)
        return 0;
    const char *n = posture_field(buf_text(&status), "Seccomp_filters");
    return n ? (unsigned)strtoul(n, NULL, 10) : 0;
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

int posture_verify(const struct child *worker, const struct wall_request *request, uint32_t self, struct posture *out,
                   struct error *err)
{
    buf_auto status = BUF_INIT(TEXT_MAX);
    buf_auto mountinfo = BUF_INIT(TEXT_MAX);
    buf_auto limits = BUF_INIT(TEXT_MAX);
    char path[64], why[WALL_LAYER_COUNT][128] = {{0}};
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/status", (int)worker->pid);
    if (read_proc(worker->pid, "status", &status, err) || read_proc(worker->pid, "mountinfo", &mountinfo, err) ||
        read_proc(worker->pid, "limits", &limits, err) || stat(path, &st) < 0)
        return error_set(err, MOAT_E_WALL_MISSING, "the worker's posture cannot be read from /proc/%d",
                         (int)worker->pid);
    struct posture_seen seen = {.status = buf_text(&status),
                                .mountinfo = buf_text(&mountinfo),
                                .limits = buf_text(&limits),
                                .owner = st.st_uid,
                                .uid = worker->uid,
                                .filters_before = own_filters(),
                                .fallback = worker->fallback,
                                .self = self};
    for (int i = 0; i < POSTURE_NAMESPACES; i++)
        seen.separate[i] = separate(worker->pid, posture_namespaces[i]);
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
