/* What an Idempotency-Key stands for, and where that ends: so many keys, so many bytes, so long; by a clock of the
 * test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "rest/run.h"

static uint64_t now = 1000 * NS_PER_S;

/* The linker puts it in the place of the real one. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    *out = (struct timespec){(time_t)(now / NS_PER_S), (long)(now % NS_PER_S)};
    return 0;
}

static int setup(void **state)
{
    *state = keys_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    keys_free(*state);
    return 0;
}

/* A run of p.x with the n-th key; its parameters are one and the same. */
static struct run *make(unsigned n)
{
    struct run *run = calloc(1, sizeof *run + 16);
    assert_non_null(run);
    char *key = (char *)(run + 1);
    snprintf(key, 16, "%u", n);
    run->key = key;
    run->call.plugin = "p";
    run->call.action = "x";
    run->call.parameters = "{}";
    run->call.parameters_len = 2;
    snprintf(run->call.id, sizeof run->call.id, "%032u", n);
    return run;
}

static struct run *begin(struct keys *k, unsigned n)
{
    struct run *run = make(n);
    assert_int_equal(keys_claim(k, run), KEYS_RUN);
    return run;
}

static void end(struct keys *k, struct run *run, size_t len)
{
    run->call.result = calloc(1, len + BUF_PAD);
    assert_non_null(run->call.result);
    run->call.result_len = len;
    run->call.receipt.ran_ns = 1;
    keys_settle(k, run);
    free(run->call.result);
    free(run);
}

static void run_once(struct keys *k, unsigned n, size_t len)
{
    end(k, begin(k, n), len);
}

/* What the n-th key is answered: 0 for what was kept, a code, or 1 when it would be run. */
static int look(struct keys *k, unsigned n)
{
    struct run *run = make(n);
    enum keys_claim claim = keys_claim(k, run);
    int code = claim == KEYS_RUN ? 1 : run->call.code;
    if (claim == KEYS_RUN)
        end(k, run, 1);
    else
        free(run->call.result);
    if (claim != KEYS_RUN)
        free(run);
    return code;
}

static void test_ten_minutes(void **state)
{
    struct keys *k = *state;
    run_once(k, 1, 10);
    now += KEYS_NS - 1;
    assert_int_equal(look(k, 1), 0);
    now += 1;
    assert_int_equal(look(k, 1), 1);
    assert_int_equal(look(k, 1), 0); /* run anew, and known anew */
}

static void test_time_counts_from_each_end(void **state)
{
    struct keys *k = *state;
    struct run *slow = begin(k, 1);
    run_once(k, 2, 10);
    now += KEYS_NS / 2;
    assert_int_equal(look(k, 2), 0);
    end(k, slow, 10);
    now += KEYS_NS / 2;
    assert_int_equal(look(k, 1), 0);
    assert_int_equal(look(k, 2), 1); /* though one that began before it still holds */
    assert_int_equal(keys_figures(k).keys, 2);
    now += KEYS_NS;
    assert_int_equal(look(k, 3), 1);
    assert_int_equal(keys_figures(k).keys, 1);
    assert_int_equal(keys_figures(k).bytes, 1);
}

static void test_a_running_one_has_no_time(void **state)
{
    struct keys *k = *state;
    struct run *run = begin(k, 1), *second = make(1);
    now += 3 * KEYS_NS;
    assert_int_equal(keys_claim(k, second), KEYS_WAIT);
    assert_true(keys_leave(k, second));
    assert_false(keys_leave(k, second));
    free(second);
    end(k, run, 1);
    assert_int_equal(look(k, 1), 0);
}

static void test_ten_thousand_keys(void **state)
{
    struct keys *k = *state;
    for (unsigned n = 0; n < KEYS_MAX; n++)
        run_once(k, n, 1);
    assert_int_equal(keys_figures(k).keys, KEYS_MAX);
    assert_int_equal(look(k, 0), 0);
    run_once(k, KEYS_MAX, 1); /* one more: the oldest has to go */
    assert_int_equal(keys_figures(k).keys, KEYS_MAX);
    assert_int_equal(look(k, 1), 0);
    assert_int_equal(look(k, 0), 1);
}

static void test_ten_thousand_that_run(void **state)
{
    struct keys *k = *state;
    struct run **running = calloc(KEYS_MAX, sizeof(struct run *));
    assert_non_null(running);
    for (unsigned n = 0; n < KEYS_MAX; n++)
        running[n] = begin(k, n);
    assert_int_equal(look(k, KEYS_MAX), -MOAT_E_QUEUE_FULL); /* none of them can be forgotten */
    end(k, running[7], 1);
    assert_int_equal(look(k, KEYS_MAX), 1);
    for (unsigned n = 0; n < KEYS_MAX; n++)
        if (n != 7)
            end(k, running[n], 1);
    free(running);
}

static void test_so_many_bytes(void **state)
{
    struct keys *k = *state;
    size_t each = 1 << 20, fit = KEYS_BYTES / each;
    for (unsigned n = 0; n < fit + 3; n++) {
        run_once(k, n, each);
        assert_true(keys_figures(k).bytes <= KEYS_BYTES);
    }
    assert_int_equal(keys_figures(k).bytes, KEYS_BYTES);
    for (unsigned n = 0; n < 3; n++) /* known, and not run again, but what they answered is gone */
        assert_int_equal(look(k, n), -MOAT_E_ANSWER_NOT_KEPT);
    for (unsigned n = 3; n < fit + 3; n++)
        assert_int_equal(look(k, n), 0);
    run_once(k, 1000, KEYS_BYTES + 1);
    assert_int_equal(look(k, 1000), -MOAT_E_ANSWER_NOT_KEPT);
    run_once(k, 1001, KEYS_BYTES);
    assert_int_equal(look(k, 1001), 0);
    assert_int_equal(keys_figures(k).bytes, KEYS_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ten_minutes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_counts_from_each_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_running_one_has_no_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ten_thousand_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ten_thousand_that_run, setup, teardown),
        cmocka_unit_test_setup_teardown(test_so_many_bytes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
