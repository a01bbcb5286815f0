/* registry/audit: the trail: one record for each change, each holding the hash of the one before it.  What the bytes
 * are that are hashed is in docs/audit.md.  Private to src/registry; the store thread's. */
#ifndef REGISTRY_AUDIT_H
#define REGISTRY_AUDIT_H

#include "registry/db.h"
#include "registry/registry.h"

struct audit_head {
    uint64_t count; /* records ever appended: the last one's number */
    uint8_t hash[32];
};

/* Texts; any may be empty. detail is a JSON object, or empty. */
struct audit_entry {
    uint64_t seq, time_ms, count; /* count: how often it happened; refusals are folded */
    const char *actor, *call, *action, *subject, *outcome, *detail;
};

/* The most bytes of all texts of one record together. */
#define AUDIT_TEXTS_MAX 16384

/* hash(before, entry), as docs/audit.md says; false: the texts are longer than any record of ours. */
bool audit_hash(const uint8_t before[32], const struct audit_entry *entry, uint8_t out[32]);
/* What the first record's hash is made with: it names the registry. */
void audit_root(const char *identity, uint8_t out[32]);

/* The migration's: an empty trail. */
int audit_create(struct db *db, struct error *err);

/* Appends one record: its number and the head are set here. The head is memory: whoever rolls back restores it, and
 * audit_save writes it before the commit. */
int audit_append(struct db *db, struct audit_head *head, struct audit_entry *entry, struct error *err);
int audit_load(struct db *db, struct audit_head *head, struct error *err);
int audit_save(struct db *db, const struct audit_head *head, struct error *err);

/* Members of a detail, without its braces. */
void audit_put_text(struct buf *out, const char *key, const char *text); /* NULL: left out */
void audit_put_number(struct buf *out, const char *key, uint64_t n);
void audit_put_hex(struct buf *out, const char *key, const uint8_t *bytes, size_t len); /* NULL: left out */

#endif
