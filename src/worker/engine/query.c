/* Queries.  The host is asked once for a seat at a data source; from then on this side and the source's helper talk
 * through its memory, and the host is not on the way. */
#include <stdio.h>
#include <string.h>

#include "wire/ask.h"
#include "worker/engine/private.h"

#define SLICE_NS (20 * NS_PER_MS) /* how often a waiting call looks whether it is cancelled */
#define END_NS NS_PER_S

struct sitting {
    char source[SEAT_SOURCE_MAX + 1]; /* empty: nobody's */
    struct seat *seat;
    struct spin spin;
    uint64_t serial;  /* of the helper there, as the host said */
    bool write, open; /* rows or a transaction are open there */
};

static struct sitting sittings[SEATS];

bool query_init(int seats)
{
    for (unsigned i = 0; i < SEATS; i++)
        if (!(sittings[i].seat = seat_map(seats, i)))
            return false;
    return true;
}

static const struct moat_reply *no(const char *code, const char *message)
{
    return services_no(code, message);
}

/* ---- seats ---- */

static struct sitting *find(const char *source)
{
    for (unsigned i = 0; i < SEATS; i++)
        if (strcmp(sittings[i].source, source) == 0)
            return &sittings[i];
    return NULL;
}

static void forget(struct sitting *p)
{
    p->source[0] = '\0';
    p->open = false;
}

/* NULL: the reply says why not. */
static struct sitting *take(struct moat_call *call, const char *source, enum ask_service service)
{
    struct port_part name = {source, strlen(source)};
    const struct moat_reply *r = services_ask(call, service, &name, 1);
    if (!r->ok)
        return NULL;
    struct seat_told told;
    if (r->len != sizeof told) {
        no("internal", "the host gives no seat");
        return NULL;
    }
    memcpy(&told, r->data, sizeof told);
    if (told.seat >= SEATS) {
        no("internal", "the host gives a seat that is none");
        return NULL;
    }
    struct sitting *p = &sittings[told.seat];
    for (unsigned i = 0; i < SEATS; i++)
        if (strcmp(sittings[i].source, source) == 0)
            forget(&sittings[i]);
    forget(p);
    snprintf(p->source, sizeof p->source, "%s", source);
    p->serial = told.serial;
    p->write = told.write;
    return p;
}

/* ---- one request ---- */

enum turn { ANSWERED, CLOSED_BEFORE, CLOSED, LATE };

static enum turn wait_answer(struct sitting *p, uint64_t until, struct seat_answer *out)
{
    for (;;) {
        uint64_t now = clock_mono_ns(), slice = now + SLICE_NS;
        enum seat_end end = seat_wait(p->seat, &p->spin, until && until < slice ? until : slice, out);
        if (end != SEAT_LATE)
            return end == SEAT_ANSWERED ? ANSWERED : CLOSED;
        if ((until && clock_mono_ns() >= until) || port_cancelled(&engine.port))
            return LATE;
    }
}

struct statement {
    enum seat_op op;
    const char *sql, *params;
    size_t sql_len, params_len;
    unsigned max_rows;
};

static enum turn ask_seat(struct moat_call *call, struct sitting *p, const struct statement *s, struct seat_answer *out)
{
    char *at = seat_request_at(p->seat);
    struct seat_request r = {.op = s->op,
                             .max_rows = s->max_rows,
                             .sql_len = (uint32_t)s->sql_len,
                             .params_len = (uint32_t)s->params_len,
                             .deadline = call->deadline,
                             .serial = p->serial};
    memcpy(at, s->sql, s->sql_len);
    at[s->sql_len] = '\0';
    memcpy(at + s->sql_len + 1, s->params, s->params_len);
    at[s->sql_len + 1 + s->params_len] = '\0';
    if (!seat_ask(p->seat, &r))
        return CLOSED_BEFORE;
    return wait_answer(p, call->deadline, out);
}

/* Numbers from the helper's side are checked; the text stays where it is, the helper's word. */
static const struct moat_reply *reply(struct sitting *p, const struct seat_answer *a)
{
    char *text = seat_answer_at(p->seat);
    if (a->len > SEAT_ANSWER_MAX || a->code >= SEAT_CODE_COUNT) {
        forget(p);
        return no("unavailable", "the source's helper answers what it cannot");
    }
    text[a->len] = '\0';
    p->open = a->flags & SEAT_FLAG_OPEN;
    if (a->code == SEAT_DONE)
        return services_yes(text, a->len);
    return no(seat_code_name(a->code), text);
}

