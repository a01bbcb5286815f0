#include "sandbox/spawner_main.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/io.h"
#include "sandbox/kernel.h"
#include "sandbox/spawner_birth.h"

#define CHILDREN_MAX 8192

struct alive {
    pid_t pid;
    int status;
    uid_t uid;
};

struct state {
    struct alive *children;
    size_t n, capacity;
    struct identity identity;
    uint32_t next_slot; /* of the pool; goes round, so that an id rests long before it is used again */
    int null, signals;
    int lifeline[2];
};

bool status_send(int fd, const struct spawn_status *status, int pidfd)
{
    return io_send(fd, status, sizeof *status, &pidfd, pidfd >= 0 ? 1 : 0);
}

void status_failed(int fd, int errnum, const char *step)
{
    struct spawn_status s;
    memset(&s, 0, sizeof s);
    s.version = MESSAGE_VERSION;
    s.kind = STATUS_FAILED;
    s.errnum = errnum;
    snprintf(s.step, sizeof s.step, "%s", step);
    status_send(fd, &s, -1);
}

static bool uid_in_use(const struct state *s, uid_t uid)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->children[i].uid == uid)
            return true;
    return false;
}

static uid_t pool_take(struct state *s)
{
    uid_t uid;
    do
        uid = POOL_BASE + s->next_slot++ % POOL_SIZE;
    while (uid_in_use(s, uid));
    return uid;
}

static bool remember(struct state *s, pid_t pid, int status, uid_t uid)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 64;
        struct alive *grown = realloc(s->children, capacity * sizeof *grown);
        if (!grown)
            return false;
        s->children = grown;
        s->capacity = capacity;
    }
    s->children[s->n++] = (struct alive){pid, status, uid};
    return true;
}

static void spawned(const struct birth *b, pid_t pid, int pidfd)
{
    struct spawn_status st;
    memset(&st, 0, sizeof st);
    st.version = MESSAGE_VERSION;
    st.kind = STATUS_SPAWNED;
    st.pid = pid;
    st.uid = b->uid;
    st.gid = b->gid;
    st.fallback = b->fallback;
    status_send(b->status, &st, pidfd);
}

/* fds are the request's; the status socket stays with the child's entry, the others are closed by the caller. */
static void give_birth(struct state *s, const struct spawn_request *request, int *fds)
{
    bool worker = request->kind == SPAWN_WORKER;
    if (s->n == CHILDREN_MAX || s->identity.refused) {
        status_failed(fds[0], s->identity.refused ? EPERM : EAGAIN,
                      s->identity.refused ? s->identity.refused : "too_many_children");
        return;
    }
    uid_t uid = s->identity.pool ? pool_take(s) : s->identity.uid;
    gid_t gid = s->identity.pool ? uid : s->identity.gid;
    struct birth b = {.request = request,
                      .status = fds[0],
                      .input = worker ? -1 : fds[1],
                      .output = fds[2],
                      .control = worker ? fds[1] : -1,
                      .exec = worker ? SPAWNER_WORKER : SPAWNER_HELPER,
                      .null = s->null,
                      .lifeline = s->lifeline[0],
                      .lifeline_write = s->lifeline[1],
                      .uid = uid,
                      .gid = gid};
    fd_auto pidfd = -1;
    const char *step = "";
    pid_t pid = birth_give(&b, &pidfd, &step);
    if (pid < 0) {
        status_failed(fds[0], errno, step);
        return;
    }
    if (!remember(s, pid, fds[0], uid)) {
        /* Not let go yet: it exits by itself, and only its exit status is lost. */
        status_failed(fds[0], ENOMEM, "children");
        io_close(&b.go_write);
        return;
    }
    fds[0] = -1;
    spawned(&b, pid, pidfd);
    /* A write that fails finds a dead child, which wait4 reports. */
    if (write(b.go_write, "g", 1) < 0)
        kill(pid, SIGKILL);
    io_close(&b.go_write);
}

