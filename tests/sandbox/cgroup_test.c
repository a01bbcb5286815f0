/* Control groups, on a tree of plain files: what is written where, what is read, and that nothing is left.  Plain
 * directories cannot be removed while they hold files, as real ones cannot while they hold processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/cgroup.h"

static char root[64], self[96], why[160];

static const char *path(const char *below)
{
    static char all[4][512];
    static unsigned turn;
    char *out = all[turn++ % 4];
    snprintf(out, sizeof all[0], "%s/%s", root, below);
    return out;
}

static void put(const char *file, const char *text)
{
    FILE *f = fopen(file, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static const char *get(const char *file)
{
    static char text[256];
    memset(text, 0, sizeof text);
    FILE *f = fopen(file, "re");
    if (!f)
        return "";
    assert_true(fread(text, 1, sizeof text - 1, f) < sizeof text);
    fclose(f);
    return text;
}

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *f)
{
    return remove(name);
}

/* What the kernel does when a group is removed: its files go with it. */
static void empty(const char *name)
{
    static const char *const files[] = {"memory.max",   "memory.swap.max", "memory.oom.group", "pids.max",
                                        "cgroup.procs", "memory.events",   "memory.peak"};
    char file[600];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(file, sizeof file, "%s/%s", path(name), files[i]);
        unlink(file);
    }
}

