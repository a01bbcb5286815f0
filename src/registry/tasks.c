#include "registry/tasks.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "registry/schema.h"
#include "registry/tasks_internal.h"

#define PRUNE_NS (60 * NS_PER_S)
#define PRUNE_ROWS 1000
#define PRUNE_LARGE_ROWS 4
#define TOGETHER 512 /* records of one transaction */

/* step: only of tasks that have not ended. */
static const char step_1[] =
    "CREATE TABLE task (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
    " status INTEGER NOT NULL, began INTEGER NOT NULL, ended INTEGER NOT NULL DEFAULT 0, asker TEXT NOT NULL,"
    " text BLOB, document BLOB) STRICT;"
    "CREATE INDEX task_open ON task (n) WHERE ended = 0;"
    "CREATE INDEX task_status ON task (status, n);"
    "CREATE INDEX task_ended ON task (ended) WHERE ended > 0;"
    "CREATE TABLE step (task TEXT NOT NULL, step INTEGER NOT NULL, outcome INTEGER NOT NULL DEFAULT 0,"
    " code INTEGER NOT NULL DEFAULT 0, message TEXT, plugin TEXT, attempts INTEGER NOT NULL DEFAULT 0,"
    " finished INTEGER NOT NULL DEFAULT 0, fell_back INTEGER NOT NULL DEFAULT 0, undoing INTEGER NOT NULL DEFAULT 0,"
    " undone INTEGER NOT NULL DEFAULT 0, undo_failed INTEGER NOT NULL DEFAULT 0, began INTEGER NOT NULL DEFAULT 0,"
    " ended INTEGER NOT NULL DEFAULT 0, result BLOB, PRIMARY KEY (task, step)) STRICT, WITHOUT ROWID;";
/* used_…: of the whole task, when the step was written. */
static const char step_2[] = "ALTER TABLE step ADD COLUMN used_calls INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE step ADD COLUMN used_cpu INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE step ADD COLUMN used_ran INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE step ADD COLUMN used_in INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE step ADD COLUMN used_out INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE step ADD COLUMN used_time INTEGER NOT NULL DEFAULT 0;";
/* file_…: of a result that is not in the row: its length, or 0, and a checksum. */
static const char step_3[] = "ALTER TABLE step ADD COLUMN file_len INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE step ADD COLUMN file_sum INTEGER NOT NULL DEFAULT 0;";
static const struct schema_step steps[] = {{step_1, NULL}, {step_2, NULL}, {step_3, NULL}};
#define VERSION ((int)(sizeof steps / sizeof *steps))

/* ---- one record ---- */

static int write_begin(struct db *db, const struct tasks_record *r, struct error *err)
{
    return db_run(db, err, "INSERT INTO task (id, name, status, began, asker, text) VALUES (?, ?, 0, ?, ?, ?)", "ttitb",
                  r->id, r->name ? r->name : "", (int64_t)r->at_ns, r->asker, r->text, r->len);
}

static int write_used(struct db *db, const struct tasks_record *r, struct error *err)
{
    const struct tasks_used *u = &r->used;
    return db_run(db, err,
                  "UPDATE step SET used_calls = ?, used_cpu = ?, used_ran = ?, used_in = ?, used_out = ?, used_time = ?"
                  " WHERE task = ? AND step = ?",
                  "iiiiiiti", (int64_t)u->calls, (int64_t)u->cpu_ns, (int64_t)u->ran_ns, (int64_t)u->bytes_in,
                  (int64_t)u->bytes_out, (int64_t)u->time_ns, r->id, (int64_t)r->step);
}

static int write_step_begin(struct db *db, const struct tasks_record *r, struct error *err)
{
    int rc = db_run(db, err,
                    "INSERT INTO step (task, step, undoing) VALUES (?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET undoing = max(undoing, excluded.undoing)",
                    "tii", r->id, (int64_t)r->step, (int64_t)r->undoing);
    return rc < 0 ? rc : write_used(db, r, err);
}

