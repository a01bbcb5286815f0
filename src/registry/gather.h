/* registry/gather: what happens too often to be a command each time: refusals and counters.  Kept in memory, folded,
 * and written by the store thread once a second.  Private to src/registry.
 *
 * Everything here is under the registry's lock, but for gather_write, which has a batch that it owns. */
#ifndef REGISTRY_GATHER_H
#define REGISTRY_GATHER_H

#include "registry/registry.h"

#define GATHER_REFUSALS 64 /* different ones in a second; what is beyond them is folded into one of its code */
#define GATHER_NS (1000ull * 1000 * 1000)
#define GATHER_QUIET_NS (2 * GATHER_NS) /* after a second in which nothing was written */

struct gather_refusal {
    char actor[REGISTRY_ACTOR_MAX + 1], call[REGISTRY_CALL_MAX + 1]; /* call: the first one's */
    char action[32], subject[REGISTRY_SUBJECT_MAX + 1];
    enum moat_code code;
    uint64_t count;
};

struct gather_counts; /* a hash table by plugin and version */

/* One row's news; the texts are behind it. */
#define GATHER_DENIALS 4096 /* before a write; beyond, who tells them keeps them */
struct gather_denial {
    struct gather_denial *next;
    struct registry_denial d;
    char texts[];
};

struct gather {
    struct gather_refusal refusals[GATHER_REFUSALS + 1];
    size_t nrefusals;
    struct gather_counts *counts;                /* owned */
    struct gather_denial *denials, *last_denial; /* owned; in the order in which they were told */
    size_t ndenials;
    struct registry_starts starts;
    uint64_t due_ns; /* by the monotonic clock; 0: nothing was gathered */
};

void gather_refusal(struct gather *g, const struct registry_refusal *refusal);

/* false: no memory; nothing is counted. */
bool gather_count(struct gather *g, const struct registry_count *count);
void gather_starts(struct gather *g, const struct registry_starts *more);
bool gather_deny(struct gather *g, const struct registry_denial *more); /* false: no room */
/* version NULL: all of the plugin; name NULL: everything. */
void gather_find(const struct gather *g, const char *name, const char *version, struct registry_counts *out);
void gather_free(struct gather *g);

/* What could not be written is gathered again, due in a second. */
void gather_give_back(struct gather *g, struct gather *taken);

/* Inside a transaction of the store thread. */
struct registry;
void counts_add(struct registry_counts *to, const struct registry_counts *more);
int gather_write(struct registry *r, const struct gather *g, struct error *err);

#endif
