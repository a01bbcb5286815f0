/* Attacks on processes: those of the host, and the host by too many of its own. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "hostile.h"
#include "raw.h"

#define FORKS_MAX 64
#define MEMORY_MAX ((size_t)1 << 30)
#define MEMORY_STEP ((size_t)16 << 20)
#define SPIN_SECONDS 60

static long fork_raw(void)
{
    return raw(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* The child's exit status, or a negative errno. */
static long reap(long pid)
{
    int status = 0;
    long got = raw(SYS_wait4, pid, &status, 0, 0);
    return got < 0 ? got : WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

struct entry { /* struct linux_dirent64 */
    uint64_t ino;
    int64_t off;
    unsigned short len;
    unsigned char type;
    char name[];
};

static int count_numbers(const char *bytes, long got)
{
    int count = 0;
    for (long at = 0; at < got;) {
        const struct entry *e = (const struct entry *)(const void *)(bytes + at);
        count += e->name[0] >= '1' && e->name[0] <= '9';
        at += e->len;
    }
    return count;
}

void list_host_processes(struct attack *a)
{
    __attribute__((aligned(8))) char bytes[8192] = {0};
    int seen = 0;
    long self = raw(SYS_getpid), got;
    attack_tried(a, "list the host's processes, by /proc and by asking for each number");
    long fd = raw(SYS_openat, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        attack_attempt(a, "open /proc", fd);
    } else {
        while ((got = raw(SYS_getdents64, fd, bytes, sizeof bytes)) > 0)
            seen += count_numbers(bytes, got);
        raw(SYS_close, fd);
        attack_detail(a, "/proc shows %d processes", seen);
        a->report.succeeded = seen > 1;
    }
    seen = 0;
    long refused = 0;
    for (long pid = 1; pid <= 512 && !(refused == -EPERM && pid > 8); pid++) {
        long result = raw(SYS_kill, pid, 0);
        seen += pid != self && result == 0;
        if (result < 0 && result != -ESRCH)
            refused = result;
    }
    attack_detail(a, "kill(1..512, 0) finds %d others", seen);
    if (seen > 0)
        a->report.succeeded = true;
    else if (!a->report.errnum)
        a->report.errnum = refused ? (int)-refused : ESRCH;
}

void signal_host(struct attack *a)
{
    long pid = attack_integer(a, "pid", 0);
    attack_tried(a, "end the host's process %ld", pid);
    if (pid <= 1) /* whoever runs this outside a wall has to say whom he means */
        return;
    attack_attempt(a, "kill", raw(SYS_kill, pid, SIGTERM));
    long fd = raw(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        attack_attempt(a, "pidfd_open", fd);
        return;
    }
    attack_attempt(a, "pidfd_send_signal", raw(SYS_pidfd_send_signal, fd, SIGTERM, 0, 0));
    raw(SYS_close, fd);
}

void ptrace_host(struct attack *a)
{
    long pid = attack_integer(a, "pid", 0);
    char byte;
    struct iovec mine = {&byte, 1}, theirs = {(void *)0x400000, 1};
    attack_tried(a, "trace the host's process %ld and read its memory", pid);
    if (pid <= 1)
        return;
    if (attack_attempt(a, "ptrace", raw(SYS_ptrace, PTRACE_SEIZE, pid, 0, 0))) {
        raw(SYS_ptrace, PTRACE_INTERRUPT, pid, 0, 0);
        raw(SYS_wait4, pid, 0, __WALL, 0);
        raw(SYS_ptrace, PTRACE_DETACH, pid, 0, 0);
    }
    long got = raw(SYS_process_vm_readv, pid, &mine, 1, &theirs, 1, 0);
    /* "No such address" means that the kernel had already said yes to the process. */
    attack_attempt(a, "process_vm_readv", got == -EFAULT ? 0 : got);
}

#define SHELL_STATUS 242 /* no errno, so a shell that ran can be told from one that did not start */
static const char *const shell_argv[] = {"sh", "-c", "exit 242", NULL};
static const char *const loader_argv[] = {"ld.so", "/bin/sh", "-c", "exit 242", NULL};
static const char *const no_environment[] = {NULL};
#if defined(__x86_64__)
#define LOADER "/lib64/ld-linux-x86-64.so.2"
#else
#define LOADER "/lib/ld-linux-aarch64.so.1"
#endif

static long exec_in_child(long (*start)(void))
{
    long pid = fork_raw();
    if (pid == 0) {
        long errnum = -start();
        raw(SYS_exit_group, errnum > 0 && errnum < 200 ? errnum : 200);
    }
    if (pid < 0) /* no child: in the open then; if it works, this process is the shell */
        return start();
    long status = reap(pid);
    return status == SHELL_STATUS ? 0 : status < 0 ? status : -status;
}

static long exec_by_path(void)
{
    return raw(SYS_execve, "/bin/sh", shell_argv, no_environment);
}

/* A program that never was a file. */
static long exec_memory(void)
{
    static const char script[] = "#!/bin/sh\nexit 242\n";
    long fd = raw(SYS_memfd_create, "sh", 0);
    if (fd < 0)
        return fd;
    raw(SYS_write, fd, script, sizeof script - 1);
    return raw(SYS_execveat, fd, "", shell_argv, no_environment, AT_EMPTY_PATH);
}

static long exec_loader(void)
{
    return raw(SYS_execve, LOADER, loader_argv, no_environment);
}

void exec_shell(struct attack *a)
{
    attack_tried(a, "run /bin/sh");
    attack_attempt(a, "execve", exec_in_child(exec_by_path));
    attack_attempt(a, "execveat of a memory file", exec_in_child(exec_memory));
    attack_attempt(a, "the dynamic loader", exec_in_child(exec_loader));
}

/* At most FORKS_MAX children, which sleep, never fork themselves, and are all ended and reaped here. */
void fork_bomb(struct attack *a)
{
    long pids[FORKS_MAX], result = 0;
    int count = 0;
    attack_tried(a, "start %d processes", FORKS_MAX);
    while (count < FORKS_MAX && (result = fork_raw()) > 0)
        pids[count++] = result;
    if (count < FORKS_MAX && result == 0) {
        struct timespec t = {.tv_sec = 2};
        raw(SYS_nanosleep, &t, 0);
        raw(SYS_exit_group, 0);
    }
    for (int i = 0; i < count; i++) {
        raw(SYS_kill, pids[i], SIGKILL);
        reap(pids[i]);
    }
    attack_detail(a, "%d processes", count);
    if (count == FORKS_MAX)
        a->report.succeeded = true;
    else
        attack_attempt(a, "the next", result);
}

/* In steps, each touched, at most MEMORY_MAX, all given back. */
void memory_bomb(struct attack *a)
{
    long block[MEMORY_MAX / MEMORY_STEP], result = 0;
    size_t count = 0;
    attack_tried(a, "use %zu MiB of memory", MEMORY_MAX >> 20);
    while (count < MEMORY_MAX / MEMORY_STEP) {
        result = raw(SYS_mmap, 0, MEMORY_STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (-(unsigned long)result < 4096) /* a negative errno */
            break;
        for (size_t at = 0; at < MEMORY_STEP; at += 4096)
            ((volatile char *)result)[at] = 1;
        block[count++] = result;
    }
    for (size_t i = 0; i < count; i++)
        raw(SYS_munmap, block[i], MEMORY_STEP);
    attack_detail(a, "%zu MiB", count * (MEMORY_STEP >> 20));
    if (count == MEMORY_MAX / MEMORY_STEP)
        a->report.succeeded = true;
    else
        attack_attempt(a, "mmap of more", result);
}

/* Deaf to cancellation, for a minute at most. */
void overrun_deadline(struct attack *a)
{
    struct timespec start, now;
    attack_tried(a, "compute past the deadline");
    raw(SYS_clock_gettime, CLOCK_MONOTONIC, &start);
    do {
        for (volatile int i = 0; i < 1000000; i++)
            ;
        raw(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - start.tv_sec < SPIN_SECONDS);
    attack_detail(a, "nobody stopped it for %d seconds", SPIN_SECONDS);
    a->report.succeeded = true;
}

void crash(struct attack *a)
{
    static const char words[] = "hostile: crashing now, on purpose\n";
    raw(SYS_write, 2, words, sizeof words - 1);
    volatile uintptr_t nowhere = 8;
    *(volatile int *)nowhere = 1;
}
