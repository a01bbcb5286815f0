/* By which rights many versions of one plugin ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"

#define KEPT 64 /* so many are kept whether they live or not */
#define MANY 300
#define ROUNDS 2000

static struct broker *broker;
static _Atomic bool living[MANY]; /* by the number in the version */

static bool lives(void *context, const char *plugin, const char *version)
{
    return strcmp(plugin, "p") == 0 && living[atoi(version)];
}

static uint64_t now(void *context)
{
    return 1000;
}

static const char *name_of(unsigned version, char out[16])
{
    snprintf(out, 16, "%u.0.0", version);
    return out;
}

/* May it ask for the data source that is granted, and for nothing else? */
static bool may(const char *plugin, unsigned version)
{
    char name[16];
    assert_false(broker_allows(broker, plugin, name_of(version, name), PERMISSION_DATABASE_READ, "other"));
    return broker_allows(broker, plugin, name, PERMISSION_DATABASE_READ, "shop");
}

static void set(const char *plugin, unsigned version)
{
    static _Thread_local struct policy_answer answer;
    struct ask asks = {.permission = PERMISSION_DATABASE_READ};
    struct decision granted = {.grant = {.permission = PERMISSION_DATABASE_READ, .scope = "shop"}};
    struct policy_input in = {.asks = &asks, .nasks = 1, .decisions = &granted, .ndecisions = 1, .now = now(NULL)};
    char name[16];
    policy_decide(&in, &answer);
    broker_set(broker, plugin, name_of(version, name), &answer);
}

static int begin(void **state)
{
    struct error err;
    for (unsigned i = 0; i < MANY; i++)
        living[i] = false;
    return broker_new(&(struct broker_config){.now = now, .lives = lives}, &broker, &err);
}

static int end(void **state)
{
    broker_free(broker);
    return 0;
}

static void a_version_that_lives_keeps_its_rights_however_many_come_after_it(void **state)
{
    for (unsigned i = 0; i < MANY; i++) {
        living[i] = i % 3 == 0;
        set("p", i);
    }
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(may("p", i), i % 3 == 0 || i >= MANY - KEPT);
}

static void what_has_ended_is_forgotten(void **state)
{
    for (unsigned i = 0; i < MANY; i++) {
        living[i] = true;
        set("p", i);
        assert_true(may("p", 0));
    }
    for (unsigned i = 0; i < MANY; i++)
        living[i] = i == 7;
    set("p", 7);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(may("p", i), i == 7 || i > MANY - KEPT);
}

static void what_is_taken_back_is_taken_from_all_that_live(void **state)
{
    static const struct policy_answer nothing;
    for (unsigned i = 0; i < MANY; i++) {
        living[i] = true;
        set("p", i);
    }
    broker_set(broker, "p", "5.0.0", &nothing);
    assert_false(may("p", 5));
    assert_true(may("p", 6));
    set("q", 5); /* somebody else's */
    broker_drop(broker, "p");
    for (unsigned i = 0; i < MANY; i++)
        assert_false(may("p", i));
    assert_true(may("q", 5));
}

static void *set_again_and_again(void *context)
{
    for (unsigned i = 0; i < ROUNDS; i++)
        set("p", 1 + (i * 7 + (unsigned)(uintptr_t)context) % (MANY - 1));
    return NULL;
}

static void one_that_lives_asks_while_others_come_and_go(void **state)
{
    pthread_t threads[2];
    living[0] = true;
    set("p", 0);
    for (uintptr_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, set_again_and_again, (void *)(i * 100)), 0);
    for (unsigned i = 0; i < ROUNDS; i++)
        assert_true(may("p", 0));
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(may("p", 0));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_version_that_lives_keeps_its_rights_however_many_come_after_it),
        TEST(what_has_ended_is_forgotten),
        TEST(what_is_taken_back_is_taken_from_all_that_live),
        TEST(one_that_lives_asks_while_others_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
