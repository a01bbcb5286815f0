/* registry/check: is the database what it should be?  A look at open, and all of it for `doctor --deep`.  Private to
 * src/registry. */
#ifndef REGISTRY_CHECK_H
#define REGISTRY_CHECK_H

#include "registry/db.h"

/* Cheap whatever the size: every table is there, and the trail's head is its last record. MOAT_E_STORAGE_FAILED for a
 * table that is missing; a trail that was changed is logged and not more: plugins go on. */
int check_at_open(struct db *db, struct error *err);

#endif
