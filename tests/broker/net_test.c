/* network_access through the broker, the net helper and a small Internet: what may be connected to, what flows, and
 * what is left when the right is taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "broker/broker.h"
#include "broker/net.h"
#include "internet.h"

#define PATIENCE_NS (20 * NS_PER_S)

static struct spawner *spawner;
static struct broker *broker;
static struct net *net;
static struct loop *loop;
static pthread_t loop_thread;
static _Atomic uint64_t now_s = 1000;

/* ---- the rig ---- */

static uint64_t now(void *context)
{
    return now_s;
}

static struct spawner *spawner_there(void *context)
{
    return spawner;
}

static void *run_loop(void *context)
{
    loop_run(loop);
    return NULL;
}

static void open_net(const struct net_limits *limits)
{
    struct error err;
    struct net_config config = {.broker = broker, .spawner = spawner_there, .limits = *limits};
    assert_int_equal(loop_new(&loop, &err), 0);
    config.loop = loop;
    assert_int_equal(net_new(&config, &net, &err), 0);
    broker_use_net(broker, net);
    assert_int_equal(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
}

static void close_net(void)
{
    loop_stop(loop);
    pthread_join(loop_thread, NULL);
    net_free(net);
    loop_free(loop);
}

static const struct net_limits usual = {
    .connections = 32, .connect_ns = 3 * NS_PER_S, .idle_ns = 60 * NS_PER_S, .servers = INTERNET_DNS};

/* What holds for "p" 1.0.0; one grant a line, NULL behind the last. until 0: no end. */
static void allow_until(uint64_t until, const char *const *grants)
{
    static struct policy_answer answer;
    struct ask asks = {.permission = PERMISSION_NETWORK_ACCESS};
    struct decision decisions[8] = {0};
    struct error err;
    size_t n = 0;
    for (; grants[n]; n++) {
        if (grant_parse(grants[n], &decisions[n].grant, &err))
            fail_msg("%s", err.message);
        decisions[n].until = until;
    }
    struct policy_input in = {.asks = &asks, .nasks = 1, .decisions = decisions, .ndecisions = n, .now = now_s};
    policy_decide(&in, &answer);
    broker_set(broker, "p", "1.0.0", &answer);
}
#define allow(...) allow_until(0, (const char *const[]){__VA_ARGS__, NULL})

enum outcome { OPEN, CONNECTED, FAILED, DENIED };

struct asker {
    struct question q;
    pthread_mutex_t lock;
    pthread_cond_t told;
    enum outcome outcome;
    bool given_up;
    int fd;
    struct error error;
    char object[256], operation[32];
    int permission;
    uint8_t bytes[512];
    void (*stop)(struct question *q);
};

static void tell(struct question *q, enum outcome how)
{
    struct asker *a = (struct asker *)(void *)q;
    pthread_mutex_lock(&a->lock);
    if (a->outcome != OPEN)
        abort(); /* answered twice */
    a->outcome = how;
    pthread_cond_broadcast(&a->told);
    pthread_mutex_unlock(&a->lock);
}

static bool on_stop(struct question *q, void (*stop)(struct question *q))
{
    struct asker *a = (struct asker *)(void *)q;
    a->stop = stop;
    return !a->given_up;
}

static void hand(struct question *q, int fd)
{
    ((struct asker *)(void *)q)->fd = dup(fd);
    tell(q, CONNECTED);
}

static void refuse(struct question *q, const struct error *err)
{
    ((struct asker *)(void *)q)->error = *err;
    tell(q, FAILED);
}

static void deny(struct question *q, int permission, const char *operation, const char *object, const struct error *err)
{
    struct asker *a = (struct asker *)(void *)q;
    a->error = *err;
    a->permission = permission;
    text_copy(a->operation, sizeof a->operation, operation);
    text_copy(a->object, sizeof a->object, object);
    tell(q, DENIED);
}

static const struct ask_answers answers = {.on_stop = on_stop, .hand = hand, .refuse = refuse, .deny = deny};

static void begin(struct asker *a, const char *host, unsigned port, unsigned flags)
{
    struct net_wish wish = {.port = (uint16_t)port, .flags = (uint16_t)flags};
    bool given_up = a->given_up;
    *a = (struct asker){.fd = -1, .given_up = given_up, .permission = -1};
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->told, NULL);
    memcpy(a->bytes, &wish, sizeof wish);
    memcpy(a->bytes + sizeof wish, host, strlen(host));
    a->q = (struct question){.to = &answers,
                             .service = ASK_CONNECT,
                             .bytes = a->bytes,
                             .len = sizeof wish + strlen(host),
                             .plugin = "p",
                             .version = "1.0.0",
                             .action = "act",
                             .call_id = "00"};
    broker_ask(broker, &a->q);
}

