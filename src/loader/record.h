/* loader/record: what is counted of each action and generation, and how it is told.  Part of loader/internal, whose
 * words for threads and locks it uses. */
#ifndef LOADER_RECORD_H
#define LOADER_RECORD_H

#include <stdatomic.h>

#include "loader/loader.h"

struct worker;
struct generation;

/* How values of ns spread, in measure/histogram's buckets. */
struct spread_tally {
    _Atomic uint64_t sum, buckets[HISTOGRAM_BUCKETS];
};
struct action_tally {
    _Atomic uint64_t executions, bytes_in, bytes_out, cpu_ns, last_ns;
    struct spread_tally runs, waits;
};

/* A sum over workers. */
struct action_sum {
    struct action_sum *next; /* in a list by name; in a record: unused */
    char name[MANIFEST_ACTION_MAX + 1];
    struct loader_figure figure; /* last_ns: still of the monotonic clock */
};

/* What one generation has done, beyond its own end; under the plugin's lock. */
struct record {
    struct record *older;
    char version[MANIFEST_VERSION_MAX + 1];
    uint64_t number, since_ns, until_ns; /* as loader_generation */
    uint64_t peak, crashes;
    bool canary;               /* a canary's: shown as a generation, and in no sum of the plugin's */
    unsigned users;            /* that can still add to it: its generation while it serves, its workers */
    struct manifest *manifest; /* a reference: the names of the actions */
    struct action_sum *sums[]; /* by the manifest's index; NULL: nothing yet; of ended workers, and what failed */
};

struct counted_run {
    uint64_t ran_ns, waited_ns, cpu_ns;
    size_t in, out;
};
void tally_run(struct worker *w, uint32_t action, const struct counted_run *run, uint64_t now); /* the owner */
void record_open(struct generation *g);                   /* supervise: before its first worker can be met */
void record_close(struct generation *g);                  /* supervise: nothing new is begun in it */
void record_worker(struct worker *w);                     /* supervise: it can be met now */
void record_worker_gone(struct worker *w, uint64_t peak); /* under the lock: its tallies go to the record */
void record_promote(struct generation *g);                /* supervise: a canary is what the plugin is now */
void record_crash(struct generation *g);
void records_free(struct plugin *p);
/* Under the lock: where what failed is counted: in g, or (NULL) in what is current. NULL: nowhere. */
struct loader_figure *record_figure(struct plugin *p, const struct generation *g, const char *action);
void record_sum_all(const struct plugin *p, struct loader_figure *all); /* under the lock; but canaries' */
struct loader_figures *plugin_figures(struct plugin *p);

#endif
