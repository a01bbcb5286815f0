#include "aggregate.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"
#include "statistic.h"

/* ---- one number for many ---- */

static double least(double *x, size_t n, double unused)
{
    double least = x[0];
    for (size_t i = 1; i < n; i++)
        least = x[i] < least ? x[i] : least;
    return least;
}

static double greatest(double *x, size_t n, double unused)
{
    double greatest = x[0];
    for (size_t i = 1; i < n; i++)
        greatest = x[i] > greatest ? x[i] : greatest;
    return greatest;
}

static double count(double *x, size_t n, double unused)
{
    return (double)n;
}

static double sum(double *x, size_t n, double unused)
{
    return statistic_sum(x, n);
}

static double mean(double *x, size_t n, double unused)
{
    return statistic_mean(x, n);
}

static double median(double *x, size_t n, double unused)
{
    statistic_sort(x, n);
    return statistic_median(x, n);
}

static double percentile(double *x, size_t n, double percent)
{
    statistic_sort(x, n);
    return statistic_percentile(x, n, percent);
}

static double deviation(double *x, size_t n, double unused)
{
    return statistic_deviation(x, n, (double)n);
}

static double sample_deviation(double *x, size_t n, double unused)
{
    return statistic_deviation(x, n, (double)(n - 1));
}

/* The numbers may be put in another order. */
static const struct operation {
    double (*reduce)(double *x, size_t n, double percent);
    size_t least; /* of how few numbers there is one */
} operations[] = {
    {sum, 0},        {mean, 1},   {least, 1},     {greatest, 1},
    {count, 0},      {median, 1}, {deviation, 1}, {sample_deviation, 2},
    {percentile, 1},
};
static const char *const names[] = {"sum",    "avg",    "min",           "max",        "count",
                                    "median", "stddev", "stddev_sample", "percentile", NULL};

/* What is asked for. */
struct wanted {
    int which;
    double percent;
};

static bool reduce(struct moat_call *call, const struct wanted *w, double *x, size_t n, double *out)
{
    const struct operation *o = &operations[w->which];
    char message[96];
    if (n < o->least) {
        snprintf(message, sizeof message, "data: %s has no %s", n ? "a single number" : "an empty list",
                 names[w->which]);
        return host->fail(call, "empty", message);
    }
    *out = o->reduce(x, n, w->percent);
    return isfinite(*out) || host->fail(call, "overflow", "the result is larger than a double can hold");
}

/* ---- groups ---- */

#define GROUPS_FIRST 64
#define NONE UINT32_MAX

/* Items of one text under `group_by`. */
struct group {
    struct slice label; /* as the first of them writes it, with its quotes */
    uint64_t hash;      /* of what it says */
    size_t n;           /* its numbers; then where they end among all of them */
};

static struct {
    struct moat_call *call;
    char key[KEY_MAX + 1];
    struct group *list;
    uint32_t *table; /* by hash, open addressing: a place in list, or NONE */
    size_t count, room, slots;
    uint32_t *of; /* the group of each number */
    size_t of_room;
} groups;

void aggregate_end(void)
{
    free(groups.list);
    free(groups.table);
    free(groups.of);
    memset(&groups, 0, sizeof groups);
}

static bool no_memory(struct moat_call *call)
{
    return host->fail(call, "out_of_memory", "the groups do not fit this plugin's memory limit");
}

/* FNV-1a; labels come from who calls, and the worst they can do is to slow their own call down. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
    return hash ^ hash >> 32;
}

static bool same(const struct group *g, uint64_t hash, const char *text)
{
    char other[KEY_MAX + 1];
    return g->hash == hash && request_text(g->label, other, sizeof other) && strcmp(other, text) == 0;
}

/* Where the label stands or would stand. */
static uint32_t *slot_of(uint64_t hash, const char *text)
{
    size_t at = hash & (groups.slots - 1);
    while (groups.table[at] != NONE && !same(&groups.list[groups.table[at]], hash, text))
        at = (at + 1) & (groups.slots - 1);
    return &groups.table[at];
}

/* Room for twice as many, and a table that is at most half full. */
static bool grow(void)
{
    size_t room = groups.room ? 2 * groups.room : GROUPS_FIRST, slots = 2 * room;
    struct group *list = realloc(groups.list, room * sizeof *list);
    if (!list)
        return false;
    groups.list = list;
    uint32_t *table = realloc(groups.table, slots * sizeof *table);
    if (!table)
        return false;
    groups.table = table;
    groups.room = room;
    groups.slots = slots;
    memset(table, 0xff, slots * sizeof *table);
    for (size_t i = 0; i < groups.count; i++) {
        size_t at = list[i].hash & (slots - 1);
        while (table[at] != NONE)
            at = (at + 1) & (slots - 1);
        table[at] = (uint32_t)i;
    }
    return true;
}

