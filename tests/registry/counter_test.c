/* Counters: gathered in memory, written once a second, never counted twice nor lost while somebody looks. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry/internal.h"
#include "sample.h"

struct fixture {
    struct place place;
    struct registry *r;
    struct registry_reader *reader;
    struct error err;
};

#define OK(call) assert_int_equal((call), 0)

static void open_it(struct fixture *f)
{
    if (place_open(&f->place, &f->r, &f->err) < 0 || registry_reader_new(f->r, &f->reader, &f->err) < 0)
        fail_msg("%s", f->err.message);
}

static void close_it(struct fixture *f)
{
    registry_reader_free(f->reader);
    registry_close(f->r);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sample_install alpha = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    struct sample_install newer = {.name = "alpha", .version = "1.1.0", .key = 1, .bytes = 11};
    struct sample_install beta = {.name = "beta", .version = "0.1.0", .key = 1, .bytes = 12};
    place_make(&f->place);
    open_it(f);
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &alpha, &f->err));
    OK(sample_install(f->r, &newer, &f->err));
    OK(sample_install(f->r, &beta, &f->err));
    OK(sample_install(f->r, &beta, &f->err)); /* the same again is no installation */
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_it(f);
    place_remove(&f->place);
    free(f);
    return 0;
}

static void count(struct registry *r, const char *plugin, const char *version, struct registry_counts n)
{
    struct registry_count one = {.n = n};
    snprintf(one.plugin, sizeof one.plugin, "%s", plugin);
    snprintf(one.version, sizeof one.version, "%s", version);
    registry_count(r, &one);
}

static void assert_counts(struct fixture *f, const char *name, const char *version, struct registry_counts expected)
{
    struct registry_counts n;
    OK(registry_find_counts(f->reader, name, version, &n, &f->err));
    assert_int_equal(n.installs, expected.installs);
    assert_int_equal(n.downloads, expected.downloads);
    assert_int_equal(n.loads, expected.loads);
    assert_int_equal(n.calls, expected.calls);
    assert_int_equal(n.errors, expected.errors);
    assert_int_equal(n.last_call_ms, expected.last_call_ms);
}

static void they_are_there_at_once_and_after_reopening(void **state)
{
    struct fixture *f = *state;
    const struct registry_counts one = {.calls = 5, .errors = 1, .loads = 1, .last_call_ms = 7000};
    const struct registry_counts two = {.calls = 2, .downloads = 3, .last_call_ms = 6000};
    count(f->r, "alpha", "1.0.0", one);
    count(f->r, "alpha", "1.1.0", two);
    count(f->r, "alpha", "1.0.0", one);
    for (int i = 0; i < 2; i++) {
        assert_counts(
            f, "alpha", "1.0.0",
            (struct registry_counts){.installs = 1, .calls = 10, .errors = 2, .loads = 2, .last_call_ms = 7000});
        assert_counts(f, "alpha", "1.1.0",
                      (struct registry_counts){.installs = 1, .calls = 2, .downloads = 3, .last_call_ms = 6000});
        assert_counts(f, "alpha", NULL,
                      (struct registry_counts){
                          .installs = 2, .calls = 12, .errors = 2, .loads = 2, .downloads = 3, .last_call_ms = 7000});
        assert_counts(f, "beta", NULL, (struct registry_counts){.installs = 1});
        assert_counts(f, "gamma", NULL, (struct registry_counts){0});
        assert_counts(f, NULL, NULL,
                      (struct registry_counts){
                          .installs = 3, .calls = 12, .errors = 2, .loads = 2, .downloads = 3, .last_call_ms = 7000});
        close_it(f); /* which writes what was gathered */
        open_it(f);
    }
}

static bool put_day(void *context, const char *version, uint64_t day, const struct registry_counts *n)
{
    uint64_t *first = context;
    *first = *first ? *first : day;
    assert_int_equal(day, *first);
    assert_int_equal(n->calls, strcmp(version, "1.0.0") == 0 ? 4 : 1);
    return true;
}

static void a_day_has_its_own(void **state)
{
    struct fixture *f = *state;
    uint64_t day = 0;
    count(f->r, "alpha", "1.0.0", (struct registry_counts){.calls = 4});
    count(f->r, "alpha", "1.1.0", (struct registry_counts){.calls = 1});
    OK(registry_flush(f->r, &f->err));
    OK(registry_each_count(f->reader, "alpha", NULL, 0, put_day, &day, &f->err));
    assert_true(day > 20000); /* 2024 */
    day = 0;
    OK(registry_each_count(f->reader, "alpha", NULL, UINT32_MAX, put_day, &day, &f->err));
    assert_int_equal(day, 0);
}

struct hours {
    uint64_t n, hour, calls, errors;
};

static bool put_hour(void *context, uint64_t hour, uint64_t calls, uint64_t errors)
{
    struct hours *h = context;
    *h = (struct hours){h->n + 1, hour, h->calls + calls, h->errors + errors};
    return true;
}

