/* A worker behind its wall, attacked from inside: files, memory, network, processes, resources.  What is refused inside
 * works outside, in the control run. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/words.h"
#include "sandbox/libraries.h"

static struct spawner *spawner;
static struct rig_result r; /* large */

static void run_script(const char *script, const struct rig_order *model)
{
    struct rig_order o = model ? *model : (struct rig_order){0};
    o.script = script;
    rig_run(spawner, &o, &r);
    if (r.failed.kind == WALL_FAILED || r.posture != 0)
        fail_msg("step `%s` %s (errno %d); posture: %s", r.failed.step, r.failed.message, r.failed.errnum,
                 r.error.message);
    assert_true(r.ready);
}

/* The template with the directory in the place of each '@'; good for a few calls. */
static const char *at(const char *template, const char *directory)
{
    static char texts[4][4096];
    static unsigned turn;
    char *out = texts[turn++ % 4];
    size_t n = 0, len = strlen(directory);
    for (const char *p = template; *p && n + len + 1 < sizeof texts[0]; p++) {
        if (*p == '@')
            memcpy(out + n, directory, len);
        else
            out[n] = *p;
        n += *p == '@' ? len : 1;
    }
    out[n] = '\0';
    return out;
}

/* The attempt is refused inside with this error, and works outside. */
struct attack {
    const char *attempt, *answer;
    const char *operation; /* of the event, or NULL when the kernel's walls answer without one */
    int permission;
    bool not_outside; /* the attempt needs root or would harm the test outside */
};

static void run_attacks(const struct attack *attacks, size_t n, const struct rig_order *model)
{
    static char script[64 * 1024], outside[64 * 1024];
    size_t used = 0, control = 0;
    static char control_script[64 * 1024];
    for (size_t i = 0; i < n; i++) {
        used += (size_t)snprintf(script + used, sizeof script - used, "%s\n", attacks[i].attempt);
        if (!attacks[i].not_outside)
            control +=
                (size_t)snprintf(control_script + control, sizeof control_script - control, "%s\n", attacks[i].attempt);
    }
    run_script(script, model);
    rig_outside(control ? control_script : "", outside, sizeof outside);
    for (size_t i = 0; i < n; i++) {
        rig_expect(&r, attacks[i].attempt, attacks[i].answer);
        char line[1200];
        snprintf(line, sizeof line, "%s -> ok\n", attacks[i].attempt);
        if (!attacks[i].not_outside && !strstr(outside, line))
            fail_msg("the control run did not do `%s`:\n%s", attacks[i].attempt, outside);
        if (attacks[i].operation)
            rig_event_permission(&r, attacks[i].operation, attacks[i].permission);
    }
}

#define RUN_ATTACKS(a, model) run_attacks(a, sizeof(a) / sizeof *(a), model)

static void a_worker_is_walled_before_its_constructors(void **state)
{
    run_script("facts", NULL);
    rig_expect(&r, "constructor open", "ENOENT");
    rig_expect(&r, "constructor rwx", "EPERM");
    assert_int_equal(rig_event(&r, "open for reading", "/etc/hostname")->permission, PERMISSION_FILE_READ);
    assert_int_equal(rig_event(&r, "map executable memory", "rwx")->permission, PERMISSION_EXECUTE_CODE);
    assert_non_null(strstr(r.output, "pid 1 uid 65534 gid 65534 environment 0 descriptors 5 host moat"));
    assert_int_equal(r.end.kind, CHILD_EXITED);
    assert_true(WIFEXITED(r.end.wait_status) && WEXITSTATUS(r.end.wait_status) == 0);
}

static void every_layer_is_there(void **state)
{
    run_script("facts", NULL);
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        if (r.seen.missing & ~rig_lacking() & (1u << i))
            fail_msg("missing: %s", wall_layer_name((enum wall_layer)i));
}

