#include "measure/forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BOUND 1e15
#define EVALUATIONS 200 /* of the sum of squares in one fit, at most */
#define HOLD_OUT_MAX 168

struct series {
    const double *y;
    size_t n;
    unsigned length[2];
};

/* ---- smoothing ---- */

static double season_at(const struct forecast *f, int which, size_t t)
{
    return f->length[which] ? f->at_season[which][t % f->length[which]] : 0;
}

/* All points; the state moves.  A season that is not used has one place, which stays 0. */
static double smooth(struct forecast *f, const double *y, size_t n)
{
    const struct forecast_parameters p = f->parameters;
    unsigned long0 = f->length[0] ? f->length[0] : 1, long1 = f->length[1] ? f->length[1] : 1, i = 0, k = 0;
    double level = f->at_level, trend = f->at_trend, sse = 0;
    for (size_t t = 0; t < n; t++) {
        double *first = &f->at_season[0][i], *second = &f->at_season[1][k], expected = level + trend;
        double off = y[t] - (expected + *first + *second), was = level;
        level = p.level * (y[t] - *first - *second) + (1 - p.level) * expected;
        trend = p.trend * (level - was) + (1 - p.trend) * trend;
        *first += p.season[0] * off;
        *second += p.season[1] * off;
        i = i + 1 == long0 ? 0 : i + 1;
        k = k + 1 == long1 ? 0 : k + 1;
        sse += off * off;
    }
    f->at_level = level;
    f->at_trend = trend;
    f->points = n;
    f->sse = sse;
    /* The state was made of the series as well: each value of it is one point less to judge by. */
    double free = (double)n - 4 - f->length[0] - f->length[1];
    f->deviation = sqrt(sse / fmax(free, (double)n / 4));
    return sse;
}

enum forecast_result forecast_smooth(const double *y, size_t n, const struct forecast *start, struct forecast *out)
{
    *out = *start;
    smooth(out, y, n);
    return FORECAST_DONE;
}

/* ---- a first state ---- */

static double mean(const double *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += y[i];
    return n ? sum / (double)n : 0;
}

/* What is left of the first whole seasons when their own means, the trend in them and the season before are taken off,
 * averaged by place. */
static void first_season(struct forecast *f, const struct series *s, int which)
{
    unsigned length = s->length[which];
    size_t whole = s->n / length < 4 ? s->n / length : 4;
    for (size_t k = 0; k < whole; k++) {
        double middle = mean(s->y + k * length, length);
        for (unsigned i = 0; i < length; i++) {
            double trend = f->at_trend * (i - (length - 1) / 2.0);
            double before = which ? season_at(f, 0, k * length + i) : 0;
            f->at_season[which][i] += (s->y[k * length + i] - middle - trend - before) / (double)whole;
        }
    }
}

static void first_state(struct forecast *f, const struct series *s)
{
    unsigned longest = s->length[1] ? s->length[1] : s->length[0] ? s->length[0] : (unsigned)(s->n < 10 ? s->n / 2 : 5);
    memset(f, 0, sizeof *f);
    memcpy(f->length, s->length, sizeof f->length);
    double a = mean(s->y, longest), b = mean(s->y + longest, s->n >= 2 * (size_t)longest ? longest : s->n - longest);
    f->at_trend = (b - a) / longest;
    f->at_level = a - f->at_trend * (longest + 1) / 2.0;
    for (int which = 0; which < 2; which++)
        if (s->length[which])
            first_season(f, s, which);
}

/* ---- fitting ---- */

#define DIMENSIONS 4

static double *parameter(struct forecast_parameters *p, int i)
{
    return i == 0 ? &p->level : i == 1 ? &p->trend : &p->season[i - 2];
}

struct fit {
    const struct series *s;
    struct forecast start;
    unsigned used;
    int dimensions, map[DIMENSIONS]; /* which parameters are free */
};

static void place(const struct fit *fit, const double *x, struct forecast_parameters *p)
{
    memset(p, 0, sizeof *p);
    for (int i = 0; i < fit->dimensions; i++)
        *parameter(p, fit->map[i]) = fmin(fmax(x[i], 0), 1);
}

