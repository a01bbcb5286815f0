/* Generations: defined, started, replaced, stopped, revoked, failing, and what calls meet meanwhile. */
#include <poll.h>
#include <signal.h>

#include "loader/internal.h"
#include "rig.h"

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
    if (text && !code)
        assert_string_equal((char *)c->call.result, text);
    if (text && code && !strstr(c->call.error.message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, c->call.error.message);
    test_call_free(c);
}

/* Ends a sleep that listens: it says so, or had not begun. */
static void stop(struct test_call *c)
{
    call_cancel(r->l, &c->call);
    test_call_wait(c);
    if (c->call.code)
        assert_int_equal(c->call.code, -MOAT_E_CANCELLED);
    else
        assert_string_equal((char *)c->call.result, "false");
    test_call_free(c);
}

static void a_gate_answers_at_once(void **state)
{
    struct error err;
    assert_int_equal(rig_start(r, "echo", &err), -MOAT_E_NO_SUCH_PLUGIN);
    assert_int_equal(rig_reload(r, "no such name", &err), -MOAT_E_NO_SUCH_PLUGIN);
    struct spec *s = rig_spec("echo", &(struct variant){.no_code = true});
    assert_int_equal(rig_set(r, "echo", s, LOADER_LAZY, MOAT_E_PERMISSION_DENIED, &err), 0);
    assert_int_equal(rig_status(r, "echo")->state, STATE_NEEDS_GRANT);
    rig_expect(r, "echo", "echo", "1", MOAT_E_PERMISSION_DENIED, "the gate is closed");
    assert_int_equal(rig_start(r, "echo", &err), -MOAT_E_PERMISSION_DENIED);
    assert_int_equal(rig_set(r, "echo", NULL, LOADER_LAZY, MOAT_E_WRONG_STATE, &err), 0);
    assert_int_equal(rig_status(r, "echo")->state, STATE_UNLOADED);
    finish(begin("echo", "echo", "1"), MOAT_E_WRONG_STATE, "the gate is closed");
    assert_int_equal(rig_set(r, "echo", NULL, LOADER_LAZY, MOAT_E_OK, &err), -MOAT_E_INTERNAL);
    rig_define(r, "echo", NULL, LOADER_LAZY);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    /* Closing it again ends what runs, and what waits is answered. */
    struct test_call *running = begin("echo", "sleep", "{\"ms\": 300}");
    rig_wait_inside(r, "echo");
    struct test_call *waiting = begin("echo", "echo", "2");
    assert_int_equal(rig_set(r, "echo", NULL, LOADER_LAZY, MOAT_E_WRONG_STATE, &err), 0);
    assert_int_equal(rig_status(r, "echo")->workers, 0);
    finish(running, 0, "true");
    finish(waiting, MOAT_E_WRONG_STATE, "the gate is closed");
    spec_unref(s);
}

static void start_and_stop(void **state)
{
    struct error err;
    rig_define(r, "echo", NULL, LOADER_START);
    assert_int_equal(rig_status(r, "echo")->state, STATE_READY);
    assert_int_equal(rig_start(r, "echo", &err), 0);
    struct test_call *running = begin("echo", "sleep", "{\"ms\": 300}");
    rig_wait_inside(r, "echo");
    assert_int_equal(rig_stop(r, "echo", 10 * NS_PER_S, &err), 0);
    finish(running, 0, "true");
    assert_int_equal(rig_status(r, "echo")->state, STATE_UNLOADED);
    rig_expect(r, "echo", "echo", "1", MOAT_E_WRONG_STATE, "moat load echo");

    assert_int_equal(rig_start(r, "echo", &err), 0);
    rig_expect(r, "echo", "count", "{}", 0, "1");
    running = begin("echo", "sleep", "{\"ms\": 60000, \"deaf\": true}");
    rig_wait_inside(r, "echo");
    uint64_t before = clock_mono_ns();
    assert_int_equal(rig_stop(r, "echo", 100 * NS_PER_MS, &err), 0);
    assert_true(clock_mono_ns() - before < 5 * NS_PER_S);
    finish(running, MOAT_E_WRONG_STATE, "unloaded while");
    assert_int_equal(rig_status(r, "echo")->health, HEALTH_UNKNOWN);

    rig_define(r, "echo", NULL, LOADER_LAZY);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_int_equal(rig_forget(r, "echo", &err), 0);
    assert_null(loader_plugin(r->l, "echo"));
    struct loader_status s;
    assert_false(loader_status(r->l, "echo", &s));
    rig_expect(r, "echo", "echo", "1", MOAT_E_NO_SUCH_PLUGIN, NULL);
    rig_define(r, "echo", NULL, LOADER_LAZY);
    rig_expect(r, "echo", "echo", "1", 0, "1");
}