static bool serve_request(struct state *s)
{
    struct spawn_request r;
    int fds[3] = {-1, -1, -1};
    size_t n = 3;
    ssize_t got = io_recv(SPAWNER_MAIN, &r, sizeof r, fds, &n);
    if (got == 0)
        return false; /* the host is gone */
    if (got == (ssize_t)sizeof r && n == 3 && (r.kind == SPAWN_WORKER || r.kind == SPAWN_HELPER) &&
        memchr(r.duty, 0, sizeof r.duty)) {
        if (r.version == MESSAGE_VERSION)
            give_birth(s, &r, fds);
        else
            status_failed(fds[0], EPROTO, "version");
    }
    for (size_t i = 0; i < 3; i++)
        io_close(&fds[i]);
    return true;
}

static uint64_t microseconds(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_usec;
}

static void report_exit(const struct alive *a, int wait_status, const struct rusage *u)
{
    struct spawn_status st;
    memset(&st, 0, sizeof st);
    st.version = MESSAGE_VERSION;
    st.kind = STATUS_EXITED;
    st.pid = a->pid;
    st.wait_status = wait_status;
    st.user_us = microseconds(u->ru_utime);
    st.system_us = microseconds(u->ru_stime);
    st.max_rss_kib = (uint64_t)u->ru_maxrss;
    st.minor_faults = (uint64_t)u->ru_minflt;
    st.major_faults = (uint64_t)u->ru_majflt;
    st.blocks_in = (uint64_t)u->ru_inblock;
    st.blocks_out = (uint64_t)u->ru_oublock;
    st.switches = (uint64_t)u->ru_nvcsw;
    st.forced_switches = (uint64_t)u->ru_nivcsw;
    status_send(a->status, &st, -1);
}

static void reap(struct state *s)
{
    struct signalfd_siginfo drained[8];
    while (read(s->signals, drained, sizeof drained) > 0)
        ;
    int status;
    struct rusage usage;
    for (pid_t pid; (pid = wait4(-1, &status, WNOHANG, &usage)) > 0;) {
        for (size_t i = 0; i < s->n; i++) {
            if (s->children[i].pid != pid)
                continue;
            report_exit(&s->children[i], status, &usage);
            close(s->children[i].status);
            s->children[i] = s->children[--s->n];
            break;
        }
    }
}

static bool prepare(struct state *s)
{
    /* Nothing that leaked from the host survives here, so nothing of it can reach a child. */
    if (kernel_close_range(SPAWNER_FDS, ~0u) < 0)
        return false;
    for (int fd = SPAWNER_MAIN; fd < SPAWNER_FDS; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_NAME, "moat-spawner");
    /* One descriptor for each child. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* As root: no child keeps the host's supplementary groups. An ordinary user cannot drop them. */
    if (geteuid() == 0)
        setgroups(0, NULL);
    kernel_new_keyring();
    /* A child that was killed as soon as it was told of does not read its go, and must not end us: children unblock
     * everything for themselves. */
    sigset_t child, blocked;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    blocked = child;
    sigaddset(&blocked, SIGPIPE);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    s->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    s->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    identity_find(&s->identity);
    return s->signals >= 0 && s->null >= 0 && pipe2(s->lifeline, O_CLOEXEC) == 0;
}

int spawner_main(void)
{
    struct state s = {.null = -1, .signals = -1};
    if (!prepare(&s))
        return 1;
    for (;;) {
        struct pollfd ends[2] = {{.fd = SPAWNER_MAIN, .events = POLLIN}, {.fd = s.signals, .events = POLLIN}};
        if (poll(ends, 2, -1) < 0 && errno != EINTR)
            return 1;
        if (ends[1].revents)
            reap(&s);
        if (ends[0].revents && !serve_request(&s))
            return 0; /* our children's parent-death signals do the rest */
    }
}
