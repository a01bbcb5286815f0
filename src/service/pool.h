/* service/pool: how many half-built walls stand ready: as many starts as are likely at once in this hour, by a forecast
 * of the most that each hour of the past had.  From `pool` to `pool_forecast`, which a setting of 0 switches off; with
 * too little recorded it is `pool`.  Off the path of calls and starts: looked at with the monitor, worked out twice an
 * hour.  Private to src/service. */
#ifndef SERVICE_POOL_H
#define SERVICE_POOL_H

#include <pthread.h>

#include "base/buf.h"
#include "service/hours.h"

struct job;
struct service;

struct pool_plan {
    bool enough;       /* was recorded to forecast */
    double mean, high; /* starts at once, in the hour that was worked out; high: met nineteen times in twenty */
    unsigned size;
};

struct pool {
    pthread_mutex_t lock;
    struct pool_plan plan;
    uint64_t turn; /* what the plan is for; 0: none was made */
};

void pool_open(struct pool *p);
void pool_close(struct pool *p);

/* What is to stand ready, at a time, with what is recorded. Pure. */
void pool_make(const struct hours *hours, unsigned least, unsigned most, uint64_t now_ns, struct pool_plan *out);
/* Works it out when it is time to, and says so to the loader. A jobs thread. */
void pool_look(struct service *s, struct job *job);
/* When it is time to, at the latest; wall clock, ns. */
uint64_t pool_next(const struct service *s, uint64_t now_ns);
/* What bounds the starts of an hour that are looked at; 0: nothing is. */
unsigned pool_most(const struct service *s);

void tell_pool(struct buf *out, const char *key, struct service *s);
void tell_pool_size(struct buf *out, const char *key, struct service *s); /* figures alone */
void metrics_pool(struct buf *out, struct service *s);

#endif
