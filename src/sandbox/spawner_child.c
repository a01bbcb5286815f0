/* From clone to exec: the namespaces and maps as the spawner makes them, and what the child does before it becomes
 * another program. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/io.h"
#include "sandbox/kernel.h"
#include "sandbox/spawner_birth.h"

#define WORKER_NAMESPACES \
    (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)
/* A helper cannot make a socket (its filter kills it), so the most expensive namespace is left out; the net helper is
 * there to use the host's. */
#define HELPER_NAMESPACES (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

/* One line of a uid_map or gid_map: does it map all of [first, first + count) of this namespace? and to where? */
static bool map_covers(const char *path, uint32_t first, uint32_t count, uint64_t *outside)
{
    char text[4096];
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : io_read_full(fd, text, sizeof text - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    for (char *line = text; line && *line;) {
        unsigned long long in, out, length;
        if (sscanf(line, "%llu %llu %llu", &in, &out, &length) == 3 && first >= in &&
            (unsigned long long)first + count <= in + length) {
            *outside = out + (first - in);
            return true;
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return false;
}

void identity_find(struct identity *out)
{
    uint64_t outside = 0;
    *out = (struct identity){.uid = geteuid(), .gid = getegid()};
    if (out->uid != 0)
        return;
    out->pool = map_covers("/proc/self/uid_map", POOL_BASE, POOL_SIZE, &outside) &&
                map_covers("/proc/self/gid_map", POOL_BASE, POOL_SIZE, &outside);
    /* Root of a container that has no room for the pool: its own id is an ordinary user's outside, and will do.  Unless
     * it is the real root's: a worker must never be that, RLIMIT_NPROC does not bind it. */
    if (!out->pool && (!map_covers("/proc/self/uid_map", 0, 1, &outside) || outside == 0))
        out->refused = "uid_pool";
}

/* -- the child -- */

/* The end of the list at the first failure; only async-signal-safe calls, as after any clone. */
static _Noreturn void fail(const struct birth *b, const char *step)
{
    status_failed(b->status, errno, step);
    _exit(127);
}

static bool wait_for_maps(const struct birth *b)
{
    char go;
    ssize_t n;
    do
        n = read(b->go_read, &go, 1);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

static bool become_nobody(void)
{
    /* Also as root: in a namespace that maps one id, files could not be created by an unmapped one (EOVERFLOW). */
    return setresgid(INSIDE_ID, INSIDE_ID, INSIDE_ID) == 0 && setresuid(INSIDE_ID, INSIDE_ID, INSIDE_ID) == 0;
}

/* Without a namespace of its own: for root's children the user that each has of the pool, which no other process is;
 * for an ordinary user's the same user, with nothing that could be raised. */
static bool become_unprivileged(const struct birth *b)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (b->uid == 0)
        return errno = EPERM, false;
    if (geteuid() != b->uid && (setresgid(b->gid, b->gid, b->gid) < 0 || setresuid(b->uid, b->uid, b->uid) < 0))
        return false;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, none) == 0;
}

/* What the new program still needs of its rights in its own namespaces; it drops them itself. */
static bool keep_capabilities(bool worker)
{
    static const int kept[] = {CAP_SETPCAP, CAP_SYS_ADMIN, CAP_SYS_CHROOT /* libraries */,
                               CAP_SYS_RESOURCE /* max_user_namespaces */};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    data[0].inheritable = data[0].permitted;
    data[1].inheritable = data[1].permitted;
    if (syscall(SYS_capset, &header, data) < 0)
        return false;
    for (size_t i = 0; i < (worker ? sizeof kept / sizeof *kept : 1); i++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept[i], 0, 0) < 0)
            return false;
    return true;
}

/* After the last change of ids, which clears the signal; then look whether the spawner died before. */
static bool tie_to_spawner(const struct birth *b)
{
    struct pollfd end = {.fd = b->lifeline};
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return false;
    if (poll(&end, 1, 0) == 1)
        _exit(1);
    return true;
}

static bool limit(int resource, rlim_t value)
{
    struct rlimit now, want = {value, value};
    if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
        return false;
    if (now.rlim_max < value)
        want.rlim_cur = want.rlim_max = now.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &want) == 0;
}

/* What a host may have made of itself and must not pass on. */
static void clean_state(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* READ_IMPLIES_EXEC would undo W^X; a host started without address randomisation should not pass that on.  Nor
     * should one with an unlimited stack: exec would lay memory out the old, predictable way. */
    personality(PER_LINUX);
    limit(RLIMIT_STACK, 8ull << 20);
    /* A plugin that spins in real time would stop the machine. */
    struct sched_param plain = {0};
    if (sched_getscheduler(0) != SCHED_OTHER)
        sched_setscheduler(0, SCHED_OTHER, &plain);
    /* When memory runs out a plugin goes before the host. Best effort. */
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "800", 3) < 0) {
        /* not worth failing for */
    }
    io_close(&fd);
}

/* fds[i] becomes descriptor i; everything above is closed. */
static bool place(const int *fds, int n)
{
    int high[8];
    for (int i = 0; i < n; i++)
        if ((high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64)) < 0)
            return false;
    for (int i = 0; i < n; i++)
        if (dup2(high[i], i) < 0)
            return false;
    return kernel_close_range((unsigned)n, ~0u) == 0;
}