static void what_cannot_start_says_why_and_the_old_one_stays(void **state)
{
    struct error err;
    struct spec *refuses =
        rig_spec("echo", &(struct variant){.version = "2.0.0", .config = "{\"refuse\": \"no luck\"}"});
    struct spec *garbage = rig_spec("echo", &(struct variant){.version = "3.0.0", .garbage = true});

    /* Nothing else is there: it stays defined, and calls say why too. */
    assert_int_equal(rig_set(r, "echo", refuses, LOADER_START, MOAT_E_OK, &err), -MOAT_E_START_FAILED);
    assert_non_null(strstr(err.message, "no luck"));
    assert_int_equal(rig_status(r, "echo")->health, HEALTH_FAILED);
    enum loader_state now = rig_status(r, "echo")->state;
    assert_true(now == STATE_BACKOFF || now == STATE_UNLOADED); /* its time may be over on a slow machine */
    rig_expect(r, "echo", "echo", "1", MOAT_E_START_FAILED, "no luck");
    assert_int_equal(rig_set(r, "echo", garbage, LOADER_START, MOAT_E_OK, &err), -MOAT_E_START_FAILED);

    rig_define(r, "echo", NULL, LOADER_START);
    assert_string_equal(rig_status(r, "echo")->version, "1.0.0");
    pid_t pid = rig_status(r, "echo")->first_pid;
    assert_int_equal(rig_set(r, "echo", refuses, LOADER_START, MOAT_E_OK, &err), -MOAT_E_START_FAILED);
    assert_non_null(strstr(err.message, "no luck"));
    assert_int_equal(rig_set(r, "echo", garbage, LOADER_LAZY, MOAT_E_OK, &err), -MOAT_E_START_FAILED);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_string_equal(rig_status(r, "echo")->version, "1.0.0");
    assert_int_equal(rig_status(r, "echo")->first_pid, pid);
    assert_int_equal(rig_status(r, "echo")->state, STATE_READY);

    /* Closed before: closed after. */
    assert_int_equal(rig_stop(r, "echo", 0, &err), 0);
    assert_int_equal(rig_set(r, "echo", refuses, LOADER_START, MOAT_E_OK, &err), -MOAT_E_START_FAILED);
    rig_expect(r, "echo", "echo", "1", MOAT_E_WRONG_STATE, NULL);
    spec_unref(refuses);
    spec_unref(garbage);
}

static void versions_switch_without_losing_a_call(void **state)
{
    struct error err;
    rig_define(r, "echo", NULL, LOADER_START);
    struct test_call *old = begin("echo", "sleep", "{\"ms\": 400}");
    rig_wait_inside(r, "echo");
    struct test_call *waiting = begin("echo", "echo", "2"); /* moves */
    uint64_t before = clock_mono_ns();
    rig_define(r, "echo", &(struct variant){.version = "2.0.0"}, LOADER_START);
    struct test_call *fresh = rig_run(r, "echo", "echo", "3", 0);
    assert_string_equal(fresh->call.receipt.version, "2.0.0");
    test_call_free(fresh);
    assert_true(clock_mono_ns() - before < 380 * NS_PER_MS || old->waited.done);
    assert_true(loader_lives(r->l, "echo", "1.0.0") || old->waited.done);
    assert_true(loader_lives(r->l, "echo", "2.0.0"));
    assert_false(loader_lives(r->l, "echo", "3.0.0"));
    assert_false(loader_lives(r->l, "nobody", "2.0.0"));
    test_call_wait(waiting);
    assert_string_equal(waiting->call.receipt.version, "2.0.0");
    finish(waiting, 0, "2");
    test_call_wait(old);
    assert_string_equal(old->call.receipt.version, "1.0.0");
    finish(old, 0, "true");
    RIG_WAIT(rig_status(r, "echo")->workers == 1);
    assert_false(loader_lives(r->l, "echo", "1.0.0"));
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
    assert_int_equal(rig_status(r, "echo")->health, HEALTH_HEALTHY);

    /* The same definition again changes nothing; a reload does. */
    struct spec *s = rig_spec("echo", NULL);
    assert_int_equal(rig_set(r, "echo", s, LOADER_START, MOAT_E_OK, &err), 0);
    RIG_WAIT(rig_status(r, "echo")->workers == 1);
    pid_t pid = rig_status(r, "echo")->first_pid;
    assert_int_equal(rig_set(r, "echo", s, LOADER_START, MOAT_E_OK, &err), 0);
    assert_int_equal(rig_set(r, "echo", s, LOADER_LAZY, MOAT_E_OK, &err), 0);
    assert_int_equal(rig_status(r, "echo")->first_pid, pid);
    assert_int_equal(rig_reload(r, "echo", &err), 0);
    RIG_WAIT(rig_status(r, "echo")->workers == 1);
    assert_true(rig_status(r, "echo")->first_pid != pid);
    spec_unref(s);
}

/* Another version's schema may refuse what the old one took. */
static void a_moved_call_is_checked_again(void **state)
{
    rig_define(r, "echo", NULL, LOADER_START);
    struct test_call *old = begin("echo", "sleep", "{\"ms\": 60000}");
    rig_wait_inside(r, "echo");
    struct test_call *moves = begin("echo", "typed", "{}");
    struct spec *s = rig_spec("echo", &(struct variant){.renamed = "typed"});
    assert_int_equal(rig_set(r, "echo", s, LOADER_START, MOAT_E_OK, NULL), 0);
    finish(moves, MOAT_E_NO_SUCH_ACTION, "typed");
    stop(old);
    spec_unref(s);
}

