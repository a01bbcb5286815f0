/* measure/histogram: how values spread, in buckets of a fixed relative width.  Pure: it owns no memory, keeps no time,
 * takes no lock; who shares one sees to it.
 *
 * Values up to 15 have a bucket each; above, eight per power of two.  So a quantile is within a sixteenth of a value
 * that was really added, whatever the unit.  Beyond 2^46 (19 hours in nanoseconds) all share the last bucket.  Merging
 * loses nothing: it is the histogram of all values together. */
#ifndef MEASURE_HISTOGRAM_H
#define MEASURE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 352

struct histogram {
    uint64_t count, sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* For those who count in an array of their own (of atomics, say). */
static inline unsigned histogram_bucket(uint64_t value)
{
    if (value < 16)
        return (unsigned)value;
    unsigned power = 63u - (unsigned)__builtin_clzll(value);
    unsigned b = 16 + (power - 4) * 8 + (unsigned)(value >> (power - 3) & 7);
    return b < HISTOGRAM_BUCKETS ? b : HISTOGRAM_BUCKETS - 1;
}

uint64_t histogram_middle(unsigned bucket); /* the value that stands for a bucket */

void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *to, const struct histogram *from);

/* The smallest value that at least the share q (0 to 1) of all does not exceed, as its bucket's middle; 0: empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);

#endif
