/* Denials: folded over processes, bounded for each plugin, no number lost and no kind behind another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry/internal.h"
#include "sample.h"

struct fixture {
    struct place place;
    struct registry *r;
    struct registry_reader *reader;
    struct error err;
};

#define OK(call) assert_int_equal((call), 0)

static void open_it(struct fixture *f)
{
    if (place_open(&f->place, &f->r, &f->err) < 0 || registry_reader_new(f->r, &f->reader, &f->err) < 0)
        fail_msg("%s", f->err.message);
}

static void close_it(struct fixture *f)
{
    registry_reader_free(f->reader);
    registry_close(f->r);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sample_install alpha = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    struct sample_install beta = {.name = "beta", .version = "1.0.0", .key = 1, .bytes = 11};
    place_make(&f->place);
    open_it(f);
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &alpha, &f->err));
    OK(sample_install(f->r, &beta, &f->err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_it(f);
    place_remove(&f->place);
    free(f);
    return 0;
}

static bool deny(struct fixture *f, const char *plugin, const char *action, const char *object, uint64_t count,
                 uint64_t at_ms)
{
    char call[33];
    snprintf(call, sizeof call, "call-%llu", (unsigned long long)at_ms);
    struct registry_denial d = {.plugin = plugin,
                                .version = "1.0.0",
                                .action = action,
                                .call = call,
                                .operation = "open for reading",
                                .object = object,
                                .wall = "mounts",
                                .permission = 0,
                                .count = count,
                                .first_ms = at_ms,
                                .last_ms = at_ms};
    return registry_deny(f->r, &d);
}

/* What a reader sees: rows, their sum, and one line for each. */
struct seen {
    size_t rows;
    uint64_t sum;
    char text[2000];
};

static bool see(void *context, const struct registry_denial *d)
{
    struct seen *s = context;
    size_t used = strlen(s->text);
    s->rows++;
    s->sum += d->count;
    snprintf(s->text + used, sizeof s->text - used, "%s %s %s %s %s %s %llu %llu-%llu\n", d->plugin, d->action,
             d->operation, d->object, d->wall, d->call, (unsigned long long)d->count, (unsigned long long)d->first_ms,
             (unsigned long long)d->last_ms);
    return true;
}

static struct seen look(struct fixture *f, const char *name, uint64_t since_ms)
{
    struct seen s = {0};
    OK(registry_flush(f->r, &f->err));
    OK(registry_each_denial(f->reader, name, since_ms, see, &s, &f->err));
    return s;
}

static uint64_t dropped(struct fixture *f, const char *name)
{
    uint64_t n = 77;
    OK(registry_find_denials_dropped(f->reader, name, &n, &f->err));
    return n;
}

static void rows_are_added_to_over_processes(void **state)
{
    struct fixture *f = *state;
    assert_true(deny(f, "alpha", "read", "/etc/shadow", 3, 1000));
    assert_true(deny(f, "beta", "read", "/etc/shadow", 1, 1500));
    assert_true(deny(f, "alpha", "read", "/etc/shadow", 2, 2000));
    close_it(f); /* which writes what was gathered */
    open_it(f);
    assert_true(deny(f, "alpha", "read", "/etc/shadow", 5, 3000));
    assert_true(deny(f, "alpha", "write", "/etc/shadow", 1, 500));
    assert_string_equal(look(f, "alpha", 0).text,
                        "alpha read open for reading /etc/shadow mounts call-3000 10 1000-3000\n"
                        "alpha write open for reading /etc/shadow mounts call-500 1 500-500\n");
    assert_int_equal(look(f, NULL, 0).rows, 3);
    assert_int_equal(look(f, NULL, 1500).rows, 2); /* that were added to then or later */
    assert_int_equal(look(f, "gamma", 0).rows, 0);
    assert_int_equal(dropped(f, NULL), 0);
}

/* A crash is a copy of the files as they are: what was flushed is there, what was only gathered is not. */
static void a_crash_loses_only_what_was_not_written(void **state)
{
    struct fixture *f = *state;
    struct seen s = {0};
    deny(f, "alpha", "read", "/a", 4, 1000);
    OK(registry_flush(f->r, &f->err));
    deny(f, "alpha", "read", "/a", 1, 1100);
    OK(registry_each_denial(f->reader, "alpha", 0, see, &s, &f->err)); /* what is on the disk */
    assert_int_equal(s.sum, 4);
    assert_int_equal(look(f, "alpha", 0).sum, 5);
}

static void a_plugin_has_so_many_rows_and_no_kind_behind_another(void **state)
{
    struct fixture *f = *state;
    char object[64];
    uint64_t all = 1;
    deny(f, "beta", "read", "/of/beta", 1, 1);
    deny(f, "alpha", "quiet", "/once", 1, 1); /* the oldest of all */
    for (uint64_t i = 0; i < 3 * REGISTRY_DENIALS; i++) {
        snprintf(object, sizeof object, "/none/%llu", (unsigned long long)i);
        assert_true(deny(f, "alpha", "loud", object, 2, 1000 + i));
        all += 2;
    }
    struct seen s = look(f, "alpha", 0);
    assert_int_equal(s.rows, REGISTRY_DENIALS);
    assert_int_equal(s.sum + dropped(f, "alpha"), all);
    assert_non_null(strstr(s.text, "/none/1535 ")); /* the newest stay */
    assert_int_equal(look(f, "beta", 0).sum, 1);
    assert_int_equal(dropped(f, "beta"), 0);
    assert_int_equal(dropped(f, NULL), dropped(f, "alpha"));
    int64_t quiet = 0;
    OK(db_number(&f->reader->db, &f->err, 0, &quiet, "SELECT count(*) FROM denial WHERE action = 'quiet'", ""));
    assert_int_equal(quiet, 1);
}

/* Who tells is told that there is no room, and tells again. */
static void what_waits_is_bounded(void **state)
{
    struct fixture *f = *state;
    char object[64];
    uint64_t taken = 0, asked = 0;
    for (uint64_t i = 0; i < 2 * GATHER_DENIALS; i++) {
        snprintf(object, sizeof object, "/%llu", (unsigned long long)i % 300);
        asked++;
        taken += deny(f, "alpha", "read", object, 1, i);
    }
    assert_true(taken >= GATHER_DENIALS && taken <= asked);
    assert_int_equal(look(f, "alpha", 0).sum, taken);
    assert_true(deny(f, "alpha", "read", "/0", 1, 1));
    assert_int_equal(look(f, "alpha", 0).sum, taken + 1);
}

static void they_outlive_the_version_and_go_with_the_name(void **state)
{
    struct fixture *f = *state;
    struct registry_command c = {.verb = REGISTRY_UNINSTALL, .uninstall = {.name = "alpha"}};
    deny(f, "alpha", "read", "/a", 1, 1);
    OK(registry_flush(f->r, &f->err));
    OK(registry_run(f->r, &c, &f->err));
    assert_int_equal(look(f, "alpha", 0).sum, 1);
    c.uninstall.purge = true;
    OK(registry_run(f->r, &c, &f->err));
    assert_int_equal(look(f, "alpha", 0).sum, 0);
    deny(f, "alpha", "read", "/late", 1, 1); /* of a name that is gone */
    assert_int_equal(look(f, NULL, 0).sum, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(rows_are_added_to_over_processes),
        T(a_crash_loses_only_what_was_not_written),
        T(a_plugin_has_so_many_rows_and_no_kind_behind_another),
        T(what_waits_is_bounded),
        T(they_outlive_the_version_and_go_with_the_name),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
