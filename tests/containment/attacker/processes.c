/* Attacks on processes.  Parameters: pid, a process of the host; sibling, another plugin's worker. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "attacker.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif

static long fork_raw(void)
{
    return raw(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void pause_ms(long ms)
{
    struct timespec t = {.tv_nsec = ms * 1000000};
    raw(SYS_nanosleep, &t, 0);
}

/* A grandchild in a session of its own that nobody waits for.  It ends by itself soon. */
void daemonise(struct attack *a)
{
    attack_tried(a, "leave a process behind that outlives its worker");
    long pid = fork_raw();
    if (pid == 0) {
        raw(SYS_setsid);
        if (fork_raw() == 0)
            pause_ms(200);
        raw(SYS_exit_group, 0);
    }
    attack_attempt(a, "fork", pid);
    if (pid > 0)
        raw(SYS_wait4, pid, 0, 0, 0);
}

#define THREADS 64

static void *sleeper(void *nothing)
{
    pause_ms(100);
    return nothing;
}

void thread_bomb(struct attack *a)
{
    pthread_t all[THREADS];
    int count = 0, e = 0;
    attack_tried(a, "start %d threads", THREADS);
    while (count < THREADS && (e = pthread_create(&all[count], NULL, sleeper, NULL)) == 0)
        count++;
    for (int i = 0; i < count; i++)
        pthread_join(all[i], NULL);
    attack_detail(a, "%d threads", count);
    attack_attempt(a, "all of them", -e);
}

