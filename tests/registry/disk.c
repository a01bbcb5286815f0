#undef _FORTIFY_SOURCE /* its headers define inline what is defined here */

#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define SECTOR 512

static struct {
    enum disk_fault fault;
    long at;
    uint64_t dice;
    _Atomic long seen;
    _Atomic bool full;
} disk;

void disk_set(enum disk_fault fault, long at, uint64_t seed)
{
    disk.fault = fault;
    disk.at = at;
    disk.dice = seed * 2 + 1;
    atomic_store(&disk.seen, 0);
}

long disk_seen(void)
{
    return atomic_load(&disk.seen);
}

static uint32_t dice(uint32_t n)
{
    disk.dice = disk.dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(disk.dice >> 33) % n;
}

/* ---- what is not synced yet: for a loss of power, the bytes that were there before ---- */

#define WRITES_MAX 4096
struct unsynced {
    dev_t dev;
    ino_t ino;
    int fd; /* a copy of our own */
    off_t offset, size_before;
    size_t len, had; /* had: of the old bytes, as many as there were */
    char *old;
};
static struct unsynced writes[WRITES_MAX];
static size_t nwrites;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t raw_pread(int fd, void *to, size_t len, off_t offset)
{
    return syscall(SYS_pread64, fd, to, len, offset);
}

static void remember(int fd, off_t offset, size_t len)
{
    struct stat st;
    if (disk.fault != DISK_POWER || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    pthread_mutex_lock(&lock);
    if (nwrites == WRITES_MAX)
        _exit(99);
    struct unsynced *w = &writes[nwrites++];
    *w = (struct unsynced){.dev = st.st_dev,
                           .ino = st.st_ino,
                           .fd = fcntl(fd, F_DUPFD_CLOEXEC, 500),
                           .offset = offset,
                           .size_before = st.st_size,
                           .len = len};
    w->old = malloc(len + 1);
    ssize_t n = w->old ? raw_pread(fd, w->old, len, offset) : -1;
    w->had = n > 0 ? (size_t)n : 0;
    pthread_mutex_unlock(&lock);
}

static void forget(int fd)
{
    struct stat st;
    size_t kept = 0;
    if (disk.fault != DISK_POWER || fstat(fd, &st) < 0)
        return;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < nwrites; i++) {
        if (writes[i].ino == st.st_ino && writes[i].dev == st.st_dev) {
            free(writes[i].old);
            close(writes[i].fd);
        } else {
            writes[kept++] = writes[i];
        }
    }
    nwrites = kept;
    pthread_mutex_unlock(&lock);
}

/* Sector by sector, as a disk writes; what lies beyond the old end becomes zeroes. */
static void undo(const struct unsynced *w)
{
    static const char zeroes[SECTOR];
    bool all = dice(2);
    for (size_t at = 0; at < w->len; at += SECTOR) {
        size_t n = w->len - at < SECTOR ? w->len - at : SECTOR;
        if (!all && dice(2))
            continue;
        if (at + n <= w->had)
            syscall(SYS_pwrite64, w->fd, w->old + at, n, w->offset + (off_t)at);
        else
            syscall(SYS_pwrite64, w->fd, zeroes, n, w->offset + (off_t)at);
    }
    if (dice(2))
        syscall(SYS_ftruncate, w->fd, w->size_before);
}

static void lose_power(void)
{
    pthread_mutex_lock(&lock);
    for (size_t i = nwrites; i-- > 0;)
        if (dice(4))
            undo(&writes[i]);
    _exit(DISK_POWER_STATUS);
}

/* ---- each call: does it fail? ---- */

enum kind { GROWS, CHANGES, READS };

/* 0: no; else the error. */
static int fails(enum kind kind)
{
    if (disk.fault == DISK_NONE || disk.fault == DISK_MEMORY || (disk.fault != DISK_EIO && kind == READS) ||
        (disk.fault == DISK_SHORT && kind != GROWS))
        return 0;
    long n = atomic_fetch_add(&disk.seen, 1) + 1;
    if (n == disk.at && disk.fault == DISK_POWER)
        lose_power();
    if (disk.at && n >= disk.at && disk.fault == DISK_ENOSPC)
        return kind == GROWS ? ENOSPC : 0;
    return n == disk.at ? (disk.fault == DISK_EIO ? EIO : disk.fault == DISK_SHORT ? -1 : 0) : 0;
}

static bool is_ours(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static ssize_t write_at(int fd, const void *data, size_t len, off_t offset, bool append)
{
    if (is_ours(fd)) {
        int why = fails(GROWS);
        if (why > 0) {
            errno = why;
            return -1;
        }
        if (why < 0 && len > 1)
            len /= 2;
        remember(fd, append ? lseek(fd, 0, SEEK_CUR) : offset, len);
    }
    return append ? syscall(SYS_write, fd, data, len) : syscall(SYS_pwrite64, fd, data, len, offset);
}

EXPORT ssize_t write(int fd, const void *data, size_t len)
{
    return write_at(fd, data, len, 0, true);
}

/* Files are large here: these three are the ...64 of the C library. */
EXPORT ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    return write_at(fd, data, len, offset, false);
}

EXPORT ssize_t pread(int fd, void *to, size_t len, off_t offset)
{
    int why = is_ours(fd) ? fails(READS) : 0;
    errno = why;
    return why ? -1 : raw_pread(fd, to, len, offset);
}

static int synced(int fd)
{
    int why = fails(CHANGES);
    errno = why;
    if (why)
        return -1;
    forget(fd);
    return disk.fault == DISK_NONE && !disk.at ? (int)syscall(SYS_fsync, fd) : 0;
}

EXPORT int fsync(int fd)
{
    return synced(fd);
}

EXPORT int fdatasync(int fd)
{
    return synced(fd);
}

static int cut(int fd, off_t size)
{
    struct stat st;
    int why = fails(CHANGES);
    errno = why;
    if (why)
        return -1;
    if (fstat(fd, &st) == 0 && st.st_size > size)
        remember(fd, size, (size_t)(st.st_size - size));
    return (int)syscall(SYS_ftruncate, fd, size);
}

EXPORT int ftruncate(int fd, off_t size)
{
    return cut(fd, size);
}

EXPORT int rename(const char *from, const char *to)
{
    int why = fails(CHANGES);
    errno = why;
    return why ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int unlink(const char *path)
{
    int why = fails(CHANGES);
    errno = why;
    return why ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* ---- memory ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static bool no_memory(void)
{
    if (disk.fault != DISK_MEMORY)
        return false;
    bool none = atomic_fetch_add(&disk.seen, 1) + 1 == disk.at;
    if (none)
        errno = ENOMEM;
    return none;
}

EXPORT void *malloc(size_t size)
{
    return no_memory() ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t size)
{
    return no_memory() ? NULL : __libc_realloc(p, size);
}
