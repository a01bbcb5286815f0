/* Restoring a backup: all of it or nothing, and what was there before is kept.
 *
 *   1. everything is taken out into restore.new/ of both directories, every hash looked at, the database checked,
 * synced
 *   2. restore.state says "away STAMP": from here on it happens, whoever goes on with it (registry_open does)
 *   3. what was there goes to before-STAMP/ of its directory
 *   4. restore.state says "in STAMP"; what is new takes its place; restore.state goes
 *
 * A process that dies before 2 has changed nothing; each later step can be done again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "registry/archive.h"
#include "registry/check.h"
#include "registry/internal.h"
#include "registry/restore.h"
#include "registry/schema.h"

#define NEW "restore.new"
#define STATE "restore.state"

struct restore {
    const char *dir, *plugin_dir, *file;
    int fd;
    char *chunk;
    struct buf manifest;
    struct registry_restored *out;
};

static int failed(struct error *err, const char *what, const char *path)
{
    return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot %s %s", what, path);
}

static int damaged(const struct restore *r, struct error *err, const char *why)
{
    return error_set(err, MOAT_E_PACKAGE_DAMAGED, "%s is not a whole backup (%s); nothing was changed", r->file, why);
}

__attribute__((format(printf, 3, 4))) static int put_path(char out[PATH_MAX], struct error *err, const char *format,
                                                          ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out, PATH_MAX, format, args);
    va_end(args);
    return n >= 0 && n < PATH_MAX ? 0 : error_set(err, MOAT_E_BAD_USAGE, "the path %.200s is too long", out);
}

/* ---- 1. out of the archive ---- */

static int read_header(struct restore *r, char name[TAR_NAME_MAX + 1], uint64_t *size, struct error *err)
{
    uint8_t block[TAR_BLOCK];
    if (io_read_full(r->fd, block, sizeof block) != sizeof block)
        return damaged(r, err, "it ends too early");
    return tar_read(block, name, size) ? 0 : damaged(r, err, "a header is none that Moat writes");
}

static int read_padding(struct restore *r, uint64_t size, struct error *err)
{
    uint8_t block[TAR_BLOCK];
    static const uint8_t zeroes[TAR_BLOCK];
    size_t n = tar_padding(size);
    if (n && (io_read_full(r->fd, block, n) != (ssize_t)n || memcmp(block, zeroes, n) != 0))
        return damaged(r, err, "it ends too early");
    return 0;
}

static int read_manifest(struct restore *r, struct error *err)
{
    char name[TAR_NAME_MAX + 1];
    uint64_t size;
    int rc = read_header(r, name, &size, err);
    if (rc < 0)
        return rc;
    if (strcmp(name, ARCHIVE_MANIFEST) != 0 || size > ARCHIVE_MANIFEST_MAX - 1)
        return damaged(r, err, "it does not begin with a manifest");
    if (!buf_reserve(&r->manifest, (size_t)size))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest of %s", r->file);
    if (io_read_full(r->fd, r->manifest.data, (size_t)size) != (ssize_t)size)
        return damaged(r, err, "it ends too early");
    r->manifest.len = (size_t)size;
    r->manifest.data[size] = '\0';
    if (strncmp(buf_text(&r->manifest), ARCHIVE_FIRST_LINE, strlen(ARCHIVE_FIRST_LINE)) != 0)
        return damaged(r, err, "its manifest is of another version, or of another program");
    return read_padding(r, size, err);
}

/* Where an entry goes to: its name was checked with the manifest. */
static int target_of(struct restore *r, const char *name, char path[PATH_MAX], struct error *err)
{
    if (strncmp(name, ARCHIVE_PACKAGES, strlen(ARCHIVE_PACKAGES)) == 0)
        return put_path(path, err, "%s/" NEW "/sha256/%s", r->plugin_dir, name + strlen(ARCHIVE_PACKAGES));
    return put_path(path, err, "%s/" NEW "/%s", r->dir, name);
}

