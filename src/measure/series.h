/* measure/series: what one thing does over time, and when it does worse than in the hour before.  Two windows, of the
 * last minute and the last hour, and a watch over both questions of measure/watch, begun again and again.  Pure as
 * measure/window.  docs/measure.md says how often it is wrong and how long it takes. */
#ifndef MEASURE_SERIES_H
#define MEASURE_SERIES_H

#include "measure/watch.h"

/* An anomaly, or none: how it was found. */
struct anomaly {
    bool on;
    uint64_t since_ns, until_ns;      /* of the caller's clock; until: the last one's end */
    struct watch_share before, after; /* after: of the calls that were drawn; until it was found */
    uint64_t slow_ns;                 /* what took longer was slow */
    double evidence; /* how much likelier the calls are when it is true: the logarithm to the base 10 */
};

struct series {
    struct window minute, hour;
    bool watched;             /* there was enough to compare with */
    uint64_t begun_ns, calls; /* what it is compared with, and how much happened since */
    uint64_t last_ns, sums;   /* of something that happened: the last time, and how often */
    uint64_t random;
    struct watch watch;
    struct anomaly found[WATCH_KINDS];
};

void series_init(struct series *s, uint64_t seed);
/* What happened since the last time. Bits of 1 << enum watch_kind: anomalies that began or ended by it. */
unsigned series_add(struct series *s, uint64_t now_ns, const struct window_sum *some);
/* Nothing happened for longer than it can tell of, and no anomaly is on. */
bool series_is_idle(const struct series *s, uint64_t now_ns);

#endif
