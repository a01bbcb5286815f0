/* A configuration that is watched, with calls of many at once: it is judged by its own calls alone, whichever way it
 * was taken, and whatever else happens. */
#include "loader/outcome.h"
#include "rig.h"

#define CALLERS 3
#define BATCH 8

static struct rig *r;
static bool full; /* the long way */

/* ---- what the loader told ---- */

static struct heard {
    pthread_mutex_t lock;
    unsigned n;
    struct loader_guard last;
} heard = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_guard(void *context, const char *plugin, const struct loader_guard *guard)
{
    pthread_mutex_lock(&heard.lock);
    heard.n++;
    heard.last = *guard;
    pthread_mutex_unlock(&heard.lock);
}

static unsigned times_heard(struct loader_guard *last)
{
    pthread_mutex_lock(&heard.lock);
    unsigned n = heard.n;
    if (last)
        *last = heard.last;
    pthread_mutex_unlock(&heard.lock);
    return n;
}

static int open_rig(void **state)
{
    pthread_mutex_lock(&heard.lock);
    heard.n = 0;
    pthread_mutex_unlock(&heard.lock);
    rig_config.on_guard = on_guard;
    r = rig_open();
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    return 0;
}

static int change_to(struct variant v, const struct loader_guard_ask *ask, struct error *err)
{
    struct waited w;
    struct spec *s = rig_spec("ledger", &v);
    waited_init(&w);
    loader_configure(r->l, "ledger", s, ask, waited_done, &w);
    spec_unref(s);
    return waited_wait(&w, err);
}

static int change(const char *config, uint64_t revision, uint64_t window_ns, bool back)
{
    struct error err;
    const struct loader_guard_ask ask = {revision, revision - 1, window_ns, back};
    return change_to((struct variant){.ledger = true, .config = config}, window_ns || back ? &ask : NULL, &err);
}

static struct loader_guard now(void)
{
    struct loader_guard g = {.state = GUARD_STATES};
    loader_guard_status(r->l, "ledger", &g);
    return g;
}

static void define(const char *config)
{
    rig_define(r, "ledger", &(struct variant){.ledger = true, .config = config}, LOADER_START);
}

static void calls(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char text[32];
        snprintf(text, sizeof text, "{\"n\": %u}", i);
        test_call_free(rig_run(r, "ledger", "note", text, 0));
    }
}

/* ---- callers ---- */

static _Atomic bool stop;
static _Atomic unsigned answered, failed, other;

static void *call_on(void *context)
{
    const unsigned me = (unsigned)(uintptr_t)context;
    for (unsigned n = me; !atomic_load(&stop); n += CALLERS) {
        struct test_call *c[BATCH];
        unsigned batch = me ? 1 : BATCH;
        for (unsigned i = 0; i < batch; i++) {
            char text[32];
            snprintf(text, sizeof text, "{\"n\": %u}", n + i * 7919);
            c[i] = test_call_new(r, "ledger", "note", text);
            struct call *one = &c[i]->call;
            if (batch > 1)
                test_call_begin(r, c[i]);
            else
                call_run(r->l, &one, 1);
        }
        for (unsigned i = 0; i < batch; i++) {
            if (batch > 1)
                test_call_wait(c[i]);
            int code = -c[i]->call.code;
            atomic_fetch_add(code == 0 ? &answered : code == MOAT_E_ACTION_FAILED ? &failed : &other, 1);
            test_call_free(c[i]);
        }
        usleep(300);
    }
    return NULL;
}

static pthread_t threads[CALLERS];

static void begin_load(void)
{
    atomic_store(&stop, false);
    answered = failed = other = 0;
    for (uintptr_t i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, (void *)i), 0);
}

static void end_load(void)
{
    atomic_store(&stop, true);
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
}

/* ---- verdicts ---- */

#define MINUTE (60 * NS_PER_S)
static const char *const good = "{\"word\":\"b\"}", *const bad = "{\"note\":\"fail\",\"note_percent\":40}";

