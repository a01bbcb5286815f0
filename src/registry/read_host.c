/* What a reader tells of the host itself: settings, tokens, totals. */
#include <string.h>
#include <sys/stat.h>

#include "registry/internal.h"

static bool get_token(sqlite3_stmt *row, struct registry_token *t)
{
    *t = (struct registry_token){.id = sqlite3_column_int64(row, 0),
                                 .created_at = (uint64_t)sqlite3_column_int64(row, 3),
                                 .expires_at = (uint64_t)sqlite3_column_int64(row, 4),
                                 .revoked_at = (uint64_t)sqlite3_column_int64(row, 5),
                                 .last_used_at = (uint64_t)sqlite3_column_int64(row, 6)};
    return db_blob(row, 1, t->hash, 32) && db_text(row, 2, t->scopes, sizeof t->scopes) &&
           db_text(row, 7, t->name, sizeof t->name);
}

int registry_find_setting(struct registry_reader *reader, const char *key, struct buf *value, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row, "SELECT value FROM setting WHERE key = ?", "t", key);
    if (rc <= 0)
        return rc;
    if (!buf_put(value, sqlite3_column_text(row, 0), (size_t)sqlite3_column_bytes(row, 0)))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the setting %s", key);
    db_end(row);
    return rc;
}

int registry_each_setting(struct registry_reader *reader,
                          bool (*each)(void *context, const char *key, const char *value), void *context,
                          struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row, "SELECT key, value FROM setting ORDER BY key", "");
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!each(context, (const char *)sqlite3_column_text(row, 0), (const char *)sqlite3_column_text(row, 1))) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_each_token(struct registry_reader *reader, bool (*each)(void *context, const struct registry_token *t),
                        void *context, struct error *err)
{
    sqlite3_stmt *row;
    struct registry_token t;
    int rc = db_start(
        &reader->db, err, &row,
        "SELECT id, hash, scopes, created_at, expires_at, revoked_at, last_used_at, name FROM token ORDER BY id", "");
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!get_token(row, &t))
            return reader_damaged(reader, row, err);
        if (!each(context, &t)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

static const struct {
    const char *sql;
    size_t offset;
} totals[] = {
    {"SELECT count(*) FROM plugin p WHERE EXISTS (SELECT 1 FROM version WHERE plugin = p.id)",
     offsetof(struct registry_totals, plugins)},
    {"SELECT count(*) FROM plugin p WHERE active AND EXISTS (SELECT 1 FROM version WHERE plugin = p.id)",
     offsetof(struct registry_totals, active)},
    {"SELECT count(*) FROM version", offsetof(struct registry_totals, versions)},
    {"SELECT count(*) FROM version WHERE damaged_at <> 0", offsetof(struct registry_totals, damaged)},
    {"SELECT count(*) FROM publisher", offsetof(struct registry_totals, publishers)},
    {"SELECT count(*) FROM key WHERE revoked_at = 0", offsetof(struct registry_totals, keys)},
    {"SELECT count(*) FROM decision", offsetof(struct registry_totals, decisions)},
    {"SELECT ifnull(sum(size), 0) FROM (SELECT max(size) AS size FROM version GROUP BY sha256)",
     offsetof(struct registry_totals, package_bytes)},
};

int registry_totals(struct registry_reader *reader, struct registry_totals *out, struct error *err)
{
    struct registry_totals t = {0};
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++) {
        int64_t n;
        int rc = db_number(&reader->db, err, 0, &n, totals[i].sql, "");
        if (rc < 0)
            return rc;
        memcpy((char *)&t + totals[i].offset, &n, sizeof n);
    }
    struct stat st;
    if (stat(reader->db.file, &st) == 0)
        t.database_bytes = (uint64_t)st.st_size;
    t.commits = atomic_load_explicit(&reader->registry->commits, memory_order_relaxed);
    t.commands = atomic_load_explicit(&reader->registry->commands, memory_order_relaxed);
    *out = t;
    return 0;
}
