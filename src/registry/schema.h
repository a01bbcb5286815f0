/* registry/schema: the tables, and the way from any older form of them to this one.  Private to src/registry. */
#ifndef REGISTRY_SCHEMA_H
#define REGISTRY_SCHEMA_H

#include "registry/db.h"

/* Migration i brings version i to version i + 1. A step that was released is never changed; a new one is added. */
extern const char *const schema_steps[];
extern const int schema_version;

/* Brings the file to `version` in one transaction.  MOAT_E_STORAGE_FAILED: a newer schema, a file of another
 * program's, or a step that failed (then nothing has changed). */
int schema_migrate(struct db *db, const char *const *steps, int version, struct error *err);

#endif
