#include "service/programs_need.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "package/needs.h"
#include "service/programs.h"

/* Where the loader looks without its cache, which no worker sees. */
static const char *const directories[] = {
#if defined(__x86_64__)
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
#elif defined(__aarch64__)
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
#endif
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
};

struct search {
    struct spec *spec;
    const struct policy_answer *answer;
    struct needs needs; /* of the program that is looked at */
    char place[WALL_PATH_MAX];
    char missing[256];
    struct error *err;
};

/* ---- the file ---- */

/* Still the one that was resolved; for reading, because whoever reads it has no name for it. */
static int open_named(const struct wall_program *p, struct error *err)
{
    struct stat st;
    fd_auto fd = open(p->file.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, MOAT_E_START_FAILED, errno, "%s cannot be read, so what it needs is not known",
                           p->file.path);
    if (st.st_dev != p->file.dev || st.st_ino != p->file.ino)
        return error_set(err, MOAT_E_START_FAILED, "%s has just become another file: try again", p->file.path);
    return io_steal(&fd);
}

static int open_shipped(const struct spec *s, const struct wall_program *p, struct error *err)
{
    void *bytes = p->size ? mmap(NULL, p->size, PROT_READ, MAP_PRIVATE, s->assets, (off_t)p->offset) : MAP_FAILED;
    int fd = bytes == MAP_FAILED ? -1 : io_sealed("program", bytes, p->size);
    if (bytes != MAP_FAILED)
        munmap(bytes, p->size);
    return fd < 0 ? error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "%s cannot be looked at", p->place) : fd;
}

/* ---- finding ---- */

static bool has_place(const struct spec *s, const char *place)
{
    for (size_t i = 0; i < s->nprograms; i++)
        if (strcmp(s->programs[i].place, place) == 0)
            return true;
    return false;
}

/* One that is there by that name, wherever it was granted or shipped. */
static bool has_name(const struct spec *s, const char *name)
{
    for (size_t i = 0; i < s->nprograms; i++)
        if (strcmp(strrchr(s->programs[i].place, '/') + 1, name) == 0)
            return true;
    return false;
}

/* Textually, as it is in a tree without links. false: it leads out of the root, or does not fit. */
static bool collapse(const char *path, char out[WALL_PATH_MAX])
{
    size_t len = 0;
    while (*path) {
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        if (n == 2 && strncmp(path, "..", 2) == 0) {
            if (!len)
                return false;
            while (out[--len] != '/')
                ;
        } else if (n && !(n == 1 && *path == '.')) {
            if (len + n + 2 > WALL_PATH_MAX)
                return false;
            out[len++] = '/';
            memcpy(out + len, path, n);
            len += n;
        }
        path += n;
    }
    out[len] = '\0';
    return len > 0;
}

/* Which files a program asks for is said by its bytes, which may come with a package. They bring nothing but what the
 * system's directories of libraries hold for everybody to read; anything else is the operator's to grant. */
