/* Programs that a worker may start: those that were given and no others, each behind the worker's wall. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/words.h"

static struct spawner *spawner;
static struct rig_result r; /* large */
static char directory[64];

static void copy_to(const char *from, const char *name, mode_t mode)
{
    char path[128];
    buf_auto bytes = BUF_INIT(16 << 20);
    struct error err = {0};
    assert_int_equal(io_read_file(from, &bytes, &err), 0);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, mode);
    assert_true(fd >= 0 && io_write_all(fd, bytes.data, bytes.len) && fchmod(fd, mode) == 0);
    close(fd);
}

static void named(struct rig_order *o, const char *place)
{
    struct wall_program *p = &o->programs[o->nprograms++];
    struct error err = {0};
    if (wall_resolve(place, false, &p->file, &err) != 0)
        fail_msg("%s", err.message);
    snprintf(p->place, sizeof p->place, "%s", place);
}

/* The program as a part of the assets' file, behind some bytes that are not its own. */
static void shipped(struct rig_order *o, const char *place)
{
    buf_auto bytes = BUF_INIT(16 << 20);
    struct error err = {0};
    struct wall_program *p = &o->programs[o->nprograms++];
    assert_true(buf_puts(&bytes, "not a program, but seventeen"));
    p->offset = bytes.len;
    assert_int_equal(io_read_file(rig_path("PROGRAM"), &bytes, &err), 0);
    p->size = bytes.len - p->offset;
    p->shipped = true;
    snprintf(p->place, sizeof p->place, "%s", place);
    o->assets = io_sealed("assets", bytes.data, bytes.len);
    assert_true(o->assets > 0);
}

static void run(const char *script, struct rig_order *o)
{
    char text[4096];
    size_t n = 0;
    for (const char *p = script; *p && n + sizeof directory < sizeof text; p++)
        n += (size_t)snprintf(text + n, sizeof text - n, *p == '@' ? "%s" : "%.1s", *p == '@' ? directory : p);
    o->script = text;
    rig_run(spawner, o, &r);
    if (o->assets > 0)
        close(o->assets);
    if (r.failed.kind == WALL_FAILED || r.posture != 0)
        fail_msg("step `%s` %s (errno %d); posture: %s", r.failed.step, r.failed.message, r.failed.errnum,
                 r.error.message);
    assert_true(r.ready);
}

static void expect(const char *attempt, const char *answer)
{
    char text[512];
    size_t n = 0;
    for (const char *p = attempt; *p; p++)
        n += (size_t)snprintf(text + n, sizeof text - n, *p == '@' ? "%s" : "%.1s", *p == '@' ? directory : p);
    rig_expect(&r, text, answer);
}

static bool said(const char *text)
{
    return strstr(r.output, text) != NULL;
}

static bool told(const char *operation, const char *object)
{
    for (size_t i = 0; i < r.nevents; i++)
        if (strcmp(r.events[i].operation, operation) == 0 && (!object || strcmp(r.events[i].object, object) == 0))
            return true;
    return false;
}

static void what_the_package_ships_runs(void **state)
{
    struct rig_order o = {.limits.processes = 8};
    shipped(&o, WALL_PACKAGE_PLACE "/bin/tool");
    run("start /package/bin/tool say one\nspawn /package/bin/tool say two\nget /package/bin\nopen_write "
        "/package/bin/tool\nput /package/x y\nput /package/bin/x y\nremove /package/bin/tool",
        &o);
    expect("start /package/bin/tool say one", "ok");
    expect("spawn /package/bin/tool say two", "ok");
    assert_true(said("program says one\n") && said("program says two\n"));
    expect("open_write /package/bin/tool", "EACCES");
    expect("put /package/x y", "EACCES");
    expect("put /package/bin/x y", "EACCES");
    assert_false(told("execute a program", NULL));
}

static void what_is_named_runs_and_nothing_beside_it(void **state)
{
    struct rig_order o = {.limits.processes = 8};
    char place[128];
    snprintf(place, sizeof place, "%s/named", directory);
    named(&o, place);
    rig_grant(&o, directory, false);
    run("start @/named say named\nstart @/unnamed say unnamed\nspawn @/unnamed say unnamed\nstart /bin/true\nexec_fd "
        "@/unnamed\nexec_fd @/named\nstart @/script\nstart @/named again @/unnamed say again\nopen_write @/named\n"
        "start ./nothing",
        &o);
    expect("start @/named say named", "ok");
    assert_true(said("program says named\n") && !said("unnamed\n") && !said("says again"));
    expect("start @/unnamed say unnamed", "EACCES");
    expect("spawn @/unnamed say unnamed", "EACCES");
    expect("start /bin/true", "EACCES");
    expect("exec_fd @/unnamed", "EPERM");
    expect("exec_fd @/named", "EPERM");
    expect("start @/script", "EACCES");
    expect("start @/named again @/unnamed say again", "EACCES");
    expect("open_write @/named", "EACCES");
    snprintf(place, sizeof place, "%s/unnamed", directory);
    const struct explain_event *e = rig_event(&r, "execute a program", place);
    assert_int_equal(e->permission, PERMISSION_EXECUTE_CODE);
    assert_int_equal(rig_event(&r, "execute a program", "/bin/true")->permission, PERMISSION_EXECUTE_CODE);
}

