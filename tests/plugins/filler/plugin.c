/* filler: fills a directory, in every way that a bound on it has to see; for the tests of quotas. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <moat/plugin.h>

#include "../../../plugins/common/request.h"

#define BLOCK 65536

static const struct moat_host *host;
static char block[BLOCK];

struct fill {
    char dir[2000], from[2000], how[32];
    long long bytes, wait;
    long long done; /* bytes */
};

static bool integer(const char *text, size_t len, const char *name, long long *out)
{
    struct slice value;
    return request_find(text, len, name, &value) && request_integer(value, out);
}

static void word(const char *text, size_t len, const char *name, char *out, size_t size)
{
    struct slice value;
    if (!request_find(text, len, name, &value) || !request_text(value, out, size))
        out[0] = '\0';
}

static void pause_for(long long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

/* ---- ways ---- */

static int file(const struct fill *f, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static bool grow(struct fill *f, int fd, long long bytes)
{
    for (long long n = 0; n < bytes; n += BLOCK) {
        ssize_t put = write(fd, block, bytes - n < BLOCK ? (size_t)(bytes - n) : BLOCK);
        if (put <= 0)
            return false;
        f->done += put;
    }
    return true;
}

static bool one(struct fill *f)
{
    int fd = file(f, "one");
    bool good = fd >= 0 && grow(f, fd, f->bytes);
    close(fd);
    return good;
}

/* size 0: inodes alone. */
static bool files_of(struct fill *f, long long size, long long count)
{
    char name[32];
    for (long long i = 0; i < count; i++) {
        snprintf(name, sizeof name, "f%lld", i);
        int fd = file(f, name);
        bool good = fd >= 0 && grow(f, fd, size);
        close(fd);
        if (!good)
            return false;
    }
    return true;
}

static bool many(struct fill *f)
{
    return files_of(f, 1000, f->bytes / 4096);
}

/* As fast as it can. */
static bool large(struct fill *f)
{
    return files_of(f, 8 << 20, f->bytes / (8 << 20));
}

static bool empty(struct fill *f)
{
    return files_of(f, 0, f->bytes / 512);
}

/* Long, and almost nothing in it. */
static bool sparse(struct fill *f)
{
    int fd = file(f, "sparse");
    bool good = fd >= 0 && ftruncate(fd, f->bytes) == 0 && pwrite(fd, block, 1, f->bytes / 2) == 1;
    close(fd);
    f->done = f->bytes;
    return good;
}

/* The same bytes again and again. */
static bool rewrite(struct fill *f)
{
    for (long long n = 0; n < f->bytes; n += BLOCK) {
        int fd = file(f, "again");
        bool good = fd >= 0 && ftruncate(fd, 0) == 0 && write(fd, block, BLOCK) == BLOCK;
        close(fd);
        if (!good)
            return false;
        f->done += BLOCK;
    }
    return true;
}

/* One file, many names. */
static bool links(struct fill *f)
{
    char from[4096], to[4096];
    int fd = file(f, "linked");
    bool good = fd >= 0 && grow(f, fd, BLOCK);
    close(fd);
    snprintf(from, sizeof from, "%s/linked", f->dir);
    for (long long i = 1; good && i * BLOCK < f->bytes; i++) {
        snprintf(to, sizeof to, "%s/name%lld", f->dir, i);
        good = link(from, to) == 0;
    }
    return good;
}

/* From another granted place. */
static bool moved(struct fill *f)
{
    char from[4096], to[4096];
    snprintf(from, sizeof from, "%s/one", f->from);
    snprintf(to, sizeof to, "%s/one", f->dir);
    return rename(from, to) == 0;
}

/* Without a name, held by descriptors or by mappings. */
static bool nameless(struct fill *f, bool mapped)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/nameless", f->dir);
    for (long long n = 0; n < f->bytes; n += 4 * BLOCK) {
        int fd = file(f, "nameless");
        if (fd < 0 || !grow(f, fd, 4 * BLOCK) || unlink(path) < 0)
            return false;
        if (!mapped)
            continue;
        if (mmap(NULL, 4 * BLOCK, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
            return false;
        close(fd);
    }
    return true;
}

static bool deleted(struct fill *f)
{
    return nameless(f, false);
}

static bool unmapped(struct fill *f)
{
    return nameless(f, true);
}

/* A file that grows by being touched. */
static bool mapping(struct fill *f)
{
    int fd = file(f, "mapped");
    if (fd < 0 || ftruncate(fd, f->bytes) < 0)
        return false;
    char *at = mmap(NULL, (size_t)f->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return false;
    for (long long n = 0; n < f->bytes; n += 4096)
        at[n] = 1;
    f->done = f->bytes;
    return munmap(at, (size_t)f->bytes) == 0;
}

/* One in the other, as deep as bytes say. */
static bool deep(struct fill *f)
{
    if (chdir(f->dir) < 0)
        return false;
    for (long long i = 0; i < f->bytes; i++)
        if (mkdir("d", 0700) < 0 || chdir("d") < 0)
            return false;
    return chdir("/") == 0;
}

/* What nobody may look into. */
static bool closed(struct fill *f)
{
    char path[4096];
    struct fill in = *f;
    snprintf(path, sizeof path, "%s/closed", f->dir);
    snprintf(in.dir, sizeof in.dir, "%.1990s/closed", f->dir);
    return mkdir(path, 0700) == 0 && one(&in) && chmod(path, 0) == 0;
}

/* Long after the call, when nobody looks for its sake any more. */
static struct fill afterwards;

static void *write_later(void *context)
{
    pause_for(12000);
    one(&afterwards);
    for (volatile long long n = 0; n < 30000000; n++)
        ;
    return NULL;
}

static bool later(struct fill *f)
{
    pthread_t thread;
    afterwards = *f;
    return pthread_create(&thread, NULL, write_later, NULL) == 0 && pthread_detach(thread) == 0;
}

/* So slowly that hardly any time of a processor is used. */
static void *drip_later(void *context)
{
    for (long long n = 0; n < afterwards.bytes; n += 2 * BLOCK) {
        int fd = file(&afterwards, "dripped");
        lseek(fd, 0, SEEK_END);
        grow(&afterwards, fd, 2 * BLOCK);
        close(fd);
        pause_for(1000);
    }
    return NULL;
}

static bool drip(struct fill *f)
{
    pthread_t thread;
    afterwards = *f;
    return pthread_create(&thread, NULL, drip_later, NULL) == 0 && pthread_detach(thread) == 0;
}

static const struct way {
    const char *name;
    bool (*run)(struct fill *f);
} ways[] = {
    {"closed", closed}, {"deep", deep},   {"deleted", deleted}, {"drip", drip},     {"empty", empty},
    {"large", large},   {"later", later}, {"links", links},     {"many", many},     {"mapping", mapping},
    {"moved", moved},   {"one", one},     {"rewrite", rewrite}, {"sparse", sparse}, {"unmapped", unmapped},
};

/* ---- the plugin ---- */

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    host = given;
    memset(block, 'x', sizeof block);
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    static struct fill f;
    char reply[64];
    f = (struct fill){.wait = 0};
    word(parameters, len, "dir", f.dir, sizeof f.dir);
    word(parameters, len, "from", f.from, sizeof f.from);
    word(parameters, len, "how", f.how, sizeof f.how);
    integer(parameters, len, "bytes", &f.bytes);
    integer(parameters, len, "wait", &f.wait);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(ways[i].name, f.how) != 0)
            continue;
        if (!ways[i].run(&f))
            return host->fail(call, "cannot", strerrorname_np(errno));
        pause_for(f.wait);
        int n = snprintf(reply, sizeof reply, "%lld", f.done);
        return host->answer(call, reply, (size_t)n);
    }
    return host->fail(call, "no_such_way", f.how);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
