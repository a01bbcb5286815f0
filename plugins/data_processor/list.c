#include "list.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"

#define KEEP ((size_t)64 * 1024) /* numbers whose room is kept for the next call */

const struct moat_host *host;
struct numbers numbers;

bool fail_at(struct moat_call *call, const char *code, size_t index, const char *what)
{
    char message[512];
    snprintf(message, sizeof message, "data[%zu]: %s", index, what);
    return host->fail(call, code, message);
}

/* The host's schema says the same, sooner and with a JSON Pointer; this stands for hosts that did not check. */
bool misfit(struct moat_call *call, const char *member)
{
    char message[80];
    snprintf(message, sizeof message, "'%s' is missing or not as the schema says", member);
    return host->fail(call, "bad_parameters", message);
}

bool too_large(struct moat_call *call, size_t len)
{
    char message[80];
    snprintf(message, sizeof message, "the result of %zu bytes is more than this host takes", len);
    return host->fail(call, "too_large", message);
}

bool list_find(struct moat_call *call, const char *text, size_t len, struct list *out)
{
    struct slice key;
    *out = (struct list){.keyed = request_find(text, len, "key", &key)};
    if (!request_find(text, len, "data", &out->text))
        return misfit(call, "data");
    return !out->keyed || request_text(key, out->key, sizeof out->key) || misfit(call, "key");
}

size_t list_room(const struct list *list)
{
    size_t room = 1;
    for (const char *at = list->text.at; at < list->text.end; at++)
        room += *at == ',';
    return room;
}

static bool is_object(struct slice item)
{
    return item.end - item.at >= 2 && *item.at == '{' && item.end[-1] == '}';
}

/* The number of one item, whose end becomes known here. */
static bool read_item(struct moat_call *call, const struct list *list, size_t i, struct slice *item, const char *last,
                      double *x)
{
    struct slice number = {.at = item->at, .end = last};
    if (list->keyed) {
        item->end = request_skip(item->at, last);
        if (!item->end || !is_object(*item))
            return fail_at(call, "bad_parameters", i, "not an object, as they all are when a key is given");
        if (!request_find(item->at, (size_t)(item->end - item->at), list->key, &number))
            return fail_at(call, "missing_key", i, "has nothing under the key");
    }
    const char *at = number.at;
    if (!number_read(&at, number.end, x) || (list->keyed && at != number.end))
        return fail_at(call, list->keyed ? "missing_key" : "bad_parameters", i,
                       list->keyed ? "has no number under the key" : "not a number");
    if (isinf(*x))
        return fail_at(call, "overflow", i, "larger than a double can hold");
    if (!list->keyed)
        item->end = at;
    return true;
}

bool list_each(struct moat_call *call, const struct list *list, visit *each, void *context)
{
    const char *at = list->text.at, *last = list->text.end - 1;
    if (list->text.end - list->text.at < 2 || *at != '[' || *last != ']')
        return misfit(call, "data");
    at = request_space(at + 1, last);
    for (size_t i = 0; at < last; i++) {
        struct slice item = {.at = at};
        double x = 0;
        if (!read_item(call, list, i, &item, last, &x) || !each(context, i, x, item))
            return false;
        at = request_space(item.end, last);
        if (at == last)
            break;
        if (*at != ',' || (at = request_space(at + 1, last)) == last)
            return fail_at(call, "bad_parameters", i, "not followed by a comma and another item");
    }
    return true;
}

/* ---- the numbers of a call ---- */

bool numbers_reserve(struct moat_call *call, size_t room)
{
    numbers.n = 0;
    if (room <= numbers.room)
        return true;
    double *x = realloc(numbers.x, room * sizeof *x);
    if (!x)
        return host->fail(call, "out_of_memory", "the list does not fit this plugin's memory limit");
    numbers.x = x;
    numbers.room = room;
    return true;
}

static bool store(void *context, size_t index, double x, struct slice item)
{
    if (index < numbers.room)
        numbers.x[index] = x;
    numbers.n = index + 1;
    return true;
}

bool numbers_read(struct moat_call *call, const struct list *list)
{
    return numbers_reserve(call, list_room(list)) && list_each(call, list, store, NULL);
}

void numbers_end(void)
{
    free(numbers.x);
    numbers = (struct numbers){0};
}

void numbers_release(void)
{
    numbers.n = 0;
    if (numbers.room > KEEP)
        numbers_end();
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

bool answer_numbers(struct moat_call *call)
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
