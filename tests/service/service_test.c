/* One Moat's life as its operator sees it: installing, who may install what, decisions, versions, running. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "kit.h"

#define INSTALL(k, ...) kit_install(k, (struct service_install){.path = __VA_ARGS__})

/* ---- installing ---- */

static void install_then_call(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0})));
    assert_string_equal(kit_text(k, "name"), "alpha");
    assert_string_equal(kit_text(k, "version"), "1.0.0");
    assert_string_equal(kit_text(k, "publisher"), "acme");
    assert_int_equal(strlen(kit_text(k, "sha256")), 64);
    assert_true(kit_flag(k, "current"));
    assert_false(kit_flag(k, "already"));
    assert_false(kit_flag(k, "loaded"));
    assert_int_equal(kit_count(k, "needs_grant"), 0);
    OK(k, kit_loaded(k));
    assert_int_equal(kit_count(k, "plugins"), 0);
    OK(k, kit_call(k, "alpha", "echo", "{\"a\":[1,2]}"));
    assert_int_equal(kit_number(k, "a.1"), 2);
    OK(k, kit_loaded(k));
    assert_string_equal(kit_text(k, "plugins.0.name"), "alpha");
    REFUSED(k, MOAT_E_NO_SUCH_ACTION, kit_call(k, "alpha", "nothing", "{}"));
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_call(k, "beta", "echo", "{}"));
}

static void what_was_installed_is_there_for_the_next_process(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0})));
    kit_close(k);
    kit_open(k, false);
    OK(k, kit_call(k, "alpha", "echo", "{\"x\":1}"));
    OK(k, kit_info(k, "alpha"));
    assert_string_equal(kit_text(k, "version"), "1.0.0");
    assert_int_equal(kit_number(k, "execution_count"), 1);
}

static void installing_the_same_again_changes_nothing(void **state)
{
    struct kit *k = *state;
    const char *one = kit_pack(k, (struct kit_package){0});
    OK(k, INSTALL(k, one));
    OK(k, INSTALL(k, one));
    assert_true(kit_flag(k, "already"));
    assert_true(kit_flag(k, "current"));
    REFUSED(k, MOAT_E_ALREADY_EXISTS, INSTALL(k, kit_pack(k, (struct kit_package){.description = "other bytes"})));
}

static void only_trusted_publishers_install_and_a_name_has_one_owner(void **state)
{
    struct kit *k = *state;
    struct signing_key *stranger;
    assert_int_equal(key_generate(&stranger, &k->error), 0);
    REFUSED(k, MOAT_E_UNKNOWN_KEY, INSTALL(k, kit_pack(k, (struct kit_package){.key = stranger})));
    key_free(stranger);
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0})));
    const char *theft = kit_pack(k, (struct kit_package){.key = k->mallory, .version = "2.0.0"});
    REFUSED(k, MOAT_E_NAME_NOT_ALLOWED, INSTALL(k, theft));
    assert_non_null(strstr(k->error.message, "acme"));
    OK(k, kit_uninstall(k, "alpha", false));
    REFUSED(k, MOAT_E_NAME_NOT_ALLOWED, INSTALL(k, theft));
    OK(k, kit_uninstall(k, "alpha", true));
    OK(k, INSTALL(k, theft));
}

static void a_key_may_be_limited_to_names(void **state)
{
    struct kit *k = *state;
    struct signing_key *limited;
    assert_int_equal(key_generate(&limited, &k->error), 0);
    char *pem = kit_pem(limited);
    REFUSED(k, MOAT_E_BAD_USAGE, kit_trust_add(k, "Not A Label", pem, NULL));
    REFUSED(k, MOAT_E_BAD_USAGE, kit_trust_add(k, "small", pem, "Bad Pattern"));
    OK(k, kit_trust_add(k, "small", pem, "small_*"));
    assert_string_equal(kit_text(k, "names"), "small_*");
    REFUSED(k, MOAT_E_NAME_NOT_ALLOWED, INSTALL(k, kit_pack(k, (struct kit_package){.key = limited})));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.key = limited, .name = "small_one"})));
    free(pem);
    key_free(limited);
}

