/* Queries in SQLite through a walled helper: what they give, what they may not do, and what becomes of them. */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static int set_up(void **state)
{
    *state = rig_new();
    return 0;
}

static int tear_down(void **state)
{
    rig_free(*state);
    return 0;
}

static void rows_come_as_json(void **state)
{
    struct rig *r = *state;
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)", "",
             "{\"columns\":[],\"rows\":[],\"changes\":0,\"more\":false}");
    rig_rows(r, "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)", "[1, \"zwei \\u20ac \\\"\", null, 2.5]", "\"changes\":2");
    rig_rows(r, "SELECT id, a, b FROM t", "[]",
             "{\"columns\":[\"id\",\"a\",\"b\"],\"rows\":[[1,1,\"zwei \xe2\x82\xac \\\"\"],[2,null,2.5]]");
    rig_rows(r, "SELECT ?, ?, ?", "[true, {\"base64\":\"AP8Q\"}, -9223372036854775808]",
             "[[1,{\"base64\":\"AP8Q\"},-9223372036854775808]]");
    rig_rows(r, "SELECT 9e999, -9e999, 0.1, 1e21, 3.0, x'', ''", "",
             "[[9e999,-9e999,0.1,1e+21,3.0,{\"base64\":\"\"},\"\"]]");
    rig_rows(r, "SELECT CAST(x'41c3' AS TEXT), char(0x1f, 9)", "", "[[\"A\xef\xbf\xbd\",\"\\u001f\\t\"]]");
    rig_rows(r, "INSERT INTO t (a) VALUES (7) RETURNING id", "", "{\"columns\":[\"id\"],\"rows\":[[3]],\"changes\":1");
    rig_rows(r, "UPDATE t SET b = 0", "", "\"changes\":3");
}

static void parameters_are_checked(void **state)
{
    struct rig *r = *state;
    rig_open(r, false);
    static const char *const bad[] = {
        "{}", "[", "[[1]]", "[{\"base64\":\"A\"}]", "[{\"hex\":\"00\"}]", "[\"\\u0000\"]", "[\"\\ud800\"]", "[1] x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        rig_code(r, "SELECT ?", bad[i], SEAT_PARAMETERS, "param");
    rig_code(r, "SELECT ?", "[1, 2]", SEAT_PARAMETERS, "has 1 parameters, and 2 are given");
    rig_code(r, "SELECT ?", "", SEAT_PARAMETERS, "and 0 are given");
    rig_code(r, "SELEC 1", "", SEAT_SQL, "syntax error");
    rig_code(r, "", "", SEAT_SQL, "no statement");
    rig_code(r, " -- nothing\n", "", SEAT_SQL, "no statement");
}

static void reading_stays_reading(void **state)
{
    struct rig *r = *state;
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (a)", "", "");
    rig_rows(r, "CREATE INDEX i ON t (a)", "", "");
    rig_rows(r, "INSERT INTO t VALUES (1)", "", "");
    rig_open(r, false);
    rig_rows(r, "SELECT a FROM t", "", "[[1]]");
    static const char *const writes[] = {"INSERT INTO t VALUES (2)",
                                         "UPDATE t SET a = 2",
                                         "DELETE FROM t",
                                         "CREATE TABLE u (a)",
                                         "DROP TABLE t",
                                         "ALTER TABLE t ADD COLUMN b",
                                         "REINDEX",
                                         "ANALYZE",
                                         "PRAGMA user_version = 1",
                                         "CREATE VIRTUAL TABLE f USING fts5(a)",
                                         "WITH x(a) AS (SELECT 1) INSERT INTO t SELECT a FROM x"};
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++)
        rig_code(r, writes[i], "", SEAT_DENIED, "only reading is granted");
    rig_rows(r, "SELECT count(*), max(a) FROM t", "", "[[1,1]]");
}

