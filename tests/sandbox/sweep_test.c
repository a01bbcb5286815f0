/* Every system call number from 0 to 1023 that the policy does not name, called inside: none succeeds, and each is
 * explained. */
#include "rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "syscall_names.h"

#define NUMBERS 1024

/* Whether an allow, explain or handover line of the policy names the call. */
static bool named[NUMBERS];

static int number_of(const char *name)
{
    for (size_t i = 0; i < sizeof syscall_names / sizeof *syscall_names; i++)
        if (syscall_names[i] && strcmp(syscall_names[i], name) == 0)
            return (int)i;
    return -1;
}

static void read_policy(const char *path)
{
    char line[1024];
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t found = 0;
    while (fgets(line, sizeof line, f)) {
        char *save = NULL, *word = strtok_r(line, " \t\n", &save);
        if (!word || (strcmp(word, "allow") != 0 && strcmp(word, "explain") != 0))
            continue;
        while ((word = strtok_r(NULL, " \t\n", &save)) && strcmp(word, "if") != 0) {
            int n = number_of(word);
            if (n >= 0 && n < NUMBERS) {
                named[n] = true;
                found++;
            }
        }
    }
    fclose(f);
    assert_true(found > 80); /* the file was read as it is written */
}

static struct rig_result r;

/* x86: uretprobe and uprobe.  From 6.14 on the kernel lets them past every filter, because its own trampolines call
 * them, and kills whoever else does. */
#ifdef __x86_64__
static const int unfiltered[] = {335, 336};
#else
static const int unfiltered[] = {-1};
#endif

static bool is_unfiltered(int number)
{
    for (size_t i = 0; i < sizeof unfiltered / sizeof *unfiltered; i++)
        if (unfiltered[i] == number)
            return true;
    return false;
}

static bool explained(int number)
{
    for (size_t i = 0; i < r.nevents; i++)
        if (r.events[i].syscall == number && r.events[i].denied && r.events[i].operation[0])
            return true;
    return false;
}

static void sweep(struct spawner *s, bool execute, const char *arguments)
{
    static char script[128 * 1024];
    size_t used = 0;
    for (int n = 0; n < NUMBERS; n++)
        if (!named[n] && !is_unfiltered(n))
            used += (size_t)snprintf(script + used, sizeof script - used, "raw %d %s\n", n, arguments);
    struct rig_order o = {.script = script, .execute_code = execute, .patience_ms = 60000};
    rig_run(s, &o, &r);
    assert_true(r.ready);
    size_t silent = 0;
    for (int n = 0; n < NUMBERS; n++) {
        char line[128];
        if (named[n] || is_unfiltered(n))
            continue;
        snprintf(line, sizeof line, "\nraw %d %s -> ", n, arguments);
        const char *answer = strstr(r.output, line);
        if (!answer)
            fail_msg("no answer to system call %d (status %x)", n, (unsigned)r.end.wait_status);
        answer += strlen(line);
        if (strncmp(answer, "EPERM\n", 6) != 0 && strncmp(answer, "ENOSYS\n", 7) != 0)
            fail_msg("system call %d answered %.20s", n, answer);
        silent += !explained(n);
    }
    /* Those that the policy answers itself: clone3, io_uring and their like. */
    assert_in_range(silent, 1, 16);
}

static void no_unnamed_call_succeeds(void **state)
{
    struct spawner *s = rig_spawner();
    read_policy(rig_path("POLICY"));
    sweep(s, false, "0 0 0 0 0 0");
    sweep(s, false, "-1 -1 -1 -1 -1 -1");
    sweep(s, true, "1 4096 1 1 1 1");
    spawner_stop(s);
}

static void calls_that_no_filter_sees_end_their_caller(void **state)
{
    struct spawner *s = rig_spawner();
    for (size_t i = 0; i < sizeof unfiltered / sizeof *unfiltered; i++) {
        char script[32];
        snprintf(script, sizeof script, "raw %d 0 0", unfiltered[i]);
        struct rig_order o = {.script = script};
        rig_run(s, &o, &r);
        bool killed = WIFSIGNALED(r.end.wait_status);
        if (!killed && !strstr(r.output, "-> EPERM\n") && !strstr(r.output, "-> ENOSYS\n"))
            fail_msg("system call %d: status %x, %s", unfiltered[i], (unsigned)r.end.wait_status, r.output);
    }
    spawner_stop(s);
}

int main(int argc, char **argv)
{
    rig_user(argv);
    rig_needs_wall();
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_unnamed_call_succeeds),
                                       cmocka_unit_test(calls_that_no_filter_sees_end_their_caller)};
    return cmocka_run_group_tests_name("sweep", tests, NULL, NULL);
}
