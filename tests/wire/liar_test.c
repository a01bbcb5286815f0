/* A worker that lies in every field it can write.  The host neither crashes nor believes it, and says so once and for
 * ever; a channel beside it is unaffected.  The test writes W2H itself, as a hostile plugin would. */
#include "rig.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/channel_private.h"

#define MAX ((size_t)1 << 20)

struct liar {
    struct rig r;
    struct port port; /* an honest one, in this process: what it shares with the host is only the two files */
    uint64_t at;      /* where the next record goes */
};

static void liar_begin(struct liar *l)
{
    rig_alone(&l->r, MAX);
    assert_true(port_open(&l->port, l->r.h2w, l->r.w2h, l->r.bell));
    l->r.h2w = l->r.w2h = -1;
    l->at = 0;
}

static void liar_end(struct liar *l)
{
    munmap(l->port.in.base, l->port.in.size);
    munmap(l->port.out.base, l->port.out.size);
    close(l->r.bell);
    channel_free(l->r.ch);
}

static uint64_t liar_call(struct liar *l, enum channel_kind kind)
{
    struct port_request request;
    rig_submit(&l->r, kind, 10, 1, l);
    assert_true(port_next(&l->port, &request));
    l->port.read = l->port.read_end;
    return l->port.id;
}

static void liar_say(struct liar *l, struct header h, size_t size)
{
    layout_publish(&l->port.out, l->at, size, &h);
    l->at += size;
}

static void assert_broken(struct liar *l)
{
    struct channel_answer a;
    assert_int_equal(channel_next(l->r.ch, &a), CHANNEL_BROKEN);
    const char *why = channel_broken_why(l->r.ch);
    assert_non_null(why);
    assert_int_equal(channel_next(l->r.ch, &a), CHANNEL_BROKEN);
    assert_ptr_equal(channel_broken_why(l->r.ch), why);
    assert_null(channel_reserve(l->r.ch, 1));
    assert_true(channel_wait(l->r.ch, 0, false)); /* nobody sleeps on a broken channel */
    assert_false(channel_arm(l->r.ch));
}

/* One lie on a fresh channel with one call of that kind in flight. */
static void lie(enum channel_kind asked, struct header h, bool own_id)
{
    struct liar l;
    liar_begin(&l);
    uint64_t id = liar_call(&l, asked);
    if (own_id)
        h.id = id;
    liar_say(&l, h, 64);
    assert_broken(&l);
    assert_int_equal(channel_in_flight(l.r.ch), 1); /* the call is still the host's to give away */
    liar_end(&l);
}

static void every_field(void **state)
{
    for (unsigned kind = 0; kind < 256; kind++)
        if (kind < CHANNEL_RESULT || kind > CHANNEL_ASK)
            lie(CHANNEL_CALL, (struct header){.kind = (uint8_t)kind}, true);
    for (unsigned flags = 1; flags < 256; flags++)
        for (unsigned kind = CHANNEL_RESULT; kind <= CHANNEL_ASK; kind++)
            if ((kind != CHANNEL_RESULT || (flags != 1 && flags != 3)) && (kind != CHANNEL_ASK || flags != 1))
                lie(CHANNEL_CALL, (struct header){.kind = (uint8_t)kind, .flags = (uint8_t)flags}, true);
    const uint32_t lengths[] = {CHANNEL_INLINE_MAX + 1, LAYOUT_RING, MAX, MAX + 1, 0x7fffffff, 0x80000000, 0xffffffff};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (unsigned kind = CHANNEL_RESULT; kind <= CHANNEL_ASK; kind++)
            lie(CHANNEL_CALL, (struct header){.kind = (uint8_t)kind, .len = lengths[i]}, true);
    for (unsigned kind = CHANNEL_FAILURE; kind <= CHANNEL_PROGRESS; kind++)
        lie(CHANNEL_CALL, (struct header){.kind = (uint8_t)kind, .len = LAYOUT_SMALL + 1}, true);
    lie(CHANNEL_CALL, (struct header){.kind = CHANNEL_RESULT, .flags = 1, .len = MAX + 1}, true);
    lie(CHANNEL_CALL, (struct header){.kind = CHANNEL_RESULT, .flags = 3, .len = 0xffffffff}, true);
    lie(CHANNEL_CALL, (struct header){.kind = CHANNEL_ASK, .flags = 1, .len = MAX + CHANNEL_ASK_EXTRA + 1}, true);
    lie(CHANNEL_HEALTH, (struct header){.kind = CHANNEL_RESULT, .len = 1}, true);
    lie(CHANNEL_SHUTDOWN, (struct header){.kind = CHANNEL_RESULT, .flags = 1, .len = 5}, true);
}

