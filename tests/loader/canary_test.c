/* Canaries under load: a good one, a failing one, a slow one and a crashing one end as they should, whatever else
 * happens, and no call is lost or done twice because of them.  Each call carries a number of its own, which the plugin
 * appends to a file before anything can go wrong with it. */
#include "loader/internal.h"
#include "rig.h"

#define CALLERS 3
#define BATCH 8
#define CALLS_MAX 60000 /* of one caller: every verdict has fallen long before */

static struct rig *r;
static bool full; /* the long way */
static char folder[64], path[96];

/* ---- what the loader told ---- */

static struct heard {
    pthread_mutex_t lock;
    unsigned passed, over;
    struct loader_canary last;
} heard = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_canary(void *context, const char *plugin, const struct loader_canary *canary)
{
    pthread_mutex_lock(&heard.lock);
    heard.last = *canary;
    *(canary->state == CANARY_PASSED ? &heard.passed : &heard.over) += 1;
    pthread_mutex_unlock(&heard.lock);
}

static struct heard what_was_heard(void)
{
    pthread_mutex_lock(&heard.lock);
    struct heard copy = {.passed = heard.passed, .over = heard.over, .last = heard.last};
    pthread_mutex_unlock(&heard.lock);
    return copy;
}

static int open_rig(void **state)
{
    pthread_mutex_lock(&heard.lock);
    heard.passed = heard.over = 0;
    pthread_mutex_unlock(&heard.lock);
    strcpy(folder, "/tmp/moat-canary-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/numbers", folder);
    rig_config.on_canary = on_canary;
    r = rig_open();
    r->l->canary_slack_ns = 10 * NS_PER_S; /* how fast this machine is just now is nobody's fault */
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    unlink(path);
    rmdir(folder);
    return 0;
}

/* ---- versions ---- */

static const char *const good = "", *const failing = ",\"note\":\"fail\",\"note_percent\":30",
                         *const slow = ",\"note\":\"slow\",\"note_percent\":50",
                         *const crashing = ",\"note\":\"crash\",\"note_percent\":20",
                         *const no_start = ",\"start\":\"fail\"";

static struct spec *version(const char *number, const char *how)
{
    char config[256];
    snprintf(config, sizeof config, "{\"file\":\"%s\"%s}", path, how);
    return rig_spec("ledger",
                    &(struct variant){.ledger = true, .version = number, .config = config, .write_path = folder});
}

static void define(const char *number)
{
    struct error err;
    struct spec *s = version(number, good);
    assert_int_equal(rig_set(r, "ledger", s, LOADER_START, MOAT_E_OK, &err), 0);
    spec_unref(s);
}

static int canary(const char *number, const char *how, unsigned percent, struct error *err)
{
    struct waited w;
    struct spec *s = version(number, how);
    waited_init(&w);
    loader_canary(r->l, "ledger", s, percent, waited_done, &w);
    spec_unref(s);
    return waited_wait(&w, err);
}

static int promote(const char *number, struct error *err)
{
    struct waited w;
    waited_init(&w);
    loader_canary_promote(r->l, "ledger", number, waited_done, &w);
    return waited_wait(&w, err);
}

static int end(struct error *err)
{
    struct waited w;
    waited_init(&w);
    loader_canary_end(r->l, "ledger", "a test", waited_done, &w);
    return waited_wait(&w, err);
}

static enum canary_state state_now(void)
{
    struct loader_canary c = {0};
    assert_true(loader_canary_status(r->l, "ledger", &c));
    return c.state;
}

/* ---- callers ---- */

static _Atomic bool stop;
static unsigned pause_us; /* of a caller, after each turn */

struct caller {
    pthread_t thread;
    unsigned number, next;
    unsigned old, new, failed[2], crashed[2]; /* by version: answered, failed */
    unsigned other;                           /* any other outcome */
    char why[1200];
};

static void note_outcome(struct caller *me, const struct test_call *c)
{
    const struct call *call = &c->call;
    unsigned is_new = strcmp(call->receipt.version, "2.0.0") == 0;
    if (call->code == 0 && atoi((char *)call->result) == atoi(c->parameters + strlen("{\"n\": ")))
        *(is_new ? &me->new : &me->old) += 1;
    else if (call->code == -MOAT_E_ACTION_FAILED)
        me->failed[is_new]++;
    else if (call->code == -MOAT_E_PLUGIN_CRASHED)
        me->crashed[is_new]++;
    else if (me->other++ == 0)
        snprintf(me->why, sizeof me->why, "%s: %s", c->parameters, call->error.message);
}

