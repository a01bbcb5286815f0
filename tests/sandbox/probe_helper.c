/* A helper for the tests: locks itself like a real one, then does or tries what its duty says. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/inside_helper.h"

static char buffer[4096];

static int echo(void)
{
    ssize_t n;
    while ((n = read(0, buffer, sizeof buffer)) > 0)
        if (write(1, buffer, (size_t)n) != n)
            return 1;
    return n < 0;
}

/* Mebibytes it can hold, as decimal text. */
static int memory(void)
{
    int n = 0;
    for (char *p; n < 4096 && (p = malloc(1 << 20)); n++) {
        memset(p, 1, 1 << 20);
        __asm__ volatile("" : : "r"(p) : "memory"); /* a compiler may know that nobody looks */
    }
    char text[8];
    int len = 0;
    for (int digit = 1000; digit; digit /= 10)
        text[len++] = (char)('0' + n / digit % 10);
    return write(1, text, (size_t)len) != len;
}

static int spin(void)
{
    for (volatile unsigned long i = 0;; i++)
        ;
    return 0;
}

static int standard_error(void)
{
    return write(2, "x", 1) < 0 && errno == EBADF ? 0 : 1;
}

static int stat_descriptor(void)
{
    struct stat st;
    return syscall(SYS_newfstatat, 0, "", &st, AT_EMPTY_PATH) < 0 && errno == EPERM ? 0 : 1;
}

/* Each of these ends it. */
static int try_open(void)
{
    return open("/etc/passwd", O_RDONLY) >= 0 ? 0 : 1;
}
static int try_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 0 : 1;
}
static int try_fork(void)
{
    return fork() >= 0 ? 0 : 1;
}
static int try_exec(void)
{
    char *argv[] = {(char[]){"/bin/true"}, NULL};
    return execv(argv[0], argv);
}
static int try_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ? 0 : 1;
}
static int try_make_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0 ? 0 : 1;
}
static int try_shared(void)
{
    return mmap(NULL, 4096, PROT_READ, MAP_SHARED, 0, 0) != MAP_FAILED ? 0 : 1;
}
static int try_kill(void)
{
    return (int)syscall(SYS_kill, 1, 0);
}
static int try_dup(void)
{
    return dup(0) >= 0 ? 0 : 1;
}
static int try_prctl(void)
{
    return (int)syscall(SYS_prctl, 4, 1, 0, 0, 0);
}

static const struct {
    const char *name;
    int (*run)(void);
} duties[] = {
    {"echo", echo},
    {"memory", memory},
    {"spin", spin},
    {"stderr", standard_error},
    {"stat", stat_descriptor},
    {"try-open", try_open},
    {"try-socket", try_socket},
    {"try-fork", try_fork},
    {"try-exec", try_exec},
    {"try-code", try_code},
    {"try-make-code", try_make_code},
    {"try-shared", try_shared},
    {"try-kill", try_kill},
    {"try-dup", try_dup},
    {"try-prctl", try_prctl},
};

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    for (size_t i = 0; i < sizeof duties / sizeof *duties; i++) {
        if (strcmp(duties[i].name, argv[1]) != 0)
            continue;
        const char *step = inside_helper_lock(argv[0]);
        if (step)
            return write(1, step, strlen(step)) < 0 ? 4 : 3;
        return duties[i].run();
    }
    return 2;
}
