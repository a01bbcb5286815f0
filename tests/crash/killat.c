/* killat N COMMAND…: runs COMMAND and kills it with SIGKILL as its N-th system call (all of its threads counted
 * together) begins; N 0: only counts.  Prints the count.  Its child processes are not traced and not killed: whether
 * they go by themselves is what the test looks at.  Exit 0: it was killed or had ended; 1: usage or trouble. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static int run(char **argv)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    execvp(argv[0], argv);
    return 127;
}

/* Stops come from every thread; a stop at a system call comes twice, on entry and on return, so that two make one. */
static long trace(pid_t leader, long wanted)
{
    long stops = 0;
    for (;;) {
        int status;
        pid_t tid = waitpid(-1, &status, __WALL);
        if (tid < 0)
            return errno == ECHILD ? stops / 2 : -1;
        if (!WIFSTOPPED(status))
            continue;
        int signal_number = WSTOPSIG(status), pass = 0;
        if (signal_number == (SIGTRAP | 0x80)) {
            if (wanted && ++stops >= 2 * wanted) {
                kill(leader, SIGKILL);
                while (waitpid(-1, &status, __WALL) > 0)
                    ;
                return wanted;
            }
            stops += !wanted;
        } else if (signal_number != SIGTRAP && signal_number != SIGSTOP) {
            pass = signal_number;
        }
        ptrace(PTRACE_SYSCALL, tid, NULL, pass);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: killat N COMMAND [ARG...]\n");
        return 1;
    }
    long wanted = strtol(argv[1], NULL, 10);
    pid_t leader = fork();
    if (leader == 0)
        _exit(run(argv + 2));
    int status;
    if (leader < 0 || waitpid(leader, &status, 0) != leader || !WIFSTOPPED(status))
        return 1;
    ptrace(PTRACE_SETOPTIONS, leader, NULL,
           (void *)(long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL));
    ptrace(PTRACE_SYSCALL, leader, NULL, NULL);
    long count = trace(leader, wanted);
    printf("%ld\n", count);
    return count < 0;
}
