/* The registry as its callers see it: who owns a name, what a version is, which decisions hold, and what happens when
 * the disk or the file is not as it should be. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/io.h"
#include "registry/epoch.h"
#include "registry/internal.h"
#include "registry/schema.h"
#include "sample.h"

struct fixture {
    struct place place;
    struct registry *r;
    struct error err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    place_make(&f->place);
    if (place_open(&f->place, &f->r, &f->err) < 0)
        fail_msg("%s", f->err.message);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    registry_close(f->r);
    place_remove(&f->place);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    registry_close(f->r);
    f->r = NULL;
    if (place_open(&f->place, &f->r, &f->err) < 0)
        fail_msg("%s", f->err.message);
}

static void assert_described(struct fixture *f, const char *expected)
{
    buf_auto text = BUF_INIT(1 << 16);
    sample_describe(f->r, &f->place, &text);
    assert_string_equal(buf_text(&text), expected);
}

static void run_sql(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    char path[400];
    snprintf(path, sizeof path, "%s/registry.db", f->place.registry);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

#define OK(call) assert_int_equal((call), 0)
#define REFUSED(code, call) assert_int_equal((call), -(code))

static void what_is_written_is_there_after_reopening(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10, .grant = "/data"};
    struct sample_install two = {.name = "alpha", .version = "1.1.0", .key = 1, .bytes = 11};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    assert_true(one.current);
    OK(sample_install(f->r, &two, &f->err));
    assert_false(two.current);
    OK(sample_set(f->r, "pool", "2", &f->err));
    const char *expected = "key acme 7\n"
                           "plugin alpha of acme, 2 versions, current 1.0.0\n"
                           " 1.1.0 77 available\n"
                           " 1.0.0 70 current\n"
                           "decision alpha 0 /data\n"
                           "setting pool 2\n"
                           "file 46\nfile 4d\n";
    assert_described(f, expected);
    reopen(f);
    assert_described(f, expected);
    OK(sample_use(f->r, "alpha", "1.1.0", &f->err));
    OK(sample_set(f->r, "pool", NULL, &f->err));
    reopen(f);
    assert_described(f, "key acme 7\n"
                        "plugin alpha of acme, 2 versions, current 1.1.0, before it 1.0.0\n"
                        " 1.1.0 77 current\n"
                        " 1.0.0 70 available\n"
                        "decision alpha 0 /data\n"
                        "file 46\nfile 4d\n");
}

static void a_name_belongs_to_its_first_publisher_even_when_uninstalled(void **state)
{
    struct fixture *f = *state;
    struct sample_install first = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10, .grant = "/secret"};
    struct sample_install thief = {.name = "alpha", .version = "2.0.0", .key = 2, .bytes = 20};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_trust(f->r, "mallory", 2, &f->err));
    OK(sample_install(f->r, &first, &f->err));
    REFUSED(MOAT_E_NAME_NOT_ALLOWED, sample_install(f->r, &thief, &f->err));
    assert_non_null(strstr(f->err.message, "acme"));
    OK(sample_uninstall(f->r, "alpha", NULL, false, &f->err));
    REFUSED(MOAT_E_NAME_NOT_ALLOWED, sample_install(f->r, &thief, &f->err));
    assert_described(f, "key acme 7\nkey mallory 14\ndecision alpha 0 /secret\n");
    /* Purged, the name is free, and nothing of what was granted before is left for the next owner. */
    OK(sample_uninstall(f->r, "alpha", NULL, true, &f->err));
    OK(sample_install(f->r, &thief, &f->err));
    assert_described(f, "key acme 7\nkey mallory 14\nplugin alpha of mallory, 1 versions, current 2.0.0\n"
                        " 2.0.0 140 current\nfile 8c\n");
}

static void a_version_never_changes(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    struct sample_install other = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 11};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    assert_false(one.already);
    OK(sample_install(f->r, &one, &f->err));
    assert_true(one.already);
    assert_true(one.current);
    REFUSED(MOAT_E_ALREADY_EXISTS, sample_install(f->r, &other, &f->err));
    assert_described(f, "key acme 7\nplugin alpha of acme, 1 versions, current 1.0.0\n 1.0.0 70 current\nfile 46\n");
}

