/* wire/seat: the memory that one worker shares with one sql helper.  Carries one query there and its answer back; the
 * host makes it, never reads it, and writes one word of it: that the helper is gone.
 *
 * A worker has SEATS of them in one sealed-size file; each helper maps the one it serves.  Neither side trusts what
 * stands there: numbers are loaded once and checked as loaded, texts are copied before they are looked at or are used
 * as what they are, the other side's words.  What is wrong here harms the plugin that both belong to and nobody else.
 *
 * A seat can be given to another source while its worker still thinks of the one before: each helper has a serial of
 * the host's, which its worker is told and says with each request; one that is for another serial is not looked at.
 *
 *     page 0         the words of struct seat
 *     REQUEST        the statement, a 0, the parameters (JSON), a 0
 *     ANSWER         rows (JSON), or code NUL message
 *
 * Whose turn it is stands in one word.  The worker makes IDLE to ASKED; the helper makes ASKED to IDLE, and IDLE to
 * CLOSED when nobody has asked for long; the host makes anything CLOSED when the helper has ended. */
#ifndef WIRE_SEAT_H
#define WIRE_SEAT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/spin.h"

#define SEATS 4 /* data sources that a worker can have open at a time */
#define SEAT_PAGE 4096u
#define SEAT_SQL_MAX (64u * 1024)
#define SEAT_PARAMS_MAX (1024u * 1024)
#define SEAT_REQUEST (SEAT_SQL_MAX + SEAT_PARAMS_MAX + SEAT_PAGE)
#define SEAT_ANSWER_MAX (1024u * 1024)
#define SEAT_SIZE (SEAT_PAGE + SEAT_REQUEST + SEAT_ANSWER_MAX + SEAT_PAGE)
#define SEAT_SOURCE_MAX 64

enum seat_turn { SEAT_IDLE, SEAT_ASKED, SEAT_CLOSED };

enum seat_op {
    SEAT_QUERY = 1, /* a statement */
    SEAT_MORE,      /* the next rows of the last one */
    SEAT_END,       /* the call has ended: what is open is undone and closed */
    SEAT_OPS
};

/* What became of it, the word that a plugin reads, and whether the host should know of a refusal. */
#define SEAT_CODES(X) \
    X(DONE, "done") \
    X(SQL, "sql_error") \
    X(DENIED, "permission_denied") \
    X(REFUSED, "not_allowed") \
    X(PARAMETERS, "bad_parameters") \
    X(TOO_LARGE, "too_large") \
    X(TIME, "deadline") \
    X(BUSY, "busy") \
    X(LIMIT, "limit") \
    X(ENDED, "transaction_ended") \
    X(UNAVAILABLE, "unavailable") \
    X(STALE, "stale") \
    X(STRANGER, "stale") \
    X(PROTOCOL, "bad_request")

enum seat_code {
#define X(id, name) SEAT_##id,
    SEAT_CODES(X)
#undef X
        SEAT_CODE_COUNT
};
const char *seat_code_name(unsigned code);

#define SEAT_FLAG_MORE 1u /* there are more rows: SEAT_MORE gets them */
#define SEAT_FLAG_OPEN 2u /* rows or a transaction are open: SEAT_END is wanted when the call ends */

struct seat {
    alignas(64) _Atomic uint32_t turn;
    alignas(64) _Atomic uint32_t worker_sleeps;
    alignas(64) _Atomic uint32_t helper_sleeps;
    alignas(64) _Atomic uint32_t op;
    _Atomic uint32_t ticket; /* of the request; the answer to it says the same, so that one is not lost when the seat is
                                closed right behind it */
    _Atomic int32_t cpu;     /* that the worker asks from, -1: unknown: two that poll for each other need two */
    _Atomic uint32_t max_rows, sql_len, params_len;
    _Atomic uint64_t deadline; /* CLOCK_MONOTONIC ns; 0: none */
    _Atomic uint64_t serial;   /* of the helper that the request is for */
    alignas(64) _Atomic uint32_t code;
    _Atomic uint32_t flags, len, answered;
};
_Static_assert(sizeof(struct seat) <= SEAT_PAGE, "the words fit their page");
_Static_assert(SEAT_SIZE % SEAT_PAGE == 0 && SEAT_REQUEST % SEAT_PAGE == 0, "seats lie on pages");

/* A request or an answer with its words as they were loaded, once. */
struct seat_request {
    uint32_t op, max_rows, sql_len, params_len;
    uint64_t deadline, serial;
    int32_t cpu; /* filled by seat_ask */
};
struct seat_answer {
    uint32_t code, flags, len;
};

static inline char *seat_request_at(struct seat *s)
{
    return (char *)s + SEAT_PAGE;
}

static inline char *seat_answer_at(struct seat *s)
{
    return (char *)s + SEAT_PAGE + SEAT_REQUEST;
}

/* What the host answers a worker that wants a source: where its helper is. */
struct seat_told {
    uint64_t serial;
    uint32_t seat, write;
};

/* Maps seat i of the file; NULL when it is not of the size that it must have.  The file stays the caller's. */
struct seat *seat_map(int fd, unsigned i);
void seat_unmap(struct seat *s);

/* ---- the worker ---- */

/* Publishes what stands in the request's area; false: the helper has closed the seat, ask the host for another. */
bool seat_ask(struct seat *s, const struct seat_request *r);
enum seat_end {
    SEAT_ANSWERED,
    SEAT_LATE,    /* until_ns is over (0: never), and the helper still has it */
    SEAT_NO_MORE, /* there will be no answer: closed, or a helper that breaks the rules */
};
enum seat_end seat_wait(struct seat *s, struct spin *spin, uint64_t until_ns, struct seat_answer *out);
bool seat_closed(const struct seat *s);

/* ---- the helper ---- */

/* Until there is a request: true.  false: at until_ns, or the seat was closed. */
bool seat_next(struct seat *s, struct spin *spin, uint64_t until_ns, struct seat_request *out);
void seat_answer(struct seat *s, const struct seat_answer *a);
/* Nobody asks any more; false: somebody has just asked. */
bool seat_leave(struct seat *s);

/* ---- the host ---- */

/* A file with SEATS empty seats, sealed against growing and shrinking; -1 with errno. */
int seat_file(void);
/* Before a helper is started for it. What an earlier one was asked and has not answered stays unanswered. */
void seat_open(struct seat *s);
void seat_close(struct seat *s);

#endif
