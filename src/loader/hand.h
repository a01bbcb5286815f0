/* loader/hand: a plugin whose manifest says "state": true hands its state over to its next generation.  Everything here
 * runs on the supervise thread, and only what a worker itself has to do is an errand of its (loader/errand).
 *
 *   the heir is ready ──> DRAINS ──its calls are over──> SAVES ──the blob──> RESTORES ──> published
 *                            │                              │                    │
 *                            └───── 10 s, 5 s a step, refused, too large, a death, a stop, another definition ─────>
 * dropped
 *
 * From the beginning on neither of the two has new calls: they queue. Both ways out resume who is left: the heir, now
 * the current generation, or the old worker with the state that it had. */
#ifndef LOADER_HAND_H
#define LOADER_HAND_H

#include "base/clock.h"
#include "base/error.h"
#include "base/loop.h"
#include "loader/errand.h"

#define HAND_DRAIN_NS (10 * NS_PER_S) /* a call that runs on for longer keeps the old generation */
#define HAND_STATE_MAX (8u << 20)     /* bytes of state */

struct plugin;
struct generation;

enum hand_step {
    HAND_NONE,
    HAND_WAITS, /* the old worker still answers an errand of an earlier hand-over */
    HAND_SAVES, /* it drains, and then saves */
    HAND_RESTORES
};

struct hand {
    enum hand_step step;
    struct worker *old, *heir; /* both live while it lasts: their deaths end it */
    struct loop_timer late;
};

bool hand_wanted(const struct generation *next); /* its first worker is ready: does it wait for a state? */
void hand_begin(struct worker *heir);            /* which is paused, and stands in its slot */
void hand_told(struct worker *w, struct errand *answer);
void hand_worker_died(struct worker *w); /* before anything else is done about that */
void hand_end(struct plugin *p);         /* the next generation is given up: the old worker goes on */

#endif
