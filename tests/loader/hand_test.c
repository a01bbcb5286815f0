/* A plugin with state hands it over to its next generation: nothing of it is lost by a reload, and whatever comes
 * between leaves one of the two in charge.  MOAT_SEED replays the choices of the last test (not the timing). */
#include "loader/internal.h"
#include "rig.h"

static struct rig *r;
static uint64_t seed;
static bool full; /* the long way */

static int open_rig(void **state)
{
    r = rig_open();
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    return 0;
}

static void define(const char *config)
{
    rig_define(r, "ledger", &(struct variant){.ledger = true, .state = true, .config = config}, LOADER_START);
}

/* Another version, beside the one that is there. */
static int use(const char *version, const char *config, struct error *err)
{
    struct variant v = {.ledger = true, .state = true, .version = version, .config = config};
    struct spec *s = rig_spec("ledger", &v);
    int rc = rig_set(r, "ledger", s, LOADER_START, MOAT_E_OK, err);
    spec_unref(s);
    return rc;
}

static void note(unsigned n)
{
    char text[32];
    snprintf(text, sizeof text, "{\"n\": %u}", n);
    rig_expect(r, "ledger", "note", text, 0, NULL);
}

static void expect_book(unsigned count, unsigned sum)
{
    char text[64];
    snprintf(text, sizeof text, "{\"count\":%u,\"sum\":%u}", count, sum);
    rig_expect(r, "ledger", "book", "{}", 0, text);
}

static struct test_call *begin(const char *action, const char *parameters)
{
    struct test_call *c = test_call_new(r, "ledger", action, parameters);
    test_call_begin(r, c);
    return c;
}

static void finish(struct test_call *c, const char *result)
{
    test_call_wait(c);
    if (c->call.code)
        fail_msg("%s: %s", c->action, c->call.error.message);
    assert_string_equal((char *)c->call.result, result);
    test_call_free(c);
}

static void state_outlives_its_worker(void **state)
{
    struct error err;
    define(NULL);
    note(3);
    note(4);
    pid_t pid = rig_status(r, "ledger")->first_pid;
    assert_int_equal(rig_reload(r, "ledger", &err), 0);
    expect_book(2, 7);
    RIG_WAIT(rig_status(r, "ledger")->workers == 1 && rig_status(r, "ledger")->first_pid != pid);
    note(5);
    assert_int_equal(use("2.0.0", NULL, &err), 0);
    assert_string_equal(rig_status(r, "ledger")->version, "2.0.0");
    expect_book(3, 12);
    /* Who is told to go takes it along: what nobody hands over is lost. */
    assert_int_equal(rig_stop(r, "ledger", NS_PER_S, &err), 0);
    assert_int_equal(rig_start(r, "ledger", &err), 0);
    expect_book(0, 0);
}

static void calls_wait_for_the_hand_over(void **state)
{
    struct waited w;
    waited_init(&w);
    define("{\"save\": \"slow\", \"restore\": \"slow\"}");
    struct test_call *before = begin("note", "{\"n\": 1, \"ms\": 100}");
    rig_wait_inside(r, "ledger");
    loader_reload(r->l, "ledger", waited_done, &w);
    RIG_WAIT(atomic_load(&table_find(r->l, "ledger")->flagged));
    struct test_call *queued[8];
    for (int i = 0; i < 8; i++)
        queued[i] = begin("note", "{\"n\": 10}");
    struct test_call *own = rig_run(r, "ledger", "note", "{\"n\": 100}", 0);
    finish(before, "1");
    for (int i = 0; i < 8; i++)
        finish(queued[i], "10");
    assert_int_equal(own->call.code, 0);
    test_call_free(own);
    assert_int_equal(waited_wait(&w, NULL), 0);
    expect_book(10, 181);
    assert_int_equal(rig_status(r, "ledger")->errors, 0);
}

/* ---- what goes wrong ---- */