static enum outcome wait_for(struct asker *a)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_NS / NS_PER_S;
    pthread_mutex_lock(&a->lock);
    while (a->outcome == OPEN)
        if (pthread_cond_timedwait(&a->told, &a->lock, &until))
            fail_msg("no answer");
    pthread_mutex_unlock(&a->lock);
    return a->outcome;
}

static enum outcome ask(struct asker *a, const char *host, unsigned port)
{
    begin(a, host, port, 0);
    return wait_for(a);
}

static int connected(const char *host, unsigned port)
{
    struct asker a = {0};
    if (ask(&a, host, port) != CONNECTED)
        fail_msg("%s:%u: %s", host, port, a.error.message);
    return a.fd;
}

static void expect_denied(const char *host, unsigned port, const char *object, const char *word)
{
    struct asker a = {0};
    if (ask(&a, host, port) != DENIED)
        fail_msg("%s:%u was not denied: %s", host, port, a.error.message);
    assert_int_equal(a.error.code, MOAT_E_PERMISSION_DENIED);
    assert_int_equal(a.permission, PERMISSION_NETWORK_ACCESS);
    assert_string_equal(a.operation, "connect");
    assert_string_equal(a.object, object);
    if (!strstr(a.error.message, word))
        fail_msg("\"%s\" does not say \"%s\"", a.error.message, word);
}

static void expect_failed(const char *host, unsigned port, enum moat_code code, const char *word)
{
    struct asker a = {0};
    if (ask(&a, host, port) != FAILED)
        fail_msg("%s:%u did not fail", host, port);
    assert_int_equal(a.error.code, code);
    if (!strstr(a.error.message, word))
        fail_msg("\"%s\" does not say \"%s\"", a.error.message, word);
}

