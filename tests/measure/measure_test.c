/* measure: windows by example; the sequential test's errors and speed by simulation (MOAT_SEED replays). */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "measure/sequential.h"
#include "measure/window.h"

static uint64_t rng = 0x9e3779b97f4a7c15;

static uint64_t random64(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static bool happens(double p)
{
    return (double)(random64() >> 11) * 0x1p-53 < p;
}

/* ---- histograms ---- */

static void test_a_bucket_holds_what_is_close(void **state)
{
    for (int i = 0; i < 200000; i++) {
        uint64_t value = random64() >> (18 + random64() % 46);
        uint64_t middle = histogram_middle(histogram_bucket(value));
        uint64_t off = middle > value ? middle - value : value - middle;
        assert_true(off * 16 <= value);
    }
}

static void test_buckets_follow_each_other(void **state)
{
    for (unsigned b = 1; b < HISTOGRAM_BUCKETS; b++) {
        assert_true(histogram_middle(b) > histogram_middle(b - 1));
        assert_int_equal(histogram_bucket(histogram_middle(b)), b);
    }
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void test_an_empty_one_has_no_quantile(void **state)
{
    struct histogram h = {0};
    assert_int_equal(histogram_quantile(&h, 0.99), 0);
    histogram_add(&h, 7);
    assert_int_equal(histogram_quantile(&h, 0), 7);
    assert_int_equal(histogram_quantile(&h, 1), 7);
}

/* ---- windows ---- */

static void test_many_at_once_are_as_one_by_one(void **state)
{
    struct window one, many;
    struct window_sum some = {0}, a, b;
    window_init(&one, 1000);
    window_init(&many, 1000);
    for (uint64_t i = 0; i < 500; i++) {
        window_add(&one, 20100, i * i, i % 7 == 0);
        histogram_add(&some.values, i * i);
        some.calls++;
        some.bad += i % 7 == 0;
    }
    window_merge(&many, 20900, &some);
    window_merge(&many, 5000, &some); /* longer ago than the window reaches */
    window_read(&one, 21000, &a);
    window_read(&many, 21000, &b);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(b.calls, 500);
}

static void test_a_window_forgets_span_by_span(void **state)
{
    struct window w;
    struct window_sum sum;
    window_init(&w, 1000);
    for (uint64_t t = 0; t < 30000; t += 100)
        window_add(&w, t, 5, t % 1000 == 0);
    window_read(&w, 29999, &sum);
    assert_int_equal(sum.values.count, 10 * WINDOW_SPANS);
    assert_int_equal(sum.bad, WINDOW_SPANS);
    window_read(&w, 29999 + 3000, &sum);
    assert_int_equal(sum.values.count, 10 * (WINDOW_SPANS - 3));
    window_read(&w, 29999 + 1000 * WINDOW_SPANS, &sum);
    assert_int_equal(sum.values.count, 0);
    assert_int_equal(sum.bad, 0);
}

static void test_what_is_late_counts_in_its_own_time(void **state)
{
    struct window w;
    struct window_sum sum;
    window_init(&w, 1000);
    window_add(&w, 20500, 1, false);
    window_add(&w, 19500, 1, true); /* a span late */
    window_add(&w, 2500, 1, true);  /* where 14500 would stand: longer ago than the window reaches */
    window_read(&w, 20600, &sum);
    assert_int_equal(sum.values.count, 2);
    assert_int_equal(sum.bad, 1);
    window_read(&w, 19500 + 1000 * WINDOW_SPANS, &sum);
    assert_int_equal(sum.values.count, 1);
    assert_int_equal(sum.bad, 0);
}

/* ---- the sequential test ---- */

struct trial {
    double before, after; /* true rates */
    unsigned percent;     /* of the outcomes come from the new one */
    unsigned most;        /* outcomes of the new one, then it is left open */
};

struct told {
    unsigned worse, fine;
    uint64_t calls; /* of the new one, all trials together */
};

#define TRIALS 600

static struct told simulate(const struct trial *t, const struct sequential_limits *limits)
{
    struct told told = {0};
    for (int i = 0; i < TRIALS; i++) {
        struct sequential s;
        enum sequential_verdict v = SEQUENTIAL_OPEN;
        sequential_init(&s, limits, (100 - t->percent) / t->percent, t->percent / (100 - t->percent));
        while (v == SEQUENTIAL_OPEN && s.after.n < t->most)
            v = happens(t->percent / 100.0) ? sequential_after(&s, happens(t->after))
                                            : sequential_before(&s, happens(t->before));
        told.worse += v == SEQUENTIAL_WORSE;
        told.fine += v == SEQUENTIAL_FINE;
        told.calls += s.after.n;
    }
    printf("# rates %g and %g, %u %%: worse %.1f %%, fine %.1f %%, after %" PRIu64 " calls\n", t->before, t->after,
           t->percent, told.worse * 100.0 / TRIALS, told.fine * 100.0 / TRIALS, told.calls / TRIALS);
    return told;
}

static const struct sequential_limits loose = {
    .tolerated = 0.01, .margin = 0.05, .false_alarm = 0.05, .false_pass = 0.05};
static const struct sequential_limits strict = {
    .tolerated = 0.01, .margin = 0.05, .false_alarm = 0.01, .false_pass = 0.01};

/* More than four standard deviations above the stated 5 %: less than one run in ten thousand. */
#define LOOSE_MOST (TRIALS * 5 / 100 + 22)

static void test_false_alarms_are_as_rare_as_stated(void **state)
{
    /* At the very border of what is tolerated, where the test has it hardest. */
    static const struct trial borders[] = {
        {0.01, 0.02, 10, 1000}, {0.2, 0.21, 10, 1000}, {0, 0.01, 50, 1000}, {0.5, 0.51, 80, 1000}};
    static const struct sequential_limits only_worse = {
        .tolerated = 0.01, .margin = 0.05, .false_alarm = 0.05, .false_pass = 1e-300};
    for (size_t i = 0; i < sizeof borders / sizeof *borders; i++)
        assert_in_range(simulate(&borders[i], &only_worse).worse, 0, LOOSE_MOST);
}

static void test_false_passes_are_as_rare_as_stated(void **state)
{
    static const struct trial borders[] = {{0.01, 0.06, 10, 1000}, {0.2, 0.25, 20, 1000}, {0.5, 0.55, 50, 1000}};
    static const struct sequential_limits only_fine = {
        .tolerated = 0.01, .margin = 0.05, .false_alarm = 1e-300, .false_pass = 0.05};
    for (size_t i = 0; i < sizeof borders / sizeof *borders; i++)
        assert_in_range(simulate(&borders[i], &only_fine).fine, 0, LOOSE_MOST);
}

static void test_what_is_the_same_passes(void **state)
{
    struct told told = simulate(&(struct trial){0.01, 0.01, 10, 5000}, &strict);
    assert_in_range(told.fine, TRIALS * 99 / 100, TRIALS);
    assert_in_range(told.calls / TRIALS, 1, 300);
    told = simulate(&(struct trial){0, 0, 10, 5000}, &strict);
    assert_int_equal(told.fine, TRIALS);
    assert_in_range(told.calls / TRIALS, 1, 150);
    told = simulate(&(struct trial){0.1, 0.1, 50, 20000}, &loose);
    assert_in_range(told.fine, TRIALS * 95 / 100, TRIALS);
}

static void test_what_is_worse_is_found_soon(void **state)
{
    struct told told = simulate(&(struct trial){0.01, 1, 10, 5000}, &strict);
    assert_int_equal(told.worse, TRIALS);
    assert_in_range(told.calls / TRIALS, 1, 8);
    told = simulate(&(struct trial){0.01, 0.3, 10, 5000}, &strict);
    assert_in_range(told.worse, TRIALS * 995 / 1000, TRIALS);
    assert_in_range(told.calls / TRIALS, 1, 30);
    told = simulate(&(struct trial){0.01, 0.1, 10, 5000}, &strict);
    assert_in_range(told.worse, TRIALS * 99 / 100, TRIALS);
    assert_in_range(told.calls / TRIALS, 1, 150);
}

static void test_the_first_verdict_stays(void **state)
{
    struct sequential s;
    sequential_init(&s, &strict, 1, 1);
    for (int i = 0; i < 100; i++) {
        sequential_before(&s, false);
        sequential_after(&s, true);
    }
    assert_int_equal(s.verdict, SEQUENTIAL_WORSE);
    for (int i = 0; i < 10000; i++) {
        sequential_before(&s, true);
        sequential_after(&s, false);
    }
    assert_int_equal(s.verdict, SEQUENTIAL_WORSE);
    assert_true(s.log_fine > 100); /* what comes after speaks for it */
    assert_int_equal(s.after.bad, 100);
}

int main(void)
{
    const char *seed = getenv("MOAT_SEED");
    if (seed)
        rng = strtoull(seed, NULL, 10) * 0x9e3779b97f4a7c15 + 1;
    printf("# MOAT_SEED=%s\n", seed ? seed : "");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bucket_holds_what_is_close),
        cmocka_unit_test(test_buckets_follow_each_other),
        cmocka_unit_test(test_an_empty_one_has_no_quantile),
        cmocka_unit_test(test_a_window_forgets_span_by_span),
        cmocka_unit_test(test_many_at_once_are_as_one_by_one),
        cmocka_unit_test(test_what_is_late_counts_in_its_own_time),
        cmocka_unit_test(test_false_alarms_are_as_rare_as_stated),
        cmocka_unit_test(test_false_passes_are_as_rare_as_stated),
        cmocka_unit_test(test_what_is_the_same_passes),
        cmocka_unit_test(test_what_is_worse_is_found_soon),
        cmocka_unit_test(test_the_first_verdict_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
