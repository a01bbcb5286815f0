/* Without who explains, a plugin can do less and never more; the host notices, says so and mends it. */
#include <fcntl.h>
#include <limits.h>

#include "loader/internal.h"
#include "rig.h"

static struct rig *r;
static char granted[] = "/var/tmp/moat-explain-test-XXXXXX";
static char read_granted[128];
static const char read_refused[] = "{\"path\": \"/etc/passwd\"}";

static int setup(void **state)
{
    int fd = mkstemp(granted);
    assert_int_equal(write(fd, "seen", 4), 4);
    fchmod(fd, 0644);
    close(fd);
    snprintf(read_granted, sizeof read_granted, "{\"path\": \"%s\"}", granted);
    return 0;
}

static int teardown(void **state)
{
    unlink(granted);
    return 0;
}

static void open_it(void)
{
    r = rig_open();
    r->l->tick_ns = 50 * NS_PER_MS;
    rig_define(r, "echo", &(struct variant){.read_path = granted}, LOADER_START);
    rig_expect(r, "echo", "read", read_granted, 0, "\"seen\"");
    rig_expect(r, "echo", "read", read_refused, 0, NULL);
    RIG_WAIT(rig_status(r, "echo")->denials >= 1);
}

/* Whatever becomes of the call: what is refused is not read. */
static bool stays_refused(void)
{
    struct test_call *c = rig_run(r, "echo", "read", read_refused, 0);
    bool read = c->call.code == 0 && strstr((const char *)c->call.result, "root") != NULL;
    test_call_free(c);
    return !read;
}

static bool is_read(void)
{
    struct test_call *c = rig_run(r, "echo", "read", read_granted, 0);
    bool read = c->call.code == 0 && strstr((const char *)c->call.result, "seen") != NULL;
    test_call_free(c);
    return read;
}

/* Something else takes the number of each listener of this process: nobody answers there any more. */
static unsigned break_listeners(void)
{
    unsigned n = 0;
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int fd = 0; fd < 1024; fd++) {
        char path[40], link[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, link, sizeof link - 1) > 0 && strcmp(link, "anon_inode:seccomp notify") == 0 &&
            dup2(nothing, fd) == fd)
            n++;
    }
    close(nothing);
    return n;
}

static struct loader_explainer explainer(void)
{
    struct loader_explainer e;
    loader_explainer(r->l, &e);
    return e;
}

static void a_broken_listener_allows_nothing_and_is_mended(void **state)
{
    open_it();
    pid_t before = rig_status(r, "echo")->first_pid;
    assert_int_equal(explainer().lost, 0);
    assert_true(break_listeners() >= 1);
    assert_true(stays_refused());
    RIG_WAIT(explainer().lost >= 1);
    RIG_WAIT(is_read()); /* by another worker */
    assert_true(rig_status(r, "echo")->first_pid != before);
    assert_int_equal(rig_status(r, "echo")->restarts, 0); /* not the plugin's fault */
    uint64_t denials = rig_status(r, "echo")->denials;
    assert_true(stays_refused());
    RIG_WAIT(rig_status(r, "echo")->denials > denials); /* and explained again */
    assert_int_equal(explainer().lost, 1);
    assert_true(explainer().mended_ns > 0 && !explainer().gone);
    rig_close(r, 0);
}

/* While it is broken many calls are tried: not one gets what was not granted. */
static void nothing_slips_through_meanwhile(void **state)
{
    for (int round = 0; round < 3; round++) {
        open_it();
        assert_true(break_listeners() >= 1);
        for (int i = 0; i < 100; i++)
            assert_true(stays_refused());
        RIG_WAIT(explainer().lost >= 1);
        rig_close(r, 0);
    }
}

static void a_thread_that_ended_is_started_again(void **state)
{
    open_it();
    loop_stop(r->l->explain);
    RIG_WAIT(explainer().restarts >= 1);
    assert_true(stays_refused());
    assert_true(is_read());
    assert_int_equal(rig_status(r, "echo")->restarts, 0);
    /* A call that asks meanwhile waits, and is answered as ever. */
    loop_stop(r->l->explain);
    assert_true(stays_refused());
    assert_true(is_read());
    RIG_WAIT(explainer().restarts >= 2);
    assert_true(explainer().mended_ns > 0);
    rig_close(r, 0);
}

/* An end in order is no loss. */
static void who_ends_loses_nothing(void **state)
{
    open_it();
    rig_kill_worker(r, "echo");
    RIG_WAIT(is_read());
    assert_int_equal(rig_reload(r, "echo", NULL), 0);
    assert_int_equal(rig_stop(r, "echo", 0, NULL), 0);
    assert_int_equal(explainer().lost, 0);
    rig_close(r, 0);
}

/* A process that ends gives back its listener, then its memory and its namespaces, and is gone only then: looked at all
 * the time, most are seen in between. */
static void who_is_seen_ending_loses_nothing(void **state)
{
    open_it();
    r->l->tick_ns = NS_PER_MS / 4;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(rig_start(r, "echo", NULL), 0);
        assert_int_equal(rig_stop(r, "echo", 10 * NS_PER_S, NULL), 0);
    }
    assert_int_equal(explainer().lost, 0);
    rig_close(r, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broken_listener_allows_nothing_and_is_mended),
        cmocka_unit_test(nothing_slips_through_meanwhile),
        cmocka_unit_test(a_thread_that_ended_is_started_again),
        cmocka_unit_test(who_ends_loses_nothing),
        cmocka_unit_test(who_is_seen_ending_loses_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
