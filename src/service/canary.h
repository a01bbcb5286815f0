/* service/canary: what becomes of a new version that runs beside the current one: recorded, made current, told.  The
 * loader judges; the registry is written here.  Private to src/service. */
#ifndef SERVICE_CANARY_H
#define SERVICE_CANARY_H

#include "service/internal.h"

void canary_told(void *context, const char *plugin, const struct loader_canary *canary); /* loader_config.on_canary */
bool canary_runs(struct service *s, const char *name, struct loader_canary *out);
/* Nothing meets it any more; with `kill` its workers are dead when this returns, or the answer says which are not. On a
 * jobs thread that holds the name's key. version NULL: of any. 0 when there is none. */
int canary_end(struct service *s, const char *name, const char *version, bool kill, const char *why, struct error *err);
void tell_canary(struct buf *out, const char *key, struct service *s, const char *name); /* null: there was none */

#endif