static void times_of_signing_and_expiry_are_held(void **state)
{
    struct kit *k = *state;
    uint64_t now = (uint64_t)time(NULL);
    REFUSED(k, MOAT_E_PACKAGE_FROM_FUTURE, INSTALL(k, kit_pack(k, (struct kit_package){.signed_at = now + 3600})));
    REFUSED(k, MOAT_E_PACKAGE_EXPIRED,
            INSTALL(k, kit_pack(k, (struct kit_package){.signed_at = now - 3600, .expires_at = now - 60})));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.signed_at = now - 3600, .expires_at = now + 3600})));
}

static void an_older_version_needs_the_operator(void **state)
{
    struct kit *k = *state;
    const char *old = kit_pack(k, (struct kit_package){.version = "1.0.0-rc.1"});
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.0.0"})));
    REFUSED(k, MOAT_E_OLDER_VERSION, INSTALL(k, old));
    OK(k, INSTALL(k, old, .allow_older = true));
    assert_false(kit_flag(k, "current"));
    /* The newest that was seen counts, not the newest that is left. */
    OK(k, kit_uninstall(k, "alpha", false));
    REFUSED(k, MOAT_E_OLDER_VERSION, INSTALL(k, old));
}

static void metadata_must_equal_the_manifest(void **state)
{
    struct kit *k = *state;
    const char *one = kit_pack(k, (struct kit_package){0});
    REFUSED(k, MOAT_E_METADATA_MISMATCH, INSTALL(k, one, .metadata = "{\"name\":\"alpha\",\"version\":\"1.0.1\"}"));
    assert_non_null(strstr(k->error.message, "version"));
    REFUSED(k, MOAT_E_METADATA_MISMATCH, INSTALL(k, one, .metadata = "{\"unheard\":1}"));
    REFUSED(k, MOAT_E_BAD_REQUEST, INSTALL(k, one, .metadata = "[1]"));
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_info(k, "alpha"));
    OK(k, INSTALL(k, one, .metadata = "{\"name\":\"alpha\",\"capabilities\":[\"custom\",\"agent_skill\"]}"));
}

static void what_is_no_package_installs_nothing(void **state)
{
    struct kit *k = *state;
    REFUSED(k, MOAT_E_NO_SUCH_FILE, INSTALL(k, kit_path(k, "missing.moat")));
    kit_write(k, "junk.moat", "this is not a package");
    REFUSED(k, MOAT_E_NOT_A_PACKAGE, INSTALL(k, kit_path(k, "junk.moat")));
    assert_int_equal(access(kit_path(k, "junk.moat"), F_OK), 0);
    REFUSED(k, MOAT_E_NOT_A_PACKAGE, INSTALL(k, kit_path(k, "junk.moat"), .temporary = true));
    assert_int_not_equal(access(kit_path(k, "junk.moat"), F_OK), 0);
    OK(k, kit_settings_set(k, "package_max", "1048576"));
    OK(k, kit_stats(k));
    assert_int_equal(kit_number(k, "registry.versions"), 0);
}

static void validate_says_everything_and_installs_nothing(void **state)
{
    struct kit *k = *state;
    const char *good = kit_pack(k, (struct kit_package){.optional = "[\"file_read\"]"});
    OK(k, kit_validate(k, good));
    assert_true(kit_flag(k, "valid"));
    assert_string_equal(kit_text(k, "publisher"), "acme");
    assert_string_equal(kit_text(k, "permissions.0.permission"), "file_read");
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_info(k, "alpha"));
    kit_write(k, "junk.moat", "this is not a package");
    OK(k, kit_validate(k, kit_path(k, "junk.moat")));
    assert_false(kit_flag(k, "valid"));
    assert_string_equal(kit_text(k, "findings.0.code"), "not_a_package");
    assert_true(strlen(kit_text(k, "findings.0.cure")) > 0);
    REFUSED(k, MOAT_E_NO_SUCH_FILE, kit_validate(k, kit_path(k, "missing.moat")));
    OK(k, INSTALL(k, good));
    OK(k, kit_validate(k, kit_pack(k, (struct kit_package){.version = "0.9.0"})));
    assert_string_equal(kit_text(k, "findings.0.code"), "older_version");
}

