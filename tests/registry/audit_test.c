/* The audit trail: each change leaves one record, refusals are folded, and whatever is done to the records afterwards
 * is found. */
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

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    place_make(&f->place);
    if (place_open(&f->place, &f->r, &f->err) < 0 || registry_reader_new(f->r, &f->reader, &f->err) < 0)
        fail_msg("%s", f->err.message);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    registry_reader_free(f->reader);
    registry_close(f->r);
    place_remove(&f->place);
    free(f);
    return 0;
}

#define OK(call) assert_int_equal((call), 0)
#define REFUSED(code, call) assert_int_equal((call), -(code))

static bool put_record(void *context, const struct registry_audit_record *e)
{
    buf_printf(context, "%d %s %s %s %s %s x%d\n", (int)e->seq, e->actor, e->action, e->subject, e->outcome, e->detail,
               (int)e->count);
    return true;
}

static void assert_told(struct fixture *f, struct registry_audit_filter filter, const char *expected)
{
    buf_auto text = BUF_INIT(1 << 16);
    OK(registry_each_audit(f->reader, &filter, put_record, &text, &f->err));
    assert_string_equal(buf_text(&text), expected);
}

static struct registry_audit_check verify(struct fixture *f, const struct registry_audit_head *anchor)
{
    struct registry_audit_check check;
    OK(registry_audit_verify(f->reader, anchor, &check, &f->err));
    return check;
}

static void assert_whole(struct fixture *f, uint64_t records)
{
    struct registry_audit_check check = verify(f, NULL);
    assert_string_equal(check.problem, "");
    assert_int_equal(check.records, records);
}

/* Five records: trust, install, two decisions, a setting. */
static void make_some(struct fixture *f)
{
    struct sample_install one = {.name = "alpha", .version = "1.0.0", .key = 1, .bytes = 10};
    OK(sample_trust(f->r, "acme", 1, &f->err));
    OK(sample_install(f->r, &one, &f->err));
    OK(sample_decide(f->r, "alpha", 0, "/a\"b", false, &f->err));
    OK(sample_decide(f->r, "alpha", 1, "", true, &f->err));
    OK(sample_set(f->r, "pool", "2", &f->err));
}

#define KEY "0708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223242526"
#define HASH "464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465"

static void each_change_is_one_record(void **state)
{
    struct fixture *f = *state;
    make_some(f);
    OK(sample_trust(f->r, "acme", 1, &f->err)); /* the same again changes nothing */
    struct registry_command c = {.verb = REGISTRY_WANT, .want.wanted = REGISTRY_STOPPED, .actor = "token:3"};
    OK(registry_run(f->r, &c, &f->err));
    REFUSED(MOAT_E_NO_SUCH_PLUGIN, sample_use(f->r, "nothing", "1.0.0", &f->err));
    assert_told(f, (struct registry_audit_filter){0},
                "1 host trust.add acme ok {\"key\":\"" KEY "\"} x1\n"
                "2 host plugin.install alpha ok {\"version\":\"1.0.0\",\"sha256\":\"" HASH "\",\"key\":\"" KEY
                "\",\"current\":true} x1\n"
                "3 host grant.decide alpha ok {\"decisions\":[{\"permission\":0,\"scope\":\"/a\\\"b\"}]} x1\n"
                "4 host grant.decide alpha ok {\"decisions\":[{\"permission\":1,\"scope\":\"\",\"refused\":true}]} x1\n"
                "5 host setting.set pool ok {\"value\":\"2\"} x1\n"
                "6 token:3 plugin.want * ok {\"wanted\":\"stopped\"} x1\n");
    assert_told(f, (struct registry_audit_filter){.action = "plugin.", .newest_first = true, .before = 6},
                "2 host plugin.install alpha ok {\"version\":\"1.0.0\",\"sha256\":\"" HASH "\",\"key\":\"" KEY
                "\",\"current\":true} x1\n");
    assert_told(f, (struct registry_audit_filter){.actor = "token:3", .subject = "*", .after = 5, .outcome = "ok"},
                "6 token:3 plugin.want * ok {\"wanted\":\"stopped\"} x1\n");
    assert_told(f, (struct registry_audit_filter){.action = "plugin"}, "");
    assert_whole(f, 6);
}

static uint64_t refused(struct fixture *f, uint64_t *records)
{
    int64_t sum, n;
    OK(db_number(&f->reader->db, &f->err, 0, &sum, "SELECT ifnull(sum(count), 0) FROM audit WHERE outcome <> 'ok'",
                 ""));
    OK(db_number(&f->reader->db, &f->err, 0, &n, "SELECT count(*) FROM audit WHERE outcome <> 'ok'", ""));
    *records = (uint64_t)n;
    return (uint64_t)sum;
}

