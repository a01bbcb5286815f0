/* Calls go out and come back whole: every size, every limit, and what the kernel must refuse a worker. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/channel_private.h"
#include "wire/start.h"

#define MIB ((size_t)1 << 20)

static void echo_size(struct rig *r, size_t len)
{
    uint32_t seed = (uint32_t)len + 1;
    rig_submit(r, CHANNEL_CALL, len, seed, r);
    struct channel_answer a = rig_next(r);
    assert_int_equal(a.kind, CHANNEL_RESULT);
    assert_ptr_equal(a.cookie, r);
    assert_int_equal(a.len, len);
    assert_true(rig_same(a.shared, len, seed));
    channel_release(r->ch);
    assert_int_equal(channel_in_flight(r->ch), 0);
}

static void every_size(void **state)
{
    struct rig r;
    rig_start(&r, 8 * MIB, rig_echo);
    for (size_t len = 0; len <= 64 * 1024; len += 61)
        echo_size(&r, len);
    const size_t edges[] = {
        1,   31,      32,          33,     CHANNEL_INLINE_MAX - 1, CHANNEL_INLINE_MAX, CHANNEL_INLINE_MAX + 1, MIB - 1,
        MIB, MIB + 1, 8 * MIB - 1, 8 * MIB};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        echo_size(&r, edges[i]);
    assert_null(channel_reserve(r.ch, 8 * MIB + 1));
    rig_stop(&r);
}

static void largest_channel(void **state)
{
    struct rig r;
    struct error err;
    rig_start(&r, 256 * MIB, rig_echo);
    echo_size(&r, 3 * MIB);
    echo_size(&r, 10);
    rig_stop(&r);
    assert_int_equal(channel_new(256 * MIB + 1, &r.ch, &r.h2w, &r.w2h, &r.bell, &err), -MOAT_E_BAD_USAGE);
    assert_int_equal(channel_new(0, &r.ch, &r.h2w, &r.w2h, &r.bell, &err), -MOAT_E_BAD_USAGE);
}

/* A checker may write over the padding; neither the calls in flight nor the next one's header suffers. */
static void padding_is_ours(void **state)
{
    struct rig r;
    rig_start(&r, MIB, rig_echo);
    for (unsigned round = 0; round < 2000; round++) {
        size_t len = (round * 37) % 900;
        unsigned sent = 0;
        for (; sent < 40; sent++) {
            uint8_t *room = channel_reserve(r.ch, len);
            if (!room)
                break;
            rig_fill(room, len, round + sent);
            memset(room + len, 0xff, BUF_PAD);
            channel_submit(r.ch, CHANNEL_CALL, 0, 0, len, NULL);
        }
        assert_true(sent > 0);
        for (unsigned i = 0; i < sent; i++) {
            struct channel_answer a = rig_next(&r);
            assert_int_equal(a.len, len);
            assert_true(rig_same(a.shared, len, round + i));
        }
    }
    uint8_t *room = channel_reserve(r.ch, MIB);
    memset(room + MIB, 0xff, BUF_PAD);
    channel_unreserve(r.ch);
    echo_size(&r, MIB);
    rig_stop(&r);
}

static void window_full(void **state)
{
    struct rig r;
    rig_start(&r, MIB, rig_echo);
    for (uintptr_t i = 0; i < CHANNEL_WINDOW; i++)
        assert_int_equal(rig_submit(&r, CHANNEL_CALL, 8, (uint32_t)i, (void *)i), i);
    assert_null(channel_reserve(r.ch, 8));
    assert_int_equal(channel_in_flight(r.ch), CHANNEL_WINDOW);
    for (uintptr_t i = 0; i < CHANNEL_WINDOW; i++)
        assert_ptr_equal(rig_next(&r).cookie, (void *)i);
    assert_non_null(channel_reserve(r.ch, 8));
    assert_null(channel_reserve(r.ch, 8)); /* one reservation at a time */
    channel_unreserve(r.ch);
    rig_stop(&r);
}

