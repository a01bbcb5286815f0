/* Reading what tasks did. */
#include <stdlib.h>
#include <string.h>

#include "registry/tasks_internal.h"

int tasks_reader_new(struct tasks *t, struct tasks_reader **out, struct error *err)
{
    struct tasks_reader *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to read tasks");
    int rc = db_open(&r->db, t->file, false, err);
    if (rc < 0)
        free(r);
    else
        *out = r;
    return rc;
}

void tasks_reader_free(struct tasks_reader *r)
{
    if (!r)
        return;
    db_close(&r->db);
    free(r);
}

static bool take_row(sqlite3_stmt *row, struct tasks_row *out)
{
    *out = (struct tasks_row){.status = sqlite3_column_int(row, 2),
                              .began_ns = (uint64_t)sqlite3_column_int64(row, 3),
                              .ended_ns = (uint64_t)sqlite3_column_int64(row, 4)};
    return db_text(row, 0, out->id, sizeof out->id) && db_text(row, 1, out->name, sizeof out->name);
}

static int not_ours(const struct db *db, struct error *err)
{
    return error_set(err, MOAT_E_STORAGE_FAILED, "%s has a record that no code of ours wrote", db->file);
}

int tasks_find(struct tasks_reader *r, const char *id, struct tasks_row *out, struct buf *document, struct error *err)
{
    sqlite3_stmt *row;
    struct tasks_row found;
    int rc =
        db_start(&r->db, err, &row, "SELECT id, name, status, began, ended, document FROM task WHERE id = ?", "t", id);
    if (rc != 1)
        return rc;
    bool good = take_row(row, &found);
    if (good && document && found.ended_ns)
        good = buf_put(document, sqlite3_column_blob(row, 5), (size_t)sqlite3_column_bytes(row, 5));
    db_end(row);
    if (!good)
        return document && document->failed ? error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the task")
                                            : not_ours(&r->db, err);
    *out = found;
    return 1;
}

int tasks_each(struct tasks_reader *r, int status, const char *after,
               bool (*each)(void *context, const struct tasks_row *row), void *context, struct error *err)
{
    static const char of_any[] =
        "SELECT id, name, status, began, ended FROM task WHERE n < coalesce((SELECT n FROM task"
        " WHERE id = ?), 9223372036854775807) ORDER BY n DESC";
    static const char of_one[] =
        "SELECT id, name, status, began, ended FROM task WHERE n < coalesce((SELECT n FROM task"
        " WHERE id = ?), 9223372036854775807) AND status = ? ORDER BY n DESC";
    sqlite3_stmt *row;
    struct tasks_row found;
    int rc = status < 0 ? db_start(&r->db, err, &row, of_any, "t", after)
                        : db_start(&r->db, err, &row, of_one, "ti", after, (int64_t)status);
    for (; rc == 1; rc = db_next(&r->db, err, row)) {
        bool good = take_row(row, &found);
        if (!good || !each(context, &found)) {
            db_end(row);
            return good ? 0 : not_ours(&r->db, err);
        }
    }
    return rc;
}

int tasks_each_open(struct tasks_reader *r,
                    bool (*each)(void *context, const char *id, const char *asker, uint64_t began_ns, const void *text,
                                 size_t len),
                    void *context, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&r->db, err, &row, "SELECT id, asker, began, text FROM task WHERE ended = 0 ORDER BY n", "");
    for (; rc == 1; rc = db_next(&r->db, err, row)) {
        char id[TASKS_ID], asker[1024];
        bool good = db_text(row, 0, id, sizeof id) && db_text(row, 1, asker, sizeof asker);
        if (!good || !each(context, id, asker, (uint64_t)sqlite3_column_int64(row, 2), sqlite3_column_blob(row, 3),
                           (size_t)sqlite3_column_bytes(row, 3))) {
            db_end(row);
            return good ? 0 : not_ours(&r->db, err);
        }
    }
    return rc;
}

static void keep_most(uint64_t *most, uint64_t other)
{
    *most = other > *most ? other : *most;
}

void tasks_used_most(struct tasks_used *most, const struct tasks_used *other)
{
    keep_most(&most->calls, other->calls);
    keep_most(&most->cpu_ns, other->cpu_ns);
    keep_most(&most->ran_ns, other->ran_ns);
    keep_most(&most->bytes_in, other->bytes_in);
    keep_most(&most->bytes_out, other->bytes_out);
    keep_most(&most->time_ns, other->time_ns);
}

int tasks_each_step(struct tasks_reader *r, const char *id,
                    bool (*each)(void *context, const struct tasks_record *step), void *context, struct error *err)
{
    sqlite3_stmt *row;
    int rc =
        db_start(&r->db, err, &row,
                 "SELECT step, outcome, code, message, plugin, attempts, finished, fell_back, undoing, undone,"
                 " undo_failed, began, ended, result, used_calls, used_cpu, used_ran, used_in, used_out, used_time,"
                 " file_len, file_sum"
                 " FROM step WHERE task = ? ORDER BY finished, step",
                 "t", id);
    for (; rc == 1; rc = db_next(&r->db, err, row)) {
        struct tasks_record s = {.verb = TASKS_STEP_END,
                                 .step = (uint32_t)sqlite3_column_int64(row, 0),
                                 .outcome = sqlite3_column_int(row, 1),
                                 .code = sqlite3_column_int(row, 2),
                                 .message = (const char *)sqlite3_column_text(row, 3),
                                 .plugin = (const char *)sqlite3_column_text(row, 4),
                                 .attempts = (uint32_t)sqlite3_column_int64(row, 5),
                                 .finished = (uint32_t)sqlite3_column_int64(row, 6),
                                 .fell_back = sqlite3_column_int(row, 7),
                                 .undoing = sqlite3_column_int(row, 8),
                                 .undone = sqlite3_column_int(row, 9),
                                 .undo_failed = sqlite3_column_int(row, 10),
                                 .at_ns = (uint64_t)sqlite3_column_int64(row, 11),
                                 .ended_ns = (uint64_t)sqlite3_column_int64(row, 12),
                                 .text = sqlite3_column_blob(row, 13),
                                 .len = (size_t)sqlite3_column_bytes(row, 13),
                                 .used = {.calls = (uint64_t)sqlite3_column_int64(row, 14),
                                          .cpu_ns = (uint64_t)sqlite3_column_int64(row, 15),
                                          .ran_ns = (uint64_t)sqlite3_column_int64(row, 16),
                                          .bytes_in = (uint64_t)sqlite3_column_int64(row, 17),
                                          .bytes_out = (uint64_t)sqlite3_column_int64(row, 18),
                                          .time_ns = (uint64_t)sqlite3_column_int64(row, 19)},
                                 .file_len = (uint64_t)sqlite3_column_int64(row, 20),
                                 .file_sum = (uint64_t)sqlite3_column_int64(row, 21)};
        if (!each(context, &s)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}
