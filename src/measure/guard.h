/* measure/guard: is what comes now worse than what was before?  For a change that was made to all of something at once:
 * nothing of the old kind runs beside the new one, so the runs that were seen before the change stand in for it, one by
 * one.  Every other of them says which times are slow; the rest is what the new ones are compared with, by
 * measure/sequential.  Pure: the caller owns the memory; no time, no lock.  docs/measure.md has reasons and figures. */
#ifndef MEASURE_GUARD_H
#define MEASURE_GUARD_H

#include <stddef.h>

#include "measure/sequential.h"

/* How a run ended. What its caller or an operator did is none of these, and is not to be added. */
enum guard_kind {
    GUARD_GOOD,
    GUARD_FAILED,   /* by a fault of its own */
    GUARD_LATE,     /* all the time that it usually has was over */
    GUARD_CUT_SHORT /* a shorter time was over: bad only when it was slow by then */
};

/* One run in a word: how it ended, the histogram's bucket of its time, which action it was. */
#define GUARD_ACTIONS (1u << 20)
uint32_t guard_run(enum guard_kind kind, uint32_t action, uint64_t ran_ns);
enum guard_kind guard_kind_of(uint32_t run);

struct guard_side {
    uint64_t calls, failed, slow; /* that were judged; of them bad, for one reason or the other */
};

struct guard_test {
    struct sequential test;
    const uint32_t *seen; /* the caller's, for the life of the test */
    size_t nseen, next;
    const uint16_t *borders; /* the caller's: by action, the last bucket that is not slow */
    size_t nactions;
    unsigned warm;
    struct guard_side before, after; /* before: all that new ones can be compared with */
};

extern const struct sequential_limits guard_limits;

/* borders gets one for each action; a run of another action is none of the test's. The first `warm` new runs are not
 * called slow. false: too little was seen to compare anything with. */
bool guard_init(struct guard_test *t, const uint32_t *seen, size_t nseen, uint16_t *borders, size_t nactions,
                unsigned warm);
enum sequential_verdict guard_add(struct guard_test *t, uint32_t run); /* a new one */

#endif
