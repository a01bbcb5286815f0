/* How a plugin is: by its own words, by what is seen of its life, by how its calls end; with the reason and since when.
 * And nothing of what a canary does. */
#include "loader/internal.h"
#include "rig.h"

static struct rig *r;

static int open_rig(void **state)
{
    r = rig_open();
    r->l->tick_ns = 80 * NS_PER_MS; /* in place of five seconds */
    r->l->probe_ns = 80 * NS_PER_MS;
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    return 0;
}

static void define(const char *version, const char *config)
{
    rig_define(r, "ledger", &(struct variant){.ledger = true, .version = version, .config = config}, LOADER_START);
}

static void read_at(struct loader *l, void *context)
{
    *(unsigned *)context = table_find(l, "ledger")->rate.at;
}

/* Until supervise has looked around so often. */
static void wait_for_looks(unsigned n)
{
    unsigned before, at;
    rig_look(r, read_at, &before);
    do
        rig_look(r, read_at, &at);
    while ((at + RATE_SPANS - before) % RATE_SPANS < n);
}

static void calls(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char text[32];
        snprintf(text, sizeof text, "{\"n\": %u}", i);
        test_call_free(rig_run(r, "ledger", "note", text, 0));
    }
}

static void set_probe(struct loader *l, void *context)
{
    l->probe_ns = *(uint64_t *)context;
}

/* How often it is asked, from now on. */
static void ask_every(uint64_t ns)
{
    rig_look(r, set_probe, &ns);
}

static bool is(enum health health, const char *why)
{
    const struct loader_status *s = rig_status(r, "ledger");
    return s->health == health && strstr(s->health_why, why);
}

static uint64_t since(void)
{
    return rig_status(r, "ledger")->health_since_ns;
}

/* ---- its own words, its life ---- */

static void by_its_own_words(void **state)
{
    uint64_t begun = clock_wall_ns();
    define(NULL, "{}");
    assert_true(is(HEALTH_HEALTHY, ""));
    assert_in_range(since(), begun, clock_wall_ns());
    begun = clock_wall_ns();
    assert_int_equal(
        rig_configure(r, "ledger", &(struct variant){.ledger = true, .config = "{\"health\":\"fail\"}"}, NULL), 0);
    calls(1); /* one at rest is not asked */
    RIG_WAIT(is(HEALTH_DEGRADED, "not healthy"));
    assert_in_range(since(), begun, clock_wall_ns());
    uint64_t degraded = since();
    RIG_WAIT(rig_status(r, "ledger")->state == STATE_READY); /* it serves all the same */
    calls(1);
    assert_int_equal(since(), degraded);
    assert_int_equal(rig_configure(r, "ledger", &(struct variant){.ledger = true, .config = "{}"}, NULL), 0);
    RIG_WAIT(is(HEALTH_HEALTHY, "")); /* who was not well is asked again without being used */
    assert_true(since() > degraded);
}

static void who_does_not_answer_is_ended(void **state)
{
    r->l->errand_ns = 200 * NS_PER_MS;
    define(NULL, "{\"health\":\"hang\"}");
    calls(1);
    pid_t pid = rig_status(r, "ledger")->first_pid;
    RIG_WAIT(rig_status(r, "ledger")->first_pid != pid);
    calls(1);
    assert_int_not_equal(rig_status(r, "ledger")->first_pid, pid);
}

static void a_death_is_seen_from_outside(void **state)
{
    define(NULL, "{}");
    ask_every(60 * NS_PER_S);
    rig_expect(r, "ledger", "crash", "{}", MOAT_E_PLUGIN_CRASHED, NULL);
    RIG_WAIT(is(HEALTH_DEGRADED, "SIGSEGV"));
    uint64_t died = since();
    calls(1);
    assert_int_equal(rig_status(r, "ledger")->restarts, 1);
    assert_true(is(HEALTH_DEGRADED, "SIGSEGV")); /* until it is heard that it is well */
    assert_int_equal(since(), died);
    ask_every(80 * NS_PER_MS);
    RIG_WAIT(is(HEALTH_HEALTHY, ""));
}