/* ---- decisions ---- */

static void a_required_permission_waits_for_the_operator(void **state)
{
    struct kit *k = *state;
    char grant[700], command[800];
    kit_write(k, "secret.txt", "open sesame");
    snprintf(grant, sizeof grant, "file_read=%s", kit_path(k, "secret.txt"));
    char asks[700], parameters[700];
    snprintf(asks, sizeof asks, "{\"file_read\":{\"paths\":[\"%s\"]}}", kit_path(k, "secret.txt"));
    snprintf(parameters, sizeof parameters, "{\"path\":\"%s\"}", kit_path(k, "secret.txt"));
    snprintf(command, sizeof command, "moat grant alpha %s", grant);
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.required = asks}), .load = true));
    assert_false(kit_flag(k, "loaded"));
    assert_string_equal(kit_text(k, "load_error.code"), "permission_denied");
    assert_string_equal(kit_text(k, "needs_grant.0"), command);
    assert_string_equal(kit_text(k, "permissions.0.decision"), "undecided");
    REFUSED(k, MOAT_E_PERMISSION_DENIED, kit_call(k, "alpha", "read", parameters));
    assert_non_null(strstr(k->error.message, command));
    REFUSED(k, MOAT_E_PERMISSION_DENIED, kit_load(k, "alpha"));
    assert_non_null(strstr(k->error.message, command));
    OK(k, kit_info(k, "alpha"));
    assert_string_equal(kit_text(k, "loading"), "needs_grant");
    assert_string_equal(kit_text(k, "health_status"), "unknown");

    OK(k, kit_grant(k, "alpha", grant));
    assert_int_equal(kit_count(k, "needs_grant"), 0);
    assert_string_equal(kit_text(k, "permissions.0.decision"), "granted");
    OK(k, kit_call(k, "alpha", "read", parameters));
    assert_string_equal(json_string_value(k->json), "open sesame");

    OK(k, kit_revoke(k, "alpha", grant));
    OK(k, kit_loaded(k));
    assert_int_equal(kit_count(k, "plugins"), 0); /* the worker that could read is dead */
    REFUSED(k, MOAT_E_PERMISSION_DENIED, kit_call(k, "alpha", "read", parameters));
    REFUSED(k, MOAT_E_NOT_FOUND, kit_revoke(k, "alpha", grant));

    OK(k, kit_refuse(k, "alpha", "file_read"));
    assert_string_equal(kit_text(k, "permissions.0.decision"), "refused");
    REFUSED(k, MOAT_E_PERMISSION_DENIED, kit_call(k, "alpha", "read", parameters));
    assert_non_null(strstr(k->error.message, "refused"));
}

static void an_optional_grant_reaches_a_running_plugin_and_leaves_it(void **state)
{
    struct kit *k = *state;
    char grant[700], parameters[700];
    kit_write(k, "data.txt", "forty-two");
    snprintf(grant, sizeof grant, "file_read=%s", kit_path(k, "data.txt"));
    snprintf(parameters, sizeof parameters, "{\"path\":\"%s\"}", kit_path(k, "data.txt"));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.optional = "[\"file_read\",\"file_write\"]"}), .load = true));
    assert_true(kit_flag(k, "loaded"));
    OK(k, kit_call(k, "alpha", "read", parameters));
    assert_string_equal(json_string_value(k->json), "ENOENT");
    OK(k, kit_grant(k, "alpha", grant));
    OK(k, kit_call(k, "alpha", "read", parameters));
    assert_string_equal(json_string_value(k->json), "forty-two");
    OK(k, kit_revoke(k, "alpha", "file_read"));
    OK(k, kit_call(k, "alpha", "read", parameters));
    assert_string_equal(json_string_value(k->json), "ENOENT");
}

