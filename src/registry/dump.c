#include "registry/dump.h"

#include <string.h>

#include "registry/db.h"
#include "registry/internal.h"

static bool take_version(sqlite3_stmt *row, struct dump_version *v)
{
    *v = (struct dump_version){.version = (const char *)sqlite3_column_text(row, 0),
                               .state = (const char *)sqlite3_column_text(row, 1),
                               .reason = (const char *)sqlite3_column_text(row, 2),
                               .manifest = (const char *)sqlite3_column_text(row, 3),
                               .manifest_len = (size_t)sqlite3_column_bytes(row, 3),
                               .size = (uint64_t)sqlite3_column_int64(row, 6),
                               .signed_at = (uint64_t)sqlite3_column_int64(row, 7),
                               .expires_at = (uint64_t)sqlite3_column_int64(row, 8),
                               .installed_at = (uint64_t)sqlite3_column_int64(row, 9),
                               .changed_at = (uint64_t)sqlite3_column_int64(row, 10)};
    return v->version && v->state && v->reason && v->manifest && db_blob(row, 4, v->sha256, 32) &&
           db_blob(row, 5, v->key_id, 32);
}

int registry_each_dump(struct registry_reader *reader, const char *name,
                       bool (*each)(void *context, const struct dump_version *v), void *context, struct error *err)
{
    sqlite3_stmt *row;
    struct dump_version v;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT v.version, v.state, v.reason, v.manifest, v.sha256, v.key, v.size, v.signed_at,"
                      " v.expires_at, v.installed_at, v.changed_at FROM version v JOIN plugin p ON p.id = v.plugin"
                      " WHERE p.name = ? ORDER BY v.id",
                      "t", name);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!take_version(row, &v)) {
            db_end(row);
            return error_set(err, MOAT_E_STORAGE_FAILED, "%s: a record has a form that Moat never writes",
                             reader->db.file);
        }
        if (!each(context, &v)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}
