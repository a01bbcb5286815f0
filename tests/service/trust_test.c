/* Who may sign, and when: keys, names, times, and what ends when trust does.  The clock is the test's own. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kit.h"

#define INSTALL(k, ...) kit_install(k, (struct service_install){.path = __VA_ARGS__})

/* ---- the clock ---- */

static _Atomic int64_t shift_s;

uint64_t __real_clock_wall_ns(void);
uint64_t __wrap_clock_wall_ns(void);
uint64_t __wrap_clock_wall_ns(void)
{
    return __real_clock_wall_ns() + (uint64_t)(shift_s * (int64_t)NS_PER_S);
}

static uint64_t now_s(void)
{
    return clock_wall_ns() / NS_PER_S;
}

static int setup(void **state)
{
    shift_s = 0;
    return kit_setup(state);
}

/* ---- a call that goes on ---- */

struct running {
    struct kit *k;
    pthread_t thread;
    struct call call;
    _Atomic bool inside;
};

static void told(struct call *call, const struct call_told *what)
{
    (void)what;
    atomic_store(&((struct running *)call->context)->inside, true);
}

static void *run(void *argument)
{
    struct running *r = argument;
    struct call *list = &r->call;
    call_run(service_loader(r->k->s), &list, 1);
    return NULL;
}

/* A minute of sleep that hears no cancelling; returns once the plugin says that it sleeps: what a worker was sent and
 * has not begun goes to another one. */
static void begin(struct kit *k, struct running *r)
{
    static const char parameters[] = "{\"ms\":60000,\"deaf\":true,\"tell\":true}";
    *r = (struct running){.k = k,
                          .call = {.plugin = "alpha",
                                   .action = "sleep",
                                   .parameters = parameters,
                                   .parameters_len = sizeof parameters - 1,
                                   .deadline_ns = 120 * NS_PER_S,
                                   .told = told,
                                   .context = r}};
    assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
    uint64_t until = clock_mono_ns() + 20 * NS_PER_S;
    do {
        assert_true(clock_mono_ns() < until);
        usleep(1000);
    } while (!atomic_load(&r->inside));
}

static int end(struct running *r)
{
    pthread_join(r->thread, NULL);
    free(r->call.result);
    return r->call.code;
}

static unsigned workers(struct kit *k, const char *name)
{
    struct loader_status *status = malloc(sizeof *status);
    assert_true(loader_status(service_loader(k->s), name, status));
    unsigned n = status->workers;
    free(status);
    return n;
}

static struct signing_key *second_key(struct kit *k, const char *publisher)
{
    struct signing_key *key;
    assert_int_equal(key_generate(&key, &k->error), 0);
    char *pem = kit_pem(key);
    OK(k, kit_trust_add(k, publisher, pem, NULL));
    free(pem);
    return key;
}

/* ---- times ---- */

static void a_package_from_the_future_waits_for_its_time(void **state)
{
    struct kit *k = *state;
    uint64_t now = now_s();
    const char *ahead = kit_pack(k, (struct kit_package){.signed_at = now + 320});
    REFUSED(k, MOAT_E_PACKAGE_FROM_FUTURE, INSTALL(k, ahead));
    shift_s = 30; /* 290 s ahead: clocks differ by as much */
    OK(k, INSTALL(k, ahead));
    OK(k, kit_call(k, "alpha", "echo", "1"));
    /* And again at each load. */
    shift_s = -3600;
    REFUSED(k, MOAT_E_PACKAGE_FROM_FUTURE, kit_reload(k, "alpha"));
    OK(k, kit_unload(k, "alpha"));
    REFUSED(k, MOAT_E_PACKAGE_FROM_FUTURE, kit_load(k, "alpha"));
    shift_s = 30;
    OK(k, kit_load(k, "alpha"));
}

static void a_package_that_expires_is_not_loaded_again(void **state)
{
    struct kit *k = *state;
    uint64_t now = now_s();
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.signed_at = now, .expires_at = now + 1000}), .load = true));
    shift_s = 1001;
    OK(k, kit_call(k, "alpha", "echo", "1")); /* what runs has been loaded */
    REFUSED(k, MOAT_E_PACKAGE_EXPIRED, kit_reload(k, "alpha"));
    OK(k, kit_call(k, "alpha", "echo", "1"));
    OK(k, kit_unload(k, "alpha"));
    REFUSED(k, MOAT_E_PACKAGE_EXPIRED, kit_load(k, "alpha"));
    kit_close(k);
    kit_open(k, true);
    OK(k, kit_info(k, "alpha"));
    REFUSED(k, MOAT_E_PACKAGE_EXPIRED, kit_call(k, "alpha", "echo", "1"));
    REFUSED(
        k, MOAT_E_PACKAGE_EXPIRED,
        INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.0.1", .signed_at = now, .expires_at = now + 1000})));
}

