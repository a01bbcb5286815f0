/* measure/sequential: is the new one worse than the old one?  Two streams of outcomes (bad or not) come in, at any
 * pace; after each one the answer may be read and acted on at once: the stated errors hold for the whole life of the
 * test, however often one looks (docs/measure.md has the proof).  Pure: no memory, no time, no lock.
 *
 * Both rates are unknown; the old one's is that of the same time, not of some time before, so that what harms both
 * (load, a slow disk) speaks against neither. */
#ifndef MEASURE_SEQUENTIAL_H
#define MEASURE_SEQUENTIAL_H

#include <stdbool.h>
#include <stdint.h>

enum sequential_verdict {
    SEQUENTIAL_OPEN,  /* not enough was seen */
    SEQUENTIAL_WORSE, /* the new one's rate is higher than the old one's by more than `tolerated` */
    SEQUENTIAL_FINE   /* it is higher by less than `margin`, if at all */
};
const char *sequential_verdict_name(enum sequential_verdict v);

struct sequential_limits {
    double tolerated, margin;       /* differences of two rates; 0 <= tolerated <= margin < 1 */
    double false_alarm, false_pass; /* how likely WORSE is, ever, when it is not; FINE, when it is not */
};

/* What still waits to be compared, the newest in bit 0. */
struct sequential_side {
    uint64_t waiting;
    unsigned nwaiting, block;
    uint64_t n, bad;         /* all that came */
    uint64_t used, used_bad; /* of them compared */
};

struct sequential {
    struct sequential_limits limits;
    struct sequential_side before, after; /* the old one, the new one */
    double log_worse, log_fine;           /* evidence, as logarithms; the verdict falls at -log of the errors */
    enum sequential_verdict verdict;      /* the first that fell stays */
};

/* Compared are blocks of so many outcomes of each, 1 to 16: as the traffic is shared, so that little is left over. */
void sequential_init(struct sequential *s, const struct sequential_limits *limits, unsigned before, unsigned after);
enum sequential_verdict sequential_before(struct sequential *s, bool bad); /* one outcome of the old one */
enum sequential_verdict sequential_after(struct sequential *s, bool bad);  /* of the new one */

#endif
