/* What lies in a place, counted against somebody who hides it. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "sandbox/weigh.h"

#define PIECE (256 * 1024)
#define NOBODY 65534

static char dir[] = "/var/tmp/moat-weigh-XXXXXX";
static struct wall_grant place;

static int set_up(void **state)
{
    struct stat st;
    if (!mkdtemp(dir) || stat(dir, &st) < 0 || chown(dir, geteuid() ? geteuid() : NOBODY, (gid_t)-1) < 0)
        return -1;
    place = (struct wall_grant){.directory = true, .writable = true, .dev = st.st_dev, .ino = st.st_ino};
    snprintf(place.path, sizeof place.path, "%s", dir);
    return 0;
}

static int tear_down(void **state)
{
    return rmdir(dir);
}

/* A new file of so many bytes, which are allocated. */
static int fill(int at, const char *name, size_t bytes)
{
    static const char block[4096] = {1};
    int fd = openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t n = 0; n < bytes; n += sizeof block)
        assert_int_equal(write(fd, block, sizeof block), sizeof block);
    assert_int_equal(fsync(fd), 0); /* where space is allocated late */
    return fd;
}

/* In a process of its own, which is an ordinary user: cmocka's assertions end it with another status. */
static void as_a_user(void (*test)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && setuid(NOBODY) < 0)
            _exit(2);
        test();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define NEED(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
            _exit(1); \
        } \
    } while (0)

/* May be listed and not searched: its names are seen, and nothing behind them. */
static void unsearchable(void)
{
    struct error err = {0};
    uint64_t bytes = 0;
    char inner[PATH_MAX];
    snprintf(inner, sizeof inner, "%s/inner", dir);
    NEED(mkdir(inner, 0700) == 0);
    fd_auto at = open(inner, O_PATH | O_DIRECTORY | O_CLOEXEC);
    fd_auto file = openat(at, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    NEED(file >= 0 && chmod(inner, 0400) == 0);
    int rc = weigh(&place, UINT64_MAX, NULL, &bytes, &err);
    NEED(chmod(inner, 0700) == 0 && unlinkat(at, "file", 0) == 0 && rmdir(inner) == 0);
    NEED(rc == -MOAT_E_LIMIT && strstr(err.message, "cannot be searched"));
}

static void a_directory_that_cannot_be_searched_hides_nothing(void **state)
{
    as_a_user(unsearchable);
}

/* ---- files without a name ---- */

static uint64_t nameless(void)
{
    fd_auto pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    assert_true(pidfd >= 0);
    return weigh_nameless(&(struct weigh_holder){getpid(), pidfd}, 1, 64, place.dev);
}

static void *map_and_delete(int at, const char *name, size_t part)
{
    int fd = fill(at, name, PIECE);
    void *here = mmap(NULL, part, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(here != MAP_FAILED);
    close(fd);
    assert_int_equal(unlinkat(at, name, 0), 0);
    return here;
}

/* Its line in the list of mappings is many times as long as any path: each of its bytes stands there as four. */
static void a_name_of_any_length_hides_no_mapping(void **state)
{
    char name[256];
    int at[9];
    at[0] = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    memset(name, '\n', 200);
    name[200] = '\0';
    for (int i = 1; i < 9; i++) {
        assert_int_equal(mkdirat(at[i - 1], name, 0700), 0);
        at[i] = openat(at[i - 1], name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    void *here = map_and_delete(at[8], name, PIECE);
    assert_true(nameless() >= PIECE);
    munmap(here, PIECE);
    for (int i = 8; i >= 0; i--) {
        close(at[i]);
        if (i)
            assert_int_equal(unlinkat(at[i - 1], name, AT_REMOVEDIR), 0);
    }
}

/* Root sees the file, however little of it is mapped, and however often. */
static void what_is_mapped_in_part_counts_whole(void **state)
{
    if (geteuid())
        skip();
    int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    uint64_t before = nameless();
    char *here = map_and_delete(at, "part", 8192);
    assert_int_equal(mprotect(here, 4096, PROT_NONE), 0); /* two mappings of one file */
    uint64_t after = nameless();
    assert_true(after - before >= PIECE && after - before < 2 * PIECE);
    munmap(here, 8192);
    close(at);
}

/* It holds a file until it is told to end. */
static pid_t child_with(int at, const char *name, int *tell)
{
    int ready[2], end[2];
    char byte = 0;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(end, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(end[1]);
        int fd = fill(at, name, PIECE);
        _exit(fd < 0 || unlinkat(at, name, 0) < 0 || write(ready[1], "", 1) != 1 || read(end[0], &byte, 1) < 0);
    }
    assert_true(pid > 0);
    close(ready[1]);
    close(end[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    *tell = end[1];
    return pid;
}

static void what_was_started_counts_and_each_file_once(void **state)
{
    int tell, at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    pid_t child = child_with(at, "child's", &tell);
    fd_auto pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    const struct weigh_holder both[] = {{getpid(), pidfd}, {child, -1}, {child, -1}};
    uint64_t alone = weigh_nameless(both, 1, 64, place.dev), family = weigh_nameless(both, 3, 64, place.dev);
    close(tell);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(at);
    assert_true(family - alone >= PIECE && family - alone < 2 * PIECE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_that_cannot_be_searched_hides_nothing),
        cmocka_unit_test(a_name_of_any_length_hides_no_mapping),
        cmocka_unit_test(what_is_mapped_in_part_counts_whole),
        cmocka_unit_test(what_was_started_counts_and_each_file_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
