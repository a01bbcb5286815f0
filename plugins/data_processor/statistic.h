/* statistic: sums and spreads of doubles that keep their precision.  Pure.
 *
 * Sums carry Neumaier's compensation: the error is that of one rounding, plus n times the square of one, however the
 * terms cancel in between.  A step that leaves the range of a double is tried again on a smaller scale, so that only a
 * result that does not fit is infinite. */
#ifndef DATA_PROCESSOR_STATISTIC_H
#define DATA_PROCESSOR_STATISTIC_H

#include <stddef.h>

double statistic_sum(const double *x, size_t n);

/* sum / n, also where the sum alone would not fit; n is at least 1. */
double statistic_mean(const double *x, size_t n);

/* In place: (x - min) / (max - min), from 0 to 1; all 0 when every x is the same. */
void statistic_min_max(double *x, size_t n);

/* In place: (x - mean) / standard deviation of the population; all 0 when every x is the same. */
void statistic_z_score(double *x, size_t n);

#endif