static bool is_there(struct fixture *f, const char *name)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s", f->place.packages, name);
    return access(path, F_OK) == 0;
}

/* The package of sample_install's bytes 10. */
#define ALPHA "464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465.moat"

static void a_damaged_version_is_mended_by_the_same_bytes(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    struct registry_command c = {.verb = REGISTRY_DAMAGE, .damage = {.name = "alpha", .version = "1.0.0"}};
    OK(registry_run(f->r, &c, &f->err));
    assert_described(f, "key acme 7\nplugin alpha of acme, 1 versions, current 1.0.0\n 1.0.0 70 damaged\n");
    assert_true(is_there(f, "damaged/" ALPHA)); /* set aside, not deleted */
    REFUSED(MOAT_E_WRONG_STATE, sample_use(f->r, "alpha", "1.0.0", &f->err));
    OK(sample_install(f->r, &one, &f->err));
    assert_described(f, "key acme 7\nplugin alpha of acme, 1 versions, current 1.0.0\n 1.0.0 70 current\nfile 46\n");
}

static void keys_that_are_unknown_or_revoked_install_nothing(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    uint8_t seed = 1;
    REFUSED(MOAT_E_UNKNOWN_KEY, sample_install(f->r, &one, &f->err));
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_trust(f->r, "acme", 1, &f->err)); /* the same again */
    REFUSED(MOAT_E_ALREADY_EXISTS, sample_trust(f->r, "mallory", 1, &f->err));
    REFUSED(MOAT_E_NOT_FOUND, sample_revoke(f->r, "nobody", NULL, &f->err));
    OK(sample_revoke(f->r, "acme", &seed, &f->err));
    REFUSED(MOAT_E_KEY_REVOKED, sample_install(f->r, &one, &f->err));
    REFUSED(MOAT_E_KEY_REVOKED, sample_trust(f->r, "acme", 1, &f->err));
    assert_described(f, "key acme 7 revoked\n"); /* and mallory was not left behind */
}

