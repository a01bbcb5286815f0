/* data_processor: transforms, filters, aggregates and normalises lists of numbers.  README.md describes each action. */
#include <math.h>
#include <string.h>

#include <moat/plugin.h>

#include "aggregate.h"
#include "list.h"
#include "number.h"
#include "statistic.h"
#include "transform.h"

/* ---- filter ---- */

enum condition { GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, EQUAL, NOT_EQUAL, BETWEEN };
static const char *const conditions[] = {"greater", "greater_equal", "less",    "less_equal",
                                         "equal",   "not_equal",     "between", NULL};

struct kept {
    int condition;
    double bound, upper;
    char *out; /* NULL: measure only */
    size_t len;
};

static bool holds(const struct kept *k, double x)
{
    switch ((enum condition)k->condition) {
    case GREATER:
        return x > k->bound;
    case GREATER_EQUAL:
        return x >= k->bound;
    case LESS:
        return x < k->bound;
    case LESS_EQUAL:
        return x <= k->bound;
    case EQUAL:
        return x == k->bound;
    case NOT_EQUAL:
        return x != k->bound;
    case BETWEEN:
        return x >= k->bound && x <= k->upper;
    }
    return false;
}

/* What passes keeps its own text: not a digit of it changes. */
static bool keep(void *context, size_t index, double x, struct slice item)
{
    struct kept *k = context;
    if (!holds(k, x))
        return true;
    if (k->len > 1) {
        if (k->out)
            k->out[k->len] = ',';
        k->len++;
    }
    if (k->out)
        memcpy(k->out + k->len, item.at, (size_t)(item.end - item.at));
    k->len += (size_t)(item.end - item.at);
    return true;
}

static bool take_number(const char *text, size_t len, const char *name, double *out)
{
    struct slice value;
    return request_find(text, len, name, &value) && number_read(&value.at, value.end, out) && value.at == value.end;
}

static bool take_bounds(struct moat_call *call, const char *text, size_t len, struct kept *k)
{
    bool between = k->condition == BETWEEN;
    const char *name = between ? "min" : "value";
    if (!take_number(text, len, name, &k->bound))
        return misfit(call, name);
    if (between && !take_number(text, len, "max", &k->upper))
        return misfit(call, "max");
    return !between || k->bound <= k->upper || host->fail(call, "bad_parameters", "'min' is larger than 'max'");
}

static bool filter(struct moat_call *call, const char *text, size_t len, const struct list *list)
{
    struct slice word;
    struct kept k = {.len = 1};
    if (!request_find(text, len, "condition", &word) || (k.condition = request_word(word, conditions)) < 0)
        return misfit(call, "condition");
    if (!take_bounds(call, text, len, &k))
        return false;
    /* The items that pass, with their commas, are never longer than the list they came from. */
    k.out = host->result_room(call, (size_t)(list->text.end - list->text.at));
    if (!list_each(call, list, keep, &k))
        return false;
    if (!k.out) {
        k.out = host->result_room(call, k.len + 1);
        if (!k.out)
            return too_large(call, k.len + 1);
        k.len = 1;
        if (!list_each(call, list, keep, &k))
            return false;
    }
    k.out[0] = '[';
    k.out[k.len++] = ']';
    return host->commit(call, k.len);
}

/* ---- normalize ---- */

static const char *const methods[] = {"min-max", "z-score", "robust", NULL};
static bool (*const normal[])(double *x, size_t n, double *copy) = {statistic_min_max, statistic_z_score,
                                                                    statistic_robust};

static bool normalize(struct moat_call *call, const char *text, size_t len, const struct list *list)
{
    struct slice word;
    int which = request_find(text, len, "method", &word) ? request_word(word, methods) : 0;
    if (which < 0)
        return misfit(call, "method");
    /* Behind the numbers there is room for as many again. */
    if (!numbers_reserve(call, 2 * list_room(list)) || !numbers_read(call, list))
        return false;
    if (!normal[which](numbers.x, numbers.n, numbers.x + numbers.n))
        return host->fail(call, "no_spread", "data: its quartiles are equal and give no scale");
    for (size_t i = 0; i < numbers.n; i++)
        if (!isfinite(numbers.x[i]))
            return fail_at(call, "overflow", i, "the result is larger than a double can hold");
    return answer_numbers(call);
}

/* ---- the plugin ---- */

static const struct {
    const char *name;
    bool (*run)(struct moat_call *call, const char *text, size_t len, const struct list *list);
} actions[] = {{"transform", transform}, {"filter", filter}, {"aggregate", aggregate}, {"normalize", normalize}};

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    host = given;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        struct list list;
        if (strcmp(actions[i].name, action) != 0)
            continue;
        if (!list_find(call, parameters, len, &list))
            return false;
        bool done = actions[i].run(call, parameters, len, &list);
        numbers_release();
        return done;
    }
    return host->fail(call, "no_such_action", "data_processor has transform, filter, aggregate and normalize");
}

static bool shutdown_plugin(void)
{
    numbers_end();
    aggregate_end();
    return true;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute, .shutdown = shutdown_plugin);