static bool join(void *context, size_t index, double x, struct slice item)
{
    struct slice label;
    char text[KEY_MAX + 1];
    if (!request_find(item.at, (size_t)(item.end - item.at), groups.key, &label) ||
        !request_text(label, text, sizeof text))
        return fail_at(groups.call, "missing_key", index, "has no text of at most 255 bytes under 'group_by'");
    uint64_t hash = hash_of(text);
    if (groups.count == groups.room && !grow())
        return no_memory(groups.call);
    uint32_t *slot = slot_of(hash, text);
    if (*slot == NONE) {
        *slot = (uint32_t)groups.count;
        groups.list[groups.count++] = (struct group){.label = label, .hash = hash};
    }
    groups.list[*slot].n++;
    groups.of[index] = *slot;
    numbers.x[index] = x;
    numbers.n = index + 1;
    return true;
}

/* Each number to its group's place, in order, one cycle after the other: no second array. */
static void gather(void)
{
    size_t end = 0;
    for (size_t i = 0; i < groups.count; i++) {
        size_t n = groups.list[i].n;
        groups.list[i].n = end; /* where its next number goes */
        end += n;
    }
    for (size_t i = 0; i < numbers.n; i++) { /* from here on `of` is where the number belongs */
        size_t place = groups.list[groups.of[i]].n++;
        groups.of[i] = (uint32_t)place;
    }
    for (size_t i = 0; i < numbers.n; i++)
        while (groups.of[i] != i) {
            uint32_t to = groups.of[i];
            double x = numbers.x[to];
            numbers.x[to] = numbers.x[i];
            numbers.x[i] = x;
            groups.of[i] = groups.of[to];
            groups.of[to] = to;
        }
}

/* The results, one for each group, become the first numbers; each group keeps the place of its own. */
static bool reduce_groups(struct moat_call *call, const struct wanted *w)
{
    size_t from = 0;
    for (size_t i = 0; i < groups.count; i++) {
        size_t end = groups.list[i].n;
        double result = 0;
        if (!reduce(call, w, numbers.x + from, end - from, &result))
            return false;
        numbers.x[i] = result; /* at most one for each number that was read */
        from = end;
    }
    return true;
}

static size_t print_groups(char *out)
{
    char scratch[NUMBER_TEXT_MAX];
    size_t len = 1;
    if (out)
        out[0] = '{';
    for (size_t i = 0; i < groups.count; i++) {
        struct slice label = groups.list[i].label;
        size_t n = (size_t)(label.end - label.at);
        if (out) {
            if (i)
                out[len] = ',';
            memcpy(out + len + (i != 0), label.at, n);
            out[len + (i != 0) + n] = ':';
        }
        len += (i != 0) + n + 1;
        len += number_write(numbers.x[i], out ? out + len : scratch);
    }
    if (out)
        out[len] = '}';
    return len + 1;
}

static bool by_group(struct moat_call *call, const struct wanted *w, const struct list *list)
{
    size_t room = list_room(list);
    groups.call = call;
    groups.count = 0;
    if (groups.slots)
        memset(groups.table, 0xff, groups.slots * sizeof *groups.table);
    if (room > groups.of_room) {
        uint32_t *of = room < NONE ? realloc(groups.of, room * sizeof *of) : NULL;
        if (!of)
            return no_memory(call);
        groups.of = of;
        groups.of_room = room;
    }
    if (!numbers_reserve(call, room) || !list_each(call, list, join, NULL))
        return false;
    gather();
    if (!reduce_groups(call, w))
        return false;
    size_t len = print_groups(NULL);
    char *out = host->result_room(call, len);
    return out ? host->commit(call, print_groups(out)) : too_large(call, len);
}

/* ---- the action ---- */

static bool take_percent(struct moat_call *call, const char *text, size_t len, struct wanted *w)
{
    struct slice percent;
    bool given = request_find(text, len, "percent", &percent);
    if (w->which < 0 || operations[w->which].reduce != percentile)
        return !given || misfit(call, "percent");
    if (!given || !number_read(&percent.at, percent.end, &w->percent) || !(w->percent >= 0 && w->percent <= 100))
        return misfit(call, "percent");
    return true;
}

bool aggregate(struct moat_call *call, const char *text, size_t len, const struct list *list)
{
    struct slice word, by;
    struct wanted w = {0};
    w.which = request_find(text, len, "operation", &word) ? request_word(word, names) : -1;
    if (w.which < 0)
        return misfit(call, "operation");
    if (!take_percent(call, text, len, &w))
        return false;
    if (request_find(text, len, "group_by", &by)) {
        if (!list->keyed)
            return misfit(call, "key");
        if (!request_text(by, groups.key, sizeof groups.key))
            return misfit(call, "group_by");
        bool done = by_group(call, &w, list);
        if (groups.of_room > 64 * 1024)
            aggregate_end();
        return done;
    }
    double result = 0;
    char out[NUMBER_TEXT_MAX];
    if (!numbers_read(call, list) || !reduce(call, &w, numbers.x, numbers.n, &result))
        return false;
    return host->answer(call, out, number_write(result, out));
}