/* None of them works, whatever the right; and the database is as it was. */
static void attacks_are_refused(void **state)
{
    struct rig *r = *state;
    char attach[256], into[256];
    static const char *const attacks[] = {
        "SELECT load_extension('/tmp/x.so')",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('/tmp/x', 'y')",
        "SELECT edit('x')",
        "SELECT fts3_tokenizer('simple')",
        "DETACH main",
        "PRAGMA writable_schema = 1",
        "PRAGMA journal_mode = off",
        "PRAGMA journal_mode = wal",
        "PRAGMA locking_mode = exclusive",
        "PRAGMA temp_store_directory = '/tmp'",
        "PRAGMA mmap_size = 1000000",
        "PRAGMA max_page_count = 1000000000",
        "PRAGMA trusted_schema = 1",
        "PRAGMA query_only = 0",
        "PRAGMA hard_heap_limit = 0",
        "PRAGMA wal_checkpoint",
        "PRAGMA database_list",
        "PRAGMA module_list",
        "SELECT * FROM pragma_database_list",
        "CREATE TEMP TABLE x (a)",
        "CREATE VIRTUAL TABLE x USING csv(filename='/etc/passwd')",
        "CREATE VIRTUAL TABLE x USING fts4(a)",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE t",
        "SELECT 1;;/* */ ; ATTACH ':memory:' AS x",
        "VACUUM",
    };
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (a)", "", "");
    snprintf(attach, sizeof attach, "ATTACH '%s/other.db' AS other", r->directory);
    snprintf(into, sizeof into, "VACUUM INTO '%s/other.db'", r->directory);
    rig_code(r, attach, "", SEAT_REFUSED, "ATTACH");
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        assert_true(rig_ask(r, SEAT_QUERY, attacks[i], "", 0));
        if (r->answer.code != SEAT_REFUSED && r->answer.code != SEAT_SQL)
            fail_msg("%s: %s: %s", attacks[i], seat_code_name(r->answer.code), r->text);
    }
    assert_true(rig_ask(r, SEAT_QUERY, into, "", 0));
    assert_int_not_equal(r->answer.code, SEAT_DONE);
    char other[128];
    snprintf(other, sizeof other, "%s/other.db", r->directory);
    assert_int_equal(access(other, F_OK), -1);
    rig_code(r, "UPDATE sqlite_schema SET sql = ''", "", SEAT_SQL, "may not be modified");
    rig_rows(r, "SELECT count(*) FROM t", "", "[[0]]");
    for (int i = 0; i < 500 && r->nrefused < 2; i++)
        usleep(10000);
    assert_true(r->nrefused >= 2);
    assert_string_equal(r->refused[0], "ATTACH");
    assert_string_equal(r->refused[1], "DETACH");
}

static void bombs_end(void **state)
{
    struct rig *r = *state;
    r->start.statement_ns = 300 * NS_PER_MS;
    rig_open(r, true);
    uint64_t before = clock_mono_ns();
    rig_code(r, "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c", "", SEAT_TIME,
             "too long");
    assert_true(clock_mono_ns() - before < 10 * NS_PER_S);
    rig_code(r, "SELECT zeroblob(1000000000)", "", SEAT_TOO_LARGE, "larger than");
    rig_code(r, "SELECT length(hex(randomblob(900000)) || hex(randomblob(900000)))", "", SEAT_TOO_LARGE, "larger than");
    rig_code(r, "SELECT zeroblob(900000)", "", SEAT_TOO_LARGE, "one row is larger");
    /* Sorting keeps all rows in memory: it has none. */
    assert_true(rig_ask(r, SEAT_QUERY,
                        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 2000) "
                        "SELECT n FROM c ORDER BY randomblob(100000)",
                        "", 0));
    assert_true(r->answer.code == SEAT_LIMIT || r->answer.code == SEAT_TIME);
    rig_rows(r, "SELECT 1", "", "[[1]]");
    rig_rows(r, "CREATE TABLE big (a)", "", "");
    for (int i = 0; i < 10 && r->answer.code == SEAT_DONE; i++)
        assert_true(rig_ask(r, SEAT_QUERY, "INSERT INTO big VALUES (zeroblob(900000))", "", 0));
    assert_int_equal(r->answer.code, SEAT_LIMIT);
    assert_non_null(strstr(r->text, "4 MiB"));
}

static void rows_come_in_pages(void **state)
{
    struct rig *r = *state;
    unsigned seen = 0;
    rig_open(r, false);
    assert_true(rig_ask(r, SEAT_QUERY,
                        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 10) SELECT n FROM c", "",
                        4));
    for (seen = 1; r->answer.flags & SEAT_FLAG_MORE; seen++) {
        assert_int_equal(r->answer.code, SEAT_DONE);
        assert_non_null(strstr(r->text, "\"more\":true"));
        assert_true(rig_ask(r, SEAT_MORE, "", "", 4));
    }
    assert_int_equal(seen, 3);
    assert_non_null(strstr(r->text, "[[9],[10]],\"changes\":0,\"more\":false"));
    assert_true(rig_ask(r, SEAT_MORE, "", "", 4));
    assert_int_equal(r->answer.code, SEAT_SQL);
    /* By bytes, too: no row is lost between two pages. */
    assert_true(rig_ask(r, SEAT_QUERY,
                        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 20) "
                        "SELECT n, hex(zeroblob(60000)) FROM c",
                        "", 0));
    unsigned rows = 0;
    for (;;) {
        assert_int_equal(r->answer.code, SEAT_DONE);
        for (const char *p = r->text; (p = strstr(p, ",\"0000")); p++)
            rows++;
        if (!(r->answer.flags & SEAT_FLAG_MORE))
            break;
        assert_true(rig_ask(r, SEAT_MORE, "", "", 0));
    }
    assert_int_equal(rows, 20);
}