/* What makes a program run is where it lies, not what the host reads: a plugin that changes a path while the host looks
 * at it meets the mounts and Landlock, which say the same. */
static void the_walls_say_the_same_without_the_host(void **state)
{
    struct rig_order o = {.limits.processes = 8, .leave_all = true};
    char place[128];
    snprintf(place, sizeof place, "%s/named", directory);
    named(&o, place);
#ifdef __x86_64__
    named(&o, "/lib64/ld-linux-x86-64.so.2");
#endif
    rig_grant(&o, directory, false);
    run("start @/named say named\nstart @/unnamed say unnamed\nstart @/script\nstart /bin/true\ncopy @/unnamed "
        "/tmp/mine\nstart /tmp/mine say mine\nstart @/named again /tmp/mine say mine\nstart "
        "/lib64/ld-linux-x86-64.so.2 @/dynamic say loaded\nstart /lib64/ld-linux-x86-64.so.2 /tmp/mine say loaded",
        &o);
    expect("start @/named say named", "ok");
    expect("start @/unnamed say unnamed", "EACCES");
    expect("start @/script", "EACCES");
    expect("start /bin/true", "ENOENT");
    expect("copy @/unnamed /tmp/mine", "ok");
    expect("start /tmp/mine say mine", "EACCES");
    expect("start @/named again /tmp/mine say mine", "EACCES");
    assert_true(said("program says named"));
    assert_false(said("says unnamed") || said("says mine") || said("says loaded"));
}

/* What may be read or run gets no name where it could be written, by the kernel's word alone: a link or a move leads
 * from one mount to no other, a place in a place keeps its own. */
static void nothing_gets_a_name_where_it_may_be_written(void **state)
{
    struct rig_order o = {.limits.processes = 8, .leave_all = true};
    char place[128];
    for (const char *const *name = (const char *const[]){"read", "out", "out/fixed", NULL}; *name; name++) {
        snprintf(place, sizeof place, "%s/%s", directory, *name);
        assert_true(mkdir(place, 0777) == 0 && chmod(place, 0777) == 0);
        rig_grant(&o, place, strcmp(*name, "out") == 0);
    }
    rig_write(directory, "read/file", "read", 0666);
    rig_write(directory, "out/fixed/file", "read", 0666);
    rig_write(directory, "one", "read", 0666);
    snprintf(place, sizeof place, "%s/one", directory);
    rig_grant(&o, place, false);
    snprintf(place, sizeof place, "%s/named", directory);
    named(&o, place);
    run("start @/named link @/read/file @/out/a\nstart @/named move @/read/file @/out/a\nstart @/named link @/one "
        "@/out/a\nstart @/named link @/named @/out/a\nstart @/named link @/out/fixed/file @/out/a\nstart @/named move "
        "@/out/fixed/file @/out/a\nstart @/named move @/out/fixed @/out/b\nstart @/named write @/out/fixed/file\nput "
        "@/out/mine x\nstart @/named link @/out/mine @/out/a\nstart @/named move @/out/mine @/read/a",
        &o);
    expect("start @/named link @/read/file @/out/a", "EXDEV");
    expect("start @/named move @/read/file @/out/a", "EXDEV");
    expect("start @/named link @/one @/out/a", "EXDEV");
    expect("start @/named link @/named @/out/a", "EXDEV");
    expect("start @/named link @/out/fixed/file @/out/a", "EXDEV");
    expect("start @/named move @/out/fixed/file @/out/a", "EXDEV");
    expect("start @/named move @/out/fixed @/out/b", "EBUSY");
    expect("start @/named write @/out/fixed/file", "EROFS");
    expect("put @/out/mine x", "ok");
    expect("start @/named link @/out/mine @/out/a", "ok"); /* links themselves are not what fails */
    expect("start @/named move @/out/mine @/read/a", "EXDEV");
}

/* Its owner's rights stay its owner's. */
static void a_set_uid_program_gives_nothing(void **state)
{
    struct rig_order o = {.limits.processes = 8};
    char place[128];
    copy_to(rig_path("PROGRAM"), "raised", 06755);
    snprintf(place, sizeof place, "%s/raised", directory);
    named(&o, place);
    run("start @/raised gain", &o);
    expect("start @/raised gain", "ok");
}

static void without_programs_nothing_is_new(void **state)
{
    for (int relaxed = 0; relaxed < 2; relaxed++) {
        struct rig_order o = {.execute_code = relaxed, .limits.processes = 8};
        rig_grant(&o, directory, false);
        run("start @/named\nspawn @/named\nexec @/named\nfork\nkill 1 0", &o);
        expect("start @/named", "EPERM");
        expect("spawn @/named", "EPERM");
        expect("exec @/named", "EPERM");
        expect("fork", "EPERM");
    }
}

