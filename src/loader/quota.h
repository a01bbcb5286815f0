/* loader/quota: what lies in the places that a plugin may write, held to their bounds.  A thread of its own weighs them
 * (sandbox/weigh.h) while calls run, the sooner again the less is left; nothing is weighed while nothing runs.  Part of
 * loader/internal, whose words for threads and locks it uses.
 *
 *   a call begins ──> weighed ──within──> again, until no call runs
 *                        └──over──> every worker that may write there is killed, calls answer `limit`
 *   the next start ──> weighed first ──over──> it fails with `limit`; else it starts, as ever
 *
 * The kernel bounds each file at once (RLIMIT_FSIZE); this bounds what comes together (docs/quota.md). */
#ifndef LOADER_QUOTA_H
#define LOADER_QUOTA_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"
#include "loader/loader.h"

struct generation;
struct quota;
struct worker;

/* Of the loader. */
struct quotas {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct quota *armed; /* lock */
    pthread_t thread;
    bool runs;            /* supervise: the thread was started */
    _Atomic bool closing; /* atomic */
};
void quotas_init(struct quotas *q);
void quotas_close(struct quotas *q); /* nothing is weighed any more; supervise still runs */
void quotas_clear(struct quotas *q);

/* supervise; false: no memory, or no thread. Of a generation without bounds there is nothing to make. */
bool quota_make(struct generation *g);
void quota_free(struct quota *q);                     /* with its generation; NULL is fine */
void quota_arm(struct quota *q);                      /* the owner of a worker in which something has just begun */
bool quota_first(struct generation *g);               /* supervise: it is weighed before it starts, and started then */
bool quota_shut(struct plugin *p);                    /* supervise: it was over; every call is a try from here on */
void quota_look(struct worker *w);                    /* supervise, now and then: it works though no call runs */
bool quota_told(struct plugin *p, struct error *err); /* the plugin's lock: why it was over; false: it is not */
void quota_forget(struct plugin *p);

#endif
