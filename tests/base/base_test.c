/* What everything else leans on: buffers that fail instead of overflowing, text that cannot steer a terminal,
 * times that round-trip, a loop that loses no work. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/spin.h"
#include "base/text.h"
#include "base/words.h"

static void buf_keeps_its_maximum(void **state)
{
    buf_auto b = BUF_INIT(10);
    assert_true(buf_puts(&b, "12345"));
    assert_true(buf_puts(&b, "67890"));
    assert_false(buf_putc(&b, 'x'));
    assert_true(b.failed);
    assert_string_equal(buf_text(&b), "1234567890");
    assert_false(buf_puts(&b, ""));
    buf_clear(&b);
    assert_true(buf_printf(&b, "%s-%d", "abc", 42));
    assert_string_equal(buf_text(&b), "abc-42");
    assert_false(buf_printf(&b, "%s", "too long"));
    assert_string_equal(buf_text(&b), "abc-42");
}

static void buf_hands_over_its_memory(void **state)
{
    buf_auto b = BUF_INIT(1 << 20);
    char big[5000];
    memset(big, 'a', sizeof big);
    assert_true(buf_put(&b, big, sizeof big));
    size_t len;
    uint8_t *data = buf_steal(&b, &len);
    assert_int_equal(len, sizeof big);
    memset(data + len, 0xff, BUF_PAD); /* the padding is there: ASan would say otherwise */
    free(data);
    assert_null(b.data);
    assert_true(buf_puts(&b, "again"));
}

static void text_escapes_everything_that_could_steer(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"a\"b\\c", "a\\\"b\\\\c"},
        {"\x1b[31m\x7f\n", "\\u001b[31m\\u007f\\n"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xff\xc3", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* an overlong slash */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_auto b = BUF_INIT(1000);
        assert_true(text_json_escape(&b, cases[i].in, strlen(cases[i].in)));
        assert_string_equal(buf_text(&b), cases[i].out);
    }
}

static void text_plain_is_one_harmless_line(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"a\x1b[31mb\x7f\r\nc\td", "a?[31mb???c d"},
        {"c1: \xc2\x9b"
         "31m, nbsp: \xc2\xa0.",
         "c1: ?31m, nbsp: \xc2\xa0."},
        {"bad: \xff\xc3(\xed\xa0\x80", "bad: ?"
                                       "?(???"},
        {"cut: \xe2\x82", "cut: ??"},
        {"turned: \xe2\x80\xae"
         "exe \xe2\x81\xa6 \xe2\x80\x8f \xe2\x80\xa8, not \xe2\x80\x93",
         "turned: ?exe ? ? ?, not \xe2\x80\x93"},
    };
    char out[100], small[6];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(text_plain(out, sizeof out, cases[i].in, strlen(cases[i].in)));
        assert_string_equal(out, cases[i].out);
    }
    assert_true(text_plain(small, sizeof small, "12345", 5));
    assert_false(text_plain(small, sizeof small, "123456", 6));
    assert_string_equal(small, "12345");
    assert_false(text_plain(small, sizeof small, "123\xe2\x82\xac", 6)); /* whole characters only */
    assert_string_equal(small, "123");
    assert_true(text_plain(small, sizeof small, "a\0b", 3));
    assert_string_equal(small, "a?b");
}

