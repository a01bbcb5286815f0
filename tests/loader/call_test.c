/* One call at a time: what its caller gets, in every way that a call can end. */
#include <signal.h>

#include "rig.h"
#include "json/json.h"

static struct rig *r;

static int open_echo(void **state)
{
    rig_config.payload_max = 1 << 20;
    r = rig_open();
    rig_define(r, "echo", NULL, LOADER_LAZY);
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    return 0;
}

/* Begins a call and waits for its end; the caller frees it. */
static struct test_call *begin_and_wait(const char *action, const char *parameters, uint64_t deadline_ns)
{
    struct test_call *c = test_call_new(r, "echo", action, parameters);
    c->call.deadline_ns = deadline_ns;
    test_call_begin(r, c);
    test_call_wait(c);
    return c;
}

static void first_call_starts_the_plugin(void **state)
{
    assert_int_equal(rig_status(r, "echo")->state, STATE_UNLOADED);
    assert_int_equal(rig_status(r, "echo")->health, HEALTH_UNKNOWN);
    assert_non_null(loader_plugin(r->l, "echo"));
    assert_null(loader_plugin(r->l, "ech"));
    rig_expect(r, "echo", "echo", "{\"a\": [1, 2.5, \"\\u00e9\"]}", 0, "{\"a\": [1, 2.5, \"\\u00e9\"]}");
    struct loader_status *s = rig_status(r, "echo");
    assert_int_equal(s->state, STATE_READY);
    assert_int_equal(s->health, HEALTH_HEALTHY);
    assert_int_equal(s->workers, 1);
    assert_string_equal(s->version, "1.0.0");
    assert_true(s->first_pid > 0 && kill(s->first_pid, 0) == 0);
}

/* Both ways to call check alike. */
static void bad_calls_are_answered_with_what_is_wrong(void **state)
{
    static char large[(1 << 20) + 8];
    memset(large, ' ', sizeof large - 1);
    large[0] = '1';
    static const struct {
        const char *plugin, *action, *parameters;
        int code;
        const char *message, *detail;
    } rows[] = {
        {"nobody", "echo", "{}", MOAT_E_NO_SUCH_PLUGIN, "\"nobody\"", ""},
        {"echo", "ecco", "{}", MOAT_E_NO_SUCH_ACTION, "sleep", ""},
        {"echo", "echo", "", MOAT_E_BAD_JSON, "not JSON", NULL},
        {"echo", "echo", "{\"a\": 01}", MOAT_E_BAD_JSON, "at byte 6", NULL},
        {"echo", "sleep", "{}", MOAT_E_BAD_PARAMETERS, "ms", NULL},
        {"echo", "sleep", "{\"ms\": \"1\"}", MOAT_E_BAD_PARAMETERS, "/ms", "{\"pointer\":\"/ms\",\"reason\":\""},
        {"echo", "sleep", "{\"ms\": \"1\", ]", MOAT_E_BAD_JSON, "not JSON", NULL},
        {"echo", "sleep", "{\"ms\": 1, \"ms\": 1}", MOAT_E_BAD_PARAMETERS, "", NULL},
        {"echo", "echo", large, MOAT_E_TOO_LARGE, "1048583 bytes", ""},
    };
    for (int warm = 0; warm < 2; warm++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct test_call *c[2];
            c[0] = rig_run(r, rows[i].plugin, rows[i].action, rows[i].parameters, 0);
            c[1] = test_call_new(r, rows[i].plugin, rows[i].action, rows[i].parameters);
            test_call_begin(r, c[1]);
            test_call_wait(c[1]);
            for (int k = 0; k < 2; k++) {
                const struct error *err = &c[k]->call.error;
                assert_int_equal(-c[k]->call.code, rows[i].code);
                if (!strstr(err->message, rows[i].message))
                    fail_msg("\"%s\" is not in \"%s\"", rows[i].message, err->message);
                if (rows[i].detail)
                    assert_memory_equal(err->detail, rows[i].detail, strlen(rows[i].detail));
                if (!rows[i].detail || *rows[i].detail) {
                    char detail[sizeof err->detail + JSON_PAD];
                    memcpy(detail, err->detail, sizeof err->detail);
                    assert_true(json_valid((uint8_t *)detail, strlen(detail)));
                }
                assert_null(c[k]->call.result);
                test_call_free(c[k]);
            }
        }
        rig_expect(r, "echo", "echo", "[]", 0, "[]");
    }
    struct loader_status *s = rig_status(r, "echo");
    assert_int_equal(s->executions, 2);
    assert_int_equal(s->errors_by_code[MOAT_E_BAD_PARAMETERS], 3 * 4);
    assert_int_equal(s->errors, 8 * 4); /* no_such_plugin is nobody's */
    assert_int_equal(s->nlast, 20);
    assert_int_equal(s->last[0].code, MOAT_E_TOO_LARGE);
    assert_int_equal(strlen(s->last[0].call_id), 32);
}