static void the_installation_can_bring_its_grants(void **state)
{
    struct kit *k = *state;
    char grant[700], parameters[700];
    const char *bad[] = {"file_read"}, *missing[] = {"file_read=/does/not/exist"}, *closed[] = {"file_read=/proc/self"};
    kit_write(k, "data.txt", "forty-two");
    snprintf(grant, sizeof grant, "file_read=%s", kit_path(k, "data.txt"));
    snprintf(parameters, sizeof parameters, "{\"path\":\"%s\"}", kit_path(k, "data.txt"));
    const char *grants[] = {grant, "system_access"};
    const char *package = kit_pack(k, (struct kit_package){.required = "[\"file_read\"]"});
    REFUSED(k, MOAT_E_BAD_USAGE, INSTALL(k, package, .grants = bad, .ngrants = 1));
    REFUSED(k, MOAT_E_NO_SUCH_FILE, INSTALL(k, package, .grants = missing, .ngrants = 1));
    REFUSED(k, MOAT_E_PERMISSION_DENIED, INSTALL(k, package, .grants = closed, .ngrants = 1));
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_info(k, "alpha"));
    OK(k, INSTALL(k, package, .grants = grants, .ngrants = 2, .load = true));
    assert_true(kit_flag(k, "loaded"));
    assert_string_equal(kit_text(k, "not_asked_for.0"), "system_access");
    OK(k, kit_call(k, "alpha", "read", parameters));
    assert_string_equal(json_string_value(k->json), "forty-two");
    OK(k, kit_grants(k, "alpha"));
    assert_int_equal(kit_count(k, "grants"), 2);
    assert_true(kit_flag(k, "grants.0.in_force"));
    assert_string_equal(kit_text(k, "grants.1.permission"), "system_access");
    assert_false(kit_flag(k, "grants.1.in_force"));
    OK(k, kit_grants(k, NULL));
    assert_int_equal(kit_count(k, "grants"), 2);
}

static void a_right_that_is_left_is_named(void **state)
{
    struct kit *k = *state;
    char wide[700], narrow[700];
    mkdir(kit_path(k, "data"), 0755);
    mkdir(kit_path(k, "data/sub"), 0755);
    snprintf(wide, sizeof wide, "file_read=%s", kit_path(k, "data"));
    snprintf(narrow, sizeof narrow, "file_read=%s", kit_path(k, "data/sub"));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.optional = "[\"file_read\",\"file_write\"]"}), .load = true));
    OK(k, kit_grant(k, "alpha", wide));
    OK(k, kit_grant(k, "alpha", narrow));
    REFUSED(k, MOAT_E_REVOKE_INCOMPLETE, kit_revoke(k, "alpha", narrow));
    assert_non_null(strstr(k->error.message, wide));
    OK(k, kit_grant(k, "alpha", narrow));
    OK(k, kit_revoke(k, "alpha", wide)); /* and what lies in it */
    OK(k, kit_grants(k, "alpha"));
    assert_int_equal(kit_count(k, "grants"), 0);
}

static void a_key_that_is_revoked_stops_what_it_signed(void **state)
{
    struct kit *k = *state;
    char id[KEY_ID_HEX];
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0}), .load = true));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "other", .key = k->mallory}), .load = true));
    kit_key_id(k->acme, id);
    REFUSED(k, MOAT_E_BAD_USAGE, kit_trust_revoke(k, "acme", "abc"));
    REFUSED(k, MOAT_E_NOT_FOUND, kit_trust_revoke(k, "nobody", NULL));
    OK(k, kit_trust_revoke(k, "acme", id));
    assert_string_equal(kit_text(k, "stopped.0"), "alpha");
    OK(k, kit_loaded(k));
    assert_int_equal(kit_count(k, "plugins"), 1);
    REFUSED(k, MOAT_E_KEY_REVOKED, kit_call(k, "alpha", "echo", "{}"));
    REFUSED(k, MOAT_E_KEY_REVOKED, kit_load(k, "alpha"));
    REFUSED(k, MOAT_E_KEY_REVOKED, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0"})));
    OK(k, kit_call(k, "other", "echo", "{}"));
    OK(k, kit_trust_list(k));
    assert_true(kit_flag(k, "publishers.0.keys.0.revoked"));
    kit_close(k);
    kit_open(k, false);
    REFUSED(k, MOAT_E_KEY_REVOKED, kit_call(k, "alpha", "echo", "{}"));
}

