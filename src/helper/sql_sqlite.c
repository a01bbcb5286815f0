/* Queries in SQLite, over two descriptors and nothing else. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "helper/sql.h"
#include "helper/sql_files.h"
#include "helper/sql_rules.h"

#define CACHE 16
#define OPS_PER_LOOK 1000
#define WAL_BYTE 18 /* of the file: 2 when it is in WAL mode */
#define PAGE 4096

/* Statements that were asked for lately, prepared. */
struct cached {
    sqlite3_stmt *stmt;
    char *sql;
    size_t len;
    uint64_t used;
};

static struct {
    sqlite3 *db;
    struct cached cache[CACHE];
    uint64_t uses;
    sqlite3_stmt *open; /* has rows left: its next one is at hand */
    bool guarded;       /* it runs inside a savepoint of ours */
    bool was_open;      /* a transaction was undone for its age: what belongs to it is refused until the call ends */
    uint64_t deadline;
} lite;

/* ---- opening ---- */

static int randomness(sqlite3_vfs *vfs, int len, char *out)
{
    (void)vfs;
    ssize_t n = getrandom(out, (size_t)len, 0);
    return n < 0 ? 0 : (int)n;
}

static int look_at_clock(void *context)
{
    (void)context;
    return clock_mono_ns() >= lite.deadline;
}

/* Somebody else has it locked. */
static int wait_a_while(void *context, int times)
{
    (void)context;
    if (clock_mono_ns() >= lite.deadline)
        return 0;
    struct timespec t = {.tv_nsec = (times < 10 ? 1 + times : 10) * (long)NS_PER_MS};
    nanosleep(&t, NULL);
    return 1;
}