static void ring_and_large_slots_full(void **state)
{
    struct rig r;
    rig_start(&r, MIB, rig_echo);
    unsigned sent = 0;
    uint8_t *room;
    while ((room = channel_reserve(r.ch, CHANNEL_INLINE_MAX))) {
        rig_fill(room, CHANNEL_INLINE_MAX, sent++);
        channel_submit(r.ch, CHANNEL_CALL, 0, 0, CHANNEL_INLINE_MAX, NULL);
    }
    assert_int_equal(sent, 3);
    for (unsigned i = 0; i < sent; i++)
        assert_true(rig_same(rig_next(&r).shared, CHANNEL_INLINE_MAX, i));

    rig_submit(&r, CHANNEL_CALL, MIB, 1, NULL);
    rig_submit(&r, CHANNEL_CALL, MIB / 2, 2, NULL);
    assert_null(channel_reserve(r.ch, MIB));
    room = channel_reserve(r.ch, 100); /* small ones still pass */
    assert_non_null(room);
    rig_fill(room, 100, 3);
    channel_submit(r.ch, CHANNEL_CALL, 0, 0, 100, NULL);
    assert_true(rig_same(rig_next(&r).shared, MIB, 1));
    rig_submit(&r, CHANNEL_CALL, MIB, 4, NULL); /* the first slot is free again, its answer not yet given back */
    assert_true(rig_same(rig_next(&r).shared, MIB / 2, 2));
    assert_true(rig_same(rig_next(&r).shared, 100, 3));
    assert_true(rig_same(rig_next(&r).shared, MIB, 4));
    rig_stop(&r);
}

/* Three large answers: the third waits in the worker until the host gives a slot back. */
static void worker_waits_for_room(void **state)
{
    struct rig r;
    rig_start(&r, MIB, rig_echo);
    for (unsigned round = 0; round < 200; round++) {
        rig_submit(&r, CHANNEL_CALL, MIB / 16 + 1, round, NULL);
        rig_submit(&r, CHANNEL_CALL, MIB / 16 + 2, round + 1, NULL);
        channel_ring(r.ch);
        struct channel_answer a = rig_next(&r);
        rig_submit(&r, CHANNEL_CALL, MIB / 16 + 3, round + 2, NULL);
        channel_ring(r.ch);
        if (round % 16 == 0)
            usleep(2000); /* long enough for the worker to sleep without room */
        assert_true(rig_same(a.shared, MIB / 16 + 1, round));
        a = rig_next(&r);
        assert_true(rig_same(a.shared, MIB / 16 + 2, round + 1));
        a = rig_next(&r);
        assert_true(rig_same(a.shared, MIB / 16 + 3, round + 2));
    }
    rig_stop(&r);
}

static void talker(struct port *port)
{
    struct port_request request;
    char text[4096];
    memset(text, 'x', sizeof text);
    port_say(port, CHANNEL_LOG, 2, "early", 5);
    while (port_next(port, &request)) {
        port_take(port);
        for (unsigned i = 0; i < 100; i++) {
            port_say(port, CHANNEL_LOG, i % 4, text, i * 40);
            port_say(port, CHANNEL_PROGRESS, i * 10, "half", 4);
        }
        port_failure(port, "some_code", text);
    }
}

static void logs_progress_failures(void **state)
{
    struct rig r;
    rig_start(&r, MIB, talker);
    rig_submit(&r, CHANNEL_CALL, 4, 1, &r);
    struct channel_answer a = rig_next(&r);
    assert_int_equal(a.kind, CHANNEL_LOG);
    assert_null(a.cookie);
    assert_memory_equal(a.shared, "early", 5);
    unsigned logs = 0, progress = 0;
    for (a = rig_next(&r); a.kind != CHANNEL_FAILURE; a = rig_next(&r)) {
        assert_ptr_equal(a.cookie, &r);
        assert_true(a.len <= LAYOUT_SMALL);
        if (a.kind == CHANNEL_LOG)
            logs++;
        else
            progress++;
    }
    assert_true(logs > 5 && progress > 5); /* what does not fit is dropped, the worker never waits for it */
    assert_ptr_equal(a.cookie, &r);
    assert_int_equal(a.len, LAYOUT_SMALL);
    assert_memory_equal(a.shared, "some_code\0xxxx", 14);
    rig_stop(&r);
}

