/* A backup: one file, of one moment, that says the hash of everything in it (docs/backup.md).
 *
 * It is written beside its name, synced, and given the name only when it is whole; never over another file. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "registry/archive.h"
#include "registry/files.h"
#include "registry/internal.h"
#include "registry/tar.h"

struct backup {
    struct registry_reader *reader;
    const char *dir; /* of the registry */
    struct db copy;  /* the database of the moment */
    char copy_path[PATH_MAX], path[PATH_MAX];
    int fd;
    struct buf manifest;
    char *chunk;
    struct registry_backup *out;
};

static int failed(struct error *err, const char *what, const char *path)
{
    return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot %s %s", what, path);
}

/* ---- the database ---- */

/* All pages in one step: of one moment, while others go on writing. */
static int copy_database(struct backup *b, struct error *err)
{
    int fd = mkostemp(b->copy_path, O_CLOEXEC);
    if (fd < 0)
        return failed(err, "create", b->copy_path);
    close(fd);
    snprintf(b->copy.file, sizeof b->copy.file, "%s", b->copy_path);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_READWRITE;
    if (sqlite3_open_v2(b->copy_path, &b->copy.handle, flags, NULL) != SQLITE_OK)
        return b->copy.handle ? db_error(&b->copy, err)
                              : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a backup");
    sqlite3_backup *copy = sqlite3_backup_init(b->copy.handle, "main", b->reader->db.handle, "main");
    if (!copy)
        return db_error(&b->copy, err);
    sqlite3_backup_step(copy, -1);
    if (sqlite3_backup_finish(copy) != SQLITE_OK)
        return db_error(&b->copy, err);
    /* One file, without a journal beside it. */
    return sqlite3_exec(b->copy.handle, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : db_error(&b->copy, err);
}

/* ---- the manifest ---- */

static int hash_file(struct backup *b, const char *path, uint8_t out[32], uint64_t *size, struct error *err)
{
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? failed(err, "read", path) : archive_copy(fd, -1, UINT64_MAX, b->chunk, out, size, path, err);
}

static void add_line(struct backup *b, const uint8_t sha256[32], const char *name)
{
    char hex[65];
    text_hex(hex, sha256, 32);
    buf_printf(&b->manifest, "%s  %s\n", hex, name);
    b->out->files++;
}

static int add_file(struct backup *b, const char *path, const char *name, struct error *err)
{
    uint8_t sha256[32];
    uint64_t size;
    int rc = hash_file(b, path, sha256, &size, err);
    if (rc == 0)
        add_line(b, sha256, name);
    return rc;
}

/* What is known to be damaged stays behind; its record comes back as damaged as it is. */
static int add_packages(struct backup *b, struct error *err)
{
    sqlite3_stmt *row;
    int rc =
        db_start(&b->copy, err, &row, "SELECT DISTINCT sha256 FROM version WHERE damaged_at = 0 ORDER BY sha256", "");
    for (; rc > 0; rc = db_next(&b->copy, err, row)) {
        uint8_t sha256[32];
        char hex[65], name[TAR_NAME_MAX + 1];
        if (!db_blob(row, 0, sha256, 32))
            continue;
        text_hex(hex, sha256, 32);
        snprintf(name, sizeof name, ARCHIVE_PACKAGES "%s.moat", hex);
        add_line(b, sha256, name);
        b->out->packages++;
    }
    return rc;
}

static int is_segment(const struct dirent *entry)
{
    return archive_is_segment(entry->d_name);
}

static int add_segments(struct backup *b, struct error *err)
{
    char dir[PATH_MAX], path[PATH_MAX], name[TAR_NAME_MAX + 1];
    struct dirent **list = NULL;
    int rc = 0;
    if ((size_t)snprintf(dir, sizeof dir, "%s/audit", b->dir) >= sizeof dir)
        return error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", b->dir);
    int n = scandir(dir, &list, is_segment, alphasort); /* -1: nothing was ever rotated */
    for (int i = 0; i < n; i++) {
        bool fits = (size_t)snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name) < sizeof path;
        snprintf(name, sizeof name, ARCHIVE_SEGMENTS "%.60s", list[i]->d_name);
        if (rc == 0 && fits)
            rc = add_file(b, path, name, err);
        free(list[i]);
    }
    free(list);
    return rc;
}

static int make_manifest(struct backup *b, struct error *err)
{
    char when[CLOCK_RFC3339_MAX], identity[33];
    clock_rfc3339(clock_wall_ns(), when);
    int rc = registry_identity(b->reader, identity, err);
    buf_printf(&b->manifest, ARCHIVE_FIRST_LINE "# registry %s\n# time %s\n", rc == 0 ? identity : "", when);
    if (rc == 0)
        rc = add_file(b, b->copy_path, ARCHIVE_DATABASE, err);
    if (rc == 0)
        rc = add_packages(b, err);
    if (rc == 0)
        rc = add_segments(b, err);
    if (rc == 0 && b->manifest.failed)
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest of a backup");
    return rc;
}

/* ---- the archive ---- */

static int put(struct backup *b, const void *bytes, size_t len, struct error *err)
{
    b->out->bytes += len;
    return io_write_all(b->fd, bytes, len) ? 0 : failed(err, "write", b->path);
}

static int put_header(struct backup *b, const char *name, uint64_t size, struct error *err)
{
    uint8_t header[TAR_BLOCK];
    if (!tar_header(name, size, header))
        return error_set(err, MOAT_E_LIMIT, "%s is too large for a backup (8 GiB)", name);
    return put(b, header, sizeof header, err);
}

