/* seeker: wants files: some, one after another, or as much of a directory as it gets; for the tests of grants. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <moat/plugin.h>

#include "../../../plugins/common/request.h"

#define PIECE (1 << 20)

static const struct moat_host *host;

struct parameters {
    const char *text;
    size_t len;
};

static long long integer(struct parameters p, const char *name, long long otherwise)
{
    struct slice value;
    long long out;
    return request_find(p.text, p.len, name, &value) && request_integer(value, &out) ? out : otherwise;
}

static bool text(struct parameters p, const char *name, char *out, size_t size)
{
    struct slice value;
    return request_find(p.text, p.len, name, &value) && request_text(value, out, size);
}

static bool failed(struct moat_call *call, const char *path)
{
    char message[600];
    snprintf(message, sizeof message, "%s: %.500s", strerrorname_np(errno), path);
    return host->fail(call, "cannot", message);
}

static bool number(struct moat_call *call, long long n)
{
    char reply[32];
    snprintf(reply, sizeof reply, "%lld", n);
    return host->answer(call, reply, strlen(reply));
}

/* ---- errand, probe ---- */

static bool errand(struct moat_call *call, struct parameters p)
{
    static const char *const names[] = {"first", "second", "out"};
    static char path[4096];
    for (int i = 0; i < 3; i++) {
        if (!text(p, names[i], path, sizeof path))
            return host->fail(call, "bad_path", names[i]);
        int fd = i < 2 ? open(path, O_RDONLY | O_CLOEXEC) : open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            return failed(call, path);
        close(fd);
    }
    return host->answer(call, "true", 4);
}

static bool probe(struct moat_call *call, struct parameters p)
{
    static char dir[3000], path[4096];
    long long opened = 0, count = integer(p, "count", 1);
    text(p, "dir", dir, sizeof dir);
    for (long long i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%lld", dir, i);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        opened++;
        close(fd);
    }
    return number(call, opened);
}

/* ---- fill ---- */

static char piece[PIECE];

static bool put(int fd, long long bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, piece, bytes < PIECE ? (size_t)bytes : PIECE);
        if (n <= 0)
            return false;
        bytes -= n;
    }
    return true;
}

static int make(const char *dir, long long number_of, char path[4096])
{
    snprintf(path, 4096, "%s/fill-%lld", dir, number_of);
    return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

static bool fill_one(const char *dir, long long bytes)
{
    static char path[4096];
    int fd = make(dir, 0, path);
    return fd >= 0 && put(fd, bytes) && close(fd) == 0;
}

static bool fill_many(const char *dir, long long bytes)
{
    static char path[4096];
    for (long long i = 0; bytes > 0; i++, bytes -= 64 * 1024) {
        int fd = make(dir, i, path);
        if (fd < 0 || !put(fd, 64 * 1024) || close(fd) < 0)
            return false;
    }
    return true;
}

/* Large to look at, small on the disk. */
static bool fill_sparse(const char *dir, long long bytes)
{
    static char path[4096];
    int fd = make(dir, 0, path);
    return fd >= 0 && ftruncate(fd, bytes) == 0 && pwrite(fd, piece, 1, bytes - 1) == 1 && close(fd) == 0;
}

/* Without a name it is in no directory, and takes its room all the same. */
static bool fill_unlinked(const char *dir, long long bytes)
{
    static char path[4096];
    int fd = make(dir, 0, path);
    return fd >= 0 && unlink(path) == 0 && put(fd, bytes);
}

/* Nor is it among the descriptors. */
static bool fill_mapped(const char *dir, long long bytes)
{
    static char path[4096];
    int fd = make(dir, 0, path);
    if (fd < 0 || unlink(path) < 0 || ftruncate(fd, bytes) < 0)
        return false;
    char *all = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (all == MAP_FAILED)
        return false;
    memset(all, 1, (size_t)bytes);
    return true;
}

static bool fill_renamed(const char *dir, long long bytes)
{
    static char path[4096], to[4200];
    for (long long i = 0; bytes > 0; i++, bytes -= PIECE) {
        int fd = make(dir, 0, path);
        snprintf(to, sizeof to, "%s/away-%lld", dir, i);
        if (fd < 0 || !put(fd, PIECE) || close(fd) < 0 || rename(path, to) < 0)
            return false;
    }
    return true;
}

/* Many names of one file are one file. */
static bool fill_linked(const char *dir, long long bytes)
{
    static char path[4096], to[4200];
    int fd = make(dir, 0, path);
    if (fd < 0 || !put(fd, bytes / 2) || close(fd) < 0)
        return false;
    for (int i = 0; i < 20; i++) {
        snprintf(to, sizeof to, "%s/link-%d", dir, i);
        if (link(path, to) < 0)
            return false;
    }
    return true;
}

/* Written and given back again and again: never more than a piece is there. */
static bool fill_truncated(const char *dir, long long bytes)
{
    static char path[4096];
    int fd = make(dir, 0, path);
    for (; fd >= 0 && bytes > 0; bytes -= PIECE)
        if (!put(fd, PIECE) || ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) != 0)
            return false;
    return fd >= 0 && close(fd) == 0;
}

static bool fill(struct moat_call *call, struct parameters p)
{
    static const char *const words[] = {"one",     "many",   "sparse",    "unlinked", "mapped",
                                        "renamed", "linked", "truncated", NULL};
    static bool (*const ways[])(const char *, long long) = {fill_one,    fill_many,    fill_sparse, fill_unlinked,
                                                            fill_mapped, fill_renamed, fill_linked, fill_truncated};
    static char dir[3000];
    struct slice how;
    int way = request_find(p.text, p.len, "how", &how) ? request_word(how, words) : -1;
    if (way < 0 || !text(p, "dir", dir, sizeof dir))
        return host->fail(call, "bad_way", "no such way");
    memset(piece, 7, sizeof piece);
    if (!ways[way](dir, integer(p, "bytes", 0)))
        return failed(call, dir);
    struct timespec wait = {.tv_sec = integer(p, "wait_ms", 0) / 1000,
                            .tv_nsec = integer(p, "wait_ms", 0) % 1000 * 1000000};
    while (nanosleep(&wait, &wait) != 0 && errno == EINTR)
        ;
    return number(call, integer(p, "bytes", 0));
}

/* ---- the plugin ---- */

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    host = given;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    struct parameters p = {parameters, len};
    if (strcmp(action, "errand") == 0)
        return errand(call, p);
    return strcmp(action, "probe") == 0 ? probe(call, p) : fill(call, p);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