static void the_plugins_own_failure_is_passed_on(void **state)
{
    struct test_call *c = rig_run(r, "echo", "fail", "{\"code\": \"overflow\", \"message\": \"1e999 \\u001b[2J\"}", 0);
    assert_int_equal(c->call.code, -MOAT_E_ACTION_FAILED);
    assert_non_null(strstr(c->call.error.message, "overflow: 1e999 ?[2J"));
    assert_string_equal(c->call.error.detail, "{\"code\":\"overflow\",\"message\":\"1e999 \\u001b[2J\"}");
    test_call_free(c);
    /* Words that are no words, endless and empty ones. */
    char many[4100], *end = many;
    end += snprintf(many, sizeof many, "{\"code\": \"No Word\", \"message\": \"");
    while (end < many + 4000)
        end += sprintf(end, "\\\"");
    sprintf(end, "\"}");
    c = rig_run(r, "echo", "fail", many, 0);
    assert_int_equal(c->call.code, -MOAT_E_ACTION_FAILED);
    assert_non_null(strstr(c->call.error.detail, "{\"code\":\"failed\",\"message\":\"\\\"\\\""));
    assert_true(c->call.error.detail[strlen(c->call.error.detail) - 1] == '}');
    test_call_free(c);
    rig_expect(r, "echo", "mute", "{}", MOAT_E_ACTION_FAILED, "no_result");
    rig_expect(r, "echo", "bad_result", "{}", MOAT_E_BAD_RESULT, "not JSON");
    c = begin_and_wait("bad_result", "{}", 0);
    assert_int_equal(c->call.code, -MOAT_E_BAD_RESULT);
    test_call_free(c);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
}

static void expect_both_ways(const char *action, const char *parameters, int code, const char *text)
{
    struct test_call *c = begin_and_wait(action, parameters, 0);
    rig_expect(r, "echo", action, parameters, code, text);
    assert_int_equal(-c->call.code, code);
    if (code) {
        assert_non_null(strstr(c->call.error.message, text));
        assert_null(c->call.result);
    }
    test_call_free(c);
}

/* Not only JSON: what the manifest says. */
static void a_result_keeps_the_promise(void **state)
{
    expect_both_ways("typed", "{}", MOAT_E_BAD_RESULT,
                     "the result of echo.typed is not what its manifest promises: expected number, found string");
    rig_define(r, "echo", &(struct variant){.promise = "{\"properties\": {\"n\": {\"items\": {\"minimum\": 5}}}}"},
               LOADER_START);
    uint64_t before = rig_status(r, "echo")->errors_by_code[MOAT_E_BAD_RESULT];
    expect_both_ways("echo", "{\"n\": [5, 6]}", 0, "{\"n\": [5, 6]}");
    expect_both_ways("echo", "{\"n\": [5, 4]}", MOAT_E_BAD_RESULT, "/n/1: item 1 must be at least 5");
    assert_int_equal(rig_status(r, "echo")->errors_by_code[MOAT_E_BAD_RESULT] - before, 2);
    struct test_call *c = begin_and_wait("echo", "{\"n\": [1]}", 0);
    assert_string_equal(c->call.error.detail, "{\"pointer\":\"/n/0\",\"reason\":\"item 0 must be at least 5\"}");
    test_call_free(c);
    expect_both_ways("bad_result", "{}", MOAT_E_BAD_RESULT, "not JSON");
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
}

