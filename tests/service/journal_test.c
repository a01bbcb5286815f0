/* The memory of what plugins said: bounded in bytes, in order, waited for. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "service/journal.h"

static struct journal *opened(uint64_t bytes)
{
    struct journal *j = NULL;
    struct error err;
    assert_int_equal(journal_open(bytes, &j, &err), 0);
    return j;
}

static void add(struct journal *j, const char *plugin, const char *text)
{
    journal_add(j, &(struct loader_line){.plugin = plugin, .text = text, .level = 1, .pid = 7});
}

static uint64_t of_page(struct journal *j, uint64_t from, size_t max, uint64_t *last)
{
    struct record *list[64];
    size_t n = journal_take(j, from, UINT64_MAX, list, max);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(list[i]->seq, list[0]->seq + i);
        *last = list[i]->seq;
    }
    for (size_t i = 0; i < n; i++)
        record_unref(list[i]);
    return n;
}

static void records_keep_what_they_were_given(void **state)
{
    struct journal *j = opened(64 << 10);
    struct record *r;
    char text[] = "a text";
    journal_add(j, &(struct loader_line){.source = LINE_HOST,
                                         .level = 2,
                                         .plugin = "alpha",
                                         .version = "1.0.0",
                                         .action = "run",
                                         .call = "c",
                                         .trace = "t",
                                         .pid = 9,
                                         .text = text,
                                         .dropped = 3});
    memset(text, 'x', sizeof text - 1); /* it is a copy */
    assert_int_equal(journal_take(j, 1, 1, &r, 1), 1);
    assert_string_equal(r->text, "a text");
    assert_string_equal(r->plugin, "alpha");
    assert_string_equal(r->version, "1.0.0");
    assert_string_equal(r->action, "run");
    assert_string_equal(r->call, "c");
    assert_string_equal(r->trace, "t");
    assert_int_equal(r->source, LINE_HOST);
    assert_int_equal(r->pid, 9);
    assert_int_equal(r->dropped, 3);
    journal_close(j); /* who has a reference keeps it */
    assert_string_equal(r->text, "a text");
    record_unref(r);
}

static void the_oldest_leave_first(void **state)
{
    enum { BYTES = 64 << 10 };
    struct journal *j = opened(BYTES);
    char text[1200];
    uint64_t last = 0;
    memset(text, 'x', sizeof text);
    text[1000] = '\0';
    for (int i = 0; i < 1000; i++)
        add(j, "alpha", text);
    struct journal_span span = journal_span(j);
    assert_int_equal(span.newest, 1000);
    uint64_t kept = span.newest - span.oldest + 1;
    assert_in_range(kept, BYTES / 1300, BYTES / 1000);
    assert_int_equal(of_page(j, 1, 10, &last), 10); /* from the oldest that is there */
    assert_int_equal(last, span.oldest + 9);
    assert_int_equal(of_page(j, span.newest, 64, &last), 1);
    assert_int_equal(of_page(j, span.newest + 1, 64, &last), 0);
    /* Small ones are more, and no more than fit. */
    for (int i = 0; i < 5000; i++)
        add(j, "b", "");
    span = journal_span(j);
    assert_in_range(span.newest - span.oldest + 1, kept + 1, BYTES / 256);
    journal_close(j);
}

static void its_room_can_change_while_it_is_read(void **state)
{
    struct journal *j = opened(64 << 10);
    uint64_t last = 0;
    for (int i = 0; i < 200; i++)
        add(j, "alpha", "");
    assert_true(journal_limit(j, 8 << 10)); /* the oldest leave, numbers stay */
    struct journal_span span = journal_span(j);
    assert_int_equal(span.newest, 200);
    assert_int_equal(span.newest - span.oldest + 1, (8 << 10) / 256);
    assert_int_equal(of_page(j, 1, 64, &last), (8 << 10) / 256);
    assert_int_equal(last, 200);
    assert_true(journal_limit(j, 1 << 20));
    for (int i = 0; i < 2000; i++)
        add(j, "alpha", "");
    assert_int_equal(journal_span(j).oldest, span.oldest);
    assert_int_equal(of_page(j, span.oldest, 64, &last), 64);
    assert_int_equal(last, span.oldest + 63);
    journal_close(j);
}

