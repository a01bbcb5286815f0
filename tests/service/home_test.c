/* Where a home is, and that one process at a time has it. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "service/home.h"

static char root[200];
static struct error err;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    return remove(path);
}

static int setup(void **state)
{
    snprintf(root, sizeof root, "/tmp/moat-home-XXXXXX");
    unsetenv("MOAT_HOME");
    unsetenv("PLUGIN_DIR");
    unsetenv("REGISTRY_DIR");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static const char *under(const char *name)
{
    static char path[4][300];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
    return path[turn];
}

static struct home resolved(const char *dir)
{
    struct home h;
    if (home_resolve(dir, NULL, NULL, &h, &err) < 0)
        fail_msg("%s", err.message);
    return h;
}

static void arguments_win_over_the_environment(void **state)
{
    struct home h;
    setenv("MOAT_HOME", under("env"), 1);
    assert_string_equal(resolved(NULL).dir, under("env"));
    assert_string_equal(resolved(under("arg")).dir, under("arg"));
    h = resolved(under("./a//b/"));
    assert_string_equal(h.dir, under("a/b"));
    assert_string_equal(h.plugin_dir, under("a/b/packages"));
    assert_string_equal(h.registry_dir, under("a/b/registry"));
    assert_string_equal(h.socket, under("a/b/registry/moat.sock"));
    setenv("PLUGIN_DIR", under("plugins"), 1);
    setenv("REGISTRY_DIR", under("reg"), 1);
    h = resolved(under("a"));
    assert_string_equal(h.plugin_dir, under("plugins"));
    assert_string_equal(h.lock, under("reg/lock"));
    assert_int_equal(home_resolve(under("a/../b"), NULL, NULL, &h, &err), -MOAT_E_BAD_USAGE);
    static char long_path[5000];
    memset(long_path, 'x', sizeof long_path - 1);
    assert_int_equal(home_resolve(long_path, NULL, NULL, &h, &err), -MOAT_E_BAD_USAGE);
}

static void relative_paths_are_of_the_current_directory(void **state)
{
    assert_int_equal(chdir(root), 0);
    assert_string_equal(resolved("here").dir, under("here"));
    assert_int_equal(chdir("/"), 0);
}

static void defaults_depend_on_who_asks(void **state)
{
    if (geteuid() == 0) {
        assert_string_equal(resolved(NULL).dir, "/var/lib/moat");
        return;
    }
    setenv("XDG_DATA_HOME", "/data", 1);
    assert_string_equal(resolved(NULL).dir, "/data/moat");
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", "/home/u", 1);
    assert_string_equal(resolved(NULL).dir, "/home/u/.local/share/moat");
}

static void a_new_home_is_private(void **state)
{
    struct home h = resolved(under("home"));
    struct stat st;
    fd_auto lock = -1;
    assert_int_equal(home_lock(&h, false, &lock, NULL, &err), 0);
    const char *const dirs[] = {"home", "home/registry", "home/packages", "home/packages/incoming"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        assert_int_equal(stat(under(dirs[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
    }
}

static void a_home_that_others_may_write_is_refused(void **state)
{
    struct home h = resolved(under("home"));
    fd_auto lock = -1;
    assert_int_equal(mkdir(under("home"), 0700), 0);
    assert_int_equal(chmod(under("home"), 0777), 0);
    assert_int_equal(home_lock(&h, false, &lock, NULL, &err), -MOAT_E_STORAGE_FAILED);
    assert_non_null(strstr(err.message, "chmod go-w"));
}

static void the_second_process_hears_who_has_it(void **state)
{
    struct home h = resolved(under("home"));
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        int lock = -1;
        char c = home_lock(&h, true, &lock, NULL, NULL) == 0 ? 'y' : 'n';
        if (write(ready[1], &c, 1) == 1)
            pause();
        _exit(1);
    }
    char c;
    struct home_owner owner;
    int lock = -1;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(c, 'y');
    assert_int_equal(home_lock(&h, false, &lock, &owner, &err), -MOAT_E_HOME_BUSY);
    assert_int_equal(lock, -1);
    assert_int_equal(owner.pid, child);
    assert_true(owner.server);
    /* However it dies, the lock dies with it. */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(home_lock(&h, false, &lock, &owner, &err), 0);
    close(lock);
    close(ready[0]);
    close(ready[1]);
}

