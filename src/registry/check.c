#include "registry/check.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "registry/files.h"
#include "registry/internal.h"
#include "registry/search.h"

/* ---- at open ---- */

#define TABLES \
    "('audit')," \
    "('audit_head')," \
    "('audit_root')," \
    "('audit_sign')," \
    "('ceiling')," \
    "('config')," \
    "('counter')," \
    "('counter_total')," \
    "('decision')," \
    "('denial')," \
    "('denial_dropped')," \
    "('home_time')," \
    "('hour')," \
    "('identity')," \
    "('key')," \
    "('near_miss')," \
    "('plugin')," \
    "('publisher')," \
    "('search')," \
    "('setting')," \
    "('source')," \
    "('start')," \
    "('token')," \
    "('version')"

static int tables_are_there(struct db *db, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(db, err, &row,
                      "WITH must (name) AS (VALUES " TABLES ") SELECT name FROM must"
                      " WHERE name NOT IN (SELECT name FROM sqlite_schema WHERE type = 'table') LIMIT 1",
                      "");
    if (rc <= 0)
        return rc;
    rc = error_set(err, MOAT_E_STORAGE_FAILED, "%s lacks its table `%s`: `moat restore FILE` brings a backup back",
                   db->file, (const char *)sqlite3_column_text(row, 0));
    db_end(row);
    return rc;
}

int check_at_open(struct db *db, struct error *err)
{
    int64_t agrees;
    int rc = tables_are_there(db, err);
    if (rc == 0)
        rc = db_number(db, err, 0, &agrees,
                       "SELECT count(*) FROM audit_head h WHERE seq = ifnull((SELECT max(seq) FROM audit),"
                       " (SELECT max(seq) FROM audit_root)) AND hash = ifnull((SELECT hash FROM audit a WHERE a.seq ="
                       " h.seq), (SELECT hash FROM audit_root r WHERE r.seq = h.seq))",
                       "");
    if (rc == 0 && !agrees)
        log_event(LOG_ERROR, "audit_trail_changed", "file", db->file, "cure", "`moat audit verify` tells where", NULL);
    return rc;
}

/* ---- all of it ---- */

struct deep {
    struct registry_reader *reader;
    void (*each)(void *context, const struct registry_finding *f);
    void *context;
};

__attribute__((format(printf, 4, 5))) static void found(struct deep *d, const char *what, const char *cure,
                                                        const char *format, ...)
{
    char detail[500];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    d->each(d->context, &(struct registry_finding){.what = what, .detail = detail, .cure = cure, .good = !*cure});
}

#define RESTORE "`moat restore FILE` brings a backup back"

/* The pragma's rows, the first few of which are told. */
static int ask_pragma(struct deep *d, const char *what, const char *sql, const char *good, struct error *err)
{
    sqlite3_stmt *row;
    char detail[400] = "";
    unsigned faults = 0;
    int rc = db_start(&d->reader->db, err, &row, sql, "");
    for (; rc > 0; rc = db_next(&d->reader->db, err, row)) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        if (!text || strcmp(text, "ok") == 0)
            continue;
        size_t len = strlen(detail);
        if (faults++ < 3)
            snprintf(detail + len, sizeof detail - len, "%s%s", len ? "; " : "", text);
    }
    if (rc < 0)
        found(d, what, RESTORE, "%s", err->message);
    else if (faults)
        found(d, what, RESTORE, "%u faults: %s", faults, detail);
    else
        found(d, what, "", "%s", good);
    return 0;
}

static int check_trail(struct deep *d, struct error *err)
{
    struct registry_audit_check c;
    int rc = audit_verify(d->reader, NULL, &c, err);
    if (rc < 0)
        found(d, "audit trail", RESTORE, "%s", err->message);
    else if (c.problem[0])
        found(d, "audit trail",
              "`moat audit verify` tells more; compare with a backup and find out who could write here", "%s",
              c.problem);
    else
        found(d, "audit trail", "", "%llu records, whole", (unsigned long long)c.records);
    return 0;
}

static int check_search(struct deep *d, struct error *err)
{
    int64_t missing;
    int rc = db_number(&d->reader->db, err, 0, &missing, SEARCH_WRONG, "");
    if (rc < 0)
        found(d, "search", "`moat doctor --deep` again, which makes it anew", "%s", err->message);
    else if (missing)
        found(d, "search", "`moat doctor --deep` again, which makes it anew", "%d plugins are wrong in it",
              (int)missing);
    else
        found(d, "search", "", "agrees with what is installed");
    return 0;
}