static void every_wrong_id(void **state)
{
    const uint64_t ids[] = {0, /* only a log line may belong to no call */
                            1,
                            255,
                            CHANNEL_FIRST_ID - 1,
                            CHANNEL_FIRST_ID + 1,
                            2 * CHANNEL_FIRST_ID,
                            CHANNEL_FIRST_ID | (uint64_t)1 << 32,
                            CHANNEL_FIRST_ID | (uint64_t)1 << 63,
                            UINT64_MAX};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        for (unsigned kind = CHANNEL_RESULT; kind <= CHANNEL_ASK; kind++)
            if (ids[i] || kind != CHANNEL_LOG)
                lie(CHANNEL_CALL, (struct header){.kind = (uint8_t)kind, .id = ids[i]}, false);
}

/* Answers that were right once: twice, out of order, with nothing asked, after the end. */
static void right_at_the_wrong_time(void **state)
{
    struct liar l;
    struct channel_answer a;
    liar_begin(&l);
    uint64_t id = liar_call(&l, CHANNEL_CALL);
    liar_say(&l, (struct header){.kind = CHANNEL_RESULT, .id = id}, 64);
    liar_say(&l, (struct header){.kind = CHANNEL_RESULT, .id = id}, 64);
    assert_int_equal(channel_next(l.r.ch, &a), CHANNEL_GOT);
    assert_broken(&l);
    liar_end(&l);

    liar_begin(&l);
    liar_call(&l, CHANNEL_CALL);
    uint64_t second = liar_call(&l, CHANNEL_CALL);
    liar_say(&l, (struct header){.kind = CHANNEL_RESULT, .id = second}, 64);
    assert_broken(&l);
    assert_int_equal(channel_in_flight(l.r.ch), 2);
    liar_end(&l);

    liar_begin(&l);
    liar_say(&l, (struct header){.kind = CHANNEL_RESULT, .id = CHANNEL_FIRST_ID}, 64);
    assert_broken(&l);
    liar_end(&l);

    /* The answer of an earlier call in the same slot. */
    liar_begin(&l);
    uint64_t first = liar_call(&l, CHANNEL_CALL);
    liar_say(&l, (struct header){.kind = CHANNEL_RESULT, .id = first}, 64);
    assert_int_equal(channel_next(l.r.ch, &a), CHANNEL_GOT);
    for (unsigned i = 1; i < CHANNEL_WINDOW; i++) {
        liar_say(&l, (struct header){.kind = CHANNEL_RESULT, .id = liar_call(&l, CHANNEL_CALL)}, 64);
        assert_int_equal(channel_next(l.r.ch, &a), CHANNEL_GOT);
    }
    id = liar_call(&l, CHANNEL_CALL);
    assert_int_equal(CHANNEL_SLOT(id), CHANNEL_SLOT(first));
    liar_say(&l, (struct header){.kind = CHANNEL_RESULT, .id = first}, 64);
    assert_broken(&l);
    liar_end(&l);
}

