/* What is told: info, lists, figures, settings, the token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kit.h"

#define INSTALL(k, ...) kit_install(k, (struct service_install){.path = __VA_ARGS__})

static void info_has_every_field_of_the_surface(void **state)
{
    struct kit *k = *state;
    static const char *const fields[] = {
        "name",    "version",       "versions",      "author",       "description", "capabilities",    "permissions",
        "actions", "limits",        "health_status", "health_since", "health_why",  "execution_count", "error_count",
        "errors",  "last_executed", "last_errors",   "latency",      "restarts"};
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.optional = "{\"file_read\":{\"paths\":[\"/data\"]}}"})));
    OK(k, kit_info(k, "alpha"));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        kit_at(k, fields[i]);
    assert_true(json_is_null(kit_at(k, "last_executed")));
    assert_string_equal(kit_text(k, "health_status"), "unknown");
    assert_string_equal(kit_text(k, "permissions.0.suggested.0"), "/data");
    assert_string_equal(kit_text(k, "permissions.0.commands.0"), "moat grant alpha file_read=/data");
    assert_string_equal(kit_text(k, "actions.0.name"), "echo");
    assert_string_equal(kit_text(k, "capabilities.0"), "agent_skill");
    assert_int_equal(kit_number(k, "execution_count"), 0);
    assert_int_equal(kit_number(k, "limits.memory"), 256 << 20);
    assert_int_equal(kit_number(k, "limits_asked.memory"), 256 << 20);
    assert_int_equal(kit_number(k, "lines_dropped"), 0);

    OK(k, kit_call(k, "alpha", "echo", "{}"));
    OK(k, kit_call(k, "alpha", "echo", "{}"));
    REFUSED(k, MOAT_E_ACTION_FAILED, kit_call(k, "alpha", "fail", "{\"code\":\"oops\",\"message\":\"as asked\"}"));
    OK(k, kit_info(k, "alpha@1.0.0"));
    assert_int_equal(kit_number(k, "execution_count"), 3);
    assert_int_equal(kit_number(k, "error_count"), 1);
    assert_int_equal(kit_number(k, "errors.action_failed"), 1);
    assert_string_equal(kit_text(k, "health_status"), "healthy");
    assert_string_equal(kit_text(k, "last_errors.0.code"), "action_failed");
    assert_int_equal(strlen(kit_text(k, "last_errors.0.call_id")), 32);
    assert_int_equal(kit_text(k, "last_executed")[4], '-');
    assert_true(kit_number(k, "latency.p50_ns") > 0);
    assert_true(kit_number(k, "latency.p999_ns") >= kit_number(k, "latency.p50_ns"));

    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "2.0.0"})));
    OK(k, kit_info(k, "alpha@2.0.0"));
    assert_int_equal(kit_number(k, "execution_count"), 0); /* what ran was the current one */
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_info(k, "beta"));
    REFUSED(k, MOAT_E_NO_SUCH_VERSION, kit_info(k, "alpha@3.0.0"));
    REFUSED(k, MOAT_E_BAD_USAGE, kit_info(k, "alpha@"));
    REFUSED(k, MOAT_E_BAD_USAGE, kit_info(k, ""));
}

/* Its statistics, by the action's name. */
static const json_t *action_of(struct kit *k, const char *name)
{
    size_t i;
    json_t *action;
    json_array_foreach(json_object_get(k->json, "actions"), i, action)
    {
        if (strcmp(json_string_value(json_object_get(action, "name")), name) == 0)
            return json_object_get(action, "statistics");
    }
    fail_msg("no action %s", name);
    return NULL;
}

static long long figure(const json_t *of, const char *key)
{
    return json_integer_value(json_object_get(of, key));
}

