/* Death, in every place: of the host, the spawner and the worker; and what is left afterwards, which is nothing. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "sandbox/messages.h"

static struct rig_result r;

/* -- the host is killed -- */

enum point {
    AT_SPAWNER,
    AT_ASKED,
    AT_ASKED_THREE,
    AT_SPAWNED,
    AT_HALF,
    AT_ASSIGNED,
    AT_BUILT,
    AT_GO,
    AT_READY,
    AT_RUNNING_THREADS,
    AT_SPINNING,
    AT_NOTIFIED,
    AT_HELPER,
    AT_HELPER_RUNNING,
    POINTS,
};

static _Noreturn void die(void)
{
    raise(SIGKILL);
    _exit(1);
}

static void host_of_worker(struct spawner *s, enum point point)
{
    static const char *const scripts[POINTS] = {
        [AT_SPINNING] = "spin", [AT_RUNNING_THREADS] = "threads 5\nspin", [AT_NOTIFIED] = "socket 2 1\nstay"};
    struct rig_order o = {.script = scripts[point] ? scripts[point] : "stay"};
    struct rig g;
    rig_open(&g, s, &o);
    if (point == AT_ASKED_THREE)
        for (int i = 0; i < 2; i++)
            rig_open(&(struct rig){0}, s, &o);
    if (point <= AT_ASKED_THREE)
        die();
    if (point == AT_SPAWNED) {
        struct child_event e;
        do
            child_next(&g.child, &e);
        while (e.kind == CHILD_NOTHING);
        die();
    }
    rig_until(&g, &o, &r, &r.half, 10000);
    if (point == AT_HALF)
        die();
    wall_assign(&g.child, &g.request, NULL);
    if (point == AT_ASSIGNED)
        die();
    struct wall_event e;
    do
        wall_next(&g.child, &e);
    while (e.kind == WALL_NOTHING);
    if (point == AT_BUILT)
        die();
    wall_go(&g.child);
    if (point == AT_GO)
        die();
    g.listener = e.listener;
    r.built = true;
    rig_until(&g, &o, &r, &r.ready, 10000);
    if (point == AT_NOTIFIED)
        usleep(20000); /* the worker waits for an answer that never comes */
    else if (point != AT_READY)
        rig_until(&g, &o, &r, NULL, 50);
    die();
}

static void host_of_helper(struct spawner *s, enum point point)
{
    struct child c = CHILD_NONE;
    int in[2];
    if (pipe2(in, O_CLOEXEC) < 0 ||
        spawner_helper(s, point == AT_HELPER ? "echo" : "spin", in[0], 1, NULL, &c, NULL) != 0)
        _exit(1);
    if (point == AT_HELPER_RUNNING)
        usleep(100000);
    die();
}

/* Everything that the dead host left is ours now (subreaper): all of it must end by itself. */
static bool all_gone(int patience_ms)
{
    uint64_t until = clock_mono_ns() + (uint64_t)patience_ms * NS_PER_MS;
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG | __WALL);
        if (pid < 0 && errno == ECHILD)
            return true;
        if (clock_mono_ns() > until)
            return false;
        if (pid == 0)
            usleep(2000);
    }
}

static void a_killed_host_leaves_nothing(void **state)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (int point = 0; point < POINTS; point++) {
        pid_t host = fork();
        if (host == 0) {
            struct spawner *s = rig_spawner();
            if (point == AT_SPAWNER)
                die();
            if (point >= AT_HELPER)
                host_of_helper(s, (enum point)point);
            host_of_worker(s, (enum point)point);
        }
        int status = 0;
        assert_int_equal(waitpid(host, &status, 0), host);
        if (!WIFSIGNALED(status))
            fail_msg("the host did not come to point %d (%x)", point, (unsigned)status);
        if (!all_gone(10000))
            fail_msg("processes survive a host that was killed at point %d", point);
    }
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    assert_int_equal(rig_descendants(), 0);
}

/* -- the spawner is killed -- */

