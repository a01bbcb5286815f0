/* Another configuration for what runs: taken by all workers or by none, and only what was taken holds. */
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

static int configure(const char *config, unsigned workers, struct error *err)
{
    return rig_configure(r, "ledger", &(struct variant){.ledger = true, .workers = workers, .config = config}, err);
}

static void define(const char *config, unsigned workers)
{
    rig_define(r, "ledger", &(struct variant){.ledger = true, .workers = workers, .config = config}, LOADER_START);
}

static void expect(const char *config)
{
    rig_expect(r, "ledger", "configured", "{}", 0, config);
}

/* As many as it may have: each takes a call that lasts. */
static void start_workers(unsigned n)
{
    struct test_call *c[8];
    for (unsigned i = 0; i < n; i++) {
        c[i] = test_call_new(r, "ledger", "note", "{\"n\": 1, \"ms\": 300}");
        test_call_begin(r, c[i]);
    }
    RIG_WAIT(rig_status(r, "ledger")->workers == n);
    for (unsigned i = 0; i < n; i++) {
        test_call_wait(c[i]);
        assert_int_equal(c[i]->call.code, 0);
        test_call_free(c[i]);
    }
    RIG_WAIT(rig_status(r, "ledger")->in_flight == 0 && rig_status(r, "ledger")->state == STATE_READY);
}

static void what_runs_takes_it(void **state)
{
    struct error err;
    define("{\"word\":\"a\"}", 0);
    rig_expect(r, "ledger", "note", "{\"n\": 4}", 0, "4");
    pid_t pid = rig_status(r, "ledger")->first_pid;
    assert_int_equal(configure("{\"word\":\"b\"}", 0, &err), 0);
    expect("{\"word\":\"b\"}");
    rig_expect(r, "ledger", "book", "{}", 0, "{\"count\":1,\"sum\":4}"); /* the same process, with what it knew */
    assert_int_equal(rig_status(r, "ledger")->first_pid, pid);
    /* It holds for the next worker too: after a crash, and after a reload. */
    rig_kill_worker(r, "ledger");
    RIG_WAIT(rig_status(r, "ledger")->first_pid != pid);
    expect("{\"word\":\"b\"}");
    assert_int_equal(rig_reload(r, "ledger", &err), 0);
    expect("{\"word\":\"b\"}");
    assert_int_equal(rig_stop(r, "ledger", NS_PER_S, &err), 0);
    assert_int_equal(rig_start(r, "ledger", &err), 0);
    expect("{\"word\":\"b\"}");
}

static void calls_go_on_meanwhile(void **state)
{
    struct error err;
    struct test_call *c[16];
    define("{\"word\":\"a\",\"configure\":\"slow\"}", 2);
    start_workers(2);
    for (int i = 0; i < 16; i++) {
        c[i] = test_call_new(r, "ledger", "note", "{\"n\": 2, \"ms\": 20}");
        test_call_begin(r, c[i]);
        if (i == 7)
            assert_int_equal(configure("{\"word\":\"b\",\"configure\":\"slow\"}", 2, &err), 0);
    }
    for (int i = 0; i < 16; i++) {
        test_call_wait(c[i]);
        assert_int_equal(c[i]->call.code, 0);
        test_call_free(c[i]);
    }
    expect("{\"word\":\"b\",\"configure\":\"slow\"}");
    assert_int_equal(rig_status(r, "ledger")->workers, 2);
}

static void what_is_refused_does_not_hold(void **state)
{
    struct error err;
    r->l->errand_ns = 400 * NS_PER_MS;
    define("{\"word\":\"a\"}", 0);
    pid_t pid = rig_status(r, "ledger")->first_pid;
    assert_int_equal(configure("{\"refuse\":\"not this one\"}", 0, &err), -MOAT_E_START_FAILED);
    assert_non_null(strstr(err.message, "not this one"));
    assert_int_equal(rig_status(r, "ledger")->first_pid, pid);
    expect("{\"word\":\"a\"}");
    static const struct {
        const char *config, *why;
    } ends[] = {{"{\"configure\":\"crash\"}", "SIGSEGV"}, {"{\"configure\":\"hang\"}", "in time"}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(configure(ends[i].config, 0, &err), -MOAT_E_START_FAILED);
        if (!strstr(err.message, ends[i].why))
            fail_msg("\"%s\" is not in \"%s\"", ends[i].why, err.message);
        assert_int_equal(rig_start(r, "ledger", &err), 0);
        expect("{\"word\":\"a\"}");
    }
}