/* Outside the unit cube the nearest point of it counts, and a little for the way there. */
static double cost(struct fit *fit, const double *x)
{
    struct forecast f = fit->start;
    double outside = 0;
    for (int i = 0; i < fit->dimensions; i++)
        outside += fabs(x[i] - fmin(fmax(x[i], 0), 1));
    place(fit, x, &f.parameters);
    fit->used++;
    return smooth(&f, fit->s->y, fit->s->n) * (1 + outside);
}

struct corner {
    double x[DIMENSIONS], cost;
};

static int by_cost(const void *a, const void *b)
{
    const struct corner *p = a, *q = b;
    return (p->cost > q->cost) - (p->cost < q->cost);
}

/* The point on the line from the worst corner through the middle of the others. */
static struct corner on_line(struct fit *fit, const double *middle, const struct corner *worst, double factor)
{
    struct corner c = {0};
    for (int i = 0; i < fit->dimensions; i++)
        c.x[i] = middle[i] + factor * (middle[i] - worst->x[i]);
    c.cost = cost(fit, c.x);
    return c;
}

static void shrink(struct fit *fit, struct corner *c)
{
    for (int k = 1; k <= fit->dimensions; k++) {
        for (int i = 0; i < fit->dimensions; i++)
            c[k].x[i] = (c[k].x[i] + c[0].x[i]) / 2;
        c[k].cost = cost(fit, c[k].x);
    }
}

static void improve(struct fit *fit, struct corner *c)
{
    int d = fit->dimensions;
    double middle[DIMENSIONS] = {0};
    for (int k = 0; k < d; k++)
        for (int i = 0; i < d; i++)
            middle[i] += c[k].x[i] / d;
    struct corner mirrored = on_line(fit, middle, &c[d], 1);
    if (mirrored.cost < c[0].cost) {
        struct corner further = on_line(fit, middle, &c[d], 2);
        c[d] = further.cost < mirrored.cost ? further : mirrored;
    } else if (mirrored.cost < c[d - 1].cost || (d == 1 && mirrored.cost < c[d].cost)) {
        c[d] = mirrored;
    } else {
        struct corner nearer = on_line(fit, middle, &c[d], mirrored.cost < c[d].cost ? 0.5 : -0.5);
        if (nearer.cost < fmin(c[d].cost, mirrored.cost))
            c[d] = nearer;
        else
            shrink(fit, c);
    }
}

/* Nelder and Mead's simplex, from the best of a few places where such parameters often are. */
static void search(struct fit *fit, struct corner *best)
{
    static const double starts[][DIMENSIONS] = {{0.1, 0.01, 0.1, 0.1},
                                                {0.5, 0.05, 0.1, 0.1},
                                                {0.9, 0.1, 0.05, 0.05},
                                                {0.2, 0.0, 0.5, 0.3},
                                                {0.02, 0.0, 0.02, 0.02}};
    struct corner c[DIMENSIONS + 1];
    best->cost = INFINITY;
    for (size_t k = 0; k < sizeof starts / sizeof *starts; k++) {
        struct corner one;
        for (int i = 0; i < fit->dimensions; i++)
            one.x[i] = starts[k][fit->map[i]];
        one.cost = cost(fit, one.x);
        if (one.cost < best->cost)
            *best = one;
    }
    c[0] = *best;
    for (int k = 1; k <= fit->dimensions; k++) {
        c[k] = c[0];
        c[k].x[k - 1] += c[k].x[k - 1] > 0.5 ? -0.2 : 0.2;
        c[k].cost = cost(fit, c[k].x);
    }
    while (fit->used < EVALUATIONS) {
        qsort(c, (size_t)fit->dimensions + 1, sizeof *c, by_cost);
        if (c[fit->dimensions].cost - c[0].cost <= 1e-9 * (c[0].cost + 1e-300))
            break;
        improve(fit, c);
    }
    qsort(c, (size_t)fit->dimensions + 1, sizeof *c, by_cost);
    *best = c[0];
}