static int write_step_end(struct db *db, const struct tasks_record *r, struct error *err)
{
    int rc =
        db_run(db, err,
               "INSERT INTO step (task, step, outcome, code, message, plugin, attempts, finished, fell_back, undoing,"
               " undone, undo_failed, began, ended, file_len, file_sum, result)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
               " ON CONFLICT DO UPDATE SET outcome = excluded.outcome, code = excluded.code,"
               " message = excluded.message, plugin = excluded.plugin, attempts = excluded.attempts,"
               " finished = excluded.finished, fell_back = excluded.fell_back, undone = excluded.undone,"
               " undo_failed = excluded.undo_failed, began = excluded.began, ended = excluded.ended,"
               " file_len = excluded.file_len, file_sum = excluded.file_sum, result = excluded.result",
               "tiiittiiiiiiiiiib", r->id, (int64_t)r->step, (int64_t)r->outcome, (int64_t)r->code, r->message,
               r->plugin, (int64_t)r->attempts, (int64_t)r->finished, (int64_t)r->fell_back, (int64_t)r->undoing,
               (int64_t)r->undone, (int64_t)r->undo_failed, (int64_t)r->at_ns, (int64_t)r->ended_ns,
               (int64_t)r->file_len, (int64_t)r->file_sum, r->text, r->len);
    return rc < 0 ? rc : write_used(db, r, err);
}

static int write_end(struct db *db, const struct tasks_record *r, struct error *err)
{
    int rc = db_run(db, err, "UPDATE task SET status = ?, ended = ?, document = ?, text = NULL WHERE id = ?", "iibt",
                    (int64_t)r->status, (int64_t)r->at_ns, r->text, r->len, r->id);
    return rc < 0 ? rc : db_run(db, err, "DELETE FROM step WHERE task = ?", "t", r->id);
}

static int (*const writers[])(struct db *db, const struct tasks_record *r,
                              struct error *err) = {[TASKS_BEGIN] = write_begin,
                                                    [TASKS_STEP_BEGIN] = write_step_begin,
                                                    [TASKS_STEP_END] = write_step_end,
                                                    [TASKS_END] = write_end};

/* ---- many ---- */

/* What is over is forgotten as fast as it comes: as long as there is more, with each transaction. */
static int prune(struct tasks *t, struct error *err)
{
    uint64_t now = clock_wall_ns(), span = t->keep.ms * NS_PER_MS;
    t->prune_at = clock_mono_ns() + PRUNE_NS;
    int rc =
        db_run(&t->db, err,
               "DELETE FROM task WHERE n IN (SELECT n FROM task WHERE ended > 0 AND ended < ? ORDER BY ended LIMIT ?)",
               "ii", (int64_t)(now > span ? now - span : 0), (int64_t)PRUNE_ROWS);
    bool more = rc == 0 && sqlite3_changes(t->db.handle) == PRUNE_ROWS;
    if (rc == 0)
        rc = db_run(&t->db, err,
                    "DELETE FROM task WHERE n IN (SELECT n FROM task WHERE ended > 0 AND n <= (SELECT n FROM task"
                    " ORDER BY n DESC LIMIT 1 OFFSET ?) ORDER BY n LIMIT ?)",
                    "ii", (int64_t)t->keep.tasks, (int64_t)PRUNE_ROWS);
    more |= rc == 0 && sqlite3_changes(t->db.handle) == PRUNE_ROWS;
    if (more)
        t->prune_at = 0;
    return rc;
}

/* Pages that hold something: what was deleted is written over before the file grows. */
static int is_too_large(struct tasks *t, bool *too_large, struct error *err)
{
    int64_t pages, unused = 0, size = 0;
    int rc = db_number(&t->db, err, 0, &pages, "PRAGMA page_count", "");
    rc = rc ? rc : db_number(&t->db, err, 0, &unused, "PRAGMA freelist_count", "");
    rc = rc ? rc : db_number(&t->db, err, 0, &size, "PRAGMA page_size", "");
    *too_large = rc == 0 && (uint64_t)((pages - unused) * size) > t->keep.bytes;
    return rc;
}