/* Defined before it expired, first called after. */
static void a_first_call_is_a_load(void **state)
{
    struct kit *k = *state;
    uint64_t now = now_s();
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.signed_at = now, .expires_at = now + 1000})));
    shift_s = 1001;
    REFUSED(k, MOAT_E_PACKAGE_EXPIRED, kit_call(k, "alpha", "echo", "1"));
    shift_s = 0;
    kit_close(k);
    kit_open(k, false);
    OK(k, kit_call(k, "alpha", "echo", "1"));
}

static void an_older_version_never_becomes_current_by_itself(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "2.0.0"})));
    OK(k, kit_grant(k, "alpha", "file_read=/etc/hosts"));
    const char *older = kit_pack(k, (struct kit_package){.version = "2.0.0-rc.1"});
    REFUSED(k, MOAT_E_OLDER_VERSION, INSTALL(k, older));
    OK(k, INSTALL(k, older, .allow_older = true));
    assert_false(kit_flag(k, "current"));
    /* Not even when nothing else is installed any more. */
    OK(k, kit_uninstall(k, "alpha", false));
    REFUSED(k, MOAT_E_OLDER_VERSION, INSTALL(k, older));
    OK(k, INSTALL(k, older, .allow_older = true, .load = true));
    assert_false(kit_flag(k, "current"));
    assert_string_equal(kit_text(k, "load_error.code"), "wrong_state");
    for (int restart = 0; restart < 2; restart++) {
        REFUSED(k, MOAT_E_WRONG_STATE, kit_call(k, "alpha", "echo", "1"));
        assert_non_null(strstr(k->error.message, "moat use alpha@VERSION"));
        REFUSED(k, MOAT_E_WRONG_STATE, kit_load(k, "alpha"));
        OK(k, kit_info(k, "alpha"));
        assert_string_equal(kit_text(k, "version"), "2.0.0-rc.1");
        assert_true(json_is_null(kit_at(k, "current")));
        OK(k, kit_grants(k, NULL)); /* what was decided is told all the same */
        assert_string_equal(kit_text(k, "grants.0.scope"), "/etc/hosts");
        kit_close(k);
        kit_open(k, false);
    }
    OK(k, kit_use(k, "alpha@2.0.0-rc.1"));
    OK(k, kit_call(k, "alpha", "echo", "1"));
    OK(k, kit_uninstall(k, "alpha", false));
    OK(k, INSTALL(k, older, .allow_older = true, .use = true));
    assert_true(kit_flag(k, "current"));
}

/* ---- keys ---- */

static void a_publisher_has_several_keys(void **state)
{
    struct kit *k = *state;
    char first[KEY_ID_HEX], second[KEY_ID_HEX];
    struct signing_key *key = second_key(k, "acme");
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0}), .load = true));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0", .key = key}), .use = true));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "beta", .key = key}), .load = true));
    kit_key_id(k->acme, first);
    kit_key_id(key, second);
    OK(k, kit_trust_revoke(k, "acme", first));
    assert_int_equal(kit_count(k, "stopped"), 0);
    assert_string_equal(kit_text(k, "versions.0"), "alpha@1.0.0");
    OK(k, kit_call(k, "alpha", "echo", "1"));
    REFUSED(k, MOAT_E_KEY_REVOKED, kit_use(k, "alpha@1.0.0"));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.2.0", .key = key})));
    OK(k, kit_trust_revoke(k, "acme", NULL));
    assert_int_equal(kit_count(k, "stopped"), 2);
    assert_int_equal(workers(k, "alpha") + workers(k, "beta"), 0);
    REFUSED(k, MOAT_E_KEY_REVOKED, kit_call(k, "alpha", "echo", "1"));
    REFUSED(k, MOAT_E_KEY_REVOKED, kit_call(k, "beta", "echo", "1"));
    key_free(key);
}