static void each_action_and_generation_has_its_figures(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0})));
    OK(k, kit_call(k, "alpha", "echo", "{\"n\":1}"));
    OK(k, kit_call(k, "alpha", "echo", "{\"n\":2}"));
    REFUSED(k, MOAT_E_ACTION_FAILED, kit_call(k, "alpha", "fail", "{\"code\":\"oops\",\"message\":\"as asked\"}"));
    REFUSED(k, MOAT_E_BAD_JSON, kit_call(k, "alpha", "echo", "{\"n\":"));
    REFUSED(k, MOAT_E_NO_SUCH_ACTION, kit_call(k, "alpha", "sing", "{}"));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "2.0.0"})));
    OK(k, kit_use(k, "alpha@2.0.0"));
    OK(k, kit_call(k, "alpha", "echo", "{\"n\":3}"));

    OK(k, kit_info(k, "alpha"));
    const json_t *echo = action_of(k, "echo"), *failing = action_of(k, "fail");
    assert_int_equal(figure(echo, "execution_count"), 3);
    assert_int_equal(figure(echo, "error_count"), 1);
    assert_int_equal(figure(json_object_get(echo, "errors"), "bad_json"), 1);
    assert_true(json_real_value(json_object_get(echo, "success_rate")) == 1); /* what never ran is no failure of it */
    assert_int_equal(figure(echo, "bytes_in"), 3 * strlen("{\"n\":1}"));
    assert_int_equal(figure(echo, "bytes_out"), 3 * strlen("{\"n\":1}"));
    assert_true(figure(json_object_get(echo, "latency"), "p50_ns") > 0);
    assert_true(figure(json_object_get(echo, "queue_wait"), "p99_ns") > 0); /* the first one waited for a worker */
    assert_int_equal(figure(failing, "execution_count"), 1);
    assert_int_equal(figure(json_object_get(failing, "errors"), "action_failed"), 1);
    assert_true(json_real_value(json_object_get(failing, "success_rate")) == 0);
    assert_true(json_is_null(json_object_get(action_of(k, "sleep"), "success_rate")));

    assert_int_equal(kit_count(k, "generations"), 2);
    assert_string_equal(kit_text(k, "generations.0.version"), "2.0.0");
    assert_int_equal(kit_number(k, "generations.0.execution_count"), 1);
    assert_int_equal(kit_number(k, "generations.0.error_count"), 0);
    assert_true(json_is_null(kit_at(k, "generations.0.until")));
    assert_string_equal(kit_text(k, "generations.1.version"), "1.0.0");
    assert_int_equal(kit_number(k, "generations.1.execution_count"), 3);
    assert_int_equal(kit_number(k, "generations.1.error_count"), 2);
    assert_int_equal(kit_text(k, "generations.1.until")[4], '-');
}

static void lists_filter_and_page(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "one", .description = "counts \\\"Giraffe\\\""})));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "three", .optional = "[\"file_read\"]"})));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "two", .key = k->mallory})));
    OK(k, kit_available(k, (struct service_filter){0}));
    assert_int_equal(kit_count(k, "plugins"), 3);
    assert_string_equal(kit_text(k, "plugins.0.name"), "one");
    assert_string_equal(kit_text(k, "plugins.0.description"), "counts \"Giraffe\"");
    assert_string_equal(kit_text(k, "plugins.0.state"), "current");
    assert_string_equal(kit_text(k, "plugins.0.status"), "active");
    assert_true(json_is_null(kit_at(k, "next")));
    OK(k, kit_available(k, (struct service_filter){.limit = 2}));
    assert_int_equal(kit_count(k, "plugins"), 2);
    assert_string_equal(kit_text(k, "next"), "three");
    OK(k, kit_available(k, (struct service_filter){.limit = 2, .after = "three"}));
    assert_string_equal(kit_text(k, "plugins.0.name"), "two");
    const struct {
        struct service_filter filter;
        size_t count;
    } cases[] = {{{.publisher = "mallory"}, 1}, {{.q = "gIRAFFe"}, 1},           {{.q = "repeat"}, 3},
                 {{.capability = "CUSTOM"}, 3}, {{.capability = "security"}, 0}, {{.permission = "file_read"}, 1},
                 {{.status = "inactive"}, 0},   {{.status = "active"}, 3},       {{.q = "' OR 1=1 --"}, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OK(k, kit_available(k, cases[i].filter));
        assert_int_equal(kit_count(k, "plugins"), cases[i].count);
    }
    REFUSED(k, MOAT_E_BAD_REQUEST, kit_available(k, (struct service_filter){.capability = "flying"}));
    REFUSED(k, MOAT_E_BAD_REQUEST, kit_available(k, (struct service_filter){.status = "sleepy"}));
}

