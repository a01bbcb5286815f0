/* A hundred thousand random operations against a model: a queue of what must come back.  The worker decides by the
 * payload what it does, so that the model knows it too. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define OPERATIONS 100000
#define MAX ((size_t)200 * 1024)

/* The first byte of a payload says what the worker does. */
enum deed { ECHO, ECHO_CHATTY, FAIL, EMPTY, SLOW, DEEDS };

static void deeds(struct port *port)
{
    struct port_request request;
    while (port_next(port, &request)) {
        if (port_cancelled(port)) {
            port_failure(port, "cancelled", "");
            continue;
        }
        enum deed deed = request.len ? (enum deed)(request.payload[0] % DEEDS) : EMPTY;
        if (deed == ECHO_CHATTY) {
            port_say(port, CHANNEL_LOG, 1, "line", 4);
            port_say(port, CHANNEL_PROGRESS, 500, "half", 4);
        }
        if (deed == SLOW && request.len % 16 == 0)
            usleep(500);
        if (deed == FAIL) {
            port_take(port);
            port_failure(port, "failed", "as asked");
        } else if (deed == EMPTY) {
            port_take(port);
            if (port_room(port, 0))
                port_result(port, 0);
        } else {
            rig_echo_one(port, &request);
        }
    }
}

struct expected {
    uint32_t seed;
    size_t len;
    unsigned slot;
    bool cancelled;
};

struct model {
    struct rig r;
    uint64_t random;
    struct expected queue[CHANNEL_WINDOW];
    unsigned first, count; /* in flight */
    unsigned large;        /* of them */
    size_t bytes;          /* of them, inline, at least */
    bool reserved;
    size_t reserved_len;
    uint32_t seed;
    unsigned answers, lines, refused, cancels;
};

static size_t random_len(struct model *m)
{
    uint64_t r = rig_random(&m->random);
    switch (r % 8) {
    case 0:
        return rig_random(&m->random) % (MAX + 1);
    case 1:
        return CHANNEL_INLINE_MAX - 3 + rig_random(&m->random) % 7;
    case 2:
        return rig_random(&m->random) % CHANNEL_INLINE_MAX;
    default:
        return rig_random(&m->random) % 200;
    }
}

static void do_submit(struct model *m)
{
    size_t len = random_len(m);
    uint8_t *room = channel_reserve(m->r.ch, len);
    if (!room) {
        bool large_full = len > CHANNEL_INLINE_MAX && m->large == LAYOUT_LARGE;
        bool ring_full = m->bytes + len + BUF_PAD + 4 * LAYOUT_ALIGN + m->count * 2 * LAYOUT_ALIGN > LAYOUT_RING;
        assert_true(m->count == CHANNEL_WINDOW || large_full || ring_full);
        m->refused++;
        return;
    }
    assert_true(m->count < CHANNEL_WINDOW && (len <= CHANNEL_INLINE_MAX || m->large < LAYOUT_LARGE));
    assert_null(channel_reserve(m->r.ch, 1));
    if (rig_random(&m->random) % 16 == 0) {
        memset(room, 0xff, len + BUF_PAD);
        channel_unreserve(m->r.ch);
        return;
    }
    uint32_t seed = m->seed++;
    rig_fill(room, len, seed);
    memset(room + len, 0xff, BUF_PAD);
    struct expected *e = &m->queue[(m->first + m->count) % CHANNEL_WINDOW];
    unsigned slot = channel_submit(m->r.ch, CHANNEL_CALL, 0, 0, len, e);
    *e = (struct expected){.seed = seed, .len = len, .slot = slot};
    m->count++;
    m->large += len > CHANNEL_INLINE_MAX;
    m->bytes += len > CHANNEL_INLINE_MAX ? 0 : len;
    if (rig_random(&m->random) % 2)
        channel_ring(m->r.ch);
}