static void fit_series(const struct series *s, struct forecast *out)
{
    struct fit fit = {.s = s};
    struct corner best;
    first_state(&fit.start, s);
    for (int i = 0; i < DIMENSIONS; i++)
        if (i < 2 || s->length[i - 2])
            fit.map[fit.dimensions++] = i;
    search(&fit, &best);
    *out = fit.start;
    place(&fit, best.x, &out->parameters);
    smooth(out, s->y, s->n);
}

/* ---- accuracy ---- */

static struct series of(const double *y, size_t n, const unsigned seasons[2])
{
    struct series s = {.y = y, .n = n};
    for (int i = 0; i < 2; i++)
        if (seasons[i] && seasons[i] <= FORECAST_SEASON_MAX && n >= 2 * (size_t)seasons[i])
            s.length[i] = seasons[i];
    return s;
}

/* Fits the series without its last points and looks how far off it is on them. */
static void look_back(const struct series *all, const unsigned seasons[2], struct forecast *out)
{
    size_t held = all->n / 5 < HOLD_OUT_MAX ? all->n / 5 : HOLD_OUT_MAX;
    struct series s = of(all->y, all->n - held, seasons);
    unsigned season = s.length[1] ? s.length[1] : s.length[0] ? s.length[0] : 1;
    double scale = 0, off = 0, naive = 0;
    out->mase = out->naive = -1;
    if (s.n < FORECAST_LEAST || held == 0 || s.n <= season)
        return;
    struct forecast f;
    fit_series(&s, &f);
    for (size_t t = season; t < s.n; t++)
        scale += fabs(s.y[t] - s.y[t - season]);
    scale /= (double)(s.n - season);
    for (size_t h = 1; h <= held; h++) {
        struct forecast_point p;
        double y = all->y[s.n + h - 1];
        forecast_at(&f, (unsigned)h, false, &p);
        off += fabs(y - p.mean);
        naive += fabs(y - s.y[s.n - season + (h - 1) % season]);
    }
    if (scale <= 0)
        return;
    out->mase = off / (double)held / scale;
    out->naive = naive / (double)held / scale;
}

enum forecast_result forecast_fit(const double *y, size_t n, const unsigned seasons[2], struct forecast *out)
{
    if (n > FORECAST_POINTS_MAX) {
        y += n - FORECAST_POINTS_MAX;
        n = FORECAST_POINTS_MAX;
    }
    for (size_t i = 0; i < n; i++)
        if (!isfinite(y[i]) || fabs(y[i]) > BOUND)
            return FORECAST_BAD_VALUE;
    if (n < FORECAST_LEAST)
        return FORECAST_TOO_LITTLE;
    struct series s = of(y, n, seasons);
    struct forecast back;
    look_back(&s, seasons, &back);
    fit_series(&s, out);
    out->mase = back.mase;
    out->naive = back.naive;
    return FORECAST_DONE;
}

/* ---- ahead ---- */

/* The errors of the steps between add up: each has moved the level, the trend and, a whole season later, the season. */
static double spread(const struct forecast *f, unsigned ahead)
{
    const struct forecast_parameters *p = &f->parameters;
    double sum = 1;
    for (unsigned j = 1; j < ahead; j++) {
        double c = p->level * (1 + p->trend * j);
        for (int which = 0; which < 2; which++)
            if (f->length[which] && j % f->length[which] == 0)
                c += p->season[which] * (1 - p->level);
        sum += c * c;
    }
    return f->deviation * sqrt(sum);
}

void forecast_at(const struct forecast *f, unsigned ahead, bool counts, struct forecast_point *out)
{
    size_t t = f->points + ahead - 1;
    double mean = f->at_level + ahead * f->at_trend + season_at(f, 0, t) + season_at(f, 1, t), s = spread(f, ahead);
    *out = (struct forecast_point){mean, mean - 1.2816 * s, mean + 1.2816 * s, mean - 1.96 * s, mean + 1.96 * s};
    for (double *p = &out->mean; counts && p <= &out->high95; p++)
        *p = fmax(*p, 0);
}