static void text_reads_names_sizes_and_hex(void **state)
{
    assert_true(text_is_name("data_processor", 30));
    assert_true(text_is_name("a1", 2));
    static const char *const bad[] = {"", "1a", "_a", "A", "a-b", "a__b", "abc", "a b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(text_is_name(bad[i], 2));
    uint64_t n;
    assert_true(text_parse_size("64MiB", &n));
    assert_true(n == 64u << 20);
    assert_true(text_parse_size("17", &n) && n == 17);
    assert_false(text_parse_size("-1", &n));
    assert_false(text_parse_size("1MB", &n));
    assert_false(text_parse_size("99999999999999999999", &n));
    assert_false(text_parse_size("17179869184GiB", &n));
    uint8_t bytes[4];
    char hex[9];
    assert_true(text_unhex(bytes, 4, "00fFa19c"));
    text_hex(hex, bytes, 4);
    assert_string_equal(hex, "00ffa19c");
    assert_false(text_unhex(bytes, 4, "00ffa19"));
    assert_false(text_unhex(bytes, 4, "00ffa19g"));
}

static void clock_spans_round_trip(void **state)
{
    static const char *const spans[] = {"250ms", "90s", "10m", "2h", "7d", "1ms", "36500d"};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        uint64_t ns, again;
        char text[32];
        assert_true(clock_parse_span(spans[i], &ns));
        clock_format_span(ns, text);
        assert_true(clock_parse_span(text, &again));
        assert_true(ns == again);
    }
    static const char *const bad[] = {"",
                                      "s",
                                      "1",
                                      "1 s",
                                      "-1s",
                                      "1.5s",
                                      "99999999999999999999s",
                                      "400000000d",
                                      "36501d",
                                      "876001h",
                                      "3153600000001ms"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t ns;
        assert_false(clock_parse_span(bad[i], &ns));
    }
    char stamp[CLOCK_RFC3339_MAX];
    clock_rfc3339(1700000000123456789ull, stamp);
    assert_string_equal(stamp, "2023-11-14T22:13:20.123Z");
}

static void errors_are_one_clean_line(void **state)
{
    struct error err = {0};
    assert_int_equal(error_set(&err, MOAT_E_BAD_JSON, "line\none %s", "\x1b[2J"), -MOAT_E_BAD_JSON);
    assert_string_equal(err.message, "line?one ?[2J");
    error_prefix(&err, "%s", "parameters");
    assert_string_equal(err.message, "parameters: line?one ?[2J");
    assert_int_equal(error_info(-MOAT_E_BAD_JSON)->http, 400);
    assert_string_equal(error_info(99999)->name, "internal");
    for (int c = 1; c < MOAT_E_COUNT; c++) {
        const struct error_info *i = error_info(c);
        assert_true(i->http >= 400 && i->http < 600 && i->http != 500);
        assert_true(i->exit >= 1 && i->exit <= 8);
        for (int d = 1; d < c; d++)
            assert_string_not_equal(i->name, error_info(d)->name);
    }
}

static void words_are_read_without_regard_to_case(void **state)
{
    assert_int_equal(CAPABILITY_COUNT, 8);
    assert_int_equal(PERMISSION_COUNT, 8);
    assert_int_equal(permission_parse("FILE_Read"), PERMISSION_FILE_READ);
    assert_int_equal(permission_parse("file"), -1);
    for (int i = 0; i < CAPABILITY_COUNT; i++)
        assert_int_equal(capability_parse(capability_name((enum capability)i)), i);
}

static void files_are_replaced_whole_and_read_with_a_cap(void **state)
{
    char dir[] = "/tmp/moat-base-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char path[200];
    snprintf(path, sizeof path, "%s/a/b/file", dir);
    struct error err;
    assert_int_equal(io_replace_file(path, "x", 1, 0600, &err), -MOAT_E_STORAGE_FAILED);
    char parent[200];
    snprintf(parent, sizeof parent, "%s/a/b", dir);
    assert_int_equal(io_mkdirs(parent, 0700, &err), 0);
    assert_int_equal(io_replace_file(path, "first", 5, 0600, &err), 0);
    assert_int_equal(io_replace_file(path, "second", 6, 0640, &err), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    buf_auto b = BUF_INIT(100), small = BUF_INIT(5);
    assert_int_equal(io_read_file(path, &b, &err), 0);
    assert_string_equal(buf_text(&b), "second");
    assert_int_equal(io_read_file(path, &small, &err), -MOAT_E_TOO_LARGE);
    assert_int_equal(small.len, 0);
    assert_int_equal(io_read_file("/nonexistent/x", &b, &err), -MOAT_E_NO_SUCH_FILE);
    unlink(path);
    rmdir(parent);
    snprintf(parent, sizeof parent, "%s/a", dir);
    rmdir(parent);
    assert_int_equal(rmdir(dir), 0); /* nothing stayed beside */
}

static void sealed_files_cannot_change(void **state)
{
    fd_auto fd = io_sealed("test", "bytes", 5);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    char path[64], back[6] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fd_auto again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0)
        assert_int_equal(pwrite(again, "x", 1, 0), -1);
    assert_int_equal(pread(fd, back, 5, 0), 5);
    assert_string_equal(back, "bytes");
}

