#include "measure/window.h"

#include <string.h>

void window_init(struct window *w, uint64_t span_ns)
{
    memset(w, 0, sizeof *w);
    w->span_ns = span_ns;
}

/* Where what happens now counts; NULL: it is a whole window late. */
static struct window_sum *span_at(struct window *w, uint64_t now_ns)
{
    uint64_t number = now_ns / w->span_ns + 1;
    struct window_span *s = &w->spans[number % WINDOW_SPANS];
    if (s->number > number)
        return NULL;
    if (s->number < number)
        *s = (struct window_span){.number = number};
    return &s->sum;
}

void window_sum_add(struct window_sum *to, const struct window_sum *from)
{
    to->calls += from->calls;
    to->bad += from->bad;
    histogram_merge(&to->values, &from->values);
}

void window_add(struct window *w, uint64_t now_ns, uint64_t value, bool bad)
{
    struct window_sum *sum = span_at(w, now_ns);
    if (!sum)
        return;
    histogram_add(&sum->values, value);
    sum->calls++;
    sum->bad += bad;
}

void window_merge(struct window *w, uint64_t now_ns, const struct window_sum *some)
{
    struct window_sum *sum = span_at(w, now_ns);
    if (sum)
        window_sum_add(sum, some);
}

void window_read(const struct window *w, uint64_t now_ns, struct window_sum *out)
{
    uint64_t number = now_ns / w->span_ns + 1;
    *out = (struct window_sum){0};
    for (unsigned i = 0; i < WINDOW_SPANS; i++) {
        const struct window_span *s = &w->spans[i];
        if (!s->number || s->number > number || s->number + WINDOW_SPANS <= number)
            continue;
        window_sum_add(out, &s->sum);
    }
}