static void a_refusal_and_a_grant_take_each_others_place(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    REFUSED(MOAT_E_NO_SUCH_PLUGIN, sample_decide(f->r, "alpha", 0, "/a", false, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    OK(sample_decide(f->r, "alpha", 0, "/a", false, &f->err));
    OK(sample_decide(f->r, "alpha", 0, "/b", false, &f->err));
    OK(sample_decide(f->r, "alpha", 1, "/a", false, &f->err));
    OK(sample_decide(f->r, "alpha", 0, "", true, &f->err));
    assert_described(f, "key acme 7\nplugin alpha of acme, 1 versions, current 1.0.0\n 1.0.0 70 current\n"
                        "decision alpha 0  refused\ndecision alpha 1 /a\nfile 46\n");
    OK(sample_decide(f->r, "alpha", 0, "/c", false, &f->err));
    assert_described(f, "key acme 7\nplugin alpha of acme, 1 versions, current 1.0.0\n 1.0.0 70 current\n"
                        "decision alpha 0 /c\ndecision alpha 1 /a\nfile 46\n");
}

static void uninstall_keeps_the_current_one_of_several(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    struct sample_install two = {.name = "alpha", .version = "1.1.0", .key = 1, .bytes = 10};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    OK(sample_install(f->r, &two, &f->err));
    REFUSED(MOAT_E_WRONG_STATE, sample_uninstall(f->r, "alpha", "1.0.0", false, &f->err));
    REFUSED(MOAT_E_NO_SUCH_VERSION, sample_uninstall(f->r, "alpha", "9.0.0", false, &f->err));
    REFUSED(MOAT_E_NO_SUCH_PLUGIN, sample_uninstall(f->r, "beta", NULL, false, &f->err));
    /* Both versions share one file here: it goes with the last of them. */
    OK(sample_uninstall(f->r, "alpha", "1.1.0", false, &f->err));
    assert_described(f, "key acme 7\nplugin alpha of acme, 1 versions, current 1.0.0\n 1.0.0 70 current\nfile 46\n");
    OK(sample_uninstall(f->r, "alpha", "1.0.0", false, &f->err));
    assert_described(f, "key acme 7\n");
}

static bool count_one(void *context, const struct registry_plugin *p, const struct registry_version *v,
                      const char *manifest, size_t manifest_len)
{
    buf_printf(context, "%s@%s ", p->name, v->version);
    return true;
}

static void lists_filter_and_page(void **state)
{
    struct fixture *f = *state;
    struct registry_reader *reader;
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_trust(f->r, "zeta", 2, &f->err));
    for (uint8_t i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof name, "plugin_%c", 'a' + i);
        struct sample_install in = {.name = name, .version = "1.0.0", .key = i % 2 ? 1 : 2, .bytes = (uint8_t)(1 << i)};
        OK(sample_install(f->r, &in, &f->err));
    }
    OK(registry_reader_new(f->r, &reader, &f->err));
    const struct {
        struct registry_filter filter;
        const char *expected;
    } cases[] = {
        {{.active = -1, .after = "plugin_d"}, "plugin_e@1.0.0 plugin_f@1.0.0 "},
        {{.active = 1, .capabilities = 5}, "plugin_a@1.0.0 plugin_c@1.0.0 "},
        {{.active = -1, .publisher = "acme"}, "plugin_b@1.0.0 plugin_d@1.0.0 plugin_f@1.0.0 "},
        {{.active = -1, .text = "plugin c"}, "plugin_c@1.0.0 "},
        {{.active = -1, .text = "PLUG", .after = "plugin_d"}, "plugin_e@1.0.0 plugin_f@1.0.0 "},
        {{.active = -1, .text = "plugni", .publisher = "acme"}, "plugin_b@1.0.0 plugin_d@1.0.0 plugin_f@1.0.0 "},
        {{.active = -1, .text = "lugin"},
         "plugin_a@1.0.0 plugin_b@1.0.0 plugin_c@1.0.0 plugin_d@1.0.0 plugin_e@1.0.0 "
         "plugin_f@1.0.0 "},
        {{.active = -1, .text = "lug"}, ""},
        {{.active = -1, .text = "\" OR ( * - ^"}, ""},
        {{.active = 0}, ""},
        {{.active = -1, .permissions = 1}, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_auto text = BUF_INIT(1000);
        OK(registry_each_plugin(reader, &cases[i].filter, count_one, &text, &f->err));
        assert_string_equal(buf_text(&text), cases[i].expected);
    }
    struct registry_totals totals;
    OK(registry_totals(reader, &totals, &f->err));
    assert_int_equal(totals.plugins, 6);
    assert_int_equal(totals.publishers, 2);
    assert_int_equal(totals.package_bytes, 6 * 3000);
    registry_reader_free(reader);
}

/* ---- group commit ---- */

struct held {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool entered, released;
    int done;
};

static void hold(struct registry_command *c)
{
    struct held *h = c->context;
    pthread_mutex_lock(&h->lock);
    h->entered = true;
    pthread_cond_broadcast(&h->changed);
    while (!h->released)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static void count_done(struct registry_command *c)
{
    struct held *h = c->context;
    pthread_mutex_lock(&h->lock);
    h->done++;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static void waiting_commands_share_one_transaction(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 50 };
    struct held h = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct registry_command first = {
        .verb = REGISTRY_SET, .set = {.key = "first", .value = "1"}, .done = hold, .context = &h};
    static struct registry_command many[COUNT];
    static char keys[COUNT][16];
    registry_begin(f->r, &first);
    pthread_mutex_lock(&h.lock);
    while (!h.entered)
        pthread_cond_wait(&h.changed, &h.lock);
    pthread_mutex_unlock(&h.lock);
    /* The store thread is busy answering: all of these wait together. Every tenth is refused. */
    for (int i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof keys[i], "key_%02d", i);
        many[i] = (struct registry_command){.done = count_done, .context = &h};
        if (i % 10 == 9) {
            many[i].verb = REGISTRY_USE;
            many[i].use.name = "nothing";
            many[i].use.version = "1.0.0";
        } else {
            many[i].verb = REGISTRY_SET;
            many[i].set.key = keys[i];
            many[i].set.value = "1";
        }
        registry_begin(f->r, &many[i]);
    }
    pthread_mutex_lock(&h.lock);
    h.released = true;
    pthread_cond_broadcast(&h.changed);
    while (h.done < COUNT)
        pthread_cond_wait(&h.changed, &h.lock);
    pthread_mutex_unlock(&h.lock);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(many[i].code, i % 10 == 9 ? -MOAT_E_NO_SUCH_PLUGIN : 0);
    struct registry_reader *reader;
    struct registry_totals totals;
    OK(registry_reader_new(f->r, &reader, &f->err));
    OK(registry_totals(reader, &totals, &f->err));
    assert_int_equal(totals.commits, 2);
    buf_auto value = BUF_INIT(100);
    assert_int_equal(registry_find_setting(reader, "key_48", &value, &f->err), 1);
    assert_int_equal(registry_find_setting(reader, "key_49", &value, &f->err), 0);
    registry_reader_free(reader);
}

static int want(struct fixture *f, const char *name, enum registry_wanted wanted)
{
    struct registry_command c = {.verb = REGISTRY_WANT, .want = {.name = name, .wanted = wanted}};
    return registry_run(f->r, &c, &f->err);
}

/* Who keeps what was read asks by it whether that still holds. */
static void the_epoch_tells_of_every_change_but_what_is_wanted(void **state)
{
    struct fixture *f = *state;
    enum registry_wanted wanted;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    uint64_t epoch = registry_epoch(f->r);
    assert_int_equal(epoch % 2, 0);
    assert_false(registry_wanted(f->r, "alpha", &wanted));
    OK(want(f, "alpha", REGISTRY_LOADED));
    REFUSED(MOAT_E_NO_SUCH_PLUGIN, want(f, "beta", REGISTRY_LOADED));
    OK(registry_flush(f->r, &f->err));
    assert_int_equal(registry_epoch(f->r), epoch);
    assert_true(registry_wanted(f->r, "alpha", &wanted));
    assert_int_equal(wanted, REGISTRY_LOADED);
    assert_false(registry_wanted(f->r, "beta", &wanted));
    assert_false(registry_wanted(f->r, "", &wanted));
    OK(want(f, NULL, REGISTRY_STOPPED));
    assert_int_equal(registry_epoch(f->r), epoch);
    assert_false(registry_wanted(f->r, "alpha", &wanted));
    OK(want(f, "alpha", REGISTRY_LAZY));
    OK(sample_set(f->r, "pool", "2", &f->err));
    assert_int_equal(registry_epoch(f->r), epoch + 2);
    assert_false(registry_wanted(f->r, "alpha", &wanted));
    OK(sample_use(f->r, "alpha", "1.0.0", &f->err));
    assert_int_equal(registry_epoch(f->r), epoch + 4);
}

/* ---- the file is not as it should be ---- */

static void a_full_disk_is_an_error_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    static char big[200000];
    memset(big, 'x', sizeof big - 1);
    OK(sample_set(f->r, "before", "1", &f->err));
    /* The writer is idle: nobody else uses its connection. */
    sqlite3_exec(f->r->writer.handle, "PRAGMA max_page_count=40", NULL, NULL, NULL);
    REFUSED(MOAT_E_STORAGE_FAILED, sample_set(f->r, "big", big, &f->err));
    assert_non_null(strstr(f->err.message, "registry.db"));
    assert_non_null(strstr(f->err.message, "full"));
    OK(sample_set(f->r, "after", "1", &f->err));
    assert_described(f, "setting after 1\nsetting before 1\n");
}

