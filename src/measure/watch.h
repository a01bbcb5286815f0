/* measure/watch: has what happens become worse than what happened before?  Stands on measure/window and
 * measure/sequential: what happened before is the sum of a window, what happens comes in sums of a few seconds.  Two
 * questions are asked at once: do more calls fail, are more calls slow?  Slow is what takes longer than 99 of 100 took
 * before, a quarter and a millisecond more.  Pure as measure/histogram, but for the random numbers it draws by a seed.
 */
#ifndef MEASURE_WATCH_H
#define MEASURE_WATCH_H

#include "measure/sequential.h"
#include "measure/window.h"

#define WATCH_LEAST 100       /* calls before; below, nothing can be compared */
#define WATCH_LEAST_TIMED 500 /* of them timed; below, nothing is called slow: of 100 the 99th is chance */
#define WATCH_DRAWN 256       /* calls that are looked at of one sum; of more as many are drawn */

enum watch_kind { WATCH_ERRORS, WATCH_LATENCY, WATCH_KINDS };
const char *watch_kind_name(enum watch_kind k); /* "errors", "latency" */

struct watch {
    uint64_t slow_ns;
    struct watch_share {
        uint64_t calls, bad;
    } before[WATCH_KINDS];
    struct sequential tests[WATCH_KINDS];
    struct sequential_limits limits;
    uint64_t random; /* not 0 */
};

/* For what was changed, and is watched for a while: docs/parameters.md has the reasons. */
extern const struct sequential_limits watch_change;

/* false: too few calls before; then there is nothing to feed. Where too few were timed, nobody asks for slow ones. */
bool watch_begin(struct watch *w, const struct sequential_limits *limits, const struct window_sum *before,
                 uint64_t seed);
/* The same comparison from its beginning: one kind, with what was before as it is. */
void watch_again(struct watch *w, enum watch_kind kind);
/* What happened since it was fed last. Verdicts are in tests[].verdict; the calls that were drawn in tests[].after. */
void watch_feed(struct watch *w, const struct window_sum *some);

#endif
