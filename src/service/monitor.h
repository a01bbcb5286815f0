/* service/monitor: how each action of each plugin does of late, and how what the platform records does; what has become
 * worse is an anomaly.  The path of a call knows nothing of it: what the loader counts anyway is looked at every few
 * seconds (`monitor_every`), on a jobs thread, and so is what was recorded.  Private to src/service.
 *
 * Bounded: MONITOR_ACTIONS of the host's, of which one that did nothing for an hour makes room, and MONITOR_RECORDED of
 * the platform's, which stay. */
#ifndef SERVICE_MONITOR_H
#define SERVICE_MONITOR_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/loop.h"
#include "measure/series.h"
#include "service/service.h"

#define MONITOR_ACTIONS 128
#define MONITOR_RECORDED 128
#define MONITOR_TABLE 512 /* places for the recorded ones: a power of two, mostly empty */
#define MONITOR_STRIPES 4 /* threads that record do not meet in one of these, mostly */
#define MONITOR_WORD_MAX 63

/* What was recorded since it began; any thread adds. */
struct monitor_tally {
    _Alignas(64) _Atomic uint64_t calls;
    _Atomic uint64_t bad, sum, buckets[HISTOGRAM_BUCKETS];
};

struct monitor_entry {
    char plugin[MONITOR_WORD_MAX + 1], action[MONITOR_WORD_MAX + 1];
    uint64_t hash;
    struct monitor_tally *tallies; /* MONITOR_STRIPES of them; NULL: of the host's, whose tallies are the loader's */
    /* the monitor's lock */
    struct window_sum all; /* so far, as it was looked at last */
    struct series series;
    uint64_t wall_ns[WATCH_KINDS][2]; /* of its findings: since, until */
};

struct monitor {
    pthread_mutex_t lock;
    struct monitor_entry *actions[MONITOR_ACTIONS];
    size_t nactions;
    bool evicted;               /* some action made room */
    _Atomic bool moved;         /* something was seen since the thread that looks asked last */
    uint64_t left_out;          /* looks at actions for which there was none */
    _Atomic uint64_t refused;   /* of the platform's, for want of room */
    _Atomic unsigned anomalies; /* that are on */
    service_metric_sink sink;
    void *sink_context;
    /* what the platform records; only grows */
    pthread_mutex_t record_lock;
    struct monitor_entry *recorded[MONITOR_RECORDED];
    size_t nrecorded;
    _Atomic(struct monitor_entry *) table[MONITOR_TABLE];
    /* the timer */
    struct service *s;
    uint64_t every_ns;
    struct loop_task arm;
    atomic_bool arming; /* arm is posted */
    struct loop_timer timer;
    bool slept; /* the loop: the timer was set for a rest */
    atomic_bool looking;
    atomic_bool resting; /* nothing happens: no look before something does, or the pool wants one */
    _Atomic uint64_t stirs;
};

struct monitor *monitor_new(struct service *s); /* NULL: no memory */
void monitor_start(struct monitor *m);          /* loops, jobs and loader run */
void monitor_free(struct monitor *m);           /* neither does any more; NULL is fine */

/* Something happened that it does not look for by itself while it rests. Any thread. */
void monitor_stir(struct monitor *m);

/* Looks now. A jobs thread; takes the lock. */
void monitor_look(struct monitor *m);
/* Looks, and sums the last hour of a plugin's calls and of what was recorded under its name; "": of everything. */
void monitor_hour(struct monitor *m, const char *plugin, struct window_sum *out);
size_t monitor_recorded(struct monitor *m); /* so many of recorded[] are there */
/* "9 of 40 calls failed; before it were 3 of 4000" */
void anomaly_explain(const struct monitor_entry *e, enum watch_kind k, char *out, size_t size);

/* ---- monitor_tell.c ---- */

typedef void (*monitor_each)(void *context, const struct monitor_entry *e);
void monitor_visit(struct monitor *m, monitor_each each, void *context); /* each one, under the lock */

void tell_monitor_stats(struct buf *out, const char *key, struct monitor *m);
/* Those that are on, of one plugin's calls. */
void tell_anomalies(struct buf *out, const char *key, struct monitor *m, const char *plugin);
void metrics_monitor(struct buf *out, struct monitor *m); /* OpenMetrics families */

#endif
