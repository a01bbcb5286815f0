/* Reading the audit trail: lists, and the verification of the whole. */
#include <stdio.h>
#include <string.h>

#include "registry/internal.h"

#define COLUMNS "seq, time, count, actor, call, action, subject, outcome, detail, hash"

static bool get_record(sqlite3_stmt *row, struct registry_audit_record *e)
{
    const char *texts[6];
    for (int i = 0; i < 6; i++)
        texts[i] = (const char *)sqlite3_column_text(row, 3 + i);
    *e = (struct registry_audit_record){.seq = (uint64_t)sqlite3_column_int64(row, 0),
                                        .time_ms = (uint64_t)sqlite3_column_int64(row, 1),
                                        .count = (uint64_t)sqlite3_column_int64(row, 2),
                                        .actor = texts[0],
                                        .call = texts[1],
                                        .action = texts[2],
                                        .subject = texts[3],
                                        .outcome = texts[4],
                                        .detail = texts[5]};
    for (int i = 0; i < 6; i++) /* a text with a 0 inside would be hashed up to it only */
        if (!texts[i] || strlen(texts[i]) != (size_t)sqlite3_column_bytes(row, 3 + i))
            return false;
    return db_blob(row, 9, e->hash, 32);
}

/* Two texts of one query: which way the primary key is walked cannot be an argument. */
#define LIST(order) \
    "SELECT " COLUMNS " FROM audit WHERE seq > ?1 AND seq < ?2 AND time >= ?3 AND time <= ?4" \
    " AND (?5 IS NULL OR actor = ?5) AND (?6 IS NULL OR subject = ?6) AND (?7 IS NULL OR outcome = ?7)" \
    " AND (?8 IS NULL OR action = ?8 OR (substr(?8, -1) = '.' AND substr(action, 1, length(?8)) = ?8))" \
    " ORDER BY seq " order

static int64_t bound(uint64_t n, int64_t none)
{
    return n && n < INT64_MAX ? (int64_t)n : none;
}

int registry_each_audit(struct registry_reader *reader, const struct registry_audit_filter *f,
                        bool (*each)(void *context, const struct registry_audit_record *record), void *context,
                        struct error *err)
{
    sqlite3_stmt *row;
    struct registry_audit_record e;
    int rc = db_start(&reader->db, err, &row, f->newest_first ? LIST("DESC") : LIST("ASC"), "iiiitttt",
                      bound(f->after, 0), bound(f->before, INT64_MAX), bound(f->since_ms, 0),
                      bound(f->until_ms, INT64_MAX), f->actor, f->subject, f->outcome, f->action);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!get_record(row, &e)) {
            db_end(row);
            return error_set(err, MOAT_E_STORAGE_FAILED, "%s: a record of the audit trail has been damaged",
                             reader->db.file);
        }
        if (!each(context, &e)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_audit_head(struct registry_reader *reader, struct registry_audit_head *out, struct error *err)
{
    return audit_load(&reader->db, out, err);
}

int registry_audit_root(struct registry_reader *reader, struct registry_audit_head *out, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row, "SELECT seq, hash FROM audit_root ORDER BY seq DESC LIMIT 1", "");
    if (rc < 0)
        return rc;
    struct registry_audit_head root = {.count = rc > 0 ? (uint64_t)sqlite3_column_int64(row, 0) : 0};
    bool whole = rc > 0 && db_blob(row, 1, root.hash, 32);
    if (rc > 0)
        db_end(row);
    if (!whole)
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s has lost the root of its audit trail", reader->db.file);
    *out = root;
    return 0;
}

static int find_hash(struct registry_reader *reader, const char *sql, uint64_t seq, uint8_t out[32], struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row, sql, "i", (int64_t)seq);
    if (rc <= 0)
        return rc;
    bool whole = db_blob(row, 0, out, 32);
    db_end(row);
    return whole ? 1
                 : error_set(err, MOAT_E_STORAGE_FAILED, "%s: a hash of the audit trail is damaged", reader->db.file);
}

int registry_audit_find_hash(struct registry_reader *reader, uint64_t seq, uint8_t out[32], struct error *err)
{
    return find_hash(reader,
                     "SELECT hash FROM audit WHERE seq = ?1 UNION ALL SELECT hash FROM audit_root WHERE seq = ?1", seq,
                     out, err);
}

int registry_audit_find_root(struct registry_reader *reader, uint64_t seq, uint8_t out[32], struct error *err)
{
    return find_hash(reader, "SELECT hash FROM audit_root WHERE seq = ?", seq, out, err);
}

int registry_identity(struct registry_reader *reader, char out[33], struct error *err)
{
    sqlite3_stmt *row;
    char id[33];
    int rc = db_start(&reader->db, err, &row, "SELECT id FROM identity", "");
    if (rc <= 0)
        return rc < 0 ? rc : error_set(err, MOAT_E_STORAGE_FAILED, "%s has lost its identity", reader->db.file);
    bool fits = db_text(row, 0, id, sizeof id) && strlen(id) == 32;
    db_end(row);
    if (!fits)
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s has a damaged identity", reader->db.file);
    memcpy(out, id, sizeof id);
    return 0;
}

