/* registry/find: which plugins a search finds, in which order.  What was typed is words and nothing else: no text of a
 * user is part of any expression but as a quoted word.  Private to src/registry.
 *
 * In this order, each by name: the very name; names that begin with it; every word begins a word of the name; every
 * word begins a word anywhere; and when all of these are few, words that are one slip of the keys away. */
#ifndef REGISTRY_FIND_H
#define REGISTRY_FIND_H

#include "registry/db.h"
#include "registry/registry.h"

#define FIND_TEXT_MAX 256 /* bytes of what was typed that are looked at */
#define FIND_WORDS_MAX 8
#define FIND_TIER_MAX 500 /* candidates of each kind */
#define FIND_FEW 10

struct found {
    int64_t plugin;
    int tier;
    char name[REGISTRY_NAME_MAX + 1];
};
struct found_list {
    struct found *list;
    size_t count, cap;
};
void found_free(struct found_list *l);

/* filter->text is what was typed; filter->after is not looked at. A text without any word finds nothing. */
int find_plugins(struct db *db, const struct registry_filter *filter, struct found_list *out, struct error *err);

/* At most one insertion, deletion, substitution or swap of neighbours apart, by characters. */
bool find_near(const char *a, const char *b);

#endif
