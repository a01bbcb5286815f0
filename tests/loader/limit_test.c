/* Limits: the operator's caps win over the manifest, and who runs into one is told which. */
#include <signal.h>

#include "rig.h"

#define MIB (1024ull * 1024)

static struct rig *r;
static const struct loader_caps caps = {
    .memory = 64 * MIB, .tmp = MIB, .file_size = MIB / 2, .cpu_ns = 200 * NS_PER_MS, .descriptors = 32};

static int open_capped(void **state)
{
    rig_config.caps = caps;
    r = rig_open();
    rig_define(r, "echo", NULL, LOADER_LAZY);
    return 0;
}

static int close_rig(void **state)
{
    rig_close(r, 0);
    return 0;
}

static unsigned long long number_of(const char *detail, const char *name)
{
    char key[32];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(detail, key);
    if (!at)
        fail_msg("no %s in %s", name, detail);
    return strtoull(at + strlen(key), NULL, 10);
}

/* Both ways to call; the error says which limit, its value, and what was seen. */
static void expect_limit(const char *action, const char *parameters, const char *limit, uint64_t value, uint64_t least)
{
    for (int way = 0; way < 2; way++) {
        struct test_call *c;
        if (way) {
            c = test_call_new(r, "echo", action, parameters);
            c->call.deadline_ns = 20 * NS_PER_S;
            test_call_begin(r, c);
            test_call_wait(c);
        } else {
            c = rig_run(r, "echo", action, parameters, 20 * NS_PER_S);
        }
        const struct error *e = &c->call.error;
        char expected[64];
        snprintf(expected, sizeof expected, "{\"limit\":\"%s\",", limit);
        if (c->call.code != -MOAT_E_LIMIT || strncmp(e->detail, expected, strlen(expected)) != 0)
            fail_msg("%s %s: code %d, %s, %s", action, parameters, c->call.code, e->message, e->detail);
        assert_int_equal(number_of(e->detail, "value"), value);
        if (number_of(e->detail, "seen") < least)
            fail_msg("%s", e->detail);
        assert_non_null(strstr(e->message, limit));
        test_call_free(c);
        rig_expect(r, "echo", "echo", "1", 0, "1"); /* the plugin is there again */
    }
}

static void memory(void **state)
{
    /* Refused in one piece: little of it was ever there. */
    expect_limit("overrun", "{\"what\": \"malloc\"}", "memory", caps.memory, 1ull << 40);
    /* By and by, and past the allocator: then only the peak tells. */
    expect_limit("overrun", "{\"what\": \"touch\"}", "memory", caps.memory, 48 * MIB);
    expect_limit("overrun", "{\"what\": \"mmap\"}", "memory", caps.memory, 48 * MIB);
    /* It noticed, and failed in words of its own. */
    expect_limit("overrun", "{\"what\": \"malloc\", \"then\": \"fail\"}", "memory", caps.memory, 1ull << 40);
}

static void temporary_space_and_file_size(void **state)
{
    expect_limit("overrun", "{\"what\": \"/tmp/a\"}", "file_size", caps.file_size, caps.file_size);
    expect_limit("overrun", "{\"what\": \"/tmp/a\", \"then\": \"fail\"}", "file_size", caps.file_size, caps.file_size);
    rig_expect(r, "echo", "overrun", "{\"what\": \"/tmp/a\", \"then\": \"go_on\"}", 0, "\"EFBIG\"");
    rig_expect(r, "echo", "overrun", "{\"what\": \"/tmp/b\", \"then\": \"go_on\"}", 0, NULL);
    rig_expect(r, "echo", "overrun", "{\"what\": \"/tmp/c\", \"then\": \"fail\"}", MOAT_E_LIMIT, "limit on tmp");
    /* A full /tmp explains a death as well, even of a worker that is dead. */
    rig_expect(r, "echo", "crash", "{}", MOAT_E_LIMIT, "limit on tmp");
    rig_expect(r, "echo", "crash", "{}", MOAT_E_PLUGIN_CRASHED, "SIGSEGV"); /* the next one's is empty */
}

static void descriptors(void **state)
{
    rig_expect(r, "echo", "fail", "{}", MOAT_E_ACTION_FAILED, "asked_for"); /* some are open, none is missing */
    for (int way = 0; way < 2; way++) {
        rig_expect(r, "echo", "overrun", "{\"what\": \"descriptors\", \"then\": \"go_on\"}", 0, "\"EMFILE\"");
        struct test_call *c =
            rig_run(r, "echo", "overrun", "{\"what\": \"descriptors\", \"then\": \"fail\"}", 20 * NS_PER_S);
        assert_int_equal(c->call.code, -MOAT_E_LIMIT);
        assert_non_null(strstr(c->call.error.detail, "\"limit\":\"descriptors\""));
        assert_int_equal(number_of(c->call.error.detail, "value"), caps.descriptors);
        assert_true(number_of(c->call.error.detail, "seen") >= caps.descriptors);
        assert_non_null(strstr(c->call.error.message, "descriptors_max"));
        test_call_free(c);
    }
    rig_expect(r, "echo", "crash", "{}", MOAT_E_PLUGIN_CRASHED, "SIGSEGV");
    rig_expect(r, "echo", "fail", "{}", MOAT_E_ACTION_FAILED, "asked_for"); /* the next one has its own */
}

static void cpu_time(void **state)
{
    uint64_t before = clock_mono_ns();
    expect_limit("spin", "{}", "cpu", caps.cpu_ns, caps.cpu_ns);
    assert_true(clock_mono_ns() - before < 15 * NS_PER_S); /* long before its deadline */
    /* Time that passes without computing is no CPU time. */
    rig_expect(r, "echo", "sleep", "{\"ms\": 400}", 0, "true");
}