static void every_size_comes_back(void **state)
{
    static const size_t sizes[] = {2, 64, 500, 4000, 16383, 16384, 16385, 70000, 1 << 20};
    char *text = malloc((1 << 20) + 1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int way = 0; way < 2; way++) {
            memset(text, 'a' + (int)i, sizes[i]);
            text[0] = text[sizes[i] - 1] = '"';
            text[sizes[i]] = '\0';
            struct test_call *c = way ? begin_and_wait("echo", text, 0) : rig_run(r, "echo", "echo", text, 0);
            assert_int_equal(c->call.code, 0);
            assert_int_equal(c->call.result_len, sizes[i]);
            assert_memory_equal(c->call.result, text, sizes[i]);
            assert_int_equal(c->call.receipt.bytes_in, sizes[i]);
            assert_int_equal(c->call.receipt.bytes_out, sizes[i]);
            memset(c->call.result + c->call.result_len, 0xff, JSON_PAD); /* it is there */
            test_call_free(c);
        }
    free(text);
    rig_expect(r, "echo", "big", "{\"bytes\": 1048577}", MOAT_E_ACTION_FAILED, "too_large");
}

static void a_crash_names_the_signal_and_the_last_line(void **state)
{
    for (int way = 0; way < 2; way++) {
        rig_expect(r, "echo", "echo", "1", 0, "1");
        pid_t before = rig_status(r, "echo")->first_pid;
        struct test_call *c = way ? begin_and_wait("crash", "{}", 0) : rig_run(r, "echo", "crash", "{}", 0);
        assert_int_equal(c->call.code, -MOAT_E_PLUGIN_CRASHED);
        if (!strstr(c->call.error.message, "SIGSEGV") || !strstr(c->call.error.message, "echo: last words"))
            fail_msg("%s", c->call.error.message);
        test_call_free(c);
        assert_int_equal(rig_status(r, "echo")->health, HEALTH_DEGRADED);
        rig_expect(r, "echo", "count", "{}", 0, "1");
        assert_true(rig_status(r, "echo")->first_pid != before);
        assert_int_equal(rig_status(r, "echo")->restarts, way + 1);
    }
    assert_int_equal(rig_status(r, "echo")->executions, 6);
}

/* A plugin that does not listen is killed soon after its deadline, and only then. */
static void a_deadline_holds(void **state)
{
    rig_expect(r, "echo", "echo", "1", 0, "1");
    for (int way = 0; way < 2; way++) {
        uint64_t before = clock_mono_ns();
        struct test_call *c =
            way ? begin_and_wait("spin", "{}", 100 * NS_PER_MS) : rig_run(r, "echo", "spin", "{}", 100 * NS_PER_MS);
        uint64_t span = clock_mono_ns() - before;
        assert_int_equal(c->call.code, -MOAT_E_DEADLINE);
        assert_non_null(strstr(c->call.error.message, "100ms"));
        assert_true(span >= 100 * NS_PER_MS && span < 5 * NS_PER_S);
        test_call_free(c);
        rig_expect(r, "echo", "count", "{}", 0, "1"); /* a fresh worker, without waiting */

        pid_t pid = rig_status(r, "echo")->first_pid;
        c = way ? begin_and_wait("sleep", "{\"ms\": 60000}", 50 * NS_PER_MS)
                : rig_run(r, "echo", "sleep", "{\"ms\": 60000}", 50 * NS_PER_MS);
        assert_int_equal(c->call.code, -MOAT_E_DEADLINE);
        test_call_free(c);
        rig_expect(r, "echo", "echo", "1", 0, "1");
        assert_int_equal(rig_status(r, "echo")->first_pid, pid); /* it listened */
    }
    /* The smallest of caller's, manifest's and operator's wins. */
    rig_define(r, "brief", &(struct variant){.deadline = "80ms"}, LOADER_LAZY);
    struct test_call *c = rig_run(r, "brief", "sleep", "{\"ms\": 60000}", 60 * NS_PER_S);
    assert_int_equal(c->call.code, -MOAT_E_DEADLINE);
    assert_non_null(strstr(c->call.error.message, "80ms"));
    test_call_free(c);
    rig_expect(r, "brief", "sleep", "{\"ms\": 60000}", MOAT_E_DEADLINE, "80ms");
}