/* Waits for what another process or thread does. */
#define until(condition) \
    do { \
        for (uint64_t end_ = clock_mono_ns() + PATIENCE_NS; !(condition);) { \
            if (clock_mono_ns() > end_) \
                fail_msg("never: %s", #condition); \
            poll(NULL, 0, 1); \
        } \
    } while (0)

struct revoked {
    _Atomic bool done;
    enum moat_code code;
};

static void told(void *context, const struct error *error)
{
    struct revoked *r = context;
    r->code = error ? error->code : MOAT_E_OK;
    r->done = true;
}

static void take_back(void)
{
    struct revoked r = {0};
    net_revoke(net, "p", told, &r);
    until(r.done);
    assert_int_equal(r.code, MOAT_E_OK);
}

static struct net_totals totals(void)
{
    struct net_totals t;
    net_totals(net, &t);
    return t;
}

static void expect_echo(int fd)
{
    char back[6] = "";
    assert_int_equal(write(fd, "hello", 5), 5);
    assert_int_equal(io_read_full(fd, back, 5), 5);
    assert_string_equal(back, "hello");
}

static void expect_end(int fd)
{
    char c;
    assert_true(read(fd, &c, 1) <= 0);
    close(fd);
}

/* ---- what may be ---- */

static void a_granted_name_is_connected_to(void **state)
{
    allow("network_access=echo.test:7");
    int fd = connected("echo.test", INTERNET_ECHO);
    expect_echo(fd);
    close(fd);
    until(totals().open == 0);
    assert_true(totals().bytes_out >= 5 && totals().bytes_in >= 5);
}

static void a_name_has_many_spellings_and_one_meaning(void **state)
{
    static const char *const same[] = {"echo.test", "ECHO.Test", "echo.test.", "eCHO.tEST."};
    allow("network_access=Echo.TEST.:7");
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        close(connected(same[i], INTERNET_ECHO));
    allow("network_access=*.echo.test:*");
    close(connected("wild.echo.test", INTERNET_ECHO));
    expect_denied("echo.test", INTERNET_ECHO, "echo.test:7", "moat grant p network_access=echo.test:7");
    expect_denied("a.b.echo.test", INTERNET_ECHO, "a.b.echo.test:7", "moat grant");
    expect_denied("xecho.test", INTERNET_ECHO, "xecho.test:7", "moat grant");
}

static void what_is_not_granted_is_denied(void **state)
{
    allow("network_access=echo.test:7");
    expect_denied("other.test", INTERNET_ECHO, "other.test:7", "moat grant p network_access=other.test:7");
    expect_denied("echo.test", 8, "echo.test:8", "moat grant p network_access=echo.test:8");
    expect_denied("9.9.9.3", INTERNET_ECHO, "9.9.9.3:7", "moat grant p network_access=9.9.9.3:7");
    broker_drop(broker, "p");
    expect_denied("echo.test", INTERNET_ECHO, "echo.test:7", "does not ask for it");
}

static void tricks_with_names_reach_nothing(void **state)
{
    static const char *const tricks[] = {"echo.test@9.9.9.3",
                                         "9.9.9.3#.echo.test",
                                         "echo.test/../9.9.9.3",
                                         "echo.test%2e9.9.9.3",
                                         "echo..test",
                                         ".echo.test",
                                         "-",
                                         "*.test",
                                         "*",
                                         "10.77.0.0/24",
                                         "0x0a.0x4d.0.2.echo",
                                         "\302\255echo.test",
                                         "echo\ttest",
                                         "echo.test:80",
                                         "[::1",
                                         "::ffff:10.77.0.2:7",
                                         "fe80::1%lo"};
    uint32_t asked = internet_seen->queries;
    allow("network_access=echo.test:7");
    for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++) {
        struct asker a = {0};
        if (ask(&a, tricks[i], INTERNET_ECHO) == CONNECTED)
            fail_msg("%s was connected to", tricks[i]);
    }
    assert_int_equal(internet_seen->queries, asked); /* not even the name server hears of them */
}

/* Every address behind a granted name that is not public has to be named itself. */
static void addresses_that_are_not_public_have_to_be_named(void **state)
{
    static const struct {
        const char *host, *object, *what;
    } names[] = {
        {"private.test", "10.77.0.2:7", "a private address"}, {"loop.test", "127.0.0.1:7", "a loopback address"},
        {"six.test", "[::1]:7", "a loopback address"},        {"mapped.test", "127.0.0.1:7", "a loopback address"},
        {"metadata.test", "169.254.169.254:7", "metadata"},   {"own.test", "9.9.9.1:7", "this machine itself"},
    };
    allow("network_access=*.test:7");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        expect_denied(names[i].host, INTERNET_ECHO, names[i].object, names[i].what);
    allow("network_access");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        expect_denied(names[i].host, INTERNET_ECHO, names[i].object, names[i].what);
    expect_denied("127.0.0.1", INTERNET_ECHO, "127.0.0.1:7", "moat grant p network_access=127.0.0.1:7");
    expect_denied("127.1", INTERNET_ECHO, "127.0.0.1:7", "a loopback address");
    expect_denied("0x7f000001", INTERNET_ECHO, "127.0.0.1:7", "a loopback address");
    expect_denied("2130706433", INTERNET_ECHO, "127.0.0.1:7", "a loopback address");
    expect_denied("017700000001", INTERNET_ECHO, "127.0.0.1:7", "a loopback address");
    expect_denied("::ffff:127.0.0.1", INTERNET_ECHO, "127.0.0.1:7", "a loopback address");
    expect_denied("0.0.0.0", INTERNET_ECHO, "0.0.0.0:7", "of this network");
    expect_denied("::", INTERNET_ECHO, "[::]:7", "not handed out");
    expect_denied("169.254.169.254", 80, "169.254.169.254:80", "metadata");
    allow("network_access=private.test:7", "network_access=10.77.0.0/16:*");
    int fd = connected("private.test", INTERNET_ECHO);
    expect_echo(fd);
    close(fd);
    close(connected("10.77.0.2", INTERNET_ECHO));
    expect_denied("loop.test", INTERNET_ECHO, "loop.test:7", "moat grant");
}

