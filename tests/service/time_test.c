/* Grants that end by themselves: whatever the wall clock does, over restarts of Moat and of the machine.  The clocks
 * and the boots are the test's own. */
#include <pthread.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kit.h"
#include "service/home_time.h"

#define INSTALL(k, ...) kit_install(k, (struct service_install){.path = __VA_ARGS__})
#define DAY_S 86400

/* ---- the clocks ---- */

static _Atomic int64_t wall_s, boot_s; /* what they are shifted by */
static _Atomic unsigned boots;

uint64_t __real_clock_wall_ns(void);
uint64_t __wrap_clock_wall_ns(void);
uint64_t __wrap_clock_wall_ns(void)
{
    return __real_clock_wall_ns() + (uint64_t)(wall_s * (int64_t)NS_PER_S);
}

uint64_t __real_home_time_boot_clock(void);
uint64_t __wrap_home_time_boot_clock(void);
uint64_t __wrap_home_time_boot_clock(void)
{
    return __real_home_time_boot_clock() + (uint64_t)(boot_s * (int64_t)NS_PER_S);
}

void __wrap_home_time_boot_name(char out[40]);
void __wrap_home_time_boot_name(char out[40])
{
    snprintf(out, 40, "boot-%u", boots);
}

static int setup(void **state)
{
    wall_s = boot_s = 0;
    boots = 1;
    int rc = kit_setup(state);
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.required = "[\"file_read\"]"})));
    kit_write(k, "a", "content");
    return rc;
}

static const char *grant_of(struct kit *k, const char *file)
{
    static char text[400];
    snprintf(text, sizeof text, "file_read=%s", kit_path(k, file));
    return text;
}

static void restart(struct kit *k)
{
    kit_close(k);
    kit_open(k, false);
}

/* What the plugin gets. */
static bool holds(struct kit *k)
{
    OK(k, kit_info(k, "alpha"));
    return strcmp(kit_text(k, "permissions.0.decision"), "granted") == 0;
}

/* Until the row is gone too: what ended was ended, and recorded. */
static void wait_for_end(struct kit *k)
{
    uint64_t until = clock_mono_ns() + 20 * NS_PER_S;
    do {
        assert_true(clock_mono_ns() < until);
        usleep(2000);
        OK(k, kit_grants(k, "alpha"));
    } while (kit_count(k, "grants"));
}

/* ---- pure ---- */

static void the_time_of_a_home_never_goes_back(void **state)
{
    struct registry_home_time kept = {.boot = "b", .boot_ns = 1000, .time_ns = 5000};
    static const struct {
        const char *boot;
        uint64_t boot_ns, wall_ns, time_ns;
    } rows[] = {
        {"b", 1000, 5000, 5000}, {"b", 1300, 5000, 5300}, /* the boot's clock went on, the wall's did not */
        {"b", 1300, 9000, 5300},                          /* the wall clock was set forward: not by the boot's */
        {"b", 1300, 1, 5300},    {"c", 10, 4000, 5000},   /* another boot: never below */
        {"c", 10, 9000, 9000},   {"", 1300, 9000, 9000},  /* no name: as another boot */
        {"b", 900, 4000, 5000},                           /* a clock that is not this boot's */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct home_time t;
        home_time_begin(&kept, rows[i].boot, rows[i].boot_ns, rows[i].wall_ns, &t);
        assert_int_equal(t.time_ns, rows[i].time_ns);
        assert_int_equal(home_time_at(&t, rows[i].boot_ns + 7), rows[i].time_ns + 7);
        assert_int_equal(home_time_at(&t, 0), rows[i].time_ns);
        assert_int_equal(home_time_boot(&t, rows[i].time_ns + 7), rows[i].boot_ns + 7);
    }
    struct home_time first;
    home_time_begin(NULL, "b", 5, 77, &first);
    assert_int_equal(first.time_ns, 77);
}

/* ---- within one boot ---- */