static void an_hour_has_its_own_for_all_versions(void **state)
{
    struct fixture *f = *state;
    struct hours all = {0}, one = {0}, none = {0};
    count(f->r, "alpha", "1.0.0", (struct registry_counts){.calls = 4, .errors = 1});
    count(f->r, "alpha", "1.1.0", (struct registry_counts){.calls = 1});
    count(f->r, "beta", "0.1.0", (struct registry_counts){.calls = 7, .loads = 1});
    OK(registry_flush(f->r, &f->err));
    OK(registry_each_hour(f->reader, "alpha", 0, put_hour, &one, &f->err));
    assert_int_equal(one.calls, 5);
    assert_int_equal(one.errors, 1);
    assert_true(one.hour > 24ull * 20000 && one.n <= 2); /* the hour may have changed meanwhile */
    OK(registry_each_hour(f->reader, NULL, 0, put_hour, &all, &f->err));
    assert_int_equal(all.calls, 12);
    OK(registry_each_hour(f->reader, NULL, UINT32_MAX, put_hour, &none, &f->err));
    OK(registry_each_hour(f->reader, "gamma", 0, put_hour, &none, &f->err));
    assert_int_equal(none.n, 0);
}

static void nine_weeks_of_hours_are_kept(void **state)
{
    struct fixture *f = *state;
    struct registry_count one = {.plugin = "alpha", .version = "1.0.0", .n = {.calls = 1}};
    struct hours all = {0};
    uint64_t hour_ms = 3600 * 1000, last = 500000;
    char path[400];
    static struct db db;
    snprintf(path, sizeof path, "%s/registry.db", f->place.registry);
    OK(registry_flush(f->r, &f->err));
    close_it(f);
    OK(db_open(&db, path, true, &f->err));
    for (uint64_t hour = last - REGISTRY_HOURS - 3; hour <= last; hour++)
        OK(counter_add(&db, &one, hour * hour_ms, &f->err));
    OK(counter_add(&db, &one, last * hour_ms, &f->err)); /* the hour goes on */
    db_close(&db);
    open_it(f);
    OK(registry_each_hour(f->reader, "alpha", 0, put_hour, &all, &f->err));
    assert_int_equal(all.n, REGISTRY_HOURS);
    assert_int_equal(all.hour, last);
    assert_int_equal(all.calls, REGISTRY_HOURS + 1);
}

struct starts {
    uint64_t n, hour;
    struct registry_starts all;
};

static bool put_starts(void *context, uint64_t hour, const struct registry_starts *one)
{
    struct starts *s = context;
    *s = (struct starts){s->n + 1, hour, {s->all.starts + one->starts, one->most}};
    return true;
}

static void starts_are_summed_and_the_most_at_once_is_kept(void **state)
{
    struct fixture *f = *state;
    struct starts s = {0};
    registry_count_starts(f->r, &(struct registry_starts){.starts = 5, .most = 3});
    OK(registry_flush(f->r, &f->err));
    registry_count_starts(f->r, &(struct registry_starts){.starts = 2, .most = 1});
    close_it(f); /* which writes what was gathered */
    open_it(f);
    OK(registry_each_start(f->reader, 0, put_starts, &s, &f->err));
    assert_int_equal(s.all.starts, 7);
    assert_true(s.n == 2 || s.all.most == 3); /* the hour may have changed meanwhile */
    struct starts none = {0};
    OK(registry_each_start(f->reader, UINT32_MAX, put_starts, &none, &f->err));
    assert_int_equal(none.n, 0);
}

static void nine_weeks_of_starts_are_kept(void **state)
{
    struct fixture *f = *state;
    struct starts s = {0};
    const struct registry_starts one = {.starts = 2, .most = 1}, more = {.starts = 4, .most = 4};
    uint64_t hour_ms = 3600 * 1000, last = 500000;
    char path[400];
    static struct db db;
    snprintf(path, sizeof path, "%s/registry.db", f->place.registry);
    close_it(f);
    OK(db_open(&db, path, true, &f->err));
    for (uint64_t hour = last - REGISTRY_HOURS - 3; hour <= last; hour++)
        OK(starts_add(&db, &one, hour * hour_ms, &f->err));
    OK(starts_add(&db, &more, last * hour_ms, &f->err)); /* the hour goes on */
    OK(starts_add(&db, &one, last * hour_ms, &f->err));
    db_close(&db);
    open_it(f);
    OK(registry_each_start(f->reader, 0, put_starts, &s, &f->err));
    assert_int_equal(s.n, REGISTRY_HOURS);
    assert_int_equal(s.hour, last);
    assert_int_equal(s.all.starts, 2 * REGISTRY_HOURS + 6);
    assert_int_equal(s.all.most, 4);
}

static void they_outlive_the_version_and_go_with_the_name(void **state)
{
    struct fixture *f = *state;
    count(f->r, "beta", "0.1.0", (struct registry_counts){.calls = 4});
    OK(sample_uninstall(f->r, "beta", NULL, false, &f->err));
    assert_counts(f, "beta", "0.1.0", (struct registry_counts){.installs = 1, .calls = 4});
    OK(registry_flush(f->r, &f->err));
    OK(sample_uninstall(f->r, "beta", NULL, true, &f->err));
    assert_counts(f, "beta", NULL, (struct registry_counts){0});
    count(f->r, "beta", "0.1.0", (struct registry_counts){.calls = 1}); /* nobody's any more */
    OK(registry_flush(f->r, &f->err));
    assert_counts(f, "beta", NULL, (struct registry_counts){0});
}

