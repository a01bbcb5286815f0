/* Answers that are told while they come about, without a socket: what a slow reader costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front.h"

struct fixture {
    struct loop_task task; /* the test itself, on the request's loop */
    void (*run)(struct fixture *f);
    struct front front;
    size_t grown, read; /* bytes */
    bool torn;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    front_open(&f->front);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    front_close(&f->front);
    free(f);
    return 0;
}

static void on_loop(struct loop_task *task)
{
    struct fixture *f = (struct fixture *)task;
    f->run(f);
    front_done(&f->front);
}

static void run(struct fixture *f, void (*what)(struct fixture *f))
{
    f->run = what;
    f->task.run = on_loop;
    loop_post(service_loop(f->front.service, 0), &f->task);
    front_wait(&f->front);
}

static void request_done(struct rest_request *q, void *context)
{
}

static struct rest_request *begin(struct fixture *f)
{
    struct rest_head head = {.method = "POST",
                             .target = "/api/plugins/execute/a/b",
                             .principal = {REST_ADMIN},
                             .content_length = 2,
                             .content_type = "application/json",
                             .accept = "text/event-stream"};
    struct rest_request *q = rest_begin(f->front.rest, &head);
    assert_non_null(q);
    assert_true(rest_body(q, "{}", 2));
    rest_run(q, service_loop(f->front.service, 0), request_done, f);
    return q;
}

static size_t in_use(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* 100 lines, and what was left of an event, ahead of its reader for ever. */
static void read_behind(struct fixture *f)
{
    enum { LINE = 1000, AHEAD = 100, ROUNDS = 20000 };
    static const char head[] = "event: log\ndata: {\"level\":\"info\",\"text\":\"000000", tail[] = "\"}\n\n";
    char event[2 * LINE], room[sizeof event];
    struct rest_request *q = begin(f);
    size_t len = (size_t)snprintf(event, sizeof event, "%s%*s%s", head, LINE - 6, "", tail);
    memset(event + sizeof head - 1, 'x', LINE - 6);
    for (int i = 0; i < AHEAD; i++)
        fake_tell(f->front.service, 1, LINE);
    size_t before = in_use();
    for (int i = 0; i < ROUNDS; i++) {
        fake_tell(f->front.service, 1, LINE);
        long n = rest_stream_read(q, room, len - 1 + (i < ROUNDS / 2));
        for (long k = 0; k < n; k++, f->read++)
            f->torn |= room[k] != event[f->read % len];
    }
    f->grown = in_use() - before;
    rest_end(q);
}

static void test_a_reader_that_is_never_done_costs_no_memory(void **state)
{
    struct fixture *f = *state;
    fake_hold_calls(f->front.service, true);
    run(f, read_behind);
    assert_true(f->read > 20000 * 1000);
    assert_false(f->torn);
    assert_true(f->grown < 2 << 20);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_a_reader_that_is_never_done_costs_no_memory)};
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
