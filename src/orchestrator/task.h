/* orchestrator/task: a task as it was sent, read once and then immutable.  Owns its text and everything it shows;
 * reference-counted.  Knows no plugin: what the form, the ids, the references and the graph say is checked here, the
 * rest in check.h.  Pure, any thread. */
#ifndef ORCHESTRATOR_TASK_H
#define ORCHESTRATOR_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/words.h"
#include "orchestrator/arena.h"
#include "orchestrator/faults.h"
#include "orchestrator/template.h"

#define TASK_TEXT_MAX (16u << 20)
#define TASK_STEPS_MAX 10000
#define TASK_ID_MAX 64
#define TASK_EDGES_MAX 200000 /* dependencies of all steps together */
#define TASK_REFS_MAX 100000  /* references of all templates together */
#define TASK_ITEMS_MAX 10000  /* of a for_each */
#define TASK_COMPARISONS_MAX 8
/* Bytes that may be looked at again: while a task is read, and while one template is filled. A bound on the time of
 * each, whatever it says. */
#define TASK_LOOKED_MAX (256u << 20)

enum task_outcome { OUTCOME_NONE, OUTCOME_SUCCEEDED, OUTCOME_FAILED, OUTCOME_SKIPPED, OUTCOME_COUNT };
const char *task_outcome_name(enum task_outcome o); /* "waiting" for none */

enum task_on_error { ON_ERROR_FAIL, ON_ERROR_CONTINUE, ON_ERROR_FALLBACK, ON_ERROR_COMPENSATE };

enum comparison { COMPARE_EQUAL, COMPARE_LESS, COMPARE_LESS_EQUAL, COMPARE_GREATER, COMPARE_GREATER_EQUAL };
struct version_rule {
    enum comparison how;
    const char *version;
};

struct task_where {
    bool bounded; /* `permissions` is there: these bits of enum permission at most */
    uint32_t permissions;
    const char *publisher; /* or NULL */
    const char *version;   /* as it was written, or NULL */
    struct version_rule rules[TASK_COMPARISONS_MAX];
    size_t nrules;
    const char *const *keywords;
    size_t nkeywords;
};
bool where_version_fits(const struct task_where *w, const char *version);

/* What is run. */
struct task_action {
    const uint8_t *at;              /* the object that says so */
    const char *plugin;             /* or NULL: */
    int capability;                 /* enum capability, or -1 */
    const struct task_where *where; /* or NULL */
    const char *action;
    const struct task_template *parameters; /* NULL: {} */
    uint32_t number;                        /* in task.nactions */
};

struct task_condition {
    bool is_outcome;
    enum task_outcome outcome;
    struct ref ref; /* of its step's outcome, or of the value */
    const uint8_t *equals;
    bool negated;
};

struct task_retry {
    uint32_t attempts; /* at least 1 */
    uint64_t delay_ns, delay_max_ns;
    double factor;
    uint64_t on[2]; /* bits of enum moat_code */
    bool named;     /* `on` is there */
};

struct task_step {
    const uint8_t *at;
    const char *id, *sticky; /* sticky: or NULL */
    struct task_action run;
    const struct task_action *fallback, *compensate; /* or NULL */
    const uint32_t *needs;                           /* steps that are over before: each once */
    uint32_t nneeds;
    const uint32_t *heirs; /* those that need this one */
    uint32_t nheirs;
    const struct task_condition *when;
    uint32_t nwhen;
    const struct task_template *items; /* of for_each, or NULL */
    uint32_t items_at_once;
    struct task_retry retry;
    uint64_t timeout_ns; /* 0: none */
    enum task_on_error on_error;
};

struct task_budget {
    uint64_t calls, cpu_ns, time_ns, bytes; /* UINT64_MAX: no bound */
};

struct task {
    _Atomic int refs;
    struct arena arena;
    uint8_t *text; /* JSON with JSON_PAD behind; checked */
    size_t len;
    const char *name; /* or NULL */
    const uint8_t *input;
    uint32_t concurrency;
    struct task_budget budget;
    const struct task_step *steps;
    uint32_t nsteps;
    const uint32_t *order;              /* every step after those it needs */
    const struct task_template *result; /* or NULL */
    uint32_t nactions;                  /* of steps, fallbacks and compensations */
};

/* The text is copied.  MOAT_E_BAD_JSON; MOAT_E_BAD_TASK with *faults (may be NULL) filled; MOAT_E_TOO_LARGE,
 * MOAT_E_OUT_OF_MEMORY. */
int task_read(const void *text, size_t len, struct task **out, struct faults *faults, struct error *err);
struct task *task_ref(struct task *t);
void task_unref(struct task *t);                            /* NULL is fine */
int64_t task_step_of(const struct task *t, const char *id); /* its index, or -1; looks at each */

/* The JSON Pointer of a value in the task's text. */
void task_pointer(const struct task *t, const uint8_t *at, char out[JSON_POINTER_MAX]);

#endif
