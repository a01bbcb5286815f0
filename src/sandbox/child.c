#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "sandbox/kernel.h"
#include "sandbox/messages.h"
#include "sandbox/spawner.h"

static struct timeval timeval_of(uint64_t us)
{
    return (struct timeval){.tv_sec = (time_t)(us / 1000000u), .tv_usec = (suseconds_t)(us % 1000000u)};
}

static void take_exited(const struct spawn_status *s, struct child_event *out)
{
    out->kind = CHILD_EXITED;
    out->wait_status = s->wait_status;
    out->usage.ru_utime = timeval_of(s->user_us);
    out->usage.ru_stime = timeval_of(s->system_us);
    out->usage.ru_maxrss = (long)s->max_rss_kib;
    out->usage.ru_minflt = (long)s->minor_faults;
    out->usage.ru_majflt = (long)s->major_faults;
    out->usage.ru_inblock = (long)s->blocks_in;
    out->usage.ru_oublock = (long)s->blocks_out;
    out->usage.ru_nvcsw = (long)s->switches;
    out->usage.ru_nivcsw = (long)s->forced_switches;
}

static void take_failed(const struct spawn_status *s, struct child_event *out)
{
    out->kind = CHILD_FAILED;
    out->errnum = s->errnum;
    snprintf(out->step, sizeof out->step, "%.*s", (int)strnlen(s->step, sizeof s->step), s->step);
}

/* It lives, and is of another build than the host: asking it again would be answered the same. */
static void take_stranger(struct child_event *out)
{
    out->kind = CHILD_FAILED;
    out->errnum = EPROTO;
    snprintf(out->step, sizeof out->step, "moat-worker is of another version than this host");
}

/* The spawner died and took the child with it. */
static void take_lost(struct child_event *out)
{
    out->kind = CHILD_EXITED;
    out->wait_status = SIGKILL;
}

void child_next(struct child *c, struct child_event *out)
{
    struct spawn_status s;
    int pidfd = -1;
    size_t n = 1;
    memset(out, 0, sizeof *out);
    if (c->ended || c->status < 0)
        return;
    ssize_t got = io_recv(c->status, &s, sizeof s, &pidfd, &n);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (got <= 0) {
        take_lost(out);
    } else if (got != (ssize_t)sizeof s || s.version != MESSAGE_VERSION) {
        take_stranger(out);
    } else if (s.kind == STATUS_SPAWNED && pidfd >= 0 && c->pidfd < 0) {
        out->kind = CHILD_SPAWNED;
        c->pid = s.pid;
        c->uid = s.uid;
        c->gid = s.gid;
        c->fallback = s.fallback != 0;
        c->pidfd = io_steal(&pidfd);
    } else if (s.kind == STATUS_FAILED) {
        take_failed(&s, out);
    } else if (s.kind == STATUS_EXITED) {
        take_exited(&s, out);
    } else {
        take_lost(out);
    }
    io_close(&pidfd);
    c->ended = out->kind != CHILD_SPAWNED;
}

bool child_wait(struct child *c, int timeout_ms, struct child_event *out)
{
    uint64_t until = clock_mono_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    for (;;) {
        child_next(c, out);
        if (c->ended)
            return out->kind != CHILD_NOTHING;
        if (out->kind != CHILD_NOTHING)
            continue;
        uint64_t now = clock_mono_ns();
        if (now >= until)
            return false;
        struct pollfd p = {.fd = c->status, .events = POLLIN};
        poll(&p, 1, (int)((until - now + NS_PER_MS - 1) / NS_PER_MS));
    }
}

void child_kill(struct child *c)
{
    if (c->pidfd >= 0)
        kernel_pidfd_kill(c->pidfd, SIGKILL);
}

void child_close(struct child *c)
{
    io_close(&c->pidfd);
    io_close(&c->status);
    io_close(&c->control);
    io_close(&c->output);
    io_close(&c->listener);
    posture_end(c);
    *c = CHILD_NONE;
}
