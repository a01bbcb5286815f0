/* Counters: what happened to each version on each day, and in all.  Gathered in memory, written once a second. */
#include <string.h>

#include "registry/internal.h"

#define MS_PER_HOUR (60ull * 60 * 1000)
#define MS_PER_DAY (24 * MS_PER_HOUR)

/* Of a plugin's hours so many are kept: nine weeks. What is older goes when a new hour begins. */
static int hour_begin(struct db *db, const struct registry_count *c, int64_t hour, struct error *err)
{
    int rc = db_run(db, err,
                    "INSERT INTO hour (plugin, hour, calls, errors) SELECT id, ?2, ?3, ?4 FROM plugin WHERE name = ?1",
                    "tiii", c->plugin, hour, (int64_t)c->n.calls, (int64_t)c->n.errors);
    if (rc < 0)
        return rc;
    return db_run(db, err, "DELETE FROM hour WHERE plugin = (SELECT id FROM plugin WHERE name = ?1) AND hour <= ?2",
                  "ti", c->plugin, hour - REGISTRY_HOURS);
}

static int hour_add(struct db *db, const struct registry_count *c, uint64_t now_ms, struct error *err)
{
    int64_t hour = (int64_t)(now_ms / MS_PER_HOUR);
    if (!c->n.calls)
        return 0;
    int rc = db_run(db, err,
                    "UPDATE hour SET calls = calls + ?3, errors = errors + ?4"
                    " WHERE plugin = (SELECT id FROM plugin WHERE name = ?1) AND hour = ?2",
                    "tiii", c->plugin, hour, (int64_t)c->n.calls, (int64_t)c->n.errors);
    return rc < 0 || sqlite3_changes(db->handle) ? rc : hour_begin(db, c, hour, err);
}

/* Day 0 is the sum of all days. A name that is gone takes its counters with it. */
int counter_add(struct db *db, const struct registry_count *c, uint64_t now_ms, struct error *err)
{
    const int64_t days[] = {0, (int64_t)(now_ms / MS_PER_DAY)};
    int rc = 0;
    for (size_t i = 0; i < 2 && rc == 0; i++)
        rc = db_run(db, err,
                    "INSERT INTO counter (plugin, version, day, installs, downloads, loads, calls, errors, last_call)"
                    " SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM plugin WHERE name = ?1"
                    " ON CONFLICT DO UPDATE SET installs = installs + excluded.installs,"
                    " downloads = downloads + excluded.downloads, loads = loads + excluded.loads,"
                    " calls = calls + excluded.calls, errors = errors + excluded.errors,"
                    " last_call = max(last_call, excluded.last_call)",
                    "ttiiiiiii", c->plugin, c->version, days[i], (int64_t)c->n.installs, (int64_t)c->n.downloads,
                    (int64_t)c->n.loads, (int64_t)c->n.calls, (int64_t)c->n.errors, (int64_t)c->n.last_call_ms);
    if (rc == 0)
        rc = db_run(db, err,
                    "UPDATE counter_total SET installs = installs + ?, downloads = downloads + ?, loads = loads + ?,"
                    " calls = calls + ?, errors = errors + ?, last_call = max(last_call, ?)",
                    "iiiiii", (int64_t)c->n.installs, (int64_t)c->n.downloads, (int64_t)c->n.loads, (int64_t)c->n.calls,
                    (int64_t)c->n.errors, (int64_t)c->n.last_call_ms);
    return rc < 0 ? rc : hour_add(db, c, now_ms, err);
}

int starts_add(struct db *db, const struct registry_starts *more, uint64_t now_ms, struct error *err)
{
    int64_t hour = (int64_t)(now_ms / MS_PER_HOUR);
    int rc = db_run(db, err,
                    "INSERT INTO start (hour, starts, most) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE"
                    " SET starts = starts + excluded.starts, most = max(most, excluded.most)",
                    "iii", hour, (int64_t)more->starts, (int64_t)more->most);
    return rc < 0 ? rc : db_run(db, err, "DELETE FROM start WHERE hour <= ?", "i", hour - REGISTRY_HOURS);
}

/* ---- reading ---- */

static void get_counts(sqlite3_stmt *row, int first, struct registry_counts *out)
{
    *out = (struct registry_counts){.installs = (uint64_t)sqlite3_column_int64(row, first),
                                    .downloads = (uint64_t)sqlite3_column_int64(row, first + 1),
                                    .loads = (uint64_t)sqlite3_column_int64(row, first + 2),
                                    .calls = (uint64_t)sqlite3_column_int64(row, first + 3),
                                    .errors = (uint64_t)sqlite3_column_int64(row, first + 4),
                                    .last_call_ms = (uint64_t)sqlite3_column_int64(row, first + 5)};
}

