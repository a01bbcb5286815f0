/* Running calls that ask: what they ask is answered once, or given up with them; calls of other plugins keep their
 * chain, their time and their outcome. */
#include <signal.h>

#include "loader/internal.h"
#include "rig.h"

static struct rig *r;

/* ---- the test's broker: calls are allowed, but of the plugin "closed"; what it keeps is answered by the test ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct question *kept;
static unsigned stopped, asked;
static bool keeps;

static void stop_kept(struct question *ask)
{
    pthread_mutex_lock(&lock);
    stopped++;
    kept = NULL;
    pthread_mutex_unlock(&lock);
    ask_done(ask, "\"nobody hears this\"", 18);
}

static bool keep(struct question *ask)
{
    pthread_mutex_lock(&lock);
    bool it = keeps;
    asked++;
    if (it) {
        kept = ask;
        assert_true(ask_on_stop(ask, stop_kept));
    }
    pthread_mutex_unlock(&lock);
    return it;
}

static void on_ask(void *context, struct question *ask)
{
    const char *plugin = (const char *)ask->bytes, *action = plugin + strlen(plugin) + 1;
    const char *parameters = action + strlen(action) + 1;
    struct error err;
    if (keep(ask))
        return;
    assert_int_equal(ask->service, ASK_CALL);
    if (strcmp(plugin, "closed") == 0) {
        error_set(&err, MOAT_E_PERMISSION_DENIED, "not that one");
        ask_deny(ask, PERMISSION_AGENT_CONTROL, "call", "closed.pass", &err);
        return;
    }
    ask_call(ask, plugin, action, parameters, ask->len - (size_t)(parameters - plugin));
}

static int open_rig(void **state)
{
    keeps = false;
    kept = NULL;
    stopped = asked = 0;
    rig_config.on_ask = on_ask;
    r = rig_open();
    static const struct variant relay = {.relay = true};
    for (const char *name = "abcdefghi"; *name; name++)
        rig_define(r, (const char[]){*name, 0}, &relay, LOADER_LAZY);
    rig_define(r, "echo", NULL, LOADER_LAZY);
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    return 0;
}

static struct test_call *begin(const char *plugin, const char *action, const char *parameters, uint64_t deadline_ns)
{
    struct test_call *c = test_call_new(r, plugin, action, parameters);
    c->call.deadline_ns = deadline_ns;
    test_call_begin(r, c);
    return c;
}

static bool answers_with(const struct test_call *c, const char *part)
{
    return c->call.code == 0 && memmem(c->call.result, c->call.result_len, part, strlen(part));
}

/* ---- what comes back ---- */

