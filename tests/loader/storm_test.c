/* Many threads at once, while workers crash, versions switch and calls are cancelled: every call ends exactly once, and
 * with an answer that is its own.  MOAT_SEED replays the choices (not the timing). */
#include <signal.h>

#include "rig.h"

#define THREADS 8

static struct rig *r;
static uint64_t seed;
static _Atomic bool stop;
static _Atomic uint64_t ended[MOAT_E_COUNT];

struct thread {
    pthread_t thread;
    uint64_t random;
    unsigned calls;
    bool may_fail;
    int plugins;
};

static int open_rig(void **state)
{
    rig_config.queue_per_plugin = 4096;
    r = rig_open();
    atomic_store(&stop, false);
    for (int i = 0; i < MOAT_E_COUNT; i++)
        atomic_store(&ended[i], 0);
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    return 0;
}

static const char *plugin_name(unsigned i)
{
    static const char *const names[] = {"echo", "other", "third"};
    return names[i];
}

static struct test_call *random_call(struct thread *t)
{
    char text[128];
    const char *plugin = plugin_name(rig_random(&t->random, (unsigned)t->plugins));
    unsigned what = t->may_fail ? rig_random(&t->random, 100) : 50 + rig_random(&t->random, 50);
    uint64_t mark = t->random;
    const char *action = "echo";
    snprintf(text, sizeof text, "{\"mark\": %llu}", (unsigned long long)(mark & 0xffffffffffff));
    if (what < 2)
        action = "crash";
    else if (what < 4)
        action = "bad_result";
    else if (what < 8)
        action = "fail", snprintf(text, sizeof text, "{}");
    else if (what < 12)
        action = "sleep", snprintf(text, sizeof text, "{\"ms\": %u}", rig_random(&t->random, 10));
    else if (what < 14)
        action = "sleep", snprintf(text, sizeof text, "{\"ms\": 5000, \"deaf\": true}");
    struct test_call *c = test_call_new(r, plugin, action, text);
    if (what >= 12 && what < 14)
        c->call.deadline_ns = (1 + rig_random(&t->random, 30)) * NS_PER_MS;
    return c;
}

static void check(const struct thread *t, struct test_call *c)
{
    enum moat_code code = (enum moat_code) - c->call.code;
    atomic_fetch_add(&ended[code], 1);
    if (!t->may_fail && code)
        fail_msg("%s: %s", c->action, c->call.error.message);
    if (code == MOAT_E_OK && strcmp(c->action, "echo") == 0)
        assert_string_equal((char *)c->call.result, c->parameters);
    if (code == MOAT_E_BAD_RESULT)
        assert_string_equal(c->action, "bad_result");
    if (code == MOAT_E_NO_SUCH_ACTION || code == MOAT_E_BAD_PARAMETERS || code == MOAT_E_INTERNAL)
        fail_msg("%s: %s", c->action, c->call.error.message);
}

/* Blocking ones, alone and in rows. */
static void run_some(struct thread *t)
{
    struct test_call *c[20];
    struct call *calls[20];
    unsigned n = 1 + (rig_random(&t->random, 3) == 0 ? rig_random(&t->random, 20) : 0);
    for (unsigned i = 0; i < n; i++) {
        c[i] = random_call(t);
        calls[i] = &c[i]->call;
    }
    call_run(r->l, calls, n);
    for (unsigned i = 0; i < n; i++) {
        check(t, c[i]);
        assert_int_equal(c[i]->completions, 0); /* `done` is for calls that were begun */
        test_call_free(c[i]);
    }
    t->calls += n;
}

/* Begun ones, some of them cancelled while others run. */
static void begin_some(struct thread *t)
{
    struct test_call *c[20];
    unsigned n = 1 + rig_random(&t->random, 20);
    for (unsigned i = 0; i < n; i++) {
        c[i] = random_call(t);
        c[i]->call.loop = r->loops[rig_random(&t->random, LOOPS)];
        test_call_begin(r, c[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        test_call_wait(c[i]);
        check(t, c[i]);
        assert_int_equal(atomic_load(&c[i]->completions), 1);
        test_call_free(c[i]);
    }
    t->calls += n;
}

static void *run_thread(void *context)
{
    struct thread *t = context;
    while (!atomic_load(&stop))
        if (rig_random(&t->random, 2))
            run_some(t);
        else
            begin_some(t);
    return NULL;
}

static void start_threads(struct thread *t, bool may_fail, int plugins)
{
    for (int i = 0; i < THREADS; i++) {
        t[i] = (struct thread){.random = seed + (uint64_t)i, .may_fail = may_fail, .plugins = plugins};
        assert_int_equal(pthread_create(&t[i].thread, NULL, run_thread, &t[i]), 0);
    }
}

static unsigned stop_threads(struct thread *t)
{
    unsigned calls = 0;
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i].thread, NULL);
        calls += t[i].calls;
    }
    uint64_t all = 0;
    for (int i = 0; i < MOAT_E_COUNT; i++) {
        all += ended[i];
        if (ended[i])
            printf("# %s: %llu\n", error_info(i)->name, (unsigned long long)ended[i]);
    }
    assert_int_equal(all, calls);
    return calls;
}