/* One after the other in the caller's own thread, and many at once through the queue. */
static void *call_on(void *context)
{
    struct caller *me = context;
    struct test_call *c[BATCH];
    while (!atomic_load(&stop) && me->next < CALLS_MAX * CALLERS) {
        unsigned n = me->number == 0 ? BATCH : 1;
        for (unsigned i = 0; i < n; i++, me->next += CALLERS) {
            char text[32];
            snprintf(text, sizeof text, "{\"n\": %u}", me->next);
            c[i] = test_call_new(r, "ledger", "note", text);
            struct call *one = &c[i]->call;
            if (n > 1)
                test_call_begin(r, c[i]);
            else
                call_run(r->l, &one, 1);
        }
        for (unsigned i = 0; i < n; i++) {
            if (n > 1)
                test_call_wait(c[i]);
            note_outcome(me, c[i]);
            test_call_free(c[i]);
        }
        if (pause_us)
            usleep(pause_us);
    }
    return NULL;
}

static struct caller callers[CALLERS];

static void begin_load(void)
{
    atomic_store(&stop, false);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.number = i, .next = i};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_on, &callers[i]), 0);
    }
}

/* The sum of all callers. */
static struct caller end_load(void)
{
    struct caller all = {0};
    atomic_store(&stop, true);
    for (unsigned i = 0; i < CALLERS; i++) {
        const struct caller *c = &callers[i];
        pthread_join(c->thread, NULL);
        all.next += (c->next - i) / CALLERS;
        all.old += c->old;
        all.new += c->new;
        for (int side = 0; side < 2; side++) {
            all.failed[side] += c->failed[side];
            all.crashed[side] += c->crashed[side];
        }
        if (c->other)
            fail_msg("%u calls ended in no way that a canary explains; the first: %s", c->other, c->why);
    }
    assert_int_equal(all.next, all.old + all.new + all.failed[0] + all.failed[1] + all.crashed[0] + all.crashed[1]);
    return all;
}

/* Each number that was answered stands there once, and none twice. */
static void check_numbers(const struct caller *all)
{
    static uint8_t seen[CALLS_MAX * CALLERS + CALLERS * BATCH];
    unsigned noted = 0;
    memset(seen, 0, sizeof seen);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    for (uint64_t n; fread(&n, sizeof n, 1, f) == 1; noted++) {
        assert_true(n < sizeof seen);
        if (seen[n]++)
            fail_msg("call %u was done twice", (unsigned)n);
    }
    fclose(f);
    assert_int_equal(noted, all->next); /* a call that crashed had noted its number, too */
    printf("# %u calls, %u of the new version, %u of them failed\n", all->next,
           all->new + all->failed[1] + all->crashed[1], all->failed[1] + all->crashed[1]);
}

static void expect_version(const char *number)
{
    for (int i = 0; i < 20; i++) {
        struct test_call *c = test_call_new(r, "ledger", "book", "{}");
        test_call_begin(r, c);
        test_call_wait(c);
        assert_int_equal(c->call.code, 0);
        assert_string_equal(c->call.receipt.version, number);
        test_call_free(c);
    }
}

/* ---- verdicts ---- */

static void a_good_one_becomes_current(void **unused)
{
    struct error err;
    define("1.0.0");
    begin_load();
    assert_int_equal(canary("2.0.0", good, 20, &err), 0);
    assert_string_equal(rig_status(r, "ledger")->version, "1.0.0");
    RIG_WAIT(what_was_heard().passed == 1);
    const struct heard h = what_was_heard();
    assert_string_equal(h.last.version, "2.0.0");
    assert_string_equal(h.last.current, "1.0.0");
    assert_true(h.last.evidence_fine >= 100);
    assert_int_equal(h.last.after.failed, 0);
    /* The share: of the calls that were judged, a fifth, give or take what chance does. */
    assert_in_range(h.last.after.calls * 100 / (h.last.after.calls + h.last.before.calls), 12, 30);
    assert_int_equal(promote("2.0.0", &err), 0);
    assert_string_equal(rig_status(r, "ledger")->version, "2.0.0");
    struct caller all = end_load();
    assert_int_equal(all.failed[0] + all.failed[1] + all.crashed[0] + all.crashed[1], 0);
    check_numbers(&all);
    expect_version("2.0.0");
    assert_int_equal(state_now(), CANARY_PROMOTED);
    assert_int_equal(promote("2.0.0", &err), -MOAT_E_WRONG_STATE);
}