/* The one that is allowed is connected to, whatever stands beside it; what a name means later changes nothing. */
static void only_the_address_that_was_judged_is_connected_to(void **state)
{
    allow("network_access=*.test:7");
    int fd = connected("both.test", INTERNET_ECHO);
    expect_echo(fd);
    close(fd);
    fd = connected("flip.test", INTERNET_ECHO); /* 9.9.9.3 */
    expect_echo(fd);
    expect_denied("flip.test", INTERNET_ECHO, "127.0.0.1:7", "a loopback address");
    expect_echo(fd);
    close(fd);
}

static void a_ceiling_over_an_address_wins(void **state)
{
    static struct policy_answer answer;
    struct ask asks = {.permission = PERMISSION_NETWORK_ACCESS};
    struct decision all = {.grant.permission = PERMISSION_NETWORK_ACCESS};
    struct ceiling never;
    struct error err;
    assert_int_equal(ceiling_parse("everybody", "network_access=9.9.9.0/24:*", &never, &err), 0);
    struct policy_input in = {
        .asks = &asks, .nasks = 1, .decisions = &all, .ndecisions = 1, .ceilings = &never, .nceilings = 1};
    policy_decide(&in, &answer);
    broker_set(broker, "p", "1.0.0", &answer);
    expect_denied("echo.test", INTERNET_ECHO, "9.9.9.3:7", "a ceiling forbids 9.9.9.3:7");
    expect_denied("9.9.9.3", INTERNET_ECHO, "9.9.9.3:7", "ceiling");
}

static void a_grant_that_has_ended_allows_nothing(void **state)
{
    allow_until(now_s + 10, (const char *const[]){"network_access=echo.test:7", NULL});
    close(connected("echo.test", INTERNET_ECHO));
    now_s += 11;
    expect_denied("echo.test", INTERNET_ECHO, "echo.test:7", "moat grant p network_access=echo.test:7");
}

/* ---- what does not work says why ---- */

static void what_cannot_be_reached_says_why(void **state)
{
    allow("network_access", "network_access=10.77.0.0/24:*", "network_access=192.168.0.0/16:*");
    expect_failed("nowhere.test", INTERNET_ECHO, MOAT_E_CONNECT_FAILED, "no_such_host");
    expect_failed("9.9.9.3", 12345, MOAT_E_CONNECT_FAILED, "connection_refused");
    expect_failed("192.168.1.1", INTERNET_ECHO, MOAT_E_CONNECT_FAILED, "unreachable");
    expect_failed("silent.test", INTERNET_ECHO, MOAT_E_CONNECT_FAILED, "timeout");
}

static void bad_asks_are_refused(void **state)
{
    static const struct {
        const char *host;
        unsigned port, flags;
    } bad[] = {{"", 7, 0}, {"echo.test", 0, 0}, {"echo.test", 7, 2}, {"echo.test", 7, 0xffff}};
    allow("network_access=echo.test:7");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct asker a = {0};
        begin(&a, bad[i].host, bad[i].port, bad[i].flags);
        assert_int_equal(wait_for(&a), FAILED);
    }
}

/* ---- what flows ---- */

struct transfer {
    int fd;
    size_t len;
    bool ok;
};

static void *send_pattern(void *argument)
{
    struct transfer *t = argument;
    uint8_t block[8192];
    for (size_t at = 0; at < t->len; at += sizeof block) {
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = (uint8_t)((at + i) * 2654435761u >> 13);
        if (!io_write_all(t->fd, block, sizeof block))
            return NULL;
    }
    t->ok = true;
    return NULL;
}