static void a_program_has_the_workers_wall(void **state)
{
    struct rig_order o = {.limits = {.processes = 8, .memory = 64 << 20}};
    char place[128];
    snprintf(place, sizeof place, "%s/named", directory);
    named(&o, place);
    rig_write(directory, "secret", "secret", 0644);
    run("start @/named descriptors\nstart @/named trace\nstart @/named peek 0x400000\nstart @/named kill\nstart "
        "@/named "
        "signal 2147483\nstart @/named connect\nstart @/named open @/secret\nstart @/named write @/named\nstart "
        "@/named gain\nstart @/named rwx\nstart @/named eat 512\nstart @/named bomb\nstart @/named say still",
        &o);
    expect("start @/named descriptors", "ok");
    expect("start @/named trace", "EPERM");
    expect("start @/named peek 0x400000", "EPERM");
    expect("start @/named kill", "ok"); /* sent, and of no effect */
    expect("start @/named signal 2147483", "ESRCH");
    expect("start @/named connect", "EPERM");
    expect("start @/named open @/secret", "ENOENT");
    expect("start @/named write @/named", "ETXTBSY");
    expect("start @/named gain", "ok");
    expect("start @/named rwx", "EPERM");
    expect("start @/named eat 512", "ENOMEM");
    expect("start @/named bomb", "ok"); /* it met its limit, and lies about in the worker's namespace */
    assert_int_equal(r.end.kind, CHILD_EXITED);
    rig_event_permission(&r, "open a socket", PERMISSION_NETWORK_ACCESS);
}

/* With the libraries that it needs, each named; nothing is to be seen of their directories. */
static void a_program_with_libraries_runs(void **state)
{
    struct rig_order o = {.limits.processes = 8};
    char place[128];
    snprintf(place, sizeof place, "%s/dynamic", directory);
    named(&o, place);
    run("start @/dynamic say without", &o);
    expect("start @/dynamic say without", "ENOENT");
    o.nprograms = 1;
#ifdef __x86_64__
    named(&o, "/lib64/ld-linux-x86-64.so.2");
    named(&o, "/lib/x86_64-linux-gnu/libc.so.6");
    run("start @/dynamic say with\nstart /lib64/ld-linux-x86-64.so.2 @/unnamed say loaded\nlist /lib/x86_64-linux-gnu",
        &o);
    expect("start @/dynamic say with", "ok");
    assert_true(said("program says with\n"));
    assert_false(said("program says loaded"));
    assert_false(told("open for reading", "/etc/ld.so.cache"));
#endif
}

static void nothing_that_it_started_outlives_it(void **state)
{
    struct rig_order o = {.limits.processes = 16};
    char place[128];
    size_t before = rig_descendants();
    snprintf(place, sizeof place, "%s/named", directory);
    named(&o, place);
    run("start @/named leave\nstart @/named bomb", &o);
    expect("start @/named leave", "ok");
    assert_int_equal(rig_descendants(), before);
}

static void a_file_that_became_another_is_refused(void **state)
{
    struct rig_order o = {.limits.processes = 8, .script = "start @/other"};
    char place[128];
    copy_to(rig_path("PROGRAM"), "other", 0755);
    snprintf(place, sizeof place, "%s/other", directory);
    named(&o, place);
    assert_int_equal(unlink(place), 0);
    copy_to(rig_path("PROGRAM"), "between", 0755); /* so that the number is not used again */
    copy_to(rig_path("PROGRAM"), "other", 0755);
    rig_run(spawner, &o, &r);
    assert_true(r.assign != 0 || r.failed.kind == WALL_FAILED);
    assert_false(r.ready);
}

static int start(void **state)
{
    spawner = rig_spawner();
    rig_directory(directory);
    assert_int_equal(chmod(directory, 0755), 0);
    copy_to(rig_path("PROGRAM"), "named", 0755);
    copy_to(rig_path("PROGRAM"), "unnamed", 0755);
    copy_to(rig_path("PROGRAM_DYNAMIC"), "dynamic", 0755);
    rig_write(directory, "script", "#!/bin/sh\necho script\n", 0755);
    return 0;
}

static int stop(void **state)
{
    spawner_stop(spawner);
    rig_remove(directory);
    return 0;
}

int main(int argc, char **argv)
{
    rig_user(argv);
    rig_needs_wall();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_package_ships_runs),
        cmocka_unit_test(what_is_named_runs_and_nothing_beside_it),
        cmocka_unit_test(the_walls_say_the_same_without_the_host),
        cmocka_unit_test(nothing_gets_a_name_where_it_may_be_written),
        cmocka_unit_test(a_set_uid_program_gives_nothing),
        cmocka_unit_test(without_programs_nothing_is_new),
        cmocka_unit_test(a_program_has_the_workers_wall),
        cmocka_unit_test(a_program_with_libraries_runs),
        cmocka_unit_test(nothing_that_it_started_outlives_it),
        cmocka_unit_test(a_file_that_became_another_is_refused),
    };
    return cmocka_run_group_tests_name("programs", tests, start, stop);
}