/* What went wrong in one call is not said of the next. */
static void a_limit_that_was_survived_is_forgotten(void **state)
{
    rig_expect(r, "echo", "overrun", "{\"what\": \"malloc\", \"then\": \"go_on\"}", 0, "\"ENOMEM\"");
    rig_expect(r, "echo", "fail", "{\"code\": \"other\"}", MOAT_E_ACTION_FAILED, "other");
    rig_expect(r, "echo", "overrun", "{\"what\": \"malloc\", \"then\": \"go_on\"}", 0, "\"ENOMEM\"");
    rig_expect(r, "echo", "crash", "{}", MOAT_E_PLUGIN_CRASHED, "SIGSEGV");
}

static void a_limit_counts_as_such(void **state)
{
    rig_expect(r, "echo", "overrun", "{\"what\": \"malloc\"}", MOAT_E_LIMIT, "SIGSEGV");
    struct loader_status *s = rig_status(r, "echo");
    assert_int_equal(s->errors_by_code[MOAT_E_LIMIT], 1);
    assert_int_equal(s->errors_by_code[MOAT_E_PLUGIN_CRASHED], 0);
    RIG_WAIT(strstr(rig_status(r, "echo")->health_why, "limit on memory"));
}

static void the_operators_caps_win(void **state)
{
    const struct manifest_limits modest = {.memory = 8 * MIB,
                                           .tmp = 4096,
                                           .file_size = 4096,
                                           .processes = 1,
                                           .workers = 2,
                                           .descriptors = 16,
                                           .cpu_ns = NS_PER_MS};
    const struct manifest_limits greedy = {.memory = 1ull << 40,
                                           .tmp = 1ull << 40,
                                           .file_size = 1ull << 40,
                                           .processes = 1000,
                                           .workers = 200,
                                           .descriptors = 4000};
    struct manifest_limits held = loader_limits(r->l, &modest);
    assert_int_equal(held.memory, modest.memory);
    assert_int_equal(held.tmp, modest.tmp);
    assert_int_equal(held.file_size, modest.file_size);
    assert_int_equal(held.processes, modest.processes);
    assert_int_equal(held.workers, modest.workers);
    assert_int_equal(held.descriptors, modest.descriptors);
    assert_int_equal(held.deadline_ns, modest.deadline_ns);
    assert_int_equal(held.cpu_ns, modest.cpu_ns);
    held = loader_limits(r->l, &greedy);
    assert_int_equal(held.memory, caps.memory);
    assert_int_equal(held.tmp, caps.tmp);
    assert_int_equal(held.file_size, caps.file_size);
    assert_int_equal(held.cpu_ns, caps.cpu_ns);
    assert_int_equal(held.descriptors, caps.descriptors);
    assert_int_equal(held.processes, 1000); /* not capped here */
    assert_int_equal(held.workers, 31);
    rig_expect(r, "echo", "overrun", "{\"what\": \"malloc\"}", MOAT_E_LIMIT,
               "the operator's cap is the setting memory_max");
}

/* A place for control groups, as far as plain files can be one: each worker has a group of its own while it lives, the
 * kernel's word there wins, and none is left. */
static void control_groups_where_there_is_a_place(void **state)
{
    rig_close(r, 0);
    char root[] = "/tmp/moat-groups-XXXXXX", command[256], text[64];
    assert_non_null(mkdtemp(root));
    snprintf(command, sizeof command,
             "cd %s && mkdir s && echo memory pids >s/cgroup.controllers && echo 0::/s/moat-host >self", root);
    assert_int_equal(system(command), 0);
    snprintf(text, sizeof text, "%s/self", root);
    rig_config.caps = caps;
    rig_config.cgroup_root = root;
    rig_config.cgroup_self = text;
    r = rig_open();
    rig_define(r, "echo", NULL, LOADER_LAZY);
    rig_expect(r, "echo", "echo", "1", 0, "1");
    pid_t pid = rig_status(r, "echo")->first_pid;
    snprintf(command, sizeof command,
             "grep -qx %d %s/s/moat-worker-%d-*/cgroup.procs && grep -qx %llu %s/s/moat-worker-*/memory.max", (int)pid,
             root, (int)getpid(), (unsigned long long)(caps.memory + caps.tmp + 64 * MIB), root);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "for d in %s/s/moat-worker-*; do echo oom_kill 1 >$d/memory.events; done", root);
    assert_int_equal(system(command), 0);
    struct test_call *c = rig_run(r, "echo", "crash", "{}", 0);
    assert_int_equal(c->call.code, -MOAT_E_LIMIT);
    assert_int_equal(number_of(c->call.error.detail, "value"), caps.memory + caps.tmp + 64 * MIB);
    test_call_free(c);
    /* The kernel's files go with their group; these have to be helped. */
    snprintf(command, sizeof command, "rm -f %s/s/moat-worker-*/*", root);
    assert_int_equal(system(command), 0);
    rig_close(r, 0);
    snprintf(command, sizeof command, "test -z \"$(find %s/s -name 'moat-worker-*')\"; s=$?; rm -r %s; exit $s", root,
             root);
    assert_int_equal(system(command), 0);
    open_capped(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_capped, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(memory),
        TEST(temporary_space_and_file_size),
        TEST(descriptors),
        TEST(cpu_time),
        TEST(a_limit_that_was_survived_is_forgotten),
        TEST(a_limit_counts_as_such),
        TEST(the_operators_caps_win),
        TEST(control_groups_where_there_is_a_place),
    };
    cmocka_set_test_filter(getenv("MOAT_TEST")); /* one by its name, or all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
