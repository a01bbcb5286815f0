/* registry/schema: the tables, and the way from any older form of them to this one.  Private to src/registry. */
#ifndef REGISTRY_SCHEMA_H
#define REGISTRY_SCHEMA_H

#include "registry/db.h"

/* Migration i brings version i to version i + 1: its SQL, then what SQL alone cannot do. A step that was released is
 * never changed; a new one is added. */
struct schema_step {
    const char *sql;
    int (*fill)(struct db *db, struct error *err); /* or NULL */
};
extern const struct schema_step schema_steps[];
extern const int schema_version;

/* Brings the file to `version` in one transaction.  MOAT_E_STORAGE_FAILED: a newer schema, a file of another
 * program's, or a step that failed (then nothing has changed). */
int schema_migrate(struct db *db, const struct schema_step *steps, int version, struct error *err);

#endif