struct runner {
    struct test_call *c;
    pthread_t thread;
};

static void *run_one(void *runner)
{
    struct call *call = &((struct runner *)runner)->c->call;
    call_run(r->l, &call, 1);
    return NULL;
}

static void cancelling_ends_a_call_wherever_it_is(void **state)
{
    rig_expect(r, "echo", "echo", "1", 0, "1");
    pid_t pid = rig_status(r, "echo")->first_pid;

    /* Running, and it listens. */
    struct test_call *c = test_call_new(r, "echo", "sleep", "{\"ms\": 60000}");
    test_call_begin(r, c);
    rig_wait_inside(r, "echo");
    /* Another one, which waits behind it. */
    struct test_call *behind = test_call_new(r, "echo", "echo", "2");
    test_call_begin(r, behind);
    RIG_WAIT(rig_status(r, "echo")->queued == 1);
    call_cancel(r->l, &behind->call);
    test_call_wait(behind);
    assert_int_equal(behind->call.code, -MOAT_E_CANCELLED);
    test_call_free(behind);
    assert_false(c->waited.done);
    call_cancel(r->l, &c->call);
    test_call_wait(c);
    assert_int_equal(c->call.code, 0); /* it answered that it was stopped: as it ended first */
    assert_string_equal((char *)c->call.result, "false");
    test_call_free(c);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_int_equal(rig_status(r, "echo")->first_pid, pid);

    /* Running, and deaf. */
    c = test_call_new(r, "echo", "sleep", "{\"ms\": 60000, \"deaf\": true}");
    test_call_begin(r, c);
    rig_wait_inside(r, "echo");
    call_cancel(r->l, &c->call);
    test_call_wait(c);
    assert_int_equal(c->call.code, -MOAT_E_CANCELLED);
    test_call_free(c);

    /* A thread that waits for itself. */
    rig_expect(r, "echo", "echo", "1", 0, "1");
    struct runner runner = {.c = test_call_new(r, "echo", "sleep", "{\"ms\": 60000, \"deaf\": true}")};
    assert_int_equal(pthread_create(&runner.thread, NULL, run_one, &runner), 0);
    rig_wait_inside(r, "echo");
    call_cancel(r->l, &runner.c->call);
    pthread_join(runner.thread, NULL);
    assert_int_equal(runner.c->call.code, -MOAT_E_CANCELLED);
    test_call_free(runner.c);

    /* Before it was begun. */
    c = test_call_new(r, "echo", "echo", "1");
    call_cancel(r->l, &c->call);
    test_call_begin(r, c);
    test_call_wait(c);
    assert_int_equal(c->call.code, -MOAT_E_CANCELLED);
    test_call_free(c);
    rig_expect(r, "echo", "echo", "1", 0, "1");
}

