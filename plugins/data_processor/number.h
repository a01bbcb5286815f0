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

/* x is finite; returns the length; nothing is terminated. */
size_t number_write(double x, char out[NUMBER_TEXT_MAX]);

#endif
