/* loader/table: plugins by name.  Only grows; read without a lock by any thread. */
#ifndef LOADER_TABLE_H
#define LOADER_TABLE_H

#include <stdatomic.h>
#include <stddef.h>

struct loader;
struct plugin;

struct table {
    struct table *older; /* kept: a reader may still be in it */
    size_t size;         /* a power of two */
    _Atomic(struct plugin *) rows[];
};

struct table *table_new(size_t size); /* NULL: no memory */
void table_free(struct table *t);     /* and those before it; nobody reads any more. NULL is fine */
/* NULL: nobody has that name. */
struct plugin *table_find(struct loader *l, const char *name);
/* Who has that name; made when nobody has. NULL: no memory. */
struct plugin *table_make(struct loader *l, const char *name);

#endif