static void under_load_a_worse_one_is_found_and_taken_back(void **state)
{
    struct loader_guard g;
    define("{\"word\":\"a\"}");
    begin_load();
    RIG_WAIT(atomic_load(&answered) > 600);
    assert_int_equal(failed, 0);
    assert_int_equal(change(bad, 7, MINUTE, false), 0);
    RIG_WAIT(times_heard(&g) == 1);
    assert_int_equal(g.state, GUARD_WORSE);
    assert_int_equal(g.revision, 7);
    assert_int_equal(g.base, 6);
    assert_true(g.evidence_worse >= 100);
    assert_int_equal(g.before.failed, 0); /* none of the new one's was taken for one of the old one's */
    assert_in_range(g.before.calls, 100, 2 * OUTCOMES_KEPT);
    assert_in_range(g.after.failed, 1, failed);
    assert_int_equal(now().state, GUARD_WORSE);
    assert_int_equal(change("{\"word\":\"a\"}", 8, 0, true), 0);
    loader_guard_settle(r->l, "ledger", 7, true, NULL);
    assert_int_equal(now().state, GUARD_ROLLED_BACK);
    unsigned so_far = answered, failures = failed;
    RIG_WAIT(atomic_load(&answered) > so_far + 100);
    assert_in_range(failed, failures, failures + CALLERS + BATCH); /* those that had ended, and were not counted yet */
    /* What was seen before the bad one counts again: the next one is judged at once, by as much. */
    assert_int_equal(change(bad, 9, MINUTE, false), 0);
    assert_true(now().before.calls >= g.before.calls);
    RIG_WAIT(times_heard(&g) == 2);
    end_load();
    assert_int_equal(g.state, GUARD_WORSE);
    assert_int_equal(other, 0);
}

static void a_good_one_passes(void **state)
{
    struct loader_guard g;
    define("{\"word\":\"a\"}");
    begin_load();
    RIG_WAIT(atomic_load(&answered) > 600);
    assert_int_equal(change(good, 2, MINUTE, false), 0);
    RIG_WAIT(times_heard(&g) == 1);
    end_load();
    printf("# %s: %s\n", guard_state_name(g.state), g.why);
    assert_int_equal(g.state, GUARD_PASSED);
    assert_true(g.evidence_fine >= 100);
    assert_int_equal(failed + other, 0);
}

/* liar.c's table has no configure: the calls of what still drains are the old one's. */
static void taken_by_fresh_workers_it_is_judged_by_theirs(void **state)
{
    struct waited w;
    struct error err;
    struct variant v = {.liar = true};
    rig_define(r, "echo", &v, LOADER_START);
    for (int i = 0; i < 60; i++)
        rig_expect(r, "echo", "echo", "1", 0, "1");
    v.config = "{\"init_ms\": 1}";
    struct spec *s = rig_spec("echo", &v);
    const struct loader_guard_ask ask = {2, 1, MINUTE, false};
    waited_init(&w);
    loader_configure(r->l, "echo", s, &ask, waited_done, &w);
    spec_unref(s);
    assert_int_equal(waited_wait(&w, &err), 0);
    struct loader_guard g;
    assert_true(loader_guard_status(r->l, "echo", &g));
    assert_int_equal(g.state, GUARD_RUNNING);
    assert_int_equal(g.before.calls, 60);
    for (int i = 0; i < 5; i++)
        rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_true(loader_guard_status(r->l, "echo", &g));
    assert_int_equal(g.after.calls, 5);
}

