/* Attacks on the machine's resources.  Bounded: outside they take a few hundred MiB at most and give all of it back. */
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "attacker.h"

#define MIB ((size_t)1 << 20)

static bool failed(long result)
{
    return result < 0 && result > -4096;
}

/* Bytes written to a file until `most`; the errno that stopped it, or 0. */
static long fill(const char *path, size_t most)
{
    static char block[65536];
    size_t done = 0;
    long put = 0, fd = raw(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (fd < 0)
        return fd;
    while (done < most && (put = raw(SYS_write, fd, block, sizeof block)) > 0)
        done += (size_t)put;
    raw(SYS_close, fd);
    raw(SYS_unlinkat, AT_FDCWD, path, 0);
    return put < 0 ? put : 0;
}

static long sparse(const char *path)
{
    long fd = raw(SYS_openat, AT_FDCWD, path, O_CREAT | O_RDWR, 0600);
    long result = fd < 0 ? fd : raw(SYS_ftruncate, fd, 1L << 40);
    raw(SYS_close, fd);
    raw(SYS_unlinkat, AT_FDCWD, path, 0);
    return result;
}

void fill_tmp(struct attack *a)
{
    attack_tried(a, "fill /tmp");
    attack_attempt(a, "64 MiB", fill("/tmp/attacker-fill", 64 * MIB));
    attack_attempt(a, "sparse", sparse("/tmp/attacker-sparse"));
}

void fill_inodes(struct attack *a)
{
    char path[64];
    long result = 0;
    int made = 0;
    attack_tried(a, "use up the files of a file system");
    while (made < 1500) {
        snprintf(path, sizeof path, "/tmp/attacker-%d", made);
        result = raw(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0600);
        if (result < 0)
            break;
        raw(SYS_close, result);
        made++;
    }
    for (int i = 0; i < made; i++) {
        snprintf(path, sizeof path, "/tmp/attacker-%d", i);
        raw(SYS_unlinkat, AT_FDCWD, path, 0);
    }
    attack_attempt(a, "1500 files", made == 1500 ? 0 : result);
}

/* Memory that no limit of a process counts. */
void shared_memory(struct attack *a)
{
    attack_tried(a, "take memory that its limit does not see");
    long id = raw(SYS_shmget, 0, MIB, 01600);
    if (attack_attempt(a, "shmget", id)) {
        long at = raw(SYS_shmat, id, 0, 0);
        attack_attempt(a, "shmat", failed(at) ? at : 0);
        raw(SYS_shmdt, at);
        raw(SYS_shmctl, id, 0 /* IPC_RMID */, 0);
    }
    long at = raw(SYS_mmap, 0, MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    attack_attempt(a, "shared anonymous memory", failed(at) ? at : 0);
    if (!failed(at))
        raw(SYS_munmap, at, MIB);
    attempt_fd(a, "memfd_create", raw(SYS_memfd_create, "x", 0));
    attempt_fd(a, "memfd_secret", raw(447, 0));
    attempt_fd(a, "/dev/shm", raw(SYS_openat, AT_FDCWD, "/dev/shm", O_TMPFILE | O_RDWR, 0600));
    attempt_fd(a, "mq_open", raw(SYS_mq_open, "attacker", O_CREAT | O_RDWR, 0600, 0));
    raw(SYS_mq_unlink, "attacker");
    id = raw(SYS_semget, 0, 1, 01600);
    if (attack_attempt(a, "semget", id))
        raw(SYS_semctl, id, 0, 0, 0);
    id = raw(SYS_msgget, 0, 01600);
    if (attack_attempt(a, "msgget", id))
        raw(SYS_msgctl, id, 0, 0);
}

void many_descriptors(struct attack *a)
{
    static long fds[4096];
    long result = 0;
    int count = 0;
    attack_tried(a, "hold 500 descriptors");
    while (count < 500 && (result = raw(SYS_dup, 1)) >= 0)
        fds[count++] = result;
    for (int i = 0; i < count; i++)
        raw(SYS_close, fds[i]);
    attack_attempt(a, "dup", count == 500 ? 0 : result);
    result = raw(SYS_fcntl, 1, F_DUPFD, 1000);
    attempt_fd(a, "a high number", result);
    struct rlimit more = {1 << 16, 1 << 16};
    attack_attempt(a, "raise the limit", raw(SYS_prlimit64, 0, RLIMIT_DATA, &more, 0) == 0 ? 0 : -EPERM);
}

/* Pages in pipes are counted by host user: a plugin must not use up what its host's user may have. */
void many_pipes(struct attack *a)
{
    static int ends[600][2];
    int count = 0;
    long result = 0;
    attack_tried(a, "take the pages that its user may have in pipes");
    while (count < 400 && (result = raw(SYS_pipe2, ends[count], O_NONBLOCK)) == 0)
        count++;
    if (count)
        attack_attempt(a, "a larger pipe", raw(SYS_fcntl, ends[0][1], F_SETPIPE_SZ, MIB));
    for (int i = 0; i < count; i++) {
        raw(SYS_close, ends[i][0]);
        raw(SYS_close, ends[i][1]);
    }
    attack_attempt(a, "400 pipes", count == 400 ? 0 : result);
}

void counters(struct attack *a)
{
    long mask = 0;
    attack_tried(a, "make kernel objects that no limit of its own counts");
    attempt_fd(a, "eventfd2", raw(SYS_eventfd2, 0, 0));
    attempt_fd(a, "timerfd_create", raw(SYS_timerfd_create, 1, 0));
    attempt_fd(a, "signalfd4", raw(SYS_signalfd4, -1, &mask, 8, 0));
    int id = 0;
    if (attack_attempt(a, "timer_create", raw(SYS_timer_create, 1, 0, &id)))
        raw(SYS_timer_delete, id);
    long context = 0;
    if (attack_attempt(a, "io_setup", raw(SYS_io_setup, 1, &context)))
        raw(SYS_io_destroy, context);
}

void lock_memory(struct attack *a)
{
    static char page[8192];
    attack_tried(a, "keep memory from being swapped");
    attack_attempt(a, "mlock", raw(SYS_mlock, page, sizeof page));
    attack_attempt(a, "mlock2", raw(SYS_mlock2, page, sizeof page, 0));
    raw(SYS_munlock, page, sizeof page);
    attack_attempt(
        a, "mlockall",
        raw(SYS_mlockall, 4 /* MCL_ONFAULT alone is an error: then it was let through */) == -EINVAL ? 0 : -EPERM);
    long at = raw(SYS_mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
    attack_attempt(a, "MAP_LOCKED", failed(at) ? at : 0);
    if (!failed(at))
        raw(SYS_munmap, at, PAGE);
}

void huge_pages(struct attack *a)
{
    attack_tried(a, "take the machine's huge pages");
    long at = raw(SYS_mmap, 0, 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x40000, -1, 0);
    /* A machine without any answers ENOMEM: it was willing. */
    attack_attempt(a, "MAP_HUGETLB", failed(at) && at != -ENOMEM ? at : 0);
    if (!failed(at))
        raw(SYS_munmap, at, 2 * MIB);
}

/* Memory that grows downwards counts as stack. */
void stack_memory(struct attack *a)
{
    attack_tried(a, "take memory as stack, past the limit on data");
    long at = raw(SYS_mmap, 0, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    attack_attempt(a, "MAP_GROWSDOWN", failed(at) ? at : 0);
    if (!failed(at))
        raw(SYS_munmap, at, 4 * MIB);
}

void address_space(struct attack *a)
{
    attack_tried(a, "reserve address space without end, which costs page tables");
    long at = raw(SYS_mmap, 0, 1ul << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    attack_attempt(a, "1 TiB", failed(at) ? at : 0);
    if (!failed(at))
        raw(SYS_munmap, at, 1ul << 40);
    at = raw(SYS_mmap, 0, 256 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    attack_attempt(a, "reserved first, then used",
                   failed(at) ? at : raw(SYS_mprotect, at, 256 * MIB, PROT_READ | PROT_WRITE));
    if (!failed(at))
        raw(SYS_munmap, at, 256 * MIB);
}

/* The limit on core files, seen from inside. */
void core_dump(struct attack *a)
{
    struct rlimit now = {0, 0}, all = {RLIM_INFINITY, RLIM_INFINITY};
    attack_tried(a, "have its memory written to a file");
    raw(SYS_prlimit64, 0, RLIMIT_CORE, &all, 0);
    raw(SYS_prlimit64, 0, RLIMIT_CORE, 0, &now);
    attack_attempt(a, "a core file may be written", now.rlim_max ? 0 : -EPERM);
}

void disk_flood(struct attack *a)
{
    char path[512];
    snprintf(path, sizeof path, "%s/flood", attack_text(a, "write", "/nowhere"));
    attack_tried(a, "write a file of 80 MiB into a grant");
    attack_attempt(a, "write", fill(path, 80 * MIB));
}

/* Floods end after a time, not after an amount: they must not hold the test up. */
static bool for_ms(struct timespec *start, long ms)
{
    struct timespec now = {0};
    raw(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    if (!start->tv_sec)
        *start = now;
    return (now.tv_sec - start->tv_sec) * 1000 + (now.tv_nsec - start->tv_nsec) / 1000000 < ms;
}

void output_flood(struct attack *a)
{
    static const char line[] = "flood \x1b[2J of output\n";
    struct timespec start = {0};
    long lines = 0;
    attack_tried(a, "drown the operator in output");
    while (for_ms(&start, 800) && lines < 100000)
        lines += raw(SYS_write, 2, line, sizeof line - 1) > 0;
    attack_detail(a, "%ld lines", lines);
    attack_attempt(a, "unbounded", lines == 100000 ? 0 : -EAGAIN);
}

void log_flood(struct attack *a)
{
    struct timespec start = {0};
    long lines = 0;
    attack_tried(a, "drown the operator in log lines");
    for (; for_ms(&start, 800); lines++)
        a->host->log(MOAT_LOG_ERROR, "flood of log lines");
    attack_detail(a, "%ld lines", lines);
}

void denial_flood(struct attack *a)
{
    char path[64];
    struct timespec start = {0};
    long tries = 0, result = 0;
    attack_tried(a, "hide one refusal behind very many");
    for (; for_ms(&start, 800); tries++) {
        snprintf(path, sizeof path, "/flood/%ld", tries);
        result = raw(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0600);
    }
    raw(SYS_openat, AT_FDCWD, "/the/one/that/matters", O_WRONLY, 0);
    attack_detail(a, "%ld tries", tries);
    attack_attempt(a, "the last", result);
}

/* Parameters: seconds.  One thread and what threads it may have, deaf to cancellation. */
void spin_threads(struct attack *a)
{
    struct timespec start = {0};
    attack_tried(a, "use CPU time past its limit");
    while (for_ms(&start, 20000))
        ;
    attack_detail(a, "nobody stopped it");
    a->report.succeeded = true;
}