/* ---- versions ---- */

static void use_switches_a_running_plugin(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.0.0"}), .load = true));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0"}), .load = true));
    assert_false(kit_flag(k, "current"));
    assert_string_equal(kit_text(k, "load_error.code"), "wrong_state");
    REFUSED(k, MOAT_E_WRONG_STATE, kit_load(k, "alpha@1.1.0"));
    OK(k, kit_use(k, "alpha@1.1.0"));
    OK(k, kit_loaded(k));
    assert_string_equal(kit_text(k, "plugins.0.version"), "1.1.0");
    OK(k, kit_info(k, "alpha"));
    assert_string_equal(kit_text(k, "current"), "1.1.0");
    assert_int_equal(kit_count(k, "versions"), 2);
    OK(k, kit_use(k, "alpha@1.1.0"));
    assert_true(kit_flag(k, "already"));
    REFUSED(k, MOAT_E_NO_SUCH_VERSION, kit_use(k, "alpha@9.9.9"));
    REFUSED(k, MOAT_E_BAD_USAGE, kit_use(k, "alpha"));
    REFUSED(k, MOAT_E_WRONG_STATE, kit_uninstall(k, "alpha@1.1.0", false));
    OK(k, kit_uninstall(k, "alpha@1.0.0", false));
    OK(k, kit_call(k, "alpha", "echo", "{}"));
}

static void a_version_that_cannot_start_does_not_become_current(void **state)
{
    struct kit *k = *state;
    const char *refuses =
        "{\"type\":\"object\",\"properties\":{\"refuse\":{\"type\":\"string\",\"default\":\"not today\"}}}";
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.0.0"}), .load = true));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0", .config = refuses}), .use = true));
    assert_false(kit_flag(k, "current"));
    assert_string_equal(kit_text(k, "use_error.code"), "start_failed");
    assert_non_null(strstr(kit_text(k, "use_error.message"), "not today"));
    OK(k, kit_call(k, "alpha", "echo", "{}"));
    REFUSED(k, MOAT_E_START_FAILED, kit_use(k, "alpha@1.1.0"));
    OK(k, kit_info(k, "alpha"));
    assert_string_equal(kit_text(k, "current"), "1.0.0");
    OK(k, kit_call(k, "alpha", "echo", "{}"));
    /* One that asks for more than was decided waits too. */
    OK(k,
       INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.2.0", .required = "[\"file_read\"]"}), .use = true));
    assert_false(kit_flag(k, "current"));
    assert_string_equal(kit_text(k, "use_error.code"), "permission_denied");
    assert_string_equal(kit_text(k, "needs_grant.0"), "moat grant alpha file_read=PATH");
    REFUSED(k, MOAT_E_PERMISSION_DENIED, kit_use(k, "alpha@1.2.0"));
}

static void install_with_use_switches_at_once(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.0.0"}), .load = true));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0"}), .use = true, .load = true));
    assert_true(kit_flag(k, "current"));
    assert_true(kit_flag(k, "loaded"));
    OK(k, kit_loaded(k));
    assert_string_equal(kit_text(k, "plugins.0.version"), "1.1.0");
    OK(k, kit_unload(k, "alpha"));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.2.0"}), .use = true));
    assert_true(kit_flag(k, "current"));
    REFUSED(k, MOAT_E_WRONG_STATE, kit_call(k, "alpha", "echo", "{}")); /* still unloaded */
    OK(k, kit_load(k, "alpha"));
    assert_string_equal(kit_text(k, "version"), "1.2.0");
}

