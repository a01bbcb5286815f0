/* Attacks on the kernel's surface, on the worker's own memory and on the channel to the host. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "hostile.h"
#include "raw.h"

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif

#define PAGE ((size_t)4096)

/* A function that returns 42. */
#if defined(__x86_64__)
static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
#else
static const unsigned char code[] = {0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6};
#endif

static bool mapped(long result)
{
    return !(result < 0 && result > -4096);
}

static long run(long at)
{
    int (*function)(void);
    memcpy(&function, &at, sizeof function);
    __builtin___clear_cache((char *)at, (char *)at + sizeof code);
    return function() == 42 ? 0 : -ENOEXEC;
}

/* Written first, made executable afterwards. */
static long exec_after_write(void)
{
    long at = raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!mapped(at))
        return at;
    memcpy((void *)at, code, sizeof code);
    long result = raw(SYS_mprotect, at, PAGE, PROT_READ | PROT_EXEC);
    if (result == 0)
        result = run(at);
    raw(SYS_munmap, at, PAGE);
    return result;
}

static long exec_and_write(void)
{
    long at = raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!mapped(at))
        return at;
    memcpy((void *)at, code, sizeof code);
    long result = run(at);
    raw(SYS_munmap, at, PAGE);
    return result;
}

static long exec_file(long fd)
{
    if (fd < 0)
        return fd;
    long result = raw(SYS_write, fd, code, sizeof code);
    long at = result < 0 ? result : raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    result = mapped(at) ? run(at) : at;
    if (mapped(at))
        raw(SYS_munmap, at, PAGE);
    raw(SYS_close, fd);
    return result;
}

static long exec_own_text(void)
{
    uintptr_t text = (uintptr_t)map_executable & ~(PAGE - 1);
    long result = raw(SYS_mprotect, text, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    if (result == 0)
        raw(SYS_mprotect, text, PAGE, PROT_READ | PROT_EXEC);
    return result;
}

void map_executable(struct attack *a)
{
    attack_tried(a, "run machine code that was never in a package");
    attack_attempt(a, "write, then mprotect", exec_after_write());
    attack_attempt(a, "mmap writable and executable", exec_and_write());
    attack_attempt(a, "a memory file", exec_file(raw(SYS_memfd_create, "code", 0)));
    attack_attempt(a, "a file in /tmp",
                   exec_file(raw(SYS_openat, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0700)));
    attack_attempt(a, "own code made writable", exec_own_text());
}

/* ---- namespaces ---- */

struct clone_request { /* struct clone_args of linux/sched.h */
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

static long child_of(long pid)
{
    if (pid == 0)
        raw(SYS_exit_group, 0);
    if (pid > 0)
        raw(SYS_wait4, pid, 0, 0, 0);
    return pid;
}

/* In a child where there can be one: outside, this process stays where it is. */
static long unshare_in_child(long flags)
{
    long pid = raw(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        long result = raw(SYS_unshare, flags);
        raw(SYS_exit_group, result < 0 ? -result : 0);
    }
    if (pid < 0)
        return raw(SYS_unshare, flags);
    int status = 0;
    raw(SYS_wait4, pid, &status, 0, 0);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

void nested_namespace(struct attack *a)
{
    struct clone_request request = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    attack_tried(a, "become root of a user namespace of its own");
    attack_attempt(a, "unshare", unshare_in_child(CLONE_NEWUSER));
    attack_attempt(a, "clone", child_of(raw(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)));
    attack_attempt(a, "clone3", child_of(raw(SYS_clone3, &request, sizeof request)));
}

/* ---- corners of the kernel where most of its holes have been ---- */

static void attempt_fd(struct attack *a, const char *what, long fd)
{
    if (attack_attempt(a, what, fd))
        raw(SYS_close, fd);
}

void io_uring(struct attack *a)
{
    char parameters[120] = {0};
    attack_tried(a, "do input and output through io_uring, past any filter of system calls");
    attempt_fd(a, "io_uring_setup", raw(SYS_io_uring_setup, 4, parameters));
}

void kernel_surface(struct attack *a)
{
    struct {
        uint32_t type, key, value, entries;
        char rest[112];
    } map = {.type = 2, .key = 4, .value = 4, .entries = 1};
    struct {
        uint32_t type, size;
        char rest[120];
    } event = {.type = 1, .size = 64};
    attack_tried(a, "bpf, perf events, userfaultfd, fanotify");
    attempt_fd(a, "bpf", raw(SYS_bpf, 0, &map, 64));
    attempt_fd(a, "perf_event_open", raw(SYS_perf_event_open, &event, 0, -1, -1, 0));
    attempt_fd(a, "userfaultfd", raw(SYS_userfaultfd, 1 /* user mode only */));
    attempt_fd(a, "fanotify_init", raw(SYS_fanotify_init, 0x200 /* report file handles: no privilege needed */, 0));
}

void keyctl_keyring(struct attack *a)
{
    attack_tried(a, "use the kernel's keyrings");
    attack_attempt(a, "keyctl, session keyring", raw(SYS_keyctl, 0, -3, 0));
    attack_attempt(a, "add_key", raw(SYS_add_key, "user", "moat-hostile", "x", 1, -2));
}

/* ---- the channel ---- */

static sigjmp_buf faulted;

static void on_fault(int signal)
{
    siglongjmp(faulted, signal);
}

/* Random bytes from `at` on, page by page in one direction, until the memory ends. */
static size_t scribble_from(volatile unsigned char *at, long pages, int direction, uint64_t *seed)
{
    volatile size_t written = 0;
    if (sigsetjmp(faulted, 1) != 0)
        return written;
    for (long page = 0; page < pages; page++) {
        volatile unsigned char *from = at + direction * page * (long)PAGE;
        for (size_t i = 0; i < PAGE; i++) {
            *seed = *seed * 6364136223846793005u + 1442695040888963407u;
            from[i] = (unsigned char)(*seed >> 56);
        }
        written += PAGE;
    }
    return written;
}

/* The room for a large result lies in the memory that this worker shares with the host, and so does what surrounds it:
 * with few pages only the channel is hit, with many this process as well. */
void scribble(struct attack *a)
{
    long pages = attack_integer(a, "pages", 12), pages_before = attack_integer(a, "before", 18);
    uint64_t seed = (uint64_t)attack_integer(a, "seed", 1);
    struct sigaction old[2], act = {.sa_handler = on_fault};
    attack_tried(a, "fill the memory shared with the host with random bytes");
    char *room = a->host->result_room(a->call, (size_t)attack_integer(a, "room", 100000));
    if (!room)
        return;
    volatile unsigned char *page = (volatile unsigned char *)((uintptr_t)room & ~(PAGE - 1));
    sigaction(SIGSEGV, &act, &old[0]);
    sigaction(SIGBUS, &act, &old[1]);
    size_t after = scribble_from(page, pages, 1, &seed), before = scribble_from(page - PAGE, pages_before, -1, &seed);
    sigaction(SIGSEGV, &old[0], NULL);
    sigaction(SIGBUS, &old[1], NULL);
    attack_detail(a, "%zu bytes before and %zu behind its result", before, after);
}
