/* Twenty plugins, callers at full speed, and all that can go wrong at once: crashes, hangs, leaks, lies, slow starts,
 * reloads, versions, canaries, guards, rights and configurations that change.  Every call has one outcome, and one that
 * its action can have; when all is over nothing is left of it, and twice as much leaves no more. MOAT_SEED replays the
 * choices (not the timing); MOAT_LONG makes it a minute, MOAT_CHAOS_S so many seconds. */
#include "rig.h"

#define PLUGINS 20
#define CALLERS 4
#define BATCH 12

static struct rig *r;
static uint64_t seed;
static _Atomic bool stop;
static _Atomic uint64_t ended[MOAT_E_COUNT];

struct thread {
    pthread_t thread;
    uint64_t random;
    uint64_t calls;
};

static void name_of(unsigned i, char out[16])
{
    snprintf(out, 16, "plugin_%u", i);
}

/* ---- callers ---- */

static const struct kind {
    const char *action, *parameters;
    unsigned weight;
    bool may_succeed;
    uint64_t deadline_ms;
} kinds[] = {{"note", NULL, 200, true, 0},           {"leak", "{\"bytes\": 100000}", 4, true, 0},
             {"work", "{\"us\": 300}", 10, true, 0}, {"lie", "{}", 3, false, 0},
             {"crash", "{}", 1, false, 0},           {"hang", "{}", 1, false, 20}};

static const struct kind *choose(uint64_t *random)
{
    unsigned sum = 0, at;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        sum += kinds[i].weight;
    at = rig_random(random, sum);
    for (size_t i = 0;; i++) {
        if (at < kinds[i].weight)
            return &kinds[i];
        at -= kinds[i].weight;
    }
}

static struct test_call *random_call(struct thread *t)
{
    char name[16], text[48];
    const struct kind *k = choose(&t->random);
    name_of(rig_random(&t->random, PLUGINS), name);
    snprintf(text, sizeof text, "{\"n\": %u}", rig_random(&t->random, 1000000));
    struct test_call *c = test_call_new(r, name, k->action, k->parameters ? k->parameters : text);
    c->call.deadline_ns = k->deadline_ms * NS_PER_MS;
    c->call.principal = rig_random(&t->random, 5);
    c->call.loop = r->loops[rig_random(&t->random, LOOPS)];
    return c;
}

/* What can become of any call here; an answer must be its own. */
static void check(const struct test_call *c)
{
    static const enum moat_code others[] = {MOAT_E_PLUGIN_CRASHED, MOAT_E_DEADLINE,          MOAT_E_QUEUE_FULL,
                                            MOAT_E_START_FAILED,   MOAT_E_PERMISSION_DENIED, MOAT_E_WRONG_STATE,
                                            MOAT_E_LIMIT,          MOAT_E_ACTION_FAILED};
    enum moat_code code = (enum moat_code) - c->call.code;
    atomic_fetch_add(&ended[code], 1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (code == others[i])
            return;
    if (code == MOAT_E_BAD_RESULT && strcmp(c->action, "lie") == 0)
        return;
    if (code)
        fail_msg("%s %s: %s", c->action, error_info(code)->name, c->call.error.message);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].action, c->action) == 0)
            assert_true(kinds[i].may_succeed);
    if (strcmp(c->action, "note") == 0)
        assert_int_equal(atoi((char *)c->call.result), atoi(c->parameters + strlen("{\"n\": ")));
}

static _Atomic unsigned canaries_over, guards_over;

static void on_canary(void *context, const char *plugin, const struct loader_canary *canary)
{
    atomic_fetch_add(&canaries_over, canary->until_ns != 0);
}

static void on_guard(void *context, const char *plugin, const struct loader_guard *guard)
{
    atomic_fetch_add(&guards_over, 1);
}

static void *call_on(void *context)
{
    struct thread *t = context;
    while (!atomic_load(&stop)) {
        struct test_call *c[BATCH];
        unsigned n = rig_random(&t->random, 2) ? BATCH : 1;
        for (unsigned i = 0; i < n; i++) {
            struct call *one;
            c[i] = random_call(t);
            one = &c[i]->call;
            if (n > 1)
                test_call_begin(r, c[i]);
            else
                call_run(r->l, &one, 1);
        }
        for (unsigned i = 0; i < n; i++) {
            if (n > 1)
                test_call_wait(c[i]);
            check(c[i]);
            assert_int_equal(atomic_load(&c[i]->completions), n > 1);
            test_call_free(c[i]);
        }
        t->calls += n;
    }
    return NULL;
}

/* ---- the operator ---- */

static struct variant random_variant(uint64_t *random)
{
    static const char *const configs[] = {"{}",
                                          "{\"word\": \"a\"}",
                                          "{\"start\": \"slow\"}",
                                          "{\"configure\": \"fail\"}",
                                          "{\"save\": \"fail\"}",
                                          "{\"restore\": \"slow\"}"};
    static const char *const versions[] = {"1.0.0", "1.1.0", "2.0.0"};
    return (struct variant){.ledger = true,
                            .version = versions[rig_random(random, 3)],
                            .config = configs[rig_random(random, 6)],
                            .state = rig_random(random, 3) == 0,
                            .workers = rig_random(random, 3) == 0 ? 2 : 1,
                            .read_path = rig_random(random, 4) == 0 ? "/usr/share" : NULL};
}

