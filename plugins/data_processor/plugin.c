/* data_processor: transforms, filters, aggregates and normalises lists of numbers.  README.md describes each action.
 *
 * It holds one array between calls, for the numbers of the running call, and nothing else. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <moat/plugin.h>

#include "../common/request.h"
#include "number.h"
#include "statistic.h"

static const struct moat_host *host;

static bool fail_at(struct moat_call *call, const char *code, size_t index, const char *what)
{
    char message[160];
    snprintf(message, sizeof message, "data[%zu]: %s", index, what);
    return host->fail(call, code, message);
}

/* The host's schema says the same, sooner and with a JSON Pointer; this stands for hosts that did not check. */
static bool misfit(struct moat_call *call, const char *member)
{
    char message[80];
    snprintf(message, sizeof message, "'%s' is missing or not as the schema says", member);
    return host->fail(call, "bad_parameters", message);
}

/* ---- reading a list ---- */

typedef void visit(void *context, size_t index, double x, struct slice text);

/* Visits every number of the list in order; false after saying why when one is none or does not fit a double. */
static bool list_each(struct moat_call *call, struct slice list, visit *each, void *context)
{
    const char *at = list.at, *last = list.end - 1;
    if (list.end - list.at < 2 || *at != '[' || *last != ']')
        return misfit(call, "data");
    at = request_space(at + 1, last);
    for (size_t i = 0; at < last; i++) {
        struct slice text = {.at = at};
        double x;
        if (!number_read(&at, last, &x))
            return fail_at(call, "bad_parameters", i, "not a number");
        if (isinf(x))
            return fail_at(call, "overflow", i, "larger than a double can hold");
        text.end = at;
        each(context, i, x, text);
        at = request_space(at, last);
        if (at == last)
            break;
        if (*at != ',' || (at = request_space(at + 1, last)) == last)
            return fail_at(call, "bad_parameters", i, "not followed by a comma and a number");
    }
    return true;
}

#define KEEP ((size_t)64 * 1024) /* numbers whose room is kept for the next call */

static struct {
    double *x;
    size_t n, room;
} numbers;

static void store(void *context, size_t index, double x, struct slice text)
{
    if (index < numbers.room)
        numbers.x[index] = x;
    numbers.n = index + 1;
}

static bool numbers_read(struct moat_call *call, struct slice list)
{
    size_t room = 1;
    for (const char *at = list.at; at < list.end; at++)
        room += *at == ',';
    if (room > numbers.room) {
        double *x = realloc(numbers.x, room * sizeof *x);
        if (!x)
            return host->fail(call, "out_of_memory", "the list does not fit this plugin's memory limit");
        numbers.x = x;
        numbers.room = room;
    }
    numbers.n = 0;
    return list_each(call, list, store, NULL);
}

static void numbers_release(void)
{
    numbers.n = 0;
    if (numbers.room > KEEP) {
        free(numbers.x);
        numbers.x = NULL;
        numbers.room = 0;
    }
}

/* ---- writing the result ---- */

static bool too_large(struct moat_call *call, size_t len)
{
    char message[80];
    snprintf(message, sizeof message, "the result of %zu bytes is more than this host takes", len);
    return host->fail(call, "too_large", message);
}

/* Writes all numbers as a list to out, or only measures when out is NULL. */
static size_t numbers_print(char *out)
{
    char scratch[NUMBER_TEXT_MAX];
    size_t len = 1;
    if (out)
        out[0] = '[';
    for (size_t i = 0; i < numbers.n; i++) {
        if (i && out)
            out[len] = ',';
        len += i != 0;
        len += number_write(numbers.x[i], out ? out + len : scratch);
    }
    if (out)
        out[len] = ']';
    return len + 1;
}

static bool answer_numbers(struct moat_call *call)
{
    char *room = host->result_room(call, numbers.n * (NUMBER_TEXT_MAX + 1) + 2);
    if (!room) { /* the worst case is too much; the real length may not be */
        size_t len = numbers_print(NULL);
        room = host->result_room(call, len);
        if (!room)
            return too_large(call, len);
    }
    return host->commit(call, numbers_print(room));
}

static bool answer_number(struct moat_call *call, double x)
{
    char text[NUMBER_TEXT_MAX];
    if (!isfinite(x))
        return host->fail(call, "overflow", "the result is larger than a double can hold");
    return host->answer(call, text, number_write(x, text));
}

/* ---- the actions ---- */

static double multiply(double x, double y)
{
    return x * y;
}

static double add(double x, double y)
{
    return x + y;
}

static double subtract(double x, double y)
{
    return x - y;
}

static double divide(double x, double y)
{
    return x / y;
}

static const char *const operations[] = {"multiply", "add", "subtract", "divide", "power", NULL};
static double (*const operate[])(double, double) = {multiply, add, subtract, divide, pow};

