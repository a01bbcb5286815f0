#include "broker/sql_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "broker/sql_server.h"
#include "wire/seat.h"

_Static_assert(SQL_SOURCE_MAX == SEAT_SOURCE_MAX, "a name fits a seat");

#define STRINGS_MAX (3 * SQL_STRING_MAX)

/* The path was resolved when the source was added; what has become a link since then is not what was meant. */
static int open_plain(const char *path, int flags, mode_t mode)
{
    struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                           .mode = flags & O_CREAT ? mode : 0,
                           .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

static int cannot(const char *what, const char *path, struct error *err)
{
    enum moat_code code = errno == ENOENT ? MOAT_E_NO_SUCH_FILE : MOAT_E_STORAGE_FAILED;
    return error_errno(err, code, errno, "cannot %s %.400s", what, path);
}

/* ---- sqlite ---- */

static int make_directory(const char *path, struct error *err)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (!slash)
        return error_set(err, MOAT_E_INTERNAL, "%.400s is no path", path);
    *slash = '\0';
    return io_mkdirs(directory, 0700, err);
}

static int add(struct sql_opening *o, const char *path, int flags, mode_t mode, struct error *err)
{
    int fd = open_plain(path, flags, mode);
    if (fd < 0)
        return cannot("open the database", path, err);
    o->fds[o->nfds++] = fd;
    return fd;
}

/* It has to be there before a helper can have it. Whoever uses the database beside Moat may have to put back what
 * stands in it: it belongs to whom the database belongs to. */
static int add_journal(struct sql_opening *o, const char *path, const struct stat *database, int flags,
                       struct error *err)
{
    int made = open_plain(path, O_RDWR | O_CREAT | O_EXCL, database->st_mode & 0666);
    if (made >= 0) {
        struct stat st;
        bool owned = fstat(made, &st) == 0 && ((st.st_uid == database->st_uid && st.st_gid == database->st_gid) ||
                                               fchown(made, database->st_uid, database->st_gid) == 0);
        bool ok = owned && fchmod(made, database->st_mode & 0666) == 0;
        int e = errno;
        io_close(&made);
        errno = e;
        if (!ok) {
            unlink(path);
            return cannot("set up the journal", path, err);
        }
    } else if (errno != EEXIST) {
        return cannot("make the journal", path, err);
    }
    return add(o, path, flags, 0, err);
}

static int open_sqlite(const struct sql_source *s, struct sql_opening *o, struct error *err)
{
    char journal[PATH_MAX];
    struct stat st, left;
    bool write = o->user.write;
    int rc = s->own ? make_directory(s->place, err) : 0;
    if (rc < 0)
        return rc;
    if ((size_t)snprintf(journal, sizeof journal, "%s-journal", s->place) >= sizeof journal)
        return error_set(err, MOAT_E_BAD_USAGE, "the path of the source %s is too long", s->name);
    /* Who may only read an own database that was never written finds an empty one. */
    int flags = write || s->own ? O_RDWR | O_CREAT : O_RDONLY;
    int fd = add(o, s->place, flags, 0600, err);
    if (fd < 0)
        return fd;
    if (!write && s->own) {
        io_close(&o->fds[--o->nfds]);
        if ((fd = add(o, s->place, O_RDONLY, 0, err)) < 0)
            return fd;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(err, MOAT_E_PERMISSION_DENIED, "%.400s is not a file", s->place);
    if ((rc = add_journal(o, journal, &st, write ? O_RDWR : O_RDONLY, err)) < 0)
        return rc;
    if (write || fstat(rc, &left) < 0 || left.st_size == 0)
        return 0;
    rc = add(o, s->place, O_RDWR, 0, err);
    return rc < 0 ? rc : (rc = add(o, journal, O_RDWR, 0, err)) < 0 ? rc : 0;
}

/* ---- postgres ---- */

static char *trimmed(char *line)
{
    line += strspn(line, " \t\r");
    size_t len = strlen(line);
    while (len && strchr(" \t\r", line[len - 1]))
        line[--len] = '\0';
    return line;
}

/* What stands behind the word and a space, or NULL. */
static char *behind(char *line, const char *word)
{
    size_t len = strlen(word);
    return strncmp(line, word, len) == 0 && (line[len] == ' ' || line[len] == '\t') ? trimmed(line + len) : NULL;
}

int sql_source_roles(char *text, struct sql_roles *out, struct error *err)
{
    char *rest = NULL;
    *out = (struct sql_roles){0};
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        line = trimmed(line);
        if (!*line || *line == '#')
            continue;
        char *reads = behind(line, "read"), *writes = behind(line, "write");
        const char **role = writes ? &out->write : &out->read;
        if (*role)
            return error_set(err, MOAT_E_BAD_USAGE, "there are two connection strings for %s: which one is meant?",
                             writes ? "writing" : "reading");
        *role = writes ? writes : reads ? reads : line;
    }
    return 0;
}

