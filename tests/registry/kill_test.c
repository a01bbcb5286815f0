/* The process dies by SIGKILL at each call that changes storage (create, write, truncate, sync, rename, unlink, mkdir)
 * of a run through every kind of change.  Reopened, the registry is in the state of what was answered last, or one
 * command further; never between, and without a stray file, there or in the temporary directory.
 *
 * The child is traced, so that the points are counted, not timed: every run meets the same ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sample.h"
#include "trace.h"

/* ---- what is done ---- */

#define STEPS SAMPLE_STEPS_MAX

static const struct sample_script *script;
static bool every_call; /* not only those that change storage */

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

static long run_traced(const struct place *p, int (*run)(const struct place *p, int report), long kill_at,
                       int *answered, int *end_status)
{
    return trace_run(&(struct trace){.run = run, .kill_at = kill_at, .every_call = every_call}, p, answered,
                     end_status);
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
    if (place_strays())
        fail_msg("point %ld: a temporary file of SQLite's is left", k);
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
    place_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
