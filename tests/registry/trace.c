#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/ptrace.h>

static bool changes_storage(const struct trace *t, const struct ptrace_syscall_info *info)
{
    static const long calls[] = {
        SYS_write,     SYS_pwrite64, SYS_pwritev,   SYS_writev,   SYS_ftruncate, SYS_fallocate, SYS_fsync,
        SYS_fdatasync, SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_mkdirat,   SYS_fchmod,
#ifdef SYS_unlink
        SYS_unlink,    SYS_rename,   SYS_mkdir,
#endif
    };
    if (info->op != PTRACE_SYSCALL_INFO_ENTRY)
        return false;
    if (t->every_call)
        return true;
    if ((long)info->entry.nr == SYS_openat)
        return info->entry.args[2] & (O_CREAT | O_TRUNC);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if ((long)info->entry.nr == calls[i])
            return true;
    return false;
}

static bool says(const struct ptrace_syscall_info *info, int report)
{
    return info->op == PTRACE_SYSCALL_INFO_ENTRY && (long)info->entry.nr == SYS_write &&
           info->entry.args[0] == (uint64_t)report;
}

/* Runs the child to its end, or kills it as its kill_at-th call begins. The number of calls seen. */
static long follow(const struct trace *t, pid_t leader, int report, int *end_status)
{
    long seen = 0;
    int status, said = 0;
    pid_t tid;
    while ((tid = waitpid(-1, &status, __WALL)) > 0) {
        if (!WIFSTOPPED(status)) {
            if (tid == leader)
                *end_status = status;
            continue;
        }
        int stop = WSTOPSIG(status), pass = 0;
        struct ptrace_syscall_info info;
        if (stop == (SIGTRAP | 0x80) && ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof info, &info) > 0) {
            said += says(&info, report);
            if (said >= t->from && changes_storage(t, &info) && ++seen == t->kill_at)
                kill(leader, SIGKILL);
        } else if (stop != (SIGTRAP | 0x80) && stop != SIGTRAP && stop != SIGSTOP)
            pass = stop;
        ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(long)pass);
    }
    return errno == ECHILD ? seen : -1;
}

long trace_run(const struct trace *t, const struct place *p, int *said, int *end_status)
{
    int report[2];
    char bytes[TRACE_SAID_MAX];
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    pid_t leader = fork();
    if (leader == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(99);
        raise(SIGSTOP);
        _exit(t->run(p, report[1]));
    }
    int status;
    assert_int_equal(waitpid(leader, &status, 0), leader);
    assert_true(WIFSTOPPED(status));
    ptrace(PTRACE_SETOPTIONS, leader, NULL,
           (void *)(long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL));
    ptrace(PTRACE_SYSCALL, leader, NULL, NULL);
    long seen = follow(t, leader, report[1], end_status);
    close(report[1]);
    ssize_t n = read(report[0], bytes, sizeof bytes);
    close(report[0]);
    *said = n > 0 ? (int)n : 0;
    return seen;
}