static const struct {
    int id, most;
} limits[] = {
    {SQLITE_LIMIT_LENGTH, SEAT_ANSWER_MAX},
    {SQLITE_LIMIT_SQL_LENGTH, SEAT_SQL_MAX},
    {SQLITE_LIMIT_COLUMN, 500},
    {SQLITE_LIMIT_EXPR_DEPTH, 200},
    {SQLITE_LIMIT_COMPOUND_SELECT, 100},
    {SQLITE_LIMIT_VDBE_OP, 100000},
    {SQLITE_LIMIT_FUNCTION_ARG, 64},
    {SQLITE_LIMIT_ATTACHED, 0},
    {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
    {SQLITE_LIMIT_VARIABLE_NUMBER, PARAMS_MAX},
    {SQLITE_LIMIT_TRIGGER_DEPTH, 16},
    {SQLITE_LIMIT_WORKER_THREADS, 0},
};

static const struct {
    int id, on;
} switches[] = {
    {SQLITE_DBCONFIG_DEFENSIVE, 1},
    {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
    {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
    {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
    {SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
    {SQLITE_DBCONFIG_DQS_DML, 0},
    {SQLITE_DBCONFIG_DQS_DDL, 0},
    {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
};

static bool run(const char *sql)
{
    return sqlite3_exec(lite.db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static int set_up(bool write)
{
    char text[160];
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        sqlite3_limit(lite.db, limits[i].id, limits[i].most);
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (sqlite3_db_config(lite.db, switches[i].id, switches[i].on, NULL) != SQLITE_OK)
            return SQLITE_ERROR;
    sqlite3_progress_handler(lite.db, OPS_PER_LOOK, look_at_clock, NULL);
    sqlite3_busy_handler(lite.db, wait_a_while, NULL);
    if (!run("PRAGMA temp_store=memory") || !run("PRAGMA mmap_size=0") || !run("PRAGMA cache_size=-4096") ||
        !run("PRAGMA cell_size_check=1"))
        return SQLITE_ERROR;
    snprintf(text, sizeof text, "PRAGMA max_page_count=%llu", (unsigned long long)(sql_start.database_max / PAGE));
    if (write && (!run("PRAGMA journal_mode=truncate") || !run("PRAGMA synchronous=full") || !run(text)))
        return sqlite3_errcode(lite.db);
    return write || run("PRAGMA query_only=1") ? SQLITE_OK : SQLITE_ERROR;
}

static int open_database(bool write)
{
    lite.deadline = clock_mono_ns() + sql_start.statement_ns;
    int flags = (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(SQL_FILES_NAME, &lite.db, flags, "unix");
    return rc == SQLITE_OK ? set_up(write) : rc;
}

bool sql_sqlite_open_memory(void)
{
    lite.deadline = UINT64_MAX;
    bool ok = sqlite3_open(":memory:", &lite.db) == SQLITE_OK && run("CREATE TABLE seed (a, b)") &&
              set_up(false) == SQLITE_OK && (!sql_start.write || run("PRAGMA query_only=0"));
    sql_rules_install(lite.db, sql_start.write);
    return ok;
}

struct sqlite3 *sql_sqlite_database(void)
{
    return lite.db;
}

/* Who may only read cannot put back what a writer left behind when it was killed: it is done first, with descriptors
 * that are then closed. Nothing was asked yet. */
static bool mend(void)
{
    if (sql_fds[SQL_FD_MEND_DATABASE] < 0)
        return true;
    sql_files_use(sql_fds[SQL_FD_MEND_DATABASE], sql_fds[SQL_FD_MEND_JOURNAL]);
    bool ok = open_database(true) == SQLITE_OK && run("SELECT count(*) FROM sqlite_schema");
    ok = sqlite3_close(lite.db) == SQLITE_OK && ok;
    lite.db = NULL;
    for (int i = SQL_FD_MEND_DATABASE; i < SQL_FDS_MAX; i++) {
        close(sql_fds[i]);
        sql_fds[i] = -1;
    }
    sql_files_use(sql_fds[SQL_FD_DATABASE], sql_fds[SQL_FD_JOURNAL]);
    return ok;
}

static bool is_wal(void)
{
    char mode = 0;
    return pread(sql_fds[SQL_FD_DATABASE], &mode, 1, WAL_BYTE) == 1 && mode == 2;
}

static bool lite_open(struct sql_answer *a)
{
    if (is_wal())
        return answer_fail(a, SEAT_UNAVAILABLE,
                           "the database is in WAL mode, which needs more than its file: `PRAGMA journal_mode=delete` "
                           "makes it usable");
    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    if (sqlite3_initialize() != SQLITE_OK || !sql_files_install(sql_fds[SQL_FD_DATABASE], sql_fds[SQL_FD_JOURNAL]))
        return answer_fail(a, SEAT_UNAVAILABLE, "SQLite cannot be set up");
    sqlite3_vfs_find("unix")->xRandomness = randomness;
    sqlite3_hard_heap_limit64((sqlite3_int64)sql_start.memory);
    int rc = mend() ? open_database(sql_start.write) : SQLITE_CORRUPT;
    if (rc != SQLITE_OK)
        return answer_fail(a, sql_files_stale() ? SEAT_STALE : SEAT_UNAVAILABLE, "the database cannot be opened: %s",
                           lite.db ? sqlite3_errmsg(lite.db) : sqlite3_errstr(rc));
    sql_rules_install(lite.db, sql_start.write);
    return true;
}

/* ---- errors ---- */

static bool failed(struct sql_answer *a, int rc)
{
    const char *words = sqlite3_errmsg(lite.db);
    if (sql_files_stale() || sqlite3_extended_errcode(lite.db) == SQLITE_READONLY_ROLLBACK)
        return answer_fail(a, SEAT_STALE, "another program has changed the database's files");
    switch (rc & 0xff) {
    case SQLITE_AUTH:
        if (sql_verdict.refused)
            return answer_refuse(a, sql_verdict.needs_write ? SEAT_DENIED : SEAT_REFUSED, sql_verdict.operation,
                                 sql_verdict.why);
        return answer_fail(a, SEAT_REFUSED, "%s", words);
    case SQLITE_READONLY:
        return sql_start.write ? answer_fail(a, SEAT_SQL, "%s", words)
                               : answer_refuse(a, SEAT_DENIED, "WRITE", "only reading is granted");
    case SQLITE_INTERRUPT:
        return answer_fail(a, SEAT_TIME, "the statement took too long and was ended");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return answer_fail(a, SEAT_BUSY, "the database is in use by another one: try again");
    case SQLITE_NOMEM:
        return answer_fail(a, SEAT_LIMIT, "the statement needs more than the %llu MiB that an sql helper may use",
                           (unsigned long long)(sql_start.memory >> 20));
    case SQLITE_FULL:
        return answer_fail(a, SEAT_LIMIT, "the database is full: it may have %llu MiB",
                           (unsigned long long)(sql_start.database_max >> 20));
    case SQLITE_TOOBIG:
        return answer_fail(a, SEAT_TOO_LARGE, "a text or blob is larger than %u KiB", SEAT_ANSWER_MAX / 1024);
    default:
        return answer_fail(a, SEAT_SQL, "%s", words);
    }
}

/* ---- statements ---- */

static void drop(struct cached *c)
{
    sqlite3_finalize(c->stmt);
    sqlite3_free(c->sql);
    *c = (struct cached){0};
}

/* Behind the statement there may be nothing but space, comments and semicolons. */
static bool alone(const char *tail, struct sql_answer *a)
{
    while (*tail) {
        sqlite3_stmt *second = NULL;
        const char *from = tail;
        int rc = sqlite3_prepare_v2(lite.db, tail, -1, &second, &tail);
        bool more = rc != SQLITE_OK || second;
        sqlite3_finalize(second);
        if (more)
            return answer_refuse(a, SEAT_REFUSED, "STACKED", "one statement at a time");
        if (tail == from)
            break;
    }
    return true;
}

static sqlite3_stmt *prepare(const struct sql_query *q, struct sql_answer *a)
{
    struct cached *oldest = lite.cache;
    for (size_t i = 0; i < CACHE; i++) {
        struct cached *c = &lite.cache[i];
        if (c->stmt && c->len == q->sql_len && memcmp(c->sql, q->sql, c->len) == 0) {
            c->used = ++lite.uses;
            return c->stmt;
        }
        if (c->used < oldest->used)
            oldest = c;
    }
    sqlite3_stmt *stmt = NULL;
    const char *tail = "";
    sql_verdict.refused = false;
    int rc = sqlite3_prepare_v3(lite.db, q->sql, (int)q->sql_len + 1, SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
    if (rc != SQLITE_OK) {
        failed(a, rc);
        return NULL;
    }
    if (!stmt) {
        answer_fail(a, SEAT_SQL, "there is no statement");
        return NULL;
    }
    char *copy = sqlite3_malloc64(q->sql_len + 1);
    if (!copy || !alone(tail, a)) {
        if (!copy)
            answer_fail(a, SEAT_LIMIT, "no memory for the statement");
        sqlite3_free(copy);
        sqlite3_finalize(stmt);
        return NULL;
    }
    memcpy(copy, q->sql, q->sql_len + 1);
    drop(oldest);
    *oldest = (struct cached){.stmt = stmt, .sql = copy, .len = q->sql_len, .used = ++lite.uses};
    return stmt;
}

static bool bind(sqlite3_stmt *stmt, const struct sql_query *q, struct sql_answer *a)
{
    int wanted = sqlite3_bind_parameter_count(stmt);
    if (wanted != (int)q->nparams)
        return answer_fail(a, SEAT_PARAMETERS, "the statement has %d parameters, and %u are given", wanted, q->nparams);
    for (unsigned i = 0; i < q->nparams; i++) {
        const struct param *p = &q->params[i];
        int at = (int)i + 1, rc;
        switch (p->kind) {
        case PARAM_WHOLE:
            rc = sqlite3_bind_int64(stmt, at, p->whole);
            break;
        case PARAM_REAL:
            rc = sqlite3_bind_double(stmt, at, p->real);
            break;
        case PARAM_TEXT:
            rc = sqlite3_bind_text64(stmt, at, p->bytes, p->len, SQLITE_TRANSIENT, SQLITE_UTF8);
            break;
        case PARAM_BLOB:
            rc = sqlite3_bind_blob64(stmt, at, p->bytes, p->len, SQLITE_TRANSIENT);
            break;
        default:
            rc = sqlite3_bind_null(stmt, at);
        }
        if (rc != SQLITE_OK)
            return failed(a, rc);
    }
    return true;
}

/* ---- rows ---- */

static void put_value(struct sql_answer *a, sqlite3_stmt *stmt, int i)
{
    const void *bytes;
    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
        answer_whole(a, sqlite3_column_int64(stmt, i));
        break;
    case SQLITE_FLOAT:
        answer_real(a, sqlite3_column_double(stmt, i));
        break;
    case SQLITE_TEXT:
        bytes = sqlite3_column_text(stmt, i);
        answer_text(a, bytes ? bytes : "", bytes ? (size_t)sqlite3_column_bytes(stmt, i) : 0);
        break;
    case SQLITE_BLOB:
        bytes = sqlite3_column_blob(stmt, i);
        answer_blob(a, bytes, bytes ? (size_t)sqlite3_column_bytes(stmt, i) : 0);
        break;
    default:
        answer_word(a, "null");
    }
}

static void put_row(struct sql_answer *a, sqlite3_stmt *stmt, int columns)
{
    answer_word(a, "[");
    for (int i = 0; i < columns; i++) {
        if (i)
            answer_word(a, ",");
        put_value(a, stmt, i);
    }
    answer_word(a, "]");
}

static void put_columns(struct sql_answer *a, sqlite3_stmt *stmt, int columns)
{
    answer_word(a, "{\"columns\":[");
    for (int i = 0; i < columns; i++) {
        const char *name = sqlite3_column_name(stmt, i);
        if (i)
            answer_word(a, ",");
        answer_text(a, name ? name : "", name ? strlen(name) : 0);
    }
    answer_word(a, "],\"rows\":[");
}

#define TAIL_MAX 64 /* what always fits behind the rows */

/* rc is what sqlite3_step said of the row at hand. SQLITE_DONE, SQLITE_ROW (there is more) or an error; -1: the answer
 * has failed. */
static int put_rows(struct sql_answer *a, sqlite3_stmt *stmt, unsigned most, int rc)
{
    int columns = sqlite3_column_count(stmt);
    put_columns(a, stmt, columns);
    a->end -= TAIL_MAX;
    for (unsigned n = 0; rc == SQLITE_ROW && n < most; n++) {
        char *mark = answer_mark(a);
        if (n)
            answer_word(a, ",");
        put_row(a, stmt, columns);
        if (a->full) {
            answer_back(a, mark);
            if (n == 0) {
                answer_fail(a, SEAT_TOO_LARGE, "one row is larger than %u KiB", SEAT_ANSWER_MAX / 1024);
                rc = -1;
            }
            break;
        }
        rc = sqlite3_step(stmt);
    }
    a->end += TAIL_MAX;
    return rc;
}

static void put_tail(struct sql_answer *a, int64_t changes, bool more)
{
    answer_word(a, "],\"changes\":");
    answer_whole(a, changes);
    answer_word(a, more ? ",\"more\":true}" : ",\"more\":false}");
}

/* ---- requests ---- */

static void rest(sqlite3_stmt *stmt)
{
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

static void close_rows(void)
{
    if (lite.open)
        rest(lite.open);
    lite.open = NULL;
}

/* A statement that changes something and gives rows is done whole or not at all. */
static bool guard(sqlite3_stmt *stmt, struct sql_answer *a)
{
    lite.guarded = !sqlite3_stmt_readonly(stmt) && sqlite3_column_count(stmt) > 0;
    return !lite.guarded || run("SAVEPOINT moat_statement") || failed(a, sqlite3_errcode(lite.db));
}

static bool unguard(bool keep, struct sql_answer *a)
{
    if (!lite.guarded)
        return keep;
    lite.guarded = false;
    if (keep && run("RELEASE moat_statement"))
        return true;
    if (keep)
        failed(a, sqlite3_errcode(lite.db));
    run("ROLLBACK TO moat_statement");
    run("RELEASE moat_statement");
    return false;
}

static bool give_rows(sqlite3_stmt *stmt, const struct sql_query *q, int64_t changes_before, int rc,
                      struct sql_answer *a)
{
    bool changes = !sqlite3_stmt_readonly(stmt);
    rc = put_rows(a, stmt, q->max_rows, rc);
    if (rc == SQLITE_ROW && !changes) {
        lite.open = stmt;
        put_tail(a, 0, true);
        return true;
    }
    bool ok = rc == SQLITE_DONE;
    if (rc == SQLITE_ROW)
        answer_fail(a, SEAT_TOO_LARGE, "the statement gives more rows than were asked for, and is undone");
    else if (!ok && rc >= 0)
        failed(a, rc);
    rest(stmt);
    ok = unguard(ok, a);
    if (ok)
        put_tail(a, changes ? sqlite3_total_changes64(lite.db) - changes_before : 0, false);
    return ok;
}

static bool lite_query(const struct sql_query *q, struct sql_answer *a)
{
    close_rows();
    lite.deadline = q->deadline;
    if (lite.was_open)
        return answer_fail(a, SEAT_ENDED, "the transaction was open for too long and has been undone");
    sqlite3_stmt *stmt = prepare(q, a);
    if (!stmt)
        return false;
    if (!bind(stmt, q, a) || !guard(stmt, a)) {
        rest(stmt);
        return false;
    }
    int64_t before = sqlite3_total_changes64(lite.db);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return give_rows(stmt, q, before, rc, a);
    failed(a, rc);
    rest(stmt);
    unguard(false, a);
    return false;
}

static bool lite_more(const struct sql_query *q, struct sql_answer *a)
{
    sqlite3_stmt *stmt = lite.open;
    lite.deadline = q->deadline;
    lite.open = NULL;
    if (!stmt)
        return answer_fail(a, lite.was_open ? SEAT_ENDED : SEAT_SQL, "there are no more rows of an earlier statement");
    return give_rows(stmt, q, 0, SQLITE_ROW, a);
}

static void lite_end(void)
{
    close_rows();
    lite.deadline = clock_mono_ns() + sql_start.statement_ns;
    if (lite.db && !sqlite3_get_autocommit(lite.db))
        run("ROLLBACK");
    lite.was_open = false;
}

void sql_sqlite_close(void)
{
    lite_end();
    for (size_t i = 0; i < CACHE; i++)
        drop(&lite.cache[i]);
    sqlite3_close(lite.db);
    lite.db = NULL;
}

static void lite_expire(void)
{
    lite_end();
    lite.was_open = true;
}

static uint32_t lite_flags(void)
{
    bool open = lite.was_open || lite.open || (lite.db && !sqlite3_get_autocommit(lite.db));
    return (lite.open ? SEAT_FLAG_MORE : 0) | (open ? SEAT_FLAG_OPEN : 0);
}

const struct sql_engine sql_sqlite = {.open = lite_open,
                                      .query = lite_query,
                                      .more = lite_more,
                                      .end = lite_end,
                                      .expire = lite_expire,
                                      .flags = lite_flags};
