#include "orchestrator/spill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "json/json.h"

#define ITEMS ".items"

struct spill {
    int dir;
    uint64_t above, most, total; /* total: of the files that are there */
    char path[PATH_MAX];
};

/* ---- its life ---- */

int spill_open(const char *dir, uint64_t above, uint64_t most, struct spill **out, struct error *err)
{
    struct spill *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the results on disk");
    s->above = above;
    s->most = most;
    s->dir = -1;
    int rc = (size_t)snprintf(s->path, sizeof s->path, "%s/results", dir) < sizeof s->path
                 ? io_mkdirs(s->path, 0700, err)
                 : error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", dir);
    if (rc == 0 && (s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        rc = error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot open %s", s->path);
    if (rc == 0)
        *out = s;
    else
        spill_close(s);
    return rc;
}

void spill_close(struct spill *s)
{
    if (!s)
        return;
    io_close(&s->dir);
    free(s);
}

bool spill_wants(const struct spill *s, size_t len)
{
    return s && len > s->above;
}

/* ---- all files of one task ---- */

static DIR *open_task(const struct spill *s, const char *task)
{
    int fd = openat(s->dir, task, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !d)
        close(fd);
    return d;
}

static uint64_t size_of(DIR *d, const char *name)
{
    struct stat st;
    return fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

/* Their bytes; with remove, they are gone behind it. */
static uint64_t each_file(const struct spill *s, const char *task, bool remove)
{
    uint64_t sum = 0;
    DIR *d = open_task(s, task);
    for (struct dirent *e; d && (e = readdir(d));) {
        uint64_t size = size_of(d, e->d_name);
        if (!remove || unlinkat(dirfd(d), e->d_name, 0) == 0)
            sum += size;
    }
    if (d)
        closedir(d);
    return sum;
}

void spill_drop(struct spill *s, const char *task)
{
    uint64_t gone = each_file(s, task, true);
    s->total -= gone < s->total ? gone : s->total;
    unlinkat(s->dir, task, AT_REMOVEDIR);
}

int spill_sweep(struct spill *s, bool (*keep)(void *context, const char *task), void *context, struct error *err)
{
    int fd = fcntl(s->dir, F_DUPFD_CLOEXEC, 3);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        int errnum = errno;
        io_close(&fd);
        return error_errno(err, MOAT_E_STORAGE_FAILED, errnum, "cannot read %s", s->path);
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (*e->d_name == '.')
            continue;
        if (keep(context, e->d_name))
            s->total += each_file(s, e->d_name, false);
        else
            spill_drop(s, e->d_name);
    }
    closedir(d);
    return 0;
}

/* ---- one file ---- */

/* Tells damage from what was written, not a forger: the files are the operator's alone. */
static uint64_t sum_of(const uint8_t *bytes, size_t len)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ len, w;
    for (; len >= sizeof w; bytes += sizeof w, len -= sizeof w) {
        memcpy(&w, bytes, sizeof w);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    w = 0;
    memcpy(&w, bytes, len);
    h = (h ^ w) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 29;
}

struct place_of {
    char name[64];
};

static struct place_of name_of(const char *task, uint32_t step, const char *suffix)
{
    struct place_of p;
    snprintf(p.name, sizeof p.name, "%.40s/%u%s", task, step, suffix);
    return p;
}

static int fits(const struct spill *s, size_t len, struct error *err)
{
    if (len <= s->most && s->total <= s->most - len)
        return 0;
    return error_set(err, MOAT_E_LIMIT,
                     "results of tasks have %llu bytes on disk; with this one's %zu it would be more than the "
                     "setting `tasks_results_max` allows",
                     (unsigned long long)s->total, len);
}

static int cannot_write(const struct spill *s, const char *name, int errnum, struct error *err)
{
    return error_errno(err, MOAT_E_STORAGE_FAILED, errnum, "cannot write the result %s/%s", s->path, name);
}

static int cannot_read(const struct spill *s, const char *name, int errnum, struct error *err)
{
    if (errnum == ENOMEM)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a result on disk");
    if (errnum != EBADMSG)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errnum, "cannot read the result %s/%s back", s->path, name);
    return error_set(err, MOAT_E_STORAGE_FAILED, "the result %s/%s is damaged: it is not what was written", s->path,
                     name);
}

/* Behind what is there already. errno, or 0: then *at is where it begins. */
static int write_file(const struct spill *s, const char *task, const char *name, const void *bytes, size_t len,
                      uint64_t *at)
{
    struct stat st;
    if (mkdirat(s->dir, task, 0700) < 0 && errno != EEXIST)
        return errno;
    int fd = openat(s->dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return errno;
    int errnum = fstat(fd, &st) < 0 ? errno : S_ISREG(st.st_mode) ? 0 : EBADMSG;
    if (!errnum && !io_write_all(fd, bytes, len)) {
        errnum = errno;
        if (ftruncate(fd, st.st_size) < 0)
            errnum = errno;
    }
    close(fd);
    if (!errnum)
        *at = (uint64_t)st.st_size;
    return errnum;
}

static void remove_file(struct spill *s, const char *name)
{
    struct stat st;
    if (fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && unlinkat(s->dir, name, 0) == 0)
        s->total -= (uint64_t)st.st_size < s->total ? (uint64_t)st.st_size : s->total;
}

int spill_write(struct spill *s, const char *task, uint32_t step, const void *bytes, size_t len, uint64_t *sum,
                struct error *err)
{
    struct place_of p = name_of(task, step, "");
    uint64_t at;
    remove_file(s, p.name); /* what a killed host left there, and no record speaks of */
    int rc = fits(s, len, err);
    int errnum = rc == 0 ? write_file(s, task, p.name, bytes, len, &at) : 0;
    if (errnum) {
        unlinkat(s->dir, p.name, 0);
        return cannot_write(s, p.name, errnum, err);
    }
    if (rc < 0)
        return rc;
    s->total += len;
    *sum = sum_of(bytes, len);
    return 0;
}

/* The length is looked at before memory is asked for: it comes from a record, which may be damaged as well. */
static int read_file(const struct spill *s, const char *name, size_t len, uint8_t **out)
{
    struct stat st;
    fd_auto fd = openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != len)
        return EBADMSG;
    uint8_t *bytes = malloc(len + JSON_PAD);
    if (!bytes)
        return ENOMEM;
    ssize_t n = io_read_full(fd, bytes, len);
    int errnum = n < 0 ? errno : (size_t)n == len ? 0 : EBADMSG;
    if (errnum)
        free(bytes);
    else
        *out = bytes;
    return errnum;
}

/* Who reads it without looking may: that it is JSON is looked at again, whatever the sum says. */
static bool is_whole(uint8_t *bytes, size_t len, uint64_t sum)
{
    if (sum_of(bytes, len) != sum)
        return false;
    memset(bytes + len, 0, JSON_PAD);
    bool good = json_valid(bytes, len);
    memset(bytes + len, 0, JSON_PAD);
    return good;
}

int spill_read(struct spill *s, const char *task, uint32_t step, size_t len, uint64_t sum, uint8_t **out,
               struct error *err)
{
    struct place_of p = name_of(task, step, "");
    uint8_t *bytes = NULL;
    int errnum = read_file(s, p.name, len, &bytes);
    if (!errnum && (!bytes || !is_whole(bytes, len, sum))) {
        free(bytes);
        errnum = EBADMSG;
    }
    if (errnum)
        return cannot_read(s, p.name, errnum, err);
    *out = bytes;
    return 0;
}

/* ---- the items of a step, one behind the other ---- */

int spill_add_item(struct spill *s, const char *task, uint32_t step, const void *bytes, size_t len,
                   struct spill_item *out, struct error *err)
{
    struct place_of p = name_of(task, step, ITEMS);
    uint64_t at;
    int rc = fits(s, len, err);
    int errnum = rc == 0 ? write_file(s, task, p.name, bytes, len, &at) : 0;
    if (errnum)
        return cannot_write(s, p.name, errnum, err);
    if (rc < 0)
        return rc;
    s->total += len;
    *out = (struct spill_item){at, sum_of(bytes, len)};
    return 0;
}

int spill_read_item(struct spill *s, const char *task, uint32_t step, const struct spill_item *item, void *room,
                    size_t len, struct error *err)
{
    struct place_of p = name_of(task, step, ITEMS);
    fd_auto fd = openat(s->dir, p.name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || lseek(fd, (off_t)item->at, SEEK_SET) < 0)
        return cannot_read(s, p.name, errno, err);
    ssize_t n = io_read_full(fd, room, len);
    int errnum = n < 0 ? errno : (size_t)n == len && sum_of(room, len) == item->sum ? 0 : EBADMSG;
    return errnum ? cannot_read(s, p.name, errnum, err) : 0;
}

void spill_drop_items(struct spill *s, const char *task, uint32_t step)
{
    struct place_of p = name_of(task, step, ITEMS);
    remove_file(s, p.name);
}