/* A change that gives more rows than were asked for is not half done. */
static void changes_are_whole(void **state)
{
    struct rig *r = *state;
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (a)", "", "");
    assert_true(rig_ask(r, SEAT_QUERY, "INSERT INTO t VALUES (1), (2), (3) RETURNING a", "", 2));
    assert_int_equal(r->answer.code, SEAT_TOO_LARGE);
    rig_rows(r, "SELECT count(*) FROM t", "", "[[0]]");
    assert_true(rig_ask(r, SEAT_QUERY, "INSERT INTO t VALUES (1), (2), (3) RETURNING a", "", 3));
    assert_int_equal(r->answer.code, SEAT_DONE);
    rig_rows(r, "SELECT count(*) FROM t", "", "[[3]]");
}

static void a_transaction_ends_with_its_call(void **state)
{
    struct rig *r = *state;
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (a)", "", "");
    rig_rows(r, "BEGIN", "", "");
    assert_true(r->answer.flags & SEAT_FLAG_OPEN);
    rig_rows(r, "INSERT INTO t VALUES (1)", "", "\"changes\":1");
    assert_true(rig_ask(r, SEAT_END, "", "", 0));
    assert_int_equal(r->answer.flags, 0);
    rig_rows(r, "SELECT count(*) FROM t", "", "[[0]]");
    rig_rows(r, "BEGIN", "", "");
    rig_rows(r, "INSERT INTO t VALUES (1)", "", "");
    rig_rows(r, "COMMIT", "", "");
    assert_int_equal(r->answer.flags, 0);
    rig_rows(r, "SELECT count(*) FROM t", "", "[[1]]");
}

/* Who never says that his call has ended holds nobody up for long, and nothing runs outside of what was undone. */
static void a_transaction_ends_by_itself(void **state)
{
    struct rig *r = *state;
    r->start.transaction_ns = 100 * NS_PER_MS;
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (a)", "", "");
    rig_rows(r, "BEGIN IMMEDIATE", "", "");
    rig_rows(r, "INSERT INTO t VALUES (1)", "", "");
    for (int i = 0; i < 200; i++) { /* until it is refused: the helper has looked at its clock */
        usleep(20000 * (i > 4) + 30000);
        assert_true(rig_ask(r, SEAT_QUERY, "SELECT 1", "", 0));
        if (r->answer.code != SEAT_DONE)
            break;
        usleep(150000);
    }
    assert_int_equal(r->answer.code, SEAT_ENDED);
    rig_code(r, "INSERT INTO t VALUES (2)", "", SEAT_ENDED, "undone");
    assert_true(rig_ask(r, SEAT_END, "", "", 0));
    rig_rows(r, "SELECT count(*) FROM t", "", "[[0]]");
}

static bool keep(void *context, const struct sql_user *user)
{
    (void)user;
    return context != NULL;
}

/* Revoked while a query runs: it is over when the call returns, and nothing of it is done. */
static void an_end_is_an_end(void **state)
{
    struct rig *r = *state;
    struct error err;
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (a)", "", "");
    struct seat_request q = {.op = SEAT_QUERY, .serial = r->serial};
    const char *sql = "INSERT INTO t WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c";
    q.sql_len = (uint32_t)strlen(sql);
    memcpy(seat_request_at(r->seat), sql, q.sql_len + 1);
    seat_request_at(r->seat)[q.sql_len + 1] = '\0';
    assert_true(seat_ask(r->seat, &q));
    assert_int_equal(sql_end(r->keeper, keep, r, NS_PER_S, &err), 0); /* one that is to be kept is kept */
    assert_int_equal(sql_helpers(r->keeper), 1);
    assert_int_equal(sql_end(r->keeper, keep, NULL, 5 * NS_PER_S, &err), 0);
    assert_int_equal(sql_helpers(r->keeper), 0);
    assert_int_equal(seat_wait(r->seat, &r->spin, clock_mono_ns() + NS_PER_S, &r->answer), SEAT_NO_MORE);
    assert_true(seat_closed(r->seat));
    rig_open(r, false); /* which puts back what the killed one had begun */
    rig_rows(r, "SELECT count(*) FROM t", "", "[[0]]");
}