static void refusals_are_folded_and_all_counted(void **state)
{
    struct fixture *f = *state;
    struct sample_install thief = {.name = "alpha", .version = "2.0.0", .key = 2, .bytes = 20};
    uint64_t records;
    make_some(f);
    REFUSED(MOAT_E_UNKNOWN_KEY, sample_install(f->r, &thief, &f->err));
    for (int i = 0; i < 5000; i++)
        registry_refuse(f->r,
                        &(struct registry_refusal){
                            .actor = "token:1", .action = "execute", .subject = "beta", .code = MOAT_E_FORBIDDEN});
    OK(registry_flush(f->r, &f->err));
    assert_int_equal(refused(f, &records), 5001);
    assert_in_range(records, 2, 50); /* one a second, on however slow a machine */
    /* A flood of different ones keeps its number. */
    for (int i = 0; i < 3000; i++) {
        char subject[32];
        snprintf(subject, sizeof subject, "name_%d", i);
        registry_refuse(
            f->r, &(struct registry_refusal){.action = "execute", .subject = subject, .code = MOAT_E_UNAUTHORIZED});
    }
    OK(registry_flush(f->r, &f->err));
    assert_int_equal(refused(f, &records), 8001);
    assert_in_range(records, 3, 50 + 66 * 30);
    struct registry_audit_check check = verify(f, NULL);
    assert_string_equal(check.problem, "");
}

static void refusals_wait_no_longer_than_a_second_or_the_end(void **state)
{
    struct fixture *f = *state;
    uint64_t records;
    registry_refuse(f->r, &(struct registry_refusal){.action = "execute", .code = MOAT_E_FORBIDDEN});
    registry_reader_free(f->reader);
    registry_close(f->r);
    OK(place_open(&f->place, &f->r, &f->err));
    OK(registry_reader_new(f->r, &f->reader, &f->err));
    assert_int_equal(refused(f, &records), 1);
    registry_refuse(f->r, &(struct registry_refusal){.action = "execute", .code = MOAT_E_FORBIDDEN});
    for (int i = 0; i < 600 && refused(f, &records) < 2; i++)
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
    assert_int_equal(refused(f, &records), 2);
}

/* ---- whatever is done to it is found ---- */

static void run_sql(struct fixture *f, const char *sql)
{
    char *why = NULL;
    if (sqlite3_exec(f->r->writer.handle, sql, NULL, NULL, &why) != SQLITE_OK) /* the store thread is idle */
        fail_msg("%s: %s", sql, why);
}

static void every_edit_is_found(void **state)
{
    static const struct {
        const char *sql;
        int bad; /* the first bad record */
    } cases[] = {
        {"UPDATE audit SET time = time + 1 WHERE seq = 2", 2},
        {"UPDATE audit SET count = 2 WHERE seq = 1", 1},
        {"UPDATE audit SET actor = 'uid:0' WHERE seq = 3", 3},
        {"UPDATE audit SET call = 'x' WHERE seq = 3", 3},
        {"UPDATE audit SET action = 'trust.revoke' WHERE seq = 1", 1},
        {"UPDATE audit SET subject = 'alphb' WHERE seq = 4", 4},
        {"UPDATE audit SET outcome = 'OK' WHERE seq = 5", 5},
        {"UPDATE audit SET detail = '{}' WHERE seq = 5", 5},
        {"UPDATE audit SET detail = detail || x'00' || 'more' WHERE seq = 2", 2},
        {"UPDATE audit SET actor = actor || action, action = '' WHERE seq = 2", 2},
        {"UPDATE audit SET hash = randomblob(32) WHERE seq = 2", 2},
        {"DELETE FROM audit WHERE seq = 1", 1},
        {"DELETE FROM audit WHERE seq = 3", 3},
        {"DELETE FROM audit WHERE seq = 5", 5},
        {"DELETE FROM audit WHERE seq > 2", 3},
        {"DELETE FROM audit", 1},
        {"UPDATE audit SET seq = -seq; UPDATE audit SET seq = CASE seq WHEN -3 THEN 4 WHEN -4 THEN 3 ELSE -seq END", 3},
        {"UPDATE audit SET seq = seq + 1 WHERE seq = 5", 5},
        {"INSERT INTO audit SELECT 6, time, count, actor, call, action, subject, outcome, detail, hash FROM audit"
         " WHERE seq = 5",
         6},
        {"DELETE FROM audit WHERE seq = 5; UPDATE audit_head SET seq = 4", 4},
        {"UPDATE audit_head SET hash = randomblob(32)", 5},
        {"UPDATE audit_root SET hash = randomblob(32)", 1},
        {"INSERT INTO audit_root SELECT seq, hash, 1 FROM audit WHERE seq = 5", 6},
    };
    struct fixture *f = *state;
    make_some(f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        /* Each in a transaction that is taken back: the reader looks at the writer's connection. */
        struct registry_reader inside = {.registry = f->r, .db = f->r->writer};
        struct registry_audit_check check = {0};
        run_sql(f, "SAVEPOINT tamper");
        run_sql(f, cases[i].sql);
        int rc = audit_verify(&inside, NULL, &check, &f->err);
        f->r->writer = inside.db; /* with the statements that were prepared */
        run_sql(f, "ROLLBACK TO tamper; RELEASE tamper");
        if (rc < 0 || !check.problem[0] || (int)check.bad != cases[i].bad)
            fail_msg("%s: %d, \"%s\" of record %d", cases[i].sql, rc, check.problem, (int)check.bad);
    }
    assert_whole(f, 5);
}

