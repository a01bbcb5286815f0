/* The disk fails, is full, takes half a write, loses its power; the memory ends: at each call of a run through every
 * kind of change, one after the other, in a process of its own.  Whatever is answered is an error of the table or
 * success; what is found afterwards is the state of what was answered last, or one command further; the trail is whole,
 * and no file is left over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk.h"
#include "sample.h"

static const struct sample_script *script;
static struct buf states[SAMPLE_STEPS_MAX + 1];

static void make_states(void)
{
    struct place p;
    struct registry *r;
    struct error err;
    place_make(&p);
    if (place_open(&p, &r, &err) < 0)
        fail_msg("%s", err.message);
    for (int i = 0; i <= script->steps; i++) {
        states[i] = BUF_INIT(1 << 16);
        sample_describe(r, &p, &states[i]);
        if (i < script->steps && script->step(r, i, &err) < 0)
            fail_msg("step %d: %s", i, err.message);
    }
    registry_close(r);
    place_remove(&p);
}

static void free_states(void)
{
    for (int i = 0; i <= script->steps; i++)
        buf_free(&states[i]);
}

/* Until the first command that fails. What was answered goes to the report as it is known. */
static void run(const struct place *p, enum disk_fault fault, long at, uint64_t seed, int report)
{
    struct registry *r;
    struct error err;
    char answered = 0;
    long seen;
    disk_set(fault, at, seed);
    if (place_open(p, &r, &err) == 0) {
        while (answered < script->steps && script->step(r, answered, &err) == 0) {
            answered++;
            if (write(report, &answered, 1) != 1)
                _exit(98);
        }
        registry_close(r);
    }
    seen = disk_seen();
    disk_set(DISK_NONE, 0, 0);
    answered = 'n';
    if (write(report, &answered, 1) != 1 || write(report, &seen, sizeof seen) != sizeof seen)
        _exit(98);
    _exit(0);
}

struct outcome {
    int answered, status;
    long seen;
};

static struct outcome try(const struct place *p, enum disk_fault fault, long at, uint64_t seed)
{
    int pipes[2];
    char text[SAMPLE_STEPS_MAX + 1 + sizeof(long)];
    struct outcome o = {0};
    assert_int_equal(pipe(pipes), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        close(pipes[0]);
        run(p, fault, at, seed, pipes[1]);
    }
    close(pipes[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(pipes[0], text + n, sizeof text - n)) > 0;)
        n += (size_t)got;
    close(pipes[0]);
    assert_int_equal(waitpid(child, &o.status, 0), child);
    while ((size_t)o.answered < n && text[o.answered] == o.answered + 1)
        o.answered++;
    if ((size_t)o.answered < n && text[o.answered] == 'n')
        memcpy(&o.seen, text + o.answered + 1, sizeof o.seen);
    return o;
}

static void check(const struct place *p, const struct outcome *o, enum disk_fault fault, long at)
{
    struct registry *r;
    struct error err;
    buf_auto left = BUF_INIT(1 << 16);
    bool power = fault == DISK_POWER && WEXITSTATUS(o->status) == DISK_POWER_STATUS;
    if (!WIFEXITED(o->status) || (WEXITSTATUS(o->status) && !power))
        fail_msg("fault %d at %ld: the process ended with %#x", fault, at, (unsigned)o->status);
    if (place_open(p, &r, &err) < 0)
        fail_msg("fault %d at %ld: cannot reopen: %s", fault, at, err.message);
    sample_describe(r, p, &left);
    sample_trail_is_whole(r);
    registry_close(r);
    bool old = strcmp(buf_text(&left), buf_text(&states[o->answered])) == 0;
    bool next = o->answered < script->steps && strcmp(buf_text(&left), buf_text(&states[o->answered + 1])) == 0;
    if (!old && !next)
        fail_msg("fault %d at %ld, %d answered:\n%s", fault, at, o->answered, buf_text(&left));
}

/* step: every how many points, but with MOAT_LONG each. */
static void sweep_one(const char *name, enum disk_fault fault, long step)
{
    struct place p;
    const char *seed_text = getenv("MOAT_SEED"), *every = getenv("MOAT_LONG");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    if (every && strcmp(every, "1") == 0)
        step = 1;
    make_states();
    place_make(&p);
    struct outcome whole = try(&p, fault, 0, seed);
    place_remove(&p);
    assert_int_equal(whole.answered, script->steps);
    assert_true(whole.seen >= 100);
    long tried = 0;
    for (long at = 1 + (long)(seed % (uint64_t)step); at <= whole.seen; at += step, tried++) {
        place_make(&p);
        struct outcome o = try(&p, fault, at, seed + (uint64_t)at);
        check(&p, &o, fault, at);
        place_remove(&p);
    }
    print_message("# %s, %s: %ld of %ld points\n", script->name, name, tried, whole.seen);
    free_states();
}

static void sweep(const char *name, enum disk_fault fault, long step)
{
    for (int i = 0; i < SAMPLE_SCRIPTS; i++) {
        script = &sample_scripts[i];
        sweep_one(name, fault, i ? 2 * step : step);
    }
}

static void an_error_of_the_disk(void **state)
{
    sweep("EIO", DISK_EIO, 3);
}

static void a_full_disk(void **state)
{
    sweep("ENOSPC", DISK_ENOSPC, 5);
}

static void a_short_write(void **state)
{
    sweep("short write", DISK_SHORT, 4);
}

static void a_loss_of_power(void **state)
{
    sweep("power", DISK_POWER, 2);
}

static void no_memory(void **state)
{
    sweep("memory", DISK_MEMORY, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_of_the_disk), cmocka_unit_test(a_full_disk), cmocka_unit_test(a_short_write),
        cmocka_unit_test(a_loss_of_power),      cmocka_unit_test(no_memory),
    };
    place_in_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
