/* registry/db: one SQLite connection with its prepared statements and its errors.  Private to src/registry; one thread
 * at a time. */
#ifndef REGISTRY_DB_H
#define REGISTRY_DB_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/error.h"

#define DB_STATEMENTS 192

struct db {
    sqlite3 *handle;
    char file[PATH_MAX];
    struct {
        const char *sql; /* a literal: its address is its identity */
        sqlite3_stmt *prepared;
    } statements[DB_STATEMENTS];
    size_t nstatements;
};

int db_open(struct db *db, const char *file, bool writer, struct error *err);
void db_close(struct db *db);

/* -MOAT_E_STORAGE_FAILED with SQLite's words, the system's where it has some, and the file. */
int db_error(struct db *db, struct error *err);

/* A row at a time.  types names the arguments: t text (NULL is NULL), i int64_t, b const void * and size_t.
 * db_start: 1 with *row on the first row, 0 without any, or an error; db_next goes on. Whatever is left open by
 * stopping early is closed with db_end; 0 and errors have closed it. */
int db_start(struct db *db, struct error *err, sqlite3_stmt **row, const char *sql, const char *types, ...);
int db_next(struct db *db, struct error *err, sqlite3_stmt *row);
void db_end(sqlite3_stmt *row);

/* A statement without rows; 0 or an error. */
int db_run(struct db *db, struct error *err, const char *sql, const char *types, ...);

/* The first column of the only row, or fallback when there is none. */
int db_number(struct db *db, struct error *err, int64_t fallback, int64_t *out, const char *sql, const char *types,
              ...);

/* Copies a column; false when it does not fit (a record that no code of ours wrote). */
bool db_text(sqlite3_stmt *row, int column, char *out, size_t size);
bool db_blob(sqlite3_stmt *row, int column, void *out, size_t size);

#endif