static void a_line_larger_than_all_is_lost(void **state)
{
    struct journal *j = opened(64 << 10);
    char *text = calloc(1, 100000);
    memset(text, 'x', 99999);
    add(j, "alpha", "kept");
    add(j, "alpha", text);
    struct journal_span span = journal_span(j);
    assert_int_equal(span.oldest, 1);
    assert_int_equal(span.newest, 1);
    free(text);
    journal_close(j);
}

/* ---- waiting ---- */

struct woken {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int times;
    const char *plugin;
    uint64_t seen;
};

static bool of_plugin(const void *context, const struct record *r)
{
    const struct woken *w = context;
    return strcmp(r->plugin, w->plugin) == 0;
}

static void wake(void *context, uint64_t seen)
{
    struct woken *w = context;
    pthread_mutex_lock(&w->lock);
    w->seen = seen;
    w->times++;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

#define WOKEN(name) ((struct woken){PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, name, 0})

static enum journal_waits begin(struct journal *j, struct woken *w, uint64_t after, uint64_t ns)
{
    return journal_wait(
        j, &(struct journal_waiter){
               .after = after, .until = clock_mono_ns() + ns, .fits = of_plugin, .wake = wake, .context = w});
}

static void wait_woken(struct woken *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->times)
        pthread_cond_wait(&w->cond, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

static void who_waits_is_woken_once_by_what_fits(void **state)
{
    struct journal *j = opened(64 << 10);
    struct woken a = WOKEN("alpha"), b = WOKEN("beta");
    assert_int_equal(begin(j, &a, 0, 60 * NS_PER_S), JOURNAL_WAITS);
    assert_int_equal(begin(j, &b, 0, 60 * NS_PER_S), JOURNAL_WAITS);
    add(j, "beta", "one");
    add(j, "beta", "two");
    wait_woken(&b);
    assert_int_equal(begin(j, &b, 1, 60 * NS_PER_S), JOURNAL_MOVED); /* two is there already */
    assert_int_equal(a.times, 0);
    add(j, "alpha", "three");
    wait_woken(&a);
    journal_close(j);
    assert_int_equal(a.times, 1);
    assert_int_equal(b.times, 1);
}

static void waiting_ends_by_time_and_for_good(void **state)
{
    struct journal *j = opened(64 << 10);
    struct woken a = WOKEN("alpha"), b = WOKEN("beta");
    uint64_t from = clock_mono_ns();
    assert_int_equal(begin(j, &b, 0, 60 * NS_PER_S), JOURNAL_WAITS);
    assert_int_equal(begin(j, &a, 0, 30 * NS_PER_MS), JOURNAL_WAITS);
    wait_woken(&a);
    assert_true(clock_mono_ns() - from >= 30 * NS_PER_MS);
    assert_int_equal(b.times, 0);
    journal_end_waits(j);
    wait_woken(&b);
    assert_int_equal(begin(j, &a, 0, 60 * NS_PER_S), JOURNAL_ENDS);
    journal_close(j);
    assert_int_equal(a.times, 1);
    assert_int_equal(b.times, 1);
}

/* Who waits for what fits learns how far was looked, so that it misses nothing of what left meanwhile. */
static void who_waits_is_told_how_far_was_looked(void **state)
{
    struct journal *j = opened(64 << 10);
    struct woken a = WOKEN("alpha"), b = WOKEN("beta");
    assert_int_equal(begin(j, &a, 0, 60 * NS_PER_S), JOURNAL_WAITS);
    for (uint64_t i = 1; i <= 1000; i++) { /* far more than are kept, each looked at before the next */
        b.times = 0;
        assert_int_equal(begin(j, &b, i - 1, 60 * NS_PER_S), JOURNAL_WAITS);
        add(j, "beta", "");
        wait_woken(&b);
    }
    assert_true(journal_span(j).oldest > 2);
    add(j, "alpha", "");
    wait_woken(&a);
    assert_int_equal(a.seen, 1000);
    journal_close(j);
}

static void who_leaves_is_not_woken(void **state)
{
    struct journal *j = opened(64 << 10);
    struct woken a = WOKEN("alpha"), b = WOKEN("alpha");
    assert_int_equal(begin(j, &a, 0, 60 * NS_PER_S), JOURNAL_WAITS);
    assert_int_equal(begin(j, &b, 0, 60 * NS_PER_S), JOURNAL_WAITS);
    assert_true(journal_unwait(j, &a));
    assert_false(journal_unwait(j, &a));
    add(j, "alpha", "one");
    wait_woken(&b);
    assert_false(journal_unwait(j, &b));
    journal_close(j);
    assert_int_equal(a.times, 0);
    assert_int_equal(b.times, 1);
}

static void a_seat_is_never_crowded_out(void **state)
{
    struct journal *j = opened(64 << 10);
    struct woken a = WOKEN("alpha"), b = WOKEN("alpha");
    for (int i = 0; i < JOURNAL_SEATS; i++)
        assert_true(journal_sit(j));
    assert_false(journal_sit(j));
    journal_stand(j);
    assert_true(journal_sit(j));
    for (int i = 0; i < JOURNAL_WAITERS; i++)
        assert_int_equal(begin(j, &a, 0, 60 * NS_PER_S), JOURNAL_WAITS);
    struct journal_waiter w = {.until = UINT64_MAX, .fits = of_plugin, .wake = wake, .context = &b, .seated = true};
    for (int i = 0; i < JOURNAL_SEATS; i++)
        assert_int_equal(journal_wait(j, &w), JOURNAL_WAITS);
    assert_true(journal_unwait(j, &b)); /* whose room is another seat's, and nobody else's */
    assert_int_equal(begin(j, &a, 0, 60 * NS_PER_S), JOURNAL_CROWDED);
    assert_int_equal(journal_wait(j, &w), JOURNAL_WAITS);
    journal_close(j);
    assert_int_equal(b.times, JOURNAL_SEATS);
}

static void only_so_many_wait(void **state)
{
    struct journal *j = opened(64 << 10);
    struct woken a = WOKEN("alpha");
    for (int i = 0; i < JOURNAL_WAITERS; i++)
        assert_int_equal(begin(j, &a, 0, 60 * NS_PER_S), JOURNAL_WAITS);
    assert_int_equal(begin(j, &a, 0, 60 * NS_PER_S), JOURNAL_CROWDED);
    journal_close(j); /* and each is woken */
    assert_int_equal(a.times, JOURNAL_WAITERS);
}

static void *adds(void *context)
{
    char text[64];
    for (int i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "line %d", i);
        add(context, i % 2 ? "alpha" : "beta", text);
    }
    return NULL;
}

static void many_threads_add_while_others_read(void **state)
{
    struct journal *j = opened(64 << 10);
    pthread_t threads[3];
    uint64_t last = 0, got = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, adds, j), 0);
    while (last < 60000) {
        uint64_t before = last;
        got += of_page(j, last + 1, 64, &last);
        assert_true(last >= before);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(got > 0 && got <= 60000);
    assert_int_equal(journal_span(j).newest, 60000);
    journal_close(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_keep_what_they_were_given),    cmocka_unit_test(the_oldest_leave_first),
        cmocka_unit_test(a_line_larger_than_all_is_lost),       cmocka_unit_test(its_room_can_change_while_it_is_read),
        cmocka_unit_test(who_waits_is_woken_once_by_what_fits), cmocka_unit_test(waiting_ends_by_time_and_for_good),
        cmocka_unit_test(who_waits_is_told_how_far_was_looked), cmocka_unit_test(who_leaves_is_not_woken),
        cmocka_unit_test(a_seat_is_never_crowded_out),          cmocka_unit_test(only_so_many_wait),
        cmocka_unit_test(many_threads_add_while_others_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