static void post(struct rig *r, const char *sql)
{
    struct seat_request q = {.op = SEAT_QUERY, .serial = r->serial, .sql_len = (uint32_t)strlen(sql)};
    memcpy(seat_request_at(r->seat), sql, q.sql_len + 1);
    seat_request_at(r->seat)[q.sql_len + 1] = '\0';
    assert_true(seat_ask(r->seat, &q));
}

/* At whatever moment it is ended: what was answered is there, what was not is there whole or not at all, and the file
 * is sound. */
static void an_end_at_every_moment(void **state)
{
    struct rig *r = *state;
    const char *seed = getenv("MOAT_SEED");
    unsigned random = seed ? (unsigned)strtoul(seed, NULL, 10) : 1, rounds = getenv("MOAT_LONG") ? 400 : 15;
    unsigned done = 0, perhaps = 0;
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (a)", "", "");
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = rand_r(&random) % 4u; i; i--, done++)
            rig_rows(r, "INSERT INTO t VALUES (zeroblob(2000))", "", "\"changes\":1");
        post(r, "INSERT INTO t VALUES (zeroblob(2000))");
        usleep((unsigned)rand_r(&random) % 2500u);
        assert_int_equal(sql_end(r->keeper, keep, NULL, 5 * NS_PER_S, NULL), 0);
        if (seat_wait(r->seat, &r->spin, clock_mono_ns() + NS_PER_S, &r->answer) == SEAT_ANSWERED)
            done += r->answer.code == SEAT_DONE;
        else
            perhaps++;
        rig_open(r, round % 2);
        rig_rows(r, "PRAGMA integrity_check", "", "[[\"ok\"]]");
        rig_rows(r, "SELECT count(*) FROM t", "", "");
        unsigned count = (unsigned)strtoul(strstr(r->text, "[[") + 2, NULL, 10);
        if (count < done || count > done + perhaps)
            fail_msg("round %u: %u rows, %u were answered, %u perhaps", round, count, done, perhaps);
        perhaps = 0;
        done = count;
        rig_open(r, true);
    }
}

static void an_idle_one_leaves(void **state)
{
    struct rig *r = *state;
    r->start.idle_ns = 50 * NS_PER_MS;
    rig_open(r, false);
    rig_rows(r, "SELECT 1", "", "[[1]]");
    rig_wait_helpers(r, 0);
    assert_true(seat_closed(r->seat));
    assert_false(rig_ask(r, SEAT_QUERY, "SELECT 1", "", 0));
    sql_worker_gone(r->keeper, 7);
}

/* A worker that lies in the channel harms itself. */
static void lies_are_answered(void **state)
{
    struct rig *r = *state;
    static const struct seat_request lies[] = {
        {.op = 0},
        {.op = 77, .sql_len = 3},
        {.op = SEAT_QUERY, .sql_len = UINT32_MAX},
        {.op = SEAT_QUERY, .params_len = UINT32_MAX, .sql_len = 8},
        {.op = SEAT_QUERY, .sql_len = SEAT_SQL_MAX + 1},
        {.op = SEAT_MORE, .max_rows = UINT32_MAX, .sql_len = SEAT_SQL_MAX},
        {.op = SEAT_END, .deadline = 1},
        {.op = SEAT_QUERY, .sql_len = 8, .deadline = 1},
    };
    rig_open(r, true);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        memset(seat_request_at(r->seat), 0xff, SEAT_REQUEST);
        memcpy(seat_request_at(r->seat), "SELECT 1", 9);
        struct seat_request lie = lies[i];
        lie.serial = r->serial;
        assert_true(seat_ask(r->seat, &lie));
        assert_int_equal(seat_wait(r->seat, &r->spin, clock_mono_ns() + 10 * NS_PER_S, &r->answer), SEAT_ANSWERED);
        assert_true(r->answer.len <= SEAT_ANSWER_MAX && r->answer.code < SEAT_CODE_COUNT);
    }
    rig_rows(r, "SELECT 1", "", "[[1]]");
    /* The turn itself: nobody is hung up by it for ever. */
    atomic_store(&r->seat->turn, 77);
    assert_int_equal(sql_end(r->keeper, keep, NULL, 5 * NS_PER_S, NULL), 0);
}

static void others_use_the_database_too(void **state)
{
    struct rig *r = *state;
    char journal[160];
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (a)", "", "");
    /* Another program ends its transaction by removing the journal. */
    snprintf(journal, sizeof journal, "%s-journal", r->database);
    assert_int_equal(unlink(journal), 0);
    assert_true(rig_ask(r, SEAT_QUERY, "INSERT INTO t VALUES (1)", "", 0));
    assert_int_equal(r->answer.code, SEAT_STALE);
    rig_wait_helpers(r, 0);
    rig_open(r, true);
    rig_rows(r, "INSERT INTO t VALUES (1)", "", "\"changes\":1");
    rig_rows(r, "SELECT count(*) FROM t", "", "[[1]]");
}

