/* What commands do to trust and decisions: inside their savepoint, on the store thread. */
#include <string.h>

#include "registry/write.h"

/* ---- trust ---- */

static int publisher_id(struct registry *r, const char *name, int64_t *id, struct error *err)
{
    return write_row_id(r, err, id, "SELECT id FROM publisher WHERE name = ?", name);
}

/* 1: this publisher has this key already. */
static int key_is_known(struct registry *r, int64_t publisher, const uint8_t *id, struct error *err)
{
    sqlite3_stmt *row;
    int rc =
        db_start(&r->writer, err, &row,
                 "SELECT publisher, revoked_at, name FROM key JOIN publisher p ON p.id = publisher WHERE key.id = ?",
                 "b", id, (size_t)32);
    if (rc <= 0)
        return rc;
    if (sqlite3_column_int64(row, 0) != publisher)
        rc = error_set(err, MOAT_E_ALREADY_EXISTS, "this key belongs to the publisher %s already",
                       (const char *)sqlite3_column_text(row, 2));
    else if (sqlite3_column_int64(row, 1))
        rc = error_set(err, MOAT_E_KEY_REVOKED, "this key of %s was revoked and stays so",
                       (const char *)sqlite3_column_text(row, 2));
    db_end(row);
    return rc;
}

int write_trust_add(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t id;
    int rc = publisher_id(r, c->trust_add.publisher, &id, err);
    if (rc == 0 && !id) {
        rc = db_run(&r->writer, err, "INSERT INTO publisher (name, names, added_at) VALUES (?, ?, ?)", "tti",
                    c->trust_add.publisher, c->trust_add.names ? c->trust_add.names : "*", (int64_t)now);
        id = sqlite3_last_insert_rowid(r->writer.handle);
    } else if (rc == 0 && c->trust_add.names) {
        rc = db_run(&r->writer, err, "UPDATE publisher SET names = ? WHERE id = ?", "ti", c->trust_add.names, id);
    }
    if (rc == 0)
        rc = key_is_known(r, id, c->trust_add.id, err);
    if (rc == 0)
        rc = db_run(&r->writer, err,
                    "INSERT INTO key (id, publisher, algorithm, bytes, added_at) VALUES (?, ?, ?, ?, ?)", "biibi",
                    c->trust_add.id, (size_t)32, id, (int64_t)c->trust_add.algorithm, c->trust_add.bytes, (size_t)32,
                    (int64_t)now);
    return rc < 0 ? rc : rc == 1 && !c->trust_add.names ? WRITE_NOTHING_NEW : WRITE_CHANGED;
}

/* A key that was revoked before keeps its first time. */
int write_trust_revoke(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    const uint8_t *key = c->trust_revoke.key;
    const char *publisher = c->trust_revoke.publisher;
    int64_t id, known;
    int rc = publisher_id(r, publisher, &id, err);
    if (rc == 0 && !id)
        return error_set(err, MOAT_E_NOT_FOUND, "no publisher `%s` is trusted", publisher);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &known,
                       "SELECT count(*) FROM key WHERE publisher = ?1 AND (?2 IS NULL OR id = ?2)", "ib", id, key,
                       key ? (size_t)32 : (size_t)0);
    if (rc == 0 && !known)
        return error_set(err, MOAT_E_NOT_FOUND, "the publisher %s has no such key", publisher);
    if (rc == 0)
        rc =
            db_run(&r->writer, err,
                   "UPDATE key SET revoked_at = ?1 WHERE publisher = ?2 AND revoked_at = 0 AND (?3 IS NULL OR id = ?3)",
                   "iib", (int64_t)(now ? now : 1), id, key, key ? (size_t)32 : (size_t)0);
    return rc;
}

int write_trust_names(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int rc = db_run(&r->writer, err, "UPDATE publisher SET names = ? WHERE name = ?", "tt", c->trust_names.names,
                    c->trust_names.publisher);
    if (rc == 0 && sqlite3_changes(r->writer.handle) == 0)
        return error_set(err, MOAT_E_NOT_FOUND, "no publisher `%s` is trusted", c->trust_names.publisher);
    return rc;
}

