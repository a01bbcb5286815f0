#include "wall_work.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

const char *const work_names[] = {"compute", "read", "read_4k", "open", NULL};

static uint64_t cells[32 * 1024]; /* 256 KiB: more than the first cache, less than the second */
static volatile uint64_t sink;    /* what was computed is wanted */

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Whole and broken numbers, and memory in no order. */
static int compute(int file, const char *path)
{
    uint64_t x = 88172645463325252u;
    double sum = 0;
    (void)file;
    (void)path;
    for (unsigned i = 0; i < 20000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        uint64_t *cell = &cells[x % (sizeof cells / sizeof *cells)];
        *cell = *cell * 6364136223846793005u + x;
        sum += (double)(*cell >> 11) * 0x1p-53;
    }
    sink = x + (uint64_t)sum;
    return 0;
}

static int read_whole(int file, size_t piece)
{
    static uint8_t room[128 * 1024];
    uint64_t sum = 0;
    off_t at = 0;
    ssize_t n;
    for (; (n = pread(file, room, piece, at)) > 0; at += n)
        sum += room[0] + room[n - 1];
    sink = sum;
    return n < 0 ? errno : 0;
}

static int read_file(int file, const char *path)
{
    (void)path;
    return read_whole(file, 128 * 1024);
}

static int read_pages(int file, const char *path)
{
    (void)path;
    return read_whole(file, 4 * 1024);
}

static int open_file(int file, const char *path)
{
    (void)file;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

int64_t work_run(enum work what, unsigned times, const char *path)
{
    static int (*const once[])(int file, const char *path) = {compute, read_file, read_pages, open_file};
    int e = 0, file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    uint64_t begin = now();
    for (unsigned i = 0; i < times && !e; i++)
        e = once[what](file, path);
    uint64_t end = now();
    close(file);
    return e ? -e : (int64_t)(end - begin);
}
