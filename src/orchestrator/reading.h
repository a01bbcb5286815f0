/* orchestrator/reading: a task while it is read.  Private to task.c, steps.c, graph.c and template.c. */
#ifndef ORCHESTRATOR_READING_H
#define ORCHESTRATOR_READING_H

#include "orchestrator/task.h"

struct edge {
    uint32_t step, needs;
};

/* Where the members of a step stand; of a fallback or a compensation some of them. NULL: left out. */
struct members {
    const uint8_t *at; /* the object itself */
    const uint8_t *id, *plugin, *capability, *where, *action, *parameters;
    const uint8_t *sticky, *depends_on, *when, *for_each, *retry, *timeout, *on_error, *fallback, *compensate;
};

struct reading {
    struct task *task;
    struct task_step *steps;
    struct faults *faults;
    struct members *members; /* malloc'd: of each step */
    uint32_t *slots;         /* of ids: step + 1, or 0 */
    uint32_t nslots;         /* a power of two */
    uint64_t seed;
    struct edge *edges; /* malloc'd */
    size_t nedges, edges_cap, nrefs;
    size_t skipped; /* bytes that were looked at a second time */
    bool full;      /* one of the bounds was met: said once */
};

/* A fault of the value at `at`. Returns false. */
__attribute__((format(printf, 4, 5))) bool reading_fault(struct reading *r, enum fault_kind kind, const uint8_t *at,
                                                         const char *format, ...);
/* The string's characters in the arena; NULL: it has a NUL or a lone surrogate (said), or no memory. */
const char *reading_text(struct reading *r, const uint8_t *string, size_t *len);
/* The step of that id, or -1. */
int64_t reading_step(const struct reading *r, const char *id, size_t len);
/* `step` begins after `needs` is over. */
bool reading_edge(struct reading *r, uint32_t step, uint32_t needs, const uint8_t *at);

/* steps.c */
bool read_ids(struct reading *r, const uint8_t *array);
bool read_step(struct reading *r, uint32_t i);
bool read_time(struct reading *r, const uint8_t *string, uint64_t *ns);

/* graph.c: needs, heirs and the order, from the edges. false: a cycle (said), or no memory. */
bool graph_make(struct reading *r);

#endif
