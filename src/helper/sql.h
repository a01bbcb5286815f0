/* helper/sql: queries of one plugin against one data source, with that plugin's authority.  UNTRUSTED code, walled as
 * the other duties: statements are the plugin's, the database's bytes or the server's answers may be anybody's.
 *
 * One thread, one request at a time.  An engine (SQLite, PostgreSQL) fills the answer through struct sql_answer; the
 * session sees to limits of rows and bytes, to what stays open between requests, and to its end. */
#ifndef HELPER_SQL_H
#define HELPER_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/seat.h"
#include "wire/sql.h"

#define SQL_WORD_MAX 32 /* of what was refused */

/* ---- answers (sql_answer.c) ---- */

/* JSON on its way into memory of at most SEAT_ANSWER_MAX bytes, which the worker may change meanwhile: nothing is ever
 * read back. */
struct sql_answer {
    char *at, *end, *begin;
    bool full;
    enum seat_code code;
    char operation[SQL_WORD_MAX]; /* with DENIED and REFUSED */
};

void answer_begin(struct sql_answer *a, char *room, size_t size);
void answer_bytes(struct sql_answer *a, const char *bytes, size_t len);
void answer_word(struct sql_answer *a, const char *text);
void answer_text(struct sql_answer *a, const char *text,
                 size_t len); /* a JSON string; what is no UTF-8 becomes U+FFFD */
void answer_whole(struct sql_answer *a, int64_t n);
void answer_real(struct sql_answer *a, double d);
void answer_blob(struct sql_answer *a, const void *bytes, size_t len); /* {"base64":"…"} */
/* Takes back everything and says what is wrong instead: one line. Returns false. */
__attribute__((format(printf, 3, 4))) bool answer_fail(struct sql_answer *a, enum seat_code code, const char *format,
                                                       ...);
bool answer_refuse(struct sql_answer *a, enum seat_code code, const char *operation, const char *why);
size_t answer_length(const struct sql_answer *a);

/* Where a row begins, so that one that does not fit can be taken back. */
static inline char *answer_mark(const struct sql_answer *a)
{
    return a->at;
}
void answer_back(struct sql_answer *a, char *mark);

/* ---- parameters (sql_params.c) ---- */

enum param_kind { PARAM_NULL, PARAM_WHOLE, PARAM_REAL, PARAM_TEXT, PARAM_BLOB };

struct param {
    enum param_kind kind;
    int64_t whole; /* true and false are 1 and 0 */
    double real;
    const char *bytes; /* of text and blob; a 0 stands behind text */
    size_t len;
    const char *raw; /* a number as it was written */
    size_t raw_len;
};

#define PARAMS_MAX 1000

/* Reads a JSON array of null, true, false, numbers, strings and {"base64":"…"} in memory of its own. text has JSON_PAD
 * bytes behind it and is changed: unescaped texts stand there. The count; or -1 with the answer failed. len 0: none. */
int params_read(char *text, size_t len, struct param out[PARAMS_MAX], struct sql_answer *a);

/* ---- engines ---- */

struct sql_query {
    const char *sql; /* a 0 behind it */
    size_t sql_len;
    const struct param *params;
    unsigned nparams, max_rows;
    uint64_t deadline; /* CLOCK_MONOTONIC ns, never 0 */
};

struct sql_engine {
    /* false: the answer says why. Once, behind the wall. */
    bool (*open)(struct sql_answer *a);
    bool (*query)(const struct sql_query *q, struct sql_answer *a);
    bool (*more)(const struct sql_query *q, struct sql_answer *a); /* without a statement */
    void (*end)(void);       /* the call is over: undoes and closes what is open */
    void (*expire)(void);    /* the same for what was open too long: until `end` statements answer SEAT_ENDED */
    bool (*lost)(void);      /* nothing more can be asked here; may be NULL */
    uint32_t (*flags)(void); /* SEAT_FLAG_… */
};

extern const struct sql_engine sql_sqlite, sql_postgres;

/* For the fuzz target: the same over a database in memory. */
struct sqlite3;
bool sql_sqlite_open_memory(void);
struct sqlite3 *sql_sqlite_database(void);
void sql_sqlite_close(void);

/* What the host said at the start; fixed once the wall stands. */
extern struct sql_start sql_start;
extern int sql_fds[SQL_FDS_MAX]; /* -1: absent */

/* ---- postgres, before the wall: the one socket (sql_socket.c), and the files that its options name (sql_tls.c) ----
 */
bool postgres_connect(char *why, size_t size);
bool postgres_has_files(void);
bool postgres_read_files(int fd); /* which stays the caller's */
/* Behind it, once there is a session or none: what the host told, and the files. */
void postgres_forget(void);

/* Kind POSTGRES_END: no process of the server is left that was named at the start. false: it may be. */
bool postgres_end(void);

void sql_tell_host(const struct sql_word *w); /* a host that does not read loses the news and nothing else */

/* ---- the session ---- */

/* One request against an engine that is open; for the session and the fuzz target. request is private memory of
 * SEAT_REQUEST bytes and JSON_PAD. */
void sql_handle(const struct sql_engine *e, char *request, const struct seat_request *r, char *room,
                struct seat_answer *out, struct sql_answer *a);

/* Reads the start from descriptor 0 and does what cannot be done behind the wall. false: nobody to serve. */
bool duty_sql_prepare(void);
unsigned duty_sql_descriptors(void); /* from 0 on, that must stay */
int duty_sql(void);

#endif