/* Who asks says nothing until it was answered, and asks only while it runs a call. */
static void asks_out_of_turn(void **state)
{
    struct liar l;
    struct channel_answer a;
    for (unsigned kind = CHANNEL_RESULT; kind <= CHANNEL_ASK; kind++) {
        liar_begin(&l);
        uint64_t id = liar_call(&l, CHANNEL_CALL);
        liar_say(&l, (struct header){.kind = CHANNEL_ASK, .id = id, .status = 9}, 64);
        liar_say(&l, (struct header){.kind = (uint8_t)kind, .id = id}, 64);
        assert_int_equal(channel_next(l.r.ch, &a), CHANNEL_GOT);
        assert_int_equal(a.kind, CHANNEL_ASK);
        assert_int_equal(a.status, 9);
        assert_ptr_equal(a.cookie, &l);
        assert_broken(&l);
        channel_reply(l.r.ch, true, "late", 4, false); /* nobody hears it, and nothing breaks */
        liar_end(&l);
    }
    const enum channel_kind no_call[] = {CHANNEL_HEALTH, CHANNEL_CONFIGURE, CHANNEL_SHUTDOWN, CHANNEL_SAVE,
                                         CHANNEL_RESTORE};
    for (size_t i = 0; i < sizeof no_call / sizeof *no_call; i++)
        lie(no_call[i], (struct header){.kind = CHANNEL_ASK}, true);

    liar_begin(&l);
    uint64_t id = liar_call(&l, CHANNEL_CALL);
    for (unsigned i = 0; i < 1000; i++) { /* once it was answered it may ask again, however often */
        liar_say(&l, (struct header){.kind = CHANNEL_ASK, .id = id, .len = 5}, 64);
        assert_int_equal(channel_next(l.r.ch, &a), CHANNEL_GOT);
        channel_release(l.r.ch);
        channel_reply(l.r.ch, i % 2, "answer", 6, false);
        assert_int_equal(atomic_load(&l.port.h2w->replies), i + 1);
    }
    liar_say(&l, (struct header){.kind = CHANNEL_RESULT, .id = id}, 64);
    assert_int_equal(channel_next(l.r.ch, &a), CHANNEL_GOT);
    liar_say(&l, (struct header){.kind = CHANNEL_ASK, .id = id}, 64); /* its call is over */
    assert_broken(&l);
    liar_end(&l);
}

struct count {
    unsigned all, taken;
};

static void count(void *cookie, bool taken, void *context)
{
    struct count *c = context;
    c->all++;
    c->taken += taken;
}

/* Progress beyond what was sent, or backwards, is a lie: then every call counts as begun. */
static void progress_lies(void **state)
{
    const struct {
        uint64_t first, then;
        unsigned taken;
    } table[] = {
        {CHANNEL_FIRST_ID, CHANNEL_FIRST_ID, 0},
        {CHANNEL_FIRST_ID, CHANNEL_FIRST_ID + 2, 2},
        {CHANNEL_FIRST_ID + 1, CHANNEL_FIRST_ID + 3, 3},
        {CHANNEL_FIRST_ID, CHANNEL_FIRST_ID + 4, 3}, /* beyond the host's head: a lie */
        {CHANNEL_FIRST_ID + 2, CHANNEL_FIRST_ID + 1, 3},
        {CHANNEL_FIRST_ID + 2, 0, 3},
        {CHANNEL_FIRST_ID, 5, 3},
        {CHANNEL_FIRST_ID, UINT64_MAX, 3},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct liar l;
        struct count c = {0};
        liar_begin(&l);
        unsigned slot = rig_submit(&l.r, CHANNEL_CALL, 4, 1, NULL);
        rig_submit(&l.r, CHANNEL_CALL, 4, 1, NULL);
        rig_submit(&l.r, CHANNEL_CALL, 4, 1, NULL);
        atomic_store(&l.port.w2h->taken, table[i].first);
        channel_taken(l.r.ch, slot);
        atomic_store(&l.port.w2h->taken, table[i].then);
        bool lied = table[i].then < table[i].first || table[i].then > CHANNEL_FIRST_ID + 3;
        channel_taken(l.r.ch, slot);
        assert_int_equal(channel_broken_why(l.r.ch) != NULL, lied);
        channel_abandon(l.r.ch, count, &c);
        assert_int_equal(c.all, 3);
        assert_int_equal(c.taken, table[i].taken);
        liar_end(&l);
    }
}