/* The oldest go, a few at a time: they may be large. */
static int prune_bytes(struct tasks *t, struct error *err)
{
    bool too_large = false, more = true;
    int rc = is_too_large(t, &too_large, err);
    while (rc == 0 && too_large && more) {
        rc = db_run(&t->db, err,
                    "DELETE FROM task WHERE n IN (SELECT n FROM task WHERE ended > 0 ORDER BY ended, n LIMIT ?)", "i",
                    (int64_t)PRUNE_LARGE_ROWS);
        more = rc == 0 && sqlite3_changes(t->db.handle) > 0;
        rc = rc ? rc : is_too_large(t, &too_large, err);
    }
    return rc;
}

/* All of them in one transaction: a record of ours is refused by nothing but the disk. */
static int write_all(struct tasks *t, struct tasks_record *first, struct error *err)
{
    int rc = db_run(&t->db, err, "BEGIN IMMEDIATE", "");
    for (struct tasks_record *r = first; r && rc == 0; r = r->next)
        rc = writers[r->verb](&t->db, r, err);
    if (rc == 0 && clock_mono_ns() > t->prune_at)
        rc = prune(t, err);
    if (rc == 0)
        rc = prune_bytes(t, err);
    if (rc == 0)
        rc = db_run(&t->db, err, "COMMIT", "");
    if (rc < 0)
        sqlite3_exec(t->db.handle, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static void tell_all(struct tasks_record *first, int failed, const struct error *err)
{
    for (struct tasks_record *r = first, *next; r; r = next) {
        next = r->next;
        r->failed = failed;
        if (failed < 0)
            r->error = *err;
        if (r->done)
            r->done(r);
    }
}

static struct tasks_record *take(struct tasks *t)
{
    pthread_mutex_lock(&t->lock);
    while (!t->first && !t->stopping)
        pthread_cond_wait(&t->work, &t->lock);
    struct tasks_record *first = t->first, *last = first;
    for (unsigned i = 1; last && last->next && i < TOGETHER; i++)
        last = last->next;
    if (last) {
        t->first = last->next;
        last->next = NULL;
        if (!t->first)
            t->end = &t->first;
    }
    pthread_mutex_unlock(&t->lock);
    return first;
}

static void *store_main(void *argument)
{
    struct tasks *t = argument;
    struct tasks_record *first;
    while ((first = take(t))) {
        struct error err = {0};
        int rc = write_all(t, first, &err);
        if (rc < 0)
            log_event(LOG_ERROR, "tasks_not_written", "why", err.message, NULL);
        tell_all(first, rc, &err);
    }
    return NULL;
}

void tasks_write(struct tasks *t, struct tasks_record *record)
{
    record->next = NULL;
    pthread_mutex_lock(&t->lock);
    *t->end = record;
    t->end = &record->next;
    pthread_cond_signal(&t->work);
    pthread_mutex_unlock(&t->lock);
}

/* ---- its life ---- */

static int open_file(struct tasks *t, struct error *err)
{
    int rc = db_open(&t->db, t->file, true, err);
    if (rc == 0)
        rc = schema_migrate(&t->db, steps, VERSION, err);
    if (rc == 0 && sqlite3_exec(t->db.handle, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL) != SQLITE_OK)
        rc = db_error(&t->db, err);
    return rc;
}

int tasks_open(const char *dir, const struct tasks_keep *keep, struct tasks **out, struct error *err)
{
    struct tasks *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the tasks");
    snprintf(t->file, sizeof t->file, "%s/tasks.db", dir);
    t->keep = *keep;
    t->end = &t->first;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->work, NULL);
    int rc = open_file(t, err);
    int errnum = rc == 0 ? pthread_create(&t->thread, NULL, store_main, t) : 0;
    if (errnum)
        rc = error_errno(err, MOAT_E_OUT_OF_MEMORY, errnum, "cannot start the tasks' thread");
    t->running = rc == 0;
    if (rc < 0)
        tasks_close(t);
    else
        pthread_setname_np(t->thread, "tasks");
    if (rc == 0)
        *out = t;
    return rc;
}

void tasks_close(struct tasks *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->work);
    pthread_mutex_unlock(&t->lock);
    if (t->running)
        pthread_join(t->thread, NULL);
    db_close(&t->db);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->work);
    free(t);
}
