/* Denials: folded where they happen (src/loader/denials.c), kept here beyond that process.  Told once a second as what
 * came to each row; of each plugin a bounded number of rows stays. */
#include <string.h>

#include "registry/internal.h"

static int add_one(struct db *db, const struct registry_denial *d, struct error *err)
{
    return db_run(
        db, err,
        "INSERT INTO denial (plugin, version, action, operation, object, wall, permission, call, count, first,"
        " last) SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM plugin WHERE name = ?1"
        " ON CONFLICT DO UPDATE SET count = count + excluded.count, first = min(first, excluded.first),"
        " last = max(last, excluded.last), wall = excluded.wall, permission = excluded.permission,"
        " call = CASE excluded.call WHEN '' THEN call ELSE excluded.call END",
        "ttttttitiii", d->plugin, d->version, d->action, d->operation, d->object, d->wall, (int64_t)d->permission,
        d->call, (int64_t)d->count, (int64_t)d->first_ms, (int64_t)d->last_ms);
}

static int sum(struct db *db, int64_t plugin, int64_t *out, struct error *err)
{
    return db_number(db, err, 0, out, "SELECT ifnull(sum(count), 0) FROM denial WHERE plugin = ?", "i", plugin);
}

/* Each kind's newest first, then each kind's next: so much as one kind tries, the others keep theirs. */
static int drop(struct db *db, int64_t plugin, struct error *err)
{
    int64_t before = 0, after = 0;
    int rc = sum(db, plugin, &before, err);
    if (rc == 0)
        rc = db_run(db, err,
                    "DELETE FROM denial WHERE plugin = ?1 AND (version, action, operation, object) IN"
                    " (SELECT version, action, operation, object FROM"
                    "   (SELECT version, action, operation, object, last, row_number() OVER"
                    "     (PARTITION BY version, action, operation ORDER BY last DESC, object) AS nth"
                    "    FROM denial WHERE plugin = ?1)"
                    "  ORDER BY nth, last DESC, version, action, operation, object LIMIT -1 OFFSET ?2)",
                    "ii", plugin, (int64_t)REGISTRY_DENIALS);
    if (rc == 0)
        rc = sum(db, plugin, &after, err);
    return rc < 0 ? rc
                  : db_run(db, err,
                           "INSERT INTO denial_dropped (plugin, count) VALUES (?, ?)"
                           " ON CONFLICT DO UPDATE SET count = count + excluded.count",
                           "ii", plugin, before - after);
}

static int bound(struct db *db, const char *name, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(db, err, &row,
                      "SELECT p.id, (SELECT count(*) FROM denial d WHERE d.plugin = p.id) FROM plugin p WHERE name = ?",
                      "t", name);
    if (rc <= 0)
        return rc; /* a name that is gone took its denials with it */
    int64_t plugin = sqlite3_column_int64(row, 0), rows = sqlite3_column_int64(row, 1);
    db_end(row);
    return rows > REGISTRY_DENIALS ? drop(db, plugin, err) : 0;
}

/* They are told plugin by plugin. */
int denials_add(struct db *db, const struct gather_denial *first, struct error *err)
{
    int rc = 0;
    for (const struct gather_denial *one = first; one && rc == 0; one = one->next) {
        rc = add_one(db, &one->d, err);
        if (rc == 0 && (!one->next || strcmp(one->next->d.plugin, one->d.plugin) != 0))
            rc = bound(db, one->d.plugin, err);
    }
    return rc;
}

/* ---- reading ---- */

static const char *text(sqlite3_stmt *row, int column)
{
    return (const char *)sqlite3_column_text(row, column);
}

static bool get(sqlite3_stmt *row, struct registry_denial *out)
{
    *out = (struct registry_denial){.plugin = text(row, 0),
                                    .version = text(row, 1),
                                    .action = text(row, 2),
                                    .call = text(row, 3),
                                    .operation = text(row, 4),
                                    .object = text(row, 5),
                                    .wall = text(row, 6),
                                    .permission = sqlite3_column_int(row, 7),
                                    .count = (uint64_t)sqlite3_column_int64(row, 8),
                                    .first_ms = (uint64_t)sqlite3_column_int64(row, 9),
                                    .last_ms = (uint64_t)sqlite3_column_int64(row, 10)};
    return out->plugin && out->version && out->action && out->call && out->operation && out->object && out->wall;
}

int registry_each_denial(struct registry_reader *reader, const char *name, uint64_t since_ms,
                         bool (*each)(void *context, const struct registry_denial *d), void *context, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT p.name, version, action, call, operation, object, wall, permission, count, first, last"
                      " FROM denial d JOIN plugin p ON p.id = d.plugin WHERE (?1 IS NULL OR p.name = ?1) AND last >= ?2"
                      " ORDER BY last DESC, p.name, version, action, operation, object",
                      "ti", name, (int64_t)since_ms);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        struct registry_denial d;
        if (!get(row, &d)) /* no memory for its text */
            return reader_damaged(reader, row, err);
        if (!each(context, &d)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_find_denials_dropped(struct registry_reader *reader, const char *name, uint64_t *out, struct error *err)
{
    int64_t n;
    int rc = db_number(&reader->db, err, 0, &n,
                       "SELECT ifnull(sum(count), 0) FROM denial_dropped"
                       " WHERE ?1 IS NULL OR plugin = (SELECT id FROM plugin WHERE name = ?1)",
                       "t", name);
    if (rc == 0)
        *out = (uint64_t)n;
    return rc;
}
