/* registry/restore: a restoration that was begun is brought to its end.  Private to src/registry. */
#ifndef REGISTRY_RESTORE_H
#define REGISTRY_RESTORE_H

#include "base/error.h"

/* Before the database is opened: nothing to do, unless a process died while it moved a restored state into its place.
 */
int restore_finish(const char *dir, const char *plugin_dir, struct error *err);

#endif