static uint64_t not_before(const char *name)
{
    struct plugin *p = table_find(r->l, name);
    pthread_mutex_lock(&p->lock);
    uint64_t at = p->shown.not_before;
    pthread_mutex_unlock(&p->lock);
    return at;
}

/* Each restart waits twice as long as the one before, a quarter more or less, and not two plugins alike. */
static void restarts_wait_longer_each_time(void **state)
{
    uint64_t last[2];
    static const char *const names[] = {"ledger", "other"};
    for (int p = 0; p < 2; p++) {
        rig_define(r, names[p], &(struct variant){.ledger = true}, LOADER_LAZY);
        for (int i = 0; i < 4; i++) {
            uint64_t before = clock_mono_ns(), whole = 100 * NS_PER_MS << i;
            rig_expect(r, names[p], "crash", "{}", MOAT_E_PLUGIN_CRASHED, NULL); /* waits for the backoff before it */
            RIG_WAIT(rig_status(r, names[p])->workers == 0);
            uint64_t after = clock_mono_ns(), due = not_before(names[p]);
            assert_true(due >= before + whole - whole / 4);
            assert_true(due <= after + whole + whole / 4);
            enum loader_state state_then = rig_status(r, names[p])->state;
            if (clock_mono_ns() < due)
                assert_int_equal(state_then, STATE_BACKOFF);
            last[p] = due - before;
        }
    }
    assert_true(last[0] / 1000 != last[1] / 1000);
    RIG_WAIT(rig_status(r, "ledger")->state == STATE_UNLOADED);
    uint64_t begun = clock_mono_ns();
    rig_expect(r, "other", "book", "{}", 0, NULL); /* whose call comes in time waits for it, and is answered */
    assert_true(clock_mono_ns() - begun < 2 * NS_PER_S);
    assert_int_equal(rig_status(r, "other")->state, STATE_READY);
}

/* ---- how its calls end ---- */

static void by_the_share_of_calls_that_fail(void **state)
{
    define(NULL, "{\"note\":\"fail\",\"note_percent\":70}");
    calls(10);
    RIG_WAIT(rig_status(r, "ledger")->executions == 10);
    assert_true(is(HEALTH_HEALTHY, "")); /* ten say nothing */
    calls(100);
    RIG_WAIT(is(HEALTH_DEGRADED, "calls failed"));
    /* That it calls itself healthy changes nothing; nor do failures of its callers. */
    for (int i = 0; i < 30; i++)
        rig_expect(r, "ledger", "note", "{\"n\": -1}", MOAT_E_BAD_PARAMETERS, NULL);
    uint64_t degraded = since();
    calls(30);
    assert_true(is(HEALTH_DEGRADED, "calls failed"));
    assert_int_equal(since(), degraded);
    for (int i = 0; i < 500; i++)
        rig_expect(r, "ledger", "book", "{}", 0, NULL);
    RIG_WAIT(is(HEALTH_HEALTHY, ""));
    assert_true(since() > degraded);
}

static void where_all_fail_it_has_failed(void **state)
{
    define(NULL, "{\"note\":\"fail\",\"note_percent\":100}");
    calls(40);
    RIG_WAIT(is(HEALTH_FAILED, "calls failed"));
    define("2.0.0", "{}"); /* another version has its own */
    assert_true(is(HEALTH_HEALTHY, ""));
    calls(40);
    assert_true(is(HEALTH_HEALTHY, ""));
    assert_int_equal(
        rig_configure(
            r, "ledger",
            &(struct variant){.ledger = true, .version = "2.0.0", .config = "{\"note\":\"fail\",\"note_percent\":100}"},
            NULL),
        0);
    calls(100);
    RIG_WAIT(is(HEALTH_DEGRADED, "calls failed") || is(HEALTH_FAILED, "calls failed"));
    assert_int_equal(
        rig_configure(r, "ledger", &(struct variant){.ledger = true, .version = "2.0.0", .config = "{}"}, NULL), 0);
    assert_true(is(HEALTH_HEALTHY, "")); /* and so has another configuration */
}

