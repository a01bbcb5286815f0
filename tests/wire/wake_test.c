/* Threads of the host: a waiter that others wake, an owner that changes.  No fork, the worker is a thread with a port
 * of its own, so that a thread sanitizer sees the host's side whole. */
#include "rig.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static void *worker(void *arg)
{
    struct port *port = arg;
    rig_echo(port);
    return NULL;
}

struct scene {
    struct rig r;
    struct port port;
    pthread_t worker;
    pthread_mutex_t owner;
    _Atomic bool stop;
    unsigned calls;
};

static void begin(struct scene *s)
{
    *s = (struct scene){.owner = PTHREAD_MUTEX_INITIALIZER};
    rig_alone(&s->r, 1 << 20);
    assert_true(port_open(&s->port, s->r.h2w, s->r.w2h, s->r.bell));
    assert_int_equal(pthread_create(&s->worker, NULL, worker, &s->port), 0);
}

static void end(struct scene *s)
{
    channel_free(s->r.ch);
    pthread_join(s->worker, NULL); /* it sees that the host has closed */
    munmap(s->port.in.base, s->port.in.size);
    munmap(s->port.out.base, s->port.out.size);
    close(s->r.bell);
}

static void *wake_after(void *arg)
{
    struct scene *s = arg;
    usleep(20000);
    channel_wake(s->r.ch);
    return NULL;
}

static void a_wake_ends_a_wait(void **state)
{
    struct scene s;
    pthread_t thread;
    begin(&s);
    for (int spin = 0; spin < 2; spin++) {
        uint64_t before = clock_mono_ns();
        assert_int_equal(pthread_create(&thread, NULL, wake_after, &s), 0);
        assert_true(channel_wait(s.r.ch, before + 60 * NS_PER_S, spin));
        assert_true(clock_mono_ns() - before < 30 * NS_PER_S);
        pthread_join(thread, NULL);
    }
    channel_wake(s.r.ch); /* before the wait: it ends at once */
    assert_true(channel_wait(s.r.ch, 0, false));
    assert_false(channel_wait(s.r.ch, clock_mono_ns() + NS_PER_MS, false)); /* and only one */
    end(&s);
}

static void *keep_waking(void *arg)
{
    struct scene *s = arg;
    while (!atomic_load(&s->stop)) {
        channel_wake(s->r.ch);
        usleep(50);
    }
    return NULL;
}

/* Wakes at any moment lose no answer. */
static void wakes_among_calls(void **state)
{
    struct scene s;
    pthread_t thread;
    begin(&s);
    assert_int_equal(pthread_create(&thread, NULL, keep_waking, &s), 0);
    for (unsigned i = 0; i < 4000; i++) {
        rig_submit(&s.r, CHANNEL_CALL, i % 300, i, NULL);
        struct channel_answer a = rig_next(&s.r);
        assert_true(rig_same(a.shared, i % 300, i));
    }
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    end(&s);
}

static void *borrow(void *arg)
{
    struct scene *s = arg;
    for (unsigned i = 0; i < 1500; i++) {
        pthread_mutex_lock(&s->owner);
        rig_submit(&s->r, CHANNEL_CALL, 64, i, NULL);
        struct channel_answer a = rig_next(&s->r);
        assert_true(rig_same(a.shared, 64, i));
        channel_release(s->r.ch);
        s->calls++;
        pthread_mutex_unlock(&s->owner);
    }
    return NULL;
}

/* One owner at a time, handed over by whatever the host synchronises with. */
static void owners_change(void **state)
{
    struct scene s;
    pthread_t threads[3];
    begin(&s);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, borrow, &s), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(s.calls, 4500);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_wake_ends_a_wait), cmocka_unit_test(wakes_among_calls),
                                       cmocka_unit_test(owners_change)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