static void messages_carry_just_the_descriptors_asked_for(void **state)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int one = dup(0), got[2] = {-1, -1};
    size_t n = 2;
    char text[8];
    assert_true(io_send(pair[0], "ab", 2, (int[]){one, one}, 2));
    assert_int_equal(io_recv(pair[1], text, sizeof text, got, &n), 2);
    assert_int_equal(n, 2);
    assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
    close(got[0]);
    close(got[1]);
    /* more than asked for: refused, and none stays open */
    assert_true(io_send(pair[0], "ab", 2, (int[]){one, one, one}, 3));
    int before = dup(0);
    close(before);
    n = 1;
    assert_int_equal(io_recv(pair[1], text, sizeof text, got, &n), -1);
    assert_int_equal(errno, EPROTO);
    int after = dup(0);
    assert_int_equal(before, after);
    close(after);
    /* a message that does not fit is refused, not cut */
    assert_true(io_send(pair[0], "0123456789", 10, NULL, 0));
    assert_int_equal(io_recv(pair[1], text, sizeof text, NULL, NULL), -1);
    assert_int_equal(errno, EMSGSIZE);
    close(pair[0]);
    assert_int_equal(io_recv(pair[1], text, sizeof text, NULL, NULL), 0);
    close(pair[1]);
    close(one);
}

#define POSTS 20000
struct counted {
    struct loop_task task;
    struct loop *loop;
    int *total, wanted;
};

static void count_one(struct loop_task *task)
{
    struct counted *c = (struct counted *)task;
    if (++*c->total == c->wanted)
        loop_stop(c->loop);
}

static void *post_all(void *argument)
{
    struct counted *c = argument;
    for (int i = 0; i < POSTS; i++)
        loop_post(c[i].loop, &c[i].task);
    return NULL;
}

static void loop_runs_every_post_once(void **state)
{
    struct loop *l;
    assert_int_equal(loop_new(&l, NULL), 0);
    int total = 0;
    struct counted *all = calloc(2 * POSTS, sizeof *all);
    for (int i = 0; i < 2 * POSTS; i++)
        all[i] = (struct counted){{.run = count_one}, l, &total, 2 * POSTS};
    pthread_t a, b;
    assert_int_equal(pthread_create(&a, NULL, post_all, all), 0);
    assert_int_equal(pthread_create(&b, NULL, post_all, all + POSTS), 0);
    loop_run(l);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    assert_int_equal(total, 2 * POSTS);
    loop_free(l);
    free(all);
}

struct ticking {
    struct loop_timer timer;
    int number, *order, *count;
    struct loop *loop;
    bool last;
};

static void tick(struct loop_timer *timer)
{
    struct ticking *t = (struct ticking *)timer;
    t->order[(*t->count)++] = t->number;
    if (t->last)
        loop_stop(t->loop);
}

struct eager {
    struct loop_timer timer;
    struct loop *loop;
    unsigned fired;
};

static void again_at_once(struct loop_timer *timer)
{
    struct eager *e = (struct eager *)timer;
    if (++e->fired > 1000)
        fail_msg("nothing but the timer has its turn");
    loop_timer_set(e->loop, timer, 0);
}

/* A timer that is always due, and one behind it: posted work has its turn, and so has the other. */
static void loop_timers_do_not_hog(void **state)
{
    struct loop *l;
    assert_int_equal(loop_new(&l, NULL), 0);
    int order[2], count = 0;
    struct eager e = {{.fire = again_at_once}, l, 0};
    struct ticking last = {{.fire = tick}, 0, order, &count, l, true};
    assert_true(loop_timer_set(l, &e.timer, 0));
    assert_true(loop_timer_set(l, &last.timer, clock_mono_ns()));
    loop_run(l);
    assert_int_equal(count, 1);
    loop_timer_clear(&e.timer);
    loop_free(l);
}