static void bad_one(const char *how, struct caller *all)
{
    struct error err;
    define("1.0.0");
    begin_load();
    /* The border of what is slow is learnt beside the canary. */
    assert_int_equal(canary("2.0.0", how, 20, &err), 0);
    RIG_WAIT(what_was_heard().over == 1);
    const struct heard h = what_was_heard();
    *all = end_load();
    assert_int_equal(h.passed, 0);
    assert_int_equal(h.last.state, CANARY_ROLLED_BACK);
    printf("# %s\n", h.last.why);
    assert_string_equal(rig_status(r, "ledger")->version, "1.0.0");
    assert_int_equal(rig_status(r, "ledger")->state, STATE_READY);
    assert_int_equal(all->failed[0] + all->crashed[0], 0);
    check_numbers(all);
    expect_version("1.0.0");
    assert_int_equal(promote("2.0.0", &err), -MOAT_E_WRONG_STATE);
}

static void a_failing_one_is_rolled_back(void **unused)
{
    struct caller all;
    bad_one(failing, &all);
    assert_in_range(all.failed[1], 1, 200);
    const struct heard h = what_was_heard();
    assert_true(h.last.evidence_worse >= 100);
    assert_true(h.last.after.failed > 0 && h.last.before.failed == 0);
    assert_non_null(strstr(h.last.why, "failed"));
}

static void a_slow_one_is_rolled_back(void **unused)
{
    struct caller all;
    r->l->canary_slack_ns = CANARY_SLACK_NS;
    bad_one(slow, &all);
    assert_int_equal(all.failed[1] + all.crashed[1], 0);
    assert_true(what_was_heard().last.after.slow > 0);
}

static void a_crashing_one_is_rolled_back_and_opens_no_circuit(void **unused)
{
    struct caller all;
    bad_one(crashing, &all);
    assert_in_range(all.crashed[1], 1, 50);
    assert_int_equal(rig_status(r, "ledger")->health, HEALTH_HEALTHY);
}

/* ---- who meets it ---- */

#define PRINCIPALS 50

static void a_known_caller_stays_where_it_is(void **unused)
{
    struct error err;
    unsigned seen[PRINCIPALS] = {0}, with_new = 0;
    define("1.0.0");
    assert_int_equal(canary("2.0.0", good, 30, &err), 0);
    for (int i = 0; i < 400 && state_now() == CANARY_RUNNING; i++) {
        struct test_call *c = test_call_new(r, "ledger", "book", "{}");
        c->call.principal = 1 + (unsigned)i % PRINCIPALS;
        test_call_begin(r, c);
        test_call_wait(c);
        assert_int_equal(c->call.code, 0);
        if (state_now() == CANARY_RUNNING)
            seen[i % PRINCIPALS] |= strcmp(c->call.receipt.version, "2.0.0") == 0 ? 2 : 1;
        test_call_free(c);
    }
    for (int i = 0; i < PRINCIPALS; i++) {
        assert_int_not_equal(seen[i], 3);
        with_new += seen[i] == 2;
    }
    assert_in_range(with_new, 3, 30);
}

static void of_a_single_caller_s_calls_it_gets_its_share(void **unused)
{
    struct error err;
    unsigned new = 0;
    define("1.0.0");
    for (unsigned principal = 1; principal <= 3; principal++) {
        assert_int_equal(canary("2.0.0", good, 10, &err), 0);
        for (int i = 0; i < 400; i++) {
            struct test_call *c = test_call_new(r, "ledger", "book", "{}");
            c->call.principal = principal;
            test_call_begin(r, c);
            test_call_wait(c);
            new += strcmp(c->call.receipt.version, "2.0.0") == 0;
            test_call_free(c);
        }
        assert_in_range(new, 5, 150); /* a quarter of the share at least, hardly more than twice as much */
        new = 0;
        assert_int_equal(end(&err), 0);
    }
}

static bool meets_new(uint64_t principal)
{
    struct test_call *c = test_call_new(r, "ledger", "book", "{}");
    c->call.principal = principal;
    test_call_begin(r, c);
    test_call_wait(c);
    bool new = strcmp(c->call.receipt.version, "2.0.0") == 0;
    test_call_free(c);
    return new;
}

static void a_worker_killed_for_a_deadline_is_replaced(void **unused)
{
    struct error err;
    uint64_t who = 1;
    define("1.0.0");
    assert_int_equal(canary("2.0.0", good, 90, &err), 0);
    while (!meets_new(who))
        who++;
    for (int i = 0; i < 3; i++) {
        struct test_call *c = test_call_new(r, "ledger", "hang", "{}");
        c->call.principal = who;
        c->call.deadline_ns = 20 * NS_PER_MS;
        test_call_begin(r, c);
        test_call_wait(c);
        assert_int_equal(c->call.code, -MOAT_E_DEADLINE);
        test_call_free(c);
        RIG_WAIT(meets_new(who)); /* meanwhile the current one answers */
    }
    assert_int_equal(state_now(), CANARY_RUNNING);
    assert_int_equal(rig_status(r, "ledger")->workers, 2);
}