/* ---- running ---- */

static void unload_holds_until_load_also_over_a_restart(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0})));
    OK(k, kit_load(k, "alpha"));
    assert_false(kit_flag(k, "already"));
    OK(k, kit_load(k, "alpha"));
    assert_true(kit_flag(k, "already"));
    OK(k, kit_unload(k, "alpha"));
    REFUSED(k, MOAT_E_WRONG_STATE, kit_call(k, "alpha", "echo", "{}"));
    assert_non_null(strstr(k->error.message, "moat load alpha"));
    kit_close(k);
    kit_open(k, false);
    REFUSED(k, MOAT_E_WRONG_STATE, kit_call(k, "alpha", "echo", "{}"));
    assert_non_null(strstr(k->error.message, "moat load alpha"));
    OK(k, kit_load(k, "alpha"));
    OK(k, kit_call(k, "alpha", "echo", "{}"));
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_load(k, "beta"));
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_unload(k, "beta"));
    REFUSED(k, MOAT_E_BAD_USAGE, kit_load(k, "No Name"));
}

static void a_server_starts_what_is_wanted(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "wanted"}), .load = true));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "lazy"})));
    kit_close(k);
    kit_open(k, true);
    OK(k, kit_call(k, "wanted", "count", "{}")); /* waits for the start that is under way */
    assert_int_equal(json_integer_value(k->json), 1);
    OK(k, kit_loaded(k));
    assert_int_equal(kit_count(k, "plugins"), 1);
    assert_string_equal(kit_text(k, "plugins.0.name"), "wanted");
}

static void cycle(struct kit *k)
{
    OK(k, kit_load(k, "alpha"));
    OK(k, kit_unload(k, "alpha"));
}

/* A start knows what the last one read; what was changed since then it reads again. */
static void what_changes_between_two_loads_counts(void **state)
{
    struct kit *k = *state;
    char id[KEY_ID_HEX], grant[700], read[700];
    kit_write(k, "data.txt", "x");
    snprintf(grant, sizeof grant, "file_read=%s", kit_path(k, "data.txt"));
    snprintf(read, sizeof read, "{\"path\":\"%s\"}", kit_path(k, "data.txt"));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.optional = "[\"file_read\"]"})));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.version = "1.1.0"})));
    cycle(k);
    cycle(k);
    OK(k, kit_grant(k, "alpha", grant));
    OK(k, kit_load(k, "alpha"));
    OK(k, kit_call(k, "alpha", "read", read));
    assert_string_equal(json_string_value(k->json), "x");
    OK(k, kit_unload(k, "alpha"));
    OK(k, kit_revoke(k, "alpha", grant));
    OK(k, kit_load(k, "alpha"));
    OK(k, kit_call(k, "alpha", "read", read));
    assert_string_equal(json_string_value(k->json), "ENOENT");
    OK(k, kit_stop_all(k));
    REFUSED(k, MOAT_E_WRONG_STATE, kit_call(k, "alpha", "echo", "{}"));
    cycle(k);
    OK(k, kit_use(k, "alpha@1.1.0"));
    cycle(k);
    OK(k, kit_load(k, "alpha"));
    assert_string_equal(kit_text(k, "version"), "1.1.0");
    OK(k, kit_unload(k, "alpha"));
    kit_key_id(k->acme, id);
    OK(k, kit_trust_revoke(k, "acme", id));
    REFUSED(k, MOAT_E_KEY_REVOKED, kit_load(k, "alpha"));
    OK(k, kit_uninstall(k, "alpha", true));
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_load(k, "alpha"));
}

