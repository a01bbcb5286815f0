/* The worker's side of a query, with a helper that answers what none would, and a host that says so or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/engine/private.h"

/* ---- what query.c has around it ---- */

struct engine engine;

static unsigned asked, next_seat;
static const char *refusal; /* NULL: the host gives a seat */

bool services_running(const struct moat_call *call)
{
    return call == &engine.call;
}

const struct moat_reply *services_no(const char *code, const char *message)
{
    engine.reply = (struct moat_reply){.data = "", .code = code, .message = message};
    return &engine.reply;
}

const struct moat_reply *services_yes(const char *data, size_t len)
{
    engine.reply = (struct moat_reply){.ok = true, .data = data, .len = len, .code = "", .message = ""};
    return &engine.reply;
}

const struct moat_reply *services_ask(const struct moat_call *call, enum ask_service service,
                                      const struct port_part *parts, size_t nparts)
{
    static struct seat_told told;
    (void)call;
    (void)parts;
    (void)nparts;
    asked++;
    if (refusal)
        return services_no(refusal, "no");
    told = (struct seat_told){.serial = 100 + asked, .seat = next_seat, .write = service == ASK_SQL_WRITE};
    return services_yes((const char *)&told, sizeof told);
}

/* ---- a helper that lies ---- */

static struct seat *seats[SEATS];
static _Atomic bool stop;

struct lie {
    uint32_t turn, code, flags, len;
    bool answered; /* it says for which request */
};

static _Atomic(const struct lie *) next_lie;

static void *helper_main(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop)) {
        struct seat *s = seats[0];
        if (atomic_load(&s->turn) != SEAT_ASKED) {
            usleep(50);
            continue;
        }
        const struct lie *lie = atomic_load(&next_lie);
        atomic_store(&s->code, lie->code);
        atomic_store(&s->flags, lie->flags);
        atomic_store(&s->len, lie->len);
        if (lie->answered)
            atomic_store(&s->answered, atomic_load(&s->ticket));
        memset(seat_answer_at(s), 0xee, 4096);
        atomic_store(&s->turn, lie->turn);
        syscall(SYS_futex, &s->turn, FUTEX_WAKE, 2, NULL, NULL, 0);
    }
    return NULL;
}

static int set_up(void **state)
{
    int fd = seat_file();
    (void)state;
    assert_true(fd >= 0 && query_init(fd));
    for (unsigned i = 0; i < SEATS; i++)
        seats[i] = seat_map(fd, i);
    close(fd);
    return 0;
}

static void lies_are_errors(void **state)
{
    static const struct lie lies[] = {
        {SEAT_IDLE, SEAT_DONE, 0, UINT32_MAX, true},
        {SEAT_IDLE, SEAT_DONE, 0, SEAT_ANSWER_MAX + 1, true},
        {SEAT_IDLE, SEAT_CODE_COUNT, 0, 5, true},
        {SEAT_IDLE, UINT32_MAX, UINT32_MAX, UINT32_MAX, true},
        {SEAT_IDLE, SEAT_SQL, UINT32_MAX, SEAT_ANSWER_MAX, true},
        {SEAT_IDLE, SEAT_DONE, 0, 0, false},
        {SEAT_CLOSED, SEAT_DONE, 0, 0, false},
        {77, SEAT_DONE, 0, 0, false},
        {UINT32_MAX, SEAT_DONE, 0, UINT32_MAX, true},
        {SEAT_IDLE, SEAT_STALE, 0, 4, true},
        {SEAT_IDLE, SEAT_DENIED, 0, 4, true},
    };
    pthread_t helper;
    (void)state;
    assert_int_equal(pthread_create(&helper, NULL, helper_main, NULL), 0);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        atomic_store(&next_lie, &lies[i]);
        seat_open(seats[0]);
        engine.call.deadline = clock_mono_ns() + 10 * NS_PER_S;
        const struct moat_reply *r = query(&engine.call, "private", "SELECT 1", NULL, 0, 0);
        if (r->ok)
            fail_msg("lie %zu was believed", i);
        assert_true(strlen(r->code) > 0 && r->message);
        query_call_ends(&engine.call);
    }
    atomic_store(&stop, true);
    pthread_join(helper, NULL);
}

static void a_silent_helper_costs_the_calls_time(void **state)
{
    (void)state;
    seat_open(seats[1]);
    next_seat = 1;
    engine.call.deadline = clock_mono_ns() + 50 * NS_PER_MS;
    const struct moat_reply *r = query(&engine.call, "silent", "SELECT 1", NULL, 0, 0);
    assert_string_equal(r->code, "deadline");
    /* Its seat is not used again before the host has given it anew. */
    unsigned before = asked;
    refusal = "start_failed";
    r = query(&engine.call, "silent", "SELECT 1", NULL, 0, 0);
    assert_string_equal(r->code, "start_failed");
    assert_int_equal(asked, before + 1);
    refusal = NULL;
}

static void *slow_helper_main(void *seed)
{
    struct seat *s = seats[3];
    for (unsigned random = *(unsigned *)seed; !atomic_load(&stop);) {
        if (atomic_load(&s->turn) != SEAT_ASKED) {
            sched_yield();
            continue;
        }
        uint64_t then = clock_mono_ns() + (40 + (unsigned)rand_r(&random) % 100u) * NS_PER_US;
        while (clock_mono_ns() < then)
            ;
        seat_answer(s, &(struct seat_answer){.code = SEAT_DONE});
    }
    return NULL;
}