static void what_is_no_database_says_so(void **state)
{
    struct rig *r = *state;
    int fd = open(r->database, O_WRONLY | O_CREAT, 0600);
    char page[8192];
    memset(page, 'x', sizeof page);
    assert_true(write(fd, page, sizeof page) == (ssize_t)sizeof page);
    close(fd);
    rig_open(r, false);
    rig_code(r, "SELECT * FROM sqlite_schema", "", SEAT_UNAVAILABLE, "not a database");
}

/* Who had the seat before still thinks of it: an open one that nobody serves would cost its call all its time. */
static void a_seat_that_nobody_serves_is_closed(void **state)
{
    struct rig *r = *state;
    struct error err;
    struct spawner *without;
    struct seat_told place;
    assert_int_equal(spawner_start(getenv("WORKER"), NULL, &without, &err), 0);
    rig_open(r, true);
    rig_rows(r, "SELECT 1", "", "[[1]]");
    sql_worker_gone(r->keeper, 7);
    rig_wait_helpers(r, 0);
    assert_true(seat_closed(r->seat));
    int rc = rig_place(r, "other", true, without, &place, &err);
    spawner_stop(without);
    assert_true(rc < 0);
    assert_true(seat_closed(r->seat));
}

/* A seat is given to another source while its worker still thinks of the one before: the statement is not run there,
 * whatever it is, and what has one serial does not answer to another. */
static void a_statement_never_runs_in_another_source(void **state)
{
    struct rig *r = *state;
    struct error err;
    struct seat_told others[SEATS];
    rig_open(r, true);
    rig_rows(r, "CREATE TABLE t (a)", "", "");
    for (unsigned i = 0; i < SEATS; i++) {
        const char *const names[SEATS] = {"b", "c", "d", "e"};
        assert_int_equal(rig_place(r, names[i], true, r->spawner, &others[i], &err), 0);
        assert_true(others[i].serial > r->serial && (!i || others[i].serial > others[i - 1].serial));
    }
    assert_int_equal(sql_helpers(r->keeper), SEATS); /* the first one had to leave, for the last of them */
    rig_code(r, "INSERT INTO t VALUES (1)", "", SEAT_STRANGER, "another has its seat");
    rig_code(r, "BEGIN", "", SEAT_STRANGER, "another has its seat");
    assert_int_equal(r->answer.flags, 0);
    r->serial = others[SEATS - 1].serial;
    rig_rows(r, "SELECT count(*) FROM t", "", "[[0]]");
    /* The end of one is not the end of the worker's others. */
    sql_close(r->keeper, others[0].serial);
    rig_wait_helpers(r, SEATS - 1);
    rig_rows(r, "SELECT count(*) FROM t", "", "[[0]]");
}

/* What the last helper answered is not the answer to what its successor was never asked. */
static void an_old_answer_is_none(void **state)
{
    struct rig *r = *state;
    rig_open(r, true);
    rig_rows(r, "SELECT 'old'", "", "old");
    atomic_store(&r->seat->turn, SEAT_IDLE);
    struct seat_request q = {.op = SEAT_QUERY, .serial = r->serial + 1, .sql_len = SEAT_SQL_MAX + 1};
    struct seat *mine = r->seat;
    sql_close(r->keeper, r->serial);
    rig_wait_helpers(r, 0);
    atomic_store(&mine->turn, SEAT_IDLE);
    assert_true(seat_ask(mine, &q)); /* of nobody */
    seat_open(mine);
    assert_int_equal(seat_wait(mine, &r->spin, clock_mono_ns() + NS_PER_S, &r->answer), SEAT_NO_MORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(rows_come_as_json),
        T(parameters_are_checked),
        T(reading_stays_reading),
        T(attacks_are_refused),
        T(bombs_end),
        T(rows_come_in_pages),
        T(changes_are_whole),
        T(a_transaction_ends_with_its_call),
        T(a_transaction_ends_by_itself),
        T(an_end_is_an_end),
        T(an_end_at_every_moment),
        T(an_idle_one_leaves),
        T(a_seat_that_nobody_serves_is_closed),
        T(a_statement_never_runs_in_another_source),
        T(an_old_answer_is_none),
        T(lies_are_answered),
        T(others_use_the_database_too),
        T(what_is_no_database_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
