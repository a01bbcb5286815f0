/* What commands do to the audit trail itself: inside their savepoint, on the store thread. */
#include <string.h>

#include "registry/write.h"

/* Is there a record of this number with this hash, or is it the trail's head? */
static int is_head(struct registry *r, uint64_t count, const uint8_t *hash, struct error *err)
{
    int64_t known;
    int rc = db_number(&r->writer, err, 0, &known, "SELECT count(*) FROM audit WHERE seq = ? AND hash = ?", "ib",
                       (int64_t)count, hash, (size_t)32);
    if (rc == 0 && !known)
        rc = error_set(err, MOAT_E_WRONG_STATE, "the audit trail has no record %llu with this hash",
                       (unsigned long long)count);
    return rc;
}

int write_audit_rotate(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int rc = is_head(r, c->audit_rotate.upto, c->audit_rotate.hash, err);
    if (rc == 0)
        rc = db_run(&r->writer, err, "INSERT INTO audit_root (seq, hash, at) VALUES (?, ?, ?)", "ibi",
                    (int64_t)c->audit_rotate.upto, c->audit_rotate.hash, (size_t)32, (int64_t)now);
    if (rc == 0)
        rc = db_run(&r->writer, err, "DELETE FROM audit WHERE seq <= ?", "i", (int64_t)c->audit_rotate.upto);
    return rc;
}

int write_audit_sign(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int rc = is_head(r, c->audit_sign.count, c->audit_sign.hash, err);
    if (rc == 0)
        rc = db_run(&r->writer, err,
                    "INSERT OR REPLACE INTO audit_sign (seq, key, hash, at, signature) VALUES (?, ?, ?, ?, ?)", "ibbib",
                    (int64_t)c->audit_sign.count, c->audit_sign.key, (size_t)32, c->audit_sign.hash, (size_t)32,
                    (int64_t)now, c->audit_sign.signature, (size_t)64);
    return rc;
}

int write_flush(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    return WRITE_NOTHING_NEW;
}
