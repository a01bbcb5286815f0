#include "registry/db.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What helps, where we know it. */
static const char *cure_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "; `moat restore FILE` brings a backup back";
    case SQLITE_FULL:
        return "; nothing was changed: free some space";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return "; its directory must be there, and yours to write";
    default:
        return "";
    }
}

int db_error(struct db *db, struct error *err)
{
    int system = sqlite3_system_errno(db->handle);
    const char *why = sqlite3_errmsg(db->handle), *cure = cure_of(sqlite3_errcode(db->handle));
    if (system)
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s: %s (%s)%s", db->file, why, strerror(system), cure);
    return error_set(err, MOAT_E_STORAGE_FAILED, "%s: %s%s", db->file, why, cure);
}

/* Every connection: constraints hold, nothing stored in the file can run code, waits a little for a checkpoint. What is
 * sorted, or may have to be undone, stays in memory, as large as an answer or a change is: a file for it would lie in
 * the machine's temporary directory, where a kill could leave it and nobody of ours sweeps. */
static int configure(struct db *db, bool writer, struct error *err)
{
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_busy_timeout(db->handle, 5000);
    const char *sql = writer ? "PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=ON; PRAGMA journal_mode=WAL;"
                               "PRAGMA synchronous=FULL"
                             : "PRAGMA temp_store=MEMORY; PRAGMA query_only=ON";
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(db, err);
}

int db_open(struct db *db, const char *file, bool writer, struct error *err)
{
    *db = (struct db){0};
    snprintf(db->file, sizeof db->file, "%s", file);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_READWRITE;
    int rc = sqlite3_open_v2(file, &db->handle, flags | (writer ? SQLITE_OPEN_CREATE : 0), NULL);
    if (rc == SQLITE_OK)
        rc = configure(db, writer, err) < 0 ? SQLITE_ERROR : SQLITE_OK;
    else if (!db->handle)
        error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %s", file);
    else
        db_error(db, err);
    if (rc == SQLITE_OK)
        return 0;
    db_close(db);
    return -MOAT_E_STORAGE_FAILED;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < db->nstatements; i++)
        sqlite3_finalize(db->statements[i].prepared);
    sqlite3_close(db->handle);
    *db = (struct db){0};
}

static int prepared(struct db *db, const char *sql, sqlite3_stmt **out, struct error *err)
{
    for (size_t i = 0; i < db->nstatements; i++) {
        if (db->statements[i].sql == sql) {
            *out = db->statements[i].prepared;
            return 0;
        }
    }
    if (db->nstatements == DB_STATEMENTS)
        return error_set(err, MOAT_E_INTERNAL, "the registry has more than %d statements", DB_STATEMENTS);
    if (sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return db_error(db, err);
    db->statements[db->nstatements].sql = sql;
    db->statements[db->nstatements++].prepared = *out;
    return 0;
}

/* Bound memory stays the caller's: every statement is reset and unbound before its caller returns. */
static bool bind(sqlite3_stmt *s, const char *types, va_list args)
{
    int rc = SQLITE_OK;
    for (int i = 1; *types && rc == SQLITE_OK; types++, i++) {
        if (*types == 't') {
            rc = sqlite3_bind_text(s, i, va_arg(args, const char *), -1, SQLITE_STATIC);
        } else if (*types == 'i') {
            rc = sqlite3_bind_int64(s, i, va_arg(args, int64_t));
        } else {
            const void *data = va_arg(args, const void *);
            rc = sqlite3_bind_blob64(s, i, data, va_arg(args, size_t), SQLITE_STATIC);
        }
    }
    return rc == SQLITE_OK;
}

void db_end(sqlite3_stmt *row)
{
    sqlite3_reset(row);
    sqlite3_clear_bindings(row);
}

int db_next(struct db *db, struct error *err, sqlite3_stmt *row)
{
    int rc = sqlite3_step(row);
    if (rc == SQLITE_ROW)
        return 1;
    int code = rc == SQLITE_DONE ? 0 : db_error(db, err);
    db_end(row);
    return code;
}

static int start(struct db *db, struct error *err, sqlite3_stmt **row, const char *sql, const char *types, va_list args)
{
    int rc = prepared(db, sql, row, err);
    if (rc < 0)
        return rc;
    if (!bind(*row, types, args)) {
        rc = db_error(db, err);
        db_end(*row);
        return rc;
    }
    return db_next(db, err, *row);
}

int db_start(struct db *db, struct error *err, sqlite3_stmt **row, const char *sql, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    int rc = start(db, err, row, sql, types, args);
    va_end(args);
    return rc;
}

int db_run(struct db *db, struct error *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *row;
    va_list args;
    va_start(args, types);
    int rc = start(db, err, &row, sql, types, args);
    va_end(args);
    if (rc > 0)
        db_end(row);
    return rc < 0 ? rc : 0;
}

int db_number(struct db *db, struct error *err, int64_t fallback, int64_t *out, const char *sql, const char *types, ...)
{
    sqlite3_stmt *row;
    va_list args;
    va_start(args, types);
    int rc = start(db, err, &row, sql, types, args);
    va_end(args);
    if (rc < 0)
        return rc;
    *out = rc > 0 ? sqlite3_column_int64(row, 0) : fallback;
    if (rc > 0)
        db_end(row);
    return 0;
}

bool db_text(sqlite3_stmt *row, int column, char *out, size_t size)
{
    const unsigned char *text = sqlite3_column_text(row, column);
    int len = sqlite3_column_bytes(row, column);
    if ((size_t)len >= size)
        return false;
    if (len)
        memcpy(out, text, (size_t)len);
    out[len] = '\0';
    return true;
}

bool db_blob(sqlite3_stmt *row, int column, void *out, size_t size)
{
    const void *data = sqlite3_column_blob(row, column);
    if ((size_t)sqlite3_column_bytes(row, column) != size)
        return false;
    memcpy(out, data, size);
    return true;
}