static void reload_brings_fresh_workers(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0}), .load = true));
    OK(k, kit_call(k, "alpha", "count", "{}"));
    OK(k, kit_call(k, "alpha", "count", "{}"));
    assert_int_equal(json_integer_value(k->json), 2);
    OK(k, kit_reload(k, "alpha"));
    OK(k, kit_call(k, "alpha", "count", "{}"));
    assert_int_equal(json_integer_value(k->json), 1);
}

static void stop_all_stops_all(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "one"}), .load = true));
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.name = "two"})));
    OK(k, kit_stop_all(k));
    assert_int_equal(kit_count(k, "stopped"), 1);
    assert_string_equal(kit_text(k, "stopped.0"), "one");
    REFUSED(k, MOAT_E_WRONG_STATE, kit_call(k, "one", "echo", "{}"));
    REFUSED(k, MOAT_E_WRONG_STATE, kit_call(k, "two", "echo", "{}"));
    OK(k, kit_load(k, "two"));
    OK(k, kit_call(k, "two", "echo", "{}"));
}

static void uninstall_leaves_nothing_running(void **state)
{
    struct kit *k = *state;
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){0}), .load = true));
    OK(k, kit_uninstall(k, "alpha", false));
    assert_int_equal(kit_number(k, "removed"), 1);
    OK(k, kit_loaded(k));
    assert_int_equal(kit_count(k, "plugins"), 0);
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_call(k, "alpha", "echo", "{}"));
    REFUSED(k, MOAT_E_NO_SUCH_PLUGIN, kit_uninstall(k, "alpha", false));
    OK(k, kit_uninstall(k, "alpha", true)); /* forgets what was remembered */
}

/* ---- damage ---- */

static const char *stored(struct kit *k, const char *sha256)
{
    char name[200];
    snprintf(name, sizeof name, "home/packages/sha256/%s.moat", sha256);
    return kit_path(k, name);
}

static void a_damaged_package_is_named_and_mended(void **state)
{
    struct kit *k = *state;
    char file[700];
    const char *package = kit_pack(k, (struct kit_package){0});
    OK(k, INSTALL(k, package));
    snprintf(file, sizeof file, "%s", stored(k, kit_text(k, "sha256")));
    FILE *f = fopen(file, "r+");
    assert_non_null(f);
    fseek(f, -10, SEEK_END);
    fputc('!', f);
    fclose(f);
    REFUSED(k, MOAT_E_PACKAGE_DAMAGED, kit_call(k, "alpha", "echo", "{}"));
    assert_non_null(strstr(k->error.message, "alpha 1.0.0"));
    OK(k, kit_info(k, "alpha"));
    assert_string_equal(kit_text(k, "versions.0.state"), "damaged");
    REFUSED(k, MOAT_E_PACKAGE_DAMAGED, kit_load(k, "alpha"));
    OK(k, INSTALL(k, package));
    OK(k, kit_call(k, "alpha", "echo", "{}"));
    kit_close(k);
    unlink(file);
    kit_open(k, false);
    REFUSED(k, MOAT_E_PACKAGE_DAMAGED, kit_load(k, "alpha"));
}

/* Code that is at hand from an earlier start runs only while the package on the disk still is what it was, and still
 * trusted; and what was wanted before a load that fails is what is wanted after it. */
static void what_ran_before_is_verified_again(void **state)
{
    struct kit *k = *state;
    char file[700];
    const char *package = kit_pack(k, (struct kit_package){0});
    OK(k, INSTALL(k, package));
    snprintf(file, sizeof file, "%s", stored(k, kit_text(k, "sha256")));
    OK(k, kit_load(k, "alpha"));
    OK(k, kit_reload(k, "alpha"));
    OK(k, kit_unload(k, "alpha"));
    FILE *f = fopen(file, "r+");
    assert_non_null(f);
    fseek(f, -10, SEEK_END);
    int before = fgetc(f);
    fseek(f, -10, SEEK_END);
    fputc(before ^ 1, f);
    fclose(f);
    REFUSED(k, MOAT_E_PACKAGE_DAMAGED, kit_load(k, "alpha"));
    OK(k, kit_info(k, "alpha"));
    assert_string_equal(kit_text(k, "versions.0.state"), "damaged");
    OK(k, INSTALL(k, package));
    kit_close(k);
    kit_open(k, true);
    REFUSED(k, MOAT_E_WRONG_STATE, kit_call(k, "alpha", "echo", "{}"));
    assert_non_null(strstr(k->error.message, "moat load alpha"));
    OK(k, kit_load(k, "alpha"));
    OK(k, kit_call(k, "alpha", "echo", "{}"));
}

