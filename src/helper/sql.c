/* Duty "sql": the session. */
#include "helper/sql.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "wire/archive.h"
#include "json/json.h"

#define HOST 0         /* the socket */
#define FIRST 2        /* of the descriptors that came on it */
#define END_SECONDS 15 /* POSTGRES_END has nobody who waits, and so no deadline */

struct sql_start sql_start;
int sql_fds[SQL_FDS_MAX];

static struct seat *seat;
static bool one_cpu;
static char why_not[256]; /* postgres: it could not be reached */
static char request[SEAT_REQUEST + JSON_PAD];
static struct param params[PARAMS_MAX];

static const struct sql_engine *engine(void)
{
    return sql_start.kind == SQL_SQLITE ? &sql_sqlite : &sql_postgres;
}

/* ---- before the wall ---- */

static bool start_is_sound(size_t nfds)
{
    const struct sql_start *s = &sql_start;
    bool enough = s->kind == SQL_SQLITE     ? nfds == SQL_FD_JOURNAL + 1 || nfds == SQL_FDS_MAX
                  : s->kind == SQL_POSTGRES ? nfds == SQL_FD_SEATS + 1
                                            : s->kind == SQL_POSTGRES_END && nfds == 0;
    return s->version == SQL_VERSION && enough && s->seat < SEATS;
}

/* They come as the last descriptor, and stay as bytes. */
static bool take_files(int *fds, size_t *n)
{
    if (sql_start.kind == SQL_SQLITE || !postgres_has_files())
        return true;
    if (!*n)
        return false;
    bool read = postgres_read_files(fds[*n - 1]);
    close(fds[--*n]);
    return read;
}

/* From FIRST on, in the order of SQL_FD_…: the lock closes what stands behind the last. SQLite takes no database below
 * 3. */
static bool place(int *fds, size_t n)
{
    for (size_t i = 0; i < SQL_FDS_MAX; i++)
        sql_fds[i] = -1;
    for (size_t i = 0; i < n; i++) {
        int high = fcntl(fds[i], F_DUPFD, 32);
        if (high < 0)
            return false;
        close(fds[i]);
        fds[i] = high;
    }
    for (size_t i = 0; i < n; i++) {
        if (dup2(fds[i], FIRST + (int)i) < 0)
            return false;
        close(fds[i]);
        sql_fds[i] = FIRST + (int)i;
    }
    return true;
}

bool duty_sql_prepare(void)
{
    int fds[IO_FDS];
    size_t n = IO_FDS;
    if (io_recv(HOST, &sql_start, sizeof sql_start, fds, &n) != (ssize_t)sizeof sql_start || n > SQL_FDS_MAX ||
        !take_files(fds, &n) || !start_is_sound(n) || !place(fds, n))
        return false;
    if (sql_start.kind == SQL_POSTGRES_END) {
        alarm(END_SECONDS);
        sql_fds[SQL_FD_SEATS] = FIRST;
    } else if (!(seat = seat_map(sql_fds[SQL_FD_SEATS], sql_start.seat))) {
        return false;
    }
    /* The map is all that is needed, and the file has the seats of other sources too. Its number is kept busy: the
     * numbers behind it stay what they are. */
    if (dup2(HOST, sql_fds[SQL_FD_SEATS]) < 0)
        return false;
    cpu_set_t cpus;
    one_cpu = sched_getaffinity(0, sizeof cpus, &cpus) < 0 || CPU_COUNT(&cpus) < 2;
    if (sql_start.kind != SQL_SQLITE && !postgres_connect(why_not, sizeof why_not) && !why_not[0])
        snprintf(why_not, sizeof why_not, "the server cannot be reached");
    return true;
}

unsigned duty_sql_descriptors(void)
{
    unsigned most = FIRST + 1;
    for (size_t i = 0; i < SQL_FDS_MAX; i++)
        if (sql_fds[i] >= (int)most)
            most = (unsigned)sql_fds[i] + 1;
    return most;
}

/* ---- one request ---- */

/* Copied once: what is read from here on cannot change. */
static bool copy_request(const struct seat_request *r)
{
    const char *from = seat_request_at(seat);
    if (r->sql_len > SEAT_SQL_MAX || r->params_len > SEAT_PARAMS_MAX)
        return false;
    memcpy(request, from, r->sql_len);
    request[r->sql_len] = '\0';
    char *to = request + r->sql_len + 1;
    memcpy(to, from + r->sql_len + 1, r->params_len);
    to[r->params_len] = '\0';
    return true;
}

static bool work(const struct sql_engine *e, const struct seat_request *r, char *text, struct sql_answer *a)
{
    uint64_t now = clock_mono_ns(), most = now + sql_start.statement_ns;
    struct sql_query q = {.sql = text,
                          .sql_len = r->sql_len,
                          .params = params,
                          .max_rows =
                              r->max_rows && r->max_rows < sql_start.rows_max ? r->max_rows : sql_start.rows_max,
                          .deadline = r->deadline && r->deadline < most ? r->deadline : most};
    if (r->op == SEAT_MORE)
        return e->more(&q, a);
    if (!r->sql_len || strlen(text) != r->sql_len)
        return answer_fail(a, SEAT_SQL, r->sql_len ? "there is a NUL in the statement" : "there is no statement");
    int n = params_read(text + r->sql_len + 1, r->params_len, params, a);
    if (n < 0)
        return false;
    q.nparams = (unsigned)n;
    return e->query(&q, a);
}

