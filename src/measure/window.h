/* measure/window: what happened lately: outcomes and values of the last WINDOW_SPANS spans of time, the oldest of which
 * falls out as a whole.  Pure as measure/histogram; time is what the caller says it is, and does not go back: what is
 * late by less than the window counts in its own span, what is later is left out. */
#ifndef MEASURE_WINDOW_H
#define MEASURE_WINDOW_H

#include <stdbool.h>

#include "measure/histogram.h"

#define WINDOW_SPANS 12

struct window_sum {
    uint64_t calls, bad;
    struct histogram values; /* of those calls that have one */
};

struct window {
    uint64_t span_ns;
    struct window_span {
        uint64_t number; /* of the span since time 0, plus 1; 0: never used */
        struct window_sum sum;
    } spans[WINDOW_SPANS];
};

void window_sum_add(struct window_sum *to, const struct window_sum *from);

/* span_ns > 0; the window reaches back between WINDOW_SPANS - 1 and WINDOW_SPANS of them. */
void window_init(struct window *w, uint64_t span_ns);
void window_add(struct window *w, uint64_t now_ns, uint64_t value, bool bad);
void window_merge(struct window *w, uint64_t now_ns, const struct window_sum *some); /* many at once */
/* All that is inside at that time. */
void window_read(const struct window *w, uint64_t now_ns, struct window_sum *out);

#endif