static void a_start_that_fails_is_not_wanted(void **state)
{
    struct kit *k = *state;
    struct loader_status status;
    const char *refuses =
        "{\"type\":\"object\",\"properties\":{\"refuse\":{\"type\":\"string\",\"default\":\"not today\"}}}";
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.config = refuses})));
    REFUSED(k, MOAT_E_START_FAILED, kit_load(k, "alpha"));
    kit_close(k);
    kit_open(k, true);
    assert_true(loader_status(service_loader(k->s), "alpha", &status));
    assert_int_equal(status.state, STATE_UNLOADED);
}

static void a_granted_place_that_is_gone_is_an_error_until_it_is_back(void **state)
{
    struct kit *k = *state;
    char grant[700];
    kit_write(k, "data.txt", "x");
    snprintf(grant, sizeof grant, "file_read=%s", kit_path(k, "data.txt"));
    const char *grants[] = {grant};
    OK(k, INSTALL(k, kit_pack(k, (struct kit_package){.required = "[\"file_read\"]"}), .grants = grants, .ngrants = 1));
    unlink(kit_path(k, "data.txt"));
    REFUSED(k, MOAT_E_NO_SUCH_FILE, kit_call(k, "alpha", "echo", "{}"));
    assert_non_null(strstr(k->error.message, grant));
    REFUSED(k, MOAT_E_NO_SUCH_FILE, kit_load(k, "alpha"));
    kit_write(k, "data.txt", "x");
    OK(k, kit_load(k, "alpha"));
}

/* ---- one owner ---- */

static void a_second_service_finds_the_home_busy(void **state)
{
    struct kit *k = *state;
    struct service_options options = {.home = k->home, .worker_path = k->worker, .helper_path = k->helper, .loops = 1};
    struct service *second = NULL;
    struct error err;
    assert_int_equal(service_open(&options, &second, &err), -MOAT_E_HOME_BUSY);
    assert_null(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
        T(install_then_call),
        T(what_was_installed_is_there_for_the_next_process),
        T(installing_the_same_again_changes_nothing),
        T(only_trusted_publishers_install_and_a_name_has_one_owner),
        T(a_key_may_be_limited_to_names),
        T(times_of_signing_and_expiry_are_held),
        T(an_older_version_needs_the_operator),
        T(metadata_must_equal_the_manifest),
        T(what_is_no_package_installs_nothing),
        T(validate_says_everything_and_installs_nothing),
        T(a_required_permission_waits_for_the_operator),
        T(an_optional_grant_reaches_a_running_plugin_and_leaves_it),
        T(the_installation_can_bring_its_grants),
        T(a_right_that_is_left_is_named),
        T(a_key_that_is_revoked_stops_what_it_signed),
        T(use_switches_a_running_plugin),
        T(a_version_that_cannot_start_does_not_become_current),
        T(install_with_use_switches_at_once),
        T(unload_holds_until_load_also_over_a_restart),
        T(a_server_starts_what_is_wanted),
        T(what_changes_between_two_loads_counts),
        T(reload_brings_fresh_workers),
        T(stop_all_stops_all),
        T(uninstall_leaves_nothing_running),
        T(a_damaged_package_is_named_and_mended),
        T(what_ran_before_is_verified_again),
        T(a_start_that_fails_is_not_wanted),
        T(a_granted_place_that_is_gone_is_an_error_until_it_is_back),
        T(a_second_service_finds_the_home_busy),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
