#include "registry/audit.h"

#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define RECORD_MARK "moat-audit-1"
#define ROOT_MARK "moat-audit-root-1"

/* ---- bytes ---- */

/* A hash cannot be allowed to fail half-way: a library without SHA-256 could not have verified a package either. */
static void sha256(const void *data, size_t len, uint8_t out[32])
{
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, out) < 0)
        abort();
}

static uint8_t *put_bytes(uint8_t *p, const void *data, size_t len)
{
    memcpy(p, data, len);
    return p + len;
}

static uint8_t *put_big(uint8_t *p, uint64_t n, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        *p++ = (uint8_t)(n >> (8 * i));
    return p;
}

void registry_audit_origin(const char *identity, uint8_t out[32])
{
    uint8_t bytes[sizeof ROOT_MARK + 64];
    uint8_t *p = put_bytes(bytes, ROOT_MARK, sizeof ROOT_MARK - 1);
    p = put_bytes(p, identity, strnlen(identity, 64));
    sha256(bytes, (size_t)(p - bytes), out);
}

bool registry_audit_hash(const uint8_t before[32], const struct registry_audit_record *e, uint8_t out[32])
{
    const char *const texts[] = {e->actor, e->call, e->action, e->subject, e->outcome, e->detail};
    enum { TEXTS = sizeof texts / sizeof *texts };
    uint8_t bytes[sizeof RECORD_MARK + 32 + 3 * 8 + TEXTS * 4 + AUDIT_TEXTS_MAX];
    size_t room = AUDIT_TEXTS_MAX;
    uint8_t *p = put_bytes(bytes, RECORD_MARK, sizeof RECORD_MARK - 1);
    p = put_bytes(p, before, 32);
    p = put_big(p, e->seq, 8);
    p = put_big(p, e->time_ms, 8);
    p = put_big(p, e->count, 8);
    for (size_t i = 0; i < TEXTS; i++) {
        size_t len = strlen(texts[i]);
        if (len > room)
            return false;
        room -= len;
        p = put_big(p, len, 4);
        p = put_bytes(p, texts[i], len);
    }
    sha256(bytes, (size_t)(p - bytes), out);
    return true;
}

/* ---- the trail's end ---- */

int audit_create(struct db *db, struct error *err)
{
    char identity[64];
    uint8_t root[32];
    sqlite3_stmt *row;
    int rc = db_start(db, err, &row, "SELECT id FROM identity", "");
    if (rc <= 0 || !db_text(row, 0, identity, sizeof identity))
        return rc < 0 ? rc : error_set(err, MOAT_E_STORAGE_FAILED, "%s has lost its identity", db->file);
    db_end(row);
    registry_audit_origin(identity, root);
    rc = db_run(db, err, "INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, ?)", "b", root, (size_t)32);
    if (rc == 0)
        rc = db_run(db, err, "INSERT INTO audit_root (seq, hash, at) VALUES (0, ?, 0)", "b", root, (size_t)32);
    return rc;
}

int audit_load(struct db *db, struct registry_audit_head *head, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(db, err, &row, "SELECT seq, hash FROM audit_head", "");
    if (rc < 0)
        return rc;
    struct registry_audit_head h = {.count = rc > 0 ? (uint64_t)sqlite3_column_int64(row, 0) : 0};
    bool whole = rc > 0 && db_blob(row, 1, h.hash, 32);
    if (rc > 0)
        db_end(row);
    if (!whole)
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s has lost the head of its audit trail", db->file);
    *head = h;
    return 0;
}

int audit_save(struct db *db, const struct registry_audit_head *head, struct error *err)
{
    return db_run(db, err, "UPDATE audit_head SET seq = ?, hash = ?", "ib", (int64_t)head->count, head->hash,
                  (size_t)32);
}

int audit_append(struct db *db, struct registry_audit_head *head, struct registry_audit_record *e, struct error *err)
{
    struct registry_audit_head next = {.count = head->count + 1};
    e->seq = next.count;
    if (!registry_audit_hash(head->hash, e, next.hash))
        return error_set(err, MOAT_E_INTERNAL, "a record of the audit trail is too long (%s of %s)", e->action,
                         e->subject);
    int rc = db_run(db, err,
                    "INSERT INTO audit (seq, time, count, actor, call, action, subject, outcome, detail, hash)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    "iiittttttb", (int64_t)e->seq, (int64_t)e->time_ms, (int64_t)e->count, e->actor, e->call, e->action,
                    e->subject, e->outcome, e->detail, next.hash, (size_t)32);
    if (rc == 0) {
        memcpy(e->hash, next.hash, 32);
        *head = next;
    }
    return rc;
}

/* ---- details ---- */

static void put_key(struct buf *out, const char *key)
{
    buf_printf(out, "%s\"%s\":", out->len ? "," : "", key);
}

void audit_put_text(struct buf *out, const char *key, const char *text)
{
    if (!text)
        return;
    put_key(out, key);
    text_json_string(out, text);
}

void audit_put_number(struct buf *out, const char *key, uint64_t n)
{
    put_key(out, key);
    buf_printf(out, "%llu", (unsigned long long)n);
}

void audit_put_hex(struct buf *out, const char *key, const uint8_t *bytes, size_t len)
{
    char hex[65];
    if (!bytes || len > 32)
        return;
    put_key(out, key);
    text_hex(hex, bytes, len);
    buf_printf(out, "\"%s\"", hex);
}
