#include "sandbox/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/kernel.h"
#include "sandbox/messages.h"

struct spawner {
    pid_t pid;
    int pidfd;
    int main;
    bool has_helper;
    _Atomic int fallback;
    struct surroundings around;
};

/* Above the numbers that posix_spawn's file actions write to, so that none overwrites another's source. */
static int raise_fd(int fd)
{
    int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 16);
    io_close(&fd);
    return high;
}

static int open_executable(const char *path, int *out, struct error *err)
{
    int fd = raise_fd(open(path, O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return error_errno(err, errno == ENOENT ? MOAT_E_NO_SUCH_FILE : MOAT_E_START_FAILED, errno, "cannot open %s",
                           path);
    *out = fd;
    return 0;
}

/* The opened file, its three descriptors, an empty environment, a session of its own (a terminal's interrupt is the
 * host's to handle), and no signal blocked or ignored.  glibc spawns by vfork: the host's memory is not copied. */
static int launch(struct spawner *s, int main_end, int worker, int helper)
{
    char path[64], name[] = "moat-worker", role[] = ROLE_SPAWNER;
    char *argv[] = {name, role, NULL}, *environment[] = {NULL};
    snprintf(path, sizeof path, "/proc/self/fd/%d", worker);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    for (int fd = 0; fd < 3; fd++)
        posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, main_end, SPAWNER_MAIN);
    posix_spawn_file_actions_adddup2(&files, worker, SPAWNER_WORKER);
    posix_spawn_file_actions_adddup2(&files, helper, SPAWNER_HELPER);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int e = posix_spawn(&s->pid, path, &files, &attr, argv, environment);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return e;
}

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

int spawner_start(const char *worker_path, const char *helper_path, struct spawner **out, struct error *err)
{
    int ends[2], e;
    fd_auto worker = -1;
    fd_auto helper = -1;
    if ((e = open_executable(worker_path, &worker, err)) ||
        (e = open_executable(helper_path ? helper_path : "/dev/null", &helper, err)))
        return e;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot make the spawner's socket");
    fd_auto ours = raise_fd(ends[0]);
    fd_auto theirs = raise_fd(ends[1]);
    struct spawner *s = calloc(1, sizeof *s);
    if (!s || ours < 0 || theirs < 0) {
        free(s);
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "cannot start the spawner: no memory or no descriptors");
    }
    set_nonblocking(ours);
    posture_surroundings(&s->around);
    if ((e = launch(s, theirs, worker, helper))) {
        free(s);
        return error_errno(err, MOAT_E_START_FAILED, e, "cannot start %s", worker_path);
    }
    /* It cannot have been reaped yet: only we wait for it. -1 on a kernel without is handled where it is used. */
    s->pidfd = kernel_pidfd_open(s->pid);
    s->main = io_steal(&ours);
    s->has_helper = helper_path != NULL;
    *out = s;
    return 0;
}

void spawner_set_fallback(struct spawner *s, enum spawner_fallback fallback)
{
    atomic_store(&s->fallback, fallback);
}

void spawner_stop(struct spawner *s)
{
    if (!s)
        return;
    io_close(&s->main);
    if (s->pidfd >= 0)
        kernel_pidfd_kill(s->pidfd, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    io_close(&s->pidfd);
    free(s);
}

int spawner_fd(const struct spawner *s)
{
    return s->main;
}

bool spawner_alive(struct spawner *s)
{
    struct pollfd end = {.fd = s->main};
    return poll(&end, 1, 0) == 0;
}

/* -- requests -- */

static bool make_status(struct child *c, int *theirs)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    set_nonblocking(ends[0]);
    c->status = ends[0];
    *theirs = ends[1];
    return true;
}

static bool make_talk(struct child *c, int *control, int *output)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    set_nonblocking(ends[0]);
    c->control = ends[0];
    *control = ends[1];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    set_nonblocking(ends[0]); /* the worker's end is another open file and keeps blocking */
    c->output = ends[0];
    *output = ends[1];
    return true;
}

static int ask(struct spawner *s, const struct spawn_request *r, const int fds[3], struct error *err)
{
    if (io_send(s->main, r, sizeof *r, fds, 3))
        return 0;
    if (errno == EPIPE || errno == ECONNRESET)
        return error_set(err, MOAT_E_START_FAILED, "the spawner has died");
    return error_errno(err, MOAT_E_START_FAILED, errno, "cannot ask the spawner");
}

static int out_of_descriptors(struct child *c, struct error *err)
{
    int e = errno;
    child_close(c);
    return error_errno(err, MOAT_E_OUT_OF_MEMORY, e, "cannot make a worker's sockets");
}

int spawner_worker(struct spawner *s, struct child *out, struct error *err)
{
    struct child c = CHILD_NONE;
    struct spawn_request r;
    memset(&r, 0, sizeof r);
    r.version = MESSAGE_VERSION;
    r.kind = SPAWN_WORKER;
    r.fallback = (uint32_t)atomic_load(&s->fallback);
    fd_auto status = -1;
    fd_auto control = -1;
    fd_auto output = -1;
    if (!make_status(&c, &status) || !make_talk(&c, &control, &output))
        return out_of_descriptors(&c, err);
    int e = ask(s, &r, (int[]){status, control, output}, err);
    if (e) {
        child_close(&c);
        return e;
    }
    c.around = s->around;
    *out = c;
    return 0;
}

int spawner_helper(struct spawner *s, const char *duty, int input, int output, const struct wall_limits *limits,
                   struct child *out, struct error *err)
{
    struct child c = CHILD_NONE;
    struct spawn_request r;
    memset(&r, 0, sizeof r);
    r.version = MESSAGE_VERSION;
    r.kind = SPAWN_HELPER;
    r.fallback = (uint32_t)atomic_load(&s->fallback);
    static const struct wall_limits defaults;
    r.limits = limits_filled(limits ? limits : &defaults, true);
    if (!s->has_helper)
        return error_set(err, MOAT_E_START_FAILED, "no helper executable was given");
    if ((size_t)snprintf(r.duty, sizeof r.duty, "%s", duty) >= sizeof r.duty)
        return error_set(err, MOAT_E_INTERNAL, "the helper's duty %s is too long a word", duty);
    fd_auto status = -1;
    if (!make_status(&c, &status))
        return out_of_descriptors(&c, err);
    int e = ask(s, &r, (int[]){status, input, output}, err);
    if (e) {
        child_close(&c);
        return e;
    }
    *out = c;
    return 0;
}
