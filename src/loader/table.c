/* The table of plugins by name: append-only, read without a lock. */
#include <stdlib.h>
#include <string.h>

#include "loader/internal.h"
#include "loader/loader.h"

static uint64_t hash_name(const char *name)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3;
    return h ^ h >> 29;
}

static struct plugin *table_look(const struct table *t, const char *name)
{
    for (size_t i = hash_name(name);; i++) {
        struct plugin *p = atomic_load_explicit(&t->rows[i & (t->size - 1)], memory_order_acquire);
        if (!p || strcmp(p->name, name) == 0)
            return p;
    }
}

struct plugin *table_find(struct loader *l, const char *name)
{
    return table_look(atomic_load_explicit(&l->table, memory_order_acquire), name);
}

static void table_put(struct table *t, struct plugin *p)
{
    size_t i = hash_name(p->name);
    while (atomic_load_explicit(&t->rows[i & (t->size - 1)], memory_order_relaxed))
        i++;
    atomic_store_explicit(&t->rows[i & (t->size - 1)], p, memory_order_release);
}

struct table *table_new(size_t size)
{
    struct table *t = calloc(1, sizeof *t + size * sizeof *t->rows);
    if (t)
        t->size = size;
    return t;
}

void table_free(struct table *t)
{
    while (t) {
        struct table *older = t->older;
        free(t);
        t = older;
    }
}

/* At most half full, so that a look for a name that is not there ends soon. */
static bool table_room(struct loader *l)
{
    struct table *old = atomic_load(&l->table);
    if (2 * (l->nplugins + 1) <= old->size)
        return true;
    struct table *t = table_new(2 * old->size);
    if (!t)
        return false;
    for (struct plugin *p = l->plugins; p; p = p->next_of_all)
        table_put(t, p);
    t->older = old;
    atomic_store_explicit(&l->table, t, memory_order_release);
    return true;
}

struct plugin *table_make(struct loader *l, const char *name)
{
    pthread_mutex_lock(&l->table_lock);
    struct plugin *p = table_find(l, name);
    if (!p && table_room(l)) {
        p = plugin_new(l, name);
        if (p) {
            p->next_of_all = l->plugins;
            l->plugins = p;
            l->nplugins++;
            table_put(atomic_load(&l->table), p);
        }
    }
    pthread_mutex_unlock(&l->table_lock);
    return p;
}

static bool is_defined(struct plugin *p)
{
    pthread_mutex_lock(&p->lock);
    bool defined = p->current != NULL;
    pthread_mutex_unlock(&p->lock);
    return defined;
}

struct plugin *loader_plugin(struct loader *l, const char *name)
{
    struct plugin *p = table_find(l, name);
    return p && is_defined(p) ? p : NULL;
}
