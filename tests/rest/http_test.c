/* The HTTP server's part of its loop: a wake-up may not cost anybody else's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <unistd.h>

#include "http/server.h"

static struct loop *loop;
static struct listener listener;
static struct loop_task before, between, after;
static unsigned runs[2];

static void count_between(struct loop_task *task)
{
    runs[0]++;
}

static void count_after(struct loop_task *task)
{
    runs[1]++;
    loop_stop(loop);
}

/* An answer arrives, the daemon is run, and more answers arrive before the loop has come to the first wake-up. */
static void answers_arrive(struct loop_task *task)
{
    listener_kick(&listener);
    listener.must_run = false;
    loop_post(loop, &between);
    listener_kick(&listener);
    assert_true(listener.must_run);
    loop_post(loop, &after);
}

static void test_a_wake_up_is_linked_once(void **state)
{
    assert_int_equal(loop_new(&loop, NULL), 0);
    listener_init(&listener, NULL, false);
    listener.loop = loop;
    before.run = answers_arrive;
    between.run = count_between;
    after.run = count_after;
    loop_post(loop, &before);
    alarm(20); /* a list that bites its tail never ends */
    loop_run(loop);
    alarm(0);
    assert_int_equal(runs[0], 1);
    assert_int_equal(runs[1], 1);
    assert_false(listener.kicking);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_wake_up_is_linked_once)};
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