/* Five deaths in a row open the circuit: calls that say how bad it is do not come any more. */
static void one_that_only_crashes_is_given_up(void **state)
{
    struct loader_guard g;
    define("{\"word\":\"a\"}");
    calls(40);
    assert_int_equal(change("{\"note\":\"crash\",\"note_percent\":100}", 2, MINUTE, false), 0);
    for (int i = 0; i < 100 && !times_heard(NULL); i++)
        calls(1);
    RIG_WAIT(times_heard(&g) == 1);
    assert_int_equal(g.state, GUARD_WORSE);
    assert_non_null(strstr(g.why, "again and again"));
    assert_int_equal(change("{\"word\":\"a\"}", 3, 0, true), 0);
    rig_expect(r, "ledger", "note", "{\"n\": 4}", 0, "4");
}

/* ---- what is between ---- */

static void what_is_the_same_goes_on_what_is_not_ends_it(void **state)
{
    struct error err;
    define("{\"word\":\"a\"}");
    calls(40);
    assert_int_equal(change(good, 2, MINUTE, false), 0);
    calls(2);
    assert_int_equal(rig_reload(r, "ledger", &err), 0);
    define(good); /* the same once more, as a reload of the service says it */
    calls(2);
    rig_kill_worker(r, "ledger");
    calls(2);
    assert_int_equal(now().state, GUARD_RUNNING);
    assert_in_range(now().after.calls, 4, 7);
    assert_int_equal(times_heard(NULL), 0);
    assert_int_equal(rig_stop(r, "ledger", NS_PER_S, &err), 0);
    assert_int_equal(now().state, GUARD_ENDED);
    assert_int_equal(rig_start(r, "ledger", &err), 0);
    assert_int_equal(times_heard(NULL), 1);

    calls(40);
    assert_int_equal(change("{\"word\":\"c\"}", 3, MINUTE, false), 0);
    assert_int_equal(now().state, GUARD_RUNNING);
    rig_define(r, "ledger", &(struct variant){.ledger = true, .version = "2.0.0", .config = good}, LOADER_START);
    assert_int_equal(now().state, GUARD_ENDED);
    calls(40);
    assert_int_equal(change(good, 4, MINUTE, false), 0); /* of 1.0.0 again: another thing, configured or not */
    assert_int_equal(now().revision, 4);
    calls(40);
    assert_int_equal(change("{\"word\":\"d\"}", 5, 0, false), 0); /* without a guard */
    assert_int_equal(now().state, GUARD_ENDED);
}

static void two_changes_are_judged_as_one(void **state)
{
    struct loader_guard g;
    define("{\"word\":\"a\"}");
    calls(60);
    assert_int_equal(change("{\"note\":\"fail\"}", 2, MINUTE, false), 0);
    calls(3);
    assert_int_equal(change(bad, 3, MINUTE, false), 0);
    assert_int_equal(times_heard(&g), 1);
    assert_int_equal(g.state, GUARD_ENDED);
    assert_int_equal(g.revision, 2);
    assert_int_equal(now().base, 1);
    assert_int_equal(now().before.calls, 60);
    calls(300);
    RIG_WAIT(times_heard(&g) == 2); /* by another thread, which has its turn when the machine lets it */
    assert_int_equal(g.state, GUARD_WORSE);
    assert_int_equal(g.base, 1);
}

static void its_time_ends(void **state)
{
    struct loader_guard g;
    define("{\"word\":\"a\"}");
    calls(40);
    assert_int_equal(change(good, 2, 50 * NS_PER_MS, false), 0);
    RIG_WAIT(times_heard(&g) == 1);
    assert_int_equal(g.state, GUARD_EXPIRED);
    assert_true(g.until_ns >= g.ends_ns);
    calls(5);
    assert_int_equal(change(bad, 3, 50 * NS_PER_MS, false), 0);
    assert_int_equal(now().state, GUARD_NONE); /* too little was seen */
    assert_int_equal(times_heard(NULL), 1);
}

/* ---- whose fault ---- */

static void expect_after(unsigned n, unsigned failures)
{
    assert_int_equal(now().after.calls, n);
    assert_int_equal(now().after.failed, failures);
}