static void check_answer(struct model *m, const struct channel_answer *a)
{
    const struct expected *e = &m->queue[m->first];
    assert_ptr_equal(a->cookie, e);
    if (a->kind == CHANNEL_LOG || a->kind == CHANNEL_PROGRESS) {
        m->lines++;
        return;
    }
    uint8_t first = 0;
    rig_fill(&first, 1, e->seed);
    enum deed deed = e->len ? (enum deed)(first % DEEDS) : EMPTY;
    if (a->kind == CHANNEL_FAILURE && e->cancelled && strcmp((const char *)a->shared, "cancelled") == 0) {
        m->cancels++;
    } else if (deed == FAIL) {
        assert_int_equal(a->kind, CHANNEL_FAILURE);
        assert_memory_equal(a->shared, "failed\0as asked", 15);
    } else {
        assert_int_equal(a->kind, CHANNEL_RESULT);
        assert_int_equal(a->len, deed == EMPTY ? 0 : e->len);
        assert_true(rig_same(a->shared, a->len, e->seed));
    }
    m->answers++;
    m->large -= e->len > CHANNEL_INLINE_MAX;
    m->bytes -= e->len > CHANNEL_INLINE_MAX ? 0 : e->len;
    m->first = (m->first + 1) % CHANNEL_WINDOW;
    m->count--;
}

static void do_next(struct model *m)
{
    struct channel_answer a;
    for (unsigned n = rig_random(&m->random) % 40; n--;) {
        enum channel_got got = channel_next(m->r.ch, &a);
        if (got == CHANNEL_BROKEN)
            fail_msg("broken: %s", channel_broken_why(m->r.ch));
        if (got == CHANNEL_EMPTY)
            return;
        assert_true(m->count > 0);
        check_answer(m, &a);
        if (rig_random(&m->random) % 2)
            channel_release(m->r.ch);
    }
}

static void do_wait(struct model *m)
{
    channel_ring(m->r.ch);
    bool spin = rig_random(&m->random) % 2;
    if (m->count)
        assert_true(channel_wait(m->r.ch, clock_mono_ns() + 10 * NS_PER_S, spin));
    else
        assert_false(channel_wait(m->r.ch, clock_mono_ns() + 10 * NS_PER_US, spin));
}

static void do_cancel(struct model *m)
{
    if (!m->count)
        return;
    struct expected *e = &m->queue[(m->first + rig_random(&m->random) % m->count) % CHANNEL_WINDOW];
    channel_cancel(m->r.ch, e->slot);
    e->cancelled = true;
}

static void do_arm(struct model *m)
{
    if (!channel_arm(m->r.ch))
        return;
    if (rig_random(&m->random) % 8 == 0)
        usleep(100);
    channel_disarm(m->r.ch);
}

static void do_spin_grant(struct model *m)
{
    channel_allow_spin(m->r.ch, rig_random(&m->random) % 2);
}

static void do_peek(struct model *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        const struct expected *e = &m->queue[(m->first + i) % CHANNEL_WINDOW];
        if (!channel_taken(m->r.ch, e->slot))
            return;
    }
}

static void random_operations(void **state)
{
    static struct model m;
    void (*const operations[])(struct model *) = {do_submit, do_submit, do_submit, do_submit, do_submit,
                                                  do_submit, do_next,   do_next,   do_wait,   do_cancel,
                                                  do_arm,    do_peek,   do_submit, do_submit, do_spin_grant};
    m.random = rig_seed();
    rig_start(&m.r, MAX, deeds);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        operations[rig_random(&m.random) % (sizeof operations / sizeof *operations)](&m);
        assert_int_equal(channel_in_flight(m.r.ch), m.count);
    }
    while (m.count)
        do_wait(&m), do_next(&m);
    print_message("# %u answers, %u lines, %u refused, %u cancelled unrun\n", m.answers, m.lines, m.refused, m.cancels);
    assert_true(m.answers > 10000 && m.lines > 100 && m.refused > 10 && m.cancels > 10);
    rig_stop(&m.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_operations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
