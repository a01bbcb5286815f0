/* Doctor on this machine, and on the same machine with something taken away. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/doctor.h"

/* The report of a process that first takes something away from itself; false when that cannot be done here. */
static bool report_after(bool (*take_away)(void), struct doctor_report *out)
{
    struct doctor_report *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (take_away && !take_away())
            _exit(77);
        doctor_run(rig_path("WORKER"), rig_path("HELPER"), shared);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    *out = *shared;
    munmap(shared, sizeof *shared);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) != 77;
}

static void print(const struct doctor_report *r)
{
    print_message("# %s; complete %d; stops at `%s` %s\n", r->kernel, r->complete, r->failed_step, r->failed_why);
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        if (!r->lines[i].works)
            print_message("# %s: %s | %s | %s\n", wall_layer_name(r->lines[i].layer), r->lines[i].detail,
                          r->lines[i].cost, r->lines[i].cure);
}

/* Says what a line must say. */
static void check_lines(const struct doctor_report *r)
{
    for (int i = 0; i < WALL_LAYER_COUNT; i++) {
        const struct doctor_line *l = &r->lines[i];
        assert_int_equal(l->layer, i);
        assert_true(l->detail[0] != '\0');
        assert_int_equal(l->works, l->cost[0] == '\0');
        assert_int_equal(l->works, l->cure[0] == '\0');
    }
}

static void this_machine_has_every_layer(void **state)
{
    struct doctor_report r;
    assert_true(report_after(NULL, &r));
    check_lines(&r);
    if (!r.complete) {
        print(&r);
        rig_skip("this machine lacks a layer");
    }
    assert_string_equal(r.failed_step, "");
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

/* A user namespace in which no other may be made, as on a machine with user.max_user_namespaces=0. */
static bool no_user_namespaces(void)
{
    char map[64];
    unsigned uid = geteuid(), gid = getegid();
    if (uid == 0 || unshare(CLONE_NEWUSER) < 0 || !write_file("/proc/self/setgroups", "deny"))
        return false;
    snprintf(map, sizeof map, "0 %u 1", gid);
    if (!write_file("/proc/self/gid_map", map))
        return false;
    snprintf(map, sizeof map, "0 %u 1", uid);
    return write_file("/proc/self/uid_map", map) && write_file("/proc/sys/user/max_user_namespaces", "0");
}

static void without_user_namespaces_the_first_step_is_named(void **state)
{
    struct doctor_report r;
    if (!report_after(no_user_namespaces, &r)) {
        print_message("# this run cannot forbid itself user namespaces\n");
        return;
    }
    check_lines(&r);
    assert_false(r.complete);
    assert_string_equal(r.failed_step, "clone3");
    assert_false(r.lines[WALL_USER_NS].works);
    assert_false(r.lines[WALL_ROOT].works);
    assert_non_null(strstr(r.lines[WALL_USER_NS].cure, "user.max_user_namespaces"));
    assert_true(r.lines[WALL_SECCOMP].works);
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))

/* As Docker's profile does: clone of namespaces is refused, clone3 unknown. */
static bool refuse_namespaces(void)
{
    struct sock_filter code[] = {
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
        LOAD(args[0]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog p = {.len = sizeof code / sizeof *code, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) == 0;
}

static void an_outer_sandbox_is_noticed(void **state)
{
    struct doctor_report r;
    assert_true(report_after(refuse_namespaces, &r));
    check_lines(&r);
    assert_false(r.complete);
    assert_string_equal(r.failed_step, "clone3");
    assert_non_null(strstr(r.failed_why, strerror(EPERM)));
}

/* clone3 alone unknown: the old call does. */
static bool no_clone3(void)
{
    struct sock_filter code[] = {
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog p = {.len = sizeof code / sizeof *code, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) == 0;
}

static void without_clone3_the_old_call_is_used(void **state)
{
    struct doctor_report r, plain;
    assert_true(report_after(NULL, &plain));
    assert_true(report_after(no_clone3, &r));
    assert_int_equal(r.complete, plain.complete);
}

/* Somebody around us already listens: there can be no second listener. */
static bool listen_already(void)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog p = {.len = 1, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &p) >= 0;
}

static void a_second_listener_is_a_missing_layer(void **state)
{
    struct doctor_report r;
    if (!report_after(listen_already, &r))
        rig_skip("no seccomp listener");
    check_lines(&r);
    assert_false(r.complete);
    assert_string_equal(r.failed_step, "");
    assert_false(r.lines[WALL_NOTIFY].works);
    assert_true(r.lines[WALL_SECCOMP].works);
}

/* Without a listener the wall holds all the same; the posture is refused unless the operator accepted that. */
static bool quiet_ok;
static void run_quiet(void **state)
{
    static struct rig_result r;
    struct rig_order o = {.script = "libc\nopen_read /etc/passwd\nsocket 2 1\nmap 7 0x22\nfork\ncreate /tmp/a 04755\n"
                                    "create /tmp/b\nmemfd\nraw 105 0"};
    struct spawner *s = rig_spawner();
    rig_run(s, &o, &r);
    assert_int_equal(r.posture, -MOAT_E_WALL_MISSING);
    assert_non_null(strstr(r.error.message, "denial_notify"));
    assert_false(r.ready);
    o.accepted = WALL_BIT(NOTIFY);
    rig_run(s, &o, &r);
    assert_int_equal(r.posture, 0);
    assert_int_equal(r.seen.missing, WALL_BIT(NOTIFY));
    rig_expect(&r, "libc", "ok");
    rig_expect(&r, "open_read /etc/passwd", "ENOENT");
    rig_expect(&r, "socket 2 1", "EPERM");
    rig_expect(&r, "map 7 0x22", "EPERM");
    rig_expect(&r, "fork", "EPERM");
    rig_expect(&r, "create /tmp/a 04755", "EPERM");
    rig_expect(&r, "create /tmp/b", "ok");
    rig_expect(&r, "memfd", "EPERM");
    assert_int_equal(r.nevents, 0);
    spawner_stop(s);
    quiet_ok = true;
}

static void the_wall_holds_without_a_listener(void **state)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (!listen_already())
            _exit(77);
        const struct CMUnitTest one[] = {cmocka_unit_test(run_quiet)};
        dup2(open("/dev/null", O_WRONLY), 1);
        _exit(cmocka_run_group_tests_name("quiet", one, NULL, NULL) == 0 && quiet_ok ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WEXITSTATUS(status) == 77)
        rig_skip("no seccomp listener");
    assert_int_equal(status, 0);
}

static void a_worker_that_cannot_be_run_is_named(void **state)
{
    struct doctor_report r;
    doctor_run("/no/such/worker", NULL, &r);
    check_lines(&r);
    assert_false(r.complete);
    assert_string_equal(r.failed_step, "spawner");
    assert_non_null(strstr(r.failed_why, "/no/such/worker"));
}

int main(int argc, char **argv)
{
    rig_user(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_machine_has_every_layer),
        cmocka_unit_test(without_user_namespaces_the_first_step_is_named),
        cmocka_unit_test(an_outer_sandbox_is_noticed),
        cmocka_unit_test(without_clone3_the_old_call_is_used),
        cmocka_unit_test(a_second_listener_is_a_missing_layer),
        cmocka_unit_test(the_wall_holds_without_a_listener),
        cmocka_unit_test(a_worker_that_cannot_be_run_is_named),
    };
    return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