static const struct moat_reply *late(struct sitting *p)
{
    forget(p); /* what it does goes on until the host gives the seat to another */
    return port_cancelled(&engine.port) ? no("cancelled", "the call was cancelled")
                                        : no("deadline", "no time is left for an answer");
}

/* One that only reads has refused a change; the host knows whether the plugin may. It was not done, so it can be asked
 * again; but not outside of a transaction that it was meant for. */
static struct sitting *take_write(struct moat_call *call, struct sitting *p)
{
    char source[SEAT_SOURCE_MAX + 1];
    bool open = p->open;
    snprintf(source, sizeof source, "%s", p->source);
    struct sitting *other = take(call, source, ASK_SQL_WRITE);
    if (!other || !open)
        return other;
    no("transaction_ended", "the plugin may change the data by now: begin again");
    return NULL;
}

/* Its helper has left, and nothing of this was seen there. NULL: it can be asked of another. */
static const struct moat_reply *left(struct sitting *p, const struct statement *s)
{
    bool open = p->open;
    forget(p);
    if (s->op == SEAT_MORE)
        return no("sql_error", "there are no more rows of an earlier statement");
    return open ? no("transaction_ended", "the source's helper has ended, and what was open there is undone") : NULL;
}

static const struct moat_reply *run(struct moat_call *call, const char *source, const struct statement *s)
{
    struct sitting *p = find(source);
    struct seat_answer a = {0};
    for (int attempt = 0; attempt < 3; attempt++) {
        if (!p && s->op == SEAT_MORE)
            return no("sql_error", "there are no more rows of an earlier statement");
        if (!p && !(p = take(call, source, ASK_SQL_READ)))
            return &engine.reply;
        switch (ask_seat(call, p, s, &a)) {
        case CLOSED_BEFORE:
            if (left(p, s))
                return &engine.reply;
            p = NULL;
            continue;
        case CLOSED:
            forget(p);
            return no("unavailable", "the source's helper has ended; what it was asked may or may not be done");
        case LATE:
            return late(p);
        case ANSWERED:
            break;
        }
        if ((a.code == SEAT_STALE && !p->open && attempt < 2) || a.code == SEAT_STRANGER) { /* nothing was done */
            if (left(p, s))
                return &engine.reply;
            p = NULL;
            continue;
        }
        if (a.code == SEAT_DENIED && !p->write && attempt < 2) {
            if (!(p = take_write(call, p)))
                return &engine.reply;
            continue;
        }
        return reply(p, &a);
    }
    return no("unavailable", "the source's helper cannot be reached");
}

/* ---- the service ---- */

const struct moat_reply *query(struct moat_call *call, const char *source, const char *sql, const char *parameters,
                               size_t len, unsigned max_rows)
{
    struct statement s = {.op = sql ? SEAT_QUERY : SEAT_MORE,
                          .sql = sql ? sql : "",
                          .params = parameters ? parameters : "",
                          .sql_len = sql ? strnlen(sql, SEAT_SQL_MAX + 1) : 0,
                          .params_len = parameters && sql ? len : 0,
                          .max_rows = max_rows};
    if (!services_running(call))
        return no("wrong_state", "only a call that runs can query");
    if (!source || strnlen(source, SEAT_SOURCE_MAX + 1) > SEAT_SOURCE_MAX || !*source)
        return no("bad_parameters", "that is no name of a data source");
    if (s.sql_len > SEAT_SQL_MAX || s.params_len > SEAT_PARAMS_MAX)
        return no("too_large", "a statement has 64 KiB at most, its parameters 1 MiB");
    if (!sittings[0].seat)
        return services_ask(call, ASK_SQL_READ, &(struct port_part){source, strlen(source)}, 1);
    return run(call, source, &s);
}

void query_call_ends(struct moat_call *call)
{
    static const struct statement end = {.op = SEAT_END, .sql = "", .params = ""};
    struct seat_answer a = {0};
    for (unsigned i = 0; i < SEATS; i++) {
        struct sitting *p = &sittings[i];
        if (!p->open)
            continue;
        call->deadline = clock_mono_ns() + END_NS;
        if (ask_seat(call, p, &end, &a) == ANSWERED && a.code == SEAT_DONE)
            p->open = false;
        else
            forget(p);
    }
}