static int take_out(struct restore *r, const struct archive_line *line, struct error *err)
{
    char name[TAR_NAME_MAX + 1], path[PATH_MAX];
    uint8_t hash[32];
    uint64_t size, done;
    int rc = read_header(r, name, &size, err);
    if (rc == 0 && strcmp(name, line->name) != 0)
        rc = damaged(r, err, "its files are not those of its manifest");
    if (rc == 0)
        rc = target_of(r, name, path, err);
    if (rc < 0)
        return rc;
    fd_auto fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(err, "create", path);
    rc = archive_copy(r->fd, fd, size, r->chunk, hash, &done, path, err);
    if (rc == 0 && (done != size || memcmp(hash, line->sha256, 32) != 0))
        rc = damaged(r, err, "a file has other bytes than its manifest says");
    if (rc == 0)
        rc = read_padding(r, size, err);
    r->out->packages += rc == 0 && name[0] == ARCHIVE_PACKAGES[0];
    return rc;
}

static int take_all(struct restore *r, struct error *err)
{
    struct archive_line line;
    const char *at = buf_text(&r->manifest);
    bool database = false;
    int rc = 0;
    for (int more; rc == 0 && (more = archive_next_line(&at, &line)) != 0;) {
        rc = more < 0 ? damaged(r, err, "its manifest has a line that Moat does not write") : take_out(r, &line, err);
        database = database || strcmp(line.name, ARCHIVE_DATABASE) == 0;
    }
    uint8_t end[2 * TAR_BLOCK + 1];
    static const uint8_t zeroes[2 * TAR_BLOCK];
    if (rc == 0 && (io_read_full(r->fd, end, sizeof end) != 2 * TAR_BLOCK || memcmp(end, zeroes, sizeof zeroes) != 0))
        rc = damaged(r, err, "it does not end where it should");
    return rc == 0 && !database ? damaged(r, err, "it has no registry") : rc;
}

/* ---- is it a registry that can be used? ---- */

static int is_there(struct restore *r, sqlite3_stmt *row, struct error *err)
{
    uint8_t sha256[32];
    char hex[65], path[PATH_MAX];
    if (!db_blob(row, 0, sha256, 32))
        return damaged(r, err, "a record has a form that Moat never writes");
    text_hex(hex, sha256, 32);
    int rc = put_path(path, err, "%s/" NEW "/sha256/%s.moat", r->plugin_dir, hex);
    return rc == 0 && access(path, F_OK) < 0 ? damaged(r, err, "a package of the registry is missing in it") : rc;
}

static int check_database(struct restore *r, struct db *db, struct error *err)
{
    sqlite3_stmt *row = NULL;
    int64_t faults = 0;
    int rc = schema_migrate(db, schema_steps, schema_version, err);
    if (rc == 0)
        rc = check_at_open(db, err);
    if (rc == 0)
        rc = db_number(db, err, 1, &faults,
                       "SELECT (SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok') +"
                       " (SELECT count(*) FROM pragma_foreign_key_check)",
                       "");
    if (rc == 0 && faults)
        rc = damaged(r, err, "its registry is damaged");
    if (rc == 0)
        rc = db_start(db, err, &row, "SELECT sha256 FROM version WHERE damaged_at = 0", "");
    for (; rc > 0; rc = db_next(db, err, row)) {
        int missing = is_there(r, row, err);
        if (missing < 0) {
            db_end(row);
            return missing;
        }
    }
    return rc;
}

static int check_new(struct restore *r, struct error *err)
{
    struct db db;
    char path[PATH_MAX];
    int rc = put_path(path, err, "%s/" NEW "/" ARCHIVE_DATABASE, r->dir);
    if (rc == 0)
        rc = db_open(&db, path, true, err);
    if (rc < 0)
        return rc;
    rc = check_database(r, &db, err);
    db_close(&db); /* which leaves no journal beside it */
    return rc;
}