static void results_and_refusals(void **state)
{
    rig_expect(r, "a", "pass", "{\"path\":\"\"}", 0, "{\"end\":\"a\"}");
    rig_expect(r, "a", "pass", "{\"path\":\"b\"}", 0, "{\"end\":\"b\"}");
    rig_expect(r, "a", "pass", "{\"path\":\"b,c,d\"}", 0, "{\"end\":\"d\"}");
    rig_expect(r, "a", "pass", "{\"path\":\"echo.echo\",\"with\":{\"n\":[1,2]}}", 0, "{\"n\":[1,2]}");
    rig_expect(r, "a", "pass", "{\"path\":\"b,echo.echo\",\"with\":{\"n\":3},\"times\":20}", 0, "{\"n\":3}");
    static const struct {
        const char *path, *code, *by, *message;
    } rows[] = {
        {"nobody", "no_such_plugin", "a", "nobody"}, {"echo.nothing", "no_such_action", "a", "it has echo"},
        {"echo.sleep", "bad_parameters", "a", "ms"}, {"echo.crash", "plugin_crashed", "a", "SIGSEGV"},
        {"echo.fail", "action_failed", "a", ""},     {"closed", "permission_denied", "a", "not that one"},
        {"a", "call_cycle", "a", "a waits"},         {"b,c,a", "call_cycle", "c", "a waits"},
        {"b,c,b", "call_cycle", "c", "b waits"},     {"b,c,d,e,f,g,h,i", "call_depth", "h", "8 plugins"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char parameters[200];
        snprintf(parameters, sizeof parameters, "{\"path\":\"%s\"}", rows[i].path);
        struct test_call *c = rig_run(r, "a", "pass", parameters, 0);
        char expected[200], got[2048];
        assert_int_equal(c->call.code, 0);
        snprintf(got, sizeof got, "%.*s", (int)c->call.result_len, (const char *)c->call.result);
        snprintf(expected, sizeof expected, "{\"refused\":\"%s\",\"by\":\"%s\",\"message\":\"", rows[i].code,
                 rows[i].by);
        if (strncmp(got, expected, strlen(expected)) != 0 || !strstr(got, rows[i].message))
            fail_msg("%s: %s", rows[i].path, got);
        test_call_free(c);
    }
    rig_expect(r, "a", "pass", "{\"path\":\"b,c,d,e,f,g,h\"}", 0, "{\"end\":\"h\"}");
}

static void receipts_and_traces(void **state)
{
    struct test_call *c = test_call_new(r, "a", "pass", "{\"path\":\"echo.sleep\",\"with\":{\"ms\":20},\"times\":3}");
    test_call_begin(r, c);
    test_call_wait(c);
    const struct receipt *receipt = &c->call.receipt;
    assert_int_equal(receipt->calls, 3);
    assert_true(receipt->calls_ns >= 60 * NS_PER_MS && receipt->calls_ns <= receipt->ran_ns);
    assert_true(receipt->cpu_ns < receipt->ran_ns);
    test_call_free(c);
    c = rig_run(r, "a", "pass", "{\"path\":\"\"}", 0);
    assert_int_equal(c->call.receipt.calls, 0);
    test_call_free(c);
}

/* ---- the end of who waits ---- */

static void no_worker_waits(const char *name)
{
    RIG_WAIT(rig_status(r, name)->in_flight == 0);
}

static void time_is_one(void **state)
{
    rig_expect(r, "b", "pass", "{\"path\":\"echo.echo\"}", 0, "{}");
    uint64_t begun = clock_mono_ns();
    struct test_call *c = begin("a", "pass", "{\"path\":\"b,echo.sleep\",\"with\":{\"ms\":60000}}", 300 * NS_PER_MS);
    test_call_wait(c);
    assert_int_equal(c->call.code, -MOAT_E_DEADLINE);
    assert_true(clock_mono_ns() - begun < 10 * NS_PER_S);
    test_call_free(c);
    no_worker_waits("a");
    no_worker_waits("b");
    no_worker_waits("echo");
    assert_int_equal(rig_status(r, "a")->restarts + rig_status(r, "b")->restarts, 0); /* they gave up when told */
    rig_expect(r, "a", "pass", "{\"path\":\"b,echo.echo\"}", 0, "{}");
}

static void a_cancel_reaches_the_last(void **state)
{
    struct test_call *c = begin("a", "pass", "{\"path\":\"b,echo.sleep\",\"with\":{\"ms\":60000}}", 0);
    rig_wait_inside(r, "echo");
    call_cancel(r->l, &c->call);
    test_call_wait(c);
    assert_int_equal(c->call.code, 0); /* it was told in time, and answered what it was told */
    assert_true(answers_with(c, "\"cancelled\",\"by\":\"a\""));
    test_call_free(c);
    no_worker_waits("b");
    no_worker_waits("echo");
    rig_expect(r, "a", "pass", "{\"path\":\"b,echo.echo\"}", 0, "{}");
}

static void a_death_reaches_the_last(void **state)
{
    struct test_call *c = begin("a", "pass", "{\"path\":\"b,echo.sleep\",\"with\":{\"ms\":60000}}", 0);
    rig_wait_inside(r, "echo");
    rig_kill_worker(r, "b");
    test_call_wait(c);
    assert_int_equal(c->call.code, 0);
    assert_true(answers_with(c, "plugin_crashed"));
    test_call_free(c);
    no_worker_waits("echo");
    rig_expect(r, "a", "pass", "{\"path\":\"b,echo.echo\"}", 0, "{}");
}

/* A worker that does not give up is ended, and it alone. */
static void the_deaf_is_ended(void **state)
{
    struct test_call *c = begin("a", "deaf", "{\"path\":\"b,echo.sleep\",\"with\":{\"ms\":60000}}", 200 * NS_PER_MS);
    test_call_wait(c);
    assert_int_equal(c->call.code, -MOAT_E_DEADLINE);
    test_call_free(c);
    no_worker_waits("echo");
    assert_int_equal(rig_status(r, "b")->restarts, 0);
    rig_expect(r, "a", "pass", "{\"path\":\"b,echo.echo\"}", 0, "{}");
}

/* ---- a handler that answers later ---- */

static struct question *kept_now(void)
{
    pthread_mutex_lock(&lock);
    struct question *now = kept;
    pthread_mutex_unlock(&lock);
    return now;
}

static struct question *wait_kept(void)
{
    RIG_WAIT(kept_now() != NULL);
    return kept_now();
}

static void answers_may_come_late(void **state)
{
    keeps = true;
    struct test_call *c = begin("a", "pass", "{\"path\":\"b\"}", 0);
    struct question *ask = wait_kept();
    assert_string_equal(ask->plugin, "a");
    assert_string_equal(ask->action, "pass");
    ask_done(ask, "[7]", 3);
    test_call_wait(c);
    assert_memory_equal(c->call.result, "[7]", 3);
    test_call_free(c);

    kept = NULL;
    c = begin("a", "pass", "{\"path\":\"b\"}", 0);
    wait_kept();
    rig_kill_worker(r, "a");
    test_call_wait(c);
    assert_int_equal(c->call.code, -MOAT_E_PLUGIN_CRASHED);
    test_call_free(c);
    assert_int_equal(stopped, 1);

    c = begin("a", "pass", "{\"path\":\"b\"}", 0);
    wait_kept();
    call_cancel(r->l, &c->call);
    test_call_wait(c);
    test_call_free(c);
    assert_int_equal(stopped, 2);
}

/* What it asked is ended with it; nobody else notices. */
static void who_asks_out_of_turn_is_ended(void **state)
{
    static const struct {
        const char *action, *parameters;
        int code;
        unsigned asked;
    } rows[] = {{"sleep", "{\"ms\":0}", MOAT_E_PLUGIN_CRASHED, 1},
                {"bad_result", "{}", MOAT_E_PLUGIN_CRASHED, 1},
                {"big", "{\"bytes\":2}", 0, 0},
                {"read", "{\"path\":\"/\"}", MOAT_E_PLUGIN_CRASHED, 0}};
    rig_define(r, "echo", &(struct variant){.liar = true}, LOADER_LAZY);
    struct test_call *waits = begin("b", "pass", "{\"path\":\"c\",\"hold\":1}", 0);
    test_call_wait(waits);
    test_call_free(waits);
    keeps = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        asked = stopped = 0;
        assert_int_equal(rig_start(r, "echo", NULL), 0);
        pid_t pid = rig_status(r, "echo")->first_pid;
        struct test_call *c = rig_run(r, "echo", rows[i].action, rows[i].parameters, 0);
        if (-c->call.code != rows[i].code || (rows[i].code && !strstr(c->call.error.message, "protocol")))
            fail_msg("%s: %s", rows[i].action, c->call.error.message);
        test_call_free(c);
        RIG_WAIT(kill(pid, 0) < 0);
        assert_int_equal(asked, rows[i].asked);
        RIG_WAIT(stopped == rows[i].asked);
    }
}