/* A thread flips one word of the record between two values while the host reads: it gets one of them, whole. */
struct flipper {
    _Atomic uint64_t *word;
    uint64_t a, b;
    _Atomic bool stop;
};

static void *flip(void *arg)
{
    struct flipper *f = arg;
    while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
        atomic_store_explicit(f->word, f->a, memory_order_relaxed);
        atomic_store_explicit(f->word, f->b, memory_order_relaxed);
    }
    return NULL;
}

static void changes_while_it_is_read(void **state)
{
    struct header small = {.kind = CHANNEL_RESULT, .len = 7}, huge = {.kind = CHANNEL_RESULT, .len = 0xfffffff0};
    unsigned got = 0, broken = 0;
    for (unsigned round = 0; round < 400; round++) {
        struct liar l;
        pthread_t thread;
        struct channel_answer a;
        liar_begin(&l);
        small.id = huge.id = liar_call(&l, CHANNEL_CALL);
        liar_say(&l, small, 64);
        struct flipper f = {
            .word = &layout_record(&l.port.out, 0)->word[2], .a = layout_pack(&small), .b = layout_pack(&huge)};
        assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
        if (round % 2)
            sched_yield();
        for (volatile unsigned i = 0; i < round * 50; i++)
            ;
        if (channel_next(l.r.ch, &a) == CHANNEL_GOT) {
            assert_int_equal(a.len, 7); /* never the other one, never a mixture, however it goes on flipping */
            assert_ptr_equal(a.cookie, &l);
            got++;
        } else {
            broken++;
        }
        channel_release(l.r.ch);
        atomic_store(&f.stop, true);
        pthread_join(thread, NULL);
        liar_end(&l);
    }
    print_message("# taken %u, refused %u\n", got, broken);
    assert_int_equal(got + broken, 400);
}

static void log_floods(void **state)
{
    struct liar l;
    struct channel_answer a;
    liar_begin(&l);
    enum channel_got got = CHANNEL_GOT;
    unsigned lines = 0;
    uint64_t id = liar_call(&l, CHANNEL_CALL);
    while (got == CHANNEL_GOT && lines < 100000) {
        liar_say(&l, (struct header){.kind = lines % 2 ? CHANNEL_LOG : CHANNEL_PROGRESS, .id = id, .len = 9}, 64);
        got = channel_next(l.r.ch, &a);
        lines += got == CHANNEL_GOT;
    }
    assert_int_equal(got, CHANNEL_BROKEN);
    assert_true(lines < 5000);
    assert_broken(&l);
    liar_end(&l);
}

/* Bells without answers: to a blocking owner and to a loop. */
struct storm {
    struct liar *l;
    _Atomic bool stop;
};

static void *storm(void *arg)
{
    struct storm *s = arg;
    while (!atomic_load(&s->stop)) {
        atomic_fetch_add(&s->l->port.w2h->bell, 1);
        layout_futex_wake(&s->l->port.w2h->bell, 1);
    }
    return NULL;
}

static void wake_storms(void **state)
{
    struct liar l;
    pthread_t thread;
    liar_begin(&l);
    liar_call(&l, CHANNEL_CALL);
    struct storm s = {.l = &l};
    pthread_create(&thread, NULL, storm, &s);
    assert_true(channel_wait(l.r.ch, clock_mono_ns() + 60 * NS_PER_S, false));
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    assert_broken(&l);
    liar_end(&l);

    liar_begin(&l);
    liar_call(&l, CHANNEL_CALL);
    unsigned rings = 0;
    while (!channel_broken_why(l.r.ch) && rings < 100000) {
        assert_int_equal(eventfd_write(l.r.bell, 1), 0);
        channel_rang(l.r.ch);
        rings++;
    }
    assert_true(rings > 10 && rings < 1000);
    assert_broken(&l);
    liar_end(&l);
}