/* A helper's limits come before its exec: it has no say in them.  Of its descriptors its lock takes the rest. */
static bool limit_helper(const struct wall_limits *l)
{
    return limit(RLIMIT_AS, l->memory) && limit(RLIMIT_CPU, l->cpu_seconds) && limit(RLIMIT_FSIZE, l->file_size) &&
           limit(RLIMIT_NOFILE, l->descriptors) && limit(RLIMIT_NPROC, 0) && limit(RLIMIT_CORE, 0) &&
           limit(RLIMIT_MEMLOCK, 0) && limit(RLIMIT_MSGQUEUE, 0) && limit(RLIMIT_SIGPENDING, 0);
}

static _Noreturn void become(struct birth *b, bool worker)
{
    const int worker_fds[] = {b->null, b->output, b->output, b->control, b->lifeline, b->status, b->exec};
    const int helper_fds[] = {b->input, b->output, b->null, b->status, b->exec};
    int n = worker ? 7 : 5;
    if (!place(worker ? worker_fds : helper_fds, n))
        fail(b, "descriptors");
    b->status = n - 2;
    fcntl(n - 2, F_SETFD, FD_CLOEXEC);
    fcntl(n - 1, F_SETFD, FD_CLOEXEC);
    if (!worker && !limit_helper(&b->request->limits))
        fail(b, "limits");
    char role[sizeof b->request->duty];
    snprintf(role, sizeof role, "%s", !worker ? b->request->duty : b->fallback ? ROLE_FALLBACK : ROLE_WORKER);
    char *argv[] = {worker        ? (char[]){"moat-worker"}
                    : b->fallback ? (char[]){HELPER_ALONE}
                                  : (char[]){HELPER_WHOLE},
                    role, NULL};
    char *environment[] = {NULL};
    /* By descriptor, so that what was opened at the start is what runs; in the new user namespace, so that each worker
     * has its own address layout and a host that is an ordinary user may read it. */
    syscall(SYS_execveat, n - 1, "", argv, environment, AT_EMPTY_PATH);
    fail(b, "exec");
}

static _Noreturn void child_main(struct birth *b)
{
    bool worker = b->request->kind == SPAWN_WORKER;
    /* First of all the spawner's own ends: held here they would hide its death, from us and from our siblings. */
    close(b->go_write);
    close(b->lifeline_write);
    close(SPAWNER_MAIN);
    if (!wait_for_maps(b))
        _exit(1);
    clean_state();
    if (b->fallback ? !become_unprivileged(b) : !become_nobody())
        fail(b, "ids");
    if (!b->fallback && !keep_capabilities(worker))
        fail(b, "ambient_capabilities");
    if (!tie_to_spawner(b))
        fail(b, "die_with_parent");
    become(b, worker);
}

/* -- the spawner -- */

static pid_t clone_child(uint64_t flags, int *pidfd)
{
    struct kernel_clone_args args = {
        .flags = flags | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)pidfd, .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &args, sizeof args);
    /* Container runtimes answer ENOSYS for clone3, whose flags their filters cannot see. */
    if (pid < 0 && errno == ENOSYS)
        pid = syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, 0, pidfd, 0, 0);
    return (pid_t)pid;
}

static int write_proc(pid_t pid, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    fd_auto fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : errno;
}

/* setgroups is denied before gid_map: an ordinary user may not map a group otherwise, and root loses nothing. */
static int write_maps(pid_t pid, uid_t uid, gid_t gid, const char **step)
{
    char map[64];
    int e = write_proc(pid, *step = "setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1", INSIDE_ID, (unsigned)gid);
    if (!e)
        e = write_proc(pid, *step = "gid_map", map);
    snprintf(map, sizeof map, "%u %u 1", INSIDE_ID, (unsigned)uid);
    return e ? e : write_proc(pid, *step = "uid_map", map);
}

/* One child up to its go; with or without namespaces. */
static pid_t give(struct birth *b, uint64_t namespaces, int *pidfd, const char **step)
{
    int go[2], fd = -1;
    *step = "pipe";
    if (pipe2(go, O_CLOEXEC) < 0)
        return -1;
    b->go_read = go[0];
    b->go_write = go[1];
    *step = "clone3";
    pid_t pid = clone_child(namespaces, &fd);
    if (pid == 0)
        child_main(b);
    int e = pid < 0 ? errno : 0;
    close(go[0]);
    if (!e && namespaces && (e = write_maps(pid, b->uid, b->gid, step))) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        io_close(&fd);
    }
    if (e) {
        close(go[1]);
        errno = e;
        return -1;
    }
    *pidfd = fd;
    return pid;
}

pid_t birth_give(struct birth *b, int *pidfd, const char **step)
{
    uint32_t fallback = b->request->fallback;
    pid_t pid = -1;
    if (fallback != FALLBACK_ALWAYS)
        pid = give(b, b->request->kind == SPAWN_WORKER ? WORKER_NAMESPACES : HELPER_NAMESPACES, pidfd, step);
    /* No room for one more process is no reason: it would be missing as well. */
    bool refused = pid < 0 && errno != EAGAIN && errno != ENOMEM && errno != EMFILE && errno != ENFILE;
    if (fallback == FALLBACK_ALWAYS || (fallback == FALLBACK_IF_NEEDED && refused)) {
        b->fallback = true;
        pid = give(b, 0, pidfd, step);
    }
    return pid;
}
