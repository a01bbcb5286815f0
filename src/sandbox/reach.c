#include "sandbox/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/io.h"
#include "sandbox/posture_text.h"
#include "sandbox/weigh.h"

#define MOUNTINFO_MAX (16 * 1024 * 1024)
#define ROOTS_MAX (1024 * 1024)

/* Where something that may be written begins: the place itself, or what is mounted in it. */
struct root {
    uint64_t dev, ino;
    const struct wall_grant *place;
};

/* ---- places that are mounted twice ---- */

static bool lies_below(const char *path, const char *place)
{
    size_t n = strlen(place);
    return strncmp(path, place, n) == 0 && path[n] == '/';
}

/* What cannot be looked at from here cannot be from the worker. */
static void add_mount(struct buf *roots, const struct wall_grant *place, const char *point)
{
    struct stat st;
    if (fstatat(AT_FDCWD, point, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
        return;
    struct root r = {.dev = st.st_dev, .ino = st.st_ino, .place = place};
    buf_put(roots, &r, sizeof r);
}

/* id parent major:minor root POINT … */
static bool mount_point(const char *line, size_t len, char out[PATH_MAX])
{
    const char *end = line + len;
    for (int field = 0; field < 4; field++) {
        const char *space = memchr(line, ' ', (size_t)(end - line));
        if (!space)
            return false;
        line = space + 1;
    }
    const char *space = memchr(line, ' ', (size_t)(end - line));
    return space && posture_unescape(out, PATH_MAX, line, (size_t)(space - line));
}

static int add_roots(struct buf *roots, const struct wall_grant *grants, size_t ngrants, struct error *err)
{
    char point[PATH_MAX];
    buf_auto mounts = BUF_INIT(MOUNTINFO_MAX);
    int rc = io_read_file("/proc/self/mountinfo", &mounts, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ngrants; i++) {
        struct root r = {.dev = grants[i].dev, .ino = grants[i].ino, .place = &grants[i]};
        if (!grants[i].writable)
            continue;
        buf_put(roots, &r, sizeof r);
        for (const char *line = buf_text(&mounts); *line; line += strcspn(line, "\n"), line += *line == '\n')
            if (mount_point(line, strcspn(line, "\n"), point) && lies_below(point, grants[i].path))
                add_mount(roots, &grants[i], point);
    }
    return roots->failed ? error_set(err, MOAT_E_OUT_OF_MEMORY, "too many mounts in the granted places") : 0;
}

static const struct wall_grant *root_of(const struct buf *roots, const struct stat *st)
{
    const struct root *r = (const struct root *)(const void *)roots->data;
    for (size_t i = 0; i < roots->len / sizeof *r; i++)
        if (r[i].dev == st->st_dev && r[i].ino == st->st_ino)
            return r[i].place;
    return NULL;
}

/* The file and each directory above it. linked: becomes true for a file with more than one name. */
static int above(const struct buf *roots, const struct wall_program *p, struct reached *out, bool *linked,
                 struct error *err)
{
    char path[WALL_PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s", p->file.path);
    for (bool file = true;; file = false) {
        if (fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return error_errno(err, MOAT_E_START_FAILED, errno, "%s cannot be looked at", path);
        *linked |= file && st.st_nlink > 1;
        const struct wall_grant *place = root_of(roots, &st);
        if (place) {
            *out = (struct reached){.program = p, .place = place, .file = file};
            return 1;
        }
        if (!path[1])
            return 0;
        char *slash = strrchr(path, '/');
        slash[slash == path] = '\0';
    }
}

/* ---- together ---- */

static int find_links(const struct wall_grant *grants, size_t ngrants, const struct wall_program *programs,
                      size_t nprograms, struct reached *out, struct error *err)
{
    for (size_t i = 0; i < ngrants; i++) {
        size_t found;
        if (!grants[i].writable || !grants[i].directory)
            continue;
        int rc = weigh_find(&grants[i], programs, nprograms, &found, err);
        if (rc < 0)
            return rc;
        if (found < nprograms) {
            *out = (struct reached){.program = &programs[found], .place = &grants[i], .file = true};
            return 1;
        }
    }
    return 0;
}

/* Else there is nothing to look for: most plugins start without a look at the machine's mounts. */
static bool has_both(const struct wall_grant *grants, size_t ngrants, const struct wall_program *programs,
                     size_t nprograms)
{
    bool written = false, run = false;
    for (size_t i = 0; i < ngrants; i++)
        written |= grants[i].writable;
    for (size_t i = 0; i < nprograms; i++)
        run |= !programs[i].shipped;
    return written && run;
}

int reach_writable(const struct wall_grant *grants, size_t ngrants, const struct wall_program *programs,
                   size_t nprograms, struct reached *out, struct error *err)
{
    buf_auto roots = BUF_INIT(ROOTS_MAX);
    bool linked = false;
    int rc = has_both(grants, ngrants, programs, nprograms) ? add_roots(&roots, grants, ngrants, err) : 0;
    for (size_t i = 0; rc == 0 && roots.len && i < nprograms; i++)
        if (!programs[i].shipped)
            rc = above(&roots, &programs[i], out, &linked, err);
    /* Places are walked through only for files that have more than one name: few do. */
    return rc == 0 && linked ? find_links(grants, ngrants, programs, nprograms, out, err) : rc;
}