static int owner_of(struct registry *r, int64_t plugin, char before[REGISTRY_PUBLISHER_MAX + 1], struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&r->writer, err, &row,
                      "SELECT o.name FROM plugin p JOIN publisher o ON o.id = p.owner WHERE p.id = ?", "i", plugin);
    if (rc <= 0)
        return rc;
    bool fits = db_text(row, 0, before, REGISTRY_PUBLISHER_MAX + 1);
    db_end(row);
    return fits ? 0 : error_set(err, MOAT_E_STORAGE_FAILED, "%s: a publisher's name is too long", r->file);
}

int write_transfer(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin = 0, publisher = 0;
    int rc = write_plugin_id(r, c->transfer.name, &plugin, err);
    if (rc == 0 && !plugin)
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "nobody owns the name `%s`", c->transfer.name);
    if (rc == 0)
        rc = publisher_id(r, c->transfer.publisher, &publisher, err);
    if (rc == 0 && !publisher)
        return error_set(err, MOAT_E_NOT_FOUND, "no publisher `%s` is trusted", c->transfer.publisher);
    if (rc == 0)
        rc = owner_of(r, plugin, c->transfer.before, err);
    if (rc < 0 || strcmp(c->transfer.before, c->transfer.publisher) == 0)
        return rc < 0 ? rc : WRITE_NOTHING_NEW;
    return db_run(&r->writer, err, "UPDATE plugin SET owner = ?, owner_since = ? WHERE id = ?", "iii", publisher,
                  (int64_t)now, plugin);
}

/* ---- decisions ---- */

static int decide_one(struct registry *r, int64_t plugin, const struct registry_decision *d, uint64_t now,
                      struct error *err)
{
    int rc = db_run(&r->writer, err,
                    "DELETE FROM decision WHERE plugin = ?1 AND permission = ?2 AND (refused <> ?3 OR ?3 = 1)", "iii",
                    plugin, (int64_t)d->permission, (int64_t)d->refused);
    if (rc == 0)
        rc = db_run(&r->writer, err,
                    "INSERT INTO decision (plugin, permission, scope, refused, until, decided_at, held)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET until = excluded.until, decided_at = excluded.decided_at",
                    "iitiiii", plugin, (int64_t)d->permission, d->scope, (int64_t)d->refused, (int64_t)d->until,
                    (int64_t)now, d->held);
    return rc;
}

int write_check_grants(struct registry *r, int64_t plugin, struct error *err)
{
    int64_t n = 0;
    int rc = db_number(&r->writer, err, 0, &n, "SELECT count(*) FROM decision WHERE plugin = ? AND refused = 0", "i",
                       plugin);
    if (rc == 0 && n > REGISTRY_GRANTS_MAX)
        return error_set(err, MOAT_E_LIMIT,
                         "a plugin has at most %d grants: revoke some, or grant what contains several of them",
                         REGISTRY_GRANTS_MAX);
    return rc;
}

int write_decisions(struct registry *r, int64_t plugin, const struct registry_decision *list, size_t count,
                    uint64_t now, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = decide_one(r, plugin, &list[i], now, err);
    return rc < 0 ? rc : write_check_grants(r, plugin, err);
}

int write_grant_weighed(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin;
    int changed = 0, rc = write_plugin_id(r, c->grant_weighed.name, &plugin, err);
    for (size_t i = 0; i < c->grant_weighed.count && rc == 0; i++) {
        const struct registry_decision *d = &c->grant_weighed.list[i];
        rc = db_run(&r->writer, err,
                    "UPDATE decision SET held = ? WHERE plugin = ? AND permission = ? AND scope = ? AND held < 0",
                    "iiit", d->held, plugin, (int64_t)d->permission, d->scope);
        changed += rc == 0 ? sqlite3_changes(r->writer.handle) : 0;
    }
    return rc < 0 ? rc : changed ? WRITE_CHANGED : WRITE_NOTHING_NEW;
}

int write_decide(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin;
    int rc = write_installed_id(r, c->decide.name, &plugin, err);
    return rc < 0 ? rc : write_decisions(r, plugin, c->decide.list, c->decide.count, now, err);
}

int write_undecide(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin;
    int rc = write_installed_id(r, c->undecide.name, &plugin, err);
    for (size_t i = 0; i < c->undecide.count && rc == 0; i++)
        rc = db_run(&r->writer, err,
                    "DELETE FROM decision WHERE plugin = ? AND permission = ? AND scope = ? AND refused = ?", "iiti",
                    plugin, (int64_t)c->undecide.list[i].permission, c->undecide.list[i].scope,
                    (int64_t)c->undecide.list[i].refused);
    return rc;
}