/* Of what was opened. text is to be wiped, whatever comes of it. */
static int read_strings(int fd, const char *place, char text[STRINGS_MAX + 1], struct sql_roles *out, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return cannot("read the connection string in", place, err);
    if (!S_ISREG(st.st_mode))
        return error_set(err, MOAT_E_BAD_USAGE, "%.400s is not a file with a connection string", place);
    if (st.st_uid != geteuid() || st.st_mode & 077)
        return error_set(err, MOAT_E_BAD_USAGE,
                         "others may read or change %.400s, which can hold a password: make it this user's own and "
                         "`chmod 600` it",
                         place);
    ssize_t n = io_read_full(fd, text, STRINGS_MAX + 1);
    if (n < 0)
        return cannot("read the connection string in", place, err);
    if (n == 0 || n > STRINGS_MAX || memchr(text, '\0', (size_t)n))
        return error_set(err, MOAT_E_BAD_USAGE, "%.400s is not text of 1 to %d bytes, as connection strings are", place,
                         STRINGS_MAX);
    text[n] = '\0';
    return sql_source_roles(text, out, err);
}

/* The server that a string means, with what it names: nothing is left to be found out but by asking it. */
static int prepare(const char *string, struct sql_start *start, int *files, struct error *err)
{
    struct sql_server server;
    int rc = sql_server_read(string, &server, err);
    if (rc < 0)
        return rc;
    rc = sql_server_files(&server, start->files, files, err);
    if (rc == 0 && (rc = sql_server_start(&server, start, err)) < 0)
        io_close(files);
    sql_server_clear(&server);
    return rc;
}

static int check_role(const char *string, struct error *err)
{
    struct sql_start start = {0};
    int files = -1, rc = string ? prepare(string, &start, &files, err) : 0;
    io_close(&files);
    explicit_bzero(&start, sizeof start);
    return rc;
}

int sql_source_check(int fd, const char *place, struct error *err)
{
    char text[STRINGS_MAX + 1];
    struct sql_roles roles = {0};
    int rc = read_strings(fd, place, text, &roles, err);
    if (rc == 0 && !roles.read && !roles.write)
        rc = error_set(err, MOAT_E_BAD_USAGE, "there is no connection string in %.400s", place);
    if (rc == 0)
        rc = check_role(roles.read, err);
    if (rc == 0)
        rc = check_role(roles.write, err);
    explicit_bzero(text, sizeof text);
    return rc;
}

static int open_role(const struct sql_source *s, const struct sql_roles *roles, struct sql_opening *o,
                     struct error *err)
{
    int files = -1;
    const char *string = o->user.write ? roles->write : roles->read;
    if (!string)
        return error_set(err, MOAT_E_PERMISSION_DENIED,
                         "the source %s has no role for %s: a line `%s STRING` in %.400s gives it one", s->name,
                         o->user.write ? "writing" : "reading", o->user.write ? "write" : "read", s->place);
    int rc = prepare(string, &o->start, &files, err);
    if (files >= 0)
        o->fds[o->nfds++] = files;
    return rc;
}

/* What was right when the source was added may have been changed since: a plugin did nothing wrong then. */
static int open_postgres(const struct sql_source *s, struct sql_opening *o, struct error *err)
{
    char text[STRINGS_MAX + 1];
    struct sql_roles roles = {0};
    fd_auto fd = open_plain(s->place, O_RDONLY, 0);
    if (fd < 0)
        return cannot("read the connection string in", s->place, err);
    int rc = read_strings(fd, s->place, text, &roles, err);
    if (rc == 0)
        rc = open_role(s, &roles, o, err);
    explicit_bzero(text, sizeof text);
    if (rc == -MOAT_E_BAD_USAGE && err) {
        err->code = MOAT_E_CONNECT_FAILED;
        error_prefix(err, "the source %s", s->name);
    }
    return rc == -MOAT_E_BAD_USAGE ? -MOAT_E_CONNECT_FAILED : rc;
}

int sql_source_open(const struct sql_source *s, struct sql_opening *o, struct error *err)
{
    o->start.kind = s->kind;
    o->start.database_max = s->database_max;
    o->start.options_len = 0;
    o->nfds = 0;
    int rc = s->kind == SQL_SQLITE ? open_sqlite(s, o, err) : open_postgres(s, o, err);
    if (rc < 0)
        sql_source_close(o);
    return rc;
}

void sql_source_close(struct sql_opening *o)
{
    while (o->nfds)
        io_close(&o->fds[--o->nfds]);
    explicit_bzero(o->start.options, sizeof o->start.options);
}
