/* broker.sqlite_point: one row by its key, as a plugin's query of its own database, from the plugin's call of the
 * service to the rows in its hands.  Reference: the same query in one process, with the statement prepared, and one
 * bare round trip between two processes that both poll, each of the same run. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench.h"
#include "broker_parts.h"
#include "call_floor.h"
#include "moat/moat.h"

#define ROUNDS 15
#define QUERIES 3000
#define KEYS 1000
#define POINT "SELECT name FROM item WHERE id = ?"

static const char fill[] = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT);"
                           "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 1000) "
                           "INSERT INTO item SELECT n, 'name of ' || n FROM c";

/* ---- in one process ---- */

static sqlite3 *db;
static sqlite3_stmt *stmt;

static void open_own(const char *home)
{
    char path[300];
    snprintf(path, sizeof path, "%s/bare.db", home);
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, fill, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v3(db, POINT, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) != SQLITE_OK)
        bench_die("SQLite: %s", sqlite3_errmsg(db));
}

static void query_own(int key, char out[64])
{
    sqlite3_bind_int(stmt, 1, key);
    if (sqlite3_step(stmt) != SQLITE_ROW)
        bench_die("SQLite: %s", sqlite3_errmsg(db));
    snprintf(out, 64, "%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_reset(stmt);
}

static double own_ns(void)
{
    struct samples s = {0};
    char name[64];
    for (int i = -QUERIES / 5; i < QUERIES; i++) {
        uint64_t before = clock_mono_ns();
        query_own(abs(i) * 7919 % KEYS + 1, name);
        if (i >= 0)
            samples_add(&s, (double)(clock_mono_ns() - before));
    }
    double p50 = samples_percentile(&s, 50);
    samples_clear(&s);
    return p50;
}

static double trip_ns(void)
{
    struct samples s = {0};
    for (int i = -QUERIES / 5; i < QUERIES; i++) {
        uint64_t before = clock_mono_ns();
        floor_spin(NULL);
        if (i >= 0)
            samples_add(&s, (double)(clock_mono_ns() - before));
    }
    floor_rest();
    double p50 = samples_percentile(&s, 50);
    samples_clear(&s);
    return p50;
}

/* ---- as a plugin ---- */

static char *call(struct moat *m, const char *action, const char *parameters)
{
    struct moat_call_data c = {.size = sizeof c,
                               .plugin = "querier",
                               .action = action,
                               .parameters = parameters,
                               .parameters_len = strlen(parameters)};
    if (moat_call(m, &c))
        bench_die("querier %s: %s", action, c.error.message);
    char *copy = strndup(c.result, c.result_len);
    moat_free(c.result);
    return copy ? copy : (bench_die("no memory"), NULL);
}

static double number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (!at)
        bench_die("%s is not in %s", name, text);
    return strtod(at + strlen(name), NULL);
}

static void measure(struct moat *m, struct samples *values, struct samples *p99, struct samples *references,
                    struct samples *ratios)
{
    char parameters[256];
    snprintf(parameters, sizeof parameters, "{\"source\":\"private\",\"sql\":\"%s\",\"count\":%d,\"keys\":%d}", POINT,
             QUERIES, KEYS);
    for (int i = 0; i < ROUNDS; i++) {
        double reference = own_ns() + trip_ns();
        char *told = call(m, "time", parameters);
        double value = number_after(told, "\"p50\":");
        samples_add(values, value);
        samples_add(p99, number_after(told, "\"p99\":"));
        samples_add(references, reference);
        samples_add(ratios, value / reference);
        free(told);
    }
}

void broker_sql(void)
{
    char home[256];
    struct samples values = {0}, p99 = {0}, references = {0}, ratios = {0};
    static const char *const grants[] = {"database_write=private"};
    floor_start();
    bench_home(home);
    struct moat *m = bench_open(home);
    bench_install_granted(m, "querier", grants, 1);
    free(call(m, "run",
              "{\"source\":\"private\",\"steps\":["
              "{\"sql\":\"CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)\"},"
              "{\"sql\":\"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 1000) "
              "INSERT INTO item SELECT n, 'name of ' || n FROM c\"}]}"));
    open_own(home);
    measure(m, &values, &p99, &references, &ratios);
    double p50 = samples_percentile(&values, 50) / 1e3;
    figure_print(&(struct figure){.name = "broker.sqlite_point",
                                  .unit = "us",
                                  .value = p50,
                                  .p50 = p50,
                                  .p99 = samples_percentile(&p99, 50) / 1e3,
                                  .reference = "in-process query + floor.spin",
                                  .reference_value = samples_percentile(&references, 50) / 1e3,
                                  .ratio = samples_percentile(&ratios, 50)});
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    moat_close(m);
    floor_stop();
    bench_cleanup(home);
}