static void what_the_caller_did_counts_for_nobody(void **state)
{
    define("{\"word\":\"a\"}");
    calls(300); /* enough to know how long a note takes */
    assert_int_equal(change(good, 2, MINUTE, false), 0);
    rig_expect(r, "ledger", "note", "{\"n\": -1}", MOAT_E_BAD_PARAMETERS, NULL);
    struct test_call *c = test_call_new(r, "ledger", "note", "{\"n\": 1, \"ms\": 20000}");
    test_call_begin(r, c);
    rig_wait_inside(r, "ledger");
    call_cancel(r->l, &c->call);
    test_call_wait(c);
    assert_int_equal(c->call.code, -MOAT_E_CANCELLED);
    test_call_free(c);
    expect_after(0, 0);
    /* Less time than it usually has, of an action of which nothing is known: no word about the configuration. */
    test_call_free(rig_run(r, "ledger", "hang", "{}", 20 * NS_PER_MS));
    expect_after(0, 0);
    /* But who takes far longer than it did is to blame for being late, whoever's time was over. */
    test_call_free(rig_run(r, "ledger", "note", "{\"n\": 1, \"ms\": 20000}", 300 * NS_PER_MS));
    expect_after(1, 1);
    rig_expect(r, "ledger", "lie", "{}", MOAT_E_BAD_RESULT, NULL);
    expect_after(2, 2);
}

/* ---- at random ---- */

static void anything_at_any_time(void **state)
{
    uint64_t seed = rig_seed(), until = clock_mono_ns() + (full ? 30 : 1) * NS_PER_S;
    static const char *const configs[] = {"{\"word\":\"a\"}", "{\"word\":\"b\"}", "{\"word\":\"c\"}",
                                          "{\"note\":\"fail\",\"note_percent\":20}", "{\"configure\":\"slow\"}"};
    unsigned steps = 0;
    struct error err;
    define(configs[0]);
    begin_load();
    for (uint64_t revision = 1; clock_mono_ns() < until; revision++, steps++) {
        struct loader_guard g;
        int rc = 0;
        switch (rig_random(&seed, 8)) {
        case 0:
            rc = rig_reload(r, "ledger", &err);
            break;
        case 1:
            define(configs[rig_random(&seed, 4)]);
            break;
        case 2:
            if (rig_random(&seed, 4) == 0 && (rc = rig_stop(r, "ledger", 50 * NS_PER_MS, &err)) == 0)
                rc = rig_start(r, "ledger", &err);
            break;
        case 3:
            rc = change(configs[0], revision, 0, true);
            break;
        default:
            rc = change(configs[rig_random(&seed, 5)], revision, rig_random(&seed, 3) * 20 * NS_PER_MS, false);
        }
        if (rc && rc != -MOAT_E_WRONG_STATE)
            fail_msg("step %u: %s", steps, error_info((enum moat_code) - rc)->name);
        if (loader_guard_status(r->l, "ledger", &g) && g.state == GUARD_WORSE)
            loader_guard_settle(r->l, "ledger", g.revision, rig_random(&seed, 2), "a test");
        usleep(rig_random(&seed, 20000));
    }
    end_load();
    printf("# %u steps, %u guards were over, %u calls answered, %u failed, %u while it was stopped\n", steps,
           times_heard(NULL), answered, failed, other);
    assert_true(answered > 0);
}

int main(void)
{
    const char *every = getenv("MOAT_LONG");
    full = every && *every;
#define T(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        T(under_load_a_worse_one_is_found_and_taken_back),
        T(a_good_one_passes),
        T(taken_by_fresh_workers_it_is_judged_by_theirs),
        T(one_that_only_crashes_is_given_up),
        T(what_is_the_same_goes_on_what_is_not_ends_it),
        T(two_changes_are_judged_as_one),
        T(its_time_ends),
        T(what_the_caller_did_counts_for_nobody),
        T(anything_at_any_time),
    };
#undef T
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
