/* Reading ceilings, data sources and the home's time. */
#include <string.h>

#include "registry/internal.h"

int registry_each_ceiling(struct registry_reader *reader, bool (*each)(void *context, const struct registry_ceiling *c),
                          void *context, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT subject, permission, scope, set_at FROM ceiling ORDER BY subject, permission, scope", "");
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        struct registry_ceiling c = {.permission = sqlite3_column_int(row, 1),
                                     .set_at = (uint64_t)sqlite3_column_int64(row, 3)};
        if (!db_text(row, 0, c.subject, sizeof c.subject) || !db_text(row, 2, c.scope, sizeof c.scope))
            return reader_damaged(reader, row, err);
        if (!each(context, &c)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

static bool get_source(sqlite3_stmt *row, struct registry_source *s)
{
    s->added_at = (uint64_t)sqlite3_column_int64(row, 3);
    return db_text(row, 0, s->name, sizeof s->name) && db_text(row, 1, s->kind, sizeof s->kind) &&
           db_text(row, 2, s->place, sizeof s->place);
}

int registry_each_source(struct registry_reader *reader, bool (*each)(void *context, const struct registry_source *s),
                         void *context, struct error *err)
{
    sqlite3_stmt *row;
    struct registry_source s;
    int rc = db_start(&reader->db, err, &row, "SELECT name, kind, place, added_at FROM source ORDER BY name", "");
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!get_source(row, &s))
            return reader_damaged(reader, row, err);
        if (!each(context, &s)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_find_source(struct registry_reader *reader, const char *name, struct registry_source *out,
                         struct error *err)
{
    sqlite3_stmt *row;
    struct registry_source s;
    int rc =
        db_start(&reader->db, err, &row, "SELECT name, kind, place, added_at FROM source WHERE name = ?", "t", name);
    if (rc <= 0)
        return rc;
    if (!get_source(row, &s))
        return reader_damaged(reader, row, err);
    db_end(row);
    *out = s;
    return 1;
}

int registry_find_home_time(struct registry_reader *reader, struct registry_home_time *out, struct error *err)
{
    sqlite3_stmt *row;
    struct registry_home_time t;
    int rc = db_start(&reader->db, err, &row, "SELECT boot, boot_ns, time_ns FROM home_time", "");
    if (rc <= 0)
        return rc;
    t.boot_ns = (uint64_t)sqlite3_column_int64(row, 1);
    t.time_ns = (uint64_t)sqlite3_column_int64(row, 2);
    if (!db_text(row, 0, t.boot, sizeof t.boot))
        return reader_damaged(reader, row, err);
    db_end(row);
    *out = t;
    return 1;
}