static void what_plugins_need_works(void **state)
{
    run_script("libc\ncreate /tmp/a\nput /tmp/b hello\nget /tmp/b\nrename /tmp/b /tmp/c\nlink /tmp/c /tmp/d\n"
               "mkdir /tmp/e\nlist /tmp\nreserve 16384\ntouch 64\nchmod /tmp/c 0640\nutimes /tmp/c\ntruncate /tmp/c\n"
               "unlink /tmp/c\nmap 1 0x22\nmap 3 0x22\nprotect 1",
               NULL);
    const char *const lines[] = {"libc",
                                 "create /tmp/a",
                                 "get /tmp/b",
                                 "rename /tmp/b /tmp/c",
                                 "link /tmp/c /tmp/d",
                                 "mkdir /tmp/e",
                                 "list /tmp",
                                 "reserve 16384",
                                 "touch 64",
                                 "chmod /tmp/c 0640",
                                 "utimes /tmp/c",
                                 "truncate /tmp/c",
                                 "unlink /tmp/c",
                                 "map 1 0x22",
                                 "map 3 0x22",
                                 "protect 1"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        rig_expect(&r, lines[i], "ok");
}

static void what_plugins_in_cpp_need_works(void **state)
{
    if (!getenv("PROBE_CPP"))
        rig_skip("no C++ compiler");
    uint32_t needed = libraries_bit("libstdc++.so.6") | libraries_bit("libm.so.6");
    run_script("", &(struct rig_order){.code = "PROBE_CPP", .libraries = needed});
    rig_expect(&r, "exceptions", "ok");
    rig_expect(&r, "library", "ok");
}

static void a_library_that_was_not_asked_for_is_not_there(void **state)
{
    if (!getenv("PROBE_CPP"))
        rig_skip("no C++ compiler");
    rig_run(spawner, &(struct rig_order){.script = "", .code = "PROBE_CPP"}, &r);
    assert_false(r.ready);
    assert_string_equal(r.failed.step, "load");
    assert_non_null(strstr(r.failed.message, "libstdc++.so.6"));
}

static void memory_is_never_writable_and_executable(void **state)
{
    char directory[64];
    rig_directory(directory);
    static const struct attack attacks[] = {
        {"map 7 0x22", "EPERM", "map executable memory", PERMISSION_EXECUTE_CODE},
        {"map 5 0x22", "EPERM", "map executable memory", PERMISSION_EXECUTE_CODE},
        {"map 3 0x21", "EPERM", "map memory", -1},  /* shared, anonymous */
        {"map 3 0x122", "EPERM", "map memory", -1}, /* grows down: seen by no limit */
        {"map 0x100000005 0x22", "EPERM", "map executable memory", PERMISSION_EXECUTE_CODE},
        {"protect 5", "EPERM", "make memory executable", PERMISSION_EXECUTE_CODE},
        {"protect 7", "EPERM", "make memory executable", PERMISSION_EXECUTE_CODE},
        {"protect_key 5", "EPERM", "make memory executable", PERMISSION_EXECUTE_CODE},
        {"text_writable", "EPERM", "make memory executable", PERMISSION_EXECUTE_CODE},
        {"memfd", "EPERM", "memfd_create", -1},
        {"raw 135 0x400000", "EPERM", "personality", -1}, /* READ_IMPLIES_EXEC */
        {"raw 29 0 4096 0x3ff", "EPERM", "shmget", -1},
    };
    RUN_ATTACKS(attacks, NULL);
    /* A file that it wrote itself, in its own /tmp and in a writable grant. */
    struct rig_order o = {0};
    rig_grant(&o, directory, true);
    run_script(at("put @/code xxxx\nput /tmp/code xxxx\nmap_file @/code 5 2\nmap_file /tmp/code 5 2", directory), &o);
    rig_expect(&r, at("map_file @/code 5 2", directory), "EPERM");
    rig_expect(&r, "map_file /tmp/code 5 2", "EPERM");
    rig_remove(directory);
}

static void execute_code_relaxes_only_that(void **state)
{
    run_script("map 7 0x22\nprotect 5\nmap 3 0x21\nmap 3 0x122\nfork\nsocket 2 1\nmemfd",
               &(struct rig_order){.execute_code = true});
    rig_expect(&r, "map 7 0x22", "ok");
    rig_expect(&r, "protect 5", "ok");
    rig_expect(&r, "map 3 0x21", "EPERM");
    rig_expect(&r, "map 3 0x122", "EPERM");
    rig_expect(&r, "fork", "EPERM");
    rig_expect(&r, "socket 2 1", "EPERM");
    rig_expect(&r, "memfd", "EPERM");
}

static void nothing_outside_the_grants_can_be_reached(void **state)
{
    static const struct attack attacks[] = {
        {"open_read /etc/passwd", "ENOENT", "open for reading", PERMISSION_FILE_READ},
        {"open_read /tmp/../etc/passwd", "ENOENT", "open for reading", PERMISSION_FILE_READ},
        {"open_read ../../../etc/passwd", "ENOENT", "open for reading", PERMISSION_FILE_READ, .not_outside = true},
        {"open_write /etc/passwd", "EACCES", "open for writing", PERMISSION_FILE_WRITE, .not_outside = true},
        {"create /var/tmp/moat-x", "EACCES", "open for writing", PERMISSION_FILE_WRITE, .not_outside = true},
        {"create /x", "EACCES", "open for writing", PERMISSION_FILE_WRITE, .not_outside = true},
        {"mkdir /var/tmp/x", "EACCES", "create a directory", PERMISSION_FILE_WRITE, .not_outside = true},
        {"stat /etc/passwd", "ENOENT"},
        {"stat /proc/self/status", "ENOENT"},
        {"open_read /proc/self/maps", "ENOENT"},
        {"open_read /dev/null", "ENOENT"},
        {"open_read /sys/kernel/uevent_seqnum", "ENOENT"},
        {"chdir /etc", "ENOENT"},
        {"list /", "EACCES"},
        {"list /etc", "ENOENT"},
        {"open_at /tmp ../etc/passwd", "ENOENT", "open for reading", PERMISSION_FILE_READ},
        {"symlink /etc/passwd /tmp/moat-link-inside", "EPERM", "make a symbolic link", -1, .not_outside = true},
        {"mkdev /tmp/null", "EPERM", "make a device", -1, .not_outside = true},
        {"mkfifo /tmp/fifo", "EPERM", "make a device", -1, .not_outside = true},
        {"chown /tmp", "EPERM", "change the owner", -1, .not_outside = true},
        {"create /tmp/suid 04755", "EPERM", "make a set-uid file", -1, .not_outside = true},
        {"create /tmp/sgid 02755", "EPERM", "make a set-uid file", -1, .not_outside = true},
        {"raw 85 0 0", "EFAULT", .not_outside = true},
        {"raw 161 0", "EPERM", "chroot", -1, .not_outside = true},
        {"raw 165 0 0 0 0 0", "EPERM", "mount", -1, .not_outside = true},
        {"raw 155 0 0", "EPERM", "pivot_root", -1, .not_outside = true},
        {"raw 428 -100 0 1", "EPERM", "open_tree", -1, .not_outside = true},
        {"raw 429 -1 0 -1 0 0", "EPERM", "move_mount", -1, .not_outside = true},
        {"raw 304 -1 0 0", "EPERM", "open_by_handle_at", -1, .not_outside = true},
        {"raw 437 -100 0 0 0", "ENOSYS", .not_outside = true}, /* openat2 */
    };
    RUN_ATTACKS(attacks, NULL);
}

static void a_read_grant_is_read_only(void **state)
{
    char d[64];
    struct rig_order o = {0};
    rig_directory(d);
    rig_write(d, "secret", "forty-two", 0600);
    rig_write(d, "other", "x", 0644);
    rig_grant(&o, d, false);
    run_script(at("get @/secret\nlist @\nopen_write @/secret\nopen_trunc @/secret\ntruncate @/secret\n"
                  "create @/new\nmkdir @/new\nunlink @/secret\nrename @/secret @/b\nchmod @/secret 0777\n"
                  "utimes @/secret\nlink @/secret @/b\nlink @/secret /tmp/b\nput /tmp/t x\n"
                  "rename /tmp/t @/t\nexchange /tmp/t @/secret\nfchmod @/secret 0777",
                  d),
               &o);
    static const struct {
        const char *format, *answer;
    } lines[] = {{"get @/secret", "ok"},
                 {"list @", "ok"},
                 {"open_write @/secret", "EACCES"},
                 {"open_trunc @/secret", "EACCES"},
                 {"truncate @/secret", "EACCES"},
                 {"create @/new", "EACCES"},
                 {"mkdir @/new", "EACCES"},
                 {"unlink @/secret", "EACCES"},
                 {"chmod @/secret 0777", "EACCES"},
                 {"utimes @/secret", "EACCES"},
                 {"rename /tmp/t @/t", "EACCES"},
                 {"exchange /tmp/t @/secret", "EACCES"},
                 {"fchmod @/secret 0777", "EROFS"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        rig_expect(&r, at(lines[i].format, d), lines[i].answer);
    }
    char object[128];
    snprintf(object, sizeof object, "%.63s/secret", d);
    assert_int_equal(rig_event(&r, "open for writing", object)->permission, PERMISSION_FILE_WRITE);
    assert_int_equal(rig_event(&r, "rename", object)->permission, PERMISSION_FILE_WRITE);
    assert_non_null(strstr(r.output, "= forty-two"));
    rig_remove(d);
}

static void a_write_grant_belongs_to_the_hosts_owner(void **state)
{
    char d[64], path[128];
    struct rig_order o = {0};
    struct stat st;
    rig_directory(d);
    rig_grant(&o, d, true);
    run_script(at("put @/out done\nget @/out\nmkdir @/sub\ncreate @/suid 04755\ncreate @/plain 0755\n"
                  "chmod @/plain 04755\nchmod @/plain 02755\nfchmod @/plain 06755\nsymlink /etc/passwd @/link\n"
                  "mkdev @/dev\nrename @/out /tmp/out\nexec @/plain\nraw 85 @ 0",
                  d),
               &o);
    snprintf(path, sizeof path, "%.63s/out", d);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_gid, getegid());
    snprintf(path, sizeof path, "%.63s/plain", d);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07000, 0);
    snprintf(path, sizeof path, "%.63s/suid", d);
    assert_int_equal(stat(path, &st), -1);
    snprintf(path, sizeof path, "%.63s/link", d);
    assert_int_equal(lstat(path, &st), -1);
    rig_expect(&r, at("rename @/out /tmp/out", d), "EXDEV");
    rig_expect(&r, at("exec @/plain", d), "EPERM");
    assert_int_equal(rig_event(&r, "execute a program", NULL)->permission, PERMISSION_EXECUTE_CODE);
    rig_remove(d);
}