int registry_each_audit_signature(struct registry_reader *reader,
                                  bool (*each)(void *context, const struct registry_audit_signature *s), void *context,
                                  struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row, "SELECT seq, hash, key, signature, at FROM audit_sign ORDER BY seq", "");
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        struct registry_audit_signature s = {.head.count = (uint64_t)sqlite3_column_int64(row, 0),
                                             .at = (uint64_t)sqlite3_column_int64(row, 4)};
        bool whole = db_blob(row, 1, s.head.hash, 32) && db_blob(row, 2, s.key, 32) && db_blob(row, 3, s.signature, 64);
        if (!whole || !each(context, &s)) {
            db_end(row);
            return whole ? 0 : error_set(err, MOAT_E_STORAGE_FAILED, "%s: a signed head is damaged", reader->db.file);
        }
    }
    return rc;
}

/* ---- verification ---- */

struct verify {
    struct registry_audit_check *out;
    const struct registry_audit_head *anchor;
    struct registry_audit_head last; /* what the next record must follow */
    uint64_t last_ms;
    bool anchored;
};

__attribute__((format(printf, 3, 4))) static bool bad(struct verify *v, uint64_t seq, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(v->out->problem, sizeof v->out->problem, format, args);
    va_end(args);
    v->out->bad = seq;
    return false;
}

/* The trail as it was when the anchor was taken must be a beginning of the trail as it is. */
static bool meets_anchor(struct verify *v)
{
    if (!v->anchor || v->anchor->count != v->last.count)
        return true;
    v->anchored = true;
    return memcmp(v->anchor->hash, v->last.hash, 32) == 0 ||
           bad(v, v->last.count, "record %llu is not the one of the anchor: the trail was rewritten",
               (unsigned long long)v->last.count);
}

static bool follows(struct verify *v, sqlite3_stmt *row)
{
    struct registry_audit_record e;
    uint64_t next = v->last.count + 1, seq = (uint64_t)sqlite3_column_int64(row, 0);
    uint8_t hash[32];
    if (seq != next)
        return bad(v, next, "record %llu is missing", (unsigned long long)next);
    if (!get_record(row, &e) || !registry_audit_hash(v->last.hash, &e, hash) || memcmp(hash, e.hash, 32) != 0)
        return bad(v, next, "record %llu was changed, or does not follow the one before it", (unsigned long long)next);
    v->out->records++;
    v->out->clock_back += e.time_ms < v->last_ms;
    v->last_ms = e.time_ms;
    v->last.count = seq;
    memcpy(v->last.hash, hash, 32);
    return meets_anchor(v);
}

static bool ends_well(struct verify *v)
{
    const struct registry_audit_head *head = &v->out->head;
    if (head->count > v->last.count)
        return bad(v, v->last.count + 1, "record %llu is missing: the trail had %llu",
                   (unsigned long long)v->last.count + 1, (unsigned long long)head->count);
    if (head->count < v->last.count || memcmp(head->hash, v->last.hash, 32) != 0)
        return bad(v, v->last.count, "record %llu is not the head that was written with it",
                   (unsigned long long)v->last.count);
    if (v->anchor && v->anchor->count > head->count)
        return bad(v, head->count + 1, "the anchor is of record %llu, but the trail ends at %llu",
                   (unsigned long long)v->anchor->count, (unsigned long long)head->count);
    return !v->anchor || v->anchored ||
           bad(v, 0, "the anchor is of record %llu, which was rotated out: check it with the exported segment",
               (unsigned long long)v->anchor->count);
}

static int verify_all(struct registry_reader *reader, struct verify *v, struct error *err)
{
    sqlite3_stmt *row;
    int rc = registry_audit_head(reader, &v->out->head, err);
    if (rc == 0)
        rc = registry_audit_root(reader, &v->last, err);
    if (rc < 0 || !meets_anchor(v))
        return rc;
    rc = db_start(&reader->db, err, &row, "SELECT " COLUMNS " FROM audit ORDER BY seq", "");
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!follows(v, row)) {
            db_end(row);
            return 0;
        }
    }
    if (rc == 0)
        ends_well(v);
    return rc;
}

/* Without a rotation the root must be what the registry's name makes it. */
static int verify_root(struct registry_reader *reader, struct verify *v, struct error *err)
{
    struct registry_audit_head root;
    char identity[33];
    uint8_t origin[32];
    int rc = registry_audit_root(reader, &root, err);
    if (rc == 0)
        rc = registry_identity(reader, identity, err);
    if (rc < 0 || root.count)
        return rc;
    registry_audit_origin(identity, origin);
    if (memcmp(origin, root.hash, 32) != 0)
        bad(v, 1, "the trail does not begin where this registry's must");
    return 0;
}

int audit_verify(struct registry_reader *reader, const struct registry_audit_head *anchor,
                 struct registry_audit_check *out, struct error *err)
{
    struct registry_audit_check check = {0};
    struct verify v = {.out = &check, .anchor = anchor};
    int rc = verify_root(reader, &v, err);
    if (rc == 0 && !check.problem[0])
        rc = verify_all(reader, &v, err);
    if (rc == 0)
        *out = check;
    return rc;
}

int registry_audit_verify(struct registry_reader *reader, const struct registry_audit_head *anchor,
                          struct registry_audit_check *out, struct error *err)
{
    int rc = registry_snapshot_begin(reader, err);
    if (rc < 0)
        return rc;
    rc = audit_verify(reader, anchor, out, err);
    registry_snapshot_end(reader);
    return rc;
}