static int put_padding(struct backup *b, uint64_t size, struct error *err)
{
    static const uint8_t zeroes[TAR_BLOCK];
    return put(b, zeroes, tar_padding(size), err);
}

/* The bytes must still be those of the manifest. */
static int put_file(struct backup *b, const char *path, const char *name, const uint8_t sha256[32], struct error *err)
{
    struct stat st;
    uint8_t hash[32];
    uint64_t size = 0;
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, MOAT_E_PACKAGE_DAMAGED, errno,
                           "cannot read %s: `moat doctor --deep` names the version, install it again", path);
    int rc = put_header(b, name, (uint64_t)st.st_size, err);
    if (rc == 0)
        rc = archive_copy(fd, b->fd, (uint64_t)st.st_size, b->chunk, hash, &size, b->path, err);
    b->out->bytes += size;
    if (rc == 0 && (size != (uint64_t)st.st_size || memcmp(hash, sha256, 32) != 0))
        rc = error_set(err, MOAT_E_PACKAGE_DAMAGED,
                       "%s is not what it was: `moat doctor --deep` names the version, install it again", path);
    return rc < 0 ? rc : put_padding(b, size, err);
}

static void source_of(struct backup *b, const char *name, const uint8_t sha256[32], char path[PATH_MAX])
{
    if (strcmp(name, ARCHIVE_DATABASE) == 0)
        snprintf(path, PATH_MAX, "%s", b->copy_path);
    else if (strncmp(name, ARCHIVE_PACKAGES, strlen(ARCHIVE_PACKAGES)) == 0)
        files_path(b->reader->registry->plugin_dir, sha256, path);
    else
        snprintf(path, PATH_MAX, "%.3000s/%.99s", b->dir, name); /* audit/... */
}

static int put_all(struct backup *b, struct error *err)
{
    int rc = put_header(b, ARCHIVE_MANIFEST, b->manifest.len, err);
    if (rc == 0)
        rc = put(b, b->manifest.data, b->manifest.len, err);
    if (rc == 0)
        rc = put_padding(b, b->manifest.len, err);
    const char *at = buf_text(&b->manifest);
    struct archive_line line;
    for (int more; rc == 0 && (more = archive_next_line(&at, &line)) != 0;) {
        char path[PATH_MAX];
        source_of(b, line.name, line.sha256, path);
        rc = more < 0 ? error_set(err, MOAT_E_INTERNAL, "the manifest of a backup is wrong")
                      : put_file(b, path, line.name, line.sha256, err);
    }
    static const uint8_t end[2 * TAR_BLOCK];
    return rc < 0 ? rc : put(b, end, sizeof end, err);
}

static int publish(struct backup *b, const char *file, struct error *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(file, '/');
    snprintf(dir, sizeof dir, "%.*s", slash == file ? 1 : (int)(slash - file), file);
    if (fsync(b->fd) < 0)
        return failed(err, "sync", b->path);
    if (renameat2(AT_FDCWD, b->path, AT_FDCWD, file, RENAME_NOREPLACE) < 0)
        return errno == EEXIST ? error_set(err, MOAT_E_ALREADY_EXISTS, "%s is there already: choose another name", file)
                               : failed(err, "create", file);
    b->path[0] = '\0';
    fd_auto parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return parent < 0 || fsync(parent) < 0 ? failed(err, "sync", dir) : 0;
}

static int run(struct backup *b, const char *file, struct error *err)
{
    if (file[0] != '/' || (size_t)snprintf(b->path, sizeof b->path, "%s.XXXXXX", file) >= sizeof b->path ||
        (size_t)snprintf(b->copy_path, sizeof b->copy_path, "%s.db-XXXXXX", file) >= sizeof b->copy_path)
        return error_set(err, MOAT_E_BAD_USAGE, "%.200s is not a path from the root that a file can have", file);
    if (access(file, F_OK) == 0)
        return error_set(err, MOAT_E_ALREADY_EXISTS, "%s is there already: choose another name", file);
    b->chunk = malloc(ARCHIVE_CHUNK);
    int rc = b->chunk ? copy_database(b, err) : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a backup");
    if (rc == 0)
        rc = make_manifest(b, err);
    if (rc == 0)
        rc = (b->fd = mkostemp(b->path, O_CLOEXEC)) < 0 ? failed(err, "create", b->path) : 0;
    if (rc == 0)
        rc = put_all(b, err);
    return rc < 0 ? rc : publish(b, file, err);
}

int registry_backup(struct registry_reader *reader, const char *dir, const char *file, struct registry_backup *out,
                    struct error *err)
{
    struct backup *b = calloc(1, sizeof *b);
    if (!b)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a backup");
    struct registry_backup done = {0};
    b->reader = reader;
    b->dir = dir;
    b->fd = -1;
    b->manifest = BUF_INIT(ARCHIVE_MANIFEST_MAX);
    b->out = &done;
    int rc = run(b, file, err);
    if (b->fd >= 0 && b->path[0])
        unlink(b->path);
    io_close(&b->fd);
    db_close(&b->copy);
    if (b->copy_path[0])
        unlink(b->copy_path);
    buf_free(&b->manifest);
    free(b->chunk);
    free(b);
    if (rc == 0)
        *out = done;
    return rc;
}
