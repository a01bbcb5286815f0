/* number: JSON numbers to doubles and back.  Pure; owns nothing.
 *
 * Reading gives the nearest double, infinity when there is none.  Writing gives the fewest digits that read back as the
 * same double: 4, 0.1, 1e-7; whole numbers in digits as long as they are exact (2^53), then as 1e+16. */
#ifndef DATA_PROCESSOR_NUMBER_H
#define DATA_PROCESSOR_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

#define NUMBER_TEXT_MAX 32 /* no number is written longer */

/* Reads the number at *at and moves *at behind it; false when there is none by JSON's grammar.  The text must go on
 * with a byte that cannot belong to a number, or end with a 0 at `end`. */
bool number_read(const char **at, const char *end, double *out);

#define NUMBER_DIGITS_MAX 22 /* 10^22 is the last power of ten that is a double */

/* The double that is nearest to x rounded to so many digits behind the point (before it where negative), ties to even:
 * of x as it is, so that 2.675, which is a little less, becomes 2.67.  digits: -22 to 22. */
double number_round(double x, int digits);

/* x is finite; returns the length; nothing is terminated. */
size_t number_write(double x, char out[NUMBER_TEXT_MAX]);

#endif
