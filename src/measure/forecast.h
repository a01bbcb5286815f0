/* measure/forecast: what a series of counts will be, by Holt-Winters smoothing: a level, a trend and up to two seasons,
 * all additive, with parameters fitted to the series.  Pure as measure/histogram;
 * any thread that may compute for some milliseconds, so no loop.  docs/measure.md has the equations. */
#ifndef MEASURE_FORECAST_H
#define MEASURE_FORECAST_H

#include <stdbool.h>
#include <stddef.h>

#define FORECAST_SEASON_MAX 168 /* hours of a week */
#define FORECAST_POINTS_MAX 100000
#define FORECAST_LEAST 10 /* points, for a level and a trend */

struct forecast_parameters {
    double level, trend, season[2]; /* each from 0 to 1 */
};

struct forecast {
    size_t points;      /* of the series */
    unsigned length[2]; /* of the seasons that the series was long enough for; 0: none */
    struct forecast_parameters parameters;
    double sse, deviation; /* of one step ahead: sum of squares, standard deviation */
    double mase;           /* accuracy on the last points, see forecast_accuracy; below 0: could not be told */
    double naive;          /* the same of the seasonal-naive forecast */
    /* state behind the last point */
    double at_level, at_trend, at_season[2][FORECAST_SEASON_MAX];
};

enum forecast_result { FORECAST_DONE, FORECAST_TOO_LITTLE, FORECAST_BAD_VALUE };

/* Fits y[0..n), the oldest first.  seasons: their lengths in points, the shorter first, 0 for none; one is used where
 * the series has two whole ones.  A value that is not finite or beyond 1e15 is FORECAST_BAD_VALUE. */
enum forecast_result forecast_fit(const double *y, size_t n, const unsigned seasons[2], struct forecast *out);

/* The same with parameters and a first state that are given, and nothing fitted: for comparing. */
enum forecast_result forecast_smooth(const double *y, size_t n, const struct forecast *start, struct forecast *out);

struct forecast_point {
    double mean;
    double low80, high80, low95, high95; /* not below 0 where the series never was */
};
/* `ahead` points behind the last, from 1 on. */
void forecast_at(const struct forecast *f, unsigned ahead, bool counts, struct forecast_point *out);

/* How far a forecast was off on the last points, which the fit for it did not see: mean absolute error, divided by that
 * of the seasonal-naive forecast (the value one season before) over the series before them: MASE.  Below 1: better. */

#endif