static bool transform(struct moat_call *call, const char *text, size_t len, struct slice data)
{
    struct slice word, operand;
    double y;
    int which = request_find(text, len, "operation", &word) ? request_word(word, operations) : -1;
    if (which < 0)
        return misfit(call, "operation");
    if ((!request_find(text, len, "factor", &operand) && !request_find(text, len, "value", &operand)) ||
        !number_read(&operand.at, operand.end, &y))
        return misfit(call, "factor");
    if (isinf(y))
        return host->fail(call, "overflow", "factor: larger than a double can hold");
    if (operate[which] == divide && y == 0)
        return host->fail(call, "division_by_zero", "factor: nothing can be divided by 0");
    if (!numbers_read(call, data))
        return false;
    for (size_t i = 0; i < numbers.n; i++) {
        double x = numbers.x[i], result = operate[which](x, y);
        if (isnan(result))
            return fail_at(call, "not_a_number", i, "a negative number has no real power of a fraction");
        if (isinf(result) && x == 0)
            return fail_at(call, "division_by_zero", i, "0 has no negative power");
        if (isinf(result))
            return fail_at(call, "overflow", i, "the result is larger than a double can hold");
        numbers.x[i] = result;
    }
    return answer_numbers(call);
}

static const char *const conditions[] = {"greater", "greater_equal", "less", "less_equal", "equal", "not_equal", NULL};

static bool holds(int condition, double x, double y)
{
    const bool answers[] = {x > y, x >= y, x < y, x <= y, x == y, x != y};
    return answers[condition];
}

struct kept {
    int condition;
    double bound;
    char *out; /* NULL: measure only */
    size_t len;
};

/* What passes keeps its own text: not a digit of it changes. */
static void keep(void *context, size_t index, double x, struct slice text)
{
    struct kept *k = context;
    if (!holds(k->condition, x, k->bound))
        return;
    if (k->len > 1) {
        if (k->out)
            k->out[k->len] = ',';
        k->len++;
    }
    if (k->out)
        memcpy(k->out + k->len, text.at, (size_t)(text.end - text.at));
    k->len += (size_t)(text.end - text.at);
}

static bool filter(struct moat_call *call, const char *text, size_t len, struct slice data)
{
    struct slice word, bound;
    struct kept k = {.len = 1};
    if (!request_find(text, len, "condition", &word) || (k.condition = request_word(word, conditions)) < 0)
        return misfit(call, "condition");
    if (!request_find(text, len, "value", &bound) || !number_read(&bound.at, bound.end, &k.bound))
        return misfit(call, "value");
    /* The numbers that pass, with their commas, are never longer than the list they came from. */
    k.out = host->result_room(call, (size_t)(data.end - data.at));
    if (!list_each(call, data, keep, &k))
        return false;
    if (!k.out) {
        k.out = host->result_room(call, k.len + 1);
        if (!k.out)
            return too_large(call, k.len + 1);
        k.len = 1;
        if (!list_each(call, data, keep, &k))
            return false;
    }
    k.out[0] = '[';
    k.out[k.len++] = ']';
    return host->commit(call, k.len);
}

static double least(const double *x, size_t n)
{
    double least = x[0];
    for (size_t i = 1; i < n; i++)
        least = x[i] < least ? x[i] : least;
    return least;
}

static double greatest(const double *x, size_t n)
{
    double greatest = x[0];
    for (size_t i = 1; i < n; i++)
        greatest = x[i] > greatest ? x[i] : greatest;
    return greatest;
}

static double count(const double *x, size_t n)
{
    return (double)n;
}

static const char *const aggregates[] = {"sum", "avg", "min", "max", "count", NULL};
static double (*const reduce[])(const double *, size_t) = {statistic_sum, statistic_mean, least, greatest, count};

static bool aggregate(struct moat_call *call, const char *text, size_t len, struct slice data)
{
    struct slice word;
    int which = request_find(text, len, "operation", &word) ? request_word(word, aggregates) : -1;
    if (which < 0)
        return misfit(call, "operation");
    if (!numbers_read(call, data))
        return false;
    bool of_nothing = reduce[which] == statistic_sum || reduce[which] == count;
    if (numbers.n == 0 && !of_nothing) {
        char message[80];
        snprintf(message, sizeof message, "data: an empty list has no %s", aggregates[which]);
        return host->fail(call, "empty", message);
    }
    return answer_number(call, reduce[which](numbers.x, numbers.n));
}

static const char *const methods[] = {"min-max", "z-score", NULL};
static void (*const normal[])(double *, size_t) = {statistic_min_max, statistic_z_score};

static bool normalize(struct moat_call *call, const char *text, size_t len, struct slice data)
{
    struct slice word;
    int which = request_find(text, len, "method", &word) ? request_word(word, methods) : 0;
    if (which < 0)
        return misfit(call, "method");
    if (!numbers_read(call, data))
        return false;
    normal[which](numbers.x, numbers.n);
    return answer_numbers(call);
}

/* ---- the plugin ---- */

static const struct {
    const char *name;
    bool (*run)(struct moat_call *call, const char *text, size_t len, struct slice data);
} actions[] = {{"transform", transform}, {"filter", filter}, {"aggregate", aggregate}, {"normalize", normalize}};

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    host = given;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(actions[i].name, action) != 0)
            continue;
        struct slice data;
        if (!request_find(parameters, len, "data", &data))
            return misfit(call, "data");
        bool done = actions[i].run(call, parameters, len, data);
        numbers_release();
        return done;
    }
    return host->fail(call, "no_such_action", "data_processor has transform, filter, aggregate and normalize");
}

static bool shutdown_plugin(void)
{
    free(numbers.x);
    numbers.x = NULL;
    numbers.n = numbers.room = 0;
    return true;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute, .shutdown = shutdown_plugin);