static void newer_and_foreign_files_are_refused(void **state)
{
    struct fixture *f = *state;
    const struct {
        const char *sql, *word;
    } cases[] = {{"PRAGMA user_version=999", "newer Moat"}, {"PRAGMA application_id=7", "not a registry"}};
    for (size_t i = 0; i < 2; i++) {
        registry_close(f->r);
        f->r = NULL;
        run_sql(f, cases[i].sql);
        REFUSED(MOAT_E_STORAGE_FAILED, place_open(&f->place, &f->r, &f->err));
        assert_non_null(strstr(f->err.message, cases[i].word));
        char undo[100];
        snprintf(undo, sizeof undo, "PRAGMA user_version=%d; PRAGMA application_id=1299145076", schema_version);
        run_sql(f, undo);
        reopen(f);
    }
    registry_close(f->r);
    f->r = NULL;
    char path[400];
    snprintf(path, sizeof path, "%s/registry.db", f->place.registry);
    static char junk[8192];
    memset(junk, 'j', sizeof junk);
    OK(io_replace_file(path, junk, sizeof junk, 0600, &f->err));
    REFUSED(MOAT_E_STORAGE_FAILED, place_open(&f->place, &f->r, &f->err));
    assert_non_null(strstr(f->err.message, "not a database"));
}