static void the_two_vocabularies_have_eight_words_each(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.optional = "[\"agent_control\"]"})));
    OK(k, kit_words(k, true));
    assert_int_equal(json_array_size(k->json), 8);
    assert_string_equal(kit_text(k, "0.name"), "data_processing");
    assert_int_equal(kit_count(k, "0.plugins"), 0);
    assert_string_equal(kit_text(k, "2.plugins.0"), "alpha");
    OK(k, kit_words(k, false));
    assert_int_equal(json_array_size(k->json), 8);
    assert_string_equal(kit_text(k, "7.name"), "agent_control");
    assert_string_equal(kit_text(k, "7.plugins.0"), "alpha");
    assert_true(strlen(kit_text(k, "7.description")) > 0);
}

static void the_whole_in_figures(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0}), .load = true));
    OK(k, kit_call(k, "alpha", "echo", "{}"));
    OK(k, kit_stats(k));
    assert_int_equal(kit_number(k, "loaded_plugins"), 1);
    assert_int_equal(kit_number(k, "registry.versions"), 1);
    assert_int_equal(kit_number(k, "registry.publishers"), 2);
    assert_true(kit_flag(k, "security.enabled"));
    assert_string_equal(kit_text(k, "security.walls.landlock"), "required");
    assert_int_equal(kit_number(k, "executions.total"), 1);
    OK(k, kit_health(k));
    assert_string_equal(kit_text(k, "status"), "healthy");
    assert_int_equal(kit_number(k, "plugins.healthy"), 1);
}

static void denials_name_the_grant(void **state)
{
    struct kit *k = *state;
    const char *command = "moat grant alpha file_read=/etc/passwd";
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.optional = "[\"file_read\"]"}), .load = true));
    OK(k, kit_call(k, "alpha", "read", "{\"path\":\"/etc/passwd\"}"));
    /* The denial is told by another thread than the call's answer. */
    bool found = false;
    for (int tries = 0; tries < 500 && !found; tries++) {
        OK(k, kit_denials(k, "alpha"));
        for (size_t i = 0; i < kit_count(k, "denials"); i++) {
            const char *told = json_string_value(json_object_get(json_array_get(kit_at(k, "denials"), i), "command"));
            found |= told && strcmp(told, command) == 0;
        }
        usleep(10000);
    }
    assert_true(found);
    OK(k, kit_denials(k, NULL));
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_denials(k, "beta"));
}

