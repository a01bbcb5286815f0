/* The judgement of a posture, on texts as the kernel writes them: each single fault is found and named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sandbox/posture_text.h"

static const char status[] =
    "Name:\tmoat-worker\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t812\nPid:\t812\n"
    "Uid:\t1879048192\t1879048192\t1879048192\t1879048192\n"
    "Gid:\t1879048192\t1879048192\t1879048192\t1879048192\nGroups:\t \n"
    "NStgid:\t812\t1\nNSpid:\t812\t1\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
    "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n"
    "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\nSpeculation_Store_Bypass:\tvulnerable\n";

static const char mountinfo[] =
    "64 42 0:40 / / ro,nosuid,nodev,noexec,relatime - tmpfs moat rw,size=256k,nr_inodes=2048\n"
    "65 64 0:41 / /tmp rw,nosuid,nodev,noexec,relatime - tmpfs moat-tmp rw,size=16384k\n"
    "66 64 254:0 /srv/d /data ro,nosuid,nodev,noexec,relatime,idmapped - ext4 /dev/vda rw\n"
    "67 66 254:1 / /data/sub ro,nosuid,nodev,noexec,relatime - ext4 /dev/vdb rw\n"
    "68 64 254:0 /srv/o /o\\040ut rw,nosuid,nodev,noexec,relatime master:5 - ext4 /dev/vda rw\n";

static const char limits[] = "Limit                     Soft Limit           Hard Limit           Units     \n"
                             "Max cpu time              unlimited            unlimited            seconds   \n"
                             "Max file size             67108864             67108864             bytes     \n"
                             "Max data size             268435456            268435456            bytes     \n"
                             "Max stack size            8388608              8388608              bytes     \n"
                             "Max core file size        0                    0                    bytes     \n"
                             "Max processes             17                   17                   processes \n"
                             "Max open files            64                   64                   files     \n"
                             "Max locked memory         0                    0                    bytes     \n"
                             "Max address space         68987912192          68987912192          bytes     \n"
                             "Max pending signals       64                   64                   signals   \n"
                             "Max msgqueue size         0                    0                    bytes     \n";

static const struct wall_grant grants[] = {{.path = "/data", .directory = true},
                                           {.path = "/o ut", .directory = true, .writable = true}};

static char why[WALL_LAYER_COUNT][128];

static uint32_t judge(const struct posture_seen *seen)
{
    struct wall_request request = {.grants = grants, .ngrants = 2};
    memset(why, 0, sizeof why);
    return posture_judge(seen, &request, why);
}

static struct posture_seen good(void)
{
    struct posture_seen seen = {.status = status,
                                .mountinfo = mountinfo,
                                .limits = limits,
                                .owner = 0,
                                .uid = 1879048192u,
                                .self = WALL_BIT(NO_NESTED_NS) | WALL_BIT(LANDLOCK) | WALL_BIT(NOTIFY) |
                                        WALL_BIT(KEYRING) | WALL_BIT(NOT_DUMPABLE)};
    for (int i = 0; i < POSTURE_NAMESPACES; i++)
        seen.separate[i] = true;
    return seen;
}

/* The text with the first `from` replaced. */
static const char *changed(const char *text, const char *from, const char *to)
{
    static char out[8192];
    const char *place = strstr(text, from);
    if (!place)
        fail_msg("`%s` is not in the text", from);
    snprintf(out, sizeof out, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    return out;
}

static void a_finished_wall_is_accepted(void **state)
{
    struct posture_seen seen = good();
    uint32_t present = judge(&seen);
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        if (!(present & (1u << i)))
            fail_msg("%s: %s", wall_layer_name((enum wall_layer)i), why[i]);
}

static void each_fault_is_found(void **state)
{
    enum which { STATUS, MOUNTS, LIMITS };
    static const struct {
        enum which text;
        const char *from, *to;
        enum wall_layer layer;
    } faults[] = {
        {STATUS, "Uid:\t1879048192\t1879048192", "Uid:\t1879048192\t0", WALL_USER_NS},
        {STATUS, "Uid:\t1879048192", "Uid:\t1879048193", WALL_USER_NS},
        {STATUS, "NSpid:\t812\t1", "NSpid:\t812", WALL_PID_NS},
        {STATUS, "NSpid:\t812\t1", "NSpid:\t812\t2", WALL_PID_NS},
        {STATUS, "NSpid:\t812\t1", "NSpid:\t", WALL_PID_NS},
        {STATUS, "CapEff:\t0000000000000000", "CapEff:\t0000000000200000", WALL_CAPABILITIES},
        {STATUS, "CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff", WALL_CAPABILITIES},
        {STATUS, "CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001", WALL_CAPABILITIES},
        {STATUS, "CapInh:\t0000000000000000\n", "", WALL_CAPABILITIES},
        {STATUS, "CapPrm:\t0000000000000000", "CapPrm:\t", WALL_CAPABILITIES},
        {STATUS, "NoNewPrivs:\t1", "NoNewPrivs:\t0", WALL_NO_NEW_PRIVS},
        {STATUS, "NoNewPrivs:\t1\n", "", WALL_NO_NEW_PRIVS},
        {STATUS, "Seccomp:\t2", "Seccomp:\t0", WALL_SECCOMP},
        {STATUS, "Seccomp:\t2\n", "", WALL_SECCOMP},
        {STATUS, "Seccomp_filters:\t2", "Seccomp_filters:\t1", WALL_SECCOMP},
        {MOUNTS, "/ ro,nosuid,nodev,noexec", "/ rw,nosuid,nodev,noexec", WALL_ROOT},
        {MOUNTS, "/ ro,nosuid,nodev,noexec", "/ ro,nosuid,nodev", WALL_ROOT},
        {MOUNTS, "- tmpfs moat rw", "- ext4 moat rw", WALL_ROOT},
        {MOUNTS, "/data ro,", "/data rw,", WALL_ROOT},
        {MOUNTS, "/data/sub ro,", "/data/sub rw,", WALL_ROOT},
        {MOUNTS, "/data ro,nosuid", "/data ro", WALL_ROOT},
        {MOUNTS, "/data ro,nosuid,nodev,noexec", "/data ro,nosuid,nodev,relatime", WALL_ROOT},
        {MOUNTS, "/data ro,", "/database ro,", WALL_ROOT},
        {MOUNTS, "/o\\040ut rw,", "/etc rw,", WALL_ROOT},
        {MOUNTS, "/tmp rw,", "/var rw,", WALL_ROOT},
        {MOUNTS, "/tmp rw,nosuid,nodev,noexec", "/tmp rw,nosuid,nodev", WALL_ROOT},
        {MOUNTS, " - ext4", "", WALL_ROOT},
        {MOUNTS, "64 42 0:40 / / ro", "64 42 0:40 / /x ro", WALL_ROOT},
        {MOUNTS, "master:5 - ext4 /dev/vda rw\n",
         "- ext4 /dev/vda rw\n69 64 0:5 / /proc rw,nosuid,nodev,noexec - proc p rw\n", WALL_ROOT},
        {LIMITS, "Max data size             268435456", "Max data size             unlimited", WALL_RLIMITS},
        {LIMITS, "268435456            268435456", "268435456            unlimited", WALL_RLIMITS},
        {LIMITS, "Max processes             17                   17",
         "Max processes             17                   18", WALL_RLIMITS},
        {LIMITS, "Max open files            64", "Max open files            1024", WALL_RLIMITS},
        {LIMITS, "Max core file size        0", "Max core file size        1", WALL_RLIMITS},
        {LIMITS, "Max locked memory", "Max unlocked memory", WALL_RLIMITS},
        {LIMITS, "Max file size             67108864", "Max file size             x", WALL_RLIMITS},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct posture_seen seen = good();
        const char **text = faults[i].text == STATUS   ? &seen.status
                            : faults[i].text == MOUNTS ? &seen.mountinfo
                                                       : &seen.limits;
        *text = changed(*text, faults[i].from, faults[i].to);
        uint32_t missing = WALL_ALL & ~judge(&seen);
        if (missing != 1u << faults[i].layer)
            fail_msg("`%s` for `%s`: missing %x", faults[i].to, faults[i].from, missing);
        if (!why[faults[i].layer][0])
            fail_msg("`%s`: nothing is said", faults[i].to);
    }
}

/* Programs are the only mounts without noexec, each of them and nothing else, read-only. */
static void programs_are_mounted_as_such(void **state)
{
    static const struct wall_program programs[] = {{.shipped = true, .place = "/package/bin/tool"},
                                                   {.file.path = "/usr/bin/jq", .place = "/bin/jq"},
                                                   {.file.path = "/data/real", .place = "/data/link"}};
    static const char tail[] = "70 64 0:9 / /package ro,nosuid,nodev - tmpfs moat-package rw\n"
                               "71 64 254:0 /usr/bin/jq /bin/jq ro,nosuid,nodev - ext4 /dev/vda rw\n"
                               "72 64 254:0 /srv/d/real /data/real ro,nosuid,nodev - ext4 /dev/vda rw\n";
    static const struct {
        const char *from, *to;
    } faults[] = {{"/bin/jq ro,", "/bin/jq rw,"},
                  {"/bin/jq ro,nosuid", "/bin/jq ro"},
                  {"/bin/jq ro,", "/usr/bin/jq ro,"},
                  {"/package ro,", "/package rw,"},
                  {"- tmpfs moat-package", "- ext4 moat-package"},
                  {"/data/real ro,", "/data/link ro,"},
                  {"71 64 254:0 /usr/bin/jq /bin/jq ro,nosuid,nodev - ext4 /dev/vda rw\n", ""}};
    char all[2048], broken[2048];
    struct wall_request request = {.grants = grants, .ngrants = 2, .programs = programs, .nprograms = 3};
    struct posture_seen seen = good();
    snprintf(all, sizeof all, "%s%s", mountinfo, tail);
    seen.mountinfo = all;
    memset(why, 0, sizeof why);
    assert_true(posture_judge(&seen, &request, why) & WALL_BIT(ROOT));
    request.nprograms = 0;
    assert_false(posture_judge(&seen, &request, why) & WALL_BIT(ROOT));
    request.nprograms = 3;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const char *at = strstr(all, faults[i].from);
        assert_non_null(at);
        snprintf(broken, sizeof broken, "%.*s%s%s", (int)(at - all), all, faults[i].to, at + strlen(faults[i].from));
        seen.mountinfo = broken;
        if (posture_judge(&seen, &request, why) & WALL_BIT(ROOT))
            fail_msg("`%s` for `%s` is taken", faults[i].to, faults[i].from);
    }
}