static void a_revocation_kills_first(void **state)
{
    rig_define(r, "echo", NULL, LOADER_START);
    pid_t pid = rig_status(r, "echo")->first_pid;
    struct test_call *running = begin("echo", "sleep", "{\"ms\": 60000, \"deaf\": true}");
    rig_wait_inside(r, "echo");
    struct test_call *waiting = begin("echo", "echo", "2");
    struct spec *s = rig_spec("echo", NULL);
    assert_int_equal(rig_set(r, "echo", s, LOADER_REVOKE, MOAT_E_OK, NULL), 0);
    assert_true(kill(pid, 0) < 0); /* dead when it returned */
    finish(running, MOAT_E_PERMISSION_DENIED, "revoked");
    finish(waiting, 0, "2");
    rig_expect(r, "echo", "count", "{}", 0, "2");
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
    assert_int_equal(rig_set(r, "echo", s, LOADER_REVOKE, MOAT_E_PERMISSION_DENIED, NULL), 0);
    assert_int_equal(rig_status(r, "echo")->workers, 0);
    rig_expect(r, "echo", "echo", "1", MOAT_E_PERMISSION_DENIED, NULL);
    spec_unref(s);
}

static void the_circuit_opens_and_closes(void **state)
{
    r->l->circuit_ns = 700 * NS_PER_MS;
    rig_define(r, "echo", NULL, LOADER_LAZY);
    for (int i = 0; i < 5; i++)
        rig_expect(r, "echo", "crash", "{}", MOAT_E_PLUGIN_CRASHED, "SIGSEGV");
    RIG_WAIT(rig_status(r, "echo")->state == STATE_OPEN_CIRCUIT);
    rig_expect(r, "echo", "echo", "1", MOAT_E_PLUGIN_CRASHED, "again and again");
    rig_expect(r, "echo", "echo", "1", MOAT_E_PLUGIN_CRASHED, "moat load echo");
    usleep(750000);
    rig_expect(r, "echo", "crash", "{}", MOAT_E_PLUGIN_CRASHED, "SIGSEGV"); /* the trial */
    RIG_WAIT(rig_status(r, "echo")->state == STATE_OPEN_CIRCUIT);
    rig_expect(r, "echo", "echo", "1", MOAT_E_PLUGIN_CRASHED, "again and again");
    usleep(750000);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    RIG_WAIT(rig_status(r, "echo")->state == STATE_READY);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    /* The operator's word opens it at once. */
    r->l->circuit_ns = 3600 * NS_PER_S;
    for (int i = 0; i < 6; i++)
        rig_expect(r, "echo", "crash", "{}", MOAT_E_PLUGIN_CRASHED, NULL);
    RIG_WAIT(rig_status(r, "echo")->state == STATE_OPEN_CIRCUIT);
    assert_int_equal(rig_start(r, "echo", NULL), 0);
    rig_expect(r, "echo", "echo", "1", 0, "1");
}

static void a_full_queue_says_so(void **state)
{
    rig_close(r, 0);
    rig_config.queue_per_plugin = 3;
    rig_config.queue_total = 4;
    r = rig_open();
    rig_define(r, "echo", NULL, LOADER_START);
    rig_define(r, "other", NULL, LOADER_START);
    struct test_call *running = begin("echo", "sleep", "{\"ms\": 60000}");
    rig_wait_inside(r, "echo");
    struct test_call *running2 = begin("other", "sleep", "{\"ms\": 60000}");
    rig_wait_inside(r, "other");
    struct test_call *waiting[3];
    for (int i = 0; i < 3; i++)
        waiting[i] = begin("echo", "echo", "2");
    finish(begin("echo", "echo", "3"), MOAT_E_QUEUE_FULL, "3 calls of echo");
    assert_int_equal(rig_status(r, "echo")->queued, 3);
    struct test_call *last = begin("other", "echo", "4");
    finish(begin("other", "echo", "5"), MOAT_E_QUEUE_FULL, "4 calls wait");
    call_cancel(r->l, &waiting[1]->call);
    finish(waiting[1], MOAT_E_CANCELLED, NULL);
    waiting[1] = begin("echo", "echo", "2");
    stop(running);
    stop(running2);
    for (int i = 0; i < 3; i++)
        finish(waiting[i], 0, "2");
    finish(last, 0, "4");
}

/* One who floods waits behind himself: others take turns with him, and have room where he has filled the queue. */
static void who_asks_takes_turns(void **state)
{
    enum { FLOOD = 20, BOUND = 16 };
    rig_close(r, 0);
    rig_config.queue_per_plugin = BOUND;
    r = rig_open();
    rig_define(r, "echo", NULL, LOADER_START);
    struct test_call *running = begin("echo", "sleep", "{\"ms\": 60000}");
    rig_wait_inside(r, "echo");
    struct test_call *flood[FLOOD], *others[2][3];
    for (int i = 0; i < FLOOD; i++) {
        flood[i] = test_call_new(r, "echo", "count", "{}");
        flood[i]->call.principal = 7;
        test_call_begin(r, flood[i]);
    }
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 3; i++) {
            others[k][i] = test_call_new(r, "echo", "count", "{}");
            others[k][i]->call.principal = (uint64_t)k + 1;
            test_call_begin(r, others[k][i]);
        }
    /* The flood's newest made room: four more than the bound at once, six for the others. */
    unsigned refused = 0;
    stop(running);
    for (int i = 0; i < FLOOD; i++) {
        test_call_wait(flood[i]);
        refused += flood[i]->call.code == -MOAT_E_QUEUE_FULL;
        assert_true(i < BOUND - 6 ? flood[i]->call.code == 0 : flood[i]->call.code == -MOAT_E_QUEUE_FULL);
    }
    assert_int_equal(refused, FLOOD - BOUND + 6);
    /* Turns: the i-th of each is among the first 3 (i + 1) that ran. */
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++) {
            test_call_wait(others[k][i]);
            assert_int_equal(others[k][i]->call.code, 0);
            assert_true(atoi((char *)others[k][i]->call.result) <= 3 * (i + 1));
            test_call_free(others[k][i]);
        }
    for (int i = 0; i < FLOOD; i++)
        test_call_free(flood[i]);
}

