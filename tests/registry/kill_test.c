/* The process dies by SIGKILL at each call that changes storage (create, write, truncate, sync, rename, unlink, mkdir)
 * of a run through every kind of change.  Reopened, the registry is in the state of what was answered last, or one
 * command further; never between, and without a stray file.
 *
 * The child is traced, so that the points are counted, not timed: every run meets the same ones. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/ptrace.h>

#include "sample.h"

/* ---- what is done ---- */

#define STEPS SAMPLE_STEPS_MAX

static const struct sample_script *script;
static bool every_call; /* not only those that change storage */

/* What is traced: says after each step that it was answered. */
typedef int (*traced)(const struct place *p, int report);

/* Opens, takes every step, closes. */
static int run_all(const struct place *p, int report)
{
    struct registry *r;
    if (place_open(p, &r, NULL) < 0)
        return 1;
    for (int i = 0; i < script->steps; i++)
        if (script->step(r, i, NULL) < 0 || write(report, "+", 1) != 1)
            return 1;
    registry_close(r);
    return 0;
}

/* ---- where it dies ---- */

static bool changes_storage(const struct ptrace_syscall_info *info)
{
    static const long calls[] = {
        SYS_write,     SYS_pwrite64, SYS_pwritev,   SYS_writev,   SYS_ftruncate, SYS_fallocate, SYS_fsync,
        SYS_fdatasync, SYS_renameat, SYS_renameat2, SYS_unlinkat, SYS_mkdirat,   SYS_fchmod,
#ifdef SYS_unlink
        SYS_unlink,    SYS_rename,   SYS_mkdir,
#endif
    };
    if (info->op != PTRACE_SYSCALL_INFO_ENTRY)
        return false;
    if (every_call)
        return true;
    if ((long)info->entry.nr == SYS_openat)
        return info->entry.args[2] & (O_CREAT | O_TRUNC);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if ((long)info->entry.nr == calls[i])
            return true;
    return false;
}

/* Runs the child to its end, or kills it as its kill_at-th change of storage begins. The number of changes seen. */
static long trace(pid_t leader, long kill_at, int *end_status)
{
    long seen = 0;
    int status;
    pid_t tid;
    while ((tid = waitpid(-1, &status, __WALL)) > 0) {
        if (!WIFSTOPPED(status)) {
            if (tid == leader)
                *end_status = status;
            continue;
        }
        int stop = WSTOPSIG(status), pass = 0;
        struct ptrace_syscall_info info;
        if (stop == (SIGTRAP | 0x80) && ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof info, &info) > 0 &&
            changes_storage(&info) && ++seen == kill_at)
            kill(leader, SIGKILL);
        else if (stop != (SIGTRAP | 0x80) && stop != SIGTRAP && stop != SIGSTOP)
            pass = stop;
        ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(long)pass);
    }
    return errno == ECHILD ? seen : -1;
}

static long run_traced(const struct place *p, traced run, long kill_at, int *answered, int *end_status)
{
    int report[2];
    char ticks[STEPS];
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    pid_t leader = fork();
    if (leader == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(99);
        raise(SIGSTOP);
        _exit(run(p, report[1]));
    }
    int status;
    assert_int_equal(waitpid(leader, &status, 0), leader);
    assert_true(WIFSTOPPED(status));
    ptrace(PTRACE_SETOPTIONS, leader, NULL,
           (void *)(long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL));
    ptrace(PTRACE_SYSCALL, leader, NULL, NULL);
    long seen = trace(leader, kill_at, end_status);
    close(report[1]);
    ssize_t n = read(report[0], ticks, sizeof ticks);
    close(report[0]);
    *answered = n > 0 ? (int)n : 0;
    return seen;
}

/* ---- what is left ---- */

static void describe(const struct place *p, struct buf *out)
{
    struct registry *r;
    struct error err;
    if (place_open(p, &r, &err) < 0)
        fail_msg("cannot reopen: %s", err.message);
    sample_describe(r, p, out);
    sample_trail_is_whole(r);
    registry_close(r);
}

static void expected_states(struct buf states[STEPS + 1])
{
    struct place p;
    struct registry *r;
    struct error err;
    place_make(&p);
    assert_int_equal(place_open(&p, &r, &err), 0);
    for (int i = 0; i <= script->steps; i++) {
        states[i] = BUF_INIT(1 << 16);
        sample_describe(r, &p, &states[i]);
        if (i < script->steps && script->step(r, i, &err) < 0)
            fail_msg("step %d: %s", i, err.message);
        /* Each step must be seen in the description, or the comparison below would prove nothing. */
        if (i && i != script->unseen + 1 && strcmp(buf_text(&states[i]), buf_text(&states[i - 1])) == 0)
            fail_msg("step %d changes nothing that is seen", i - 1);
    }
    registry_close(r);
    place_remove(&p);
}