static void loop_fires_timers_in_order(void **state)
{
    struct loop *l;
    assert_int_equal(loop_new(&l, NULL), 0);
    enum { N = 200 };
    static struct ticking t[N];
    int order[N], count = 0;
    uint64_t base = clock_mono_ns();
    for (int i = 0; i < N; i++) {
        int at = (i * 73) % N; /* a permutation */
        t[i] = (struct ticking){{.fire = tick}, at, order, &count, l, at == N - 1};
        assert_true(loop_timer_set(l, &t[i].timer, base + (uint64_t)at * 10000));
    }
    for (int i = 0; i < N; i += 2)
        if (!t[i].last)
            loop_timer_clear(&t[i].timer);
    loop_run(l);
    assert_true(count >= N / 2);
    for (int i = 1; i < count; i++)
        assert_true(order[i - 1] < order[i]);
    loop_free(l);
}

struct pair_watch {
    struct loop_watch watch;
    struct pair_watch *other;
    int *calls;
    struct loop *loop;
};

/* Both are ready in one round; the first to run forgets the other, whose event must then not come. */
static void forget_the_other(struct loop_watch *watch, uint32_t events)
{
    struct pair_watch *p = (struct pair_watch *)watch;
    ++*p->calls;
    loop_unwatch(&p->other->watch);
    loop_stop(p->loop);
}

static void loop_sends_nothing_after_unwatch(void **state)
{
    struct loop *l;
    assert_int_equal(loop_new(&l, NULL), 0);
    int a = eventfd(1, 0), b = eventfd(1, 0), calls = 0;
    struct pair_watch pa = {{.fd = a, .ready = forget_the_other}, NULL, &calls, l};
    struct pair_watch pb = {{.fd = b, .ready = forget_the_other}, &pa, &calls, l};
    pa.other = &pb;
    assert_int_equal(loop_watch(l, &pa.watch, EPOLLIN, NULL), 0);
    assert_int_equal(loop_watch(l, &pb.watch, EPOLLIN, NULL), 0);
    loop_run(l);
    assert_int_equal(calls, 1);
    loop_free(l);
    close(a);
    close(b);
}

/* Its own thread rings no bell: what it posts, wherever it posts it, runs before the loop sleeps. */
struct own_work {
    struct loop *loop;
    struct loop_idle idle;
    struct loop_timer timer;
    struct loop_task task;
    unsigned runs;
};

static void own_task(struct loop_task *task)
{
    struct own_work *o = (struct own_work *)((char *)task - offsetof(struct own_work, task));
    if (++o->runs == 100)
        loop_stop(o->loop);
    else if (o->runs % 2)
        loop_timer_set(o->loop, &o->timer, 0);
}

static void own_timer(struct loop_timer *timer)
{
    struct own_work *o = (struct own_work *)((char *)timer - offsetof(struct own_work, timer));
    loop_post(o->loop, &o->task);
}

static uint64_t own_idle(struct loop_idle *idle)
{
    struct own_work *o = (struct own_work *)((char *)idle - offsetof(struct own_work, idle));
    if (o->runs < 100 && o->runs % 2 == 0)
        loop_post(o->loop, &o->task);
    return UINT64_MAX;
}

static void loop_runs_its_own_posts_before_it_sleeps(void **state)
{
    struct own_work o = {.idle.before_sleep = own_idle, .timer.fire = own_timer, .task.run = own_task};
    assert_int_equal(loop_new(&o.loop, NULL), 0);
    loop_on_idle(o.loop, &o.idle);
    alarm(20); /* nothing else would wake it */
    loop_run(o.loop);
    alarm(0);
    assert_int_equal(o.runs, 100);
    loop_free(o.loop);
}

