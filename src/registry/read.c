/* Reading: one connection per reader, records out. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "registry/dump.h"
#include "registry/files.h"
#include "registry/find.h"
#include "registry/internal.h"

int registry_reader_new(struct registry *r, struct registry_reader **out, struct error *err)
{
    struct registry_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a reader of the registry");
    reader->registry = r;
    int rc = db_open(&reader->db, r->file, false, err);
    if (rc < 0)
        free(reader);
    else
        *out = reader;
    return rc;
}

void registry_reader_free(struct registry_reader *reader)
{
    if (!reader)
        return;
    db_close(&reader->db);
    free(reader);
}

int registry_snapshot_begin(struct registry_reader *reader, struct error *err)
{
    return db_run(&reader->db, err, "BEGIN", "");
}

void registry_snapshot_end(struct registry_reader *reader)
{
    sqlite3_exec(reader->db.handle, "ROLLBACK", NULL, NULL, NULL);
}

int reader_damaged(struct registry_reader *reader, sqlite3_stmt *row, struct error *err)
{
    db_end(row);
    return error_set(err, MOAT_E_STORAGE_FAILED, "%s: a record has a form that Moat never writes", reader->db.file);
}

/* ---- rows to records; false: not a record of ours ---- */

static bool get_publisher(sqlite3_stmt *row, struct registry_publisher *p)
{
    *p = (struct registry_publisher){.added_at = (uint64_t)sqlite3_column_int64(row, 2)};
    return db_text(row, 0, p->name, sizeof p->name) && db_text(row, 1, p->names, sizeof p->names);
}

#define KEY_COLUMNS "k.id, k.bytes, k.algorithm, k.added_at, k.revoked_at, p.name, p.names"

static bool get_key(sqlite3_stmt *row, struct registry_key *k)
{
    *k = (struct registry_key){.algorithm = sqlite3_column_int(row, 2),
                               .added_at = (uint64_t)sqlite3_column_int64(row, 3),
                               .revoked_at = (uint64_t)sqlite3_column_int64(row, 4)};
    return db_blob(row, 0, k->id, 32) && db_blob(row, 1, k->bytes, 32) &&
           db_text(row, 5, k->publisher, sizeof k->publisher) && db_text(row, 6, k->names, sizeof k->names);
}

#define PLUGIN_COLUMNS \
    "p.name, o.name, p.active, p.wanted, c.version, p.newest, p.first_at," \
    " (SELECT count(*) FROM version n WHERE n.plugin = p.id), p.pinned, p.owner_since," \
    " (SELECT version FROM version n WHERE n.id = p.previous)"
#define PLUGIN_COUNT 11

static bool get_plugin(sqlite3_stmt *row, struct registry_plugin *p)
{
    *p = (struct registry_plugin){.active = sqlite3_column_int(row, 2) != 0,
                                  .wanted = (enum registry_wanted)sqlite3_column_int(row, 3),
                                  .first_at = (uint64_t)sqlite3_column_int64(row, 6),
                                  .versions = (unsigned)sqlite3_column_int(row, 7),
                                  .pinned = sqlite3_column_int(row, 8) != 0,
                                  .owner_since = (uint64_t)sqlite3_column_int64(row, 9)};
    return db_text(row, 0, p->name, sizeof p->name) && db_text(row, 1, p->owner, sizeof p->owner) &&
           db_text(row, 4, p->current, sizeof p->current) && db_text(row, 5, p->newest, sizeof p->newest) &&
           db_text(row, 10, p->previous, sizeof p->previous);
}

#define VERSION_COLUMNS \
    "p.name, v.version, o.name, v.sha256, v.key, v.size, v.signed_at, v.expires_at, v.installed_at, v.state," \
    " v.id IS p.current, k.revoked_at <> 0, v.manifest, v.damaged_at, v.changed_at, v.reason"
#define VERSION_MANIFEST 12

/* A damaged version stays damaged, whatever points at it. */
static bool get_state(sqlite3_stmt *row, int first, enum registry_state *out)
{
    char name[16];
    if (!db_text(row, first + 9, name, sizeof name))
        return false;
    for (int s = REGISTRY_AVAILABLE; s <= REGISTRY_DAMAGED; s++) {
        if (strcmp(name, registry_state_name((enum registry_state)s)) != 0)
            continue;
        bool whole = sqlite3_column_int64(row, first + 13) == 0, current = sqlite3_column_int(row, first + 10);
        *out = !whole ? REGISTRY_DAMAGED : current ? REGISTRY_CURRENT : (enum registry_state)s;
        return true;
    }
    return false;
}