static void much_comes_back_as_it_was_sent(void **state)
{
    struct transfer t = {.len = 32u << 20};
    uint8_t block[8192];
    pthread_t thread;
    allow("network_access=echo.test:7");
    t.fd = connected("echo.test", INTERNET_ECHO);
    pthread_create(&thread, NULL, send_pattern, &t);
    for (size_t at = 0; at < t.len; at += sizeof block) {
        assert_int_equal(io_read_full(t.fd, block, sizeof block), sizeof block);
        for (size_t i = 0; i < sizeof block; i++)
            if (block[i] != (uint8_t)((at + i) * 2654435761u >> 13))
                fail_msg("byte %zu is another", at + i);
    }
    pthread_join(thread, NULL);
    assert_true(t.ok);
    close(t.fd);
}

static void what_was_sent_before_a_close_arrives(void **state)
{
    static const char block[1 << 20];
    uint64_t before = internet_seen->sink_bytes;
    allow("network_access=9.9.9.3:9");
    internet_seen->sink_reads = 1;
    int fd = connected("9.9.9.3", INTERNET_SINK);
    for (int i = 0; i < 4; i++)
        assert_true(io_write_all(fd, block, sizeof block));
    close(fd);
    until(internet_seen->sink_bytes == before + 4 * sizeof block);
    internet_seen->sink_reads = 0;
}

static void a_descriptor_can_be_asked_for_that_does_not_block(void **state)
{
    struct asker a = {0};
    char c;
    allow("network_access=echo.test:7");
    begin(&a, "echo.test", INTERNET_ECHO, NET_WISH_NONBLOCK);
    assert_int_equal(wait_for(&a), CONNECTED);
    assert_int_equal(read(a.fd, &c, 1), -1);
    assert_int_equal(errno, EAGAIN);
    close(a.fd);
    int fd = connected("echo.test", INTERNET_ECHO);
    assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
}

/* ---- taking it back ---- */

static void when_a_revocation_returns_nothing_flows(void **state)
{
    static const char block[1 << 20];
    struct pollfd p;
    allow("network_access=9.9.9.3:9", "network_access=9.9.9.3:19");
    internet_seen->sink_reads = 0;
    uint64_t before = internet_seen->sink_bytes;
    int out = connected("9.9.9.3", INTERNET_SINK), in = connected("9.9.9.3", INTERNET_SOURCE);
    fcntl(out, F_SETFL, O_NONBLOCK);
    until(internet_seen->sink_bytes > before || write(out, block, 1) < 0);
    while (write(out, block, sizeof block) > 0) /* until everything between here and there is full */
        poll(NULL, 0, 1);
    broker_drop(broker, "p");
    take_back();
    /* The far end reads on, and finds no byte more than it had received by then, and a reset. */
    uint32_t resets = internet_seen->reset;
    internet_seen->sink_reads = 1;
    until(internet_seen->reset > resets);
    assert_int_equal(write(out, block, 1), -1);
    assert_int_equal(errno, EPIPE);
    static char arrived[65536];
    while (read(in, arrived, sizeof arrived) > 0)
        ; /* what had arrived here */
    p = (struct pollfd){.fd = in, .events = POLLIN};
    poll(&p, 1, 0);
    assert_true(p.revents & POLLHUP);
    assert_int_equal(totals().open, 0);
    assert_int_equal(totals().helpers, 0);
    close(out);
    close(in);
    expect_denied("9.9.9.3", INTERNET_SINK, "9.9.9.3:9", "does not ask for it");
    internet_seen->sink_reads = 0;
}

static void a_revocation_ends_what_is_on_its_way(void **state)
{
    struct asker a = {0};
    allow("network_access=silent.test:7", "network_access=echo.test:7");
    close(connected("echo.test", INTERNET_ECHO)); /* a helper is up */
    begin(&a, "silent.test", INTERNET_ECHO, 0);
    allow("network_access=echo.test:7");
    take_back();
    assert_int_equal(wait_for(&a), FAILED + (a.outcome == DENIED));
    assert_int_equal(a.error.code, MOAT_E_PERMISSION_DENIED);
    close(connected("echo.test", INTERNET_ECHO)); /* what is still granted works again, with another helper */
    take_back();
    take_back(); /* nothing is there: done at once */
}