/* Whose calls meet that version, and wait in a lane of that half. */
static uint64_t who_meets(bool new, unsigned half)
{
    uint64_t who = 1;
    while (who % 16 / 8 != half || meets_new(who) != new)
        who++;
    return who;
}

static struct test_call *note_for(uint64_t principal, unsigned n, unsigned ms)
{
    char text[48];
    snprintf(text, sizeof text, "{\"n\": %u, \"ms\": %u}", n, ms);
    struct test_call *c = test_call_new(r, "ledger", "note", text);
    c->call.principal = principal;
    test_call_begin(r, c);
    return c;
}

#define FEW 5
#define MANY 20

/* How many of the flooder's numbers stand before the last one of the other's. */
static unsigned flooded_before_others(void)
{
    unsigned flooded = 0, before = 0;
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    for (uint64_t n; fread(&n, sizeof n, 1, f) == 1;) {
        flooded += n / 1000 == 1;
        before = n / 1000 == 2 ? flooded : before;
    }
    fclose(f);
    assert_int_equal(flooded, MANY);
    return before;
}

/* Who floods the current version waits behind himself there, however much the canary has to do beside it. */
static void callers_take_turns_on_either_side(void **unused)
{
    struct error err;
    struct test_call *c[2 + FEW + 2 * MANY];
    unsigned n = 0;
    define("1.0.0");
    assert_int_equal(canary("2.0.0", good, 50, &err), 0);
    uint64_t flooder = who_meets(false, 0), other = who_meets(false, 1), third = who_meets(true, 0);
    c[n++] = note_for(flooder, 1, 200); /* meanwhile the others queue */
    c[n++] = note_for(third, 2, 200);
    for (unsigned i = 0; i < FEW; i++)
        c[n++] = note_for(other, 2000 + i, 5);
    for (unsigned i = 0; i < MANY; i++)
        c[n++] = note_for(flooder, 1000 + i, 5);
    for (unsigned i = 0; i < MANY; i++)
        c[n++] = note_for(third, 3000 + i, 5);
    while (n--) {
        test_call_wait(c[n]);
        assert_int_equal(c[n]->call.code, 0);
        test_call_free(c[n]);
    }
    assert_in_range(flooded_before_others(), 0, FEW + 2);
}

/* ---- what ends it ---- */

static void what_changes_the_plugin_ends_it(void **unused)
{
    struct error err;
    struct waited w;
    define("1.0.0");
    assert_int_equal(canary("2.0.0", good, 50, &err), 0);
    assert_int_equal(rig_reload(r, "ledger", &err), 0);
    assert_int_equal(state_now(), CANARY_ENDED);
    expect_version("1.0.0");

    assert_int_equal(canary("2.0.0", good, 50, &err), 0);
    assert_int_equal(canary("3.0.0", good, 50, &err), 0); /* a new one takes the old one's place */
    assert_true(loader_lives(r->l, "ledger", "1.0.0") && loader_lives(r->l, "ledger", "3.0.0"));
    assert_int_equal(end(&err), 0);
    assert_int_equal(end(&err), -MOAT_E_WRONG_STATE);
    expect_version("1.0.0");

    RIG_WAIT(rig_status(r, "ledger")->workers == 1); /* those that were ended gently take their time */
    assert_false(loader_lives(r->l, "ledger", "2.0.0") || loader_lives(r->l, "ledger", "3.0.0"));
    assert_int_equal(canary("2.0.0", good, 99, &err), 0);
    waited_init(&w);
    loader_end(r->l, "ledger", "2.0.0", waited_done, &w); /* as when its key is revoked: dead when it returns */
    assert_int_equal(waited_wait(&w, &err), 0);
    assert_int_equal(rig_status(r, "ledger")->workers, 1);
    expect_version("1.0.0");

    assert_int_equal(canary("2.0.0", good, 50, &err), 0);
    define("4.0.0");
    expect_version("4.0.0");
    assert_int_equal(canary("2.0.0", good, 50, &err), 0);
    assert_int_equal(rig_stop(r, "ledger", NS_PER_S, &err), 0);
    assert_int_equal(rig_status(r, "ledger")->workers, 0);
    assert_int_equal(what_was_heard().over, 6);
    assert_int_equal(what_was_heard().last.state, CANARY_ENDED);
}