static void a_grant_ends_by_itself(void **state)
{
    struct kit *k = *state;
    OK(k, kit_grant_for(k, "alpha", grant_of(k, "a"), "1s"));
    assert_true(holds(k));
    wait_for_end(k);
    assert_false(holds(k));
    REFUSED(k, MOAT_E_PERMISSION_DENIED, kit_call(k, "alpha", "count", "{}"));
    assert_non_null(strstr(k->error.message, "moat grant alpha"));
}

static void setting_the_wall_clock_changes_no_end(void **state)
{
    struct kit *k = *state;
    OK(k, kit_grant_for(k, "alpha", grant_of(k, "a"), "10m"));
    wall_s = 30 * DAY_S;
    assert_true(holds(k)); /* not earlier */
    restart(k);
    assert_true(holds(k));
    wall_s = -30 * DAY_S;
    boot_s = 601;
    assert_false(holds(k)); /* not later */
    restart(k);
    assert_false(holds(k));
    wait_for_end(k);
}

static void the_end_that_is_shown_is_by_the_clock_on_the_wall(void **state)
{
    struct kit *k = *state;
    char early[CLOCK_RFC3339_MAX], late[CLOCK_RFC3339_MAX];
    wall_s = 0;
    OK(k, kit_grant_for(k, "alpha", grant_of(k, "a"), "1h"));
    wall_s = -DAY_S;
    clock_rfc3339(clock_wall_ns() + 3590 * NS_PER_S, early);
    clock_rfc3339(clock_wall_ns() + 3602 * NS_PER_S, late);
    OK(k, kit_grants(k, "alpha"));
    assert_true(strcmp(kit_text(k, "grants.0.until"), early) > 0);
    assert_true(strcmp(kit_text(k, "grants.0.until"), late) < 0);
}

/* ---- in another boot ---- */

static void a_boot_with_an_earlier_clock_prolongs_nothing(void **state)
{
    struct kit *k = *state;
    OK(k, kit_grant_for(k, "alpha", grant_of(k, "a"), "10m"));
    boot_s = 590; /* ten seconds are left */
    kit_close(k);
    boots++;
    boot_s = -1000;
    wall_s = -30 * DAY_S;
    kit_open(k, false);
    assert_true(holds(k));
    boot_s += 11;
    assert_false(holds(k));
}

static void a_boot_after_the_end_finds_it_ended(void **state)
{
    struct kit *k = *state;
    OK(k, kit_grant_for(k, "alpha", grant_of(k, "a"), "10m"));
    assert_true(holds(k));
    kit_close(k);
    boots++;
    boot_s = -1000;
    wall_s = 601;
    kit_open(k, false);
    assert_false(holds(k));
    wait_for_end(k);
    /* And it stays so when the clock goes back once more. */
    kit_close(k);
    boots++;
    wall_s = 0;
    kit_open(k, false);
    assert_false(holds(k));
}

/* ---- what runs ---- */

struct running {
    struct kit *k;
    pthread_t thread;
    struct call call;
};

static void *run(void *argument)
{
    struct running *r = argument;
    struct call *list = &r->call;
    call_run(service_loader(r->k->s), &list, 1);
    return NULL;
}

static void begin(struct kit *k, struct running *r)
{
    static const char parameters[] = "{\"ms\":60000,\"deaf\":true}";
    struct loader_status *status = malloc(sizeof *status);
    *r = (struct running){.k = k,
                          .call = {.plugin = "alpha",
                                   .action = "sleep",
                                   .parameters = parameters,
                                   .parameters_len = sizeof parameters - 1,
                                   .deadline_ns = 120 * NS_PER_S}};
    assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
    uint64_t until = clock_mono_ns() + 20 * NS_PER_S;
    do {
        assert_true(clock_mono_ns() < until);
        usleep(1000);
        assert_true(loader_status(service_loader(k->s), "alpha", status));
    } while (status->in_flight != 1);
    free(status);
}

static int end(struct running *r)
{
    pthread_join(r->thread, NULL);
    free(r->call.result);
    return r->call.code;
}