static void reporter(struct port *port)
{
    struct port_request request;
    while (port_next(port, &request)) {
        if (port_cancelled(port)) {
            port_failure(port, "cancelled", "");
            continue;
        }
        port_take(port);
        if (request.kind == CHANNEL_HEALTH)
            while (!port_cancelled(port))
                usleep(100);
        uint64_t out[4] = {request.kind, request.action, request.deadline, port_cancelled(port)};
        memcpy(port_room(port, sizeof out), out, sizeof out);
        port_result(port, request.kind == CHANNEL_CALL ? sizeof out : 0);
    }
}

static void what_a_call_carries(void **state)
{
    struct rig r;
    uint64_t out[4];
    rig_start(&r, MIB, reporter);
    assert_non_null(channel_reserve(r.ch, 100));
    channel_submit(r.ch, CHANNEL_CALL, 255, 0x123456789abcdef0, 2, NULL);
    struct channel_answer a = rig_next(&r);
    assert_int_equal(a.len, sizeof out);
    memcpy(out, a.shared, sizeof out);
    assert_int_equal(out[0], CHANNEL_CALL);
    assert_int_equal(out[1], 255);
    assert_true(out[2] == 0x123456789abcdef0);
    assert_int_equal(out[3], 0);
    for (int kind = CHANNEL_CONFIGURE; kind <= CHANNEL_RESTORE; kind++) {
        rig_submit(&r, (enum channel_kind)kind, 5, 0, NULL);
        assert_int_equal(rig_next(&r).kind, CHANNEL_RESULT);
    }
    rig_stop(&r);
}

static void cancelled(void **state)
{
    struct rig r;
    rig_start(&r, MIB, reporter);
    for (unsigned round = 0; round < 300; round++) {
        unsigned running = rig_submit(&r, CHANNEL_HEALTH, 0, 0, (void *)1);
        unsigned waiting = rig_submit(&r, CHANNEL_CALL, 0, 0, (void *)2);
        rig_submit(&r, CHANNEL_CALL, 0, 0, (void *)3);
        channel_ring(r.ch);
        if (round % 8 == 0)
            while (!channel_taken(r.ch, running))
                usleep(100);
        assert_false(channel_taken(r.ch, waiting));
        channel_cancel(r.ch, waiting);
        channel_cancel(r.ch, running);
        struct channel_answer a = rig_next(&r);
        assert_ptr_equal(a.cookie, (void *)1);
        a = rig_next(&r);
        assert_ptr_equal(a.cookie, (void *)2);
        assert_int_equal(a.kind, CHANNEL_FAILURE);
        assert_string_equal((const char *)a.shared, "cancelled");
        a = rig_next(&r); /* the third was not cancelled, though the slots were used before */
        assert_ptr_equal(a.cookie, (void *)3);
        assert_int_equal(a.kind, CHANNEL_RESULT);
        channel_cancel(r.ch, waiting); /* answered: nothing happens */
        assert_true(channel_taken(r.ch, waiting));
    }
    rig_stop(&r);
}

/* Takes five, answers three, dies. */
static void dies(struct port *port)
{
    struct port_request request;
    for (int i = 0; i < 5; i++) {
        if (!port_next(port, &request))
            _exit(7);
        port_take(port);
        if (i == 3) /* as if it ran two at once: taken is a count */
            atomic_store(&port->w2h->taken, port->id + 2);
        if (i == 3)
            break;
        port_room(port, 0);
        port_result(port, 0);
    }
    pause();
}

struct seen {
    unsigned n;
    bool taken[8];
    void *cookie[8];
};