/* The deadline covers the waiting too. */
static void waiting_ends_at_the_deadline(void **state)
{
    rig_define(r, "echo", NULL, LOADER_START);
    struct test_call *running = begin("echo", "sleep", "{\"ms\": 60000}");
    rig_wait_inside(r, "echo");
    struct test_call *waiting = test_call_new(r, "echo", "echo", "2");
    waiting->call.deadline_ns = 50 * NS_PER_MS;
    test_call_begin(r, waiting);
    finish(waiting, MOAT_E_DEADLINE, "waited for a worker after 50ms");
    struct test_call *blocked = rig_run(r, "echo", "echo", "3", 50 * NS_PER_MS);
    assert_int_equal(blocked->call.code, -MOAT_E_DEADLINE);
    test_call_free(blocked);
    assert_false(running->waited.done);
    stop(running);
}

/* Calls that a dead worker had not begun are run by the next one, in their order; the one it had begun fails. */
static void untaken_calls_move(void **state)
{
    enum { N = 40 };
    struct test_call *c[N];
    rig_define(r, "echo", NULL, LOADER_START);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 300; i++) { /* so that the window is wide */
            rig_expect(r, "echo", "count", "{}", 0, NULL);
            finish(begin("echo", "sleep", "{\"ms\": 0}"), 0, NULL);
        }
        struct test_call *dies = begin("echo", "sleep", "{\"ms\": 60000, \"deaf\": true}");
        for (int i = 0; i < N; i++) {
            char text[16];
            snprintf(text, sizeof text, "%d", i);
            c[i] = begin("echo", i % 2 ? "echo" : "count", text);
        }
        rig_wait_inside(r, "echo");
        rig_kill_worker(r, "echo");
        finish(dies, MOAT_E_PLUGIN_CRASHED, "SIGKILL");
        for (int i = 0; i < N; i++) {
            char text[16];
            snprintf(text, sizeof text, "%d", i % 2 ? i : i + 1);
            finish(c[i], 0, text);
        }
    }
}

static void an_idempotent_call_is_tried_once_more(void **state)
{
    rig_define(r, "echo", &(struct variant){.idempotent = "sleep"}, LOADER_START);
    for (int way = 0; way < 2; way++) {
        struct test_call *c = begin("echo", "sleep", "{\"ms\": 500, \"deaf\": true}");
        rig_wait_inside(r, "echo");
        usleep(20000);
        rig_kill_worker(r, "echo");
        if (way) {
            RIG_WAIT(rig_status(r, "echo")->in_flight == 0);
            rig_wait_inside(r, "echo");
            usleep(20000);
            rig_kill_worker(r, "echo");
            finish(c, MOAT_E_PLUGIN_CRASHED, "SIGKILL"); /* once, not for ever */
        } else {
            finish(c, 0, "true");
        }
    }
}

static void workers_start_on_demand(void **state)
{
    enum { N = 3 };
    struct test_call *c[N + 2];
    rig_define(r, "echo", &(struct variant){.workers = N}, LOADER_START);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_int_equal(rig_status(r, "echo")->workers, 1);
    uint64_t before = clock_mono_ns();
    for (int i = 0; i < N + 2; i++)
        c[i] = begin("echo", "sleep", "{\"ms\": 500}");
    RIG_WAIT(rig_status(r, "echo")->in_flight == N);
    assert_int_equal(rig_status(r, "echo")->workers, N);
    assert_int_equal(rig_status(r, "echo")->queued, 2);
    for (int i = 0; i < N + 2; i++)
        finish(c[i], 0, "true");
    assert_true(clock_mono_ns() - before < 5 * 500 * NS_PER_MS);
    assert_int_equal(rig_status(r, "echo")->workers, N);
}

/* ---- a spec without code ---- */

static struct {
    int asked;
    char name[64];
    pthread_t thread;
    const char *answer; /* "code", "gate" */
} need;

static void *answer_need(void *unused)
{
    struct error err;
    struct spec *s = rig_spec("echo", NULL);
    bool gate = strcmp(need.answer, "gate") == 0;
    usleep(20000);
    assert_int_equal(rig_set(r, "echo", gate ? NULL : s, LOADER_LAZY, gate ? MOAT_E_BAD_SIGNATURE : MOAT_E_OK, &err),
                     0);
    spec_unref(s);
    return NULL;
}

static void need_spec(void *context, const char *name)
{
    need.asked++;
    snprintf(need.name, sizeof need.name, "%s", name);
    assert_int_equal(pthread_create(&need.thread, NULL, answer_need, NULL), 0);
}