static bool get_version(sqlite3_stmt *row, int first, struct registry_version *v)
{
    *v = (struct registry_version){.size = (uint64_t)sqlite3_column_int64(row, first + 5),
                                   .signed_at = (uint64_t)sqlite3_column_int64(row, first + 6),
                                   .expires_at = (uint64_t)sqlite3_column_int64(row, first + 7),
                                   .installed_at = (uint64_t)sqlite3_column_int64(row, first + 8),
                                   .changed_at = (uint64_t)sqlite3_column_int64(row, first + 14),
                                   .key_revoked = sqlite3_column_int(row, first + 11) != 0};
    return db_text(row, first, v->name, sizeof v->name) && db_text(row, first + 1, v->version, sizeof v->version) &&
           db_text(row, first + 2, v->publisher, sizeof v->publisher) && db_blob(row, first + 3, v->sha256, 32) &&
           db_blob(row, first + 4, v->key_id, 32) && db_text(row, first + 15, v->reason, sizeof v->reason) &&
           get_state(row, first, &v->state);
}

static bool get_decision(sqlite3_stmt *row, struct registry_decision *d)
{
    *d = (struct registry_decision){.permission = sqlite3_column_int(row, 1),
                                    .refused = sqlite3_column_int(row, 3) != 0,
                                    .until = (uint64_t)sqlite3_column_int64(row, 4),
                                    .decided_at = (uint64_t)sqlite3_column_int64(row, 5),
                                    .held = sqlite3_column_int64(row, 6)};
    return db_text(row, 0, d->name, sizeof d->name) && db_text(row, 2, d->scope, sizeof d->scope);
}

/* ---- look-ups ---- */

int registry_find_key(struct registry_reader *reader, const uint8_t id[32], struct registry_key *out, struct error *err)
{
    sqlite3_stmt *row;
    struct registry_key k;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT " KEY_COLUMNS " FROM key k JOIN publisher p ON p.id = k.publisher WHERE k.id = ?", "b",
                      id, (size_t)32);
    if (rc <= 0)
        return rc;
    if (!get_key(row, &k))
        return reader_damaged(reader, row, err);
    db_end(row);
    *out = k;
    return 1;
}

int registry_find_plugin(struct registry_reader *reader, const char *name, struct registry_plugin *out,
                         struct error *err)
{
    sqlite3_stmt *row;
    struct registry_plugin p;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT " PLUGIN_COLUMNS " FROM plugin p JOIN publisher o ON o.id = p.owner"
                      " LEFT JOIN version c ON c.id = p.current WHERE p.name = ?",
                      "t", name);
    if (rc <= 0)
        return rc;
    if (!get_plugin(row, &p))
        return reader_damaged(reader, row, err);
    db_end(row);
    *out = p;
    return 1;
}

#define VERSION_FROM \
    " FROM version v JOIN plugin p ON p.id = v.plugin JOIN key k ON k.id = v.key JOIN publisher o ON o.id = " \
    "k.publisher"

int registry_find_version(struct registry_reader *reader, const char *name, const char *version,
                          struct registry_version *out, struct buf *manifest, struct error *err)
{
    sqlite3_stmt *row;
    struct registry_version v;
    int rc =
        db_start(&reader->db, err, &row, "SELECT " VERSION_COLUMNS VERSION_FROM " WHERE p.name = ? AND v.version = ?",
                 "tt", name, version);
    if (rc <= 0)
        return rc;
    if (!get_version(row, 0, &v))
        return reader_damaged(reader, row, err);
    if (manifest && !buf_put(manifest, sqlite3_column_text(row, VERSION_MANIFEST),
                             (size_t)sqlite3_column_bytes(row, VERSION_MANIFEST)))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest of %s", name);
    db_end(row);
    if (rc > 0)
        *out = v;
    return rc;
}

int registry_find_config(struct registry_reader *reader, const char *name, uint64_t *revision, struct buf *value,
                         struct buf *secret, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT c.revision, c.value, c.secret FROM config c JOIN plugin p ON p.id = c.plugin"
                      " WHERE p.name = ? ORDER BY c.revision DESC LIMIT 1",
                      "t", name);
    if (rc <= 0)
        return rc;
    *revision = (uint64_t)sqlite3_column_int64(row, 0);
    if (!buf_put(value, sqlite3_column_text(row, 1), (size_t)sqlite3_column_bytes(row, 1)) ||
        !buf_put(secret, sqlite3_column_text(row, 2), (size_t)sqlite3_column_bytes(row, 2)))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the configuration of %s", name);
    db_end(row);
    return rc;
}

/* ---- lists ---- */

