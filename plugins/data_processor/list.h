/* list: the numbers of a call's `data`, which is a list of numbers, or of objects that each have one under a key; and
 * results as text.  Holds one array between calls, for the numbers of the running call, and nothing else. */
#ifndef DATA_PROCESSOR_LIST_H
#define DATA_PROCESSOR_LIST_H

#include <moat/plugin.h>

#include "../common/request.h"

#define KEY_MAX 255 /* bytes of a key */

extern const struct moat_host *host;

/* Each says why the call fails and returns false. */
bool fail_at(struct moat_call *call, const char *code, size_t index, const char *what);
bool misfit(struct moat_call *call, const char *member); /* a parameter that is not as the schema says */
bool too_large(struct moat_call *call, size_t len);

struct list {
    struct slice text;     /* the whole list */
    bool keyed;            /* its items are objects, and the numbers stand under: */
    char key[KEY_MAX + 1]; /* UTF-8 */
};

/* `data` and `key` of the parameters; false after saying why. */
bool list_find(struct moat_call *call, const char *text, size_t len, struct list *out);

/* One item: its number, and its text in the list.  false: it has said why the call fails. */
typedef bool visit(void *context, size_t index, double x, struct slice item);

/* Visits every item in order; false after saying why when one is not as it should be or does not fit a double. */
bool list_each(struct moat_call *call, const struct list *list, visit *each, void *context);

/* At most so many items can be in it. */
size_t list_room(const struct list *list);

/* The numbers of the running call. */
extern struct numbers {
    double *x;
    size_t n, room;
} numbers;

bool numbers_read(struct moat_call *call, const struct list *list);
bool numbers_reserve(struct moat_call *call, size_t room); /* and none are there */
void numbers_release(void);                                /* after a call; keeps room for the next when it is small */
void numbers_end(void);

bool answer_numbers(struct moat_call *call);

#endif
