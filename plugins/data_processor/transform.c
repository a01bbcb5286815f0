#include "transform.h"

#include <math.h>

#include "number.h"

/* The other side of an operation: one number, or two bounds. */
struct side {
    double y, min, max;
};

/* Each changes *x; or says why it cannot. */
typedef const char *operate(double *x, const struct side *s, const char **code);

static const char *multiply(double *x, const struct side *s, const char **code)
{
    *x *= s->y;
    return NULL;
}

static const char *add(double *x, const struct side *s, const char **code)
{
    *x += s->y;
    return NULL;
}

static const char *subtract(double *x, const struct side *s, const char **code)
{
    *x -= s->y;
    return NULL;
}

static const char *divide(double *x, const struct side *s, const char **code)
{
    *x /= s->y;
    return NULL;
}

static const char *power(double *x, const struct side *s, const char **code)
{
    double result = pow(*x, s->y);
    if (isnan(result)) {
        *code = "not_a_number";
        return "a negative number has no real power of a fraction";
    }
    if (isinf(result) && *x == 0) {
        *code = "division_by_zero";
        return "0 has no negative power";
    }
    *x = result;
    return NULL;
}

/* The usual bases have functions of their own, which are exact where the result is whole. */
static const char *logarithm(double *x, const struct side *s, const char **code)
{
    if (!(*x > 0)) {
        *code = "not_a_number";
        return "a number that is not positive has no logarithm";
    }
    *x = s->y == 0 ? log(*x) : s->y == 2 ? log2(*x) : s->y == 10 ? log10(*x) : log(*x) / log(s->y);
    return NULL;
}

static const char *to_digits(double *x, const struct side *s, const char **code)
{
    *x = number_round(*x, (int)s->y);
    return NULL;
}

static const char *clip(double *x, const struct side *s, const char **code)
{
    *x = *x < s->min ? s->min : *x > s->max ? s->max : *x;
    return NULL;
}

/* What an operation takes. */
enum takes { NUMBER, DIVISOR, BASE, DIGITS, BOUNDS };

static const struct {
    operate *run;
    enum takes takes;
} operations[] = {
    {multiply, NUMBER}, {add, NUMBER},     {subtract, NUMBER},  {divide, DIVISOR},
    {power, NUMBER},    {logarithm, BASE}, {to_digits, DIGITS}, {clip, BOUNDS},
};
static const char *const names[] = {"multiply", "add", "subtract", "divide", "power", "log", "round", "clip", NULL};

/* A number that may be left out: 1, 0 when it is, -1 after saying what is wrong with it. */
static int take(struct moat_call *call, const char *text, size_t len, const char *name, double *out)
{
    struct slice value;
    if (!request_find(text, len, name, &value))
        return 0;
    if (!number_read(&value.at, value.end, out) || value.at != value.end)
        misfit(call, name);
    else if (isinf(*out))
        host->fail(call, "overflow", "factor: larger than a double can hold");
    else
        return 1;
    return -1;
}

static bool take_bounds(struct moat_call *call, const char *text, size_t len, struct side *s)
{
    int min = take(call, text, len, "min", &s->min), max = min < 0 ? -1 : take(call, text, len, "max", &s->max);
    if (max < 0)
        return false;
    if (!min && !max)
        return misfit(call, "min");
    s->min = min ? s->min : -INFINITY;
    s->max = max ? s->max : INFINITY;
    return s->min <= s->max || host->fail(call, "bad_parameters", "'min' is larger than 'max'");
}

static bool take_side(struct moat_call *call, const char *text, size_t len, enum takes takes, struct side *s)
{
    if (takes == BOUNDS)
        return take_bounds(call, text, len, s);
    int given = take(call, text, len, "factor", &s->y);
    if (given == 0)
        given = take(call, text, len, "value", &s->y);
    if (given < 0)
        return false;
    if (!given && (takes == NUMBER || takes == DIVISOR))
        return misfit(call, "factor");
    if (takes == DIVISOR && s->y == 0)
        return host->fail(call, "division_by_zero", "factor: nothing can be divided by 0");
    if (given && takes == BASE && !(s->y > 0 && s->y != 1))
        return host->fail(call, "not_a_number", "factor: the base of a logarithm is positive and not 1");
    if (takes == DIGITS && !(fabs(s->y) <= NUMBER_DIGITS_MAX && s->y == trunc(s->y)))
        return misfit(call, "factor");
    return true;
}

bool transform(struct moat_call *call, const char *text, size_t len, const struct list *list)
{
    struct slice word;
    struct side side = {0};
    int which = request_find(text, len, "operation", &word) ? request_word(word, names) : -1;
    if (which < 0)
        return misfit(call, "operation");
    if (!take_side(call, text, len, operations[which].takes, &side) || !numbers_read(call, list))
        return false;
    for (size_t i = 0; i < numbers.n; i++) {
        const char *code = "", *why = operations[which].run(&numbers.x[i], &side, &code);
        if (why)
            return fail_at(call, code, i, why);
        if (isinf(numbers.x[i]))
            return fail_at(call, "overflow", i, "the result is larger than a double can hold");
    }
    return answer_numbers(call);
}
