/* Figures of actions and generations: each call counted once, in its place, whatever ends workers and generations. */
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

static const struct loader_figure *of_action(const struct loader_figures *f, const char *name)
{
    static const struct loader_figure nothing;
    for (size_t i = 0; i < f->nactions; i++)
        if (strcmp(f->actions[i].name, name) == 0)
            return &f->actions[i].figure;
    return &nothing;
}

static void figures_outlive_their_generations(void **state)
{
    struct error err;
    const int rounds = LOADER_GENERATIONS_MAX + 4;
    rig_define(r, "echo", NULL, LOADER_START);
    for (int i = 0; i < rounds; i++) {
        rig_expect(r, "echo", "echo", "12", 0, "12");
        rig_expect(r, "echo", "fail", "{\"code\":\"no\",\"message\":\"as asked\"}", MOAT_E_ACTION_FAILED, "as asked");
        assert_int_equal(rig_reload(r, "echo", &err), 0);
    }
    struct loader_figures *f = loader_figures(r->l, "echo");
    assert_int_equal(f->ngenerations, LOADER_GENERATIONS_MAX);
    assert_int_equal(f->generations[0].number, rounds + 1);
    assert_int_equal(f->generations[0].figure.executions, 0);
    assert_int_equal(f->generations[0].until_ns, 0);
    for (int i = 1; i < LOADER_GENERATIONS_MAX; i++) {
        assert_int_equal(f->generations[i].number, rounds + 1 - i);
        assert_int_equal(f->generations[i].figure.executions, 2);
        assert_int_equal(f->generations[i].figure.failed, 1);
        assert_true(f->generations[i].until_ns >= f->generations[i].since_ns);
    }
    const struct loader_figure *echo = of_action(f, "echo"), *failing = of_action(f, "fail");
    assert_int_equal(echo->executions, rounds);
    assert_int_equal(echo->errors, 0);
    assert_int_equal(echo->bytes_in, 2 * rounds);
    assert_int_equal(echo->runs.count, rounds);
    assert_int_equal(echo->waits.count, rounds);
    assert_int_equal(failing->executions, rounds);
    assert_int_equal(failing->failed, rounds);
    assert_int_equal(failing->errors_by_code[MOAT_E_ACTION_FAILED], rounds);
    loader_figures_free(f);
    const struct loader_status *s = rig_status(r, "echo");
    assert_int_equal(s->executions, 2 * rounds);
    assert_int_equal(s->failed, rounds);
    assert_int_equal(s->runs.count, 2 * rounds);
}

static void a_killed_call_is_one_that_ran_and_failed(void **state)
{
    rig_define(r, "echo", NULL, LOADER_START);
    rig_expect(r, "echo", "crash", "{}", MOAT_E_PLUGIN_CRASHED, NULL);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    struct test_call *slow = test_call_new(r, "echo", "spin", "{}");
    slow->call.deadline_ns = 30 * NS_PER_MS;
    test_call_begin(r, slow);
    test_call_wait(slow);
    assert_int_equal(slow->call.code, -MOAT_E_DEADLINE);
    test_call_free(slow);
    struct loader_figures *f = loader_figures(r->l, "echo");
    const struct loader_figure *crash = of_action(f, "crash"), *spin = of_action(f, "spin");
    assert_int_equal(crash->executions, 1);
    assert_int_equal(crash->failed, 1);
    assert_int_equal(crash->errors_by_code[MOAT_E_PLUGIN_CRASHED], 1);
    assert_int_equal(spin->executions, 1);
    assert_int_equal(spin->errors_by_code[MOAT_E_DEADLINE], 1);
    assert_int_equal(of_action(f, "echo")->failed, 0);
    assert_int_equal(f->ngenerations, 1);
    assert_int_equal(f->generations[0].crashes, 1); /* a kill for a deadline is none */
    assert_true(f->generations[0].peak_memory > 0);
    loader_figures_free(f);
}

static void what_never_ran_is_an_error_and_no_failure(void **state)
{
    rig_define(r, "echo", NULL, LOADER_LAZY);
    rig_expect(r, "echo", "sleep", "{\"ms\": \"long\"}", MOAT_E_BAD_PARAMETERS, NULL);
    rig_expect(r, "echo", "no_such_action", "{}", MOAT_E_NO_SUCH_ACTION, NULL);
    rig_expect(r, "echo", "sleep", "{\"ms\": 1}", 0, "true");
    struct loader_figures *f = loader_figures(r->l, "echo");
    const struct loader_figure *sleeping = of_action(f, "sleep");
    assert_int_equal(sleeping->executions, 1);
    assert_int_equal(sleeping->failed, 0);
    assert_int_equal(sleeping->errors, 1);
    assert_int_equal(sleeping->errors_by_code[MOAT_E_BAD_PARAMETERS], 1);
    assert_int_equal(of_action(f, "no_such_action")->errors, 0); /* it is no action of the plugin */
    assert_in_range(histogram_quantile(&sleeping->runs, 0.5), 900 * NS_PER_US, 10 * NS_PER_S);
    loader_figures_free(f);
    assert_int_equal(rig_status(r, "echo")->errors, 2);
    assert_null(loader_figures(r->l, "nobody"));
}

/* Borrowed workers and queued calls, many threads: nothing is counted twice or not at all. */
#define THREADS 4
#define CALLS 400

static void *call_often(void *context)
{
    struct rig *rig = context;
    for (int i = 0; i < CALLS; i++) {
        struct call c = {.plugin = "echo", .action = i % 4 ? "echo" : "count", .parameters = "{}", .parameters_len = 2};
        struct call *one = &c;
        uint8_t text[2 + JSON_PAD] = "{}";
        c.parameters = text;
        call_run(rig->l, &one, 1);
        assert_int_equal(c.code, 0);
        free(c.result);
    }
    return NULL;
}

static void every_call_is_counted_once(void **state)
{
    pthread_t threads[THREADS];
    struct error err;
    rig_define(r, "echo", &(struct variant){.workers = 2}, LOADER_START);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, r), 0);
    assert_int_equal(rig_reload(r, "echo", &err), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct loader_figures *f = loader_figures(r->l, "echo");
    assert_int_equal(of_action(f, "echo")->executions, THREADS * CALLS * 3 / 4);
    assert_int_equal(of_action(f, "count")->executions, THREADS * CALLS / 4);
    uint64_t all = 0;
    for (size_t i = 0; i < f->ngenerations; i++)
        all += f->generations[i].figure.executions;
    assert_int_equal(all, THREADS * CALLS);
    loader_figures_free(f);
    assert_int_equal(rig_status(r, "echo")->executions, THREADS * CALLS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        T(figures_outlive_their_generations),
        T(a_killed_call_is_one_that_ran_and_failed),
        T(what_never_ran_is_an_error_and_no_failure),
        T(every_call_is_counted_once),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