static const struct failure {
    const char *old, *next, *why;
    enum moat_code code;
    bool lost; /* the state: its worker is gone */
} failures[] = {
    {"{\"save\": \"fail\"}", "{}", "asked not to save", MOAT_E_START_FAILED, false},
    {"{\"save\": \"crash\"}", "{}", "which is lost", MOAT_E_PLUGIN_CRASHED, true},
    {"{\"save\": \"hang\"}", "{}", "did not answer in time", MOAT_E_PLUGIN_CRASHED, true},
    {"{\"blob\": 9000000}", "{}", "9000000 bytes", MOAT_E_TOO_LARGE, false},
    {"{\"blob\": 90000000}", "{}", "could not be saved", MOAT_E_START_FAILED, false},
    {"{}", "{\"restore\": \"fail\"}", "asked not to restore", MOAT_E_START_FAILED, false},
    {"{}", "{\"restore\": \"crash\"}", "SIGSEGV", MOAT_E_START_FAILED, false},
    {"{}", "{\"restore\": \"hang\"}", "did not answer in time", MOAT_E_START_FAILED, false},
    {"{}", "{\"start\": \"fail\"}", "did not start", MOAT_E_START_FAILED, false},
};

static void the_old_one_stays(void **state)
{
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        const struct failure *f = &failures[i];
        struct error err;
        rig_config.payload_max = 16 << 20;
        open_rig(NULL);
        r->l->errand_ns = 400 * NS_PER_MS;
        define(f->old);
        note(6);
        pid_t pid = rig_status(r, "ledger")->first_pid;
        assert_int_equal(use("2.0.0", f->next, &err), -(int)f->code);
        if (!strstr(err.message, f->why))
            fail_msg("\"%s\" is not in \"%s\"", f->why, err.message);
        if (f->lost) { /* a crash counts as one: the next call may have to wait for the end of a pause */
            RIG_WAIT(rig_start(r, "ledger", NULL) == 0);
            expect_book(0, 0);
        } else {
            expect_book(1, 6);
            assert_int_equal(rig_status(r, "ledger")->first_pid, pid);
        }
        assert_string_equal(rig_status(r, "ledger")->version, "1.0.0");
        close_rig(NULL);
    }
}

static void a_long_call_keeps_the_old_one(void **state)
{
    struct error err;
    r->l->drain_ns = 100 * NS_PER_MS;
    define(NULL);
    struct test_call *c = begin("note", "{\"n\": 9, \"ms\": 1000}");
    rig_wait_inside(r, "ledger");
    assert_int_equal(rig_reload(r, "ledger", &err), -MOAT_E_START_FAILED);
    assert_non_null(strstr(err.message, "ran on"));
    finish(c, "9");
    expect_book(1, 9);
}

static void more_workers_hand_nothing_over(void **state)
{
    struct error err;
    struct variant v = {.ledger = true, .state = true, .workers = 2};
    rig_define(r, "ledger", &v, LOADER_START);
    note(1);
    assert_int_equal(rig_reload(r, "ledger", &err), 0);
    expect_book(0, 0);
}

static void state_is_not_stopped_for_idleness(void **state)
{
    close_rig(NULL);
    rig_config.idle_stop_ns = 50 * NS_PER_MS;
    r = rig_open();
    r->l->tick_ns = 20 * NS_PER_MS;
    define(NULL);
    rig_define(r, "other", &(struct variant){.ledger = true}, LOADER_START);
    note(2);
    RIG_WAIT(rig_status(r, "other")->workers == 0); /* long enough for anyone */
    expect_book(1, 2);
}

/* ---- and everything at once ---- */

enum disturbance { STOP, FORGET, REDEFINE, GATE, REVOKE, RELOAD, START, KILL_OLD, KILL_ANY, NOTHING, DISTURBANCES };

static unsigned living(pid_t pids[PLUGIN_SLOTS])
{
    struct plugin *p = table_find(r->l, "ledger");
    unsigned n = 0;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLUGIN_SLOTS; i++)
        if (p->roster[i])
            pids[n++] = p->roster[i]->child.pid;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static bool lives(pid_t pid)
{
    pid_t pids[PLUGIN_SLOTS];
    for (unsigned n = living(pids); n; n--)
        if (pids[n - 1] == pid)
            return true;
    return false;
}

/* Whom: 0 where nobody was there. */
static pid_t kill_one(bool old)
{
    pid_t pids[PLUGIN_SLOTS], first = rig_status(r, "ledger")->first_pid;
    unsigned n = living(pids);
    pid_t pid = old && first > 0 ? first : n ? pids[n - 1] : 0;
    rig_kill(pid);
    return pid;
}