static void see(void *cookie, bool taken, void *context)
{
    struct seen *seen = context;
    assert_true(seen->n < 8);
    seen->taken[seen->n] = taken;
    seen->cookie[seen->n++] = cookie;
}

static void abandoned(void **state)
{
    struct rig r;
    struct seen seen = {0};
    struct channel_answer a;
    rig_start(&r, MIB, dies);
    for (uintptr_t i = 1; i <= 8; i++)
        rig_submit(&r, CHANNEL_CALL, 3, 0, (void *)i);
    for (uintptr_t i = 1; i <= 3; i++)
        assert_ptr_equal(rig_next(&r).cookie, (void *)i);
    while (!channel_taken(r.ch, 4))
        usleep(100);
    rig_kill(&r);
    assert_int_equal(channel_next(r.ch, &a), CHANNEL_EMPTY);
    channel_abandon(r.ch, see, &seen);
    assert_int_equal(seen.n, 5);
    for (uintptr_t i = 0; i < 5; i++) {
        assert_ptr_equal(seen.cookie[i], (void *)(i + 4));
        assert_int_equal(seen.taken[i], i < 2);
    }
    assert_int_equal(channel_in_flight(r.ch), 0);
    assert_int_equal(channel_next(r.ch, &a), CHANNEL_BROKEN);
    assert_null(channel_reserve(r.ch, 1));
    channel_free(r.ch);
}

static void waiting_ends_in_time(void **state)
{
    struct rig r;
    rig_start(&r, MIB, reporter);
    uint64_t before = clock_mono_ns();
    assert_false(channel_wait(r.ch, before + 30 * NS_PER_MS, false));
    assert_true(clock_mono_ns() - before >= 30 * NS_PER_MS);
    assert_false(channel_wait(r.ch, clock_mono_ns() + NS_PER_MS, true));
    while (!channel_worker_sleeps(r.ch))
        usleep(100);
    rig_stop(&r);
}

static void spinning(void **state)
{
    struct rig r;
    rig_start(&r, MIB, rig_echo);
    channel_place(r.ch, r.pid);
    channel_allow_spin(r.ch, true);
    for (unsigned i = 0; i < 3000; i++) {
        rig_submit(&r, CHANNEL_CALL, 64, i, NULL);
        channel_ring(r.ch);
        assert_true(channel_wait(r.ch, 0, true));
        struct channel_answer a;
        assert_int_equal(channel_next(r.ch, &a), CHANNEL_GOT);
        assert_true(rig_same(a.shared, 64, i));
        if (i == 1500)
            channel_allow_spin(r.ch, false);
        if (i == 2000)
            channel_allow_spin(r.ch, true);
        if (i % 1000 == 999)
            usleep(5000); /* it sleeps although it may spin, and is woken */
    }
    channel_unpin(r.ch);
    channel_place(r.ch, 0);
    rig_stop(&r);
}

/* Each sleep of the worker is rung once.  A ring for new work reaches a worker that sleeps for want of room: it must
 * not use that sleep up, or the room that comes later would wake nobody. */
static void work_rings_while_room_is_wanted(void **state)
{
    struct rig r;
    uint64_t random = rig_seed();
    rig_start(&r, MIB, rig_echo);
    rig_apart(&r);
    for (unsigned i = 0; i < 8000; i++) {
        struct channel_answer a = {0};
        uint64_t end = clock_mono_ns() + 10 * NS_PER_S;
        unsigned got = 0, sent = 0;
        for (unsigned n = 0; n < 2; n++)
            rig_submit(&r, CHANNEL_CALL, CHANNEL_INLINE_MAX + 1, i + sent++, NULL);
        channel_ring(r.ch);
        while (got < 4) {
            enum channel_got now = channel_next(r.ch, &a);
            assert_true(now != CHANNEL_BROKEN && clock_mono_ns() < end);
            if (now != CHANNEL_GOT)
                continue;
            assert_true(rig_same(a.shared, 16, i + got++));
            if (got > 1)
                continue;
            /* The first answer is not given back yet: with two more large ones the worker runs out of slots, now or
             * while this is written. */
            rig_submit(&r, CHANNEL_CALL, CHANNEL_INLINE_MAX + 1, i + sent++, NULL);
            channel_ring(r.ch);
            for (uint64_t until = clock_mono_ns() + rig_random(&random) % 8000; clock_mono_ns() < until;)
                ;
            rig_submit(&r, CHANNEL_CALL, 20, i + sent++, NULL);
            channel_ring(r.ch);
        }
    }
    rig_together();
    rig_stop(&r);
}