static void links_and_dots_do_not_lead_out_of_a_grant(void **state)
{
    char d[64], in[80], path[128];
    struct rig_order o = {0};
    rig_directory(d);
    snprintf(in, sizeof in, "%.63s/in", d);
    assert_int_equal(mkdir(in, 0755), 0);
    rig_write(d, "outside", "secret", 0644);
    snprintf(path, sizeof path, "%.63s/file", in);
    assert_int_equal(symlink("../outside", path), 0);
    snprintf(path, sizeof path, "%.63s/dir", in);
    assert_int_equal(symlink(d, path), 0);
    snprintf(path, sizeof path, "%.63s/passwd", in);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    rig_grant(&o, in, true);
    run_script(at("open_read @/file\nopen_read @/dir/outside\nopen_read @/passwd\nopen_write @/passwd\n"
                  "open_read @/../outside\nopen_at @ ../outside\nstat @/../outside\nlist @/..\n"
                  "chdir @\nopen_read ../outside\nopen_read file\nput @/file x",
                  in),
               &o);
    const char *const lines[] = {"open_read @/file",       "open_read @/dir/outside", "open_read @/passwd",
                                 "open_read @/../outside", "open_at @ ../outside",    "stat @/../outside"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        rig_expect(&r, at(lines[i], in), "ENOENT");
    }
    rig_expect(&r, "open_read ../outside", "ENOENT");
    rig_expect(&r, "open_read file", "ENOENT");
    assert_null(strstr(r.output, "open_write /etc/passwd -> ok"));
    char kept[16] = "";
    snprintf(path, sizeof path, "%.63s/outside", d);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, kept, sizeof kept - 1), 6);
    close(fd);
    assert_string_equal(kept, "secret");
    rig_remove(d);
}

