#include "measure/histogram.h"

#include <math.h>

uint64_t histogram_middle(unsigned bucket)
{
    if (bucket < 16)
        return bucket;
    unsigned power = 4 + (bucket - 16) / 8;
    uint64_t step = 1ull << (power - 3);
    return (8 + (bucket - 16) % 8) * step + step / 2;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->count++;
    h->sum += value;
    h->buckets[histogram_bucket(value)]++;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    to->count += from->count;
    to->sum += from->sum;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    uint64_t seen = 0, want = (uint64_t)ceil(q * (double)h->count);
    want = want > h->count ? h->count : want ? want : 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= want)
            return histogram_middle(i);
    }
    return 0;
}
