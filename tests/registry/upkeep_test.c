/* Killed at each call that changes storage of one change, for each change that the runs of kill_test.c leave out: it is
 * there with its record in the audit trail, or nothing of it is. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "trace.h"
#include "upkeep.h"

static int at_step;

/* The step alone: what an opening and a closing do is killed elsewhere. */
static int run_step(const struct place *p, int report)
{
    struct registry *r;
    struct error err;
    if (place_open(p, &r, &err) < 0 || write(report, "o", 1) != 1)
        return 1;
    if (upkeep_steps[at_step].run(r, &err) < 0 || write(report, "+", 1) != 1)
        return 1;
    _exit(0);
}

/* ---- a home of which many are made ---- */

static char copy_from[256], copy_to[256];

static int copy_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    char to[600];
    snprintf(to, sizeof to, "%.250s%.300s", copy_to, path + strlen(copy_from));
    if (kind == FTW_D)
        return mkdir(to, 0700) < 0 && walk->level > 0 ? -1 : 0;
    buf_auto content = BUF_INIT(64u << 20);
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool done = fd >= 0 && io_read_file(path, &content, NULL) >= 0 && io_write_all(fd, content.data, content.len);
    io_close(&fd);
    return done ? 0 : -1;
}

static void copy_home(const struct place *from, struct place *to)
{
    place_make(to);
    snprintf(copy_from, sizeof copy_from, "%s", from->dir);
    snprintf(copy_to, sizeof copy_to, "%s", to->dir);
    assert_int_equal(nftw(from->dir, copy_one, 16, FTW_PHYS), 0);
}

static void describe(const struct place *p, struct buf *out)
{
    struct registry *r;
    struct error err;
    if (place_open(p, &r, &err) < 0)
        fail_msg("%s: cannot reopen: %s", upkeep_steps[at_step].name, err.message);
    upkeep_describe(r, p, out);
    sample_trail_is_whole(r);
    registry_close(r);
}

/* ---- one step ---- */

static void take_step(const struct place *home)
{
    struct registry *r;
    struct error err;
    if (place_open(home, &r, &err) < 0 || upkeep_steps[at_step].run(r, &err) < 0)
        fail_msg("%s: %s", upkeep_steps[at_step].name, err.message);
    registry_close(r);
}

/* Killed as the k-th change of storage behind the opening began; *seen: how many there were. */
static void one_point(const struct place *home, long k, const char *old, const char *new, long *seen)
{
    struct place p;
    int said, end_status = 0;
    buf_auto left = BUF_INIT(1 << 16);
    copy_home(home, &p);
    *seen = trace_run(&(struct trace){.run = run_step, .kill_at = k, .from = 1}, &p, &said, &end_status);
    describe(&p, &left);
    bool is_new = strcmp(buf_text(&left), new) == 0, is_old = strcmp(buf_text(&left), old) == 0;
    if (said == 2 ? !is_new : !is_old && !is_new)
        fail_msg("%s, killed at %ld, answered: %d:\n%s", upkeep_steps[at_step].name, k, said == 2, buf_text(&left));
    place_remove(&p);
}

static long sweep(const struct place *home, const char *old, const char *new)
{
    long seen, tried = 0, ignored;
    one_point(home, 0, old, new, &seen);
    if (seen < 1)
        fail_msg("%s changes nothing on the disk", upkeep_steps[at_step].name);
    for (long k = 1; k <= seen; k++, tried++)
        one_point(home, k, old, new, &ignored);
    return tried;
}

static void killed_anywhere_a_change_is_whole_or_not_there(void **state)
{
    struct place home;
    long points = 0;
    struct buf old = BUF_INIT(1 << 16), new = BUF_INIT(1 << 16);
    place_make(&home);
    describe(&home, &old);
    for (at_step = 0; at_step < UPKEEP_STEPS; at_step++) {
        struct place after;
        copy_home(&home, &after);
        take_step(&after);
        buf_clear(&new);
        describe(&after, &new);
        if (strcmp(buf_text(&old), buf_text(&new)) == 0)
            fail_msg("%s changes nothing that is seen", upkeep_steps[at_step].name);
        points += sweep(&home, buf_text(&old), buf_text(&new));
        place_remove(&home);
        home = after;
        struct buf swap = old;
        old = new;
        new = swap;
    }
    print_message("# %ld points of %d changes\n", points, UPKEEP_STEPS);
    place_remove(&home);
    buf_free(&old);
    buf_free(&new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_anywhere_a_change_is_whole_or_not_there)};
    place_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
