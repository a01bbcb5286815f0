#include "measure/sequential.h"

#include <math.h>
#include <string.h>

#define WAITING_MAX 64
#define BLOCK_MAX 16

const char *sequential_verdict_name(enum sequential_verdict v)
{
    static const char *const names[] = {"open", "worse", "fine"};
    return names[v];
}

static unsigned bounded(unsigned n)
{
    return n < 1 ? 1 : n > BLOCK_MAX ? BLOCK_MAX : n;
}

void sequential_init(struct sequential *s, const struct sequential_limits *limits, unsigned before, unsigned after)
{
    memset(s, 0, sizeof *s);
    s->limits = *limits;
    s->before.block = bounded(before);
    s->after.block = bounded(after);
}

/* ---- one block ---- */

struct rates {
    double before, after;
};

struct block {
    double n, m; /* outcomes of the old one, of the new one */
    double x, y; /* the bad ones of them */
};

/* What is guessed before a block is looked at: from the blocks before it, beginning with "mostly good". */
#define GUESS_BAD 0.2
#define GUESS_ALL 4.0

static double guess(const struct sequential_side *side)
{
    return ((double)side->used_bad + GUESS_BAD) / ((double)side->used + GUESS_ALL);
}

/* Of the rates with after == before + d, those that are hardest to tell from g by blocks of this size (the least
 * relative entropy, which is convex along that line). */
static struct rates nearest(struct rates g, double d, const struct block *b)
{
    double low = fmin(g.before, g.after - d), high = fmax(g.before, g.after - d);
    low = fmax(low, 0);
    high = fmin(high, 1 - d);
    for (int i = 0; i < 50; i++) {
        double p = (low + high) / 2, q = p + d;
        double slope = b->n * (g.before - p) / (p * (1 - p)) + b->m * (g.after - q) / (q * (1 - q));
        *(slope > 0 ? &low : &high) = p;
    }
    return (struct rates){(low + high) / 2, (low + high) / 2 + d};
}

static double log_ratio(double bad, double all, double p, double q)
{
    return (bad > 0 ? bad * log(p / q) : 0) + (all > bad ? (all - bad) * log((1 - p) / (1 - q)) : 0);
}

/* How much better the guess explains the block than the nearest rates of the null hypothesis do. */
static double evidence(struct rates g, double d, const struct block *b)
{
    struct rates null = nearest(g, d, b);
    return log_ratio(b->x, b->n, g.before, null.before) + log_ratio(b->y, b->m, g.after, null.after);
}

static double take(struct sequential_side *side)
{
    unsigned bad = 0;
    for (unsigned i = 0; i < side->block; i++)
        bad += side->waiting >> --side->nwaiting & 1;
    return bad;
}

/* Where the guess itself lies within a null hypothesis it says nothing against it. */
static void compare(struct sequential *s)
{
    struct rates g = {guess(&s->before), guess(&s->after)};
    struct block b = {s->before.block, s->after.block, take(&s->before), take(&s->after)};
    const struct sequential_limits *l = &s->limits;
    if (g.after > g.before + l->tolerated)
        s->log_worse += evidence(g, l->tolerated, &b);
    if (g.after < g.before + l->margin)
        s->log_fine += evidence(g, l->margin, &b);
    s->before.used += s->before.block;
    s->after.used += s->after.block;
    s->before.used_bad += (uint64_t)b.x;
    s->after.used_bad += (uint64_t)b.y;
    if (s->verdict != SEQUENTIAL_OPEN)
        return;
    if (s->log_worse >= -log(l->false_alarm))
        s->verdict = SEQUENTIAL_WORSE;
    else if (s->log_fine >= -log(l->false_pass))
        s->verdict = SEQUENTIAL_FINE;
}

/* Of too many that wait the oldest goes: what is compared is of about the same time. */
static enum sequential_verdict add(struct sequential *s, struct sequential_side *side, bool bad)
{
    side->n++;
    side->bad += bad;
    side->waiting = side->waiting << 1 | bad;
    side->nwaiting += side->nwaiting < WAITING_MAX;
    if (s->before.nwaiting >= s->before.block && s->after.nwaiting >= s->after.block)
        compare(s);
    return s->verdict;
}

enum sequential_verdict sequential_before(struct sequential *s, bool bad)
{
    return add(s, &s->before, bad);
}

enum sequential_verdict sequential_after(struct sequential *s, bool bad)
{
    return add(s, &s->after, bad);
}
