#include "measure/series.h"

#include <math.h>
#include <string.h>

#define NS_PER_S 1000000000ull
#define MINUTE_SPAN_NS (5 * NS_PER_S)
#define HOUR_SPAN_NS (300 * NS_PER_S)
#define RENEW_NS (600 * NS_PER_S)  /* so old may be what is compared with */
#define LASTS_NS (3600 * NS_PER_S) /* then it is how things are */
#define QUIET_NS (300 * NS_PER_S)  /* nothing happens any more, so nothing bad */

/* Slow calls come together: what a few seconds say of the usual time is not usual. */
#define SUMS_LEAST 12

/* docs/measure.md has the reasons for each. */
static const struct sequential_limits limits = {
    .tolerated = 0.02, .margin = 0.06, .false_alarm = 1e-6, .false_pass = 0.01};

void series_init(struct series *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    window_init(&s->minute, MINUTE_SPAN_NS);
    window_init(&s->hour, HOUR_SPAN_NS);
    s->random = seed;
}

/* With the hour that ends now; where too little happened in it the one before stays. */
static void begin(struct series *s, uint64_t now_ns)
{
    struct watch fresh;
    struct window_sum hour;
    window_read(&s->hour, now_ns, &hour);
    if (s->sums < SUMS_LEAST)
        hour.values = (struct histogram){0};
    if (!watch_begin(&fresh, &limits, &hour, s->random + now_ns))
        return;
    s->watch = fresh;
    s->watched = true;
    s->begun_ns = now_ns;
    s->calls = 0;
}

static void find(struct series *s, enum watch_kind k, uint64_t now_ns)
{
    const struct sequential *t = &s->watch.tests[k];
    s->found[k] = (struct anomaly){.on = true,
                                   .since_ns = now_ns,
                                   .before = s->watch.before[k],
                                   .after = {t->after.n, t->after.bad},
                                   .slow_ns = s->watch.slow_ns,
                                   .evidence = t->log_worse / log(10)};
}

static void end(struct anomaly *f, uint64_t now_ns)
{
    f->on = false;
    f->until_ns = now_ns;
}

static bool is_old(const struct series *s, const struct anomaly *f, uint64_t now_ns)
{
    return now_ns - f->since_ns > LASTS_NS || now_ns - s->last_ns > QUIET_NS;
}

/* true: it began, or ended. */
static bool judge(struct series *s, enum watch_kind k, uint64_t now_ns)
{
    struct anomaly *f = &s->found[k];
    enum sequential_verdict v = s->watch.tests[k].verdict;
    bool changed = false;
    if (v == SEQUENTIAL_WORSE && !f->on) {
        find(s, k, now_ns);
        changed = true;
    } else if (f->on && (v == SEQUENTIAL_FINE || is_old(s, f, now_ns))) {
        end(f, now_ns);
        changed = true;
    }
    if (v != SEQUENTIAL_OPEN)
        watch_again(&s->watch, k);
    return changed;
}

/* While one is on it is compared with what was before it. */
static bool is_due(const struct series *s, uint64_t now_ns)
{
    for (int k = 0; k < WATCH_KINDS; k++)
        if (s->found[k].on)
            return false;
    return !s->watched || now_ns - s->begun_ns > RENEW_NS || s->sums == SUMS_LEAST ||
           s->calls > 2 * s->watch.before[WATCH_ERRORS].calls;
}

unsigned series_add(struct series *s, uint64_t now_ns, const struct window_sum *some)
{
    unsigned changed = 0;
    if (some->calls) {
        s->last_ns = now_ns;
        s->sums++;
    }
    if (is_due(s, now_ns))
        begin(s, now_ns);
    if (s->watched) {
        watch_feed(&s->watch, some);
        for (int k = 0; k < WATCH_KINDS; k++)
            changed |= (unsigned)judge(s, (enum watch_kind)k, now_ns) << k;
    }
    s->calls += some->calls;
    window_merge(&s->minute, now_ns, some);
    window_merge(&s->hour, now_ns, some);
    return changed;
}

bool series_is_idle(const struct series *s, uint64_t now_ns)
{
    struct window_sum hour;
    window_read(&s->hour, now_ns, &hour);
    for (int k = 0; k < WATCH_KINDS; k++)
        if (s->found[k].on)
            return false;
    return !hour.calls;
}
