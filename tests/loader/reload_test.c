/* Reloads while callers call without a pause, and a host full of plugins that rest.  Each call carries a number of its
 * own, which the plugin appends to a file: there stands what it did, whatever became of its worker. */

#include "rig.h"

#define CALLERS 3
#define BATCH 8

static struct rig *r;
static bool full; /* the long way */
static _Atomic bool stop;

static int open_rig(void **state)
{
    rig_config.workers_total = 1100;
    r = rig_open();
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    return 0;
}

/* ---- reloads ---- */

struct caller {
    pthread_t thread;
    unsigned number, next;
};

/* One after the other in the caller's own thread, and many at once through the queue. */
static void *call_on(void *context)
{
    struct caller *me = context;
    struct test_call *c[BATCH];
    while (!atomic_load(&stop)) {
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
            if (c[i]->call.code)
                fail_msg("%s: %s", c[i]->parameters, c[i]->call.error.message);
            assert_int_equal(atoi((char *)c[i]->call.result), atoi(c[i]->parameters + strlen("{\"n\": ")));
            test_call_free(c[i]);
        }
    }
    return NULL;
}

/* Each number once: none is missing and none stands twice. */
static void check_numbers(const char *path, const struct caller callers[CALLERS])
{
    unsigned most = 0, noted = 0, answered = 0;
    for (unsigned i = 0; i < CALLERS; i++) {
        most = callers[i].next > most ? callers[i].next : most;
        answered += (callers[i].next - i) / CALLERS;
    }
    uint8_t *seen = calloc(most + 1, 1);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(seen);
    for (uint64_t n; fread(&n, sizeof n, 1, f) == 1; noted++) {
        assert_true(n < most);
        if (seen[n]++)
            fail_msg("call %u was done twice", (unsigned)n);
    }
    fclose(f);
    free(seen);
    assert_int_equal(noted, answered);
    printf("# %u calls\n", answered);
}

static void reload_under_load(const char *config, const char *folder, const char *path, bool state)
{
    struct caller callers[CALLERS];
    struct error err;
    rig_define(r, "ledger", &(struct variant){.ledger = true, .state = state, .config = config, .write_path = folder},
               LOADER_START);
    atomic_store(&stop, false);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.number = i, .next = i};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_on, &callers[i]), 0);
    }
    for (int i = 0; i < (full ? 200 : 20); i++)
        if (rig_reload(r, "ledger", &err))
            fail_msg("reload %d: %s", i, err.message);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(callers[i].thread, NULL);
    check_numbers(path, callers);
}

static void no_call_fails_and_none_happens_twice(void **unused)
{
    char folder[] = "/tmp/moat-reload-XXXXXX", path[64], config[96];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/numbers", folder);
    snprintf(config, sizeof config, "{\"file\": \"%s\"}", path);
    reload_under_load(config, folder, path, false);
    unlink(path);
    rmdir(folder);
}

/* ---- many ---- */

static double number_in(const char *path, const char *what)
{
    char line[300];
    double n = 0;
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, what, strlen(what)) == 0)
            n = atof(line + strlen(what));
    if (f)
        fclose(f);
    return n;
}

/* How often the plugins' workers slept so far. */
static double sleeps(unsigned n)
{
    double sum = 0;
    for (unsigned i = 0; i < n; i++) {
        char name[16], path[64];
        snprintf(name, sizeof name, "many_%u", i);
        snprintf(path, sizeof path, "/proc/%d/status", (int)rig_status(r, name)->first_pid);
        sum += number_in(path, "voluntary_ctxt_switches:");
    }
    return sum;
}

static void a_thousand_plugins_rest(void **unused)
{
    unsigned n = full ? 1000 : 100;
    char name[16];
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "many_%u", i);
        rig_define(r, name, &(struct variant){.ledger = true}, LOADER_START);
    }
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "many_%u", i);
        rig_expect(r, name, "note", "{\"n\": 7}", 0, "7");
    }
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "many_%u", i);
        assert_int_equal(rig_status(r, name)->state, STATE_READY);
        assert_int_equal(rig_status(r, name)->workers, 1);
    }
    assert_true(rig_children() >= (int)n);
    /* Each is asked for its health once, within five seconds; from then on nobody is woken. */
    int seconds = 0;
    double before = -1, now = sleeps(n);
    while (now != before) {
        assert_true(seconds++ < 20);
        sleep(1);
        before = now;
        now = sleeps(n);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
    const char *set = getenv("MOAT_LONG");
    full = set && *set;
    const struct CMUnitTest tests[] = {
        TEST(no_call_fails_and_none_happens_twice),
        TEST(a_thousand_plugins_rest),
    };
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
