/* Programs that could be written under another name: hard links, and places that are mounted twice. */
#include "rig.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/reach.h"

static char directory[64];
static char names[8][128];

static const char *in(int n, const char *name)
{
    snprintf(names[n], sizeof names[n], "%s/%s", directory, name);
    return names[n];
}

static struct wall_grant granted(const char *path, bool writable)
{
    struct wall_grant g;
    struct error err = {0};
    if (wall_resolve(path, writable, &g, &err) != 0)
        fail_msg("%s", err.message);
    return g;
}

static int look(const struct wall_grant *grants, size_t n, const char *program, struct reached *out, struct error *err)
{
    static struct wall_program programs[2];
    programs[0] = (struct wall_program){.shipped = true, .place = WALL_PACKAGE_PLACE "/tool"};
    programs[1] = (struct wall_program){.file = granted(program, false)};
    return reach_writable(grants, n, programs, 2, out, err);
}

/* What is found through one place. */
static bool reached(const char *place, bool writable, const char *program, struct reached *out)
{
    struct wall_grant g = granted(place, writable);
    struct error err = {0};
    int rc = look(&g, 1, program, out, &err);
    if (rc < 0)
        fail_msg("%s", err.message);
    if (rc == 0)
        return false;
    assert_string_equal(out->program->file.path, program);
    assert_string_equal(out->place->path, place);
    return true;
}

static int start(void **state)
{
    rig_directory(directory);
    for (const char *const *name = (const char *const[]){"bin", "out", "out/deep", "out/deep/deeper", NULL}; *name;
         name++)
        assert_int_equal(mkdir(in(0, *name), 0755), 0);
    rig_write(directory, "bin/tool", "a program", 0755);
    rig_write(directory, "out/other", "another", 0755);
    return 0;
}

static int stop(void **state)
{
    rig_remove(directory);
    return 0;
}

static void a_file_with_one_name_is_not_reached(void **state)
{
    struct reached r;
    assert_false(reached(in(0, "out"), true, in(1, "bin/tool"), &r));
    assert_false(reached(in(0, "out/other"), true, in(1, "bin/tool"), &r));
    /* Read-only is no way to write. */
    assert_false(reached(in(0, "bin"), false, in(1, "bin/tool"), &r));
    assert_true(reached(in(0, "bin"), true, in(1, "bin/tool"), &r));
    assert_false(r.file);
}

static void a_hard_link_is_found_wherever_it_lies(void **state)
{
    struct reached r;
    const char *tool = in(1, "bin/tool");
    assert_int_equal(link(tool, in(2, "elsewhere")), 0);
    assert_false(reached(in(0, "out"), true, tool, &r));
    assert_int_equal(link(tool, in(3, "out/deep/deeper/alias")), 0);
    assert_true(reached(in(0, "out"), true, tool, &r) && r.file);
    assert_true(reached(in(0, "out/deep"), true, tool, &r) && r.file);
    assert_false(reached(in(0, "out"), false, tool, &r));
    assert_true(reached(names[3], true, tool, &r) && r.file); /* that one name granted */
    struct wall_grant both[] = {granted(in(0, "bin"), false), granted(in(4, "out"), true)};
    struct error err = {0};
    assert_int_equal(look(both, 2, tool, &r, &err), 1);
    assert_ptr_equal(r.place, &both[1]);
    assert_int_equal(unlink(names[3]), 0);
    assert_int_equal(unlink(names[2]), 0);
}

/* What may lie where the host does not see it counts as there. */
static void what_cannot_be_looked_through_is_said(void **state)
{
    struct wall_grant g = granted(in(0, "out"), true);
    struct reached r;
    struct error err = {0};
    char path[4096];
    assert_int_equal(link(in(1, "bin/tool"), in(2, "elsewhere")), 0);
    int n = snprintf(path, sizeof path, "%s/out/deep", directory);
    for (int i = 0; i < 201; i++) {
        n += snprintf(path + n, sizeof path - (size_t)n, "/d");
        assert_int_equal(mkdir(path, 0755), 0);
    }
    assert_int_equal(look(&g, 1, names[1], &r, &err), -MOAT_E_LIMIT);
    assert_non_null(strstr(err.message, "cannot be looked through"));
    for (int i = 0; i < 201; i++, n -= 2) {
        path[n] = '\0';
        assert_int_equal(rmdir(path), 0);
    }
    assert_int_equal(unlink(names[2]), 0);
}

static void write_text(const char *path, const char *text)
{
    fd_auto fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || !io_write_all(fd, text, strlen(text)))
        _exit(3);
}

/* Its own mounts, and the right to make them. */
static void enter_namespace(void)
{
    char map[64];
    uid_t uid = geteuid();
    if (unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)) < 0)
        _exit(3);
    if (uid) {
        snprintf(map, sizeof map, "%u %u 1", (unsigned)uid, (unsigned)uid);
        write_text("/proc/self/uid_map", map);
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        _exit(3);
}

/* 0 when `place` reaches the program with `from` mounted at `at`, 1 when not. */
static int reached_over(const char *from, const char *at, const char *place, bool file)
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        struct reached r = {0};
        enter_namespace();
        if (mount(from, at, NULL, MS_BIND | MS_REC, NULL) < 0)
            _exit(3);
        bool found = reached(place, true, in(1, "bin/tool"), &r);
        _exit(!found ? 1 : r.file == file ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void what_is_mounted_twice_is_found(void **state)
{
    assert_int_equal(mkdir(in(2, "twice"), 0755), 0);
    assert_int_equal(mkdir(in(3, "out/with space"), 0755), 0);
    assert_int_equal(reached_over(in(4, "out"), in(2, "twice"), in(2, "twice"), false), 1);
    assert_int_equal(reached_over(in(4, "bin"), in(2, "twice"), in(2, "twice"), false), 0);
    assert_int_equal(reached_over("/", in(2, "twice"), in(2, "twice"), false), 0);
    assert_int_equal(reached_over(in(4, "bin"), in(3, "out/with space"), in(0, "out"), false), 0);
    assert_int_equal(reached_over(in(4, "bin/tool"), in(5, "out/other"), in(0, "out"), true), 0);
    assert_int_equal(reached_over(in(4, "bin/tool"), in(5, "out/other"), in(0, "out/deep"), true), 1);
    assert_int_equal(rmdir(names[2]), 0);
    assert_int_equal(rmdir(names[3]), 0);
}

int main(int argc, char **argv)
{
    rig_user(argv);
    rig_needs_wall();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_with_one_name_is_not_reached),
        cmocka_unit_test(a_hard_link_is_found_wherever_it_lies),
        cmocka_unit_test(what_cannot_be_looked_through_is_said),
        cmocka_unit_test(what_is_mounted_twice_is_found),
    };
    return cmocka_run_group_tests_name("reach", tests, start, stop);
}