static void revocations_race_with_everything(void **state)
{
    allow("network_access=echo.test:7");
    for (int i = 0; i < 30; i++) {
        struct asker a[4];
        struct revoked r = {0};
        memset(a, 0, sizeof a);
        for (int k = 0; k < 4; k++)
            begin(&a[k], k % 2 ? "echo.test" : "silent.test", INTERNET_ECHO, 0);
        if (i % 3)
            poll(NULL, 0, i % 3);
        allow("network_access=other.test:7");
        net_revoke(net, "p", told, &r);
        until(r.done);
        assert_int_equal(totals().open, 0);
        for (int k = 0; k < 4; k++)
            if (wait_for(&a[k]) == CONNECTED)
                expect_end(a[k].fd);
        allow("network_access=echo.test:7", "network_access=silent.test:7");
    }
}

static void who_gives_up_is_answered_and_leaves_nothing(void **state)
{
    struct asker a = {0}, gone = {.given_up = true};
    allow("network_access=silent.test:7");
    begin(&a, "silent.test", INTERNET_ECHO, 0);
    poll(NULL, 0, 20);
    a.stop(&a.q);
    assert_int_equal(wait_for(&a), FAILED);
    assert_int_equal(a.error.code, MOAT_E_CANCELLED);
    begin(&gone, "silent.test", INTERNET_ECHO, 0);
    assert_int_equal(wait_for(&gone), FAILED);
    allow("network_access=echo.test:7");
    close(connected("echo.test", INTERNET_ECHO));
}

/* A child of that process whose command line begins so; -1: none. */
static pid_t child_called(pid_t parent, const char *words, size_t len)
{
    char path[64], list[4096] = "", command[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, list, sizeof list - 1) < 0)
        fail_msg("%s cannot be read", path);
    close(fd);
    for (char *save = NULL, *one = strtok_r(list, " ", &save); one; one = strtok_r(NULL, " ", &save)) {
        snprintf(path, sizeof path, "/proc/%.10s/cmdline", one);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, command, sizeof command);
        io_close(&fd);
        if (n >= (ssize_t)len && memcmp(command, words, len) == 0)
            return (pid_t)atoi(one);
    }
    return -1;
}
#define CHILD_CALLED(parent, words) child_called(parent, words, sizeof(words))

static void a_helper_that_dies_is_followed_by_another(void **state)
{
    allow("network_access=echo.test:7");
    int fd = connected("echo.test", INTERNET_ECHO);
    expect_echo(fd);
    pid_t pid = CHILD_CALLED(CHILD_CALLED(getpid(), "moat-worker\0spawner"), "moat-helper\0net");
    assert_true(pid > 0);
    kill(pid, SIGKILL);
    expect_end(fd);
    until(totals().open == 0);
    fd = connected("echo.test", INTERNET_ECHO);
    expect_echo(fd);
    close(fd);
}

/* ---- how much ---- */

static void connections_are_capped_and_counted(void **state)
{
    int fds[4];
    struct net_limits few = usual;
    few.connections = 4;
    close_net();
    open_net(&few);
    allow("network_access=echo.test:7");
    for (int i = 0; i < 4; i++)
        fds[i] = connected("echo.test", INTERNET_ECHO);
    expect_failed("echo.test", INTERNET_ECHO, MOAT_E_LIMIT, "network_connections");
    close(fds[0]);
    until(totals().open == 3);
    fds[0] = connected("echo.test", INTERNET_ECHO);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    until(totals().open == 0);
    close_net();
    few.connects_per_second = 5;
    open_net(&few);
    allow("network_access=9.9.9.3:7");
    for (int i = 0; i < 5; i++) { /* five at once, and then five in each second */
        close(connected("9.9.9.3", INTERNET_ECHO));
        until(totals().open == 0);
    }
    expect_failed("9.9.9.3", INTERNET_ECHO, MOAT_E_RATE_LIMITED, "network_connects");
    for (struct asker a = {0}; ask(&a, "9.9.9.3", INTERNET_ECHO) != CONNECTED;)
        poll(NULL, 0, 10);
}