static void grants_may_nest_and_be_files(void **state)
{
    char d[64], path[128];
    struct rig_order o = {0};
    rig_directory(d);
    rig_write(d, "file", "one file", 0644);
    rig_write(d, "sibling", "x", 0644);
    snprintf(path, sizeof path, "%.63s/rw", d);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%.63s/rw/ro", d);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%.63s/rw/ro", d);
    rig_grant(&o, path, false); /* the inner one first: the wall sorts them */
    snprintf(path, sizeof path, "%.63s/rw", d);
    rig_grant(&o, path, true);
    snprintf(path, sizeof path, "%.63s/file", d);
    rig_grant(&o, path, false);
    run_script(at("get @/file\nopen_write @/file\nopen_read @/sibling\nlist @\ncreate @/rw/a\n"
                  "create @/rw/ro/a\nstat @/sibling",
                  d),
               &o);
    const struct {
        const char *what, *answer;
    } lines[] = {{"get @/file", "ok"},    {"open_write @/file", "EACCES"}, {"open_read @/sibling", "ENOENT"},
                 {"create @/rw/a", "ok"}, {"create @/rw/ro/a", "EACCES"},  {"stat @/sibling", "ENOENT"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        rig_expect(&r, at(lines[i].what, d), lines[i].answer);
    }
    rig_remove(d);
}