struct asked {
    unsigned out; /* have not answered */
    bool sent;
    pid_t busy;
};

static void look(struct loader *l, void *context)
{
    struct asked *now = context;
    struct plugin *p = table_find(l, "ledger");
    *now = (struct asked){.out = p->change.out};
    for (const struct worker *w = p->living; w; w = w->next) {
        now->sent |= atomic_load(&w->errand.state) == ERRAND_SENT;
        if (atomic_load(&w->running))
            now->busy = w->child.pid;
    }
}

/* Of several workers one dies of it: those that had taken it have the old one again. */
static void all_or_none(void **state)
{
    struct error err;
    struct waited w;
    define("{\"word\":\"a\"}", 3);
    start_workers(3);
    struct test_call *c = test_call_new(r, "ledger", "note", "{\"n\": 1, \"ms\": 60000}");
    test_call_begin(r, c);
    RIG_WAIT(rig_status(r, "ledger")->in_flight == 1);
    struct spec *s = rig_spec("ledger", &(struct variant){.ledger = true, .workers = 3, .config = "{\"word\":\"b\"}"});
    waited_init(&w);
    loader_configure(r->l, "ledger", s, NULL, waited_done, &w); /* two take it, the third is busy for a minute */
    struct asked now = {0};
    do
        rig_look(r, look, &now);
    while (now.out != 1 || !now.busy);
    rig_wait_busy(now.busy);
    rig_kill(now.busy);
    assert_int_equal(waited_wait(&w, &err), -MOAT_E_START_FAILED);
    spec_unref(s);
    test_call_wait(c);
    assert_int_equal(c->call.code, -MOAT_E_PLUGIN_CRASHED);
    test_call_free(c);
    for (int i = 0; i < 12; i++)
        expect("{\"word\":\"a\"}");
}

/* liar.c's table has no configure. */
static void who_cannot_is_replaced(void **state)
{
    struct error err;
    struct variant v = {.liar = true};
    rig_define(r, "echo", &v, LOADER_START);
    pid_t pid = rig_status(r, "echo")->first_pid;
    v.config = "{\"init_ms\": 1}";
    assert_int_equal(rig_configure(r, "echo", &v, &err), 0);
    RIG_WAIT(rig_status(r, "echo")->first_pid != pid);
    v.garbage = true;
    assert_int_equal(rig_configure(r, "echo", &v, &err), -MOAT_E_START_FAILED);
    assert_non_null(strstr(err.message, "did not start"));
    rig_expect(r, "echo", "echo", "1", 0, "1");
    assert_int_equal(rig_configure(r, "nobody", &v, &err), -MOAT_E_NO_SUCH_PLUGIN);
}

/* Whatever else is asked meanwhile goes first, and no half of the change is left. */
static void something_else_comes_between(void **state)
{
    struct error err;
    for (int i = 0; i < 6; i++) {
        struct waited w, other;
        define("{\"word\":\"a\"}", 0);
        struct spec *s =
            rig_spec("ledger", &(struct variant){.ledger = true, .config = "{\"word\":\"b\",\"configure\":\"slow\"}"});
        waited_init(&w);
        waited_init(&other);
        loader_configure(r->l, "ledger", s, NULL, waited_done, &w);
        for (struct asked now = {0}; i % 2 && !now.sent;)
            rig_look(r, look, &now);
        if (i < 2)
            loader_stop(r->l, "ledger", NS_PER_S, waited_done, &other);
        else if (i < 4)
            loader_reload(r->l, "ledger", waited_done, &other);
        else
            loader_set(r->l, "ledger", s, LOADER_REVOKE, MOAT_E_OK, NULL, waited_done, &other);
        int rc = waited_wait(&w, &err);
        assert_true(rc == -MOAT_E_WRONG_STATE || rc == 0);
        assert_int_equal(waited_wait(&other, NULL), 0);
        spec_unref(s);
        assert_int_equal(rig_start(r, "ledger", &err), 0);
        expect(i < 4 && rc ? "{\"word\":\"a\"}" : "{\"word\":\"b\",\"configure\":\"slow\"}");
        assert_int_equal(rig_forget(r, "ledger", &err), 0);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(what_runs_takes_it), TEST(calls_go_on_meanwhile),  TEST(what_is_refused_does_not_hold),
        TEST(all_or_none),        TEST(who_cannot_is_replaced), TEST(something_else_comes_between),
    };
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
