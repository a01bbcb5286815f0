#include "measure/guard.h"

#include <string.h>

#include "measure/histogram.h"

const struct sequential_limits guard_limits = {
    .tolerated = 0.02, .margin = 0.08, .false_alarm = 0.01, .false_pass = 0.01};

#define SEEN_LEAST 20       /* runs to compare with; less says nothing */
#define HALVED_FROM 200     /* of fewer none is spared for learning what is slow */
#define SLOW_AFTER 100      /* runs of an action, before anything is called slow */
#define SLACK_NS 1000000ull /* what is less than this slower, or than a quarter, says nothing */
#define NEW_RUNS 400        /* that what was seen is to last for */
#define BLOCK_MAX 16
#define NO_BORDER UINT16_MAX

/* ---- runs ---- */

#define KIND_BITS 2
#define BUCKET_BITS 10
_Static_assert(HISTOGRAM_BUCKETS <= 1 << BUCKET_BITS, "a bucket fits");

uint32_t guard_run(enum guard_kind kind, uint32_t action, uint64_t ran_ns)
{
    return (action % GUARD_ACTIONS) << (KIND_BITS + BUCKET_BITS) | histogram_bucket(ran_ns) << KIND_BITS |
           (uint32_t)kind;
}

enum guard_kind guard_kind_of(uint32_t run)
{
    return run & ((1u << KIND_BITS) - 1);
}

static unsigned bucket_of(uint32_t run)
{
    return run >> KIND_BITS & ((1u << BUCKET_BITS) - 1);
}

static size_t action_of(uint32_t run)
{
    return run >> (KIND_BITS + BUCKET_BITS);
}

/* ---- what is slow ---- */

static size_t step(size_t nseen)
{
    return nseen < HALVED_FROM ? 1 : 2;
}

static uint16_t border(const uint32_t *seen, size_t nseen, size_t action)
{
    struct histogram runs = {0};
    for (size_t i = 1; i < nseen; i += 2)
        if (action_of(seen[i]) == action && guard_kind_of(seen[i]) == GUARD_GOOD)
            histogram_add(&runs, histogram_middle(bucket_of(seen[i])));
    if (runs.count < SLOW_AFTER)
        return NO_BORDER;
    uint64_t p99 = histogram_quantile(&runs, 0.99);
    return (uint16_t)histogram_bucket(p99 + p99 / 4 + SLACK_NS);
}

/* Of few runs none is learnt from; an action with too few of them costs no second look at all of them. */
static void learn_borders(const uint32_t *seen, size_t nseen, uint16_t *borders, size_t nactions)
{
    memset(borders, 0, nactions * sizeof *borders);
    for (size_t i = 1; step(nseen) == 2 && i < nseen; i += 2)
        if (action_of(seen[i]) < nactions)
            borders[action_of(seen[i])]++;
    for (size_t a = 0; a < nactions; a++)
        borders[a] = borders[a] < SLOW_AFTER ? NO_BORDER : border(seen, nseen, a);
}

/* ---- judging ---- */

enum judgement { NOTHING, FINE, FAILED, SLOW };

static enum judgement judge(const struct guard_test *t, uint32_t run)
{
    size_t action = action_of(run);
    if (action >= t->nactions)
        return NOTHING;
    bool known = t->borders[action] != NO_BORDER, slow = known && bucket_of(run) > t->borders[action];
    switch (guard_kind_of(run)) {
    case GUARD_GOOD:
        return slow ? SLOW : FINE;
    case GUARD_FAILED:
        return FAILED;
    case GUARD_LATE:
        return slow || !known ? FAILED : NOTHING;
    default:
        return slow ? FAILED : NOTHING;
    }
}

static void count(struct guard_side *side, enum judgement j)
{
    side->calls++;
    side->failed += j == FAILED;
    side->slow += j == SLOW;
}

static unsigned clamp(size_t n)
{
    return n < 1 ? 1 : n > BLOCK_MAX ? BLOCK_MAX : (unsigned)n;
}

bool guard_init(struct guard_test *t, const uint32_t *seen, size_t nseen, uint16_t *borders, size_t nactions,
                unsigned warm)
{
    learn_borders(seen, nseen, borders, nactions);
    *t = (struct guard_test){.seen = seen, .nseen = nseen, .borders = borders, .nactions = nactions, .warm = warm};
    for (size_t i = 0; i < nseen; i += step(nseen)) {
        enum judgement j = judge(t, seen[i]);
        if (j != NOTHING)
            count(&t->before, j);
    }
    size_t n = t->before.calls;
    sequential_init(&t->test, &guard_limits, clamp(n / NEW_RUNS), clamp(NEW_RUNS / (n ? n : 1)));
    return n >= SEEN_LEAST;
}

/* The next ones that were seen, as many as a block takes. */
static void refill(struct guard_test *t)
{
    struct sequential *s = &t->test;
    for (; s->before.nwaiting < s->before.block && t->next < t->nseen; t->next += step(t->nseen)) {
        enum judgement j = judge(t, t->seen[t->next]);
        if (j != NOTHING)
            sequential_before(s, j != FINE);
    }
}

enum sequential_verdict guard_add(struct guard_test *t, uint32_t run)
{
    enum judgement j = judge(t, run);
    if (j == NOTHING || t->test.verdict != SEQUENTIAL_OPEN)
        return t->test.verdict; /* once it has fallen its evidence stays as it was */
    if (j == SLOW && t->after.calls < t->warm)
        j = FINE;
    count(&t->after, j);
    refill(t);
    return sequential_after(&t->test, j != FINE);
}