static void code_is_asked_for_when_it_is_needed(void **state)
{
    rig_close(r, 0);
    rig_config.need_spec = need_spec;
    r = rig_open();
    struct spec *bare = rig_spec("echo", &(struct variant){.no_code = true});
    need.answer = "code";
    assert_int_equal(rig_set(r, "echo", bare, LOADER_LAZY, MOAT_E_OK, NULL), 0);
    assert_int_equal(need.asked, 0);
    rig_expect(r, "echo", "sleep", "{}", MOAT_E_BAD_PARAMETERS, NULL); /* the manifest is enough for that */
    rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_int_equal(need.asked, 1);
    assert_string_equal(need.name, "echo");
    pthread_join(need.thread, NULL);
    /* Whoever asked for a start hears of it when the answer has started. */
    assert_int_equal(rig_forget(r, "echo", NULL), 0);
    assert_int_equal(rig_set(r, "echo", bare, LOADER_START, MOAT_E_OK, NULL), 0);
    assert_int_equal(rig_status(r, "echo")->state, STATE_READY);
    pthread_join(need.thread, NULL);
    /* The old one runs on while the new one's code is fetched. */
    assert_int_equal(rig_set(r, "echo", bare, LOADER_START, MOAT_E_OK, NULL), 0);
    assert_int_equal(need.asked, 3);
    pthread_join(need.thread, NULL);
    assert_int_equal(rig_forget(r, "echo", NULL), 0);
    need.answer = "gate";
    assert_int_equal(rig_set(r, "echo", bare, LOADER_LAZY, MOAT_E_OK, NULL), 0);
    rig_expect(r, "echo", "echo", "1", MOAT_E_BAD_SIGNATURE, "the gate is closed");
    pthread_join(need.thread, NULL);
    spec_unref(bare);
}

static void the_spawner_may_die(void **state)
{
    rig_define(r, "echo", &(struct variant){.idempotent = "sleep"}, LOADER_START);
    rig_define(r, "other", NULL, LOADER_START);
    struct test_call *again = begin("echo", "sleep", "{\"ms\": 500}");
    struct test_call *lost = begin("other", "sleep", "{\"ms\": 60000}");
    rig_wait_inside(r, "echo");
    rig_wait_inside(r, "other");
    pid_t spawner = rig_spawner(r, "echo");
    assert_int_equal(spawner, rig_spawner(r, "other"));
    assert_true(spawner > 1);
    kill(spawner, SIGKILL);
    finish(lost, MOAT_E_PLUGIN_CRASHED, "the process that starts workers");
    finish(again, 0, "true");
    rig_expect(r, "other", "echo", "1", 0, "1");
    assert_true(rig_spawner(r, "other") != spawner);
    assert_int_equal(rig_status(r, "other")->restarts, 0); /* not the plugin's fault */
    /* Again and again, with calls meanwhile. */
    for (int i = 0; i < 5; i++) {
        rig_kill_spawner(r, "other"); /* unless the last one took its worker along just now */
        struct test_call *c = rig_run(r, "other", "echo", "1", 0);
        assert_true(c->call.code == 0 || c->call.code == -MOAT_E_PLUGIN_CRASHED);
        test_call_free(c);
        struct test_call *second = rig_run(r, "other", "echo", "2", 0);
        assert_true(second->call.code == 0 || second->call.code == -MOAT_E_PLUGIN_CRASHED);
        test_call_free(second);
        RIG_WAIT(rig_status(r, "other")->first_pid > 0 || (rig_start(r, "other", NULL), false));
    }
    rig_expect(r, "other", "echo", "1", 0, "1");
}

/* ---- a pooled worker that leaves just before it is needed ---- */

static pid_t frozen; /* the spawner, which would tell of it */

static void count_halves(struct loader *l, void *context)
{
    *(unsigned *)context = l->pooled.ready;
}

static unsigned halves(void)
{
    unsigned n = 0;
    rig_look(r, count_halves, &n);
    return n;
}

static void end_pooled(struct loader *l, void *context)
{
    unsigned *left = context;
    assert_int_equal(kill(frozen, SIGSTOP), 0);
    for (struct worker *w = l->pool; w && *left; w = w->next, (*left)--) {
        struct pollfd gone = {.fd = w->child.control, .events = POLLRDHUP};
        rig_kill(w->child.pid);
        assert_int_equal(poll(&gone, 1, 10000), 1);
    }
}

/* With a pool of n and a plugin that runs; then `left` of the pool's are ended, which nobody is told of. */
static void open_pool(unsigned n, unsigned left)
{
    rig_close(r, 0);
    rig_config.pool = n;
    r = rig_open();
    rig_define(r, "echo", NULL, LOADER_START);
    rig_define(r, "other", NULL, LOADER_LAZY);
    RIG_WAIT(halves() == n);
    frozen = rig_spawner(r, "echo");
    assert_true(frozen > 1);
    rig_wait_asleep(frozen); /* before that it may hold the ends it gave to the workers */
    rig_look(r, end_pooled, &left);
    assert_int_equal(left, 0);
}

static void a_pooled_worker_may_die(void **state)
{
    struct error err;
    open_pool(2, 1);
    int rc = rig_start(r, "other", &err); /* with the other one */
    kill(frozen, SIGCONT);
    if (rc)
        fail_msg("%s", err.message);
    rig_expect(r, "other", "echo", "1", 0, "1");
    RIG_WAIT(halves() == 2); /* the pool fills up again by itself */
    open_pool(1, 1);
    struct test_call *c = begin("other", "echo", "2"); /* none is left: one is built for it */
    RIG_WAIT(halves() == 0);
    kill(frozen, SIGCONT);
    finish(c, 0, "2");
}

static _Atomic int told_denials;