void vfork_child(struct attack *a)
{
    attack_tried(a, "start a process by other names");
    long pid = raw(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        raw(SYS_exit_group, 0);
    attack_attempt(a, "clone with CLONE_VM", pid);
    if (pid > 0)
        raw(SYS_wait4, pid, 0, 0, 0);
#ifdef SYS_fork
    pid = raw(SYS_fork);
    if (pid == 0)
        raw(SYS_exit_group, 0);
    attack_attempt(a, "fork", pid);
    if (pid > 0)
        raw(SYS_wait4, pid, 0, 0, 0);
#endif
}

void more_namespaces(struct attack *a)
{
    static const struct {
        const char *what;
        long flag;
    } kinds[] = {{"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID}, {"network", CLONE_NEWNET},
                 {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},  {"cgroup", 0x02000000}};
    attack_tried(a, "make namespaces of every kind");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char what[64];
        long pid = raw(SYS_clone, kinds[i].flag | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            raw(SYS_exit_group, 0);
        snprintf(what, sizeof what, "clone, %s", kinds[i].what);
        attack_attempt(a, what, pid);
        if (pid > 0)
            raw(SYS_wait4, pid, 0, 0, 0);
    }
    attack_attempt(a, "unshare, time", raw(SYS_unshare, 0x80));
    attack_attempt(a, "unshare, files", raw(SYS_unshare, CLONE_FILES));
}

void join_namespace(struct attack *a)
{
    char path[64];
    attack_tried(a, "enter the host's namespaces");
    snprintf(path, sizeof path, "/proc/%ld/ns/net", attack_integer(a, "pid", 1));
    long fd = raw(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
    attack_attempt(a, "open it", fd);
    attack_attempt(a, "setns", raw(SYS_setns, fd < 0 ? 0 : fd, 0));
    long pidfd = raw(SYS_pidfd_open, attack_integer(a, "pid", 1), 0);
    attack_attempt(a, "pidfd_open", pidfd);
    attack_attempt(a, "setns by pidfd", raw(SYS_setns, pidfd < 0 ? 0 : pidfd, CLONE_NEWUTS));
    if (fd >= 0)
        raw(SYS_close, fd);
    if (pidfd >= 0)
        raw(SYS_close, pidfd);
}

#define RAN 242
static const char *const shell[] = {"sh", "-c", "exit 242", NULL};
static const char *const none[] = {NULL};

static long exec_child(long fd, const char *path, const char *const *argv)
{
    long pid = fork_raw();
    if (pid == 0) {
        long e = raw(SYS_execveat, fd, path, argv, none, 0x1000 /* AT_EMPTY_PATH */);
        raw(SYS_exit_group, -e & 0x7f);
    }
    if (pid < 0)
        return raw(SYS_execveat, fd, path, argv, none, 0x1000);
    int status = 0;
    raw(SYS_wait4, pid, &status, 0, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == RAN ? 0 : -ENOEXEC;
}

/* "script" in the read grant starts with #! and is executable. */
void exec_descriptor(struct attack *a)
{
    char path[512];
    static const char *const script[] = {"script", NULL};
    attack_tried(a, "run programs by descriptor and by #!");
    long fd = raw(SYS_openat, AT_FDCWD, "/bin/sh", O_PATH, 0);
    attack_attempt(a, "a shell's descriptor", exec_child(fd < 0 ? 1 : fd, "", shell));
    if (fd >= 0)
        raw(SYS_close, fd);
    snprintf(path, sizeof path, "%s/script", attack_text(a, "read", ""));
    attack_attempt(a, "a script in a grant", exec_child(AT_FDCWD, path, script));
}

void terminal_injection(struct attack *a)
{
    char c = 'x';
    int pending = 0;
    attack_tried(a, "type into somebody's terminal, and other device calls");
    for (int fd = 0; fd < 3; fd++)
        attack_attempt(a, "TIOCSTI", raw(SYS_ioctl, fd, TIOCSTI, &c));
    attack_attempt(a, "FIONREAD", raw(SYS_ioctl, 1, FIONREAD, &pending));
    attack_attempt(a, "upper half of the request", raw(SYS_ioctl, 1, 0x100000000 | FIONREAD, &pending));
    attempt_fd(a, "/dev/tty", raw(SYS_openat, AT_FDCWD, "/dev/tty", O_RDWR, 0));
}

/* What would let it live on when its host is gone, or be looked into by others. */
void outlive(struct attack *a)
{
    static const struct {
        const char *what;
        long option, value, back;
    } options[] = {{"no death signal", PR_SET_PDEATHSIG, 0, -1},
                   {"dumpable", PR_SET_DUMPABLE, 1, -1},
                   {"subreaper", PR_SET_CHILD_SUBREAPER, 1, 0},
                   {"tracer", 0x59616d61, -1, 0},
                   {"keep capabilities", PR_SET_KEEPCAPS, 0, -1},
                   {"timer slack", PR_SET_TIMERSLACK, 50000, -1},
                   {"speculation", 53 /* PR_SET_SPECULATION_CTRL */, 0, -1}};
    attack_tried(a, "undo what ties it to its host");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        attack_attempt(a, options[i].what, raw(SYS_prctl, options[i].option, options[i].value, 0, 0, 0));
        if (options[i].back >= 0)
            raw(SYS_prctl, options[i].option, options[i].back, 0, 0, 0);
    }
}

/* Signal 0: to be allowed is enough. */
void other_signals(struct attack *a)
{
    long pid = attack_integer(a, "pid", 0);
    siginfo_t info = {.si_code = -1};
    attack_tried(a, "signal the host's process %ld", pid);
    if (pid <= 1)
        return;
    attack_attempt(a, "kill", raw(SYS_kill, pid, 0));
    attack_attempt(a, "tgkill", raw(SYS_tgkill, pid, pid, 0));
    attack_attempt(a, "tkill", raw(SYS_tkill, pid, 0));
    attack_attempt(a, "rt_sigqueueinfo", raw(SYS_rt_sigqueueinfo, pid, 0, &info));
    attack_attempt(a, "rt_tgsigqueueinfo", raw(SYS_rt_tgsigqueueinfo, pid, pid, 0, &info));
    long fd = raw(SYS_pidfd_open, pid, 0);
    attack_attempt(a, "pidfd_send_signal", fd < 0 ? fd : raw(SYS_pidfd_send_signal, fd, 0, 0, 0));
    if (fd >= 0)
        raw(SYS_close, fd);
}

void priorities(struct attack *a)
{
    long pid = attack_integer(a, "pid", 0);
    attack_tried(a, "change the priorities of others, and see them");
    attack_attempt(a, "getpriority", raw(SYS_getpriority, PRIO_PROCESS, pid));
    attack_attempt(a, "setpriority", raw(SYS_setpriority, PRIO_PROCESS, pid, 0));
    attack_attempt(a, "ioprio_set", raw(SYS_ioprio_set, 1, pid, 0));
    attack_attempt(a, "sched_getaffinity", raw(SYS_sched_getaffinity, pid, 8, &pid));
    attack_attempt(a, "getpgid", raw(SYS_getpgid, attack_integer(a, "pid", 0)));
    attack_attempt(a, "prlimit", raw(SYS_prlimit64, attack_integer(a, "pid", 0), RLIMIT_NOFILE, 0, 0));
}

void identities(struct attack *a)
{
    unsigned header[2] = {0x20080522, 0}, data[6] = {0};
    attack_tried(a, "become somebody else");
    attack_attempt(a, "setresuid", raw(SYS_setresuid, -1, -1, -1));
    attack_attempt(a, "setresgid", raw(SYS_setresgid, -1, -1, -1));
    attack_attempt(a, "setfsuid", raw(SYS_setfsuid, -1));
    attack_attempt(a, "capset", raw(SYS_capset, header, data));
    attack_attempt(a, "setgroups", raw(SYS_setgroups, 0, 0));
    attack_attempt(a, "setuid 0", raw(SYS_setuid, 0));
}

/* Another plugin's worker. */
void read_sibling(struct attack *a)
{
    long pid = attack_integer(a, "sibling", 0);
    char byte, path[64];
    struct iovec mine = {&byte, 1}, theirs = {(void *)0x400000, 1};
    attack_tried(a, "read the memory of another plugin's worker, process %ld", pid);
    if (pid <= 1)
        return;
    long got = raw(SYS_process_vm_readv, pid, &mine, 1, &theirs, 1, 0);
    attack_attempt(a, "process_vm_readv", got == -EFAULT ? 0 : got);
    got = raw(SYS_process_vm_writev, pid, &mine, 1, &theirs, 1, 0);
    attack_attempt(a, "process_vm_writev", got == -EFAULT ? 0 : got);
    snprintf(path, sizeof path, "/proc/%ld/mem", pid);
    attempt_fd(a, "its mem file", raw(SYS_openat, AT_FDCWD, path, O_RDONLY, 0));
    attack_attempt(a, "kill it", raw(SYS_kill, pid, 0));
}

void compare_processes(struct attack *a)
{
    long pid = attack_integer(a, "pid", 0);
    struct iovec part = {0, PAGE};
    attack_tried(a, "take descriptors from process %ld, and press on its memory", pid);
    if (pid <= 1)
        return;
    long fd = raw(SYS_pidfd_open, pid, 0);
    attack_attempt(a, "pidfd_open", fd);
    attempt_fd(a, "pidfd_getfd", raw(SYS_pidfd_getfd, fd < 0 ? 0 : fd, 0, 0));
    long got = raw(SYS_process_madvise, fd < 0 ? 0 : fd, &part, 1, 21 /* MADV_PAGEOUT */, 0);
    attack_attempt(a, "process_madvise", got == -EPERM || got == -EBADF ? got : 0);
    attack_attempt(a, "kcmp", raw(SYS_kcmp, pid, pid, 0, 0, 0));
    attack_attempt(a, "get_robust_list", raw(SYS_get_robust_list, pid, &part, &part) == -EFAULT ? 0 : -EPERM);
    attack_attempt(a, "move_pages", raw(SYS_move_pages, pid, 0, 0, 0, 0, 0));
    if (fd >= 0)
        raw(SYS_close, fd);
}

void new_session(struct attack *a)
{
    attack_tried(a, "get a terminal or a process group of others");
    attack_attempt(a, "setpgid", raw(SYS_setpgid, 0, 0));
    attack_attempt(a, "vhangup", raw(SYS_vhangup));
    attempt_fd(a, "a pseudo terminal", raw(SYS_openat, AT_FDCWD, "/dev/ptmx", O_RDWR, 0));
}

void scheduling(struct attack *a)
{
    unsigned long all = ~0ul;
    struct sched_param plain = {0}, real_time = {.sched_priority = 1};
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = {.size = 48};
    attack_tried(a, "take more of the processors than its share");
    attack_attempt(a, "sched_setaffinity", raw(SYS_sched_setaffinity, 0, sizeof all, &all));
    attack_attempt(a, "sched_setscheduler", raw(SYS_sched_setscheduler, 0, SCHED_OTHER, &plain));
    attack_attempt(a, "real time", raw(SYS_sched_setscheduler, 0, SCHED_FIFO, &real_time));
    raw(SYS_sched_setscheduler, 0, SCHED_OTHER, &plain);
    attack_attempt(a, "sched_setattr", raw(SYS_sched_setattr, 0, &attr, 0));
    attack_attempt(a, "nice", raw(SYS_setpriority, PRIO_PROCESS, 0, 0));
    attack_attempt(a, "membarrier, registered", raw(SYS_membarrier, 1 << 2, 0, 0));
}

void debug_registers(struct attack *a)
{
    attack_tried(a, "be traced, or trace itself");
    attack_attempt(a, "PTRACE_SEIZE of the host", raw(SYS_ptrace, PTRACE_SEIZE, attack_integer(a, "pid", 0), 0, 0));
    attack_attempt(a, "PTRACE_DETACH",
                   raw(SYS_ptrace, PTRACE_DETACH, attack_integer(a, "pid", 0), 0, 0) == -ESRCH ? 0 : -EPERM);
}
