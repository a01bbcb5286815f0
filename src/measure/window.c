#include "measure/window.h"

#include <string.h>

void window_init(struct window *w, uint64_t span_ns)
{
    memset(w, 0, sizeof *w);
    w->span_ns = span_ns;
}

void window_add(struct window *w, uint64_t now_ns, uint64_t value, bool bad)
{
    uint64_t number = now_ns / w->span_ns + 1;
    struct window_span *s = &w->spans[number % WINDOW_SPANS];
    if (s->number > number)
        return; /* a whole window late */
    if (s->number < number)
        *s = (struct window_span){.number = number};
    histogram_add(&s->sum.values, value);
    s->sum.bad += bad;
}

void window_read(const struct window *w, uint64_t now_ns, struct window_sum *out)
{
    uint64_t number = now_ns / w->span_ns + 1;
    *out = (struct window_sum){0};
    for (unsigned i = 0; i < WINDOW_SPANS; i++) {
        const struct window_span *s = &w->spans[i];
        if (!s->number || s->number > number || s->number + WINDOW_SPANS <= number)
            continue;
        histogram_merge(&out->values, &s->sum.values);
        out->bad += s->sum.bad;
    }
}