/* A worker that waits for work is not woken by room that comes back: that would cost two switches a call. */
static void room_wakes_nobody_who_wants_work(void **state)
{
    struct rig r;
    rig_start(&r, MIB, rig_echo);
    for (unsigned i = 0; i < 20; i++) {
        struct channel_answer a;
        rig_submit(&r, CHANNEL_CALL, 20, i, NULL);
        rig_next(&r);
        while (!channel_worker_sleeps(r.ch))
            usleep(50);
        uint32_t bell = atomic_load(&r.ch->h2w->bell);
        assert_int_equal(channel_next(r.ch, &a), CHANNEL_EMPTY); /* gives the answer's room back */
        channel_ring(r.ch);
        assert_int_equal(atomic_load(&r.ch->h2w->bell), bell);
    }
    rig_stop(&r);
}

/* As an event loop does it: arm, epoll with the bell edge-triggered and never read, disarm, drain. */
static void loop_waits(void **state)
{
    struct rig r;
    rig_start(&r, MIB, rig_echo);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, channel_fd(r.ch), &ev), 0);
    unsigned sent = 0, got = 0, sleeps = 0;
    while (got < 20000) {
        for (unsigned batch = sent % 7; batch-- && channel_in_flight(r.ch) < 20;)
            rig_submit(&r, CHANNEL_CALL, 40, sent++, NULL);
        if (!channel_in_flight(r.ch))
            rig_submit(&r, CHANNEL_CALL, 40, sent++, NULL);
        channel_ring(r.ch);
        if (channel_arm(r.ch)) {
            sleeps++;
            assert_int_equal(epoll_wait(ep, &ev, 1, 10000), 1);
            channel_rang(r.ch);
        }
        channel_disarm(r.ch);
        struct channel_answer a;
        while (channel_next(r.ch, &a) == CHANNEL_GOT)
            assert_true(rig_same(a.shared, 40, got++));
        assert_null(channel_broken_why(r.ch));
    }
    assert_true(sleeps > 0);
    close(ep);
    rig_stop(&r);
}

/* What the kernel refuses to whoever holds the worker's descriptors. */
static void pages_are_protected(void **state)
{
    struct rig r;
    rig_alone(&r, MIB);
    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r.h2w, 0), MAP_FAILED);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, r.h2w, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    assert_int_equal(mprotect(page, 4096, PROT_READ | PROT_WRITE), -1);
    munmap(page, 4096);
    assert_int_equal(pwrite(r.h2w, "x", 1, 0), -1);
    assert_int_equal(ftruncate(r.h2w, 0), -1);
    assert_int_equal(fallocate(r.h2w, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    /* Opened anew for writing it is still sealed. */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", r.h2w);
    int again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0) {
        assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0), MAP_FAILED);
        assert_int_equal(pwrite(again, "x", 1, 0), -1);
        assert_int_equal(ftruncate(again, 0), -1);
        assert_int_equal(fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
        close(again);
    }
    assert_int_equal(fcntl(r.h2w, F_ADD_SEALS, F_SEAL_WRITE), -1);
    const int h2w = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | 0x10, w2h = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    assert_int_equal(fcntl(r.h2w, F_GET_SEALS) & h2w, h2w);
    assert_int_equal(fcntl(r.w2h, F_GET_SEALS) & w2h, w2h);
    assert_int_equal(ftruncate(r.w2h, 4096), -1);
    assert_int_equal(ftruncate(r.w2h, 64 * (off_t)MIB), -1);
    r.pid = 0;
    rig_stop(&r);
}

