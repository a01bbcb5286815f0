#include "statistic.h"

#include <math.h>
#include <stdbool.h>

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

/* Neither normal form depends on the unit, so the data is brought to the size of 1 first: no difference or square can
 * then leave the range of a double.  false, and all 0, when every x is the same. */
static bool to_unit_size(double *x, size_t n)
{
    double min, max;
    if (n == 0)
        return false;
    limits(x, n, &min, &max);
    int exponent = ilogb(fmax(fabs(min), fabs(max)));
    for (size_t i = 0; i < n; i++)
        x[i] = min == max ? 0 : scalbn(x[i], -exponent);
    return min != max;
}

void statistic_min_max(double *x, size_t n)
{
    double min, max;
    if (!to_unit_size(x, n))
        return;
    limits(x, n, &min, &max);
    for (size_t i = 0; i < n; i++)
        x[i] = (x[i] - min) / (max - min);
}

/* Two passes.  The mean is held in two doubles: data such as 1e9 + noise would otherwise lose half its digits. */
void statistic_z_score(double *x, size_t n)
{
    struct sum rest = {0}, squares = {0};
    if (!to_unit_size(x, n))
        return;
    double mean = statistic_mean(x, n);
    for (size_t i = 0; i < n; i++)
        sum_add(&rest, x[i] - mean);
    double mean_rest = total(rest) / (double)n;
    for (size_t i = 0; i < n; i++) {
        x[i] = (x[i] - mean) - mean_rest;
        sum_add(&squares, x[i] * x[i]);
    }
    double deviation = sqrt(total(squares) / (double)n);
    for (size_t i = 0; i < n; i++)
        x[i] /= deviation;
}