static void a_receipt_says_what_it_took(void **state)
{
    rig_expect(r, "echo", "echo", "1", 0, "1");
    for (int way = 0; way < 2; way++) {
        struct test_call *c =
            way ? begin_and_wait("sleep", "{\"ms\": 30}", 0) : rig_run(r, "echo", "sleep", "{\"ms\": 30}", 0);
        struct receipt *t = &c->call.receipt;
        assert_int_equal(c->call.code, 0);
        assert_true(t->ran_ns >= 30 * NS_PER_MS);
        assert_true(t->cpu_ns < t->ran_ns); /* it slept */
        assert_string_equal(t->version, "1.0.0");
        test_call_free(c);
    }
    /* The host's reading, not the worker's word. */
    struct test_call *c = begin_and_wait("spin", "{}", 150 * NS_PER_MS);
    test_call_free(c);
    RIG_WAIT(rig_status(r, "echo")->cpu_ns > 20 * NS_PER_MS);
    RIG_WAIT(rig_status(r, "echo")->peak_memory > 100000); /* known when a worker has ended */
    struct loader_status *s = rig_status(r, "echo");
    assert_int_equal(s->executions, 4);
    assert_true(histogram_quantile(&s->runs, 0.99) >= 25 * NS_PER_MS);
    assert_true(histogram_quantile(&s->runs, 0.5) > 0);
    assert_true(s->last_executed_ns > clock_wall_ns() - 60 * NS_PER_S);
}

static void ids_are_unique(void **state)
{
    char seen[2000][33];
    for (int i = 0; i < 2000; i++) {
        struct test_call *c = rig_run(r, "echo", "echo", "1", 0);
        assert_int_equal(strspn(c->call.id, "0123456789abcdef"), 32);
        memcpy(seen[i], c->call.id, 33);
        test_call_free(c);
    }
    qsort(seen, 2000, 33, (int (*)(const void *, const void *))strcmp);
    for (int i = 1; i < 2000; i++)
        assert_string_not_equal(seen[i - 1], seen[i]);
}

/* A thousand calls of one thread, borrowed and pipelined, with failures among them, in order. */
static void many_at_once(void **state)
{
    enum { N = 1000 };
    static struct test_call *c[N];
    static struct call *calls[N];
    rig_define(r, "other", NULL, LOADER_LAZY);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            char text[64];
            const char *action = i % 7 == 3 ? "fail" : i % 11 == 5 ? "sleep" : i % 13 == 1 ? "bad_result" : "echo";
            snprintf(text, sizeof text, strcmp(action, "sleep") ? "{\"n\":%d}" : "{\"ms\":\"%d\"}", i);
            if (strcmp(action, "fail") == 0)
                snprintf(text, sizeof text, "{\"message\":\"%d\"}", i);
            c[i] = test_call_new(r, i % 100 < 97 ? "echo" : "other", action, text);
            calls[i] = &c[i]->call;
        }
        call_run(r->l, calls, N);
        for (int i = 0; i < N; i++) {
            int code = i % 7 == 3    ? MOAT_E_ACTION_FAILED
                       : i % 11 == 5 ? MOAT_E_BAD_PARAMETERS
                       : i % 13 == 1 ? MOAT_E_BAD_RESULT
                                     : 0;
            if (-calls[i]->code != code)
                fail_msg("%d: %s", i, calls[i]->error.message);
            if (!code)
                assert_string_equal((char *)calls[i]->result, c[i]->parameters);
            test_call_free(c[i]);
        }
    }
}

static void log_lines_are_kept(void **state)
{
    rig_expect(r, "echo", "log", "{\"text\": \"hello \\u001b[31m there\"}", 0, "null");
    RIG_WAIT(strstr(rig_status(r, "echo")->last_log, "hello ?[31m there"));
    rig_expect(r, "echo", "progress", "{}", 0, "null");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_echo, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(first_call_starts_the_plugin),
        TEST(bad_calls_are_answered_with_what_is_wrong),
        TEST(the_plugins_own_failure_is_passed_on),
        TEST(a_result_keeps_the_promise),
        TEST(every_size_comes_back),
        TEST(a_crash_names_the_signal_and_the_last_line),
        TEST(a_deadline_holds),
        TEST(cancelling_ends_a_call_wherever_it_is),
        TEST(a_receipt_says_what_it_took),
        TEST(ids_are_unique),
        TEST(many_at_once),
        TEST(log_lines_are_kept),
    };
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