static pid_t spawner_pid(void)
{
    for (pid_t p = getpid() + 1; p < getpid() + 100000; p++) {
        char path[64], text[256] = "";
        snprintf(path, sizeof path, "/proc/%d/stat", (int)p);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        int parent = 0;
        char *after = n > 0 ? strrchr(text, ')') : NULL;
        if (after && sscanf(after + 1, " %*c %d", &parent) == 1 && parent == getpid() && strstr(text, "moat-spawner"))
            return p;
    }
    return 0;
}

static void a_killed_spawner_takes_its_children_along(void **state)
{
    struct spawner *s = rig_spawner();
    struct rig_order o = {.script = "spin"};
    struct rig half, running;
    static struct rig_result rh, rr;
    memset(&rh, 0, sizeof rh);
    memset(&rr, 0, sizeof rr);
    rig_open(&half, s, &o);
    assert_true(rig_until(&half, &o, &rh, &rh.half, 10000));
    rig_open(&running, s, &o);
    assert_true(rig_until(&running, &o, &rr, &rr.ready, 10000));
    assert_true(spawner_alive(s));
    pid_t pid = spawner_pid();
    assert_true(pid > 0);
    kill(pid, SIGKILL);
    struct child_event e;
    assert_true(child_wait(&half.child, 10000, &e));
    assert_int_equal(e.kind, CHILD_EXITED);
    assert_int_equal(e.wait_status, SIGKILL);
    assert_true(child_wait(&running.child, 10000, &e));
    assert_int_equal(e.wait_status, SIGKILL);
    child_next(&running.child, &e);
    assert_int_equal(e.kind, CHILD_NOTHING);
    struct pollfd main_end = {.fd = spawner_fd(s)};
    assert_int_equal(poll(&main_end, 1, 10000), 1);
    assert_false(spawner_alive(s));
    struct pollfd p[2] = {{.fd = half.child.pidfd, .events = POLLIN}, {.fd = running.child.pidfd, .events = POLLIN}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(poll(&p[i], 1, 10000), 1);
    struct child c = CHILD_NONE;
    struct error err = {0};
    assert_int_equal(spawner_worker(s, &c, &err), -MOAT_E_START_FAILED);
    assert_int_equal(c.pidfd, -1);
    rig_close(&half);
    rig_close(&running);
    spawner_stop(s);
}

static void stopping_the_spawner_ends_everything(void **state)
{
    struct spawner *s = rig_spawner();
    struct rig_order o = {.script = "spin"};
    struct rig g;
    memset(&r, 0, sizeof r);
    rig_open(&g, s, &o);
    assert_true(rig_until(&g, &o, &r, &r.ready, 10000));
    spawner_stop(s);
    struct pollfd p = {.fd = g.child.pidfd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    rig_close(&g);
    spawner_stop(NULL);
}

/* -- nothing is left -- */

static void two_hundred_workers_leave_no_descriptor(void **state)
{
    struct spawner *s = rig_spawner();
    struct rig_order o = {.script = "", .no_code = true};
    rig_run(s, &o, &r);
    size_t before = rig_descriptors();
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fdinfo", (int)spawner_pid());
    for (int i = 0; i < 200; i++) {
        rig_run(s, &o, &r);
        assert_true(r.ready);
        assert_int_equal(r.end.wait_status, 0);
    }
    assert_int_equal(rig_descriptors(), before);
    assert_int_equal(rig_descendants(), 1); /* the spawner */
    spawner_stop(s);
    assert_int_equal(rig_descendants(), 0);
}

/* Killed in the pool, before and after the assignment: the exit is reported each time. */
static void a_pooled_worker_can_be_killed(void **state)
{
    struct spawner *s = rig_spawner();
    struct rig_order o = {.script = "stay"};
    for (int i = 0; i < 20; i++) {
        struct rig g;
        memset(&r, 0, sizeof r);
        rig_open(&g, s, &o);
        assert_true(rig_until(&g, &o, &r, &r.half, 10000));
        if (i % 2)
            assert_int_equal(wall_assign(&g.child, &g.request, &r.error), 0);
        child_kill(&g.child);
        assert_true(child_wait(&g.child, 10000, &r.end));
        assert_int_equal(r.end.wait_status, SIGKILL);
        rig_close(&g);
    }
    spawner_stop(s);
}

static void many_workers_live_at_once(void **state)
{
    enum { MANY = 40 };
    static struct rig g[MANY];
    static struct rig_order o = {.script = "stay"};
    struct spawner *s = rig_spawner();
    static struct rig_result many;
    for (int i = 0; i < MANY; i++)
        rig_open(&g[i], s, &o);
    for (int i = 0; i < MANY; i++) {
        memset(&many, 0, sizeof many);
        if (!rig_until(&g[i], &o, &many, &many.ready, 30000))
            fail_msg("worker %d: step `%s` %s (%s), child step `%s` (%s) status %x, posture %s", i, many.failed.step,
                     many.failed.message, strerror(many.failed.errnum), many.end.step, strerror(many.end.errnum),
                     (unsigned)many.end.wait_status, many.error.message);
    }
    for (int i = 0; i < MANY; i++)
        rig_close(&g[i]);
    spawner_stop(s);
}

/* The channel is sent to a worker that may be at its end already: why is what it said itself. */
static void last_words_are_heard_over_an_unread_channel(void **state)
{
    struct report said = {.version = MESSAGE_VERSION, .kind = WALL_FAILED, .errnum = EPERM, .step = "private_root"};
    struct error err = {0};
    for (int late = 0; late < 2; late++) {
        struct child c = CHILD_NONE;
        struct wall_event e;
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
        c.control = pair[0];
        assert_true(io_send(pair[1], &said, sizeof said, NULL, 0));
        if (late)
            io_close(&pair[1]);
        assert_int_equal(wall_channel(&c, 0, 0, 0, &err), 0);
        if (!late)
            io_close(&pair[1]);
        wall_next(&c, &e);
        assert_int_equal(e.kind, WALL_FAILED);
        assert_int_equal(e.errnum, EPERM);
        assert_string_equal(e.step, "private_root");
        wall_next(&c, &e);
        assert_int_equal(e.kind, WALL_GONE);
        child_close(&c);
    }
}

static void an_executable_that_cannot_run_is_named(void **state)
{
    struct spawner *s = NULL;
    struct error err = {0};
    char d[64], path[80];
    assert_int_equal(spawner_start("/no/such/worker", NULL, &s, &err), -MOAT_E_NO_SUCH_FILE);
    assert_non_null(strstr(err.message, "/no/such/worker"));
    rig_directory(d);
    rig_write(d, "worker", "not a program", 0755);
    snprintf(path, sizeof path, "%.60s/worker", d);
    assert_int_equal(spawner_start(path, NULL, &s, &err), -MOAT_E_START_FAILED);
    rig_remove(d);
    assert_int_equal(rig_descendants(), 0);
}

/* The spawner has told of it and has not let it go yet: its write to the dead one must not end it. */
static void a_child_killed_as_soon_as_it_is_told_of_harms_nobody(void **state)
{
    struct spawner *s = rig_spawner();
    for (int i = 0; i < 100; i++) {
        struct child c = CHILD_NONE;
        struct child_event e;
        struct error err;
        assert_int_equal(spawner_worker(s, &c, &err), 0);
        do
            child_next(&c, &e);
        while (e.kind == CHILD_NOTHING);
        assert_int_equal(e.kind, CHILD_SPAWNED);
        child_kill(&c);
        assert_true(child_wait(&c, 20000, &e));
        child_close(&c);
    }
    assert_true(spawner_alive(s));
    spawner_stop(s);
}

int main(int argc, char **argv)
{
    rig_user(argv);
    rig_needs_wall();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_host_leaves_nothing),
        cmocka_unit_test(a_killed_spawner_takes_its_children_along),
        cmocka_unit_test(stopping_the_spawner_ends_everything),
        cmocka_unit_test(two_hundred_workers_leave_no_descriptor),
        cmocka_unit_test(a_pooled_worker_can_be_killed),
        cmocka_unit_test(a_child_killed_as_soon_as_it_is_told_of_harms_nobody),
        cmocka_unit_test(many_workers_live_at_once),
        cmocka_unit_test(last_words_are_heard_over_an_unread_channel),
        cmocka_unit_test(an_executable_that_cannot_run_is_named),
    };
    return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
