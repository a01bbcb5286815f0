#include "loader/rate.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "loader/internal.h"

#define LEAST 20 /* calls of a minute; fewer say nothing */

/* Those of a worker since the last look, as many as are kept. */
static void count(struct worker *w, struct rate_span *to)
{
    const struct outcomes *o = atomic_load_explicit(&w->outcomes, memory_order_acquire);
    uint64_t end = outcomes_count(w);
    uint64_t from = end > OUTCOMES_KEPT && w->rated < end - OUTCOMES_KEPT ? end - OUTCOMES_KEPT : w->rated;
    for (; from < end; from++) {
        enum guard_kind kind =
            guard_kind_of(atomic_load_explicit(&o->runs[from % OUTCOMES_KEPT], memory_order_relaxed));
        to->runs += kind != GUARD_CUT_SHORT; /* its caller had less patience than usual */
        to->faults += kind == GUARD_FAILED || kind == GUARD_LATE;
    }
    w->rated = end;
}

static struct rate_span sum(const struct rate *r)
{
    struct rate_span all = {0};
    for (unsigned i = 0; i < RATE_SPANS; i++) {
        all.runs += r->spans[i].runs;
        all.faults += r->spans[i].faults;
    }
    return all;
}

/* More than half of them fail: that is told until less than a quarter does. */
static enum health judge(const struct rate *r, const struct rate_span *all)
{
    if (all->runs < LEAST || all->faults * (r->told ? 4 : 2) <= all->runs)
        return HEALTH_UNKNOWN;
    return all->faults == all->runs ? HEALTH_FAILED : HEALTH_DEGRADED;
}

void rate_look(struct plugin *p)
{
    struct rate *r = &p->rate;
    char why[100] = "";
    for (struct worker *w = p->living; w; w = w->next)
        if (w->gen == p->current)
            count(w, &r->spans[r->at]);
    struct rate_span all = sum(r);
    enum health health = judge(r, &all);
    if (health != HEALTH_UNKNOWN)
        snprintf(why, sizeof why, "%llu of its last %llu calls failed", (unsigned long long)all.faults,
                 (unsigned long long)all.runs);
    if (health != HEALTH_UNKNOWN && !r->told)
        log_event(LOG_WARN, "plugin_failing", "plugin", p->name, "why", why, NULL);
    if (health != HEALTH_UNKNOWN || r->told)
        plugin_rate(p, health, why);
    r->told = health != HEALTH_UNKNOWN;
    r->at = (r->at + 1) % RATE_SPANS;
    r->spans[r->at] = (struct rate_span){0};
}

void rate_worker_gone(struct worker *w)
{
    struct plugin *p = w->plugin;
    if (w->gen == p->current)
        count(w, &p->rate.spans[p->rate.at]);
}

void rate_restart(struct plugin *p)
{
    bool told = p->rate.told;
    memset(&p->rate, 0, sizeof p->rate);
    for (struct worker *w = p->living; w; w = w->next)
        w->rated = outcomes_count(w);
    if (told)
        plugin_rate(p, HEALTH_UNKNOWN, "");
}
