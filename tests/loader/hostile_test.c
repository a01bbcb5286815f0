/* Workers that want to live longer, be heard more often or be believed more than they should. */
#include <signal.h>

#include "loader/internal.h"
#include "rig.h"
#include "json/json.h"

static struct rig *r;

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

static struct test_call *begin(const char *plugin, const char *action, const char *parameters)
{
    struct test_call *c = test_call_new(r, plugin, action, parameters);
    test_call_begin(r, c);
    return c;
}

static void finish(struct test_call *c, int code, const char *text)
{
    test_call_wait(c);
    if (-c->call.code != code)
        fail_msg("expected %s, got %s: %s", error_info(code)->name, error_info(c->call.code)->name,
                 c->call.code ? c->call.error.message : "");
    if (text && code && !strstr(c->call.error.message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, c->call.error.message);
    test_call_free(c);
}

/* ---- life ---- */

/* A call runs in the worker of a generation that has been replaced twice over. */
static struct test_call *drain_an_old_one(pid_t *pid)
{
    rig_define(r, "echo", &(struct variant){.version = "1.0.1"}, LOADER_START);
    *pid = rig_status(r, "echo")->first_pid;
    struct test_call *c = test_call_new(r, "echo", "sleep", "{\"ms\": 60000, \"deaf\": true}");
    c->call.deadline_ns = 15 * NS_PER_S;
    test_call_begin(r, c);
    rig_wait_inside(r, "echo");
    rig_define(r, "echo", &(struct variant){.version = "1.0.2"}, LOADER_START);
    rig_define(r, "echo", &(struct variant){.version = "1.0.3"}, LOADER_START);
    assert_int_equal(kill(*pid, 0), 0);
    return c;
}

static void a_revocation_reaches_every_generation(void **state)
{
    pid_t pid;
    struct test_call *c = drain_an_old_one(&pid);
    struct spec *s = rig_spec("echo", NULL);
    assert_int_equal(rig_set(r, "echo", s, LOADER_REVOKE, MOAT_E_OK, NULL), 0);
    assert_true(kill(pid, 0) < 0);
    finish(c, MOAT_E_PERMISSION_DENIED, "revoked");
    spec_unref(s);
}

static void a_stop_reaches_every_generation(void **state)
{
    pid_t pid;
    struct test_call *c = drain_an_old_one(&pid);
    assert_int_equal(rig_stop(r, "echo", 10 * NS_PER_MS, NULL), 0);
    assert_true(kill(pid, 0) < 0);
    finish(c, MOAT_E_WRONG_STATE, "unloaded");
}

static void the_end_reaches_every_generation(void **state)
{
    pid_t pid;
    struct test_call *c = drain_an_old_one(&pid);
    rig_close(r, 10 * NS_PER_MS);
    finish(c, MOAT_E_DRAINING, "shutting down");
    r = rig_open();
}

/* A stop with a shorter grace than the one that was begun before it. */
static void the_shortest_grace_holds(void **state)
{
    struct waited patient;
    rig_define(r, "echo", NULL, LOADER_START);
    struct test_call *c = test_call_new(r, "echo", "sleep", "{\"ms\": 60000, \"deaf\": true}");
    c->call.deadline_ns = 15 * NS_PER_S;
    test_call_begin(r, c);
    rig_wait_inside(r, "echo");
    waited_init(&patient);
    loader_stop(r->l, "echo", 3600 * NS_PER_S, waited_done, &patient);
    assert_int_equal(rig_stop(r, "echo", 10 * NS_PER_MS, NULL), 0);
    assert_int_equal(waited_wait(&patient, NULL), 0);
    finish(c, MOAT_E_WRONG_STATE, "unloaded");
}

static void one_that_stays_after_its_shutdown_is_ended(void **state)
{
    rig_define(r, "echo", &(struct variant){.liar = true, .config = "{\"refuse\": \"stays\"}"}, LOADER_START);
    pid_t pid = rig_status(r, "echo")->first_pid;
    rig_define(r, "echo", NULL, LOADER_START);
    RIG_WAIT(kill(pid, 0) < 0);
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
    rig_expect(r, "echo", "echo", "1", 0, "1");
}

/* ---- being heard ---- */

static uint64_t loops_cpu(void)
{
    uint64_t all = 0;
    for (int i = 0; i < LOOPS; i++) {
        clockid_t clock;
        struct timespec t;
        assert_int_equal(pthread_getcpuclockid(r->threads[i], &clock), 0);
        clock_gettime(clock, &t);
        all += (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
    }
    return all;
}

/* Its call is over: nobody waits for it, and nobody counts its rings. */
static void a_bell_that_rings_for_nobody_is_not_heard(void **state)
{
    rig_define(r, "echo", &(struct variant){.liar = true}, LOADER_START);
    finish(begin("echo", "spin", "{}"), 0, NULL);
    uint64_t before = loops_cpu();
    usleep(300000);
    assert_in_range(loops_cpu() - before, 0, 50 * NS_PER_MS);
    /* Taken again, it is counted again, and ended; its call moves to a fresh one. */
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
    finish(begin("echo", "echo", "1"), 0, NULL);
    assert_int_equal(rig_status(r, "echo")->restarts, 1);
}

/* ---- being believed ---- */

static void a_second_answer_is_no_answer(void **state)
{
    rig_define(r, "echo", &(struct variant){.liar = true}, LOADER_START);
    for (int way = 0; way < 2; way++) {
        if (way)
            finish(begin("echo", "fail", "{}"), 0, NULL);
        else
            rig_expect(r, "echo", "fail", "{}", 0, "2");
        rig_expect(r, "echo", "echo", "1", 0, "1");
    }
    RIG_WAIT(rig_status(r, "echo")->restarts == 2);
}

/* Whatever the worker makes of the text meanwhile: what is handed over is JSON. */
static void a_text_that_changes_is_checked_as_it_was_copied(void **state)
{
    rig_define(r, "echo", &(struct variant){.liar = true}, LOADER_START);
    for (int i = 0; i < 12; i++) {
        struct test_call *c = rig_run(r, "echo", "alloc", "{\"bytes\": 1}", 10 * NS_PER_S);
        if (c->call.code)
            assert_int_equal(c->call.code, -MOAT_E_BAD_RESULT);
        else
            assert_true(json_valid(c->call.result, c->call.result_len));
        test_call_free(c);
        RIG_WAIT(rig_status(r, "echo")->restarts > (uint64_t)i || rig_status(r, "echo")->state == STATE_BACKOFF ||
                 rig_status(r, "echo")->state == STATE_UNLOADED);
    }
}

static void words_at_random_change_nothing(void **state)
{
    rig_define(r, "echo", &(struct variant){.liar = true}, LOADER_START);
    for (int i = 0; i < 4; i++) {
        rig_expect(r, "echo", "log", "{\"text\": \"x\"}", 0, "{\"text\": \"x\"}");
        finish(begin("echo", "log", "{\"text\": \"y\"}"), 0, NULL);
    }
    rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
}

/* The executable was replaced under a running host, or is another build's: said once, not asked for ever. */
static void a_worker_of_another_version_is_named(void **state)
{
    rig_close(r, 0);
    rig_config.worker_path = getenv("LOADER_STRANGER");
    r = rig_open();
    struct error err;
    struct spec *s = rig_spec("echo", NULL);
    assert_int_equal(rig_set(r, "echo", s, LOADER_START, MOAT_E_OK, &err), -MOAT_E_WALL_MISSING);
    assert_non_null(strstr(err.message, "another version"));
    finish(begin("echo", "echo", "1"), MOAT_E_WALL_MISSING, "another version");
    spec_unref(s);
}

/* ---- cancelled at the wrong moment ---- */

static void need_spec(void *context, const char *name)
{
}

/* It was in a worker when it was cancelled; the worker died, and it came back to wait for another. */
static void a_call_cancelled_on_its_way_back_is_answered(void **state)
{
    rig_close(r, 0);
    rig_config.need_spec = need_spec; /* there never is another */
    r = rig_open();
    rig_define(r, "echo", &(struct variant){.no_code = true}, LOADER_LAZY);
    struct plugin *p = loader_plugin(r->l, "echo");
    struct test_call *c = begin("echo", "echo", "1");
    struct call_list back;
    call_list_init(&back);
    struct call *taken = queue_take(p, QUEUE_ALL);
    assert_ptr_equal(taken, &c->call);
    call_list_add(&back, taken);
    call_cancel(r->l, &c->call);
    queue_return(p, &back);
    finish(c, MOAT_E_CANCELLED, "before it started");
}

struct race {
    struct test_call *c;
    pthread_barrier_t start;
    unsigned spin;
};

static void *cancel_it(void *context)
{
    struct race *race = context;
    pthread_barrier_wait(&race->start);
    for (volatile unsigned i = 0; i < race->spin; i++)
        ;
    call_cancel(r->l, &race->c->call);
    return NULL;
}

/* Cancelled in the very moment in which it begins on a borrowed worker: it is not left to run to its deadline. */
static void cancelling_races_with_the_beginning(void **state)
{
    uint64_t random = rig_seed();
    rig_define(r, "echo", NULL, LOADER_START);
    int rounds = getenv("MOAT_LONG") ? 20000 : 300;
    for (int i = 0; i < rounds; i++) {
        pthread_t thread;
        struct race race = {.spin = rig_random(&random, 3000)};
        race.c = test_call_new(r, "echo", "sleep", "{\"ms\": 60000}");
        race.c->call.deadline_ns = 20 * NS_PER_S;
        pthread_barrier_init(&race.start, NULL, 2);
        assert_int_equal(pthread_create(&thread, NULL, cancel_it, &race), 0);
        pthread_barrier_wait(&race.start);
        call_run(r->l, (struct call *[]){&race.c->call}, 1);
        pthread_join(thread, NULL);
        pthread_barrier_destroy(&race.start);
        if (race.c->call.code) /* else the plugin itself saw the flag, and says so */
            assert_int_equal(race.c->call.code, -MOAT_E_CANCELLED);
        test_call_free(race.c);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(a_revocation_reaches_every_generation),
        TEST(a_stop_reaches_every_generation),
        TEST(the_end_reaches_every_generation),
        TEST(the_shortest_grace_holds),
        TEST(one_that_stays_after_its_shutdown_is_ended),
        TEST(a_bell_that_rings_for_nobody_is_not_heard),
        TEST(a_second_answer_is_no_answer),
        TEST(a_text_that_changes_is_checked_as_it_was_copied),
        TEST(words_at_random_change_nothing),
        TEST(a_worker_of_another_version_is_named),
        TEST(a_call_cancelled_on_its_way_back_is_answered),
        TEST(cancelling_races_with_the_beginning),
    };
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