static void on_denial(void *context, const struct denial *d)
{
    atomic_fetch_add(&told_denials, 1);
}

struct counted {
    uint64_t count, rows;
    char command[700], action[64], operation[64];
};

static struct counted kept;
static bool takes;

/* On this thread: it is that of loader_collect. */
static bool keep_more(void *context, const struct denial *d)
{
    if (!takes)
        return false;
    kept.count += d->count;
    kept.rows++;
    if (strcmp(d->object, "/etc/passwd") == 0) {
        snprintf(kept.command, sizeof kept.command, "%s", d->command);
        snprintf(kept.action, sizeof kept.action, "%s", d->action);
        snprintf(kept.operation, sizeof kept.operation, "%s", d->operation);
        assert_string_equal(d->plugin, "echo");
        assert_string_equal(d->version, "1.0.0");
        assert_int_equal(d->permission, PERMISSION_FILE_READ);
    }
    return true;
}

/* What came since the last time. */
static struct counted collected(const char *name)
{
    kept = (struct counted){0};
    takes = true;
    loader_collect(r->l, name);
    return kept;
}

static void denials_are_explained_and_counted(void **state)
{
    rig_close(r, 0);
    rig_config.on_denial = on_denial;
    rig_config.on_denials = keep_more;
    r = rig_open();
    rig_define(r, "echo", NULL, LOADER_START);
    uint64_t before = collected("echo").count;
    int told = atomic_load(&told_denials);
    for (int i = 0; i < 120; i++)
        rig_expect(r, "echo", "read", "{\"path\": \"/etc/passwd\"}", 0, NULL);
    RIG_WAIT(rig_status(r, "echo")->denials >= before + 120);
    takes = false;
    loader_collect(r->l, "echo"); /* not taken: told again */
    struct counted n = collected(NULL);
    assert_int_equal(n.count, 120);
    assert_int_equal(n.rows, 1);
    assert_string_equal(n.command, "moat grant echo file_read=/etc/passwd");
    assert_string_equal(n.action, "read");
    assert_int_equal(collected("echo").count, 0);       /* once */
    RIG_WAIT(atomic_load(&told_denials) - told >= 120); /* each, once, right after it was counted */
    assert_int_equal(atomic_load(&told_denials) - told, 120);
    /* More objects than the table has rows: names are lost, numbers are not. */
    for (int i = 0; i < 400; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"path\": \"/nowhere/%d\"}", i);
        rig_expect(r, "echo", "read", text, 0, NULL);
    }
    RIG_WAIT(rig_status(r, "echo")->denials >= before + 520);
    n = collected("echo");
    assert_int_equal(n.count, 400);
    assert_true(n.rows < 300);
}

static void a_granted_file_can_be_read(void **state)
{
    char path[] = "/tmp/moat-loader-test-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "seen", 4), 4);
    fchmod(fd, 0644);
    close(fd);
    rig_define(r, "echo", &(struct variant){.read_path = path}, LOADER_START);
    char text[128];
    snprintf(text, sizeof text, "{\"path\": \"%s\"}", path);
    rig_expect(r, "echo", "read", text, 0, "\"seen\"");
    unlink(path);
}

/* Whatever a worker does to the channel, its calls end, the host and the other plugins go on, and a new worker comes.
 */
static void a_lying_worker_is_ended(void **state)
{
    static const struct {
        const char *action, *why;
    } lies[] = {{"count", "protocol"},
                {"typed", "protocol"},
                {"crash", "SIGILL"},
                {"mute", "protocol"},
                {"progress", "protocol"}};
    rig_define(r, "honest", NULL, LOADER_START);
    rig_define(r, "echo", &(struct variant){.liar = true}, LOADER_START);
    struct test_call *sleeps = begin("honest", "sleep", "{\"ms\": 100}");
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        for (int way = 0; way < 2; way++) {
            rig_expect(r, "echo", "echo", "1", 0, "1");
            if (way)
                finish(begin("echo", lies[i].action, "{}"), MOAT_E_PLUGIN_CRASHED, lies[i].why);
            else
                rig_expect(r, "echo", lies[i].action, "{}", MOAT_E_PLUGIN_CRASHED, lies[i].why);
            if (strcmp(lies[i].why, "protocol") == 0)
                assert_int_equal(rig_status(r, "echo")->health, HEALTH_FAILED);
        }
    rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_int_equal(rig_status(r, "echo")->restarts, 2 * sizeof lies / sizeof *lies);
    finish(sleeps, 0, "true");
    assert_int_equal(rig_status(r, "honest")->restarts, 0);
}

static void a_plugin_is_asked_how_it_is(void **state)
{
    rig_close(r, 0);
    r = rig_open();
    r->l->tick_ns = r->l->probe_ns = 50 * NS_PER_MS;
    rig_define(r, "ill", &(struct variant){.liar = true}, LOADER_START);
    rig_define(r, "echo", NULL, LOADER_START);
    rig_expect(r, "echo", "crash", "{}", MOAT_E_PLUGIN_CRASHED, NULL);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    rig_expect(r, "ill", "echo", "1", 0, "1");
    RIG_WAIT(rig_status(r, "ill")->health == HEALTH_DEGRADED);
    assert_non_null(strstr(rig_status(r, "ill")->health_why, "not healthy"));
    RIG_WAIT(rig_status(r, "echo")->health == HEALTH_HEALTHY);
    assert_int_equal(rig_status(r, "ill")->restarts, 0);
    rig_expect(r, "ill", "echo", "1", 0, "1");
}

