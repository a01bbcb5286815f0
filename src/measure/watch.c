#include "measure/watch.h"

#include <math.h>
#include <string.h>

#define SLOW_SLACK_NS 1000000

/* Four of what was before to one of what happens: its rate is known well, and the test need not wait for it. */
#define BLOCK_BEFORE 16
#define BLOCK_AFTER 4

/* Where none of n calls was bad the rate may well be 3 / n; else so many deviations more than was seen. */
#define UNSEEN 3
#define SURE 1.64

const struct sequential_limits watch_change = {
    .tolerated = 0.02, .margin = 0.08, .false_alarm = 0.01, .false_pass = 0.01};

const char *watch_kind_name(enum watch_kind k)
{
    static const char *const names[] = {"errors", "latency"};
    return names[k];
}

/* ---- random numbers (xorshift64*) ---- */

static uint64_t random64(struct watch *w)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * 0x2545f4914f6cdd1d;
}

static bool happens(struct watch *w, double rate)
{
    return (double)(random64(w) >> 11) * 0x1p-53 < rate;
}

/* ---- what is bad ---- */

static struct watch_share failed(const struct window_sum *sum)
{
    return (struct watch_share){sum->calls, sum->bad < sum->calls ? sum->bad : sum->calls};
}

static struct watch_share slower(const struct window_sum *sum, uint64_t slow_ns)
{
    struct watch_share s = {.calls = sum->values.count};
    for (unsigned b = histogram_bucket(slow_ns) + 1; b < HISTOGRAM_BUCKETS; b++)
        s.bad += sum->values.buckets[b];
    return s;
}

static struct watch_share share(const struct watch *w, enum watch_kind k, const struct window_sum *sum)
{
    return k == WATCH_ERRORS ? failed(sum) : slower(sum, w->slow_ns);
}

/* ---- comparing ---- */

void watch_again(struct watch *w, enum watch_kind kind)
{
    sequential_init(&w->tests[kind], &w->limits, BLOCK_BEFORE, BLOCK_AFTER);
}

bool watch_begin(struct watch *w, const struct sequential_limits *limits, const struct window_sum *before,
                 uint64_t seed)
{
    uint64_t p99 = histogram_quantile(&before->values, 0.99);
    if (before->calls < WATCH_LEAST)
        return false;
    memset(w, 0, sizeof *w);
    w->limits = *limits;
    w->random = seed ? seed : 1;
    w->slow_ns = p99 + p99 / 4 + SLOW_SLACK_NS;
    for (int k = 0; k < WATCH_KINDS; k++) {
        w->before[k] = share(w, (enum watch_kind)k, before);
        watch_again(w, (enum watch_kind)k);
    }
    return true;
}

/* What was before was seen in some calls: its rate may well have been higher, and what goes on as ever is no alarm. */
static double upper(const struct watch_share *s)
{
    double n = (double)s->calls, p = ((double)s->bad + UNSEEN) / (n + UNSEEN), most = p + SURE * sqrt(p * (1 - p) / n);
    return most < 1 ? most : 1;
}

/* What was before is drawn with the most that its share may well have been; what happens without putting back, so that
 * it is in the order of a shuffled pack: any order is as likely as the true one, which nobody knows. */
static void feed_kind(struct watch *w, enum watch_kind k, const struct window_sum *some)
{
    struct watch_share s = share(w, k, some);
    struct sequential *t = &w->tests[k];
    double before = upper(&w->before[k]);
    if (k == WATCH_LATENCY && w->before[k].calls < WATCH_LEAST_TIMED)
        return;
    for (unsigned i = 0; i < WATCH_DRAWN && s.calls && t->verdict == SEQUENTIAL_OPEN; i++) {
        for (unsigned j = 0; j < BLOCK_BEFORE / BLOCK_AFTER; j++)
            sequential_before(t, happens(w, before));
        bool bad = happens(w, (double)s.bad / (double)s.calls);
        sequential_after(t, bad);
        s.calls--;
        s.bad -= bad;
    }
}

void watch_feed(struct watch *w, const struct window_sum *some)
{
    for (int k = 0; k < WATCH_KINDS; k++)
        feed_kind(w, (enum watch_kind)k, some);
}
