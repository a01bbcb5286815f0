/* A helper behind its wall: it can read its input and write its answer, and anything else is its end. */
#include "rig.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "sandbox/posture_text.h"

static struct spawner *spawner;

struct run {
    struct child_event end;
    char output[4096];
    size_t len;
};

static void run_duty(const char *duty, const char *input, const struct wall_limits *limits, struct run *r)
{
    struct child c = CHILD_NONE;
    struct error err = {0};
    int out[2];
    int in = io_sealed("input", input, strlen(input));
    assert_true(in >= 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    memset(r, 0, sizeof *r);
    if (spawner_helper(spawner, duty, in, out[1], limits, &c, &err) != 0)
        fail_msg("%s", err.message);
    close(out[1]);
    close(in);
    ssize_t n;
    while (r->len + 1 < sizeof r->output && (n = read(out[0], r->output + r->len, sizeof r->output - 1 - r->len)) > 0)
        r->len += (size_t)n;
    close(out[0]);
    assert_true(child_wait(&c, 20000, &r->end));
    if (r->end.kind == CHILD_FAILED)
        fail_msg("step %s: %s", r->end.step, strerror(r->end.errnum));
    assert_int_equal(r->end.kind, CHILD_EXITED);
    child_close(&c);
}

static void expect_exit(const char *duty, int status)
{
    struct run r;
    run_duty(duty, "", NULL, &r);
    if (!WIFEXITED(r.end.wait_status) || WEXITSTATUS(r.end.wait_status) != status)
        fail_msg("%s ended with %x: %s", duty, (unsigned)r.end.wait_status, r.output);
}

static void it_reads_and_answers(void **state)
{
    struct run r;
    run_duty("echo", "a package's bytes", NULL, &r);
    assert_true(WIFEXITED(r.end.wait_status) && WEXITSTATUS(r.end.wait_status) == 0);
    assert_string_equal(r.output, "a package's bytes");
    expect_exit("stderr", 0);
    expect_exit("stat", 0);
    expect_exit("no-such-duty", 2);
}

static void anything_else_kills_it(void **state)
{
    static const char *const duties[] = {"try-open",      "try-socket", "try-fork", "try-exec", "try-code",
                                         "try-make-code", "try-shared", "try-kill", "try-dup",  "try-prctl"};
    for (size_t i = 0; i < sizeof duties / sizeof *duties; i++) {
        struct run r;
        run_duty(duties[i], "", NULL, &r);
        if (!WIFSIGNALED(r.end.wait_status) || WTERMSIG(r.end.wait_status) != SIGSYS)
            fail_msg("%s ended with %x: %s", duties[i], (unsigned)r.end.wait_status, r.output);
    }
}

static void its_memory_and_time_are_bounded(void **state)
{
    struct run r;
    run_duty("memory", "", NULL, &r);
    assert_true(WIFEXITED(r.end.wait_status) && WEXITSTATUS(r.end.wait_status) == 0);
    assert_in_range(atoi(r.output), 200, 256);
    run_duty("memory", "", &(struct wall_limits){.memory = 64 << 20}, &r);
    assert_in_range(atoi(r.output), 30, 64);
    run_duty("spin", "", NULL, &r);
    assert_true(WIFSIGNALED(r.end.wait_status));
    assert_true(r.end.usage.ru_utime.tv_sec >= 1);
}

static void its_posture_is_what_was_asked_for(void **state)
{
    struct child c = CHILD_NONE;
    struct child_event e;
    struct error err = {0};
    int in[2], out[2];
    char path[64], ours[64], theirs[64];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    if (spawner_helper(spawner, "echo", in[0], out[1], NULL, &c, &err) != 0)
        fail_msg("%s", err.message);
    close(in[0]);
    /* Its first answer says that it is locked. */
    char x;
    assert_int_equal(write(in[1], "x", 1), 1);
    assert_int_equal(read(out[0], &x, 1), 1);
    do
        child_next(&c, &e);
    while (e.kind == CHILD_NOTHING);
    assert_int_equal(e.kind, CHILD_SPAWNED);
    buf_auto status = BUF_INIT(1 << 20);
    snprintf(path, sizeof path, "/proc/%d/status", (int)c.pid);
    assert_int_equal(io_read_file(path, &status, &err), 0);
    const char *const zero[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(strtoull(posture_field(buf_text(&status), zero[i]), NULL, 16), 0);
    assert_int_equal(atoi(posture_field(buf_text(&status), "NoNewPrivs")), 1);
    assert_int_equal(atoi(posture_field(buf_text(&status), "Seccomp")), 2);
    assert_int_equal(atoi(posture_field(buf_text(&status), "FDSize")) > 0, 1);
    static const char *const spaces[] = {"user", "mnt", "pid", "ipc", "uts", "cgroup"};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)c.pid, spaces[i]);
        ssize_t a = readlink(path, theirs, sizeof theirs - 1);
        snprintf(path, sizeof path, "/proc/self/ns/%s", spaces[i]);
        ssize_t b = readlink(path, ours, sizeof ours - 1);
        assert_true(a > 0 && b > 0);
        assert_false(a == b && memcmp(ours, theirs, (size_t)a) == 0);
    }
    assert_true(c.uid >= 0x70000000u || c.uid == geteuid());
    close(in[1]);
    close(out[1]);
    assert_true(child_wait(&c, 10000, &e));
    assert_true(e.kind == CHILD_EXITED && e.wait_status == 0);
    close(out[0]);
    child_close(&c);
}

static void it_cannot_be_locked_by_hand_without_its_wall(void **state)
{
    /* An ordinary user's plain process has no right to drop: the lock says so and the helper does nothing. */
    if (geteuid() == 0) {
        print_message("# this test is about ordinary users\n");
        return;
    }
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), 1);
        execl(rig_path("HELPER"), "helper", "echo", (char *)NULL);
        _exit(9);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static int start(void **state)
{
    spawner = rig_spawner();
    return 0;
}

static int stop(void **state)
{
    spawner_stop(spawner);
    return 0;
}

int main(int argc, char **argv)
{
    rig_user(argv);
    rig_needs_wall();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_and_answers),
        cmocka_unit_test(anything_else_kills_it),
        cmocka_unit_test(its_memory_and_time_are_bounded),
        cmocka_unit_test(its_posture_is_what_was_asked_for),
        cmocka_unit_test(it_cannot_be_locked_by_hand_without_its_wall),
    };
    return cmocka_run_group_tests_name("helper", tests, start, stop);
}