static void the_rate_of_all_connections_is_capped(void **state)
{
    struct net_limits slow = usual;
    static char block[1 << 16];
    slow.bytes_per_second = 4 << 20;
    close_net();
    open_net(&slow);
    allow("network_access=9.9.9.3:19");
    int a = connected("9.9.9.3", INTERNET_SOURCE), b = connected("9.9.9.3", INTERNET_SOURCE);
    uint64_t from = clock_mono_ns(), got = 0;
    while (got < 2 << 20) {
        struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
        poll(p, 2, -1);
        for (int i = 0; i < 2; i++)
            if (p[i].revents)
                got += (uint64_t)read(p[i].fd, block, sizeof block);
    }
    /* What may come at once, and what two pairs hold, are less than a MiB. */
    double rate = (double)(got - (1 << 20)) * 1e9 / (double)(clock_mono_ns() - from);
    assert_true(rate < 1.2 * (double)slow.bytes_per_second);
    close(a);
    close(b);
    until(totals().open == 0);
    close_net();
    open_net(&usual);
}

static void an_idle_helper_leaves(void **state)
{
    struct net_limits hasty = usual;
    hasty.idle_ns = 20 * NS_PER_MS;
    close_net();
    open_net(&hasty);
    allow("network_access=echo.test:7");
    for (int i = 0; i < 5; i++) {
        int fd = connected("echo.test", INTERNET_ECHO);
        poll(NULL, 0, 40); /* it stays while there is a connection */
        expect_echo(fd);
        close(fd);
        if (i % 2)
            until(totals().helpers == 0);
    }
    until(totals().helpers == 0);
    close_net();
    open_net(&usual);
}

static int start(void **state)
{
    struct error err;
    if (spawner_start(getenv("MOAT_WORKER"), getenv("MOAT_HELPER"), &spawner, &err)) {
        print_error("%s\n", err.message);
        return -1;
    }
    struct broker_config config = {.now = now};
    if (broker_new(&config, &broker, &err))
        return -1;
    open_net(&usual);
    return 0;
}

static int stop(void **state)
{
    close_net();
    broker_free(broker);
    spawner_stop(spawner);
    internet_close();
    return 0;
}

int main(void)
{
    const char *why;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_granted_name_is_connected_to),
        cmocka_unit_test(a_name_has_many_spellings_and_one_meaning),
        cmocka_unit_test(what_is_not_granted_is_denied),
        cmocka_unit_test(tricks_with_names_reach_nothing),
        cmocka_unit_test(addresses_that_are_not_public_have_to_be_named),
        cmocka_unit_test(only_the_address_that_was_judged_is_connected_to),
        cmocka_unit_test(a_ceiling_over_an_address_wins),
        cmocka_unit_test(a_grant_that_has_ended_allows_nothing),
        cmocka_unit_test(what_cannot_be_reached_says_why),
        cmocka_unit_test(bad_asks_are_refused),
        cmocka_unit_test(much_comes_back_as_it_was_sent),
        cmocka_unit_test(what_was_sent_before_a_close_arrives),
        cmocka_unit_test(a_descriptor_can_be_asked_for_that_does_not_block),
        cmocka_unit_test(when_a_revocation_returns_nothing_flows),
        cmocka_unit_test(a_revocation_ends_what_is_on_its_way),
        cmocka_unit_test(revocations_race_with_everything),
        cmocka_unit_test(who_gives_up_is_answered_and_leaves_nothing),
        cmocka_unit_test(a_helper_that_dies_is_followed_by_another),
        cmocka_unit_test(connections_are_capped_and_counted),
        cmocka_unit_test(the_rate_of_all_connections_is_capped),
        cmocka_unit_test(an_idle_helper_leaves),
    };
    signal(SIGPIPE, SIG_IGN);
    if (!internet_open(&why)) {
        printf("1..0 # SKIP %s\n", why);
        return 0;
    }
    return cmocka_run_group_tests_name("net", tests, start, stop);
}
