/* Paths as plugins write them, and what is said about them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/words.h"
#include "sandbox/explain_path.h"
#include "sandbox/explain_table.h"

static void paths_become_plain(void **state)
{
    static const struct {
        const char *dir, *path, *plain;
    } cases[] = {
        {"/", "/", "/"},
        {"/", "", "/"},
        {"/a/b", "", "/a/b"},
        {"/a/b", "c", "/a/b/c"},
        {"/a/b", "/c", "/c"},
        {"/a/b", "../c", "/a/c"},
        {"/a/b", "../../../../c", "/c"},
        {"/a/b", "./././c/.", "/a/b/c"},
        {"/", "//a///b//", "/a/b"},
        {"/", "/a/../../b", "/b"},
        {"/", "/..", "/"},
        {"/", "/...", "/..."},
        {"/", "/.a/..b", "/.a/..b"},
        {"/a/", "b/", "/a/b"},
    };
    char out[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(explain_normalise(cases[i].dir, cases[i].path, out, sizeof out));
        assert_string_equal(out, cases[i].plain);
    }
    assert_false(explain_normalise("/", "/aaaaaaaa", out, 8));
    assert_true(explain_normalise("/", "/aaaaaa", out, 8));
    assert_false(explain_normalise("/", "/", out, 1));
}

static const struct wall_grant grants[] = {
    {.path = "/data", .directory = true},
    {.path = "/data/in/out", .directory = true, .writable = true},
    {.path = "/srv/one.txt"},
    {.path = "/tmp/shared", .directory = true},
};

static void judgements(void **state)
{
    static const struct {
        const char *path;
        enum explain_access access;
        int errnum, permission;
    } cases[] = {
        {"/data", ACCESS_READ, 0, -1},
        {"/data/x", ACCESS_READ, 0, -1},
        {"/data/x", ACCESS_WRITE, EACCES, PERMISSION_FILE_WRITE},
        {"/database", ACCESS_READ, ENOENT, PERMISSION_FILE_READ},
        {"/data/in/out/x", ACCESS_WRITE, 0, -1},
        {"/data/in/outer", ACCESS_WRITE, EACCES, PERMISSION_FILE_WRITE},
        {"/srv/one.txt", ACCESS_READ, 0, -1},
        {"/srv/one.txt.bak", ACCESS_READ, ENOENT, PERMISSION_FILE_READ},
        {"/srv", ACCESS_LOOK, 0, -1},
        {"/srv", ACCESS_READ, EACCES, PERMISSION_FILE_READ},
        {"/srv/two.txt", ACCESS_WRITE, EACCES, PERMISSION_FILE_WRITE},
        {"/tmp", ACCESS_READ, 0, -1},
        {"/tmp/x", ACCESS_WRITE, 0, -1},
        {"/tmp/shared/x", ACCESS_WRITE, EACCES, PERMISSION_FILE_WRITE},
        {"/tmpx", ACCESS_WRITE, EACCES, PERMISSION_FILE_WRITE},
        {"/etc/passwd", ACCESS_READ, ENOENT, PERMISSION_FILE_READ},
        {"/etc/passwd", ACCESS_WRITE, EACCES, PERMISSION_FILE_WRITE},
        {"/", ACCESS_LOOK, 0, -1},
        {"/", ACCESS_READ, EACCES, -1},
        {"/proc/self/maps", ACCESS_READ, ENOENT, -1},
        {"/dev/null", ACCESS_WRITE, EACCES, -1},
        {"/sys", ACCESS_READ, ENOENT, -1},
        {"/17", ACCESS_READ, 0, -1},
        {"/17x", ACCESS_READ, ENOENT, PERMISSION_FILE_READ},
        {"/17/x", ACCESS_READ, ENOENT, PERMISSION_FILE_READ},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct explain_judgement j =
            explain_judge(cases[i].path, cases[i].access, grants, sizeof grants / sizeof *grants);
        if (j.errnum != cases[i].errnum || j.permission != cases[i].permission)
            fail_msg("%s, access %d: %d %d", cases[i].path, (int)cases[i].access, j.errnum, j.permission);
    }
}

static void objects_are_harmless(void **state)
{
    static const struct {
        const char *raw, *safe;
    } cases[] = {
        {"plain", "plain"},
#define NO EXPLAIN_UNTOLD
        {"a\nb\x1b[31m\x7f", "a" NO "b" NO "[31m" NO},
        {"\xc3\xa9", "\xc3\xa9"},
        {"\xc0\xaf", NO NO},
        {"\xed\xa0\x80", NO NO NO},
        {"\xc2\x9b"
         "31m",
         NO NO "31m"},
        {"\xf0\x9f\x8f\xb0", "\xf0\x9f\x8f\xb0"},
        {"\xe2\x82", NO NO},
        {"\xff", NO},
    };
    char out[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        explain_neutralise(out, sizeof out, cases[i].raw);
        assert_string_equal(out, cases[i].safe);
    }
    /* What is cut is seen to be cut, at every length; what just fits is whole. */
    explain_neutralise(out, 7, "abcdef");
    assert_string_equal(out, "abcdef");
    explain_neutralise(out, 6, "abcdef");
    assert_string_equal(out, "ab" NO);
    explain_neutralise(out, 6, "ab\xc3\xa9 x");
    assert_string_equal(out, "ab" NO);
    explain_neutralise(out, 3, "abcdef");
    assert_string_equal(out, "");
}

static void calls_have_names(void **state)
{
    assert_string_equal(explain_syscall_name(SYS_ptrace), "ptrace");
    assert_null(explain_syscall_name(1023));
    assert_null(explain_syscall_name(-1));
    assert_null(explain_find(SYS_getpid));
    assert_int_equal(explain_find(SYS_execve)->permission, PERMISSION_EXECUTE_CODE);
    assert_int_equal(explain_find(SYS_socket)->permission, PERMISSION_NETWORK_ACCESS);
    assert_int_equal(explain_find(SYS_ptrace)->permission, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_become_plain),
        cmocka_unit_test(judgements),
        cmocka_unit_test(objects_are_harmless),
        cmocka_unit_test(calls_have_names),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
