/* A program that a walled worker starts: does one thing and answers with its exit status, 0 or an errno. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int say(char **a)
{
    printf("program says %s\n", a[0] ? a[0] : "nothing");
    return 0;
}

static int answer(long r)
{
    return r < 0 ? errno : 0;
}

/* How many descriptors beyond the three it has got, and writes into each of them. */
static int descriptors(char **a)
{
    int n = 0;
    (void)a;
    for (int fd = 3; fd < 1024; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
        if (write(fd, "x", 1) >= 0 || errno != EBADF)
            n += 1000;
    }
    return n ? EMFILE : 0;
}

static int trace_worker(char **a)
{
    (void)a;
    return answer(ptrace(PTRACE_ATTACH, 1, NULL, NULL));
}

static int read_worker(char **a)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)strtoul(a[0], NULL, 0), 1};
    return answer(process_vm_readv(1, &here, 1, &there, 1, 0));
}

static int signal_worker(char **a)
{
    (void)a;
    return answer(kill(1, SIGKILL)); /* init of its namespace is not killed from inside */
}

static int signal_number(char **a)
{
    return answer(kill((pid_t)atoi(a[0]), 0));
}

static int connect_out(char **a)
{
    (void)a;
    return answer(socket(AF_INET, SOCK_STREAM, 0));
}

static int open_file(char **a)
{
    return answer(open(a[0], O_RDONLY));
}

static int write_file(char **a)
{
    return answer(open(a[0], O_WRONLY));
}

static int link_file(char **a)
{
    return answer(link(a[0], a[1]));
}

static int move_file(char **a)
{
    return answer(rename(a[0], a[1]));
}

/* So many pieces of 512 KiB, each in a file that has no name any more, held until somebody ends it. */
static int hold(char **a)
{
    static const char piece[512 << 10];
    for (int i = 0; i < atoi(a[1]); i++) {
        int fd = open(a[0], O_WRONLY | O_CREAT, 0600);
        if (fd < 0 || unlink(a[0]) < 0 || write(fd, piece, sizeof piece) != (ssize_t)sizeof piece)
            return errno;
    }
    for (;;)
        pause();
}

static int gain(char **a)
{
    (void)a;
    return geteuid() != 0 && setuid(0) < 0 && setgid(0) < 0 ? 0 : EEXIST;
}

static int executable_memory(char **a)
{
    (void)a;
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? errno
               : 0;
}

/* Until it may not any more; 0 when something stopped it. */
static int bomb(char **a)
{
    (void)a;
    for (int i = 0; i < 10000; i++) {
        pid_t pid = fork();
        if (pid < 0)
            return 0;
        if (pid == 0)
            for (;;)
                pause();
    }
    return E2BIG;
}

static int start_again(char **a)
{
    execv(a[0], a);
    return errno;
}

static int leave_behind(char **a)
{
    (void)a;
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        if (fork())
            _exit(0);
        for (;;)
            pause();
    }
    return pid < 0 ? errno : 0;
}

static int eat(char **a)
{
    size_t len = (size_t)atol(a[0]) << 20;
    char *p = malloc(len);
    if (p)
        memset(p, 1, len);
    return p ? 0 : errno;
}

static int sleep_on(char **a)
{
    (void)a;
    while (pause() < 0)
        ;
    return 0;
}

/* Stays, with a child in a session of its own whose parent has ended. */
static int family(char **a)
{
    if (fork() == 0) {
        setsid();
        if (fork())
            _exit(0);
    }
    return sleep_on(a);
}

/* As many as it may start, each with all the memory that it gets; all stay. */
static int hoard(char **a)
{
    while (fork() == 0)
        ;
    for (char *p; (p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED;)
        memset(p, 1, 1 << 20);
    return sleep_on(a);
}

/* So many milliseconds of CPU time; a nested one where there are more arguments. */
static int spin(char **a)
{
    struct timespec t;
    long ms = atol(a[0]);
    if (a[1] && fork() > 0)
        return wait(NULL) < 0 ? errno : 0;
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    while (t.tv_sec * 1000 + t.tv_nsec / 1000000 < ms);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(char **arguments);
} modes[] = {
    {"say", say},
    {"descriptors", descriptors},
    {"trace", trace_worker},
    {"peek", read_worker},
    {"kill", signal_worker},
    {"signal", signal_number},
    {"connect", connect_out},
    {"open", open_file},
    {"write", write_file},
    {"link", link_file},
    {"move", move_file},
    {"hold", hold},
    {"gain", gain},
    {"rwx", executable_memory},
    {"bomb", bomb},
    {"again", start_again},
    {"leave", leave_behind},
    {"eat", eat},
    {"sleep", sleep_on},
    {"spin", spin},
    {"family", family},
    {"hoard", hoard},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(argv[1], modes[i].name) == 0)
            return modes[i].run(argv + 2);
    return 0;
}
