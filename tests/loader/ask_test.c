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

static struct question *wait_kept(void)
{
    RIG_WAIT((pthread_mutex_lock(&lock), pthread_mutex_unlock(&lock), kept != NULL));
    return kept;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(results_and_refusals),      TEST(receipts_and_traces),        TEST(time_is_one),
        TEST(a_cancel_reaches_the_last), TEST(a_death_reaches_the_last),   TEST(the_deaf_is_ended),
        TEST(answers_may_come_late),     TEST(a_review_ends_what_is_over), TEST(denials_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