/* The process that it killed, or 0. */
static pid_t disturb(enum disturbance what, struct waited *w)
{
    struct variant v = {.ledger = true, .state = true, .version = "3.0.0"};
    struct spec *s = rig_spec("ledger", &v);
    pid_t killed = 0;
    waited_init(w);
    if (what == STOP)
        loader_stop(r->l, "ledger", NS_PER_S, waited_done, w);
    else if (what == FORGET)
        loader_forget(r->l, "ledger", waited_done, w);
    else if (what == REDEFINE || what == REVOKE)
        loader_set(r->l, "ledger", s, what == REVOKE ? LOADER_REVOKE : LOADER_START, MOAT_E_OK, NULL, waited_done, w);
    else if (what == GATE)
        loader_set(r->l, "ledger", NULL, LOADER_LAZY, MOAT_E_WRONG_STATE, "closed", waited_done, w);
    else if (what == RELOAD)
        loader_reload(r->l, "ledger", waited_done, w);
    else if (what == START)
        loader_start(r->l, "ledger", waited_done, w);
    else if (what == KILL_OLD || what == KILL_ANY)
        killed = kill_one(what == KILL_OLD);
    if (what >= KILL_OLD)
        waited_done(w, NULL);
    spec_unref(s);
    return killed;
}

static void look(struct loader *l, void *context)
{
    *(enum hand_step *)context = table_find(l, "ledger")->hand.step;
}

/* Each step of a hand-over takes its time, and is met by each disturbance at a random moment, twice in a row. Whatever
 * comes of it: each question has one answer, each call ends, and the plugin runs again. */
static void one_outcome_whatever_comes_between(void **state)
{
    uint64_t random = seed;
    unsigned rounds = full ? 400 : 40;
    for (unsigned round = 0; round < rounds; round++) {
        static const char *const configs[] = {"{}", "{\"save\": \"slow\"}", "{\"restore\": \"slow\"}",
                                              "{\"save\": \"slow\", \"restore\": \"slow\"}"};
        struct waited reload, first, second;
        struct test_call *c[6];
        enum disturbance what = (enum disturbance)(round % DISTURBANCES);
        define(configs[rig_random(&random, 4)]);
        note(1);
        c[0] = begin("note", rig_random(&random, 2) ? "{\"n\": 2, \"ms\": 60}" : "{\"n\": 2}");
        waited_init(&reload);
        loader_reload(r->l, "ledger", waited_done, &reload);
        for (int i = 1; i < 6; i++)
            c[i] = begin("note", "{\"n\": 2}");
        usleep(rig_random(&random, round % 3 ? 400000 : 40000));
        pid_t killed[2];
        killed[0] = disturb(what, &first);
        usleep(rig_random(&random, 20000));
        killed[1] = disturb((enum disturbance)rig_random(&random, DISTURBANCES), &second);
        waited_wait(&reload, NULL);
        waited_wait(&first, NULL);
        waited_wait(&second, NULL);
        for (int i = 0; i < 6; i++) {
            test_call_wait(c[i]);
            assert_int_equal(atomic_load(&c[i]->completions), 1);
            if (c[i]->call.code == 0)
                assert_string_equal((char *)c[i]->call.result, "2");
            test_call_free(c[i]);
        }
        /* One whose end nobody has heard of yet would be asked for its state: that it is lost is then the answer. */
        RIG_WAIT(!lives(killed[0]) && !lives(killed[1]));
        define(NULL);
        note(3);
        enum hand_step step;
        rig_look(r, look, &step);
        assert_int_equal(step, HAND_NONE);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
    const char *set = getenv("MOAT_LONG");
    full = set && *set;
    seed = rig_seed();
    const struct CMUnitTest tests[] = {
        TEST(state_outlives_its_worker),          TEST(calls_wait_for_the_hand_over),
        cmocka_unit_test(the_old_one_stays),      TEST(a_long_call_keeps_the_old_one),
        TEST(more_workers_hand_nothing_over),     TEST(state_is_not_stopped_for_idleness),
        TEST(one_outcome_whatever_comes_between),
    };
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
