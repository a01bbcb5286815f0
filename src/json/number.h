/* json/number: JSON numbers as the decimal fractions they are, compared exactly whatever their length.
 * Private to src/json; pure functions. */
#ifndef JSON_NUMBER_H
#define JSON_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/* ±0.DIGITS × 10^exponent; DIGITS neither start nor end with 0, and one '.' may stand among them. */
struct number {
    const uint8_t *digits, *end;
    uint64_t count; /* of digits, 0: the number is zero */
    int64_t exponent;
    bool negative;
};

/* p: a valid number.  Exponents far beyond ±2^56 count as ±2^60. */
struct number number_at(const uint8_t *p);

/* Below, equal, above: -1, 0, 1. */
int number_compare(const struct number *a, const struct number *b);

/* How many digits comparing may have to look at; 0 when the first says all. */
uint64_t number_alike(const struct number *a, const struct number *b);

/* 1.0 and 1e2 are integers too. */
bool number_is_integer(const struct number *n);
bool number_is_multiple(const struct number *n, uint64_t of);

/* An integer from 0 to 2^63 - 1; false when it is none. */
bool number_to_u63(const struct number *n, uint64_t *value);

/* The plain integer [p, end), at most NUMBER_SMALL characters. */
#define NUMBER_SMALL 18
int64_t number_small(const uint8_t *p, const uint8_t *end);

#endif
