/* registry/tasks: what tasks did, in a database of its own beside the registry, so that their many small writes hold
 * nobody up.  Knows neither a task's form nor its plugins: texts and numbers.
 *
 * Writing: records are handed to a thread of this module's; those that wait together share one transaction
 * (synchronous NORMAL: a kill of the process loses nothing that was committed, a power cut perhaps the last moment).
 * Reading: on one thread at a time, with a connection of its own. */
#ifndef REGISTRY_TASKS_H
#define REGISTRY_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define TASKS_ID 33

struct tasks;
/* What is kept of ended tasks: the others are forgotten within a minute, or as fast as tasks come. bytes: of all that
 * is in the database, with what runs; beyond it the oldest are forgotten at once. */
struct tasks_keep {
    uint64_t tasks, ms, bytes;
};
int tasks_open(const char *dir, const struct tasks_keep *keep, struct tasks **out, struct error *err);
void tasks_close(struct tasks *t); /* every record has been written, or failed to; NULL is fine */

enum tasks_verb {
    TASKS_BEGIN,      /* a task: id, name, text, asker, at_ns */
    TASKS_STEP_BEGIN, /* a step that must not be run twice: id, step, undoing */
    TASKS_STEP_END,   /* id, step and all of the step's */
    TASKS_END,        /* id, status, document, at_ns; its steps are in the document from now on */
};

/* What a task had used when a record of a step was made: of the whole task, hosts before this one included. */
struct tasks_used {
    uint64_t calls, cpu_ns, ran_ns, bytes_in, bytes_out, time_ns;
};

void tasks_used_most(struct tasks_used *most, const struct tasks_used *other); /* of each the larger one */

/* In its owner's memory until done; texts stay as long. Zero it first. */
struct tasks_record {
    enum tasks_verb verb;
    char id[TASKS_ID];
    const void *text; /* of the task, of a step's result, of the document */
    size_t len;
    const char *name, *asker, *message, *plugin; /* NULL: none */
    uint32_t step, attempts, finished;           /* finished: the how-manieth success */
    int outcome, code, status;
    bool undoing, undone, undo_failed, fell_back;
    uint64_t at_ns, ended_ns;    /* wall */
    struct tasks_used used;      /* of a step's records */
    uint64_t file_len, file_sum; /* a step's result that is in a file, not in text: its length, or 0, and a checksum */
    /* NULL: nobody waits. On this module's thread, must not block; code is 0 or an error. */
    void (*done)(struct tasks_record *record);
    int failed;
    struct error error;
    struct tasks_record *next;
};
void tasks_write(struct tasks *t, struct tasks_record *record); /* any thread */

/* ---- reading ---- */

struct tasks_reader;
int tasks_reader_new(struct tasks *t, struct tasks_reader **out, struct error *err);
void tasks_reader_free(struct tasks_reader *r);

#define TASKS_NAME_MAX 400 /* bytes: a task's name has 100 characters at most */

struct tasks_row {
    char id[TASKS_ID], name[TASKS_NAME_MAX + 1];
    int status;
    uint64_t began_ns, ended_ns; /* ended_ns 0: it has not */
};
/* 1 found, 0 not there, or an error. document (may be NULL) gets the text appended, when it has ended. */
int tasks_find(struct tasks_reader *r, const char *id, struct tasks_row *out, struct buf *document, struct error *err);
/* Newest first; status -1: any; after NULL: from the newest; each returns false to end early. */
int tasks_each(struct tasks_reader *r, int status, const char *after,
               bool (*each)(void *context, const struct tasks_row *row), void *context, struct error *err);
/* Those that have not ended, the oldest first. Texts are valid during each. */
int tasks_each_open(struct tasks_reader *r,
                    bool (*each)(void *context, const char *id, const char *asker, uint64_t began_ns, const void *text,
                                 size_t len),
                    void *context, struct error *err);
/* What is known of its steps; begun and not ended: outcome 0. */
int tasks_each_step(struct tasks_reader *r, const char *id,
                    bool (*each)(void *context, const struct tasks_record *step), void *context, struct error *err);

#endif