static void every_call_ends_once_while_workers_crash(void **state)
{
    struct thread t[THREADS];
    rig_define(r, "echo", NULL, LOADER_LAZY);
    rig_define(r, "other", &(struct variant){.workers = 3}, LOADER_LAZY);
    rig_define(r, "third", NULL, LOADER_LAZY);
    start_threads(t, true, 3);
    sleep(4);
    assert_true(stop_threads(t) > 100);
    assert_true(ended[MOAT_E_OK] > 50);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_status(r, plugin_name(i))->queued, 0);
        RIG_WAIT(rig_status(r, plugin_name(i))->in_flight == 0);
    }
}

/* Nothing is lost when versions switch and workers are reloaded: not one call fails. */
static void a_switch_under_load_loses_none(void **state)
{
    struct thread t[THREADS];
    struct error err;
    uint64_t random = seed;
    rig_define(r, "echo", NULL, LOADER_START);
    start_threads(t, false, 1);
    for (int i = 0; i < 40; i++) {
        char version[32];
        snprintf(version, sizeof version, "1.0.%d", i);
        if (rig_random(&random, 2))
            rig_define(r, "echo", &(struct variant){.version = version, .workers = 1 + rig_random(&random, 3)},
                       rig_random(&random, 2) ? LOADER_START : LOADER_LAZY);
        else if (rig_reload(r, "echo", &err))
            fail_msg("%s", err.message);
        usleep(rig_random(&random, 30000));
    }
    assert_true(stop_threads(t) > 100);
    assert_int_equal(rig_status(r, "echo")->errors, 0);
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
    RIG_WAIT(rig_status(r, "echo")->in_flight == 0);
    assert_int_equal(rig_status(r, "echo")->executions, ended[MOAT_E_OK]);
}

/* The operator does everything at once; who kills workers from outside does, too. */
static void operations_meet_in_any_order(void **state)
{
    struct thread t[THREADS];
    uint64_t random = seed;
    struct spec *specs[3], *bad = rig_spec("echo", &(struct variant){.config = "{\"refuse\": \"never\"}"});
    for (int i = 0; i < 3; i++)
        specs[i] = rig_spec("echo", &(struct variant){.workers = (unsigned)i + 1});
    rig_set(r, "echo", specs[0], LOADER_LAZY, MOAT_E_OK, NULL);
    start_threads(t, true, 1);
    struct waited waits[120];
    for (int i = 0; i < 120; i++) {
        unsigned what = rig_random(&random, 12);
        struct spec *s = rig_random(&random, 6) ? specs[rig_random(&random, 3)] : bad;
        waited_init(&waits[i]);
        pid_t pid = rig_status(r, "echo")->first_pid;
        if (what < 4)
            loader_set(r->l, "echo", s, (enum loader_how)(what % 3), MOAT_E_OK, NULL, waited_done, &waits[i]);
        else if (what < 5)
            loader_set(r->l, "echo", NULL, LOADER_LAZY, MOAT_E_WRONG_STATE, "closed", waited_done, &waits[i]);
        else if (what < 7)
            loader_start(r->l, "echo", waited_done, &waits[i]);
        else if (what < 8)
            loader_reload(r->l, "echo", waited_done, &waits[i]);
        else if (what < 9)
            loader_stop(r->l, "echo", rig_random(&random, 3) * 10 * NS_PER_MS, waited_done, &waits[i]);
        else if (what < 10)
            loader_forget(r->l, "echo", waited_done, &waits[i]);
        else if (pid > 0 && what < 11)
            rig_kill(pid);
        else if (pid > 0)
            rig_kill_spawner(r, "echo");
        if (what >= 10)
            waited_done(&waits[i], NULL);
        usleep(rig_random(&random, 20000));
    }
    for (int i = 0; i < 120; i++)
        waited_wait(&waits[i], NULL);
    stop_threads(t);
    assert_int_equal(rig_set(r, "echo", specs[0], LOADER_START, MOAT_E_OK, NULL), 0);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    spec_unref(bad);
    for (int i = 0; i < 3; i++)
        spec_unref(specs[i]);
}

struct canceller {
    struct test_call *c[64];
};

static void *cancel_all(void *context)
{
    struct canceller *k = context;
    for (int i = 63; i >= 0; i -= 2)
        call_cancel(r->l, &k->c[i]->call);
    return NULL;
}

/* Cancelled by another thread while they wait, run and end. `done` runs on one loop, and the calls' memory stays. */
static void cancelling_races_with_the_end(void **state)
{
    uint64_t random = seed;
    rig_define(r, "echo", &(struct variant){.workers = 2}, LOADER_START);
    for (int round = 0; round < 60; round++) {
        struct canceller k;
        pthread_t thread;
        for (int i = 0; i < 64; i++) {
            k.c[i] = test_call_new(r, "echo", i % 16 == 5 ? "sleep" : "echo", i % 16 == 5 ? "{\"ms\": 3}" : "1");
            test_call_begin(r, k.c[i]);
        }
        usleep(rig_random(&random, 2000));
        assert_int_equal(pthread_create(&thread, NULL, cancel_all, &k), 0);
        pthread_join(thread, NULL);
        for (int i = 0; i < 64; i++) {
            test_call_wait(k.c[i]);
            int code = k.c[i]->call.code;
            assert_true(code == 0 || (code == -MOAT_E_CANCELLED && i % 2));
            test_call_free(k.c[i]);
        }
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
    seed = rig_seed();
    const struct CMUnitTest tests[] = {
        TEST(every_call_ends_once_while_workers_crash),
        TEST(a_switch_under_load_loses_none),
        TEST(operations_meet_in_any_order),
        TEST(cancelling_races_with_the_end),
    };
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