/* A loop that looks, and a thread that gives it something now and then. */
struct looking {
    struct loop *loop;
    struct loop_task task;
    struct loop_watch watch;
    struct loop_timer timer;
    unsigned posts, events;
    _Atomic unsigned came; /* both: the giver gives one at a time */
    long slept[2];         /* how often, when the first came and when the last did */
};

static long sleeps_so_far(void)
{
    struct rusage u;
    assert_int_equal(getrusage(RUSAGE_THREAD, &u), 0);
    return u.ru_nvcsw;
}

static void came(struct looking *k)
{
    k->slept[1] = sleeps_so_far();
    if (k->posts + k->events == 1)
        k->slept[0] = k->slept[1];
    atomic_store(&k->came, k->posts + k->events);
}

static void look_task(struct loop_task *task)
{
    struct looking *k = (struct looking *)((char *)task - offsetof(struct looking, task));
    k->posts++;
    came(k);
}

static void look_ready(struct loop_watch *watch, uint32_t events)
{
    struct looking *k = (struct looking *)((char *)watch - offsetof(struct looking, watch));
    uint64_t drained;
    assert_int_equal(read(watch->fd, &drained, sizeof drained), sizeof drained);
    k->events++;
    came(k);
}

static void *give_now_and_then(void *argument)
{
    struct looking *k = argument;
    uint64_t one = 1;
    for (unsigned i = 0; i < 6; i++) {
        usleep(5000);
        if (i % 2)
            loop_post(k->loop, &k->task);
        else
            assert_int_equal(write(k->watch.fd, &one, sizeof one), sizeof one);
        while (atomic_load(&k->came) <= i)
            usleep(100);
    }
    loop_stop(k->loop);
    return NULL;
}

static void look_at(struct looking *k, uint64_t look_ns)
{
    pthread_t giver;
    *k = (struct looking){.task.run = look_task, .watch.ready = look_ready};
    assert_int_equal(loop_new(&k->loop, NULL), 0);
    loop_looks(k->loop, look_ns);
    k->watch.fd = eventfd(0, EFD_NONBLOCK);
    assert_int_equal(loop_watch(k->loop, &k->watch, EPOLLIN, NULL), 0);
    assert_int_equal(pthread_create(&giver, NULL, give_now_and_then, k), 0);
    loop_run(k->loop);
    pthread_join(giver, NULL);
    loop_unwatch(&k->watch);
    close(k->watch.fd);
    loop_free(k->loop);
}

static bool one_cpu(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) < 0 || CPU_COUNT(&cpus) < 2;
}

static void a_loop_that_looks_finds_everything_awake(void **state)
{
    struct looking k;
    look_at(&k, 20 * NS_PER_S);
    assert_int_equal(k.posts, 3);
    assert_int_equal(k.events, 3);
    if (!one_cpu())
        assert_int_equal(k.slept[1], k.slept[0]);
    look_at(&k, 0);
    assert_int_equal(k.posts, 3);
    assert_int_equal(k.events, 3);
    assert_true(k.slept[1] > k.slept[0]);
}

static void stop_at(struct loop_timer *timer)
{
    loop_stop(timer->loop);
}

static void a_loop_looks_no_longer_than_it_would_sleep(void **state)
{
    struct loop *l;
    struct loop_timer timer = {.fire = stop_at};
    assert_int_equal(loop_new(&l, NULL), 0);
    loop_looks(l, 60 * NS_PER_S);
    uint64_t begun = clock_mono_ns();
    assert_true(loop_timer_set(l, &timer, begun + 5 * NS_PER_MS));
    loop_run(l);
    assert_true(clock_mono_ns() - begun < 30 * NS_PER_S);
    loop_free(l);
}

static void who_looks_in_vain_rests(void **state)
{
    struct spin s = {0}, alone = {.alone = true};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < SPIN_VAIN_MOST; i++) {
            assert_true(spin_pays(&s));
            spin_told(&s, false);
        }
        for (int i = 0; i < SPIN_REST; i++)
            assert_false(spin_pays(&s));
    }
    for (int i = 0; i < 3 * SPIN_VAIN_MOST; i++) {
        assert_true(spin_pays(&s));
        spin_told(&s, i % SPIN_VAIN_MOST == 0);
    }
    assert_false(spin_pays(&alone));
}

