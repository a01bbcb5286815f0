#include "sandbox/weigh.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/kernel.h"

/* Files with several names, which count once. Open addressing; half of it is always free. */
struct seen {
    struct inode {
        uint64_t dev, ino;
    } * rows;
    size_t used, size;
};

struct walk {
    DIR *open[WEIGH_DEPTH];
    size_t depth;
    struct seen seen;
    uint64_t bytes, enough, entries;
    const _Atomic bool *stop;
    const struct wall_program *wanted; /* one of these is looked for … */
    size_t nwanted, found;             /* … and the walk ends with it; nwanted: none has been met */
    const char *place;                 /* for errors */
    struct error *err;
};

/* ---- files with several names ---- */

static size_t seat_of(const struct seen *s, const struct inode *i)
{
    size_t at = (size_t)((i->ino ^ i->dev << 32) * 0x9e3779b97f4a7c15ull >> 20) & (s->size - 1);
    while (s->rows[at].ino && (s->rows[at].ino != i->ino || s->rows[at].dev != i->dev))
        at = (at + 1) & (s->size - 1);
    return at;
}

static bool grow(struct seen *s)
{
    struct seen larger = {.size = s->size ? 2 * s->size : 256, .used = s->used};
    larger.rows = calloc(larger.size, sizeof *larger.rows);
    if (!larger.rows)
        return false;
    for (size_t i = 0; i < s->size; i++)
        if (s->rows[i].ino)
            larger.rows[seat_of(&larger, &s->rows[i])] = s->rows[i];
    free(s->rows);
    *s = larger;
    return true;
}

/* Without memory it counts again: more, never less. */
static bool is_new(struct seen *s, const struct stat *st)
{
    struct inode i = {st->st_dev, st->st_ino};
    if (!i.ino || (2 * s->used >= s->size && !grow(s)))
        return true;
    size_t at = seat_of(s, &i);
    if (s->rows[at].ino)
        return false;
    s->rows[at] = i;
    s->used++;
    return true;
}

/* ---- the walk ---- */

static int uncountable(struct walk *w, const char *why)
{
    return error_set(w->err, MOAT_E_LIMIT, "what lies in %s cannot be %s: %s", w->place,
                     w->wanted ? "looked through" : "counted", why);
}

static void count(struct walk *w, const struct stat *st)
{
    w->entries++;
    w->bytes += WEIGH_ENTRY;
    if (S_ISDIR(st->st_mode) || st->st_nlink < 2 || is_new(&w->seen, st))
        w->bytes += (uint64_t)st->st_blocks * 512;
}

static void compare(struct walk *w, const struct stat *st)
{
    for (size_t i = 0; i < w->nwanted && w->found == w->nwanted; i++) {
        const struct wall_program *p = &w->wanted[i];
        if (!p->shipped && p->file.dev == st->st_dev && p->file.ino == st->st_ino)
            w->found = i;
    }
}

/* Of the host's own user, or one that could be written: something may lie in it that is not seen. Another one's, closed
 * to the host, is closed to the worker as well. */
static bool is_hiding(int dir, const char *name, const struct stat *st)
{
    return st->st_uid == geteuid() || faccessat(dir, name, W_OK, AT_EACCESS) == 0;
}

static int enter(struct walk *w, int dir, const char *name, const struct stat *st)
{
    if (w->depth == WEIGH_DEPTH)
        return uncountable(w, "directories lie more than 200 deep in each other");
    fd_auto fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) /* it has just been changed */
        return 0;
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return is_hiding(dir, name, st) ? uncountable(w, "a directory in it cannot be read") : 0;
    DIR *open = fd < 0 ? NULL : fdopendir(fd);
    if (!open)
        return uncountable(w, strerror(errno));
    io_steal(&fd);
    w->open[w->depth++] = open;
    return 0;
}

/* What a directory names and does not let be looked at (it may be read, and not searched). Of the host's own user: its
 * owner, the worker, opens it again when it likes. */
static int unseen(struct walk *w, int dir)
{
    struct stat st;
    bool ours = fstat(dir, &st) < 0 || st.st_uid == geteuid();
    return ours ? uncountable(w, "a directory in it cannot be searched") : 0;
}

static int take(struct walk *w, int dir, const char *name)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
        return errno == ENOENT ? 0 : errno == EACCES ? unseen(w, dir) : uncountable(w, strerror(errno));
    count(w, &st);
    compare(w, &st);
    if (w->entries > WEIGH_ENTRIES)
        return uncountable(w, "there are more than 4000000 entries");
    return S_ISDIR(st.st_mode) ? enter(w, dir, name, &st) : 0;
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int walk(struct walk *w)
{
    int rc = 0;
    while (rc == 0 && w->depth && w->bytes <= w->enough && w->found == w->nwanted) {
        if (w->stop && atomic_load_explicit(w->stop, memory_order_relaxed))
            return error_set(w->err, MOAT_E_CANCELLED, "nobody wants to know any more");
        DIR *dir = w->open[w->depth - 1];
        const struct dirent *e = readdir(dir);
        if (!e)
            closedir(w->open[--w->depth]);
        else if (!is_dots(e->d_name))
            rc = take(w, dirfd(dir), e->d_name);
    }
    return rc;
}

/* ---- together ---- */