static void port_closes_its_descriptors(void **state)
{
    struct rig r;
    struct port port;
    rig_alone(&r, MIB);
    assert_true(port_open(&port, r.h2w, r.w2h, r.bell));
    assert_int_equal(fcntl(r.h2w, F_GETFD), -1);
    assert_int_equal(fcntl(r.w2h, F_GETFD), -1);
    assert_true(fcntl(r.bell, F_GETFD) >= 0);
    assert_int_equal(mprotect(port.in.base, LAYOUT_PAGE, PROT_READ | PROT_WRITE), -1); /* nor is what it mapped */
    assert_int_equal(mprotect(port.in.base + 2 * LAYOUT_RING, LAYOUT_PAGE, PROT_READ | PROT_WRITE), -1);
    close(r.bell);
    channel_free(r.ch);
    int other = memfd_create("other", 0), second = memfd_create("other", 0);
    assert_int_equal(ftruncate(other, 1 << 20), 0);
    assert_false(port_open(&port, other, second, -1)); /* not a channel */
    int empty = memfd_create("empty", 0);
    second = memfd_create("empty", 0);
    assert_false(port_open(&port, empty, second, -1)); /* and nothing of it is read */
}

static void start_file(void **state)
{
    struct error err;
    struct start in = {.plugin = "echo",
                       .version = "1.2.3",
                       .actions = {"one", "two"},
                       .nactions = 2,
                       .config = "{\"a\":1}",
                       .config_len = 7,
                       .payload_max = 123},
                 out;
    int fd = -1;
    assert_int_equal(start_write(&in, &fd, &err), 0);
    assert_true(start_read(fd, &out));
    assert_string_equal(out.plugin, "echo");
    assert_string_equal(out.version, "1.2.3");
    assert_int_equal(out.nactions, 2);
    assert_string_equal(out.actions[1], "two");
    assert_int_equal(out.config_len, 7);
    assert_string_equal(out.config, "{\"a\":1}");
    assert_int_equal(out.payload_max, 123);

    uint8_t bytes[512];
    ssize_t len = pread(fd, bytes, sizeof bytes, 0);
    assert_true(len > 0 && len < (ssize_t)sizeof bytes);
    close(fd);
    /* Every cut, and one byte too many, is refused. */
    for (ssize_t cut = 0; cut <= len + 1; cut++) {
        fd = memfd_create("cut", 0);
        assert_int_equal(write(fd, bytes, (size_t)cut), cut);
        if (cut != len)
            assert_false(start_read(fd, &out));
        close(fd);
    }
    /* No flipped byte leads outside the file: whatever is accepted can be read (run under a sanitizer). */
    for (ssize_t i = 0; i < len; i++) {
        fd = memfd_create("flip", 0);
        uint8_t kept = bytes[i];
        bytes[i] ^= 0xff;
        assert_int_equal(write(fd, bytes, (size_t)len), len);
        if (start_read(fd, &out))
            assert_true(strlen(out.config) <= out.config_len && strlen(out.plugin) < 512);
        bytes[i] = kept;
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size),
        cmocka_unit_test(largest_channel),
        cmocka_unit_test(padding_is_ours),
        cmocka_unit_test(window_full),
        cmocka_unit_test(ring_and_large_slots_full),
        cmocka_unit_test(worker_waits_for_room),
        cmocka_unit_test(logs_progress_failures),
        cmocka_unit_test(what_a_call_carries),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(abandoned),
        cmocka_unit_test(waiting_ends_in_time),
        cmocka_unit_test(spinning),
        cmocka_unit_test(work_rings_while_room_is_wanted),
        cmocka_unit_test(room_wakes_nobody_who_wants_work),
        cmocka_unit_test(loop_waits),
        cmocka_unit_test(pages_are_protected),
        cmocka_unit_test(port_closes_its_descriptors),
        cmocka_unit_test(start_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