/* The host goes on, and says afterwards how many lines are missing. */
static void a_log_that_nobody_reads_holds_nobody_up(void **state)
{
    enum { LINES = 500 };
    static char text[3000], all[1 << 20];
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    memset(text, 'x', sizeof text - 1);
    log_setup(pipe_fds[1], LOG_JSON, LOG_INFO);
    for (int i = 0; i < LINES; i++)
        log_event(LOG_INFO, "much", "text", text, NULL);
    size_t len = 0;
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    for (ssize_t n; (n = read(pipe_fds[0], all + len, sizeof all - 1 - len)) > 0; len += (size_t)n)
        ;
    log_event(LOG_INFO, "after", NULL);
    for (ssize_t n; (n = read(pipe_fds[0], all + len, sizeof all - 1 - len)) > 0; len += (size_t)n)
        ;
    all[len] = '\0';
    unsigned lines = 0, lost = 0;
    for (const char *at = all; (at = strstr(at, "\"event\":\"much\"")); at++)
        lines++;
    const char *told = strstr(all, "\"event\":\"log_lost\",\"lines\":");
    assert_non_null(told);
    assert_int_equal(sscanf(told, "\"event\":\"log_lost\",\"lines\":%u", &lost), 1);
    assert_true(lines > 10 && lost > 100);
    assert_int_equal(lines + lost, LINES);
    assert_non_null(strstr(told, "\"event\":\"after\""));
    log_setup(STDERR_FILENO, LOG_AUTO, LOG_WARN);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void log_lines_are_json_whatever_is_in_them(void **state)
{
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    log_setup(pipe_fds[1], LOG_AUTO, LOG_INFO);
    log_event(LOG_DEBUG, "unseen", NULL);
    log_event(LOG_WARN, "denial", "object", "/a\n\"\x1b", "#count", log_num(7), "absent", NULL, NULL);
    char line[500];
    ssize_t n = read(pipe_fds[0], line, sizeof line - 1);
    assert_true(n > 0);
    line[n] = '\0';
    assert_non_null(strstr(line, "\"event\":\"denial\",\"object\":\"/a\\n\\\"\\u001b\",\"count\":7}\n"));
    assert_null(strstr(line, "absent"));
    log_setup(STDERR_FILENO, LOG_AUTO, LOG_WARN);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_keeps_its_maximum),
        cmocka_unit_test(buf_hands_over_its_memory),
        cmocka_unit_test(text_escapes_everything_that_could_steer),
        cmocka_unit_test(text_plain_is_one_harmless_line),
        cmocka_unit_test(text_reads_names_sizes_and_hex),
        cmocka_unit_test(clock_spans_round_trip),
        cmocka_unit_test(errors_are_one_clean_line),
        cmocka_unit_test(words_are_read_without_regard_to_case),
        cmocka_unit_test(files_are_replaced_whole_and_read_with_a_cap),
        cmocka_unit_test(sealed_files_cannot_change),
        cmocka_unit_test(messages_carry_just_the_descriptors_asked_for),
        cmocka_unit_test(loop_runs_every_post_once),
        cmocka_unit_test(loop_fires_timers_in_order),
        cmocka_unit_test(loop_timers_do_not_hog),
        cmocka_unit_test(loop_sends_nothing_after_unwatch),
        cmocka_unit_test(loop_runs_its_own_posts_before_it_sleeps),
        cmocka_unit_test(a_loop_that_looks_finds_everything_awake),
        cmocka_unit_test(a_loop_looks_no_longer_than_it_would_sleep),
        cmocka_unit_test(who_looks_in_vain_rests),
        cmocka_unit_test(log_lines_are_json_whatever_is_in_them),
        cmocka_unit_test(a_log_that_nobody_reads_holds_nobody_up),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
