/* service/guard: what becomes of a configuration that the loader watches: recorded, taken back, told.  The loader
 * judges; the registry is written here.  Private to src/service. */
#ifndef SERVICE_GUARD_H
#define SERVICE_GUARD_H

#include "service/internal.h"

void guard_told(void *context, const char *plugin, const struct loader_guard *guard); /* loader_config.on_guard */
void tell_guard(struct buf *out, const char *key, const struct loader_guard *g);      /* NULL: null */
/* The one that runs, or the last one; null: there was none since the host began. */
void tell_guard_of(struct buf *out, const char *key, struct service *s, const char *name);

#endif