static void each_namespace_and_each_word_of_the_worker_counts(void **state)
{
    for (int i = 0; i < POSTURE_NAMESPACES; i++) {
        struct posture_seen seen = good();
        seen.separate[i] = false;
        assert_int_equal(WALL_ALL & ~judge(&seen), 1u << (WALL_USER_NS + i));
    }
    static const uint32_t told[] = {WALL_BIT(NO_NESTED_NS), WALL_BIT(LANDLOCK), WALL_BIT(NOTIFY), WALL_BIT(KEYRING),
                                    WALL_BIT(NOT_DUMPABLE)};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct posture_seen seen = good();
        seen.self &= ~told[i];
        assert_int_equal(WALL_ALL & ~judge(&seen), told[i]);
    }
    /* It says that it is not dumpable, and its files say otherwise. */
    struct posture_seen seen = good();
    seen.owner = seen.uid;
    assert_int_equal(WALL_ALL & ~judge(&seen), WALL_BIT(NOT_DUMPABLE));
    /* It cannot talk the host into a layer that the host can see. */
    seen = good();
    seen.self = UINT32_MAX;
    seen.status = changed(status, "Seccomp:\t2", "Seccomp:\t0");
    assert_int_equal(WALL_ALL & ~judge(&seen), WALL_BIT(SECCOMP));
    /* Filters that the host itself is under are not the worker's. */
    seen = good();
    seen.filters_before = 1;
    assert_int_equal(WALL_ALL & ~judge(&seen), WALL_BIT(SECCOMP));
}

static void layers_have_names(void **state)
{
    for (int i = 0; i < WALL_LAYER_COUNT; i++) {
        assert_int_equal(wall_layer_parse(wall_layer_name((enum wall_layer)i)), i);
        assert_true(wall_layer_lost((enum wall_layer)i)[0] != '\0');
    }
    assert_int_equal(wall_layer_parse("moat"), -1);
    assert_string_equal(wall_layer_name((enum wall_layer)999), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_finished_wall_is_accepted),
        cmocka_unit_test(each_fault_is_found),
        cmocka_unit_test(programs_are_mounted_as_such),
        cmocka_unit_test(each_namespace_and_each_word_of_the_worker_counts),
        cmocka_unit_test(layers_have_names),
    };
    return cmocka_run_group_tests_name("posture", tests, NULL, NULL);
}