/* An answer that comes while the call's time runs out is late or is the answer; the helper is there all the time. */
static void an_answer_at_the_deadline_is_not_a_lost_helper(void **state)
{
    unsigned seed = 1, answered = 0;
    pthread_t helper;
    (void)state;
    next_seat = 3;
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&helper, NULL, slow_helper_main, &seed), 0);
    for (unsigned i = 0; i < 8000; i++) {
        while (atomic_load(&seats[3]->turn) == SEAT_ASKED) /* the one before came late */
            sched_yield();
        seat_open(seats[3]);
        engine.call.deadline = clock_mono_ns() + 60 * NS_PER_US;
        const struct moat_reply *r = query(&engine.call, "slow", "SELECT 1", NULL, 0, 0);
        answered += r->ok;
        if (!r->ok && strcmp(r->code, "deadline") != 0)
            fail_msg("query %u: %s: %s", i, r->code, r->message);
    }
    assert_in_range(answered, 1, 7999);
    atomic_store(&stop, true);
    pthread_join(helper, NULL);
}

static void what_is_no_query_reaches_nobody(void **state)
{
    static char huge[SEAT_SQL_MAX + 2];
    unsigned before = asked;
    (void)state;
    memset(huge, 'x', sizeof huge - 1);
    assert_false(query(NULL, "a", "SELECT 1", NULL, 0, 0)->ok);
    assert_false(query(&engine.call, NULL, "SELECT 1", NULL, 0, 0)->ok);
    assert_false(query(&engine.call, "", "SELECT 1", NULL, 0, 0)->ok);
    assert_false(query(&engine.call, huge, "SELECT 1", NULL, 0, 0)->ok);
    assert_string_equal(query(&engine.call, "a", huge, NULL, 0, 0)->code, "too_large");
    assert_string_equal(query(&engine.call, "a", "SELECT 1", huge, SEAT_PARAMS_MAX + 1, 0)->code, "too_large");
    assert_string_equal(query(&engine.call, "a", NULL, NULL, 0, 0)->code, "sql_error");
    assert_int_equal(asked, before);
}

/* The seat of one source is given to another, of which this side never hears: its next request says whose it is. */
static void a_request_says_which_helper_it_is_for(void **state)
{
    (void)state;
    next_seat = 2;
    seat_open(seats[2]);
    engine.call.deadline = clock_mono_ns() + 20 * NS_PER_MS;
    assert_string_equal(query(&engine.call, "first", "SELECT 1", NULL, 0, 0)->code, "deadline");
    assert_int_equal(atomic_load(&seats[2]->serial), 100 + asked);
    seat_open(seats[2]);
    engine.call.deadline = clock_mono_ns() + 20 * NS_PER_MS;
    assert_string_equal(query(&engine.call, "first", "SELECT 1", NULL, 0, 0)->code, "deadline");
    assert_int_equal(atomic_load(&seats[2]->serial), 100 + asked);
}

/* What was open is undone with the helper that had it: the next statement does not run without it. */
static void a_transaction_is_not_gone_on_with_elsewhere(void **state)
{
    static const struct lie left_open = {SEAT_IDLE, SEAT_DONE, SEAT_FLAG_OPEN, 0, true};
    static const struct lie stranger = {SEAT_IDLE, SEAT_STRANGER, 0, 0, true};
    pthread_t helper;
    unsigned before;
    (void)state;
    next_seat = 0;
    seat_open(seats[0]);
    atomic_store(&stop, false);
    atomic_store(&next_lie, &left_open);
    assert_int_equal(pthread_create(&helper, NULL, helper_main, NULL), 0);
    engine.call.deadline = clock_mono_ns() + 10 * NS_PER_S;
    assert_true(query(&engine.call, "open", "BEGIN", NULL, 0, 0)->ok);
    seat_close(seats[0]);
    before = asked;
    assert_string_equal(query(&engine.call, "open", "DELETE FROM t", NULL, 0, 0)->code, "transaction_ended");
    assert_int_equal(asked, before);
    seat_open(seats[0]);
    assert_true(query(&engine.call, "open", "BEGIN", NULL, 0, 0)->ok);
    atomic_store(&next_lie, &stranger);
    before = asked;
    assert_string_equal(query(&engine.call, "open", "DELETE FROM t", NULL, 0, 0)->code, "transaction_ended");
    assert_int_equal(asked, before);
    /* Nothing is open: it is asked of the one that the host gives next. */
    assert_string_equal(query(&engine.call, "open", "DELETE FROM t", NULL, 0, 0)->code, "unavailable");
    assert_int_equal(asked, before + 3);
    atomic_store(&stop, true);
    pthread_join(helper, NULL);
}

/* A host of another mind gives a seat that is none. */
static void a_strange_seat_is_refused(void **state)
{
    (void)state;
    next_seat = 200;
    assert_string_equal(query(&engine.call, "b", "SELECT 1", NULL, 0, 0)->code, "internal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lies_are_errors),
        cmocka_unit_test(a_silent_helper_costs_the_calls_time),
        cmocka_unit_test(an_answer_at_the_deadline_is_not_a_lost_helper),
        cmocka_unit_test(what_is_no_query_reaches_nobody),
        cmocka_unit_test(a_request_says_which_helper_it_is_for),
        cmocka_unit_test(a_transaction_is_not_gone_on_with_elsewhere),
        cmocka_unit_test(a_strange_seat_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
