#include "rig.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

static void refused(void *context, const struct sql_user *user, const char *operation)
{
    struct rig *r = context;
    unsigned n = r->nrefused;
    if (n < 8)
        snprintf(r->refused[n], sizeof r->refused[n], "%s", operation);
    r->nrefused = n + 1;
    assert_string_equal(user->plugin, "tester");
}

static struct spawner *the_spawner(void *context)
{
    return ((struct rig *)context)->spawner;
}

struct rig *rig_new(void)
{
    struct error err;
    struct rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    snprintf(r->directory, sizeof r->directory, "/tmp/moat-sql-XXXXXX");
    assert_non_null(mkdtemp(r->directory));
    snprintf(r->database, sizeof r->database, "%s/test.db", r->directory);
    if (spawner_start(getenv("WORKER"), getenv("HELPER"), &r->spawner, &err) != 0)
        fail_msg("%s", err.message);
    struct sql_config config = {.refused = refused, .spawner = the_spawner, .context = r};
    assert_int_equal(sql_keeper_new(&config, &r->keeper, &err), 0);
    r->seats = seat_file();
    assert_true(r->seats >= 0);
    r->start = (struct sql_start){.memory = 32 << 20,
                                  .statement_ns = 5 * NS_PER_S,
                                  .transaction_ns = 5 * NS_PER_S,
                                  .idle_ns = 60 * NS_PER_S,
                                  .rows_max = 10000};
    return r;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)flag;
    (void)at;
    return remove(path);
}

void rig_free(struct rig *r)
{
    sql_keeper_free(r->keeper);
    seat_unmap(r->seat);
    close(r->seats);
    spawner_stop(r->spawner);
    nftw(r->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(r);
}

int rig_place(struct rig *r, const char *name, bool write, struct spawner *spawner, struct seat_told *out,
              struct error *err)
{
    struct sql_source source = {
        .kind = SQL_SQLITE, .name = name, .place = r->database, .own = true, .database_max = 4 << 20};
    struct sql_opening o = {
        .user = {.plugin = "tester", .version = "1.0.0", .source = name, .worker = 7, .write = write},
        .seats = r->seats,
        .start = r->start,
        .spawner = spawner};
    if (sql_source_open(&source, &o, err) < 0)
        fail_msg("%s", err->message);
    int rc = sql_open(r->keeper, &o, out, err);
    sql_source_close(&o);
    return rc;
}

void rig_open(struct rig *r, bool write)
{
    struct error err;
    struct seat_told place;
    if (rig_place(r, "test", write, r->spawner, &place, &err) < 0)
        fail_msg("%s", err.message);
    seat_unmap(r->seat);
    r->seat = seat_map(r->seats, place.seat);
    r->serial = place.serial;
    assert_non_null(r->seat);
}

bool rig_ask(struct rig *r, enum seat_op op, const char *sql, const char *params, unsigned max_rows)
{
    struct seat_request q = {.op = op,
                             .max_rows = max_rows,
                             .sql_len = (uint32_t)strlen(sql),
                             .params_len = (uint32_t)strlen(params),
                             .serial = r->serial};
    char *at = seat_request_at(r->seat);
    memcpy(at, sql, q.sql_len + 1);
    memcpy(at + q.sql_len + 1, params, q.params_len + 1);
    r->text[0] = '\0';
    if (!seat_ask(r->seat, &q) ||
        seat_wait(r->seat, &r->spin, clock_mono_ns() + 20 * NS_PER_S, &r->answer) != SEAT_ANSWERED)
        return false;
    assert_true(r->answer.len <= SEAT_ANSWER_MAX);
    memcpy(r->text, seat_answer_at(r->seat), r->answer.len);
    r->text[r->answer.len] = '\0';
    return true;
}

void rig_rows(struct rig *r, const char *sql, const char *params, const char *expected)
{
    if (!rig_ask(r, SEAT_QUERY, sql, params, 0))
        fail_msg("%s: no answer", sql);
    if (r->answer.code != SEAT_DONE)
        fail_msg("%s: %s: %s", sql, seat_code_name(r->answer.code), r->text);
    if (!strstr(r->text, expected))
        fail_msg("%s: %s, not %s", sql, r->text, expected);
}

void rig_code(struct rig *r, const char *sql, const char *params, enum seat_code code, const char *words)
{
    if (!rig_ask(r, SEAT_QUERY, sql, params, 0))
        fail_msg("%s: no answer", sql);
    if (r->answer.code != (unsigned)code || !strstr(r->text, words))
        fail_msg("%s: %s: %s, not %s: %s", sql, seat_code_name(r->answer.code), r->text, seat_code_name(code), words);
}

void rig_wait_helpers(struct rig *r, size_t n)
{
    for (int i = 0; i < 1000 && sql_helpers(r->keeper) != n; i++)
        usleep(10000);
    assert_int_equal(sql_helpers(r->keeper), n);
}