/* Who can write the database can make a trail that is whole in itself; what was kept elsewhere tells. */
static void a_trail_that_was_made_anew_does_not_meet_its_anchor(void **state)
{
    struct fixture *f = *state;
    struct registry_audit_head anchor, none;
    make_some(f);
    OK(registry_audit_root(f->reader, &none, &f->err));
    OK(registry_audit_head(f->reader, &anchor, &f->err));
    OK(sample_set(f->r, "pool", "3", &f->err));
    assert_string_equal(verify(f, &anchor).problem, "");
    assert_string_equal(verify(f, &none).problem, "");
    run_sql(f, "DELETE FROM audit; UPDATE audit_head SET seq = 0, hash = (SELECT hash FROM audit_root)");
    registry_reader_free(f->reader);
    registry_close(f->r);
    OK(place_open(&f->place, &f->r, &f->err));
    OK(registry_reader_new(f->r, &f->reader, &f->err));
    assert_int_equal(verify(f, &anchor).bad, 1); /* it ends before the anchor */
    for (int i = 0; i < 6; i++)
        OK(sample_set(f->r, "other", i % 2 ? "1" : "2", &f->err));
    assert_whole(f, 6);
    struct registry_audit_check check = verify(f, &anchor);
    assert_int_equal(check.bad, 5);
    assert_non_null(strstr(check.problem, "rewritten"));
}

static void a_clock_that_jumps_back_is_told_and_breaks_nothing(void **state)
{
    struct fixture *f = *state;
    struct registry_audit_head head = f->r->head;
    static const uint64_t times[] = {5000, 6000, 1000, 7000, 0};
    for (size_t i = 0; i < 5; i++) {
        struct registry_audit_record e = {.time_ms = times[i],
                                          .count = 1,
                                          .actor = "host",
                                          .call = "",
                                          .action = "a",
                                          .subject = "b",
                                          .outcome = "ok",
                                          .detail = ""};
        OK(audit_append(&f->r->writer, &head, &e, &f->err));
    }
    OK(audit_save(&f->r->writer, &head, &f->err));
    f->r->head = head;
    struct registry_audit_check check = verify(f, NULL);
    assert_string_equal(check.problem, "");
    assert_int_equal(check.clock_back, 2);
    assert_int_equal(check.records, 5);
}

static void rotation_keeps_the_chain(void **state)
{
    struct fixture *f = *state;
    uint8_t hash[32], wrong[32] = {0};
    make_some(f);
    assert_int_equal(registry_audit_find_hash(f->reader, 3, hash, &f->err), 1);
    struct registry_command c = {.verb = REGISTRY_AUDIT_ROTATE,
                                 .audit_rotate = {.upto = 3, .hash = wrong, .file = "x"}};
    REFUSED(MOAT_E_WRONG_STATE, registry_run(f->r, &c, &f->err));
    c.audit_rotate.hash = hash;
    OK(registry_run(f->r, &c, &f->err));
    assert_whole(f, 3); /* 4, 5, and the rotation itself */
    struct registry_audit_head anchor = {.count = 3};
    memcpy(anchor.hash, hash, 32);
    assert_string_equal(verify(f, &anchor).problem, "");
    anchor.count = 2;
    assert_non_null(strstr(verify(f, &anchor).problem, "rotated out"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(each_change_is_one_record),
        T(refusals_are_folded_and_all_counted),
        T(refusals_wait_no_longer_than_a_second_or_the_end),
        T(every_edit_is_found),
        T(a_trail_that_was_made_anew_does_not_meet_its_anchor),
        T(a_clock_that_jumps_back_is_told_and_breaks_nothing),
        T(rotation_keeps_the_chain),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