/* Its end is as a revocation: the call that ran with the right fails, and no worker has it. */
static void an_end_kills_what_ran_with_the_right(void **state)
{
    struct kit *k = *state;
    struct running r;
    uint64_t from = clock_mono_ns();
    OK(k, kit_grant_for(k, "alpha", grant_of(k, "a"), "2s"));
    begin(k, &r);
    assert_int_equal(end(&r), -MOAT_E_PERMISSION_DENIED);
    assert_true(clock_mono_ns() - from < 20 * NS_PER_S);
    wait_for_end(k);
    struct loader_status *status = malloc(sizeof *status);
    assert_true(loader_status(service_loader(k->s), "alpha", status));
    assert_int_equal(status->workers, 0);
    free(status);
}

/* A record that cannot be read says nothing of what runs: the right ends all the same. */
static void an_end_kills_also_what_cannot_be_read_any_more(void **state)
{
    struct kit *k = *state;
    struct running r;
    sqlite3 *db;
    uint64_t from = clock_mono_ns();
    OK(k, kit_grant_for(k, "alpha", grant_of(k, "a"), "2s"));
    begin(k, &r);
    assert_int_equal(sqlite3_open(kit_path(k, "home/registry/registry.db"), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    assert_int_equal(sqlite3_exec(db, "UPDATE version SET manifest = '{'", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_not_equal(end(&r), 0);
    assert_true(clock_mono_ns() - from < 20 * NS_PER_S); /* the call itself takes a minute */
    struct loader_status *status = malloc(sizeof *status);
    do { /* the call is answered before the worker has been waited for */
        assert_true(clock_mono_ns() - from < 20 * NS_PER_S);
        usleep(1000);
        assert_true(loader_status(service_loader(k->s), "alpha", status));
    } while (status->workers);
    free(status);
}

static void a_longer_grant_is_not_cut_short(void **state)
{
    struct kit *k = *state;
    OK(k, kit_grant(k, "alpha", grant_of(k, "a")));
    REFUSED(k, MOAT_E_WRONG_STATE, kit_grant_for(k, "alpha", grant_of(k, "a"), "1h"));
    OK(k, kit_revoke(k, "alpha", grant_of(k, "a")));
    OK(k, kit_grant_for(k, "alpha", grant_of(k, "a"), "1h"));
    REFUSED(k, MOAT_E_WRONG_STATE, kit_grant_for(k, "alpha", grant_of(k, "a"), "1m"));
    OK(k, kit_grant_for(k, "alpha", grant_of(k, "a"), "2h"));
    OK(k, kit_grant(k, "alpha", grant_of(k, "a")));
    OK(k, kit_grants(k, "alpha"));
    assert_true(json_is_null(kit_at(k, "grants.0.until")));
    static const char *const spans[] = {"", "1", "0s", "999ms", "-1s", "2h ", "40000d", "18446744073709551615d"};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        REFUSED(k, MOAT_E_BAD_USAGE, kit_grant_for(k, "alpha", "file_read=/etc", spans[i]));
}

/* One that stays is not dropped because one that ends covered it. */
static void what_an_ended_grant_covered_stays(void **state)
{
    struct kit *k = *state;
    char dir[400];
    snprintf(dir, sizeof dir, "file_read=%s", k->dir);
    OK(k, kit_grant_for(k, "alpha", dir, "10m"));
    OK(k, kit_grant(k, "alpha", grant_of(k, "a")));
    OK(k, kit_call(k, "alpha", "count", "{}"));
    boot_s = 601;
    restart(k);
    OK(k, kit_info(k, "alpha"));
    assert_int_equal(kit_count(k, "permissions.0.scopes"), 1);
    assert_string_equal(kit_text(k, "permissions.0.scopes.0"), kit_path(k, "a"));
    OK(k, kit_call(k, "alpha", "count", "{}"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_time_of_a_home_never_goes_back),
        TEST(a_grant_ends_by_itself),
        TEST(setting_the_wall_clock_changes_no_end),
        TEST(the_end_that_is_shown_is_by_the_clock_on_the_wall),
        TEST(a_boot_with_an_earlier_clock_prolongs_nothing),
        TEST(a_boot_after_the_end_finds_it_ended),
        TEST(an_end_kills_what_ran_with_the_right),
        TEST(an_end_kills_also_what_cannot_be_read_any_more),
        TEST(a_longer_grant_is_not_cut_short),
        TEST(what_an_ended_grant_covered_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
