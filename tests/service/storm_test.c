/* Several operators at once, at random: no operation ends with an error that its neighbours cannot explain, and in the
 * end what runs is what the records say. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "kit.h"
#include "service/internal.h"

enum { THREADS = 4, ROUNDS = 60, PLUGINS = 2 };

static const char *const names[PLUGINS] = {"alpha", "beta"};
static char packages[PLUGINS][2][600];
static char grant[700], parameters[700];

struct person {
    struct kit k; /* a view of its own of the shared service */
    unsigned seed;
    char trouble[600];
};

static unsigned draw(struct person *o, unsigned below)
{
    return (unsigned)rand_r(&o->seed) % below;
}

static const char *op_call(struct person *o, int p)
{
    kit_call(&o->k, names[p], "read", parameters);
    return "call";
}

static const char *op_use(struct person *o, int p)
{
    char what[64];
    snprintf(what, sizeof what, "%s@1.%u.0", names[p], draw(o, 2));
    kit_use(&o->k, what);
    return "use";
}

static const char *op_install(struct person *o, int p)
{
    kit_install(&o->k,
                (struct service_install){
                    .path = packages[p][draw(o, 2)], .load = draw(o, 2), .use = draw(o, 2), .allow_older = true});
    return "install";
}

static const char *op_uninstall(struct person *o, int p)
{
    if (draw(o, 4))
        return op_install(o, p);
    kit_uninstall(&o->k, names[p], draw(o, 2));
    return "uninstall";
}

static const char *op_load(struct person *o, int p)
{
    kit_load(&o->k, names[p]);
    return "load";
}

static const char *op_unload(struct person *o, int p)
{
    kit_unload(&o->k, names[p]);
    return "unload";
}

static const char *op_reload(struct person *o, int p)
{
    kit_reload(&o->k, names[p]);
    return "reload";
}

static const char *op_grant(struct person *o, int p)
{
    kit_grant(&o->k, names[p], grant);
    return "grant";
}

static const char *op_revoke(struct person *o, int p)
{
    kit_revoke(&o->k, names[p], grant);
    return "revoke";
}

static const char *op_refuse(struct person *o, int p)
{
    kit_refuse(&o->k, names[p], "file_read");
    return "refuse";
}

static const char *op_info(struct person *o, int p)
{
    kit_info(&o->k, names[p]);
    return "info";
}

static const char *op_stop_all(struct person *o, int p)
{
    if (draw(o, 5))
        return op_call(o, p);
    kit_stop_all(&o->k);
    return "stop_all";
}

/* Not there, unloaded, decided otherwise, or replaced by a neighbour meanwhile. */
static bool is_explained(int code)
{
    static const enum moat_code fine[] = {MOAT_E_OK,        MOAT_E_NO_SUCH_PLUGIN,    MOAT_E_NO_SUCH_VERSION,
                                          MOAT_E_NOT_FOUND, MOAT_E_PERMISSION_DENIED, MOAT_E_WRONG_STATE};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        if (code == -(int)fine[i])
            return true;
    return false;
}

static void *operate(void *argument)
{
    static const char *(*const ops[])(struct person *, int) = {
        op_call,   op_call,  op_use,    op_install, op_uninstall, op_load,    op_unload,
        op_reload, op_grant, op_revoke, op_refuse,  op_info,      op_stop_all};
    struct person *o = argument;
    for (int i = 0; i < ROUNDS && !o->trouble[0]; i++) {
        int p = (int)draw(o, PLUGINS);
        const char *what = ops[draw(o, sizeof ops / sizeof *ops)](o, p);
        if (!is_explained(o->k.code))
            snprintf(o->trouble, sizeof o->trouble, "%s %s: %s: %.400s", what, names[p], error_info(o->k.code)->name,
                     o->k.error.message);
    }
    json_decref(o->k.json);
    return NULL;
}

static bool is_granted(struct kit *k)
{
    for (size_t i = 0; i < kit_count(k, "permissions"); i++) {
        const char *decision =
            json_string_value(json_object_get(json_array_get(kit_at(k, "permissions"), i), "decision"));
        if (strcmp(decision, "granted") == 0)
            return true;
    }
    return false;
}

/* What runs is the current version with the decisions of the record. */
static void compare(struct kit *k, const char *name)
{
    char version[70];
    bool granted;
    if (kit_info(k, name) == -MOAT_E_NO_SUCH_PLUGIN) {
        REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_call(k, name, "echo", "{}"));
        return;
    }
    if (!json_is_string(kit_at(k, "current"))) { /* an older version does not take the place by itself */
        REFUSED(k, MOAT_E_WRONG_STATE, kit_load(k, name));
        return;
    }
    snprintf(version, sizeof version, "%s", kit_text(k, "current"));
    granted = is_granted(k);
    OK(k, kit_load(k, name));
    OK(k, kit_call(k, name, "read", parameters));
    assert_string_equal(json_string_value(k->json), granted ? "forty-two" : "ENOENT");
    OK(k, kit_loaded(k));
    for (size_t i = 0; i < kit_count(k, "plugins"); i++) {
        json_t *one = json_array_get(kit_at(k, "plugins"), i);
        if (strcmp(json_string_value(json_object_get(one, "name")), name) == 0)
            assert_string_equal(json_string_value(json_object_get(one, "version")), version);
    }
}

static void operators_at_once(void **state)
{
    struct kit *k = *state;
    struct person *ops = calloc(THREADS, sizeof *ops);
    pthread_t threads[THREADS];
    const char *given = getenv("MOAT_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("# seed %u\n", seed);
    kit_write(k, "data.txt", "forty-two");
    snprintf(grant, sizeof grant, "file_read=%s", kit_path(k, "data.txt"));
    snprintf(parameters, sizeof parameters, "{\"path\":\"%s\"}", kit_path(k, "data.txt"));
    for (int p = 0; p < PLUGINS; p++) {
        for (int v = 0; v < 2; v++) {
            const char *made =
                kit_pack(k, (struct kit_package){
                                .name = names[p], .version = v ? "1.1.0" : "1.0.0", .optional = "[\"file_read\"]"});
            snprintf(packages[p][v], sizeof packages[p][v], "%.500s", made);
        }
    }
    for (int i = 0; i < THREADS; i++) {
        ops[i].k = *k;
        ops[i].k.json = NULL;
        ops[i].seed = seed + (unsigned)i;
        assert_int_equal(pthread_create(&threads[i], NULL, operate, &ops[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        if (ops[i].trouble[0])
            fail_msg("seed %u: %s", seed, ops[i].trouble);
    free(ops);
    for (int p = 0; p < PLUGINS; p++)
        compare(k, names[p]);
    kit_close(k);
    kit_open(k, false);
    for (int p = 0; p < PLUGINS; p++)
        compare(k, names[p]);
}

/* The loops end after the threads of the jobs, and their timers may fire till then: a thread sanitizer says whether
 * what they ask is still there. */
static void what_begins_after_the_jobs_is_refused(void **state)
{
    struct kit *k = *state;
    jobs_drain(&k->s->jobs);
    jobs_stop(&k->s->jobs);
    REFUSED(k, MOAT_E_DRAINING, kit_stats(k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(operators_at_once, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(what_begins_after_the_jobs_is_refused, kit_setup, kit_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
