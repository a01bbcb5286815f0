/* registry/audit: the trail: one record for each change, each holding the hash of the one before it.  What the bytes
 * are that are hashed is in docs/audit.md.  Private to src/registry; the store thread's. */
#ifndef REGISTRY_AUDIT_H
#define REGISTRY_AUDIT_H

#include "registry/db.h"
#include "registry/registry.h"

#define AUDIT_HOST "host" /* the actor when nobody asked */

/* The most bytes of all texts of one record together. */
#define AUDIT_TEXTS_MAX 16384

/* The migration's: an empty trail. */
int audit_create(struct db *db, struct error *err);

/* Appends one record: its number, its hash and the head are set here. The head is memory: whoever rolls back restores
 * it, and audit_save writes it before the commit. */
int audit_append(struct db *db, struct registry_audit_head *head, struct registry_audit_record *record,
                 struct error *err);
int audit_load(struct db *db, struct registry_audit_head *head, struct error *err);
int audit_save(struct db *db, const struct registry_audit_head *head, struct error *err);

/* registry_audit_verify inside a snapshot or a transaction of the caller's. */
int audit_verify(struct registry_reader *reader, const struct registry_audit_head *anchor,
                 struct registry_audit_check *out, struct error *err);

/* Members of a detail, without its braces. */
void audit_put_text(struct buf *out, const char *key, const char *text); /* NULL: left out */
void audit_put_number(struct buf *out, const char *key, uint64_t n);
void audit_put_hex(struct buf *out, const char *key, const uint8_t *bytes, size_t len); /* NULL: left out */

#endif