/* Root's host notices before it sends anything, an ordinary user's worker when it mounts. */
static void refused_as_stale(const char *path)
{
    assert_false(r.ready);
    if (r.assign) {
        assert_int_equal(r.assign, -MOAT_E_START_FAILED);
        assert_non_null(strstr(r.error.message, path));
        return;
    }
    assert_int_equal(r.failed.kind, WALL_FAILED);
    assert_string_equal(r.failed.step, "grants");
    assert_true(r.failed.errnum == ESTALE || r.failed.errnum == ELOOP);
    assert_non_null(strstr(r.failed.message, path));
}

static void a_grant_that_became_another_place_is_refused(void **state)
{
    char d[64], a[80], b[80];
    rig_directory(d);
    snprintf(a, sizeof a, "%.63s/a", d);
    snprintf(b, sizeof b, "%.63s/b", d);
    assert_int_equal(mkdir(a, 0755), 0);
    struct rig_order o = {.script = "facts"};
    rig_grant(&o, a, false);
    /* Another directory of the same name, then a link of that name. */
    assert_int_equal(rename(a, b), 0);
    assert_int_equal(mkdir(a, 0755), 0);
    rig_run(spawner, &o, &r);
    refused_as_stale(a);
    assert_int_equal(rmdir(a), 0);
    assert_int_equal(symlink(b, a), 0);
    rig_run(spawner, &o, &r);
    refused_as_stale(a);
    rig_remove(d);
}