static int make_tree(void **state)
{
    strcpy(root, "/tmp/moat-cgroup-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(self, sizeof self, "%s/self", root);
    mkdir(path("slice"), 0755);
    mkdir(path("slice/moat-host"), 0755);
    put(path("slice/cgroup.controllers"), "cpuset cpu io memory pids\n");
    put(path("slice/cgroup.subtree_control"), "");
    put(self, "9:name=systemd:/x\n0::/slice/moat-host\n");
    return 0;
}

static int remove_tree(void **state)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static struct cgroup_place *open_place(void)
{
    struct cgroup_place *p = cgroup_place_open(root, self, why, sizeof why);
    if (!p)
        fail_msg("%s", why);
    return p;
}

static void a_group_holds_its_process_and_its_limits(void **state)
{
    struct cgroup_place *p = open_place();
    struct cgroup g = {{0}};
    char name[128], file[256];
    assert_string_equal(get(path("slice/cgroup.subtree_control")), "+memory +pids");
    assert_true(cgroup_make(p, &(struct cgroup_limits){.memory = 100 << 20, .processes = 5}, 4711, &g));
    snprintf(name, sizeof name, "slice/%s", g.name);
    static const char *const expected[][2] = {{"memory.max", "104857600"},
                                              {"memory.swap.max", "0"},
                                              {"memory.oom.group", "1"},
                                              {"pids.max", "5"},
                                              {"cgroup.procs", "4711"}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        snprintf(file, sizeof file, "%s/%s", name, expected[i][0]);
        assert_string_equal(get(path(file)), expected[i][1]);
    }
    struct cgroup second = {{0}};
    assert_true(cgroup_make(p, &(struct cgroup_limits){.memory = 1, .processes = 1}, 1, &second));
    assert_string_not_equal(g.name, second.name);
    /* Still in use: it stays until it is not. */
    char kept[64];
    strcpy(kept, second.name);
    assert_false(cgroup_remove(p, &second));
    snprintf(file, sizeof file, "slice/%s", kept);
    assert_int_equal(access(path(file), F_OK), 0);
    empty(file);
    empty(name);
    cgroup_remove(p, &g);
    assert_int_equal(access(path(name), F_OK), -1);
    cgroup_place_close(p);
    assert_int_equal(access(path(file), F_OK), -1);
    assert_int_equal(access(path("slice/moat-host"), F_OK), 0);
}

static void an_end_for_want_of_memory_is_seen(void **state)
{
    struct cgroup_place *p = open_place();
    struct cgroup g = {{0}};
    char name[128], file[256];
    uint64_t peak = 1;
    assert_false(cgroup_ran_out(p, &g, &peak));
    assert_true(cgroup_make(p, &(struct cgroup_limits){.memory = 1 << 20, .processes = 1}, 1, &g));
    snprintf(name, sizeof name, "slice/%s", g.name);
    snprintf(file, sizeof file, "%s/memory.events", name);
    put(path(file), "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 1\n");
    assert_false(cgroup_ran_out(p, &g, &peak));
    put(path(file), "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 1\n");
    assert_true(cgroup_ran_out(p, &g, &peak));
    assert_int_equal(peak, 0); /* an older kernel */
    snprintf(file, sizeof file, "%s/memory.peak", name);
    put(path(file), "1048576\n");
    assert_true(cgroup_ran_out(p, &g, &peak));
    assert_int_equal(peak, 1048576);
    empty(name);
    cgroup_remove(p, &g);
    cgroup_place_close(p);
}

/* A host that was killed leaves its groups; the next one removes them, and those of nobody else. */
static void what_dead_hosts_left_is_removed(void **state)
{
    char dead[64], living[64];
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    snprintf(dead, sizeof dead, "slice/moat-worker-%d-3", (int)pid);
    snprintf(living, sizeof living, "slice/moat-worker-%d-3", (int)getppid());
    assert_int_equal(mkdir(path(dead), 0755), 0);
    assert_int_equal(mkdir(path(living), 0755), 0);
    assert_int_equal(mkdir(path("slice/somebody-elses"), 0755), 0);
    assert_int_equal(mkdir(path("slice/moat-worker-x"), 0755), 0);
    cgroup_place_close(open_place());
    assert_int_equal(access(path(dead), F_OK), -1);
    assert_int_equal(access(path(living), F_OK), 0);
    assert_int_equal(access(path("slice/somebody-elses"), F_OK), 0);
    assert_int_equal(access(path("slice/moat-worker-x"), F_OK), 0);
}

static void where_there_is_no_place_it_says_why(void **state)
{
    static const struct {
        const char *self, *controllers, *why;
    } cases[] = {
        {"0::/slice/other\n", NULL, "called moat-host"},
        {"0::/\n", NULL, "called moat-host"},
        {"3:memory:/slice/moat-host\n", NULL, "called moat-host"},
        {"0::/../moat-host\n", NULL, "called moat-host"},
        {"0::/nowhere/moat-host\n", NULL, "cannot be read"},
        {"", NULL, "called moat-host"},
        {"0::/slice/moat-host\n", "cpu memory\n", "no memory and pids"},
        {"0::/slice/moat-host\n", "cpu memory_x pids\n", "no memory and pids"},
        {"0::/slice/moat-host\n", "", "no memory and pids"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(self, cases[i].self);
        put(path("slice/cgroup.controllers"), cases[i].controllers ? cases[i].controllers : "memory pids\n");
        assert_null(cgroup_place_open(root, self, why, sizeof why));
        if (!strstr(why, cases[i].why))
            fail_msg("`%s`: %s", cases[i].self, why);
    }
    assert_null(cgroup_place_open(root, path("none"), why, sizeof why));
    assert_non_null(strstr(why, "no control groups"));
    cgroup_place_close(NULL);
}

static void a_group_that_cannot_be_made_leaves_nothing(void **state)
{
    struct cgroup_place *p = open_place();
    struct cgroup g = {{0}};
    char name[96];
    snprintf(name, sizeof name, "slice/moat-worker-%d-0", (int)getpid());
    assert_int_equal(mkdir(path(name), 0755), 0);
    assert_false(cgroup_make(p, &(struct cgroup_limits){.memory = 1, .processes = 1}, 1, &g));
    assert_string_equal(g.name, "");
    cgroup_place_close(p);
    assert_int_equal(access(path(name), F_OK), -1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_tree, remove_tree)
    const struct CMUnitTest tests[] = {
        TEST(a_group_holds_its_process_and_its_limits),
        TEST(an_end_for_want_of_memory_is_seen),
        TEST(what_dead_hosts_left_is_removed),
        TEST(where_there_is_no_place_it_says_why),
        TEST(a_group_that_cannot_be_made_leaves_nothing),
    };
    return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
