#include "json/number.h"

#include "json/scan.h"

/* Far from the ends of int64_t, so that a text's length can be added. */
#define EXPONENT_EXACT (1ll << 56)
#define EXPONENT_MAX (1ll << 60)

static int64_t exponent_at(const uint8_t *p)
{
    if ((*p | 0x20) != 'e')
        return 0;
    bool negative = *++p == '-';
    p += *p == '+' || *p == '-';
    int64_t n = 0;
    for (; scan_is_digit(*p); p++)
        n = n < EXPONENT_EXACT ? n * 10 + (*p - '0') : EXPONENT_MAX;
    return negative ? -n : n;
}

struct number number_at(const uint8_t *p)
{
    struct number n = {.negative = *p == '-'};
    p += n.negative;
    const uint8_t *dot = NULL;
    for (; scan_is_digit(*p) || *p == '.'; p++) {
        if (*p == '.') {
            dot = p;
        } else if (*p != '0') {
            if (!n.digits)
                n.digits = p;
            n.end = p + 1;
        }
    }
    if (!n.digits)
        return (struct number){0}; /* zero has no sign */
    const uint8_t *point = dot ? dot : p;
    bool dot_inside = dot && n.digits < dot && dot < n.end;
    n.count = (uint64_t)(n.end - n.digits) - dot_inside;
    /* Behind the point the first digit's distance does not count the point itself. */
    n.exponent = (point - n.digits) + (n.digits > point) + exponent_at(p);
    return n;
}

/* The digits in order, then -1. */
static int next_digit(const uint8_t **p, const uint8_t *end)
{
    if (*p < end && **p == '.')
        ++*p;
    return *p < end ? *(*p)++ - '0' : -1;
}

static int compare_magnitude(const struct number *a, const struct number *b)
{
    if (a->exponent != b->exponent)
        return a->exponent < b->exponent ? -1 : 1;
    const uint8_t *p = a->digits, *q = b->digits;
    for (;;) {
        int x = next_digit(&p, a->end), y = next_digit(&q, b->end);
        if (x != y)
            return x < y ? -1 : 1;
        if (x < 0)
            return 0;
    }
}

uint64_t number_alike(const struct number *a, const struct number *b)
{
    if (!a->count || !b->count || a->exponent != b->exponent || *a->digits != *b->digits)
        return 0;
    return a->count < b->count ? a->count : b->count;
}

int number_compare(const struct number *a, const struct number *b)
{
    int sign_a = !a->count ? 0 : a->negative ? -1 : 1, sign_b = !b->count ? 0 : b->negative ? -1 : 1;
    if (sign_a != sign_b)
        return sign_a < sign_b ? -1 : 1;
    return sign_a ? sign_a * compare_magnitude(a, b) : 0;
}

bool number_is_integer(const struct number *n)
{
    return !n->count || (n->exponent > 0 && (uint64_t)n->exponent >= n->count);
}

__extension__ typedef unsigned __int128 wide;

static uint64_t power_of_ten(uint64_t exponent, uint64_t modulus)
{
    wide result = 1 % modulus, base = 10 % modulus;
    for (; exponent; exponent >>= 1, base = base * base % modulus)
        if (exponent & 1)
            result = result * base % modulus;
    return (uint64_t)result;
}

bool number_is_multiple(const struct number *n, uint64_t of)
{
    if (!n->count)
        return true;
    if (!number_is_integer(n))
        return false;
    wide rest = 0;
    const uint8_t *p = n->digits;
    for (int d; (d = next_digit(&p, n->end)) >= 0;)
        rest = (rest * 10 + (unsigned)d) % of;
    return rest * power_of_ten((uint64_t)n->exponent - n->count, of) % of == 0;
}

bool number_to_u63(const struct number *n, uint64_t *value)
{
    if (n->negative || !number_is_integer(n) || n->exponent > 19)
        return false;
    uint64_t result = 0;
    const uint8_t *p = n->digits;
    /* 19 digits fit in 64 bits. */
    for (int64_t i = 0; i < n->exponent; i++) {
        int d = next_digit(&p, n->end);
        result = result * 10 + (unsigned)(d < 0 ? 0 : d);
    }
    if (result > INT64_MAX)
        return false;
    *value = result;
    return true;
}

int64_t number_small(const uint8_t *p, const uint8_t *end)
{
    bool negative = *p == '-';
    int64_t n = 0;
    for (p += negative; p < end; p++)
        n = n * 10 + (*p - '0');
    return negative ? -n : n;
}