/* ---- directories ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    return remove(path);
}

static void remove_new(const struct restore *r)
{
    char path[PATH_MAX];
    if (put_path(path, NULL, "%s/" NEW, r->dir) == 0)
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (put_path(path, NULL, "%s/" NEW, r->plugin_dir) == 0)
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int make_new(const struct restore *r, struct error *err)
{
    char path[PATH_MAX];
    remove_new(r);
    int rc = put_path(path, err, "%s/" NEW "/audit", r->dir);
    if (rc == 0)
        rc = io_mkdirs(path, 0700, err);
    if (rc == 0)
        rc = put_path(path, err, "%s/" NEW "/sha256", r->plugin_dir);
    return rc < 0 ? rc : io_mkdirs(path, 0700, err);
}

/* Everything that was written to its file system is on the disk. */
static int sync_all(const char *path, struct error *err)
{
    fd_auto fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || syncfs(fd) < 0 ? failed(err, "sync", path) : 0;
}

/* ---- 2 to 4 ---- */

static int say(const char *dir, const char *step, const char *stamp, struct error *err)
{
    char path[PATH_MAX], text[100];
    int n = snprintf(text, sizeof text, "%s %s\n", step, stamp), rc = put_path(path, err, "%s/" STATE, dir);
    return rc < 0 ? rc : io_replace_file(path, text, (size_t)n, 0600, err);
}

/* What is not there (any more) is no error: it was moved before, or never was. */
static int move(const char *from_dir, const char *to_dir, const char *name, struct error *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    int rc = put_path(from, err, "%s/%s", from_dir, name);
    if (rc == 0)
        rc = put_path(to, err, "%s/%s", to_dir, name);
    if (rc == 0 && rename(from, to) < 0 && errno != ENOENT)
        rc = error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot move %s to %s", from, to);
    return rc;
}

/* What makes the state of each directory; the journal goes before its database, so that no other ever meets it. */
static const char *const registry_parts[] = {"registry.db-wal", "registry.db-shm", "registry.db", "audit", NULL};
static const char *const package_parts[] = {"sha256", "stage", "damaged", "owner", NULL};

static int move_all(const char *from, const char *to, const char *const *parts, struct error *err)
{
    int rc = io_mkdirs(to, 0700, err);
    for (; rc == 0 && *parts; parts++)
        rc = move(from, to, *parts, err);
    return rc;
}

static int move_away(const char *dir, const char *plugin_dir, const char *stamp, struct error *err)
{
    char before[PATH_MAX];
    int rc = put_path(before, err, "%s/before-%s", dir, stamp);
    if (rc == 0)
        rc = move_all(dir, before, registry_parts, err);
    if (rc == 0)
        rmdir(before); /* when there was nothing */
    if (rc == 0)
        rc = put_path(before, err, "%s/before-%s", plugin_dir, stamp);
    if (rc == 0)
        rc = move_all(plugin_dir, before, package_parts, err);
    if (rc == 0)
        rmdir(before);
    return rc;
}

static int move_in(const char *dir, const char *plugin_dir, struct error *err)
{
    char from[PATH_MAX];
    int rc = put_path(from, err, "%s/" NEW, dir);
    if (rc == 0)
        rc = move_all(from, dir, registry_parts, err);
    if (rc == 0)
        rc = put_path(from, err, "%s/" NEW, plugin_dir);
    return rc < 0 ? rc : move_all(from, plugin_dir, package_parts, err);
}

static int sync_both(const char *dir, const char *plugin_dir, struct error *err)
{
    int rc = sync_all(dir, err);
    return rc < 0 ? rc : sync_all(plugin_dir, err);
}