int registry_each_config(struct registry_reader *reader, const char *name,
                         bool (*each)(void *context, const struct registry_config *c), void *context, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT c.revision, c.set_at, c.base, c.back, c.guard_until, c.value, c.guard, c.why, c.evidence"
                      " FROM config c JOIN plugin p ON p.id = c.plugin WHERE p.name = ? ORDER BY c.revision DESC",
                      "t", name);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        const struct registry_config c = {.revision = (uint64_t)sqlite3_column_int64(row, 0),
                                          .set_at = (uint64_t)sqlite3_column_int64(row, 1),
                                          .base = (uint64_t)sqlite3_column_int64(row, 2),
                                          .back = sqlite3_column_int64(row, 3),
                                          .guard_until = (uint64_t)sqlite3_column_int64(row, 4),
                                          .value = (const char *)sqlite3_column_text(row, 5),
                                          .guard = (const char *)sqlite3_column_text(row, 6),
                                          .why = (const char *)sqlite3_column_text(row, 7),
                                          .evidence = (const char *)sqlite3_column_text(row, 8)};
        if (!c.value || !c.guard || !c.why || !c.evidence)
            return reader_damaged(reader, row, err);
        if (!each(context, &c)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_each_publisher(struct registry_reader *reader,
                            bool (*each)(void *context, const struct registry_publisher *p), void *context,
                            struct error *err)
{
    sqlite3_stmt *row;
    struct registry_publisher p;
    int rc = db_start(&reader->db, err, &row, "SELECT name, names, added_at FROM publisher ORDER BY name", "");
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!get_publisher(row, &p))
            return reader_damaged(reader, row, err);
        if (!each(context, &p)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_each_key(struct registry_reader *reader, const char *publisher,
                      bool (*each)(void *context, const struct registry_key *k), void *context, struct error *err)
{
    sqlite3_stmt *row;
    struct registry_key k;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT " KEY_COLUMNS " FROM key k JOIN publisher p ON p.id = k.publisher"
                      " WHERE ?1 IS NULL OR p.name = ?1 ORDER BY p.name, k.added_at, k.id",
                      "t", publisher);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!get_key(row, &k))
            return reader_damaged(reader, row, err);
        if (!each(context, &k)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_each_signed(struct registry_reader *reader, const char *publisher, const uint8_t *key_or_null,
                         bool (*each)(void *context, const char *name, const char *version, bool current),
                         void *context, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT p.name, v.version, v.id IS p.current FROM publisher o JOIN key k ON k.publisher = o.id"
                      " JOIN version v ON v.key = k.id JOIN plugin p ON p.id = v.plugin"
                      " WHERE o.name = ?1 AND (?2 IS NULL OR k.id = ?2) ORDER BY p.name, v.id",
                      "tb", publisher, key_or_null, key_or_null ? (size_t)32 : (size_t)0);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        char name[REGISTRY_NAME_MAX + 1], version[REGISTRY_VERSION_MAX + 1];
        if (!db_text(row, 0, name, sizeof name) || !db_text(row, 1, version, sizeof version))
            return reader_damaged(reader, row, err);
        if (!each(context, name, version, sqlite3_column_int(row, 2) != 0)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_each_version(struct registry_reader *reader, const char *name,
                          bool (*each)(void *context, const struct registry_version *v), void *context,
                          struct error *err)
{
    sqlite3_stmt *row;
    struct registry_version v;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT " VERSION_COLUMNS VERSION_FROM " WHERE p.name = ? ORDER BY v.id DESC", "t", name);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!get_version(row, 0, &v))
            return reader_damaged(reader, row, err);
        if (!each(context, &v)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

#define DECISIONS \
    "SELECT p.name, d.permission, d.scope, d.refused, d.until, d.decided_at, d.held" \
    " FROM decision d JOIN plugin p ON p.id = d.plugin"
#define DECISIONS_ORDER " ORDER BY p.name, d.permission, d.scope"

static int each_decision(struct registry_reader *reader, int rc, sqlite3_stmt *row,
                         bool (*each)(void *context, const struct registry_decision *d), void *context,
                         struct error *err)
{
    struct registry_decision d;
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!get_decision(row, &d))
            return reader_damaged(reader, row, err);
        if (!each(context, &d)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

int registry_each_decision(struct registry_reader *reader, const char *name,
                           bool (*each)(void *context, const struct registry_decision *d), void *context,
                           struct error *err)
{
    sqlite3_stmt *row;
    /* Two texts: with one condition for both, every plugin would be looked at for the decisions over one. */
    int rc = name ? db_start(&reader->db, err, &row, DECISIONS " WHERE p.name = ?" DECISIONS_ORDER, "t", name)
                  : db_start(&reader->db, err, &row, DECISIONS DECISIONS_ORDER, "");
    return each_decision(reader, rc, row, each, context, err);
}

int registry_each_timed(struct registry_reader *reader, bool (*each)(void *context, const struct registry_decision *d),
                        void *context, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&reader->db, err, &row, DECISIONS " WHERE d.until <> 0" DECISIONS_ORDER, "");
    return each_decision(reader, rc, row, each, context, err);
}

int registry_each_name(struct registry_reader *reader, bool (*each)(void *context, const struct registry_plugin *p),
                       void *context, struct error *err)
{
    sqlite3_stmt *row;
    struct registry_plugin p;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT " PLUGIN_COLUMNS " FROM plugin p JOIN publisher o ON o.id = p.owner"
                      " LEFT JOIN version c ON c.id = p.current ORDER BY p.name",
                      "");
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!get_plugin(row, &p))
            return reader_damaged(reader, row, err);
        if (!each(context, &p)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

#define EACH_PLUGIN \
    "SELECT " PLUGIN_COLUMNS ", " VERSION_COLUMNS \
    " FROM plugin p JOIN publisher o ON o.id = p.owner LEFT JOIN version c ON c.id = p.current" \
    " JOIN version v ON v.id = ifnull(p.current, (SELECT max(id) FROM version n WHERE n.plugin = p.id))" \
    " JOIN key k ON k.id = v.key"

struct each_plugin {
    bool (*each)(void *context, const struct registry_plugin *p, const struct registry_version *v, const char *manifest,
                 size_t manifest_len);
    void *context;
};

/* The rows of a statement, or of what is left of it; 1: it was ended early. */
static int each_row(struct registry_reader *reader, sqlite3_stmt *row, int rc, const struct each_plugin *e,
                    struct error *err)
{
    struct registry_plugin p;
    struct registry_version v;
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!get_plugin(row, &p) || !get_version(row, PLUGIN_COUNT, &v))
            return reader_damaged(reader, row, err);
        if (!e->each(e->context, &p, &v, (const char *)sqlite3_column_text(row, PLUGIN_COUNT + VERSION_MANIFEST),
                     (size_t)sqlite3_column_bytes(row, PLUGIN_COUNT + VERSION_MANIFEST))) {
            db_end(row);
            return 1;
        }
    }
    return rc;
}

/* Where the page begins; the order of a search is not that of names. */
static int skip_to(const struct found_list *l, const char *after, size_t *first, struct error *err)
{
    *first = 0;
    if (!after || !*after)
        return 0;
    while (*first < l->count && strcmp(l->list[*first].name, after) != 0)
        ++*first;
    if (*first == l->count)
        return error_set(err, MOAT_E_BAD_REQUEST, "the search does not find %.30s any more: begin it anew", after);
    ++*first;
    return 0;
}

static int each_found(struct registry_reader *reader, const struct registry_filter *filter, const struct each_plugin *e,
                      struct error *err)
{
    struct found_list found = {0};
    size_t i = 0;
    int rc = find_plugins(&reader->db, filter, &found, err);
    if (rc == 0)
        rc = skip_to(&found, filter->after, &i, err);
    for (; i < found.count && rc == 0; i++) {
        sqlite3_stmt *row;
        rc = db_start(&reader->db, err, &row, EACH_PLUGIN " WHERE p.id = ?", "i", found.list[i].plugin);
        rc = each_row(reader, row, rc, e, err);
    }
    found_free(&found);
    return rc < 0 ? rc : 0;
}

int registry_each_plugin(struct registry_reader *reader, const struct registry_filter *filter,
                         bool (*each)(void *context, const struct registry_plugin *p, const struct registry_version *v,
                                      const char *manifest, size_t manifest_len),
                         void *context, struct error *err)
{
    struct each_plugin e = {each, context};
    sqlite3_stmt *row;
    if (filter->text)
        return each_found(reader, filter, &e, err);
    /* The order of names is the order of the index: a page is read, never the whole. */
    int rc =
        db_start(&reader->db, err, &row,
                 EACH_PLUGIN " WHERE p.name > ?1 AND (?2 = 0 OR v.capabilities & ?2) AND (?3 = 0 OR v.permissions & ?3)"
                             " AND (?4 < 0 OR p.active = ?4) AND (?5 IS NULL OR o.name = ?5) ORDER BY p.name",
                 "tiiit", filter->after ? filter->after : "", (int64_t)filter->capabilities,
                 (int64_t)filter->permissions, (int64_t)filter->active, filter->publisher);
    rc = each_row(reader, row, rc, &e, err);
    return rc < 0 ? rc : 0;
}