static unsigned workers_of(const char *name)
{
    return rig_status(r, name)->workers;
}

/* Lazily started ones rest when nobody calls them, and are there again for the next call; what was loaded on purpose
 * stays. */
static void who_is_idle_is_stopped(void **state)
{
    rig_close(r, 0);
    rig_config.idle_stop_ns = 200 * NS_PER_MS;
    r = rig_open();
    r->l->tick_ns = 50 * NS_PER_MS;
    rig_define(r, "lazy", &(struct variant){.workers = 2}, LOADER_LAZY);
    rig_define(r, "kept", NULL, LOADER_START);
    loader_keep(r->l, "kept", true);
    struct test_call *running = begin("lazy", "sleep", "{\"ms\": 700}");
    rig_expect(r, "lazy", "echo", "1", 0, "1");
    finish(running, 0, "true"); /* longer than the idle span: a call that runs is no rest */
    RIG_WAIT(workers_of("lazy") == 0);
    RIG_WAIT(rig_status(r, "lazy")->state == STATE_UNLOADED && rig_status(r, "lazy")->health == HEALTH_UNKNOWN);
    assert_int_equal(rig_status(r, "lazy")->restarts, 0);
    assert_int_equal(workers_of("kept"), 1);
    for (int i = 0; i < 3; i++) {
        rig_expect(r, "lazy", "echo", "2", 0, "2");
        RIG_WAIT(workers_of("lazy") == 0);
    }
    loader_keep(r->l, "kept", false);
    RIG_WAIT(workers_of("kept") == 0);
    rig_expect(r, "kept", "echo", "3", 0, "3");
}

/* What is changed while it runs holds for what begins from then on, and not for what runs. */
static void what_is_tuned_holds_from_then_on(void **state)
{
    rig_close(r, 0);
    r = rig_open();
    r->l->tick_ns = 50 * NS_PER_MS;
    rig_define(r, "lazy", NULL, LOADER_LAZY);
    struct test_call *running = begin("lazy", "sleep", "{\"ms\": 60000}");
    rig_wait_inside(r, "lazy"); /* before that it may wait itself, and there is room for one */
    struct loader_tuning to = {.deadline_max_ns = 100 * NS_PER_MS, .queue_per_plugin = 1};
    loader_tune(r->l, &to);
    struct test_call *waiting = begin("lazy", "echo", "1");
    finish(waiting, MOAT_E_DEADLINE, NULL);
    stop(running);
    to = (struct loader_tuning){.deadline_default_ns = 100 * NS_PER_MS};
    loader_tune(r->l, &to);
    rig_expect(r, "lazy", "sleep", "{\"ms\": 60000}", MOAT_E_DEADLINE, NULL);
    to = (struct loader_tuning){.idle_stop_ns = 200 * NS_PER_MS};
    loader_tune(r->l, &to);
    rig_expect(r, "lazy", "echo", "2", 0, "2");
    RIG_WAIT(workers_of("lazy") == 0);
}

/* With room for three workers, six plugins are served all the same: who rested longest makes room. */
static void workers_make_room_for_others(void **state)
{
    rig_close(r, 0);
    rig_config.workers_total = 3;
    r = rig_open();
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    for (int i = 0; i < 6; i++)
        rig_define(r, names[i], NULL, LOADER_LAZY);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 6; i++) {
            rig_expect(r, names[i], "echo", "1", 0, "1");
            unsigned all = 0;
            for (int k = 0; k < 6; k++)
                all += workers_of(names[k]);
            assert_true(all <= 3);
        }
    /* d, e and f are there; d and e are called again, so that f has rested longest and goes when a comes. */
    rig_expect(r, "d", "echo", "1", 0, "1");
    rig_expect(r, "e", "echo", "1", 0, "1");
    rig_expect(r, "a", "echo", "1", 0, "1");
    assert_int_equal(workers_of("f"), 0);
    assert_int_equal(workers_of("e"), 1);
    /* Nobody rests: the call waits until somebody does, or its deadline. */
    struct test_call *running[3];
    for (int i = 0; i < 3; i++) {
        running[i] = begin(names[i], "sleep", "{\"ms\": 60000}");
        rig_wait_inside(r, names[i]);
    }
    struct test_call *late = rig_run(r, "f", "echo", "1", 100 * NS_PER_MS);
    assert_int_equal(late->call.code, -MOAT_E_DEADLINE);
    test_call_free(late);
    struct test_call *waiting = begin("f", "echo", "2");
    stop(running[1]);
    finish(waiting, 0, "2");
    stop(running[0]);
    stop(running[2]);
}

static struct loader_pool pool_now(void)
{
    struct loader_pool p;
    loader_pool(r->l, &p);
    return p;
}

/* It grows, shrinks, goes and comes back, and whoever starts takes from it, whatever its size. */
static void the_pool_takes_another_size(void **state)
{
    static const unsigned sizes[] = {5, 2, 0, 3};
    uint64_t starts;
    unsigned at_once;
    char name[16];
    RIG_WAIT(pool_now().ready == pool_now().size);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        loader_pool_set(r->l, sizes[i]);
        assert_int_equal(pool_now().size, sizes[i]);
        RIG_WAIT(pool_now().ready == sizes[i]);
    }
    assert_false(loader_take_starts(r->l, &starts, &at_once));
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "p%d", i);
        rig_define(r, name, NULL, LOADER_LAZY);
        rig_expect(r, name, "echo", "1", 0, "1");
    }
    RIG_WAIT(pool_now().ready == 3);
    assert_true(loader_take_starts(r->l, &starts, &at_once));
    assert_int_equal(starts, 4);
    assert_in_range(at_once, 1, 4);
    assert_false(loader_take_starts(r->l, &starts, &at_once));
}