void sql_handle(const struct sql_engine *e, char *text, const struct seat_request *r, char *room,
                struct seat_answer *out, struct sql_answer *a)
{
    answer_begin(a, room, SEAT_ANSWER_MAX);
    bool known = r->op == SEAT_QUERY || r->op == SEAT_MORE || r->op == SEAT_END;
    if (!known || r->sql_len > SEAT_SQL_MAX || r->params_len > SEAT_PARAMS_MAX)
        answer_fail(a, SEAT_PROTOCOL, "the request is none");
    else if (r->op == SEAT_END)
        e->end();
    else
        work(e, r, text, a);
    *out = (struct seat_answer){.code = a->code, .flags = e->flags(), .len = (uint32_t)answer_length(a)};
}

void sql_tell_host(const struct sql_word *w)
{
    send(HOST, w, sizeof *w, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void tell_refusal(const struct sql_answer *a)
{
    struct sql_word w = {.version = SQL_VERSION, .kind = SQL_REFUSED};
    if (a->code != SEAT_REFUSED)
        return;
    snprintf(w.operation, sizeof w.operation, "%s", a->operation);
    sql_tell_host(&w);
}

/* ---- where it runs ---- */

#define TOGETHER 16 /* requests in a row from the CPU that this runs on */
#define AGAIN_NS (50 * NS_PER_MS)

/* A worker that polls for its answer and a helper that polls for the next request pass them on within a microsecond, on
 * two CPUs; on one each waits for the other to be put to sleep, and the kernel sees no reason to part them. The host
 * can do it; this process may not. */
static void ask_for_room(int32_t worker)
{
    static unsigned together;
    static uint64_t not_before;
    int here = one_cpu ? -1 : sched_getcpu();
    together = here >= 0 && here == worker ? together + 1 : 0;
    if (together < TOGETHER)
        return;
    uint64_t now = clock_mono_ns();
    together = 0;
    if (now < not_before)
        return;
    not_before = now + AGAIN_NS;
    sql_tell_host(&(struct sql_word){.version = SQL_VERSION, .kind = SQL_TOGETHER, .cpu = here});
}

/* ---- its life ---- */

/* Until the next request; what stays open for too long is undone meanwhile. false: nobody asks any more. */
static bool next(const struct sql_engine *e, struct spin *spin, struct seat_request *r)
{
    uint64_t idle = clock_mono_ns() + sql_start.idle_ns;
    if (e->flags()) {
        if (seat_next(seat, spin, clock_mono_ns() + sql_start.transaction_ns, r))
            return true;
        if (seat_closed(seat))
            return false;
        e->expire();
    }
    while (!seat_next(seat, spin, idle, r))
        if (seat_closed(seat) || seat_leave(seat))
            return false;
    return true;
}

/* Who asks first is told why there is no database. */
static void serve_failure(const struct sql_answer *why)
{
    struct spin spin = {.alone = true};
    struct seat_request r;
    if (seat_next(seat, &spin, clock_mono_ns() + sql_start.idle_ns, &r) && r.serial == sql_start.serial)
        seat_answer(seat, &(struct seat_answer){.code = why->code, .len = (uint32_t)answer_length(why)});
    seat_leave(seat);
}

int duty_sql(void)
{
    if (sql_start.kind == SQL_POSTGRES_END)
        return !why_not[0] && postgres_end() ? HELPER_DONE : HELPER_LEFT_WORK;
    const struct sql_engine *e = engine();
    struct spin spin = {.alone = one_cpu};
    struct seat_request r;
    struct seat_answer out;
    struct sql_answer a;
    answer_begin(&a, seat_answer_at(seat), SEAT_ANSWER_MAX);
    bool open = why_not[0] ? answer_fail(&a, SEAT_UNAVAILABLE, "%s", why_not) : e->open(&a);
    postgres_forget(); /* a password, or a key, is of no use any more */
    if (!open) {
        serve_failure(&a);
        return HELPER_BAD_INPUT;
    }
    while (next(e, &spin, &r)) {
        if (r.serial != sql_start.serial) {
            answer_begin(&a, seat_answer_at(seat), SEAT_ANSWER_MAX);
            answer_fail(&a, SEAT_STRANGER, "the source's helper has left, and another has its seat");
            seat_answer(seat, &(struct seat_answer){.code = a.code, .len = (uint32_t)answer_length(&a)});
            continue;
        }
        ask_for_room(r.cpu);
        bool copied = copy_request(&r);
        if (!copied)
            r.sql_len = SEAT_SQL_MAX + 1;
        sql_handle(e, request, &r, seat_answer_at(seat), &out, &a);
        tell_refusal(&a);
        seat_answer(seat, &out);
        if (a.code == SEAT_STALE || a.code == SEAT_UNAVAILABLE || (e->lost && e->lost())) {
            seat_leave(seat);
            break;
        }
    }
    e->end();
    return e->lost && e->lost() ? HELPER_LEFT_WORK : HELPER_DONE;
}