static void settings_are_checked_and_kept(void **state)
{
    struct kit *k = *state;
    static const struct {
        const char *key, *value;
        enum moat_code code;
    } cases[] = {
        {"payload_max", "16777216", MOAT_E_OK},
        {"payload_max", "\"16MiB\"", MOAT_E_OK},
        {"payload_max", "\"257MiB\"", MOAT_E_BAD_USAGE},
        {"payload_max", "-1", MOAT_E_BAD_USAGE},
        {"payload_max", "1.5", MOAT_E_BAD_USAGE},
        {"payload_max", "[]", MOAT_E_BAD_USAGE},
        {"package_max", "\"2GiB\"", MOAT_E_BAD_USAGE},
        {"deadline_default", "\"5s\"", MOAT_E_OK},
        {"deadline_default", "5", MOAT_E_BAD_USAGE},
        {"deadline_default", "\"11m\"", MOAT_E_BAD_USAGE}, /* above deadline_max */
        {"pool", "0", MOAT_E_OK},
        {"pool", "\"many\"", MOAT_E_BAD_USAGE},
        {"accept_missing_layers", "[\"landlock\",\"cgroup_namespace\"]", MOAT_E_OK},
        {"accept_missing_layers", "[\"hope\"]", MOAT_E_BAD_USAGE},
        {"accept_missing_layers", "\"landlock\"", MOAT_E_BAD_USAGE},
        {"log_level", "\"debug\"", MOAT_E_OK},
        {"log_level", "\"loud\"", MOAT_E_BAD_USAGE},
        {"colour", "1", MOAT_E_NOT_FOUND},
        {"pool", "{", MOAT_E_BAD_JSON},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        kit_expect(k, -(int)cases[i].code, kit_settings_set(k, cases[i].key, cases[i].value), cases[i].value, (int)i);
    assert_int_equal(service_setting_payload_max(k->s), 8 << 20);
    kit_close(k);
    kit_open(k, false);
    assert_int_equal(service_setting_payload_max(k->s), 16 << 20);
    OK(k, kit_settings_get(k, "accept_missing_layers"));
    assert_int_equal(kit_count(k, "value"), 2);
    OK(k, kit_settings_get(k, "deadline_default"));
    assert_string_equal(kit_text(k, "value"), "5s");
    assert_string_equal(kit_text(k, "default"), "30s");
    OK(k, kit_settings_get(k, NULL));
    assert_true(kit_count(k, "settings") >= 7);
    REFUSED(k, MOAT_E_NOT_FOUND, kit_settings_get(k, "colour"));
    OK(k, kit_stats(k));
    assert_string_equal(kit_text(k, "security.walls.landlock"), "may_be_missing");
}

static void a_live_setting_holds_at_once(void **state)
{
    struct kit *k = *state;
    static char filler[3 << 20];
    memset(filler, 'x', sizeof filler - 1);
    kit_write(k, "large.moat", filler);
    OK(k, kit_settings_set(k, "package_max", "\"1MiB\""));
    assert_int_equal(service_setting_package_max(k->s), 1 << 20);
    REFUSED(k, MOAT_E_TOO_LARGE, INSTALL(k, kit_path(k, "large.moat")));
    OK(k, kit_settings_set(k, "package_max", "\"64MiB\""));
    REFUSED(k, MOAT_E_NOT_A_PACKAGE, INSTALL(k, kit_path(k, "large.moat")));
}

static void the_admin_token_is_shown_once_and_kept_hashed(void **state)
{
    struct kit *k = *state;
    char token[65], again[65] = "x";
    struct service_principal who;
    assert_false(service_token_find(k->s, "", &who));
    assert_int_equal(service_admin_token(k->s, token, &k->error), 0);
    assert_int_equal(strlen(token), 64);
    assert_int_equal(service_admin_token(k->s, again, &k->error), 0);
    assert_string_equal(again, "");
    kit_close(k);
    kit_open(k, false);
    assert_int_equal(service_admin_token(k->s, again, &k->error), 0);
    assert_string_equal(again, "");
    assert_true(service_token_find(k->s, token, &who));
    assert_int_equal(who.scopes, SCOPE_ADMIN);
    token[63] ^= 1;
    assert_false(service_token_find(k->s, token, &who));
    token[63] ^= 1;
    assert_false(service_token_find(k->s, "", &who));
    /* Nowhere in the registry's files. */
    kit_close(k);
    FILE *f = fopen(kit_path(k, "home/registry/registry.db"), "r");
    assert_non_null(f);
    static char all[1 << 20];
    size_t n = fread(all, 1, sizeof all, f);
    fclose(f);
    assert_null(memmem(all, n, token, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
        T(info_has_every_field_of_the_surface),
        T(each_action_and_generation_has_its_figures),
        T(lists_filter_and_page),
        T(the_two_vocabularies_have_eight_words_each),
        T(the_whole_in_figures),
        T(denials_name_the_grant),
        T(settings_are_checked_and_kept),
        T(a_live_setting_holds_at_once),
        T(the_admin_token_is_shown_once_and_kept_hashed),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
