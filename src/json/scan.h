/* json/scan: the smallest pieces of the grammar, shared by the scalar checker, the schema machine and its compiler.
 * Private to src/json; knows no schema and no message.
 *
 * The sentinel: the caller has put a 0 behind the last byte of the text.  No rule accepts a 0, so no function below
 * steps past the end, and none tests for it; strings are read 16 bytes at a time and literals 8, which the padding
 * covers.  Each function takes the position of its piece and returns the position behind it, or NULL. */
#ifndef JSON_SCAN_H
#define JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define SCAN_INLINE static inline __attribute__((always_inline))

/* What a value's first byte says about it. */
enum scan_kind { KIND_NONE, KIND_NULL, KIND_BOOLEAN, KIND_NUMBER, KIND_STRING, KIND_ARRAY, KIND_OBJECT, KIND_COUNT };

static const uint8_t scan_kind_of[256] = {
    ['n'] = KIND_NULL,   ['t'] = KIND_BOOLEAN, ['f'] = KIND_BOOLEAN, ['"'] = KIND_STRING, ['['] = KIND_ARRAY,
    ['{'] = KIND_OBJECT, ['-'] = KIND_NUMBER,  ['0'] = KIND_NUMBER,  ['1'] = KIND_NUMBER, ['2'] = KIND_NUMBER,
    ['3'] = KIND_NUMBER, ['4'] = KIND_NUMBER,  ['5'] = KIND_NUMBER,  ['6'] = KIND_NUMBER, ['7'] = KIND_NUMBER,
    ['8'] = KIND_NUMBER, ['9'] = KIND_NUMBER,
};

SCAN_INLINE bool scan_is_digit(uint8_t c)
{
    return (uint8_t)(c - '0') < 10;
}

/* The value of a hexadecimal digit, or -1. */
SCAN_INLINE int scan_hex(uint8_t c)
{
    if (scan_is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

SCAN_INLINE const uint8_t *scan_space(const uint8_t *p)
{
    while (*p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* One sequence of two to four bytes (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
static inline const uint8_t *scan_utf8(const uint8_t *p)
{
    uint8_t lead = p[0], low = 0x80, high = 0xbf;
    if (lead < 0xc2 || lead > 0xf4)
        return NULL;
    if (lead < 0xe0)
        return (p[1] & 0xc0) == 0x80 ? p + 2 : NULL;
    /* Only the second byte has a narrower range than 80..bf, after these four leads. */
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high || (p[2] & 0xc0) != 0x80)
        return NULL;
    if (lead < 0xf0)
        return p + 3;
    return (p[3] & 0xc0) == 0x80 ? p + 4 : NULL;
}

/* p stands on the backslash. */
static inline const uint8_t *scan_escape(const uint8_t *p)
{
    switch (p[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p + 2;
    case 'u':
        for (int i = 2; i < 6; i++)
            if (scan_hex(p[i]) < 0)
                return NULL;
        return p + 6;
    default:
        return NULL;
    }
}

/* The first byte that is not plain ASCII text of a string: quote, backslash, control, or above 0x7f. */
SCAN_INLINE const uint8_t *scan_plain(const uint8_t *p)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
    for (;; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* The comparison is signed: bytes above 0x7f are "less than a space" too. */
        __m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)),
                                    _mm_cmplt_epi8(v, space));
        unsigned mask = (unsigned)_mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz(mask);
    }
#else
    while (*p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
#endif
}

/* p stands behind the opening quote.  *escaped is set when there is an escape, and left alone otherwise. */
SCAN_INLINE const uint8_t *scan_string(const uint8_t *p, bool *escaped)
{
    for (;;) {
        p = scan_plain(p);
        if (*p == '"')
            return p + 1;
        if (*p >= 0x80) {
            do
                p = scan_utf8(p);
            while (p && *p >= 0x80);
        } else if (*p == '\\') {
            *escaped = true;
            do
                p = scan_escape(p);
            while (p && *p == '\\');
        } else {
            return NULL;
        }
        if (!p)
            return NULL;
    }
}

SCAN_INLINE const uint8_t *scan_digits(const uint8_t *p)
{
    if (!scan_is_digit(*p))
        return NULL;
    do
        p++;
    while (scan_is_digit(*p));
    return p;
}

/* p stands on '-' or a digit.  *plain is cleared when there is a fraction or an exponent. */
SCAN_INLINE const uint8_t *scan_number(const uint8_t *p, bool *plain)
{
    p += *p == '-';
    if (*p == '0')
        p++;
    else if (!(p = scan_digits(p)))
        return NULL;
    if (*p == '.') {
        *plain = false;
        if (!(p = scan_digits(p + 1)))
            return NULL;
    }
    if ((*p | 0x20) == 'e') {
        *plain = false;
        p++;
        p += *p == '+' || *p == '-';
        return scan_digits(p);
    }
    return p;
}

/* true, false, null. */
SCAN_INLINE const uint8_t *scan_literal(const uint8_t *p)
{
    if (!memcmp(p, "true", 4) || !memcmp(p, "null", 4))
        return p + 4;
    return !memcmp(p, "false", 5) ? p + 5 : NULL;
}

/* A value that holds no other one.  The two flags as above; *plain means nothing unless it is a number. */
SCAN_INLINE const uint8_t *scan_leaf(const uint8_t *p, bool *escaped, bool *plain)
{
    switch (scan_kind_of[*p]) {
    case KIND_STRING:
        return scan_string(p + 1, escaped);
    case KIND_NUMBER:
        return scan_number(p, plain);
    default:
        return scan_literal(p);
    }
}

/* One whole value of any kind (scalar.c), p on its first byte, `depth` containers around it already.
 * *members is set when some object in it has two members or more: only then can a name be repeated. */
const uint8_t *scan_value(const uint8_t *p, unsigned depth, bool *members);

#endif