static void a_read_only_directory_is_an_error(void **state)
{
    struct fixture *f = *state;
    char blocked[400];
    struct registry *r;
    snprintf(blocked, sizeof blocked, "%s/blocked", f->place.dir);
    OK(mkdir(blocked, 0555));
    chmod(f->place.dir, 0755);
    /* Root ignores modes: look as somebody else. */
    pid_t child = fork();
    if (child == 0) {
        struct error err = {0};
        bool other = geteuid() != 0 || setuid(65534) == 0;
        int rc = other ? registry_open(blocked, f->place.packages, &r, &err) : 0;
        _exit(rc == -MOAT_E_STORAGE_FAILED && strstr(err.message, blocked) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void migration_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct db db;
    char path[400];
    int64_t n;
    const struct schema_step good[] = {
        {.sql = "CREATE TABLE one (x INTEGER) STRICT; INSERT INTO one VALUES (1)"},
        {.sql = "CREATE TABLE two (x INTEGER) STRICT; INSERT INTO two SELECT x + 1 FROM one"}};
    const struct schema_step bad[] = {
        good[0], good[1], {.sql = "CREATE TABLE three (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)"}};
    snprintf(path, sizeof path, "%s/other.db", f->place.registry);
    OK(db_open(&db, path, true, &f->err));
    OK(schema_migrate(&db, good, 1, &f->err));
    REFUSED(MOAT_E_STORAGE_FAILED, schema_migrate(&db, bad, 3, &f->err));
    assert_non_null(strstr(f->err.message, "nowhere"));
    OK(db_number(&db, &f->err, -1, &n, "SELECT count(*) FROM sqlite_schema", ""));
    assert_int_equal(n, 1);
    OK(schema_migrate(&db, good, 2, &f->err));
    OK(db_number(&db, &f->err, -1, &n, "SELECT x FROM two", ""));
    assert_int_equal(n, 2);
    OK(schema_migrate(&db, good, 2, &f->err)); /* nothing to do */
    REFUSED(MOAT_E_STORAGE_FAILED, schema_migrate(&db, good, 1, &f->err));
    db_close(&db);
}

/* ---- the packages' directory ---- */

static void write_file(struct fixture *f, const char *name)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s", f->place.packages, name);
    OK(io_replace_file(path, "x", 1, 0600, &f->err));
}

#define STRAY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define STATE \
    "key acme 7\nplugin alpha of acme, 1 versions, current 1.0.0\n 1.0.0 70 current\n" \
    "file 46\nfile no\n"

static void what_a_dead_run_left_is_collected_at_open_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    write_file(f, "stage/.stage-abcdef");
    write_file(f, "stage/" STRAY);
    write_file(f, "sha256/" STRAY ".moat");
    write_file(f, "stage/464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465"); /* it is wanted */
    write_file(f, "sha256/notes.txt");
    reopen(f);
    assert_described(f, STATE);
    assert_false(is_there(f, "stage/.stage-abcdef") || is_there(f, "stage/" STRAY));
    assert_true(is_there(f, "sha256/" ALPHA));
}

/* The first release knew no marks: where it was, all packages are looked through once. */
static void strays_of_the_first_release_are_collected(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    char stage[400];
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    write_file(f, "sha256/" STRAY ".moat");
    write_file(f, "sha256/.stage-abcdef");
    write_file(f, "sha256/notes.txt");
    reopen(f);
    assert_true(is_there(f, "sha256/" STRAY ".moat")); /* nobody marked it */
    snprintf(stage, sizeof stage, "%s/stage", f->place.packages);
    OK(rmdir(stage));
    reopen(f);
    assert_described(f, STATE);
}

