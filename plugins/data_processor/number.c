#include "number.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_POWERS NUMBER_DIGITS_MAX
#define EXACT_INTEGER (1ull << 53) /* every whole number up to here is a double */

static const double power10[EXACT_POWERS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The digits of a number as a whole number and a power of ten; exact is false when there were too many. */
struct scanned {
    uint64_t digits;
    int exponent, count;
    bool negative, exact;
};

static const char *scan_digits(const char *at, const char *end, struct scanned *s, int step)
{
    for (; at < end && is_digit(*at); at++) {
        if (s->count < 19) {
            s->digits = s->digits * 10 + (uint64_t)(*at - '0');
            s->count += s->digits != 0; /* zeros in front cost no room */
            s->exponent += step;
        } else {
            s->exact = false;
        }
    }
    return at;
}

static const char *scan_exponent(const char *at, const char *end, struct scanned *s)
{
    bool negative = at < end && *at == '-';
    int value = 0;
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    if (at == end || !is_digit(*at))
        return NULL;
    for (; at < end && is_digit(*at); at++)
        if (value < 100000)
            value = value * 10 + (*at - '0');
    s->exponent += negative ? -value : value;
    return at;
}

/* The byte behind the number, or NULL. */
static const char *scan(const char *at, const char *end, struct scanned *s)
{
    *s = (struct scanned){.exact = true};
    if (at < end && *at == '-') {
        s->negative = true;
        at++;
    }
    if (at == end || !is_digit(*at))
        return NULL;
    at = *at == '0' ? at + 1 : scan_digits(at, end, s, 0);
    if (at < end && *at == '.') {
        if (++at == end || !is_digit(*at))
            return NULL;
        at = scan_digits(at, end, s, -1);
    }
    if (at < end && (*at == 'e' || *at == 'E'))
        at = scan_exponent(at + 1, end, s);
    return at;
}

bool number_read(const char **at, const char *end, double *out)
{
    struct scanned s;
    const char *behind = scan(*at, end, &s);
    if (!behind || (behind < end && (is_digit(*behind) || strchr("+-.eExX", *behind))))
        return false;
    /* Both parts are doubles, so one multiplication or division rounds once and is the nearest double. */
    if (s.exact && s.digits <= EXACT_INTEGER && s.exponent >= -EXACT_POWERS && s.exponent <= EXACT_POWERS) {
        double x = (double)s.digits;
        x = s.exponent < 0 ? x / power10[-s.exponent] : x * power10[s.exponent];
        *out = s.negative ? -x : x;
    } else {
        *out = strtod(*at, NULL);
    }
    *at = behind;
    return true;
}

/* Decimal digits without zeros at the end: the value is 0.DIGITS times ten to the power `point`. */
struct decimal {
    char digits[24];
    int count, point;
};

static void decimal_from(struct decimal *d, uint64_t m, int point_from_end)
{
    char reversed[24];
    int count = 0;
    do {
        reversed[count++] = (char)('0' + m % 10);
        m /= 10;
    } while (m);
    d->point = count - point_from_end;
    d->count = count;
    for (int i = 0; i < count; i++)
        d->digits[i] = reversed[count - 1 - i];
    while (d->count > 1 && d->digits[d->count - 1] == '0')
        d->count--;
}

/* Below a power of two doubles lie twice as close as above it: the nearest decimal may be nearer to the one below, and
 * the next decimal up still read back. */
static bool is_power_of_two(double x)
{
    int exponent;
    return frexp(x, &exponent) == 0.5;
}

#if LDBL_MANT_DIG == 64
#define WIDE_POWERS 27 /* 10^27 is the last power of ten that is an 80-bit long double */
static const long double wide10[WIDE_POWERS + 1] = {
    1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
    1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};

/* m / 10^scale, rounded once, to 64 bits. */
static long double scaled_back(uint64_t m, int scale)
{
    return scale >= 0 ? (long double)m / wide10[scale] : (long double)m * wide10[-scale];
}

/* Exactly between two doubles: which of them it would be read back as depends on what the rounding hid. */
static bool undecided(long double x)
{
    uint64_t mantissa;
    memcpy(&mantissa, &x, sizeof mantissa);
    return (mantissa & 0x7FF) == 0x400;
}

/* For 1e-9 <= x < 1e21; false when it could not be settled. */
static bool decimal_fast(double x, struct decimal *d)
{
    int binary;
    frexp(x, &binary);
    int point = (int)floor((binary - 1) * 0.30102999566398120) + 1;
    if (point >= 0 ? (long double)x >= wide10[point] : (long double)x * wide10[-point] >= 1)
        point++;
    for (int count = 15; count <= 17; count++) {
        int scale = count - point;
        long double scaled = scale >= 0 ? x * wide10[scale] : x / wide10[-scale];
        uint64_t m = (uint64_t)(scaled + 0.5L);
        long double back = scaled_back(m, scale);
        if (undecided(back))
            return false;
        if ((double)back == x) {
            decimal_from(d, m, scale);
            return true;
        }
    }
    return false;
}
#else
static bool decimal_fast(double x, struct decimal *d)
{
    return false;
}
#endif

/* x in `count` digits, the last of them moved by `more`; false when that does not read back as x. */
static bool decimal_of(double x, int count, unsigned more, struct decimal *d)
{
    char text[48];
    uint64_t m = 0;
    snprintf(text, sizeof text, "%.*e", count - 1, x);
    const char *at = text;
    for (; *at != 'e'; at++)
        if (is_digit(*at))
            m = m * 10 + (uint64_t)(*at - '0');
    int exponent = (int)strtol(at + 1, NULL, 10) - (count - 1);
    m += more;
    snprintf(text, sizeof text, "%llue%d", (unsigned long long)m, exponent);
    decimal_from(d, m, -exponent);
    return strtod(text, NULL) == x;
}

/* 15 digits always read back as they were, except where doubles are denormal and hold fewer; 17 are always enough. */
static void decimal_slow(double x, struct decimal *d)
{
    for (int count = x < DBL_MIN ? 1 : 15; count <= 17; count++)
        if (decimal_of(x, count, 0, d) || (is_power_of_two(x) && decimal_of(x, count, 1, d)))
            return;
}

static char *put(char *out, const char *from, int count)
{
    memcpy(out, from, (size_t)count);
    return out + count;
}

static char *put_zeros(char *out, int count)
{
    memset(out, '0', (size_t)count);
    return out + count;
}

/* Whole numbers with more digits than this may not be exact: they get an exponent, and no reader takes the zeros in
 * place of digits for digits. */
#define PLAIN_DIGITS 16

static char *lay_out(const struct decimal *d, char *out)
{
    if (d->point >= d->count && d->point <= PLAIN_DIGITS)
        return put_zeros(put(out, d->digits, d->count), d->point - d->count);
    if (d->point > 0 && d->point <= PLAIN_DIGITS) {
        out = put(out, d->digits, d->point);
        *out++ = '.';
        return put(out, d->digits + d->point, d->count - d->point);
    }
    if (d->point > -6 && d->point <= 0) {
        out = put_zeros(put(out, "0.", 2), -d->point);
        return put(out, d->digits, d->count);
    }
    *out++ = d->digits[0];
    if (d->count > 1) {
        *out++ = '.';
        out = put(out, d->digits + 1, d->count - 1);
    }
    int exponent = d->point - 1;
    out = put(out, exponent < 0 ? "e-" : "e+", 2);
    exponent = abs(exponent);
    if (exponent >= 100)
        *out++ = (char)('0' + exponent / 100);
    if (exponent >= 10)
        *out++ = (char)('0' + exponent / 10 % 10);
    *out++ = (char)('0' + exponent % 10);
    return out;
}

size_t number_write(double x, char out[NUMBER_TEXT_MAX])
{
    struct decimal d;
    char *at = out;
    if (x == 0) { /* minus zero too: nobody asked for it */
        *out = '0';
        return 1;
    }
    if (x < 0) {
        *at++ = '-';
        x = -x;
    }
    if (x <= EXACT_INTEGER && x == (double)(uint64_t)x)
        decimal_from(&d, (uint64_t)x, 0);
    else if (!(x >= 1e-9 && x < 1e21) || is_power_of_two(x) || !decimal_fast(x, &d))
        decimal_slow(x, &d);
    return (size_t)(lay_out(&d, at) - out);
}

/* 0.1 to 1 units of the last place: is it more than half a unit?  Half itself goes to even, which is 0.  A double has
 * at most 767 digits, so the text is all of it. */
static bool more_than_half(double x)
{
    char text[1024];
    snprintf(text, sizeof text, "%.770e", x);
    return text[0] > '5' || (text[0] == '5' && strspn(text + 2, "0") != 770);
}

/* The C library prints doubles exactly and rounds once, so its text is the correctly rounded one. */
double number_round(double x, int digits)
{
    char text[512];
    double size = fabs(x);
    if (x == 0 || !isfinite(x))
        return x;
    snprintf(text, sizeof text, "%.17e", size); /* 18 digits: no double below a power of ten is shown as that power */
    int significant = (int)strtol(strchr(text, 'e') + 1, NULL, 10) + 1 + digits;
    if (significant > 17 + 2) /* it has no more */
        return x;
    if (significant > 0)
        snprintf(text, sizeof text, "%.*e", significant - 1, size);
    else
        snprintf(text, sizeof text, "%de%d", significant == 0 && more_than_half(size), -digits);
    return copysign(strtod(text, NULL), x);
}