static void what_cannot_begin_changes_nothing(void **unused)
{
    struct error err;
    assert_int_equal(canary("2.0.0", good, 10, &err), -MOAT_E_NO_SUCH_PLUGIN);
    struct spec *s = version("1.0.0", good);
    assert_int_equal(rig_set(r, "ledger", s, LOADER_LAZY, MOAT_E_OK, &err), 0);
    spec_unref(s);
    assert_int_equal(canary("2.0.0", good, 10, &err), -MOAT_E_WRONG_STATE);
    assert_non_null(strstr(err.message, "does not run"));
    expect_version("1.0.0");
    assert_int_equal(canary("2.0.0", good, 0, &err), -MOAT_E_BAD_USAGE);
    assert_int_equal(canary("2.0.0", good, 100, &err), -MOAT_E_BAD_USAGE);
    assert_int_equal(canary("2.0.0", no_start, 10, &err), -MOAT_E_START_FAILED);
    struct loader_canary none;
    assert_false(loader_canary_status(r->l, "ledger", &none));
    assert_int_equal(what_was_heard().over, 0);
    expect_version("1.0.0");
    rig_define(r, "keeper", &(struct variant){.ledger = true, .state = true}, LOADER_START);
    struct waited w;
    waited_init(&w);
    s = rig_spec("keeper", &(struct variant){.ledger = true, .state = true, .version = "2.0.0"});
    loader_canary(r->l, "keeper", s, 10, waited_done, &w);
    spec_unref(s);
    assert_int_equal(waited_wait(&w, &err), -MOAT_E_WRONG_STATE);
    assert_non_null(strstr(err.message, "state"));
}

static void the_loader_s_end_ends_it(void **unused)
{
    struct error err;
    define("1.0.0");
    assert_int_equal(canary("2.0.0", good, 50, &err), 0);
    struct test_call *c[40];
    for (int i = 0; i < 40; i++) {
        c[i] = test_call_new(r, "ledger", "work", "{\"us\": 1000}");
        test_call_begin(r, c[i]);
    }
    rig_close(r, 5 * NS_PER_S);
    for (int i = 0; i < 40; i++) {
        test_call_wait(c[i]);
        assert_true(c[i]->call.code == 0 || c[i]->call.code == -MOAT_E_DRAINING);
        test_call_free(c[i]);
    }
    assert_int_equal(what_was_heard().last.state, CANARY_ENDED);
    r = rig_open();
}

/* ---- at random ---- */

static void anything_at_any_time(void **unused)
{
    static const char *const hows[] = {",\"note\":\"fail\",\"note_percent\":30", "", ",\"start\":\"fail\"",
                                       ",\"note\":\"fail\",\"note_percent\":3"};
    uint64_t seed = rig_seed(), until = clock_mono_ns() + (full ? 60 : 4) * NS_PER_S;
    unsigned steps = 0;
    struct error err;
    pause_us = full ? 4000 : 300; /* so that there are calls to the end */
    define("1.0.0");
    begin_load();
    while (clock_mono_ns() < until && what_was_heard().over < 10000) {
        int rc = 0;
        switch (rig_random(&seed, 6)) {
        case 0:
        case 1:
        case 2:
            rc = canary("2.0.0", hows[rig_random(&seed, 4)], 1 + rig_random(&seed, 99), &err);
            break;
        case 3:
            rc = what_was_heard().last.state == CANARY_PASSED ? promote("2.0.0", &err) : end(&err);
            break;
        case 4:
            rc = rig_reload(r, "ledger", &err);
            break;
        default:
            define("1.0.0");
        }
        if (rc && rc != -MOAT_E_WRONG_STATE && rc != -MOAT_E_START_FAILED)
            fail_msg("%s", err.message);
        usleep(rig_random(&seed, 30000));
        steps++;
    }
    struct caller all = end_load();
    pause_us = 0;
    printf("# %u steps\n", steps);
    check_numbers(&all);
    assert_int_equal(all.crashed[0] + all.crashed[1], 0);
    assert_int_equal(all.failed[0], 0);
}

int main(void)
{
    const char *every = getenv("MOAT_LONG");
    full = every && *every;
#define T(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        T(a_good_one_becomes_current),
        T(a_failing_one_is_rolled_back),
        T(a_slow_one_is_rolled_back),
        T(a_crashing_one_is_rolled_back_and_opens_no_circuit),
        T(a_known_caller_stays_where_it_is),
        T(a_worker_killed_for_a_deadline_is_replaced),
        T(of_a_single_caller_s_calls_it_gets_its_share),
        T(callers_take_turns_on_either_side),
        T(what_changes_the_plugin_ends_it),
        T(what_cannot_begin_changes_nothing),
        T(the_loader_s_end_ends_it),
        T(anything_at_any_time),
    };
#undef T
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