static void the_machines_own_places_are_never_granted(void **state)
{
    static const char *const places[] = {"/", "/proc", "/sys", "/dev", "/proc/self", "/dev/shm", "/sys/kernel", "/tmp"};
    struct wall_grant g;
    struct error err;
    char d[64], link[80], path[WALL_PATH_MAX + 16];
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        assert_int_equal(wall_resolve(places[i], false, &g, &err), -MOAT_E_PERMISSION_DENIED);
    rig_directory(d);
    snprintf(link, sizeof link, "%.63s/link", d);
    assert_int_equal(symlink("/proc/1", link), 0);
    assert_int_equal(wall_resolve(link, false, &g, &err), -MOAT_E_PERMISSION_DENIED);
    snprintf(link, sizeof link, "%.63s/none", d);
    assert_int_equal(wall_resolve(link, false, &g, &err), -MOAT_E_NO_SUCH_FILE);
    assert_int_equal(wall_resolve("relative", false, &g, &err), -MOAT_E_BAD_USAGE);
    memset(path, '/', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_int_equal(wall_resolve(path, false, &g, &err), -MOAT_E_PERMISSION_DENIED);
    rig_remove(d);
}

static void there_is_no_network(void **state)
{
    static const struct attack attacks[] = {
        {"socket 2 1", "EPERM", "open a socket", PERMISSION_NETWORK_ACCESS},
        {"socket 2 2", "EPERM", "open a socket", PERMISSION_NETWORK_ACCESS},
        {"socket 10 1", "EPERM", "open a socket", PERMISSION_NETWORK_ACCESS},
        {"socketpair", "EPERM", "open a socket pair", -1},
        {"pass_fd", "EPERM", NULL, 0, .not_outside = true},
        {"raw 307 3 0 1 0", "EPERM", NULL, 0, .not_outside = true}, /* sendmmsg */
        {"raw 42 3 0 0", "EPERM", "connect", PERMISSION_NETWORK_ACCESS, .not_outside = true},
        {"raw 49 3 0 0", "EPERM", "bind", PERMISSION_NETWORK_ACCESS, .not_outside = true},
        {"raw 47 3 0 0", "EPERM", "recvmsg", -1, .not_outside = true},
        {"raw 48 3 2", "EPERM", "shutdown", -1, .not_outside = true},
    };
    RUN_ATTACKS(attacks, NULL);
    static const struct attack families[] = {
        {"socket 1 1", "EPERM", "open a socket", -1},
        {"socket 16 3", "EPERM", "open a socket", -1},
        {"socket 17 3", "EPERM", "open a socket", -1, .not_outside = true},
        {"socket 40 1", "EPERM", "open a socket", -1, .not_outside = true},
        {"socket 38 5", "EPERM", "open a socket", -1, .not_outside = true},
    };
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        run_attacks(&families[i], 1, NULL);
}

static void no_other_process_can_be_made_or_reached(void **state)
{
    char line[64];
    static const struct attack attacks[] = {
        {"fork", "EPERM", "start a process", PERMISSION_EXECUTE_CODE},
        {"exec /bin/true", "EPERM", "execute a program", PERMISSION_EXECUTE_CODE},
        {"exec_fd /bin/true", "ENOENT", "open for reading", PERMISSION_FILE_READ, .not_outside = true},
        {"raw 58", "EPERM", "start a process", PERMISSION_EXECUTE_CODE, .not_outside = true}, /* vfork */
        {"raw 435 0 0", "ENOSYS", NULL, 0, .not_outside = true},                              /* clone3 */
        {"raw 56 0x10000000", "EPERM", "start a process", -1, .not_outside = true},
        {"raw 56 0x10010f00", "EPERM", "start a process", -1, .not_outside = true}, /* thread in a new user namespace */
        {"raw 272 0x10000000", "EPERM", "unshare", -1, .not_outside = true},
        {"raw 308 3 0", "EPERM", "setns", -1, .not_outside = true},
        {"kill -1", "EPERM", "signal a process", -1, .not_outside = true},
        {"kill 1", "EPERM", "signal a process", -1, .not_outside = true},
        {"ptrace 1", "EPERM", "ptrace", -1, .not_outside = true},
        {"raw 310 1 0 0 0 0 0", "EPERM", "process_vm_readv", -1, .not_outside = true},
        {"raw 311 1 0 0 0 0 0", "EPERM", "process_vm_writev", -1, .not_outside = true},
        {"raw 434 1 0", "EPERM", "pidfd_open", -1, .not_outside = true},
        {"raw 438 3 0 0", "EPERM", "pidfd_getfd", -1, .not_outside = true},
        {"tiocsti", "EPERM", "ioctl", -1, .not_outside = true},
        {"raw 250 1 0", "EPERM", "keyctl", -1, .not_outside = true},
        {"raw 321 0 0 0", "EPERM", "bpf", -1, .not_outside = true},
        {"raw 298 0 0 0 0 0", "EPERM", "perf_event_open", -1, .not_outside = true},
        {"raw 323 1", "EPERM", "userfaultfd", -1, .not_outside = true},
        {"raw 425 8 0", "ENOSYS", NULL, 0, .not_outside = true}, /* io_uring_setup */
        {"raw 300 0 0", "EPERM", "fanotify_init", -1, .not_outside = true},
        {"raw 154 0 0 0", "EPERM", "modify_ldt", -1, .not_outside = true},
        {"raw 103 3 0 0", "EPERM", "syslog", -1, .not_outside = true},
        {"raw 290 0 0", "EPERM", "eventfd2", -1, .not_outside = true},
        {"raw 72 3 4 0", "EPERM", "fcntl", -1, .not_outside = true},          /* F_SETFL */
        {"raw 72 1 1031 1048576", "EPERM", "fcntl", -1, .not_outside = true}, /* F_SETPIPE_SZ */
        {"raw 203 0 8 0", "EPERM", "sched_setaffinity", -1, .not_outside = true},
        {"raw 302 0 7 1 0", "EPERM", NULL, 0, .not_outside = true},         /* prlimit64 */
        {"raw 202 0 6 0 0 0 0", "EPERM", "futex", -1, .not_outside = true}, /* FUTEX_LOCK_PI */
        {"listener", "EPERM", NULL, 0, .not_outside = true},
        {"prctl 1 0", "EPERM", NULL, 0, .not_outside = true},  /* PR_SET_PDEATHSIG */
        {"prctl 4 1", "EPERM", NULL, 0, .not_outside = true},  /* PR_SET_DUMPABLE */
        {"prctl 22 1", "EPERM", NULL, 0, .not_outside = true}, /* PR_SET_SECCOMP */
    };
    RUN_ATTACKS(attacks, NULL);
    snprintf(line, sizeof line, "ptrace %d", (int)getpid());
    run_script(line, NULL);
    rig_expect(&r, line, "EPERM");
}

#ifdef __x86_64__
static void other_tables_of_system_calls_kill(void **state)
{
    run_script("int80", NULL);
    assert_true(WIFSIGNALED(r.end.wait_status));
    assert_int_equal(WTERMSIG(r.end.wait_status), SIGSYS);
    run_script("raw 0x40000027", NULL); /* getpid of the x32 table */
    assert_true(WIFSIGNALED(r.end.wait_status));
    assert_int_equal(WTERMSIG(r.end.wait_status), SIGSYS);
}
#endif

static void resources_are_bounded(void **state)
{
    struct rig_order o = {
        .limits = {.memory = 64 << 20, .tmp = 2 << 20, .file_size = 1 << 20, .processes = 6, .descriptors = 20}};
    run_script("touch 32\ntouch 100\nthreads 100\nreserve 16384\nreserve_then_use 100\nfill /tmp/a 10\nfill /tmp/b 10\n"
               "fill /tmp/c 10\ndescriptors 1000\nraw 149 0 4096\nraw 9 0 0x8000000 3 0x40022 -1 0",
               &o);
    rig_expect(&r, "threads 100", "EAGAIN");
    assert_non_null(strstr(r.output, "threads 5\n"));
    rig_expect(&r, "touch 32", "ok");
    rig_expect(&r, "touch 100", "ENOMEM");
    rig_expect(&r, "reserve 16384", "ok");
    rig_expect(&r, "reserve_then_use 100", "ENOMEM");
    rig_expect(&r, "fill /tmp/a 10", "EFBIG");
    rig_expect(&r, "fill /tmp/c 10", "ENOSPC");
    rig_expect(&r, "descriptors 1000", "EMFILE");
    rig_expect(&r, "raw 149 0 4096", "EPERM");                   /* mlock */
    rig_expect(&r, "raw 9 0 0x8000000 3 0x40022 -1 0", "EPERM"); /* huge pages */
}

static void a_spinning_worker_can_be_killed_and_cpu_is_bounded(void **state)
{
    struct rig_order o = {.script = "spin", .kill_when_ready = true};
    rig_run(spawner, &o, &r);
    assert_true(r.ready && WIFSIGNALED(r.end.wait_status));
    assert_int_equal(WTERMSIG(r.end.wait_status), SIGKILL);
    o = (struct rig_order){.script = "spin", .limits = {.cpu_seconds = 1}, .patience_ms = 30000};
    rig_run(spawner, &o, &r);
    assert_true(WIFSIGNALED(r.end.wait_status));
    assert_int_equal(WTERMSIG(r.end.wait_status), SIGKILL);
    /* The kernel's limit counts ticks, the report counts time: on a busy machine they differ. */
    const struct rusage *u = &r.end.usage;
    long ms = (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000 + (u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1000;
    assert_in_range(ms, 500, 5000);
}

static void a_crash_is_reported(void **state)
{
    run_script("crash", NULL);
    assert_true(WIFSIGNALED(r.end.wait_status));
    assert_int_equal(WTERMSIG(r.end.wait_status), SIGSEGV);
    assert_true(r.end.usage.ru_maxrss > 0);
}

static void a_message_that_is_not_due_is_a_failure(void **state)
{
    run_script("facts", NULL); /* the model of a good run */
    struct rig_order o = {.script = "say_control nonsense\nstay"};
    rig_run(spawner, &o, &r);
    assert_int_equal(r.failed.kind, WALL_FAILED);
    assert_string_equal(r.failed.step, "protocol");
}

static void code_is_not_loaded_while_the_channel_is_open(void **state)
{
    struct rig_order o = {.script = "keep"};
    rig_run(spawner, &o, &r);
    assert_int_equal(r.failed.kind, WALL_FAILED);
    assert_string_equal(r.failed.step, "load");
    assert_false(r.ready);
}

/* Not that of a container. */
static bool real_root(void)
{
    unsigned long long in, out, count = 0;
    FILE *f = fopen("/proc/self/uid_map", "re");
    bool whole = f && fscanf(f, "%llu %llu %llu", &in, &out, &count) == 3 && count == UINT32_MAX;
    if (f)
        fclose(f);
    return whole && geteuid() == 0;
}

/* Root's workers have a user each; an ordinary user's are that user. */
static void workers_are_never_the_hosts_root(void **state)
{
    struct rig g[4];
    static struct rig_result results[4];
    struct rig_order o = {.script = "stay"};
    memset(results, 0, sizeof results);
    for (int i = 0; i < 4; i++) {
        rig_open(&g[i], spawner, &o);
        assert_true(rig_until(&g[i], &o, &results[i], &results[i].ready, 10000));
        assert_int_equal(g[i].child.uid >= 0x70000000u, real_root());
        if (!real_root())
            assert_int_equal(g[i].child.uid, geteuid());
        for (int k = 0; k < i && real_root(); k++)
            assert_int_not_equal(g[k].child.uid, g[i].child.uid);
    }
    for (int i = 0; i < 4; i++)
        rig_close(&g[i]);
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
        cmocka_unit_test(a_worker_is_walled_before_its_constructors),
        cmocka_unit_test(every_layer_is_there),
        cmocka_unit_test(what_plugins_need_works),
        cmocka_unit_test(what_plugins_in_cpp_need_works),
        cmocka_unit_test(a_library_that_was_not_asked_for_is_not_there),
        cmocka_unit_test(memory_is_never_writable_and_executable),
        cmocka_unit_test(execute_code_relaxes_only_that),
        cmocka_unit_test(nothing_outside_the_grants_can_be_reached),
        cmocka_unit_test(a_read_grant_is_read_only),
        cmocka_unit_test(a_write_grant_belongs_to_the_hosts_owner),
        cmocka_unit_test(links_and_dots_do_not_lead_out_of_a_grant),
        cmocka_unit_test(grants_may_nest_and_be_files),
        cmocka_unit_test(a_grant_that_became_another_place_is_refused),
        cmocka_unit_test(the_machines_own_places_are_never_granted),
        cmocka_unit_test(there_is_no_network),
        cmocka_unit_test(no_other_process_can_be_made_or_reached),
#ifdef __x86_64__
        cmocka_unit_test(other_tables_of_system_calls_kill),
#endif
        cmocka_unit_test(resources_are_bounded),
        cmocka_unit_test(a_spinning_worker_can_be_killed_and_cpu_is_bounded),
        cmocka_unit_test(a_crash_is_reported),
        cmocka_unit_test(a_message_that_is_not_due_is_a_failure),
        cmocka_unit_test(code_is_not_loaded_while_the_channel_is_open),
        cmocka_unit_test(workers_are_never_the_hosts_root),
    };
    return cmocka_run_group_tests_name("wall", tests, start, stop);
}