/* ---- counting, writing and looking at once ---- */

struct crowd {
    struct registry *r;
    _Atomic uint64_t counted;
    _Atomic bool stop;
};

static void *keep_counting(void *argument)
{
    struct crowd *c = argument;
    while (!atomic_load(&c->stop)) {
        count(c->r, "alpha", "1.0.0", (struct registry_counts){.calls = 1});
        atomic_fetch_add(&c->counted, 1);
    }
    return NULL;
}

static void *keep_writing(void *argument)
{
    struct crowd *c = argument;
    while (!atomic_load(&c->stop))
        registry_flush(c->r, NULL);
    return NULL;
}

static void whoever_looks_sees_all_that_was_counted_before_and_nothing_twice(void **state)
{
    struct fixture *f = *state;
    struct crowd c = {.r = f->r};
    pthread_t threads[3];
    assert_int_equal(pthread_create(&threads[0], NULL, keep_counting, &c), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, keep_counting, &c), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, keep_writing, &c), 0);
    for (int i = 0; i < 300; i++) {
        struct registry_counts n;
        uint64_t before = atomic_load(&c.counted);
        OK(registry_find_counts(f->reader, "alpha", "1.0.0", &n, &f->err));
        uint64_t after = atomic_load(&c.counted) + 2; /* each thread may have counted and not said so yet */
        if (n.calls < before || n.calls > after)
            fail_msg("%llu were counted, %llu seen, then %llu", (unsigned long long)before, (unsigned long long)n.calls,
                     (unsigned long long)after);
    }
    atomic_store(&c.stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_counts(f, "alpha", "1.0.0", (struct registry_counts){.installs = 1, .calls = atomic_load(&c.counted)});
}

static void many_at_once_are_kept_apart(void **state)
{
    struct fixture *f = *state;
    char version[16];
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 500; i++) {
            snprintf(version, sizeof version, "%d.0.0", i);
            count(f->r, i % 2 ? "alpha" : "beta", version, (struct registry_counts){.calls = (uint64_t)i});
        }
    assert_counts(f, "beta", "498.0.0", (struct registry_counts){.calls = 3 * 498});
    OK(registry_flush(f->r, &f->err));
    assert_counts(f, "alpha", "499.0.0", (struct registry_counts){.calls = 3 * 499});
    assert_counts(f, NULL, NULL, (struct registry_counts){.installs = 3, .calls = 3 * 499 * 500 / 2});
}

static bool collect_some(void *context)
{
    struct crowd *c = context;
    atomic_fetch_add(&c->counted, 1);
    count(c->r, "alpha", "1.0.0", (struct registry_counts){.calls = 1});
    return true;
}

static _Atomic unsigned asked_in_vain;

static bool collect_nothing(void *context)
{
    atomic_fetch_add(&asked_in_vain, 1);
    return false;
}

/* Who has nothing is left alone until there is something. */
static void who_has_nothing_is_not_asked_again(void **state)
{
    struct fixture *f = *state;
    struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
    registry_gather_from(f->r, collect_nothing, NULL);
    for (unsigned round = 1; round <= 2; round++) {
        for (int i = 0; i < 500 && atomic_load(&asked_in_vain) < round; i++)
            nanosleep(&nap, NULL);
        assert_int_equal(asked_in_vain, round);
        if (round == 1) {
            nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 300 * 1000 * 1000}, NULL); /* longer than any pause */
            assert_int_equal(asked_in_vain, round);
        }
        registry_gather_soon(f->r);
    }
    registry_gather_from(f->r, NULL, NULL);
}

static void who_has_counts_is_asked_each_second(void **state)
{
    struct fixture *f = *state;
    struct crowd c = {.r = f->r};
    registry_gather_from(f->r, collect_some, &c);
    for (int i = 0; i < 600 && atomic_load(&c.counted) < 2; i++)
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
    registry_gather_from(f->r, NULL, NULL);
    uint64_t asked = atomic_load(&c.counted);
    assert_true(asked >= 2);
    assert_counts(f, "alpha", "1.0.0", (struct registry_counts){.installs = 1, .calls = asked});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(they_are_there_at_once_and_after_reopening),
        T(a_day_has_its_own),
        T(an_hour_has_its_own_for_all_versions),
        T(nine_weeks_of_hours_are_kept),
        T(starts_are_summed_and_the_most_at_once_is_kept),
        T(nine_weeks_of_starts_are_kept),
        T(they_outlive_the_version_and_go_with_the_name),
        T(whoever_looks_sees_all_that_was_counted_before_and_nothing_twice),
        T(many_at_once_are_kept_apart),
        T(who_has_counts_is_asked_each_second),
        T(who_has_nothing_is_not_asked_again),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