static bool all_over(void *context, const struct question *ask, struct error *err)
{
    error_set(err, MOAT_E_PERMISSION_DENIED, "not any more");
    return true;
}

static void a_review_ends_what_is_over(void **state)
{
    struct test_call *c = begin("a", "pass", "{\"path\":\"echo.sleep\",\"with\":{\"ms\":60000}}", 0);
    rig_wait_inside(r, "echo");
    loader_asks_review(r->l, "a", all_over, NULL);
    loader_asks_review(r->l, "a", all_over, NULL);
    loader_asks_review(r->l, "nobody", all_over, NULL);
    test_call_wait(c);
    assert_int_equal(c->call.code, 0);
    assert_true(answers_with(c, "permission_denied"));
    test_call_free(c);
    no_worker_waits("echo");
}

/* ---- denials ---- */

static void denials_are_told(void **state)
{
    uint64_t before = rig_status(r, "a")->denials;
    struct test_call *c = rig_run(r, "a", "pass", "{\"path\":\"closed\",\"times\":50}", 0);
    assert_int_equal(c->call.code, 0);
    test_call_free(c);
    assert_int_equal(rig_status(r, "a")->denials, before + 50);
}

/* ---- crossing ---- */

#define CROSSING 200 /* at a time */

struct crossing {
    struct test_call *c;
    char path[16]; /* who is called, in this order: "abc" is a's call of b, which calls c */
};

static bool goes_round(const char *path)
{
    for (const char *p = path; *p; p++)
        if (strchr(p + 1, *p))
            return true;
    return false;
}

/* ordered: nobody calls back, so that nobody can wait for himself. */
static void cross_begin(struct crossing *x, uint64_t *state, unsigned plugins, bool ordered)
{
    char parameters[64] = "{\"path\":\"";
    unsigned n = 1 + rig_random(state, 4), least = 0;
    for (unsigned i = 0; i < n && least < plugins; i++) {
        unsigned next = least + rig_random(state, plugins - least);
        x->path[i] = (char)('a' + next);
        x->path[i + 1] = '\0';
        least = ordered ? next + 1 : 0;
    }
    n = (unsigned)strlen(x->path);
    for (unsigned i = 1; i < n; i++)
        snprintf(parameters + strlen(parameters), 8, "%s%c", i > 1 ? "," : "", x->path[i]);
    size_t used = strlen(parameters);
    snprintf(parameters + used, sizeof parameters - used, "\"}");
    x->c = begin((const char[]){*x->path, 0}, "pass", parameters, 0);
}

