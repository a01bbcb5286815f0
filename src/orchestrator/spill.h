/* orchestrator/spill: large results of steps, in files of the home until their task ends.  Private to src/orchestrator.
 *
 *     REGISTRY_DIR/results/TASK/STEP          the result's JSON, as it came; STEP is the step's number
 *     REGISTRY_DIR/results/TASK/STEP.items    of a step with for_each that is not over: results of items, one behind
 *                                             the other as they came
 *
 * No name comes from a task. A file is written before the record that says that it is there, and not fsynced: a kill
 * loses none that a record speaks of, a power cut perhaps the last ones, which reading finds out. Functions block, and
 * belong to the planner's thread, but where they say so. */
#ifndef ORCHESTRATOR_SPILL_H
#define ORCHESTRATOR_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct spill;

/* dir: of the registry. above: bytes of one result that memory still takes; most: of all files together. Blocks; on the
 * thread that opens. */
int spill_open(const char *dir, uint64_t above, uint64_t most, struct spill **out, struct error *err);
void spill_close(struct spill *s); /* NULL is fine */
/* What is there of tasks for which keep does not hold goes, the rest is counted. Before anything else, on the thread
 * that opens. */
int spill_sweep(struct spill *s, bool (*keep)(void *context, const char *task), void *context, struct error *err);

/* Any thread, does not block: is a result of so many bytes for the disk? */
bool spill_wants(const struct spill *s, size_t len);

/* MOAT_E_LIMIT: the bound on all of them; MOAT_E_STORAGE_FAILED. *sum is for reading it back. */
int spill_write(struct spill *s, const char *task, uint32_t step, const void *bytes, size_t len, uint64_t *sum,
                struct error *err);
/* *out has JSON_PAD behind; the caller's, free(). MOAT_E_STORAGE_FAILED: it is not there, or is not what was written.
 */
int spill_read(struct spill *s, const char *task, uint32_t step, size_t len, uint64_t sum, uint8_t **out,
               struct error *err);

struct spill_item {
    uint64_t at, sum;
};
int spill_add_item(struct spill *s, const char *task, uint32_t step, const void *bytes, size_t len,
                   struct spill_item *out, struct error *err);
/* Its len bytes into room; not looked at whether they are JSON. */
int spill_read_item(struct spill *s, const char *task, uint32_t step, const struct spill_item *item, void *room,
                    size_t len, struct error *err);
void spill_drop_items(struct spill *s, const char *task, uint32_t step);

void spill_drop(struct spill *s, const char *task); /* all of that task's */

#endif