static int stored(struct registry_reader *reader, const char *name, const char *version, struct registry_counts *out,
                  struct error *err)
{
    sqlite3_stmt *row;
    int rc = name ? db_start(&reader->db, err, &row,
                             "SELECT ifnull(sum(installs), 0), ifnull(sum(downloads), 0), ifnull(sum(loads), 0),"
                             " ifnull(sum(calls), 0), ifnull(sum(errors), 0), ifnull(max(last_call), 0) FROM counter"
                             " WHERE plugin = (SELECT id FROM plugin WHERE name = ?1) AND day = 0"
                             " AND (?2 IS NULL OR version = ?2)",
                             "tt", name, version)
                  : db_start(&reader->db, err, &row,
                             "SELECT installs, downloads, loads, calls, errors, last_call FROM counter_total", "");
    *out = (struct registry_counts){0};
    if (rc <= 0)
        return rc;
    get_counts(row, 0, out);
    db_end(row);
    return 0;
}

/* Waits while the store thread writes what it gathered: then it is neither only here nor only there. */
static uint64_t pending(struct registry *r, const char *name, const char *version, struct registry_counts *out)
{
    pthread_mutex_lock(&r->lock);
    while (r->writing_gathered)
        pthread_cond_wait(&r->written, &r->lock);
    uint64_t writes = r->gathered_writes;
    gather_find(&r->gather, name, version, out);
    pthread_mutex_unlock(&r->lock);
    return writes;
}

static bool unchanged(struct registry *r, uint64_t writes)
{
    pthread_mutex_lock(&r->lock);
    bool same = !r->writing_gathered && r->gathered_writes == writes;
    pthread_mutex_unlock(&r->lock);
    return same;
}

int registry_find_counts(struct registry_reader *reader, const char *name, const char *version,
                         struct registry_counts *out, struct error *err)
{
    struct registry_counts here, there;
    uint64_t writes;
    do {
        writes = pending(reader->registry, name, version, &here);
        int rc = stored(reader, name, version, &there, err);
        if (rc < 0)
            return rc;
    } while (!unchanged(reader->registry, writes)); /* once a second at most */
    counts_add(&there, &here);
    *out = there;
    return 0;
}

int registry_each_count(struct registry_reader *reader, const char *name, const char *version, uint64_t since_day,
                        bool (*each)(void *context, const char *version, uint64_t day,
                                     const struct registry_counts *counts),
                        void *context, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT installs, downloads, loads, calls, errors, last_call, version, day FROM counter"
                      " WHERE plugin = (SELECT id FROM plugin WHERE name = ?1) AND day > 0"
                      " AND (?2 IS NULL OR version = ?2)"
                      " AND day >= ?3 ORDER BY day DESC, version",
                      "tti", name, version, (int64_t)since_day);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        struct registry_counts counts;
        get_counts(row, 0, &counts);
        if (!each(context, (const char *)sqlite3_column_text(row, 6), (uint64_t)sqlite3_column_int64(row, 7),
                  &counts)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_each_hour(struct registry_reader *reader, const char *name, uint64_t since_hour,
                       bool (*each)(void *context, uint64_t hour, uint64_t calls, uint64_t errors), void *context,
                       struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT hour, sum(calls), sum(errors) FROM hour"
                      " WHERE (?1 IS NULL OR plugin = (SELECT id FROM plugin WHERE name = ?1)) AND hour >= ?2"
                      " GROUP BY hour ORDER BY hour",
                      "ti", name, (int64_t)since_hour);
    for (; rc > 0; rc = db_next(&reader->db, err, row))
        if (!each(context, (uint64_t)sqlite3_column_int64(row, 0), (uint64_t)sqlite3_column_int64(row, 1),
                  (uint64_t)sqlite3_column_int64(row, 2))) {
            db_end(row);
            return 0;
        }
    return rc;
}

int registry_each_start(struct registry_reader *reader, uint64_t since_hour,
                        bool (*each)(void *context, uint64_t hour, const struct registry_starts *starts), void *context,
                        struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row, "SELECT hour, starts, most FROM start WHERE hour >= ? ORDER BY hour", "i",
                      (int64_t)since_hour);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        const struct registry_starts one = {.starts = (uint64_t)sqlite3_column_int64(row, 1),
                                            .most = (uint64_t)sqlite3_column_int64(row, 2)};
        if (!each(context, (uint64_t)sqlite3_column_int64(row, 0), &one)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}