static void a_flood_of_output_is_cut(void **state)
{
    char line[3000], text[3100];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\0';
    snprintf(text, sizeof text, "{\"text\": \"%s\"}", line);
    rig_define(r, "echo", NULL, LOADER_START);
    for (int i = 0; i < 1500; i++)
        rig_expect(r, "echo", "log", text, 0, "null");
    rig_expect(r, "echo", "log", "{\"text\": \"the end\"}", 0, "null");
    RIG_WAIT(strcmp(rig_status(r, "echo")->last_log, "the end") == 0);
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
}

static void freeing_completes_every_call(void **state)
{
    enum { N = 30 };
    for (int round = 0; round < 4; round++) {
        struct test_call *c[N], *deaf;
        rig_define(r, "echo", NULL, round % 2 ? LOADER_START : LOADER_LAZY);
        deaf = begin("echo", "sleep", "{\"ms\": 60000, \"deaf\": true}");
        for (int i = 0; i < N; i++)
            c[i] = begin("echo", "echo", "1");
        usleep((useconds_t)round * 3000);
        loader_free(r->l, 20 * NS_PER_MS);
        test_call_wait(deaf);
        assert_true(deaf->call.code == -MOAT_E_DRAINING || deaf->call.code == -MOAT_E_PLUGIN_CRASHED);
        test_call_free(deaf);
        for (int i = 0; i < N; i++) {
            test_call_wait(c[i]);
            assert_true(c[i]->call.code == 0 || c[i]->call.code == -MOAT_E_DRAINING);
            test_call_free(c[i]);
        }
        struct error err;
        struct loader_config config = {.worker_path = getenv("LOADER_WORKER"), .loops = r->loops, .nloops = LOOPS};
        assert_int_equal(loader_new(&config, &r->l, &err), 0);
    }
}

static _Atomic int told_errors;

static void on_call_error(void *context, const char *plugin, const struct error *error, const char *call_id)
{
    assert_string_equal(plugin, "echo");
    assert_int_equal(strlen(call_id), 32);
    assert_int_equal(error->code, MOAT_E_ACTION_FAILED);
    atomic_fetch_add(&told_errors, 1);
}

static void errors_are_told(void **state)
{
    rig_close(r, 0);
    rig_config.on_call_error = on_call_error;
    rig_config.nloops = 1;
    r = rig_open();
    rig_define(r, "echo", NULL, LOADER_LAZY);
    for (int i = 0; i < 10; i++)
        rig_expect(r, "echo", "fail", "{}", MOAT_E_ACTION_FAILED, NULL);
    RIG_WAIT(atomic_load(&told_errors) == 10);
}

static void each_name(void *context, const struct loader_status *status)
{
    char *names = context;
    strcat(strcat(names, status->name), " ");
}

static void names_are_told_in_order(void **state)
{
    char names[4096] = "", expected[4096] = "";
    for (int i = 199; i >= 0; i--) { /* the table grows under way */
        char name[32];
        snprintf(name, sizeof name, "p%03d", i);
        struct spec *s = rig_spec(name, &(struct variant){.no_code = true});
        assert_int_equal(rig_set(r, name, s, LOADER_LAZY, MOAT_E_WRONG_STATE, NULL), 0);
        spec_unref(s);
    }
    assert_int_equal(rig_forget(r, "p007", NULL), 0);
    for (int i = 0; i < 200; i++)
        if (i != 7)
            sprintf(expected + strlen(expected), "p%03d ", i);
    loader_each(r->l, each_name, names);
    assert_string_equal(names, expected);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(a_gate_answers_at_once),
        TEST(start_and_stop),
        TEST(what_cannot_start_says_why_and_the_old_one_stays),
        TEST(versions_switch_without_losing_a_call),
        TEST(a_moved_call_is_checked_again),
        TEST(a_revocation_kills_first),
        TEST(the_circuit_opens_and_closes),
        TEST(a_full_queue_says_so),
        TEST(who_asks_takes_turns),
        TEST(waiting_ends_at_the_deadline),
        TEST(untaken_calls_move),
        TEST(an_idempotent_call_is_tried_once_more),
        TEST(workers_start_on_demand),
        TEST(code_is_asked_for_when_it_is_needed),
        TEST(the_spawner_may_die),
        TEST(a_pooled_worker_may_die),
        TEST(denials_are_explained_and_counted),
        TEST(a_granted_file_can_be_read),
        TEST(a_lying_worker_is_ended),
        TEST(a_plugin_is_asked_how_it_is),
        TEST(who_is_idle_is_stopped),
        TEST(what_is_tuned_holds_from_then_on),
        TEST(workers_make_room_for_others),
        TEST(the_pool_takes_another_size),
        TEST(a_flood_of_output_is_cut),
        TEST(freeing_completes_every_call),
        TEST(errors_are_told),
        TEST(names_are_told_in_order),
    };
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
