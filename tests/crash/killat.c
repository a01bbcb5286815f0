/* killat [-v VICTIM] [-f NAME] N COMMAND…: runs COMMAND and kills VICTIM with SIGKILL as its N-th system call begins; N
 * 0: only counts.  Prints the count and COMMAND's exit status, 128 and the signal's number when one ended it.  Exit 0:
 * it was killed or had ended, and all that was traced has ended; 1: usage or trouble.
 *
 * VICTIM  host     the command, all of its threads counted together (without -v): its children are not traced
 *         spawner  moat-worker in that role
 *         newborn  a child of the spawner before its exec
 *         worker   behind its wall
 *         helper   behind its wall
 * NAME     only calls count that write to, cut or sync a file whose path has this in it
 * Of workers, newborns and helpers all are counted together and the one that makes the call is killed.  Nothing else
 * is: whether the others go by themselves, or go on, is what the test looks at. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum role { UNKNOWN, HOST, SPAWNER, NEWBORN, WORKER, HELPER, OTHER, ROLES };
static const char *const names[ROLES] = {
    [HOST] = "host", [SPAWNER] = "spawner", [NEWBORN] = "newborn", [WORKER] = "worker", [HELPER] = "helper"};

#define TRACED_MAX 1024 /* threads in one run */

static struct traced {
    pid_t tid;
    enum role role;
    bool inside; /* a stop on entry came, the one on return is next */
} traced[TRACED_MAX];
static size_t ntraced;

static int run(char **argv)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    execvp(argv[0], argv);
    return 127;
}

/* What is in a file of /proc/TID, 0-terminated; NULs inside are blanks. */
static const char *proc(pid_t tid, const char *name)
{
    static char text[4096];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)tid, name);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    for (size_t i = 0; i < n; i++)
        text[i] = text[i] ? text[i] : ' ';
    return text;
}

static pid_t status_field(pid_t tid, const char *field)
{
    const char *line = strstr(proc(tid, "status"), field);
    return line ? (pid_t)atoi(line + strlen(field)) : -1;
}

static struct traced *find(pid_t tid)
{
    for (size_t i = 0; i < ntraced; i++)
        if (traced[i].tid == tid)
            return &traced[i];
    return NULL;
}

static enum role role_of_new(pid_t tid, pid_t leader)
{
    if (tid == leader || status_field(tid, "\nTgid:") == leader)
        return HOST;
    const struct traced *parent = find(status_field(tid, "\nPPid:"));
    return parent && parent->role == SPAWNER ? NEWBORN : OTHER;
}

static enum role role_of_program(const struct traced *t)
{
    const char *words = proc(t->tid, "cmdline");
    if (t->role == HOST)
        return HOST;
    if (t->role == NEWBORN)
        return strstr(words, "moat-helper") ? HELPER : WORKER;
    return strstr(words, "moat-worker spawner") ? SPAWNER : OTHER;
}

static struct traced *find_or_add(pid_t tid, pid_t leader)
{
    struct traced *t = find(tid);
    if (t || ntraced == TRACED_MAX)
        return t;
    traced[ntraced] = (struct traced){.tid = tid, .role = role_of_new(tid, leader)};
    return &traced[ntraced++];
}

struct hunt {
    pid_t leader;
    enum role victim;
    const char *file; /* or NULL: every call */
    long wanted, count;
    int status; /* of the leader */
};

static bool is_about(pid_t tid, const char *file)
{
    static const long calls[] = {SYS_write, SYS_pwrite64, SYS_ftruncate, SYS_fsync, SYS_fdatasync};
    struct __ptrace_syscall_info info;
    char path[64], target[4096];
    if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof info, &info) < 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return false;
    bool writes = false;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        writes |= info.entry.nr == (unsigned long long)calls[i];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)tid, (int)info.entry.args[0]);
    ssize_t n = writes ? readlink(path, target, sizeof target - 1) : -1;
    target[n > 0 ? n : 0] = '\0';
    return strstr(target, file) != NULL;
}

static void one_call(struct hunt *h, struct traced *t)
{
    t->inside = !t->inside;
    if (t->role != h->victim || !t->inside || (h->wanted && h->count >= h->wanted))
        return;
    if (h->file && !is_about(t->tid, h->file))
        return;
    if (++h->count == h->wanted)
        kill(t->role == HOST ? h->leader : t->tid, SIGKILL);
}

/* Stops come from every thread.  How many calls of the victim there were, -1 on trouble. */
static long trace(struct hunt *h)
{
    for (;;) {
        int status;
        pid_t tid = waitpid(-1, &status, __WALL);
        if (tid < 0)
            return errno == ECHILD ? h->count : -1;
        if (!WIFSTOPPED(status)) {
            if (tid == h->leader)
                h->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
            continue;
        }
        struct traced *t = find_or_add(tid, h->leader);
        if (!t)
            return -1;
        int signal_number = WSTOPSIG(status), pass = 0;
        if (signal_number == (SIGTRAP | 0x80))
            one_call(h, t);
        else if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
            t->role = role_of_program(t);
        else if (signal_number != SIGTRAP && signal_number != SIGSTOP)
            pass = signal_number;
        ptrace(PTRACE_SYSCALL, tid, NULL, pass);
    }
}

static enum role role_named(const char *name)
{
    for (int i = 0; i < ROLES; i++)
        if (names[i] && strcmp(names[i], name) == 0)
            return (enum role)i;
    return UNKNOWN;
}

int main(int argc, char **argv)
{
    struct hunt h = {.victim = HOST};
    for (; argc > 2 && *argv[1] == '-'; argc -= 2, argv += 2) {
        if (strcmp(argv[1], "-v") == 0)
            h.victim = role_named(argv[2]);
        else if (strcmp(argv[1], "-f") == 0)
            h.file = argv[2];
        else
            h.victim = UNKNOWN;
    }
    if (argc < 3 || h.victim == UNKNOWN) {
        fprintf(stderr, "usage: killat [-v host|spawner|newborn|worker|helper] [-f NAME] N COMMAND [ARG...]\n");
        return 1;
    }
    h.wanted = strtol(argv[1], NULL, 10);
    h.leader = fork();
    if (h.leader == 0)
        _exit(run(argv + 2));
    int status;
    if (h.leader < 0 || waitpid(h.leader, &status, 0) != h.leader || !WIFSTOPPED(status))
        return 1;
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    if (h.victim != HOST)
        options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
    ptrace(PTRACE_SETOPTIONS, h.leader, NULL, (void *)options);
    ptrace(PTRACE_SYSCALL, h.leader, NULL, NULL);
    long count = trace(&h);
    printf("%ld %d\n", count, h.status);
    return count < 0;
}
