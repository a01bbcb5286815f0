/* orchestrator/score: how good a candidate is (docs/tasks.md, "Which plugin runs a step"), and which is the best.  Pure
 * but for the offers' figures; any thread.
 *
 *     score = 0.40 health + 0.30 success + 0.20 speed + 0.10 thrift + exploration
 *     health       healthy 1, not running yet 0.8, degraded 0.4, failed or its circuit open 0
 *     success      (runs - faults + 1) / (runs + 2)
 *     speed        1 / (1 + mean time of a run / 100 ms)
 *     thrift       1 / (1 + mean CPU time of a run / 100 ms)
 *     exploration  0.25 sqrt(ln(1 + runs of all candidates) / (1 + own runs)), at most 0.5
 */
#ifndef ORCHESTRATOR_SCORE_H
#define ORCHESTRATOR_SCORE_H

#include "orchestrator/catalog.h"

void score_unknown(struct offer *o); /* a new one */
void score_figures(struct offer *o, const struct loader_merits *f);
/* It was chosen: its exploration shrinks at once, not only with the next figures. */
static inline void score_chosen(struct offer *o)
{
    atomic_fetch_add_explicit(&o->runs, 1, memory_order_relaxed);
}

float score_exploration(uint64_t runs, float log_of_all);
float score_log_of_all(const struct choice *c);

/* The best of those of which mask (NULL: all) has a bit; the first of equals; not `avoid` where there is another one.
 * -1: there is none. */
int64_t score_best(const struct choice *c, const uint64_t *mask, int64_t avoid);

#endif