static void a_revoked_key_never_comes_back(void **state)
{
    struct kit *k = *state;
    char *pem = kit_pem(k->acme);
    OK(k, kit_trust_revoke(k, "acme", NULL));
    REFUSED(k, MOAT_E_KEY_REVOKED, kit_trust_add(k, "acme", pem, NULL));
    REFUSED(k, MOAT_E_KEY_REVOKED, kit_trust_add(k, "acme", pem, "*"));
    REFUSED(k, MOAT_E_ALREADY_EXISTS, kit_trust_add(k, "mallory", pem, NULL));
    REFUSED(k, MOAT_E_ALREADY_EXISTS, kit_trust_add(k, "somebody", pem, NULL));
    OK(k, kit_trust_revoke(k, "acme", NULL)); /* again: it stays */
    free(pem);
}

/* All versions: also what still runs of one that was replaced. */
static void revoking_a_key_ends_what_drains(void **state)
{
    struct kit *k = *state;
    struct running r;
    char first[KEY_ID_HEX];
    struct signing_key *key = second_key(k, "acme");
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0}), .load = true));
    begin(k, &r);
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0", .key = key}), .use = true));
    OK(k, kit_call(k, "alpha", "count", "{}"));
    assert_int_equal(json_integer_value(k->json), 1);
    assert_int_equal(workers(k, "alpha"), 2);
    kit_key_id(k->acme, first);
    OK(k, kit_trust_revoke(k, "acme", first));
    assert_int_equal(workers(k, "alpha"), 1);
    assert_int_equal(end(&r), -MOAT_E_PERMISSION_DENIED);
    OK(k, kit_call(k, "alpha", "count", "{}")); /* the very worker of the other key */
    assert_int_equal(json_integer_value(k->json), 2);
    key_free(key);
}

static void revoking_a_key_ends_every_generation(void **state)
{
    struct kit *k = *state;
    struct running r;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0}), .load = true));
    begin(k, &r);
    OK(k, kit_reload(k, "alpha"));
    assert_int_equal(workers(k, "alpha"), 2);
    OK(k, kit_trust_revoke(k, "acme", NULL));
    assert_int_equal(workers(k, "alpha"), 0);
    assert_int_equal(end(&r), -MOAT_E_PERMISSION_DENIED);
}

/* The same holds for a right and for the emergency brake. */
static void revoking_a_right_ends_what_drains(void **state)
{
    struct kit *k = *state;
    struct running r;
    char grant[700];
    snprintf(grant, sizeof grant, "file_read=%s", k->dir);
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.optional = "[\"file_read\"]"}), .load = true));
    OK(k, kit_grant(k, "alpha", grant));
    begin(k, &r);
    OK(k, kit_reload(k, "alpha"));
    OK(k, kit_revoke(k, "alpha", grant));
    assert_int_equal(end(&r), -MOAT_E_PERMISSION_DENIED);
    OK(k, kit_call(k, "alpha", "echo", "1"));
}

static void stopping_all_ends_what_drains(void **state)
{
    struct kit *k = *state;
    struct running r;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0}), .load = true));
    begin(k, &r);
    OK(k, kit_reload(k, "alpha"));
    OK(k, kit_stop_all(k));
    assert_int_equal(workers(k, "alpha"), 0);
    assert_int_equal(end(&r), -MOAT_E_WRONG_STATE);
}

/* ---- names ---- */

static void patterns_have_a_form(void **state)
{
    struct kit *k = *state;
    static const char *const bad[] = {"", ",", "a,", ",a", "a,,b", "A*", "a b", "a;b", "ü"};
    char *pem = kit_pem(k->acme), long_one[140];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REFUSED(k, MOAT_E_BAD_USAGE, kit_trust_names(k, "acme", bad[i]));
        REFUSED(k, MOAT_E_BAD_USAGE, kit_trust_add(k, "acme", pem, bad[i]));
    }
    memset(long_one, 'a', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    REFUSED(k, MOAT_E_BAD_USAGE, kit_trust_names(k, "acme", long_one));
    REFUSED(k, MOAT_E_NOT_FOUND, kit_trust_names(k, "nobody", "*"));
    OK(k, kit_trust_names(k, "acme", "alpha,b*a,*_x"));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "alpha"})));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "beta"})));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "cc_x"})));
    REFUSED(k, MOAT_E_NAME_NOT_ALLOWED, INSTALL(k, kit_pack(k, (struct kit_package){.name = "betas"})));
    free(pem);
}