static int go_on(const char *dir, const char *plugin_dir, bool away, const char *stamp, struct error *err)
{
    char path[PATH_MAX];
    int rc = away ? move_away(dir, plugin_dir, stamp, err) : 0;
    if (rc == 0 && away)
        rc = sync_both(dir, plugin_dir, err);
    if (rc == 0 && away)
        rc = say(dir, "in", stamp, err);
    if (rc == 0)
        rc = move_in(dir, plugin_dir, err);
    if (rc == 0)
        rc = sync_both(dir, plugin_dir, err);
    if (rc == 0)
        rc = put_path(path, err, "%s/" STATE, dir);
    if (rc == 0 && unlink(path) < 0)
        rc = failed(err, "remove", path);
    struct restore r = {.dir = dir, .plugin_dir = plugin_dir};
    if (rc == 0)
        remove_new(&r); /* empty by now */
    return rc;
}

int restore_finish(const char *dir, const char *plugin_dir, struct error *err)
{
    char path[PATH_MAX], stamp[40];
    buf_auto text = BUF_INIT(200);
    struct error why;
    int rc = put_path(path, err, "%s/" STATE, dir);
    if (rc < 0)
        return rc;
    rc = io_read_file(path, &text, &why);
    if (rc == -MOAT_E_NO_SUCH_FILE)
        return 0;
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    bool away = sscanf(buf_text(&text), "away %39[0-9TZ]", stamp) == 1;
    if (!away && sscanf(buf_text(&text), "in %39[0-9TZ]", stamp) != 1)
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s is not what a restore writes", path);
    return go_on(dir, plugin_dir, away, stamp, err);
}

/* 20261125T103000Z: fit for a name. */
static void make_stamp(char out[40])
{
    char when[CLOCK_RFC3339_MAX];
    size_t n = 0;
    clock_rfc3339(clock_wall_ns(), when);
    for (const char *p = when; *p; p++)
        if (strchr("0123456789T", *p))
            out[n++] = *p;
    out[n++] = 'Z';
    out[n] = '\0';
}

static int run(struct restore *r, struct error *err)
{
    r->fd = open(r->file, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0)
        return error_errno(err, errno == ENOENT ? MOAT_E_NO_SUCH_FILE : MOAT_E_STORAGE_FAILED, errno, "cannot read %s",
                           r->file);
    r->chunk = malloc(ARCHIVE_CHUNK);
    int rc = r->chunk ? make_new(r, err) : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to restore %s", r->file);
    if (rc == 0)
        rc = read_manifest(r, err);
    if (rc == 0)
        rc = take_all(r, err);
    if (rc == 0)
        rc = check_new(r, err);
    if (rc == 0)
        rc = sync_both(r->dir, r->plugin_dir, err);
    return rc;
}

int registry_restore(const char *dir, const char *plugin_dir, const char *file, struct registry_restored *out,
                     struct error *err)
{
    struct registry_restored done = {0};
    struct restore r = {.dir = dir,
                        .plugin_dir = plugin_dir,
                        .file = file,
                        .fd = -1,
                        .manifest = BUF_INIT(ARCHIVE_MANIFEST_MAX),
                        .out = &done};
    char path[PATH_MAX];
    int rc = restore_finish(dir, plugin_dir, err);
    if (rc == 0)
        rc = io_mkdirs(dir, 0700, err);
    if (rc == 0)
        rc = io_mkdirs(plugin_dir, 0700, err);
    if (rc == 0)
        rc = run(&r, err);
    io_close(&r.fd);
    buf_free(&r.manifest);
    free(r.chunk);
    if (rc < 0) {
        remove_new(&r);
        return rc;
    }
    make_stamp(done.stamp);
    rc = say(dir, "away", done.stamp, err);
    if (rc == 0)
        rc = go_on(dir, plugin_dir, true, done.stamp, err);
    done.kept = rc == 0 && put_path(path, err, "%s/before-%s", dir, done.stamp) == 0 && access(path, F_OK) == 0;
    if (rc == 0)
        *out = done;
    return rc;
}