/* Killed as the k-th call began; false: it ended before. */
static bool one_point(const struct buf *states, long k)
{
    struct place p;
    int answered, end_status = 0;
    place_make(&p);
    run_traced(&p, run_all, k, &answered, &end_status);
    buf_auto left = BUF_INIT(1 << 16);
    describe(&p, &left);
    bool old = strcmp(buf_text(&left), buf_text(&states[answered])) == 0;
    bool new = answered < script->steps &&strcmp(buf_text(&left), buf_text(&states[answered + 1])) == 0;
    if (!old && !new)
        fail_msg("point %ld, after step %d:\n%s", k, answered, buf_text(&left));
    place_remove(&p);
    return WIFSIGNALED(end_status);
}

static void killed_anywhere_it_is_the_old_state_or_the_new(void **state)
{
    struct buf states[STEPS + 1];
    struct place p;
    int answered, end_status = 0;
    script = *state;
    expected_states(states);
    place_make(&p);
    long total = run_traced(&p, run_all, 0, &answered, &end_status), k = 0;
    place_remove(&p);
    assert_true(WIFEXITED(end_status) && WEXITSTATUS(end_status) == 0);
    assert_int_equal(answered, script->steps);
    assert_true(total >= 100);
    /* Every run changes storage by the same calls; of other calls the threads make now a few more, now a few less. */
    while (one_point(states, k + 1))
        k++;
    if (!every_call && k != total)
        fail_msg("%ld points were met of %ld", k, total);
    print_message("# %s: %ld points%s\n", script->name, k, every_call ? ", every system call" : "");
    for (int i = 0; i <= script->steps; i++)
        buf_free(&states[i]);
}

/* ---- restoring ---- */

static char backup_file[300];

static int run_restore(const struct place *p, int report)
{
    struct registry_restored done;
    if (registry_restore(p->registry, p->packages, backup_file, &done, NULL) < 0)
        return 1;
    return write(report, "+", 1) == 1 ? 0 : 1;
}

/* The first `steps` steps, and a backup of them when there is a file for it. */
static void make_home(struct place *p, int steps, const char *file, struct buf *text)
{
    struct registry *r;
    struct registry_reader *reader;
    struct registry_backup saved;
    struct error err;
    place_make(p);
    assert_int_equal(place_open(p, &r, &err), 0);
    for (int i = 0; i < steps; i++)
        if (sample_scripts[0].step(r, i, &err) < 0)
            fail_msg("step %d: %s", i, err.message);
    assert_int_equal(registry_reader_new(r, &reader, &err), 0);
    if (file && registry_backup(reader, p->registry, file, &saved, &err) < 0)
        fail_msg("%s", err.message);
    registry_reader_free(reader);
    if (text)
        sample_describe(r, p, text);
    registry_close(r);
}

/* Packages here have made-up hashes, which no backup takes: the saved home has none yet, the one before has. */
static void killed_anywhere_a_restoration_is_not_begun_or_done(void **state)
{
    struct buf before = BUF_INIT(1 << 16), saved = BUF_INIT(1 << 16);
    struct place source, p;
    int answered, end_status = 0;
    const char *base = getenv("TMPDIR");
    snprintf(backup_file, sizeof backup_file, "%s/moat-registry-%d.tar", base ? base : "/tmp", (int)getpid());
    make_home(&source, 1, backup_file, &saved);
    make_home(&p, 4, NULL, &before);
    long total = run_traced(&p, run_restore, 0, &answered, &end_status);
    place_remove(&p);
    assert_true(WIFEXITED(end_status) && WEXITSTATUS(end_status) == 0 && answered == 1);
    assert_true(total >= 20);
    print_message("# %ld points of a restoration\n", total);
    for (long k = 1; k <= total; k++) {
        buf_auto left = BUF_INIT(1 << 16);
        make_home(&p, 4, NULL, NULL);
        run_traced(&p, run_restore, k, &answered, &end_status);
        describe(&p, &left);
        bool old = !answered && strcmp(buf_text(&left), buf_text(&before)) == 0;
        if (!old && strcmp(buf_text(&left), buf_text(&saved)) != 0)
            fail_msg("point %ld of %ld:\n%s", k, total, buf_text(&left));
        place_remove(&p);
    }
    place_remove(&source);
    unlink(backup_file);
    buf_free(&before);
    buf_free(&saved);
}

/* Some thousands of points for each script: with --long. */
static void killed_at_every_system_call(void **state)
{
    const char *every = getenv("MOAT_LONG");
    if (!every || strcmp(every, "1") != 0)
        return;
    every_call = true;
    killed_anywhere_it_is_the_old_state_or_the_new(state);
    every_call = false;
}

int main(void)
{
#define SCRIPT(test, n) cmocka_unit_test_prestate(test, (void *)(uintptr_t)&sample_scripts[n])
    const struct CMUnitTest tests[] = {SCRIPT(killed_anywhere_it_is_the_old_state_or_the_new, 0),
                                       SCRIPT(killed_anywhere_it_is_the_old_state_or_the_new, 1),
                                       SCRIPT(killed_at_every_system_call, 0), SCRIPT(killed_at_every_system_call, 1),
                                       cmocka_unit_test(killed_anywhere_a_restoration_is_not_begun_or_done)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
