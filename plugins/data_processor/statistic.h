/* statistic: sums and spreads of doubles that keep their precision.  Pure.
 *
 * Sums carry Neumaier's compensation: the error is that of one rounding, plus n times the square of one, however the
 * terms cancel in between.  A step that leaves the range of a double is tried again on a smaller scale, so that only a
 * result that does not fit is infinite. */
#ifndef DATA_PROCESSOR_STATISTIC_H
#define DATA_PROCESSOR_STATISTIC_H

#include <stdbool.h>
#include <stddef.h>

double statistic_sum(const double *x, size_t n);

/* sum / n, also where the sum alone would not fit; n is at least 1. */
double statistic_mean(const double *x, size_t n);

/* Standard deviation: the root of the squares' sum over divisor, which is n or n - 1 and at least 1.  Changes x. */
double statistic_deviation(double *x, size_t n, double divisor);

/* Ascending. */
void statistic_sort(double *x, size_t n);

/* Of sorted numbers, at least one.  A percentile lies at percent / 100 * (n - 1), counted from 0, and is interpolated
 * between its neighbours: 50 is the median. */
double statistic_median(const double *sorted, size_t n);
double statistic_percentile(const double *sorted, size_t n, double percent);

/* Normal forms, in place; all 0 when every x is the same.  copy: room for n numbers.  false: there is no scale. */

/* (x - min) / (max - min), from 0 to 1. */
bool statistic_min_max(double *x, size_t n, double *copy);

/* (x - mean) / standard deviation of the population. */
bool statistic_z_score(double *x, size_t n, double *copy);

/* (x - median) / (75th - 25th percentile): what lies far out changes neither.  No scale when those two are equal. */
bool statistic_robust(double *x, size_t n, double *copy);

#endif