/* ---- packages ---- */

struct hasher {
    gnutls_hash_hd_t hash;
    char *chunk;
};
#define CHUNK (256 * 1024)

/* 1 the bytes are those that were installed, 0 they are not (why is told), <0 error. */
static int is_whole(struct hasher *h, const char *path, const uint8_t sha256[32], char why[200], struct error *err)
{
    uint8_t found_hash[32];
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        snprintf(why, 200, "%s", errno == ENOENT ? "its package is missing" : strerror(errno));
        return 0;
    }
    for (;;) {
        ssize_t n = io_read_full(fd, h->chunk, CHUNK);
        if (n < 0) {
            snprintf(why, 200, "its package cannot be read: %s", strerror(errno));
            return 0;
        }
        if (n == 0)
            break;
        if (gnutls_hash(h->hash, h->chunk, (size_t)n) < 0)
            return error_set(err, MOAT_E_INTERNAL, "cannot compute a hash");
    }
    gnutls_hash_output(h->hash, found_hash);
    if (memcmp(found_hash, sha256, 32) == 0)
        return 1;
    snprintf(why, 200, "its package has other bytes than were installed");
    return 0;
}

static int check_packages_with(struct deep *d, struct hasher *h, struct error *err)
{
    sqlite3_stmt *row;
    unsigned whole = 0, bad = 0;
    int rc = db_start(&d->reader->db, err, &row,
                      "SELECT p.name, v.version, v.sha256, v.damaged_at FROM version v JOIN plugin p ON p.id = v.plugin"
                      " ORDER BY p.name, v.id",
                      "");
    for (; rc > 0; rc = db_next(&d->reader->db, err, row)) {
        char name[REGISTRY_NAME_MAX + 1], version[REGISTRY_VERSION_MAX + 1], path[PATH_MAX], why[200] = "";
        uint8_t sha256[32];
        if (!db_text(row, 0, name, sizeof name) || !db_text(row, 1, version, sizeof version) ||
            !db_blob(row, 2, sha256, 32)) {
            found(d, "packages", RESTORE, "a record has a form that Moat never writes");
            continue;
        }
        bool known = sqlite3_column_int64(row, 3) != 0;
        files_path(d->reader->registry->plugin_dir, sha256, path);
        rc = is_whole(h, path, sha256, why, err);
        if (rc < 0) {
            db_end(row);
            return rc;
        }
        whole += rc == 1 && !known;
        if (rc == 1 && !known)
            continue;
        bad++;
        struct registry_finding f = {.what = "packages",
                                     .detail = known ? "was found damaged before" : why,
                                     .cure = "install the same package again",
                                     .plugin = name,
                                     .version = version,
                                     .damaged_now = !known};
        d->each(d->context, &f);
    }
    if (rc == 0 && !bad)
        found(d, "packages", "", "%u packages, each as it was installed", whole);
    return rc;
}

static int check_packages(struct deep *d, struct error *err)
{
    struct hasher h = {.chunk = malloc(CHUNK)};
    int rc = h.chunk && gnutls_hash_init(&h.hash, GNUTLS_DIG_SHA256) == 0
                 ? 0
                 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to look at the packages");
    if (rc == 0) {
        rc = check_packages_with(d, &h, err);
        gnutls_hash_deinit(h.hash, NULL);
    }
    free(h.chunk);
    return rc;
}

int registry_check(struct registry_reader *reader, void (*each)(void *context, const struct registry_finding *f),
                   void *context, struct error *err)
{
    struct deep d = {.reader = reader, .each = each, .context = context};
    int rc = ask_pragma(&d, "database", "PRAGMA integrity_check(100)", "every page and index is sound", err);
    if (rc == 0)
        rc = ask_pragma(&d, "references",
                        "SELECT \"table\" || ' row ' || ifnull(rowid, '?') || ' refers to no ' ||"
                        " parent FROM pragma_foreign_key_check",
                        "every record refers to one that is there", err);
    if (rc == 0)
        rc = registry_snapshot_begin(reader, err);
    if (rc < 0)
        return rc;
    rc = check_trail(&d, err);
    if (rc == 0)
        rc = check_search(&d, err);
    if (rc == 0)
        rc = check_packages(&d, err);
    registry_snapshot_end(reader);
    return rc;
}