/* As it was granted: no link on the way, and the same file or directory. */
static int open_place(const struct wall_grant *place, struct stat *st)
{
    fd_auto fd = kernel_openat2(AT_FDCWD, place->path, O_PATH | O_CLOEXEC, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    if (fd < 0 || fstat(fd, st) < 0 || st->st_dev != place->dev || st->st_ino != place->ino)
        return -1;
    return io_steal(&fd);
}

static int walk_place(struct walk *w, const struct wall_grant *place)
{
    struct stat st;
    fd_auto fd = open_place(place, &st);
    if (fd < 0)
        return error_set(w->err, MOAT_E_NO_SUCH_FILE, "%s is not there any more, or is another one", place->path);
    w->place = place->path;
    count(w, &st);
    int rc = S_ISDIR(st.st_mode) ? enter(w, fd, ".", &st) : 0;
    if (rc == 0)
        rc = walk(w);
    while (w->depth)
        closedir(w->open[--w->depth]);
    free(w->seen.rows);
    return rc;
}

int weigh(const struct wall_grant *place, uint64_t enough, const _Atomic bool *stop, uint64_t *bytes, struct error *err)
{
    struct walk *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to count what lies in %s", place->path);
    *w = (struct walk){.enough = enough, .stop = stop, .err = err};
    int rc = walk_place(w, place);
    if (rc == 0)
        *bytes = w->bytes;
    free(w);
    return rc;
}

int weigh_find(const struct wall_grant *place, const struct wall_program *programs, size_t n, size_t *found,
               struct error *err)
{
    struct walk *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to look through %s", place->path);
    *w = (struct walk){.enough = UINT64_MAX, .wanted = programs, .nwanted = n, .found = n, .err = err};
    int rc = walk_place(w, place);
    if (rc == 0)
        *found = w->found;
    free(w);
    return rc;
}

/* ---- files without a name ---- */

/* Of a descriptor that is ours for this moment: closing it may be the end of a file, which may take time. */
static uint64_t weigh_descriptor(struct seen *seen, int pidfd, unsigned number, uint64_t dev)
{
    struct stat st;
    fd_auto fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink || st.st_dev != dev || !is_new(seen, &st))
        return 0;
    return (uint64_t)st.st_blocks * 512;
}

/* The file that is mapped, which only root may look at. */
static bool stat_mapping(pid_t pid, unsigned long long start, unsigned long long end, struct stat *st)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/map_files/%llx-%llx", (int)pid, start, end);
    return stat(path, st) == 0 && S_ISREG(st->st_mode);
}

/* "start-end rwxs offset major:minor inode path (deleted)": the file's blocks, or, where nobody shows us the file, as
 * much as is mapped of it. Counted once, and not again when a descriptor has it. */
static uint64_t weigh_mapping(struct seen *seen, pid_t pid, const char *line, uint64_t dev)
{
    unsigned long long start, end, ino;
    unsigned major, minor;
    struct stat st;
    size_t n = strcspn(line, "\n");
    if (n < 10 || memcmp(line + n - 10, " (deleted)", 10) != 0 ||
        sscanf(line, "%llx-%llx %*s %*s %x:%x %llu", &start, &end, &major, &minor, &ino) != 5 ||
        makedev(major, minor) != dev || end < start)
        return 0;
    if (stat_mapping(pid, start, end, &st))
        return !st.st_nlink && is_new(seen, &st) ? (uint64_t)st.st_blocks * 512 : 0;
    struct inode i = {dev, ino};
    return seen->size && seen->rows[seat_of(seen, &i)].ino ? 0 : end - start;
}

static uint64_t weigh_mappings(struct seen *seen, pid_t pid, uint64_t dev)
{
    char path[32], *line = NULL; /* as long as a name is, which is written with four letters for some of its bytes */
    size_t size = 0;
    uint64_t bytes = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (maps && getline(&line, &size, maps) > 0)
        bytes += weigh_mapping(seen, pid, line, dev);
    if (maps)
        fclose(maps);
    free(line);
    return bytes;
}

static bool same_namespace(pid_t a, pid_t b)
{
    char path[32], x[64] = "", y[64] = "";
    snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)a);
    bool known = readlink(path, x, sizeof x - 1) > 0;
    snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)b);
    return known && readlink(path, y, sizeof y - 1) > 0 && strcmp(x, y) == 0;
}

uint64_t weigh_nameless(const struct weigh_holder *list, size_t n, unsigned descriptors, uint64_t dev)
{
    struct seen seen = {0};
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        fd_auto opened = list[i].pidfd < 0 ? kernel_pidfd_open(list[i].pid) : -1;
        int pidfd = list[i].pidfd < 0 ? opened : list[i].pidfd;
        if (pidfd < 0 || (i && !same_namespace(list[0].pid, list[i].pid)))
            continue;
        for (unsigned k = 0; k < descriptors; k++)
            bytes += weigh_descriptor(&seen, pidfd, k, dev);
        bytes += weigh_mappings(&seen, list[i].pid, dev);
    }
    free(seen.rows);
    return bytes;
}

uint64_t weigh_free(const struct wall_grant *place)
{
    struct stat st;
    struct statfs fs;
    fd_auto fd = open_place(place, &st);
    return fd >= 0 && fstatfs(fd, &fs) == 0 ? (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize : 0;
}
