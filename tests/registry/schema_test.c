/* A registry that the first release wrote opens in this one: everything is there, the search finds it, and the audit
 * trail begins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/io.h"
#include "registry/internal.h"
#include "registry/schema.h"
#include "sample.h"

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db;
    char *why = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s", why);
    sqlite3_close(db);
}

static void make_version_1(const struct place *p, char path[400])
{
    buf_auto dump = BUF_INIT(1 << 20);
    struct error err;
    if (io_read_file(VERSION_1_SQL, &dump, &err) < 0 || io_mkdirs(p->registry, 0700, &err) < 0)
        fail_msg("%s", err.message);
    snprintf(path, 400, "%s/registry.db", p->registry);
    run_sql(path, buf_text(&dump));
}

static int64_t number(struct registry *r, const char *sql)
{
    int64_t n = -1;
    struct error err;
    if (db_number(&r->writer, &err, -1, &n, sql, "") < 0)
        fail_msg("%s", err.message);
    return n;
}

static void a_first_release_opens(void **state)
{
    struct place p;
    struct registry *r;
    struct error err;
    char path[400];
    place_make(&p);
    make_version_1(&p, path);
    if (place_open(&p, &r, &err) < 0)
        fail_msg("%s", err.message);
    buf_auto text = BUF_INIT(1 << 16);
    sample_describe(r, &p, &text);
    assert_string_equal(buf_text(&text), "key acme 58\n"
                                         "plugin data_processor of acme, 1 versions, current 1.0.0\n"
                                         " 1.0.0 15 current\n"
                                         "plugin hostile of acme, 1 versions, current 1.0.0\n"
                                         " wanted 2\n"
                                         " 1.0.0 170 damaged\n"
                                         "decision hostile 0 /etc\n"
                                         "decision hostile 5  refused\n"
                                         "token 1 admin\n");
    assert_int_equal(number(r, "SELECT count(*) FROM pragma_table_info('version') WHERE name = 'words'"), 0);
    /* Words of the manifests: a name, a description, an action's name. */
    assert_int_equal(number(r, "SELECT count(*) FROM search WHERE search MATCH 'processor'"), 1);
    assert_int_equal(number(r, "SELECT count(*) FROM search WHERE search MATCH 'actions : aggregate'"), 1);
    assert_int_equal(number(r, "SELECT seq FROM audit_head"), 0);
    assert_int_equal(number(r, "SELECT count(*) FROM audit_root JOIN audit_head USING (hash)"), 1);
    assert_int_equal(number(r, "SELECT count(*) FROM token WHERE name = '' AND revoked_at = 0"), 1);
    /* And it goes on from there. */
    if (sample_set(r, "pool", "2", &err) < 0)
        fail_msg("%s", err.message);
    registry_close(r);
    if (place_open(&p, &r, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(number(r, "SELECT seq FROM audit_head"), 1);
    assert_int_equal(number(r, "SELECT count(*) FROM audit WHERE action = 'setting.set' AND subject = 'pool'"), 1);
    registry_close(r);
    place_remove(&p);
}

/* A plugin's configuration as releases before the seventh step wrote it, and as a host leaves it that died watching
 * one.
 */
static void configure(const char *path, int version)
{
    if (version >= 2)
        run_sql(path, "INSERT INTO config (plugin, revision, value, secret, set_at)"
                      " SELECT id, 1, '{}', '{\"key\":\"old\"}', 5 FROM plugin WHERE name = 'hostile'");
    if (version >= 7)
        run_sql(path, "INSERT INTO config (plugin, revision, value, secret, set_at, guard, base)"
                      " SELECT id, 2, '{\"a\":1}', '{\"key\":\"new\"}', 6, 'running', 1 FROM plugin"
                      " WHERE name = 'hostile'");
}

static void make_version(const struct place *p, int version)
{
    char path[400];
    struct error err;
    struct db *db = calloc(1, sizeof *db);
    assert_non_null(db);
    make_version_1(p, path);
    if (db_open(db, path, true, &err) < 0 || schema_migrate(db, schema_steps, version, &err) < 0)
        fail_msg("%s", err.message);
    db_close(db);
    free(db);
    configure(path, version);
    if (version >= 3)
        run_sql(path, "INSERT INTO ceiling VALUES ('everybody', 0, '/etc/shadow', 7);"
                      "INSERT INTO source VALUES ('main', 'sqlite', '/srv/main.db', 8);"
                      "INSERT INTO home_time VALUES (1, 'boot', 9, 10)");
}

/* What was decided is there; what is newer is there, and empty when it is newer than the file. */
static void assert_newest(struct registry *r, int from)
{
    assert_int_equal(number(r, "SELECT user_version FROM pragma_user_version"), schema_version);
    assert_int_equal(number(r, "SELECT count(*) FROM pragma_table_info('version') WHERE name = 'words'"), 0);
    assert_int_equal(number(r, "SELECT count(*) FROM decision"), 2);
    assert_int_equal(number(r, "SELECT count(*) FROM decision WHERE held = -1"), 2); /* weighed at their next start */
    assert_int_equal(number(r, "SELECT count(*) FROM version"), 2);
    assert_int_equal(number(r, "SELECT count(*) FROM search WHERE search MATCH 'processor'"), 1);
    assert_int_equal(number(r, "SELECT count(*) FROM near_miss WHERE word = 'processor'"), 2);
    assert_int_equal(number(r, "SELECT count(*) FROM sqlite_schema WHERE name IN ('word', 'typo')"), 0);
    assert_int_equal(number(r, "SELECT count(*) FROM ceiling WHERE scope = '/etc/shadow' AND set_at = 7"), from >= 3);
    assert_int_equal(number(r, "SELECT count(*) FROM source WHERE place = '/srv/main.db'"), from >= 3);
    assert_int_equal(number(r, "SELECT count(*) FROM home_time WHERE time_ns = 10"), from >= 3);
    assert_int_equal(number(r, "SELECT count(*) FROM denial_dropped"), 0);
    assert_int_equal(number(r, "SELECT count(*) FROM config WHERE guard = '' AND back = -1"), from >= 2);
}

/* From whichever release: and then it is used as any other, over an opening more. */
static void what_was_watched_when_the_host_died_is_ended(void **state)
{
    struct place p;
    struct registry *r;
    struct error err;
    place_make(&p);
    make_version(&p, schema_version);
    if (place_open(&p, &r, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(number(r, "SELECT count(*) FROM config WHERE revision = 2 AND guard = 'ended' AND guard_until > 0"
                               " AND secret LIKE '%new%' AND back = -1"),
                     1);
    assert_int_equal(number(r, "SELECT count(*) FROM config WHERE revision = 1 AND guard = '' AND secret = '{}'"), 1);
    registry_close(r);
    place_remove(&p);
}

static void every_release_becomes_the_newest(void **state)
{
    for (int from = 1; from < schema_version; from++) {
        struct place p;
        struct registry *r;
        struct error err;
        place_make(&p);
        make_version(&p, from);
        struct registry_command set = {.verb = REGISTRY_CEILING_SET,
                                       .ceiling = {.subject = "everybody", .permission = 5, .scope = ""}};
        struct registry_count count = {.plugin = "hostile", .version = "1.0.0", .n = {.calls = 3, .errors = 1}};
        if (place_open(&p, &r, &err) < 0)
            fail_msg("from %d: %s", from, err.message);
        assert_newest(r, from);
        assert_int_equal(number(r, "SELECT count(*) FROM hour"), 0);
        assert_int_equal(number(r, "SELECT count(*) FROM start"), 0);
        if (registry_run(r, &set, &err) < 0)
            fail_msg("from %d: %s", from, err.message);
        registry_count(r, &count);
        registry_count_starts(r, &(struct registry_starts){.starts = 9, .most = 4});
        assert_int_equal(number(r, "SELECT count(*) FROM denial"), 0);
        struct registry_denial denial = {.plugin = "hostile",
                                         .version = "1.0.0",
                                         .action = "",
                                         .call = "",
                                         .operation = "connect",
                                         .object = "",
                                         .wall = "seccomp",
                                         .count = 7};
        assert_true(registry_deny(r, &denial));
        registry_close(r);
        if (place_open(&p, &r, &err) < 0)
            fail_msg("from %d: %s", from, err.message);
        assert_newest(r, from);
        assert_int_equal(number(r, "SELECT count(*) FROM ceiling WHERE permission = 5 AND scope = ''"), 1);
        assert_int_equal(number(r, "SELECT sum(calls) FROM hour"), 3);
        assert_int_equal(number(r, "SELECT starts * 10 + most FROM start"), 94);
        assert_int_equal(number(r, "SELECT sum(count) FROM denial"), 7);
        registry_close(r);
        place_remove(&p);
    }
}

/* Whatever makes a step fail, the file is as it was. */
static void a_migration_that_fails_changes_nothing(void **state)
{
    struct place p;
    struct registry *r;
    struct error err;
    char path[400];
    place_make(&p);
    make_version_1(&p, path);
    run_sql(path, "CREATE TABLE typo (x INTEGER)");
    assert_int_equal(place_open(&p, &r, &err), -MOAT_E_STORAGE_FAILED);
    assert_non_null(strstr(err.message, "typo"));
    run_sql(path, "DROP TABLE typo");
    if (place_open(&p, &r, &err) < 0)
        fail_msg("%s", err.message);
    registry_close(r);
    place_remove(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_first_release_opens),
                                       cmocka_unit_test(every_release_becomes_the_newest),
                                       cmocka_unit_test(what_was_watched_when_the_host_died_is_ended),
                                       cmocka_unit_test(a_migration_that_fails_changes_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