static void a_narrower_pattern_stops_what_it_leaves_out(void **state)
{
    struct kit *k = *state;
    struct running r;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0}), .load = true));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "beta"}), .load = true));
    begin(k, &r);
    OK(k, kit_trust_names(k, "acme", "beta"));
    assert_int_equal(workers(k, "alpha"), 0);
    assert_int_equal(end(&r), -MOAT_E_PERMISSION_DENIED);
    for (int restart = 0; restart < 2; restart++) {
        REFUSED(k, MOAT_E_NAME_NOT_ALLOWED, kit_call(k, "alpha", "echo", "1"));
        REFUSED(k, MOAT_E_NAME_NOT_ALLOWED, kit_load(k, "alpha"));
        OK(k, kit_call(k, "beta", "echo", "1"));
        kit_close(k);
        kit_open(k, false);
    }
    char *pem = kit_pem(k->acme);
    OK(k, kit_trust_add(k, "acme", pem, "alpha")); /* the known key, another pattern */
    free(pem);
    OK(k, kit_call(k, "alpha", "echo", "1"));
    REFUSED(k, MOAT_E_NAME_NOT_ALLOWED, kit_call(k, "beta", "echo", "1"));
    OK(k, kit_trust_names(k, "acme", "*"));
    OK(k, kit_call(k, "alpha", "echo", "1"));
    OK(k, kit_call(k, "beta", "echo", "1"));
}

static void a_name_goes_to_another_publisher(void **state)
{
    struct kit *k = *state;
    char grant[700];
    snprintf(grant, sizeof grant, "file_read=%s", k->dir);
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.optional = "[\"file_read\"]"}), .load = true));
    OK(k, kit_grant(k, "alpha", grant));
    REFUSED(k, MOAT_E_NAME_NOT_ALLOWED,
            INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0", .key = k->mallory})));
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_trust_transfer(k, "beta", "mallory"));
    REFUSED(k, MOAT_E_BAD_USAGE, kit_trust_transfer(k, "Not A Name", "mallory"));
    REFUSED(k, MOAT_E_NOT_FOUND, kit_trust_transfer(k, "alpha", "somebody"));
    REFUSED(k, MOAT_E_BAD_USAGE, kit_trust_transfer(k, "alpha", "unsigned"));
    OK(k, kit_trust_names(k, "mallory", "m_*"));
    REFUSED(k, MOAT_E_NAME_NOT_ALLOWED, kit_trust_transfer(k, "alpha", "mallory"));
    assert_non_null(strstr(k->error.message, "moat trust names mallory"));
    OK(k, kit_trust_names(k, "mallory", "*"));
    OK(k, kit_trust_transfer(k, "alpha", "mallory"));
    assert_string_equal(kit_text(k, "before"), "acme");
    assert_string_equal(kit_text(k, "publisher"), "mallory");
    OK(k, kit_trust_transfer(k, "alpha", "mallory"));
    assert_string_equal(kit_text(k, "before"), "mallory");
    /* What is installed runs on with what it may; the next version is the new owner's alone. */
    OK(k, kit_call(k, "alpha", "echo", "1"));
    OK(k, kit_reload(k, "alpha"));
    REFUSED(k, MOAT_E_NAME_NOT_ALLOWED, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0"})));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0", .key = k->mallory}), .use = true));
    OK(k, kit_grants(k, "alpha"));
    assert_int_equal(kit_count(k, "grants"), 1);
    OK(k, kit_info(k, "alpha"));
    assert_string_equal(kit_text(k, "publisher"), "mallory");
    OK(k, kit_use(k, "alpha@1.0.0"));
    /* The name outlives what is installed of it, and so does its owner. */
    OK(k, kit_uninstall(k, "alpha", false));
    OK(k, kit_trust_transfer(k, "alpha", "acme"));
    REFUSED(k, MOAT_E_NAME_NOT_ALLOWED,
            INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.2.0", .key = k->mallory})));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.2.0"})));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, kit_teardown)
        T(a_package_from_the_future_waits_for_its_time),
        T(a_package_that_expires_is_not_loaded_again),
        T(a_first_call_is_a_load),
        T(an_older_version_never_becomes_current_by_itself),
        T(a_publisher_has_several_keys),
        T(a_revoked_key_never_comes_back),
        T(revoking_a_key_ends_what_drains),
        T(revoking_a_key_ends_every_generation),
        T(revoking_a_right_ends_what_drains),
        T(stopping_all_ends_what_drains),
        T(patterns_have_a_form),
        T(a_narrower_pattern_stops_what_it_leaves_out),
        T(a_name_goes_to_another_publisher),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