/* Whatever the answer is, there is one: waited_wait fails the test where there is none. */
static void do_something(uint64_t *random, unsigned plugin)
{
    char name[16];
    struct waited w;
    struct variant v = random_variant(random);
    unsigned what = rig_random(random, 11);
    loader_pool_set(r->l, rig_random(random, 7)); /* whatever a forecast says */
    const struct loader_guard_ask ask = {1, 0, (1 + rig_random(random, 300)) * NS_PER_MS, rig_random(random, 8) == 0};
    name_of(plugin, name);
    struct spec *s = rig_spec(name, &v);
    waited_init(&w);
    if (what < 2)
        loader_reload(r->l, name, waited_done, &w);
    else if (what < 4)
        loader_set(r->l, name, s, LOADER_START, MOAT_E_OK, NULL, waited_done, &w);
    else if (what < 6)
        loader_configure(r->l, name, s, rig_random(random, 3) ? &ask : NULL, waited_done, &w);
    else if (what < 7)
        loader_set(r->l, name, s, LOADER_REVOKE, MOAT_E_OK, NULL, waited_done, &w);
    else if (what < 8)
        loader_canary(r->l, name, s, 20, waited_done, &w);
    else if (what < 9)
        loader_start(r->l, name, waited_done, &w);
    else if (what == 10)
        loader_canary_promote(r->l, name, v.version, waited_done, &w);
    else
        loader_stop(r->l, name, 100 * NS_PER_MS, waited_done, &w);
    waited_wait(&w, NULL);
    if (what == 9)
        rig_start(r, name, NULL);
    spec_unref(s);
}

/* All, or those of channels: memory that is shared with workers. */
struct maps {
    unsigned all, shared;
};

static struct maps count_maps(void)
{
    struct maps n = {0};
    char line[512];
    FILE *f = fopen("/proc/self/maps", "re");
    while (f && fgets(line, sizeof line, f)) {
        n.all++;
        n.shared += strstr(line, "memfd:") != NULL;
    }
    if (f)
        fclose(f);
    return n;
}

static unsigned long resident_kib(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

static void run_for(unsigned seconds)
{
    struct thread t[CALLERS];
    uint64_t random = seed, end = clock_mono_ns() + seconds * NS_PER_S, calls = 0, all = 0;
    char name[16];
    atomic_store(&stop, false);
    memset(ended, 0, sizeof ended);
    rig_config.on_canary = on_canary;
    rig_config.on_guard = on_guard;
    r = rig_open(); /* and its end finds every descriptor closed and every process gone */
    for (unsigned i = 0; i < PLUGINS; i++) {
        name_of(i, name);
        rig_define(r, name, &(struct variant){.ledger = true, .state = i % 4 == 0}, LOADER_LAZY);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        t[i] = (struct thread){.random = seed + i + 1};
        assert_int_equal(pthread_create(&t[i].thread, NULL, call_on, &t[i]), 0);
    }
    while (clock_mono_ns() < end)
        do_something(&random, rig_random(&random, PLUGINS));
    atomic_store(&stop, true);
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(t[i].thread, NULL);
        calls += t[i].calls;
    }
    for (int i = 0; i < MOAT_E_COUNT; i++) {
        all += atomic_load(&ended[i]);
        if (ended[i])
            printf("# %s: %llu\n", error_info(i)->name, (unsigned long long)ended[i]);
    }
    printf("# %u canaries and %u guards were over\n", canaries_over, guards_over);
    assert_int_equal(all, calls);
    assert_true(ended[MOAT_E_OK] > 100);
    assert_true(count_maps().shared > 0);
    rig_close(r, 0);
}

static void chaos_leaves_nothing(void **state)
{
    const char *full = getenv("MOAT_LONG"), *given = getenv("MOAT_CHAOS_S");
    unsigned seconds = given ? (unsigned)atoi(given) : full && *full ? 60 : 9;
    run_for(seconds / 3 + 1);
    struct maps before = count_maps();
    unsigned long kib = resident_kib();
    run_for(seconds);
    struct maps after = count_maps();
    printf("# maps %u, then %u; resident %lu KiB, then %lu KiB\n", before.all, after.all, kib, resident_kib());
    assert_int_equal(before.shared, 0);
    assert_int_equal(after.shared, 0);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) /* whose own books grow */
    assert_true(after.all <= before.all + 40);                      /* an arena of the C library more or less */
    assert_true(resident_kib() <= kib + 24 * 1024);                 /* the same, as far as it was ever used */
#endif
}

int main(void)
{
    seed = rig_seed();
    const struct CMUnitTest tests[] = {cmocka_unit_test(chaos_leaves_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