static void one_process_cannot_have_it_twice(void **state)
{
    struct home h = resolved(under("home"));
    struct home_owner owner;
    fd_auto first = -1, second = -1;
    assert_int_equal(home_lock(&h, false, &first, NULL, &err), 0);
    assert_int_equal(home_lock(&h, false, &second, &owner, &err), -MOAT_E_HOME_BUSY);
    assert_int_equal(owner.pid, getpid());
    assert_false(owner.server);
}

static void other_directories_than_recorded_are_an_error(void **state)
{
    struct home h = resolved(under("home"));
    fd_auto lock = -1;
    assert_int_equal(home_lock(&h, false, &lock, NULL, &err), 0);
    io_close(&lock);
    assert_int_equal(home_lock(&h, false, &lock, NULL, &err), 0); /* the same again */
    io_close(&lock);
    setenv("PLUGIN_DIR", under("elsewhere"), 1);
    h = resolved(under("home"));
    assert_int_equal(home_lock(&h, false, &lock, NULL, &err), -MOAT_E_WRONG_STATE);
    assert_non_null(strstr(err.message, "PLUGIN_DIR"));
    unsetenv("PLUGIN_DIR");
    h = resolved(under("home"));
    assert_int_equal(home_lock(&h, false, &lock, NULL, &err), 0); /* the failed try did not keep the lock */
    io_close(&lock);
    const char other[] = "protocol=99\n";
    assert_int_equal(io_replace_file(under("home/home.txt"), other, strlen(other), 0600, &err), 0);
    assert_int_equal(home_lock(&h, false, &lock, NULL, &err), -MOAT_E_WRONG_STATE);
    assert_non_null(strstr(err.message, "protocol"));
    assert_int_equal(io_replace_file(under("home/home.txt"), "x", 1, 0600, &err), 0);
    assert_int_equal(home_lock(&h, false, &lock, NULL, &err), -MOAT_E_STORAGE_FAILED);
}

static int lock_as(enum home_mode mode, struct home *h)
{
    fd_auto lock = -1;
    *h = resolved(under("home"));
    h->mode = mode;
    return home_lock(h, false, &lock, NULL, &err);
}

/* Who asks for security never gets the other, and the other is only for a home that was made for it. */
static void the_mode_is_recorded(void **state)
{
    struct home h = resolved(under("home"));
    assert_int_equal(home_peek(&h), HOME_NEVER);
    assert_int_equal(lock_as(HOME_DEVELOPMENT, &h), 0);
    assert_int_equal(h.development, HOME_ON);
    assert_int_equal(lock_as(HOME_AS_IT_IS, &h), 0);
    assert_int_equal(h.development, HOME_ON);
    assert_int_equal(lock_as(HOME_SECURE, &h), -MOAT_E_WRONG_STATE);
    assert_int_equal(home_peek(&h), HOME_ON);
    assert_int_equal(lock_as(HOME_DEVELOPMENT, &h), 0);
    assert_int_equal(home_secure(&h, &err), 0);
    assert_int_equal(h.development, HOME_PAST);
    assert_int_equal(lock_as(HOME_DEVELOPMENT, &h), -MOAT_E_WRONG_STATE);
    assert_int_equal(lock_as(HOME_SECURE, &h), 0);
    assert_int_equal(h.development, HOME_PAST);
    assert_int_equal(home_secure(&h, &err), 0);
    assert_int_equal(home_peek(&h), HOME_PAST);
}

static void a_home_is_secure_unless_told(void **state)
{
    struct home h;
    assert_int_equal(lock_as(HOME_AS_IT_IS, &h), 0);
    assert_int_equal(h.development, HOME_NEVER);
    assert_int_equal(lock_as(HOME_DEVELOPMENT, &h), -MOAT_E_WRONG_STATE);
    assert_int_equal(lock_as(HOME_SECURE, &h), 0);
    assert_int_equal(home_secure(&h, &err), 0);
    assert_int_equal(home_peek(&h), HOME_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(arguments_win_over_the_environment),
        T(relative_paths_are_of_the_current_directory),
        T(defaults_depend_on_who_asks),
        T(a_new_home_is_private),
        T(a_home_that_others_may_write_is_refused),
        T(the_second_process_hears_who_has_it),
        T(one_process_cannot_have_it_twice),
        T(other_directories_than_recorded_are_an_error),
        T(the_mode_is_recorded),
        T(a_home_is_secure_unless_told),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
