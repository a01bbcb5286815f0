/* Queries in PostgreSQL, over one socket that is connected already.
 *
 * Every statement runs inside a transaction that is opened here, READ ONLY where only reading is granted, and
 * statements that would change the session are not passed on: what a transaction may do cannot be widened from inside.
 * The extended protocol takes one statement at a time. */
#include "helper/sql_postgres.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "helper/sql.h"
#include "helper/sql_words.h"

#define GRACE_NS (500 * NS_PER_MS)                          /* for the server to end by itself what is late */
#define WATCH "SET client_connection_check_interval = 1000" /* ms: whoever asked may have been killed with the host */
#define LEAST_MS 250 /* of its limit: it holds for the next change of the limit, too */

/* Types by their numbers, which are the server's for ever (pg_type.dat). */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_NUMERIC = 1700
};

static struct {
    PGconn *conn;
    bool transaction; /* the plugin's own BEGIN */
    bool implicit;    /* ours, around one statement */
    bool expired;
    bool lost;     /* the connection is of no use any more */
    bool watched;  /* the server looks whether somebody is there */
    bool writes;   /* the statement whose rows are read */
    PGresult *row; /* of the open statement, not yet given */
} post;

/* ---- waiting ---- */

static bool lose(struct sql_answer *a, enum seat_code code, const char *why)
{
    post.lost = true;
    return answer_fail(a, code, "%s", why);
}

/* Until the next result can be taken without waiting. */
static bool wait_result(uint64_t deadline, struct sql_answer *a)
{
    for (;;) {
        int flush = pq.PQflush(post.conn);
        if (flush == 0 && !pq.PQisBusy(post.conn))
            return true;
        uint64_t now = clock_mono_ns();
        if (now >= deadline + GRACE_NS)
            return lose(a, SEAT_TIME, "the statement took too long, and the connection was given up");
        struct pollfd p = {.fd = pq.PQsocket(post.conn), .events = (short)(POLLIN | (flush > 0 ? POLLOUT : 0))};
        poll(&p, 1, (int)((deadline + GRACE_NS - now) / NS_PER_MS + 1));
        if (flush < 0 || (p.revents && !pq.PQconsumeInput(post.conn)))
            return lose(a, SEAT_UNAVAILABLE, "the server has ended the connection, or says what no server says");
    }
}

static PGresult *next_result(uint64_t deadline, struct sql_answer *a)
{
    return wait_result(deadline, a) ? pq.PQgetResult(post.conn) : NULL;
}

static void drop_row(void)
{
    pq.PQclear(post.row);
    post.row = NULL;
}

/* ---- errors ---- */

static bool failed(PGresult *r, struct sql_answer *a)
{
    const char *state = pq.PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *words = pq.PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    state = state ? state : "";
    words = words ? words : "the server refused and gave no reason";
    if (strcmp(state, "25006") == 0) /* read_only_sql_transaction */
        return answer_refuse(a, SEAT_DENIED, "WRITE", words);
    if (strcmp(state, "57014") == 0) /* query_canceled: its own limit of time */
        return answer_fail(a, SEAT_TIME, "the statement took too long and was ended");
    if (strcmp(state, "25P02") == 0)
        return answer_fail(a, SEAT_ENDED, "an earlier statement failed: ROLLBACK first");
    if (strncmp(state, "57P", 3) == 0)
        return lose(a, SEAT_UNAVAILABLE, words);
    return answer_fail(a, strcmp(state, "55P03") == 0 || strcmp(state, "40P01") == 0 ? SEAT_BUSY : SEAT_SQL, "%s (%s)",
                       words, *state ? state : "no state");
}

/* Those of our own, without rows; with a ; between them. */
static bool command(const char *sql, uint64_t deadline, struct sql_answer *a)
{
    bool ok = pq.PQsendQuery(post.conn, sql) || lose(a, SEAT_UNAVAILABLE, "the server does not take a statement");
    PGresult *r;
    while (!post.lost && (r = next_result(deadline, a))) {
        ExecStatusType s = pq.PQresultStatus(r);
        if (ok && s != PGRES_COMMAND_OK && s != PGRES_TUPLES_OK)
            ok = failed(r, a);
        /* A COMMIT of what has failed is answered so. */
        if (ok && strcmp(sql, "COMMIT") == 0 && strcmp(pq.PQcmdStatus(r), "ROLLBACK") == 0)
            ok = answer_fail(a, SEAT_ENDED, "the transaction had failed, and has been undone");
        pq.PQclear(r);
    }
    return ok && !post.lost;
}

