/* The certificates and the key that a connection string names, as its helper gets them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "broker/sql_server.h"

static const char *const names[SQL_FILES] = SQL_FILE_NAMES;

/* A certificate is no secret, but who can change it decides whom the host believes; the key is one. */
static int check_owner(enum sql_file which, const char *path, const struct stat *st, struct error *err)
{
    if (!S_ISREG(st->st_mode))
        return error_set(err, MOAT_E_BAD_USAGE, "`%s`: %.400s is not a file", names[which], path);
    if (which == SQL_FILE_KEY && (st->st_uid != geteuid() || st->st_mode & 077))
        return error_set(err, MOAT_E_BAD_USAGE,
                         "`%s`: others may read or change %.400s, which is a secret: make it this user's own and "
                         "`chmod 600` it",
                         names[which], path);
    if ((st->st_uid != geteuid() && st->st_uid != 0) || st->st_mode & 022)
        return error_set(err, MOAT_E_BAD_USAGE,
                         "`%s`: others may change %.400s: make it this user's own, or root's, and `chmod go-w` it",
                         names[which], path);
    return 0;
}

/* What libpq would only find out when a plugin asks for something. */
static int check_text(enum sql_file which, const char *path, const char *text, size_t len, struct error *err)
{
    const char *is = which == SQL_FILE_KEY ? "PRIVATE KEY-----" : "CERTIFICATE-----";
    if (!memmem(text, len, "-----BEGIN ", 11) || !memmem(text, len, is, strlen(is)))
        return error_set(err, MOAT_E_BAD_USAGE, "`%s`: %.400s has no %s in PEM form", names[which], path,
                         which == SQL_FILE_KEY ? "private key" : "certificate");
    if (which == SQL_FILE_KEY && memmem(text, len, "ENCRYPTED", 9))
        return error_set(err, MOAT_E_BAD_USAGE,
                         "`%s`: %.400s is encrypted, and nobody is there to be asked for its password: write it "
                         "without one (`openssl pkey -in … -out …`)",
                         names[which], path);
    return 0;
}

/* The path is the operator's own words, and may lead over links (as certificates' paths often do); what was opened is
 * what is looked at. */
static int read_file(enum sql_file which, const char *path, char *room, uint32_t *len, struct error *err)
{
    struct stat st;
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, errno == ENOENT ? MOAT_E_NO_SUCH_FILE : MOAT_E_BAD_USAGE, errno,
                           "`%s`: cannot read %.400s", names[which], path);
    int rc = check_owner(which, path, &st, err);
    if (rc < 0)
        return rc;
    ssize_t n = io_read_full(fd, room, SQL_FILE_MAX + 1);
    if (n < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "`%s`: cannot read %.400s", names[which], path);
    *len = (uint32_t)n;
    if (n > SQL_FILE_MAX)
        return error_set(err, MOAT_E_BAD_USAGE, "`%s`: %.400s has more than %u KiB", names[which], path,
                         SQL_FILE_MAX / 1024);
    return check_text(which, path, room, (size_t)n, err);
}

static int read_all(const struct sql_server *s, char *room, size_t *used, uint32_t lengths[SQL_FILES],
                    struct error *err)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < SQL_FILES; i++) {
        lengths[i] = 0;
        if (s->files[i])
            rc = read_file((enum sql_file)i, s->files[i], room + *used, &lengths[i], err);
        *used += lengths[i];
    }
    return rc;
}

int sql_server_files(const struct sql_server *s, uint32_t lengths[SQL_FILES], int *fd, struct error *err)
{
    size_t used = 0;
    char *room = malloc(SQL_FILES * SQL_FILE_MAX + 1);
    *fd = -1;
    if (!room)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a server's certificates");
    int rc = read_all(s, room, &used, lengths, err);
    if (rc == 0 && used && (*fd = io_sealed("moat-certificates", room, used)) < 0)
        rc = error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "no memory for a server's certificates");
    explicit_bzero(room, used);
    free(room);
    return rc;
}
