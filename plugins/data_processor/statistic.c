#include "statistic.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A running sum and what its roundings lost. */
struct sum {
    double value, lost;
};

static void sum_add(struct sum *s, double x)
{
    double next = s->value + x;
    s->lost += fabs(s->value) >= fabs(x) ? (s->value - next) + x : (x - next) + s->value;
    s->value = next;
}

/* Scaling by a power of two is exact; this one leaves room for 2^64 terms of the largest size. */
#define ROOM 0x1p-64

static struct sum sum_scaled(const double *x, size_t n, double scale)
{
    struct sum s = {0};
    for (size_t i = 0; i < n; i++)
        sum_add(&s, x[i] * scale);
    return s;
}

static double total(struct sum s)
{
    return s.value + s.lost;
}

/* The quotient of both parts, rounded once more or less: [0.1, 0.2, 0.3] has the mean 0.2. */
static double divided(struct sum s, double n)
{
    double high = total(s), low = s.lost - (high - s.value), quotient = high / n;
    return quotient + (fma(-quotient, n, high) + low) / n;
}

double statistic_sum(const double *x, size_t n)
{
    double sum = total(sum_scaled(x, n, 1));
    return isfinite(sum) ? sum : total(sum_scaled(x, n, ROOM)) / ROOM;
}

double statistic_mean(const double *x, size_t n)
{
    struct sum sum = sum_scaled(x, n, 1);
    return isfinite(total(sum)) ? divided(sum, (double)n) : divided(sum_scaled(x, n, ROOM), (double)n) / ROOM;
}

static void limits(const double *x, size_t n, double *min, double *max)
{
    *min = *max = x[0];
    for (size_t i = 1; i < n; i++) {
        *min = x[i] < *min ? x[i] : *min;
        *max = x[i] > *max ? x[i] : *max;
    }
}

/* These do not depend on the unit, so the data is brought to the size of 1 first: no difference or square can then
 * leave the range of a double.  false, and all 0, when every x is the same. */
static bool to_unit_size(double *x, size_t n, int *exponent)
{
    double min, max;
    if (n == 0)
        return false;
    limits(x, n, &min, &max);
    *exponent = ilogb(fmax(fabs(min), fabs(max)));
    for (size_t i = 0; i < n; i++)
        x[i] = min == max ? 0 : scalbn(x[i], -*exponent);
    return min != max;
}

bool statistic_min_max(double *x, size_t n, double *copy)
{
    double min, max;
    int exponent;
    if (!to_unit_size(x, n, &exponent))
        return true;
    limits(x, n, &min, &max);
    for (size_t i = 0; i < n; i++)
        x[i] = (x[i] - min) / (max - min);
    return true;
}

/* Two passes: x becomes its distance from the mean, and what comes back is the root of the mean square of that.  The
 * mean is held in two doubles: data such as 1e9 + noise would otherwise lose half its digits. */
static double center(double *x, size_t n, double divisor)
{
    struct sum rest = {0}, squares = {0};
    double mean = statistic_mean(x, n);
    for (size_t i = 0; i < n; i++)
        sum_add(&rest, x[i] - mean);
    double mean_rest = total(rest) / (double)n;
    for (size_t i = 0; i < n; i++) {
        x[i] = (x[i] - mean) - mean_rest;
        sum_add(&squares, x[i] * x[i]);
    }
    return sqrt(total(squares) / divisor);
}

bool statistic_z_score(double *x, size_t n, double *copy)
{
    int exponent;
    if (!to_unit_size(x, n, &exponent))
        return true;
    double deviation = center(x, n, (double)n);
    for (size_t i = 0; i < n; i++)
        x[i] /= deviation;
    return true;
}

double statistic_deviation(double *x, size_t n, double divisor)
{
    int exponent;
    return to_unit_size(x, n, &exponent) ? scalbn(center(x, n, divisor), exponent) : 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void statistic_sort(double *x, size_t n)
{
    qsort(x, n, sizeof *x, ascending);
}

/* The mean of a and b and what its rounding lost, exactly. */
static double middle(double a, double b, double *lost)
{
    double both = a + b, part = both - a;
    *lost = isfinite(both) ? ((a - (both - part)) + (b - part)) / 2 : 0;
    return isfinite(both) ? both / 2 : a / 2 + b / 2;
}

double statistic_median(const double *sorted, size_t n)
{
    double lost;
    return n % 2 ? sorted[n / 2] : middle(sorted[n / 2 - 1], sorted[n / 2], &lost);
}

/* Between sorted[at] and the next, so much of the way. */
struct place {
    size_t at;
    double part;
};

static struct place place_of(size_t n, double percent)
{
    double position = percent * (double)(n - 1) / 100, whole = floor(position);
    if (whole >= (double)(n - 1))
        return (struct place){n - 1, 0};
    return (struct place){(size_t)whole, position - whole};
}

double statistic_percentile(const double *sorted, size_t n, double percent)
{
    struct place p = place_of(n, percent);
    if (p.part == 0)
        return sorted[p.at];
    double low = sorted[p.at], high = sorted[p.at + 1], step = high - low;
    return isfinite(step) ? fmin(low + p.part * step, high) : low * (1 - p.part) + high * p.part;
}

/* How far sorted[p.at] is from where p is, scaled. */
static double beyond(const double *sorted, struct place p, double scale)
{
    return p.part == 0 ? 0 : p.part * (sorted[p.at + 1] * scale - sorted[p.at] * scale);
}

/* The difference first, then what is left of the way: as a difference of two rounded percentiles it would lose digits.
 */
static double quartiles_apart(const double *sorted, size_t n, double scale)
{
    struct place low = place_of(n, 25), high = place_of(n, 75);
    double apart = sorted[high.at] * scale - sorted[low.at] * scale;
    return apart + (beyond(sorted, high, scale) - beyond(sorted, low, scale));
}

bool statistic_robust(double *x, size_t n, double *copy)
{
    double lost = 0;
    if (n == 0)
        return true;
    memcpy(copy, x, n * sizeof *x);
    statistic_sort(copy, n);
    double median = n % 2 ? copy[n / 2] : middle(copy[n / 2 - 1], copy[n / 2], &lost);
    double apart = quartiles_apart(copy, n, 1), half = quartiles_apart(copy, n, 0.5);
    bool same = copy[0] == copy[n - 1];
    if (!same && isfinite(apart) && !(apart > 0))
        return false;
    for (size_t i = 0; i < n; i++) {
        double from = (x[i] - median) - lost;
        /* A difference that leaves the range is taken of halves. */
        if (same)
            x[i] = 0;
        else if (isfinite(from) && isfinite(apart))
            x[i] = from / apart;
        else
            x[i] = ((x[i] / 2 - median / 2) - lost / 2) / half;
    }
    return true;
}