/* The server's own limits, before each statement: the one before may have changed them, by a function. What is so
 * evaded meanwhile ends with the helper's patience (wait_result), and then with the server's process (postgres_end). In
 * a transaction that has failed the server takes none, and does nothing that could take long. */
static bool limit(uint64_t deadline, const char *then, struct sql_answer *a)
{
    char text[256];
    uint64_t now = clock_mono_ns(), left = deadline > now ? (deadline - now) / NS_PER_MS : 0;
    if (pq.PQtransactionStatus(post.conn) == PQTRANS_INERROR)
        return !*then || command(then, deadline, a);
    snprintf(
        text, sizeof text,
        "SET statement_timeout = %llu; SET lock_timeout = 5000; SET idle_in_transaction_session_timeout = %llu%s%s%s",
        (unsigned long long)(left > LEAST_MS ? left : LEAST_MS),
        (unsigned long long)(2 * sql_start.transaction_ns / NS_PER_MS), post.watched ? "; " WATCH : "",
        *then ? "; " : "", then);
    return command(text, deadline, a);
}

/* What is left of the open statement is of no use. */
static void drain(uint64_t deadline)
{
    struct sql_answer nowhere;
    char room[64];
    PGresult *r;
    answer_begin(&nowhere, room, sizeof room);
    drop_row();
    while (!post.lost && (r = next_result(deadline, &nowhere)))
        pq.PQclear(r);
}

/* ---- opening ---- */

/* From PostgreSQL 14 on, and not on every system. */
static void ask_for_watch(void)
{
    PGresult *r = pq.PQexec(post.conn, WATCH);
    post.watched = pq.PQresultStatus(r) == PGRES_COMMAND_OK;
    pq.PQclear(r);
}

static bool post_open(struct sql_answer *a)
{
    post.conn = postgres_open(a);
    if (post.conn)
        ask_for_watch();
    return post.conn && pq.PQsetnonblocking(post.conn, 1) == 0;
}

/* ---- rows ---- */