/* After a minute without calls nothing is known against it: the spans are those of looks around. */
static void what_is_long_ago_is_forgotten(void **state)
{
    define(NULL, "{\"note\":\"fail\",\"note_percent\":100}");
    calls(40);
    RIG_WAIT(is(HEALTH_FAILED, "calls failed"));
    RIG_WAIT(is(HEALTH_HEALTHY, ""));
}

/* ---- a canary's ---- */

struct counted {
    pthread_mutex_t lock;
    uint64_t calls[2], errors[2]; /* of 1.0.0, of 2.0.0 */
};
static struct counted counted = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_counts(void *context, const struct loader_counts *c)
{
    unsigned v = strcmp(c->version, "2.0.0") == 0;
    pthread_mutex_lock(&counted.lock);
    counted.calls[v] += c->calls;
    counted.errors[v] += c->errors;
    pthread_mutex_unlock(&counted.lock);
}

static int open_counting(void **state)
{
    rig_config.on_counts = on_counts;
    return open_rig(state);
}

static void a_canary_s_failures_are_its_own(void **state)
{
    struct waited w;
    struct error err;
    unsigned failed = 0;
    define("1.0.0", "{}");
    struct spec *s = rig_spec(
        "ledger",
        &(struct variant){.ledger = true, .version = "2.0.0", .config = "{\"note\":\"fail\",\"note_percent\":100}"});
    for (int round = 0; round < 6; round++) { /* each is found out after a few calls */
        waited_init(&w);
        loader_canary(r->l, "ledger", s, 90, waited_done, &w);
        assert_int_equal(waited_wait(&w, &err), 0);
        for (int i = 0; i < 60; i++) {
            struct test_call *c = rig_run(r, "ledger", "note", "{\"n\": 1}", 0);
            failed += c->call.code == -MOAT_E_ACTION_FAILED;
            test_call_free(c);
        }
    }
    spec_unref(s);
    assert_in_range(failed, 20, 360);
    wait_for_looks(2);
    const struct loader_status *st = rig_status(r, "ledger");
    assert_int_equal(st->health, HEALTH_HEALTHY);
    assert_int_equal(st->failed, 0);
    assert_int_equal(st->errors, failed); /* the plugin's in all */
    struct loader_merits merits;
    assert_true(loader_merits(r->l, "ledger", &merits));
    assert_int_equal(merits.faults, 0);
    struct loader_figures *f = loader_figures(r->l, "ledger");
    assert_non_null(f);
    for (size_t i = 0; i < f->nactions; i++)
        assert_int_equal(f->actions[i].figure.failed, 0);
    unsigned shown = 0;
    for (size_t i = 0; i < f->ngenerations; i++)
        if (strcmp(f->generations[i].version, "1.0.0") == 0)
            assert_int_equal(f->generations[i].figure.failed, 0);
        else
            shown += f->generations[i].figure.failed > 0;
    assert_true(shown > 0);
    loader_figures_free(f);
    loader_collect(r->l, NULL);
    pthread_mutex_lock(&counted.lock);
    assert_int_equal(counted.errors[0], 0);
    assert_int_equal(counted.errors[1], failed);
    pthread_mutex_unlock(&counted.lock);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        T(by_its_own_words),
        T(who_does_not_answer_is_ended),
        T(a_death_is_seen_from_outside),
        T(restarts_wait_longer_each_time),
        T(by_the_share_of_calls_that_fail),
        T(where_all_fail_it_has_failed),
        T(what_is_long_ago_is_forgotten),
        cmocka_unit_test_setup_teardown(a_canary_s_failures_are_its_own, open_counting, close_rig),
    };
#undef T
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