static void mending_makes_the_search_anew_and_collects_every_stray(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    struct registry_command c = {.verb = REGISTRY_MEND};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    OK(registry_run(f->r, &c, &f->err));
    assert_false(c.mend.searched);
    assert_int_equal(c.mend.collected, 0);
    write_file(f, "sha256/" STRAY ".moat");
    write_file(f, "sha256/notes.txt");
    sqlite3_exec(f->r->writer.handle, "DELETE FROM search", NULL, NULL, NULL);
    OK(registry_run(f->r, &c, &f->err));
    assert_true(c.mend.searched);
    assert_int_equal(c.mend.collected, 1);
    OK(registry_run(f->r, &c, &f->err));
    assert_false(c.mend.searched);
    assert_described(f, STATE);
}

static void put_finding(void *context, const struct registry_finding *finding)
{
    if (!finding->good)
        buf_printf(context, "%s: %s %s %s; %s\n", finding->what, finding->plugin ? finding->plugin : "",
                   finding->version ? finding->version : "", finding->detail, finding->cure);
}

static void assert_found(struct fixture *f, const char *expected)
{
    struct registry_reader *reader;
    buf_auto text = BUF_INIT(1 << 16);
    OK(registry_reader_new(f->r, &reader, &f->err));
    OK(registry_check(reader, put_finding, &text, &f->err));
    if (!strstr(buf_text(&text), expected) || (!*expected && text.len))
        fail_msg("\"%s\" is not in: %s", expected, buf_text(&text));
    registry_reader_free(reader);
}

/* Packages here have made-up hashes: what the check computes differs for each. */
static void a_deep_check_names_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    char path[500];
    assert_found(f, "");
    OK(sample_trust(f->r, "acme", 1, &f->err));
    assert_found(f, "");
    OK(sample_install(f->r, &one, &f->err));
    assert_found(f, "packages: alpha 1.0.0 its package has other bytes than were installed; install the same");
    snprintf(path, sizeof path, "%s/sha256/" ALPHA, f->place.packages);
    OK(unlink(path));
    assert_found(f, "packages: alpha 1.0.0 its package is missing; install the same");
    sqlite3_exec(f->r->writer.handle, "DELETE FROM search", NULL, NULL, NULL);
    assert_found(f, "search:   1 plugins are wrong in it");
    sqlite3_exec(f->r->writer.handle, "UPDATE audit SET actor = 'x' WHERE seq = 1", NULL, NULL, NULL);
    assert_found(f, "audit trail:   record 1 was changed");
    sqlite3_exec(f->r->writer.handle, "PRAGMA foreign_keys=OFF; DELETE FROM key", NULL, NULL, NULL);
    assert_found(f, "references:   1 faults: version row 1 refers to no");
}

static void packages_of_another_registry_are_left_alone(void **state)
{
    struct fixture *f = *state;
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    struct registry *other;
    char dir[400];
    snprintf(dir, sizeof dir, "%s/elsewhere", f->place.dir);
    REFUSED(MOAT_E_WRONG_STATE, registry_open(dir, f->place.packages, &other, &f->err));
    assert_non_null(strstr(f->err.message, "another registry"));
    assert_described(f, "key acme 7\nplugin alpha of acme, 1 versions, current 1.0.0\n 1.0.0 70 current\nfile 46\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(what_is_written_is_there_after_reopening),
        T(a_name_belongs_to_its_first_publisher_even_when_uninstalled),
        T(a_version_never_changes),
        T(a_damaged_version_is_mended_by_the_same_bytes),
        T(keys_that_are_unknown_or_revoked_install_nothing),
        T(a_refusal_and_a_grant_take_each_others_place),
        T(uninstall_keeps_the_current_one_of_several),
        T(lists_filter_and_page),
        T(waiting_commands_share_one_transaction),
        T(the_epoch_tells_of_every_change_but_what_is_wanted),
        T(a_full_disk_is_an_error_and_changes_nothing),
        T(newer_and_foreign_files_are_refused),
        T(a_read_only_directory_is_an_error),
        T(migration_is_all_or_nothing),
        T(what_a_dead_run_left_is_collected_at_open_and_nothing_else),
        T(strays_of_the_first_release_are_collected),
        T(mending_makes_the_search_anew_and_collects_every_stray),
        T(a_deep_check_names_what_is_wrong),
        T(packages_of_another_registry_are_left_alone),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
