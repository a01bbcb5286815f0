/* The real engine behind the real wall: what it needs of the kernel (mapping, futex, yielding, the bell) is left to it.
 */
#include "rig.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "sandbox/explain.h"
#include "sandbox/spawner.h"
#include "sandbox/wall.h"
#include "wire/start.h"

#define MIB ((size_t)1 << 20)

struct walled {
    struct rig r; /* without a pid: the worker is the spawner's child */
    struct spawner *spawner;
    struct child child;
    struct wall_request request;
    int listener;
    bool half, assigned, ready, ended;
    char failed[700];
};

static int sealed_file(const char *path)
{
    buf_auto bytes = BUF_INIT(16 << 20);
    struct error err;
    if (io_read_file(path, &bytes, &err) < 0)
        fail_msg("%s", err.message);
    return io_sealed("code", bytes.data, bytes.len);
}

static void prepare(struct walled *w)
{
    struct error err;
    struct start start = {.plugin = "every",
                          .version = "1.0.0",
                          .actions = {"echo", "in_place", "flood"},
                          .nactions = 3,
                          .config = "{}",
                          .config_len = 2,
                          .payload_max = MIB};
    char path[1024];
    *w = (struct walled){.child = CHILD_NONE, .listener = -1};
    rig_alone(&w->r, MIB);
    snprintf(path, sizeof path, "%s/every.so", getenv("WIRE_PLUGINS"));
    w->request = (struct wall_request){.h2w = w->r.h2w, .w2h = w->r.w2h, .bell = w->r.bell, .ncode = 1};
    w->request.code[0] = sealed_file(path);
    assert_true(w->request.code[0] >= 0);
    if (start_write(&start, &w->request.start, &err) < 0 ||
        spawner_start(getenv("WIRE_WORKER"), NULL, &w->spawner, &err) < 0 ||
        spawner_worker(w->spawner, &w->child, &err) < 0)
        fail_msg("%s", err.message);
}

static void wall_said(struct walled *w, const struct wall_event *e)
{
    struct error err;
    struct posture posture;
    if (e->kind == WALL_HALF)
        w->half = true;
    if (e->kind == WALL_READY)
        w->ready = true;
    if (e->kind == WALL_FAILED)
        snprintf(w->failed, sizeof w->failed, "%s: %s", e->step, e->message);
    if (e->kind != WALL_BUILT)
        return;
    w->listener = e->listener;
    if (w->listener >= 0)
        explain_setup(w->listener);
    if (posture_verify(&w->child, &w->request, e->self, &posture, &err) < 0)
        fail_msg("%s", err.message);
    assert_true(wall_go(&w->child));
}

/* One round of what the supervise and explain threads do. */
static void serve(struct walled *w)
{
    struct pollfd p[3] = {{.fd = w->child.status, .events = POLLIN},
                          {.fd = w->child.control, .events = POLLIN},
                          {.fd = w->listener, .events = POLLIN}};
    struct child_event c;
    struct wall_event e;
    struct explain_event x;
    const struct wall_request nothing = {0};
    struct error err;
    poll(p, 3, 20);
    child_next(&w->child, &c);
    if (c.kind == CHILD_FAILED)
        fail_msg("the wall's first half failed at %s", c.step);
    w->ended |= c.kind == CHILD_EXITED;
    for (wall_next(&w->child, &e); e.kind != WALL_NOTHING && e.kind != WALL_GONE; wall_next(&w->child, &e))
        wall_said(w, &e);
    while (w->listener >= 0 && explain_next(w->listener, &w->child, &nothing, &x) == 1)
        ;
    if (w->half && !w->assigned && w->child.pid > 0) {
        w->assigned = true;
        if (wall_assign(&w->child, &w->request, &err) < 0)
            fail_msg("%s", err.message);
    }
}

static void until(struct walled *w, const bool *flag)
{
    for (uint64_t end = clock_mono_ns() + 20 * NS_PER_S; !*flag; serve(w))
        if (clock_mono_ns() > end || w->failed[0])
            fail_msg("the worker is not where it should be; it said: %s", w->failed);
}

static void echo(struct walled *w, uint32_t action, size_t len, bool spin)
{
    rig_submit(&w->r, CHANNEL_CALL, len, action, w); /* the seed is the action, too */
    channel_ring(w->r.ch);
    if (spin)
        assert_true(channel_wait(w->r.ch, clock_mono_ns() + 10 * NS_PER_S, true));
    struct channel_answer a = rig_next(&w->r);
    while (a.kind == CHANNEL_LOG || a.kind == CHANNEL_PROGRESS)
        a = rig_next(&w->r);
    assert_int_equal(a.kind, CHANNEL_RESULT);
    assert_int_equal(a.len, len);
    assert_true(rig_same(a.shared, len, action));
}

static void echo_through_epoll(struct walled *w)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    int ep = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, channel_fd(w->r.ch), &ev), 0);
    for (unsigned i = 0; i < 200; i++) {
        struct channel_answer a;
        rig_submit(&w->r, CHANNEL_CALL, 100, 0, w);
        channel_ring(w->r.ch);
        if (channel_arm(w->r.ch))
            assert_int_equal(epoll_wait(ep, &ev, 1, 10000), 1);
        channel_disarm(w->r.ch);
        assert_int_equal(channel_next(w->r.ch, &a), CHANNEL_GOT);
    }
    close(ep);
}

static void the_engine_behind_the_wall(void **state)
{
    struct walled w;
    prepare(&w);
    until(&w, &w.ready);
    channel_place(w.r.ch, w.child.pid);
    for (unsigned i = 0; i < 300; i++) {
        echo(&w, i % 2, i * 5, false);
        if (i % 50 == 0)
            usleep(2000); /* it sleeps, and is woken */
    }
    for (size_t len = CHANNEL_INLINE_MAX - 1; len <= MIB; len = len * 3 / 2)
        echo(&w, len % 2, len, false);
    echo(&w, 0, MIB, false);
    echo(&w, 1, MIB - 10, false); /* it asks for ten bytes more than it fills */
    channel_allow_spin(w.r.ch, true);
    for (unsigned i = 0; i < 300; i++)
        echo(&w, i % 2, 64, true);
    channel_allow_spin(w.r.ch, false);
    echo_through_epoll(&w);
    rig_submit(&w.r, CHANNEL_SHUTDOWN, 0, 0, NULL);
    assert_int_equal(rig_next(&w.r).kind, CHANNEL_RESULT);
    until(&w, &w.ended);
    child_close(&w.child);
    spawner_stop(w.spawner);
    io_close(&w.listener);
    io_close(&w.request.start);
    io_close(&w.request.code[0]);
    rig_stop(&w.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_engine_behind_the_wall)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