static bool is_number(const char *p, size_t len)
{
    size_t i = len && *p == '-', digits = i;
    while (i < len && p[i] >= '0' && p[i] <= '9')
        i++;
    if (i == digits || (p[digits] == '0' && i > digits + 1))
        return false;
    if (i < len && p[i] == '.') {
        size_t from = ++i;
        while (i < len && p[i] >= '0' && p[i] <= '9')
            i++;
        if (i == from)
            return false;
    }
    if (i < len && (p[i] == 'e' || p[i] == 'E')) {
        i += 1 + (i + 1 < len && (p[i + 1] == '+' || p[i + 1] == '-'));
        size_t from = i;
        while (i < len && p[i] >= '0' && p[i] <= '9')
            i++;
        if (i == from)
            return false;
    }
    return i == len;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "\x…" as the server writes it; in the result's own memory. false: it is not. */
static bool put_bytea(struct sql_answer *a, char *text, size_t len)
{
    if (len % 2 || len < 2 || text[0] != '\\' || text[1] != 'x')
        return false;
    for (size_t i = 2; i < len; i += 2) {
        int high = hex(text[i]), low = hex(text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        text[i / 2 - 1] = (char)(high << 4 | low);
    }
    answer_blob(a, text, len / 2 - 1);
    return true;
}

static void put_value(struct sql_answer *a, PGresult *r, int column)
{
    char *text = pq.PQgetvalue(r, 0, column);
    size_t len = (size_t)pq.PQgetlength(r, 0, column);
    if (pq.PQgetisnull(r, 0, column)) {
        answer_word(a, "null");
        return;
    }
    switch (pq.PQftype(r, column)) {
    case OID_BOOL:
        answer_word(a, *text == 't' ? "true" : "false");
        return;
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
    case OID_FLOAT4:
    case OID_FLOAT8:
    case OID_NUMERIC:
        if (is_number(text, len)) {
            answer_bytes(a, text, len);
            return;
        }
        break;
    case OID_BYTEA:
        if (put_bytea(a, text, len))
            return;
        break;
    default:
        break;
    }
    answer_text(a, text, len);
}

static void put_columns(struct sql_answer *a, PGresult *r)
{
    answer_word(a, "{\"columns\":[");
    for (int i = 0, n = pq.PQnfields(r); i < n; i++) {
        const char *name = pq.PQfname(r, i);
        if (i)
            answer_word(a, ",");
        answer_text(a, name ? name : "", name ? strlen(name) : 0);
    }
    answer_word(a, "],\"rows\":[");
}

static void put_row(struct sql_answer *a, PGresult *r)
{
    answer_word(a, "[");
    for (int i = 0, n = pq.PQnfields(r); i < n; i++) {
        if (i)
            answer_word(a, ",");
        put_value(a, r, i);
    }
    answer_word(a, "]");
}

#define TAIL_MAX 64

static void put_tail(struct sql_answer *a, const char *changes, bool more)
{
    answer_word(a, "],\"changes\":");
    answer_word(a, is_number(changes, strlen(changes)) ? changes : "0");
    answer_word(a, more ? ",\"more\":true}" : ",\"more\":false}");
}

/* Rows until there are no more (true, *done), until max_rows or the answer is full (true, post.row is the next one), or
 * an error. */
static bool put_rows(const struct sql_query *q, struct sql_answer *a, char changes[24], bool *done)
{
    bool begun = false;
    changes[0] = '\0';
    a->end -= TAIL_MAX;
    for (unsigned n = 0; !*done;) {
        PGresult *r = post.row ? post.row : next_result(q->deadline, a);
        post.row = NULL;
        if (!r) {
            a->end += TAIL_MAX;
            *done = !post.lost;
            return !post.lost;
        }
        ExecStatusType s = pq.PQresultStatus(r);
        if (!begun && (s == PGRES_SINGLE_TUPLE || s == PGRES_TUPLES_OK || s == PGRES_COMMAND_OK))
            put_columns(a, r);
        begun = true;
        if (s == PGRES_SINGLE_TUPLE) {
            char *mark = answer_mark(a);
            if (n)
                answer_word(a, ",");
            if (n < q->max_rows)
                put_row(a, r);
            if (n == q->max_rows || a->full) {
                answer_back(a, mark);
                a->end += TAIL_MAX;
                post.row = r;
                return n || answer_fail(a, SEAT_TOO_LARGE, "one row is larger than %u KiB", SEAT_ANSWER_MAX / 1024);
            }
            n++;
        } else if (s == PGRES_TUPLES_OK || s == PGRES_COMMAND_OK) {
            if (post.writes)
                snprintf(changes, 24, "%s", pq.PQcmdTuples(r));
        } else {
            a->end += TAIL_MAX;
            failed(r, a);
            pq.PQclear(r);
            return false;
        }
        pq.PQclear(r);
    }
    a->end += TAIL_MAX;
    return true;
}

/* ---- requests ---- */

static void undo(uint64_t deadline)
{
    struct sql_answer nowhere;
    char room[64];
    answer_begin(&nowhere, room, sizeof room);
    drain(deadline);
    if (!post.lost && (post.implicit || post.transaction))
        command("ROLLBACK", deadline, &nowhere);
    post.implicit = post.transaction = false;
}

/* READ ONLY is not all: before PostgreSQL 16 large objects are made and changed in such a transaction. Who may only
 * read has nothing to keep. */
static const char *end_text(void)
{
    return sql_start.write || pq.PQtransactionStatus(post.conn) == PQTRANS_INERROR ? "COMMIT" : "ROLLBACK";
}

/* The rows that were asked for, and what becomes of the transaction around the statement. */
static bool give(const struct sql_query *q, struct sql_answer *a)
{
    char changes[24];
    bool done = false, ok = put_rows(q, a, changes, &done);
    if (ok && post.row && !post.writes) {
        put_tail(a, "0", true);
        return true;
    }
    if (ok && post.row)
        ok = answer_fail(a, SEAT_TOO_LARGE, "the statement gives more rows than were asked for, and is undone");
    uint64_t soon = q->deadline;
    if (!ok || !done)
        drain(soon);
    if (!ok && post.writes && post.transaction && !post.lost && a->code == SEAT_TOO_LARGE) {
        /* Part of a transaction: it goes as a whole. */
        undo(soon);
        return false;
    }
    if (post.implicit && !post.lost) {
        struct sql_answer nowhere;
        char room[600];
        answer_begin(&nowhere, room, sizeof room);
        if (!ok)
            command("ROLLBACK", soon, &nowhere);
        else if (!command(end_text(), soon, &nowhere))
            ok = answer_fail(a, nowhere.code, "%.*s", (int)answer_length(&nowhere), room);
        post.implicit = false;
    }
    if (ok)
        put_tail(a, changes, false);
    return ok;
}

static bool send_statement(const struct sql_query *q, struct sql_answer *a)
{
    static const char *values[PARAMS_MAX];
    static Oid types[PARAMS_MAX];
    static int lengths[PARAMS_MAX], formats[PARAMS_MAX];
    static char numbers[PARAMS_MAX * 2 + SEAT_PARAMS_MAX];
    char *room = numbers;
    for (unsigned i = 0; i < q->nparams; i++) {
        const struct param *p = &q->params[i];
        bool number = p->kind == PARAM_WHOLE || p->kind == PARAM_REAL;
        types[i] = p->kind == PARAM_BLOB ? OID_BYTEA : 0;
        formats[i] = p->kind == PARAM_BLOB;
        lengths[i] = (int)p->len;
        values[i] = p->kind == PARAM_NULL ? NULL : number ? room : p->bytes;
        if (number) {
            memcpy(room, p->raw, p->raw_len);
            room[p->raw_len] = '\0';
            room += p->raw_len + 1;
        }
    }
    return (pq.PQsendQueryParams(post.conn, q->sql, (int)q->nparams, types, values, lengths, formats, 0) &&
            pq.PQsetSingleRowMode(post.conn)) ||
           lose(a, SEAT_UNAVAILABLE, "the server does not take a statement");
}

static const char *begin_text(void)
{
    return sql_start.write ? "BEGIN" : "BEGIN READ ONLY";
}

static bool run_statement(const struct sql_query *q, bool writes, struct sql_answer *a)
{
    post.implicit = !post.transaction;
    post.writes = writes;
    if (!limit(q->deadline, post.implicit ? begin_text() : "", a)) {
        post.implicit = false;
        return false;
    }
    if (!send_statement(q, a))
        return false;
    return give(q, a);
}

static bool nothing(struct sql_answer *a)
{
    answer_word(a, "{\"columns\":[],\"rows\":[");
    put_tail(a, "0", false);
    return true;
}

static bool change_transaction(enum sql_words kind, const struct sql_query *q, struct sql_answer *a)
{
    if (kind == WORDS_BEGIN && post.transaction)
        return answer_fail(a, SEAT_SQL, "a transaction is open already");
    if (kind != WORDS_BEGIN && !post.transaction)
        return answer_fail(a, SEAT_SQL, "no transaction is open");
    bool ok = kind == WORDS_BEGIN    ? limit(q->deadline, begin_text(), a)
              : kind == WORDS_COMMIT ? limit(q->deadline, "", a) && command(end_text(), q->deadline, a)
                                     : command("ROLLBACK", q->deadline, a);
    post.transaction = kind == WORDS_BEGIN && ok;
    return ok && nothing(a);
}

static bool post_query(const struct sql_query *q, struct sql_answer *a)
{
    char first[SQL_WORDS_MAX];
    if (post.row) { /* the rest of the last statement is not wanted */
        drain(q->deadline);
        if (post.implicit)
            undo(q->deadline);
    }
    if (post.expired)
        return answer_fail(a, SEAT_ENDED, "the transaction was open for too long and has been undone");
    if (post.lost)
        return answer_fail(a, SEAT_UNAVAILABLE, "the connection is lost");
    enum sql_words kind = sql_words(q->sql, first);
    switch (kind) {
    case WORDS_BEGIN:
    case WORDS_COMMIT:
    case WORDS_ROLLBACK:
        return change_transaction(kind, q, a);
    case WORDS_SAVEPOINT:
        if (!post.transaction)
            return answer_fail(a, SEAT_SQL, "no transaction is open");
        return run_statement(q, false, a);
    case WORDS_READ:
    case WORDS_WRITE:
        if (kind == WORDS_WRITE && !sql_start.write)
            return answer_refuse(a, SEAT_DENIED, first, "it changes the data, and only reading is granted");
        return run_statement(q, sql_start.write, a);
    default:
        return answer_refuse(a, SEAT_REFUSED, *first ? first : "UNKNOWN",
                             "a statement is SELECT, INSERT, UPDATE, DELETE and the like, or BEGIN, COMMIT, ROLLBACK");
    }
}

static bool post_more(const struct sql_query *q, struct sql_answer *a)
{
    if (!post.row)
        return answer_fail(a, post.expired ? SEAT_ENDED : SEAT_SQL, "there are no more rows of an earlier statement");
    return give(q, a);
}

static void post_end(void)
{
    if (post.conn && (post.row || post.transaction || post.implicit))
        undo(clock_mono_ns() + sql_start.statement_ns);
    post.expired = false;
}

static void post_expire(void)
{
    post_end();
    post.expired = true;
}

static uint32_t post_flags(void)
{
    return (post.row ? SEAT_FLAG_MORE : 0) | (post.row || post.transaction || post.expired ? SEAT_FLAG_OPEN : 0);
}

static bool post_lost(void)
{
    return post.lost;
}

const struct sql_engine sql_postgres = {.open = post_open,
                                        .query = post_query,
                                        .more = post_more,
                                        .end = post_end,
                                        .expire = post_expire,
                                        .lost = post_lost,
                                        .flags = post_flags};