struct crossed {
    unsigned ended, knots, cycles;
};

/* The one right outcome, unless it would have closed a knot. */
static void cross_end(struct crossing *x, struct crossed *n)
{
    char right[64];
    test_call_wait(x->c);
    if (x->c->call.code)
        fail_msg("%s: %s", x->path, x->c->call.error.message);
    snprintf(right, sizeof right, "{\"end\":\"%c\"}", x->path[strlen(x->path) - 1]);
    if (answers_with(x->c, "\"would_deadlock\""))
        n->knots++;
    else if (goes_round(x->path) && answers_with(x->c, "\"call_cycle\""))
        n->cycles++;
    else if (!goes_round(x->path) && answers_with(x->c, right))
        n->ended++;
    else
        fail_msg("%s: %.*s", x->path, (int)x->c->call.result_len, (const char *)x->c->call.result);
    test_call_free(x->c);
    x->c = NULL;
}

static void relays(unsigned workers, unsigned plugins)
{
    for (unsigned i = 0; i < plugins; i++)
        rig_define(r, (const char[]){(char)('a' + i), 0}, &(struct variant){.relay = true, .workers = workers},
                   LOADER_START);
}

static void cross(unsigned workers, unsigned calls, unsigned plugins, bool ordered)
{
    static struct crossing x[CROSSING];
    struct crossed n = {0};
    uint64_t state = rig_seed(), begun = clock_mono_ns();
    relays(workers, plugins);
    for (unsigned i = 0; i < calls + CROSSING; i++) {
        struct crossing *one = &x[i % CROSSING];
        if (one->c)
            cross_end(one, &n);
        if (i < calls)
            cross_begin(one, &state, plugins, ordered);
    }
    print_message("# %u workers each: %u ended, %u went round, %u knots refused, %.2f s\n", workers, n.ended, n.cycles,
                  n.knots, (double)(clock_mono_ns() - begun) / (double)NS_PER_S);
    assert_int_equal(n.ended + n.cycles + n.knots, calls);
    assert_true(n.ended > 0 && ordered == (n.cycles == 0) && ordered == (n.knots == 0));
}

static void calls_that_cross(void **state)
{
    cross(1, 10000, 4, false);
    cross(3, 2000, 6, false);
    cross(1, 2000, 6, true);
}

/* Cancelled and killed at any moment: each call ends once, nothing is left behind. */
static void calls_that_cross_and_die(void **state)
{
    static struct crossing x[CROSSING];
    uint64_t seed = rig_seed();
    unsigned ends[2] = {0};
    relays(2, 5);
    for (unsigned i = 0; i < 2000 + CROSSING; i++) {
        struct crossing *one = &x[i % CROSSING], *other = &x[rig_random(&seed, CROSSING)];
        if (one->c) {
            test_call_wait(one->c);
            if (one->c->call.code && one->c->call.code != -MOAT_E_CANCELLED &&
                one->c->call.code != -MOAT_E_PLUGIN_CRASHED)
                fail_msg("%s: %s", one->path, one->c->call.error.message);
            ends[one->c->call.code != 0]++;
            test_call_free(one->c);
            one->c = NULL;
        }
        if (i < 2000)
            cross_begin(one, &seed, 5, i % 2);
        if (other->c && i % 3 == 0)
            call_cancel(r->l, &other->c->call);
        if (i % 400 == 399)
            rig_kill_worker(r, (const char[]){(char)('a' + rig_random(&seed, 5)), 0});
    }
    print_message("# %u ended with a result, %u without\n", ends[0], ends[1]);
    assert_int_equal(ends[0] + ends[1], 2000);
    rig_expect(r, "a", "pass", "{\"path\":\"b,c,d,e\"}", 0, "{\"end\":\"e\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(results_and_refusals),          TEST(receipts_and_traces),        TEST(time_is_one),
        TEST(a_cancel_reaches_the_last),     TEST(a_death_reaches_the_last),   TEST(the_deaf_is_ended),
        TEST(answers_may_come_late),         TEST(a_review_ends_what_is_over), TEST(denials_are_told),
        TEST(who_asks_out_of_turn_is_ended), TEST(calls_that_cross),           TEST(calls_that_cross_and_die),
    };
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