static bool is_for_everybody(const char *real)
{
    struct stat st;
    char directory[PATH_MAX];
    bool lies = false;
    for (size_t i = 0; i < sizeof directories / sizeof *directories && !lies; i++) {
        size_t n = realpath(directories[i], directory) ? strlen(directory) : 0;
        lies = n > 1 && strncmp(real, directory, n) == 0 && real[n] == '/';
    }
    return lies && stat(real, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & S_IROTH;
}

/* 1: it is there, or was added; 0: it is not to be had. */
static int add(struct search *s, const char *path)
{
    struct grant g = {.permission = PERMISSION_EXECUTE_CODE};
    char real[PATH_MAX];
    if (!collapse(path, g.scope))
        return 0;
    if (has_place(s->spec, g.scope))
        return 1;
    if (!realpath(g.scope, real) || !is_for_everybody(real))
        return 0;
    int rc = programs_add(s->spec, &g, s->answer, s->err);
    if (rc < 0)
        return rc;
    if (is_for_everybody(s->spec->programs[s->spec->nprograms - 1].file.path))
        return 1;
    s->spec->nprograms--; /* a link on the way has just been changed */
    return 0;
}

static bool is_shipped_place(const char *path)
{
    return strncmp(path, WALL_PACKAGE_PLACE "/", strlen(WALL_PACKAGE_PLACE "/")) == 0;
}

static int try_in(struct search *s, const char *directory, size_t len, const char *name)
{
    char path[2 * WALL_PATH_MAX], place[WALL_PATH_MAX];
    snprintf(path, sizeof path, "%.*s/%s", (int)(len < WALL_PATH_MAX ? len : 0), directory, name);
    return path[0] == '/' && collapse(path, place) && !is_shipped_place(place) ? add(s, place) : 0;
}

/* Directories that the program itself names, separated by colons; $ORIGIN is where it lies. */
static int try_paths(struct search *s, const char *paths, const char *name)
{
    int rc = 0;
    for (const char *p = paths; rc == 0 && *p; p += strcspn(p, ":"), p += *p == ':') {
        char directory[2 * WALL_PATH_MAX];
        size_t n = strcspn(p, ":"), sign = strncmp(p, "$ORIGIN", 7) == 0 ? 7 : strncmp(p, "${ORIGIN}", 9) == 0 ? 9 : 0;
        int origin = sign ? (int)(strrchr(s->place, '/') - s->place) : 0;
        int len = snprintf(directory, sizeof directory, "%.*s%.*s", origin, s->place, (int)(n - sign), p + sign);
        rc = try_in(s, directory, (size_t)len, name);
    }
    return rc;
}

static void note_missing(struct search *s, const char *name)
{
    size_t used = strlen(s->missing);
    snprintf(s->missing + used, sizeof s->missing - used, "%s%s", used ? ", " : "", name);
}

/* By its whole path: the loader, and some libraries. */
static int find_at(struct search *s, const char *path)
{
    int rc = *path == '/' ? add(s, path) : 0;
    if (rc == 0)
        note_missing(s, path);
    return rc < 0 ? rc : 0;
}

static int find_library(struct search *s, const char *name)
{
    if (strchr(name, '/'))
        return find_at(s, name);
    if (has_name(s->spec, name))
        return 0;
    int rc = 0;
    for (size_t i = 0; i < s->needs.count && rc == 0; i++)
        if (s->needs.list[i].type == NEEDS_PATH)
            rc = try_paths(s, s->needs.list[i].text, name);
    for (size_t i = 0; i < sizeof directories / sizeof *directories && rc == 0; i++)
        rc = try_in(s, directories[i], strlen(directories[i]), name);
    if (rc == 0)
        note_missing(s, name);
    return rc < 0 ? rc : 0;
}

/* ---- together ---- */

static int is_script_of(struct search *s, const char *interpreter)
{
    if (has_place(s->spec, interpreter))
        return 0;
    char command[POLICY_COMMAND_MAX]; /* the script's own words stand in it */
    if (!policy_command(s->spec->manifest->name, PERMISSION_EXECUTE_CODE, interpreter, command))
        return error_set(s->err, MOAT_E_START_FAILED, "%.200s is a script of %.200s, which nobody can grant", s->place,
                         interpreter);
    return error_set(s->err, MOAT_E_START_FAILED, "%.200s is a script of %.200s, which is a program of its own: `%s`",
                     s->place, interpreter, command);
}

static int look(struct search *s, struct spawner *spawner, size_t i)
{
    const struct wall_program *p = &s->spec->programs[i];
    snprintf(s->place, sizeof s->place, "%s", p->place);
    int rc = p->shipped ? open_shipped(s->spec, p, s->err) : open_named(p, s->err);
    if (rc < 0)
        return rc;
    fd_auto fd = rc;
    rc = needs_of(spawner, fd, &s->needs, s->err);
    if (rc == 0 && s->needs.strange)
        return error_set(s->err, MOAT_E_START_FAILED, "%s is neither a program for this machine nor a script",
                         s->place);
    for (size_t k = 0; k < s->needs.count && rc == 0; k++) {
        const char *text = s->needs.list[k].text;
        enum needs_type type = s->needs.list[k].type;
        rc = type == NEEDS_SCRIPT    ? is_script_of(s, text)
             : type == NEEDS_LOADER  ? find_at(s, text)
             : type == NEEDS_LIBRARY ? find_library(s, text)
                                     : 0;
    }
    if (rc == 0 && s->missing[0])
        rc = error_set(
            s->err, MOAT_E_START_FAILED,
            "%s needs %s, which the system's directories of libraries do not have for everybody: grant each as "
            "execute_code=PATH",
            s->place, s->missing);
    return rc;
}

int programs_need(struct spec *spec, const struct policy_answer *a, struct spawner *spawner, struct error *err)
{
    struct search s = {.spec = spec, .answer = a, .err = err};
    int rc = 0;
    for (size_t i = 0; i < spec->nprograms && rc == 0; i++) /* what is added is looked at as well */
        rc = look(&s, spawner, i);
    return rc;
}