/* A log line now and then, fewer than a flood, does not buy any number of rings. */
static void wake_storms_with_something_to_say(void **state)
{
    struct liar l;
    struct channel_answer a;
    liar_begin(&l);
    liar_call(&l, CHANNEL_CALL);
    unsigned rings = 0;
    while (!channel_broken_why(l.r.ch) && rings < 100000) {
        if (rings++ % 200 == 0)
            liar_say(&l, (struct header){.kind = CHANNEL_LOG, .len = 9}, 64);
        channel_rang(l.r.ch);
        channel_next(l.r.ch, &a);
    }
    assert_true(rings > 10 && rings < 1000);
    assert_broken(&l);
    liar_end(&l);
}

/* A sleep epoch that flickers costs at most a wake per batch and never blocks. */
static void epoch_lies(void **state)
{
    struct liar l;
    struct channel_answer a;
    uint64_t random = rig_seed();
    liar_begin(&l);
    for (unsigned i = 0; i < 2000; i++) {
        atomic_store(&l.port.w2h->worker_sleep, (uint32_t)rig_random(&random));
        uint64_t id = liar_call(&l, CHANNEL_CALL);
        channel_ring(l.r.ch);
        liar_say(&l, (struct header){.kind = CHANNEL_RESULT, .id = id, .len = 3}, 64);
        assert_int_equal(channel_next(l.r.ch, &a), CHANNEL_GOT);
    }
    liar_end(&l);
}

/* W2H full of noise: whatever comes out lies inside the mapping, and another channel goes on working. */
static void noise(void **state)
{
    struct rig other;
    uint64_t random = rig_seed();
    rig_start(&other, MAX, rig_echo);
    for (unsigned round = 0; round < 300; round++) {
        struct liar l;
        struct channel_answer a;
        liar_begin(&l);
        liar_call(&l, round % 2 ? CHANNEL_CALL : CHANNEL_HEALTH);
        for (unsigned i = 0; i < LAYOUT_RING / LAYOUT_ALIGN; i++) {
            struct record *r = layout_record(&l.port.out, i * LAYOUT_ALIGN);
            for (unsigned w = 0; w < 4; w++) {
                uint64_t noise = rig_random(&random);
                if (w == 0 && noise % 4)
                    noise = i + 1;
                if (w == 1 && noise % 2)
                    noise = CHANNEL_FIRST_ID + noise % 3;
                if (w == 2 && noise % 8)
                    noise = noise % 70 | (32 + noise % 5) << 32;
                atomic_store(&r->word[w], noise);
            }
        }
        unsigned got = 0;
        while (channel_next(l.r.ch, &a) == CHANNEL_GOT) {
            const uint8_t *end = l.r.ch->in.base + l.r.ch->in.size;
            assert_true(a.shared >= l.r.ch->in.base && a.shared + a.len <= end);
            volatile uint8_t sum = 0;
            for (size_t i = 0; i < a.len; i++)
                sum = (uint8_t)(sum + a.shared[i]);
            assert_true(++got < 2000);
        }
        liar_end(&l);
        rig_submit(&other, CHANNEL_CALL, 100, round, &other);
        struct channel_answer fine = rig_next(&other);
        assert_ptr_equal(fine.cookie, &other);
        assert_true(rig_same(fine.shared, 100, round));
    }
    rig_stop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field),
        cmocka_unit_test(every_wrong_id),
        cmocka_unit_test(progress_lies),
        cmocka_unit_test(right_at_the_wrong_time),
        cmocka_unit_test(asks_out_of_turn),
        cmocka_unit_test(log_floods),
        cmocka_unit_test(changes_while_it_is_read),
        cmocka_unit_test(wake_storms),
        cmocka_unit_test(wake_storms_with_something_to_say),
        cmocka_unit_test(epoch_lies),
        cmocka_unit_test(noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
