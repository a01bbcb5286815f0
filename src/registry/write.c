/* What each command does: inside its savepoint, on the store thread. */
#include <string.h>

#include "registry/files.h"
#include "registry/internal.h"

typedef int (*verb_run)(struct registry *r, struct registry_command *c, uint64_t now, struct error *err);

/* The id of a row by name, or 0. */
static int row_id(struct registry *r, struct error *err, int64_t *id, const char *sql, const char *name)
{
    return db_number(&r->writer, err, 0, id, sql, "t", name);
}

static int plugin_id(struct registry *r, const char *name, int64_t *id, struct error *err)
{
    return row_id(r, err, id, "SELECT id FROM plugin WHERE name = ?", name);
}

/* A plugin with at least one version. */
static int installed_id(struct registry *r, const char *name, int64_t *id, struct error *err)
{
    int rc =
        row_id(r, err, id,
               "SELECT id FROM plugin p WHERE name = ? AND EXISTS (SELECT 1 FROM version WHERE plugin = p.id)", name);
    if (rc == 0 && !*id)
        rc = error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", name);
    return rc;
}

static int version_id(struct registry *r, int64_t plugin, const char *name, const char *version, int64_t *id,
                      struct error *err)
{
    int rc = db_number(&r->writer, err, 0, id, "SELECT id FROM version WHERE plugin = ? AND version = ?", "it", plugin,
                       version);
    if (rc == 0 && !*id)
        rc = error_set(err, MOAT_E_NO_SUCH_VERSION, "`%s` is not installed in version %s", name, version);
    return rc;
}

/* ---- trust ---- */

static int publisher_id(struct registry *r, const char *name, int64_t *id, struct error *err)
{
    return row_id(r, err, id, "SELECT id FROM publisher WHERE name = ?", name);
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

static int trust_add(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
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
    return rc < 0 ? rc : 0;
}

/* A key that was revoked before keeps its first time. */
static int trust_revoke(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
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

/* ---- decisions ---- */

static int decide_one(struct registry *r, int64_t plugin, const struct registry_decision *d, uint64_t now,
                      struct error *err)
{
    int rc = db_run(&r->writer, err,
                    "DELETE FROM decision WHERE plugin = ?1 AND permission = ?2 AND (refused <> ?3 OR ?3 = 1)", "iii",
                    plugin, (int64_t)d->permission, (int64_t)d->refused);
    if (rc == 0)
        rc = db_run(&r->writer, err,
                    "INSERT INTO decision (plugin, permission, scope, refused, until, decided_at)"
                    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET until = excluded.until, decided_at = excluded.decided_at",
                    "iitiii", plugin, (int64_t)d->permission, d->scope, (int64_t)d->refused, (int64_t)d->until,
                    (int64_t)now);
    return rc;
}

static int decide_all(struct registry *r, int64_t plugin, const struct registry_decision *list, size_t count,
                      uint64_t now, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = decide_one(r, plugin, &list[i], now, err);
    return rc;
}

static int decide(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin;
    int rc = installed_id(r, c->decide.name, &plugin, err);
    return rc < 0 ? rc : decide_all(r, plugin, c->decide.list, c->decide.count, now, err);
}

static int undecide(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin;
    int rc = installed_id(r, c->undecide.name, &plugin, err);
    for (size_t i = 0; i < c->undecide.count && rc == 0; i++)
        rc = db_run(&r->writer, err,
                    "DELETE FROM decision WHERE plugin = ? AND permission = ? AND scope = ? AND refused = ?", "iiti",
                    plugin, (int64_t)c->undecide.list[i].permission, c->undecide.list[i].scope,
                    (int64_t)c->undecide.list[i].refused);
    return rc;
}

/* ---- versions ---- */

static int signer(struct registry *r, const struct registry_command *c, int64_t *publisher, struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&r->writer, err, &row, "SELECT publisher, revoked_at FROM key WHERE id = ?", "b", c->install.key,
                      (size_t)32);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return error_set(err, MOAT_E_UNKNOWN_KEY, "the key of %s %s is not trusted", c->install.name,
                         c->install.version);
    *publisher = sqlite3_column_int64(row, 0);
    bool revoked = sqlite3_column_int64(row, 1) != 0;
    db_end(row);
    if (revoked)
        return error_set(err, MOAT_E_KEY_REVOKED, "the key of %s %s is revoked", c->install.name, c->install.version);
    return 0;
}

/* The name belongs to the publisher of its first version. */
static int own_name(struct registry *r, const struct registry_command *c, int64_t publisher, uint64_t now, int64_t *id,
                    struct error *err)
{
    sqlite3_stmt *row;
    int rc = db_start(&r->writer, err, &row,
                      "SELECT p.id, p.owner, o.name FROM plugin p JOIN publisher o ON o.id = p.owner WHERE p.name = ?",
                      "t", c->install.name);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        rc = db_run(&r->writer, err, "INSERT INTO plugin (name, owner, newest, first_at) VALUES (?, ?, ?, ?)", "titi",
                    c->install.name, publisher, c->install.newest, (int64_t)now);
        *id = sqlite3_last_insert_rowid(r->writer.handle);
        return rc;
    }
    *id = sqlite3_column_int64(row, 0);
    if (sqlite3_column_int64(row, 1) != publisher)
        rc = error_set(err, MOAT_E_NAME_NOT_ALLOWED, "the name %s belongs to the publisher %s", c->install.name,
                       (const char *)sqlite3_column_text(row, 2));
    db_end(row);
    return rc < 0 ? rc : 0;
}

/* 1: the same bytes are there already; 0: not there. */
static int same_version(struct registry *r, const struct registry_command *c, int64_t plugin, struct error *err)
{
    sqlite3_stmt *row;
    uint8_t sha256[32];
    int rc = db_start(&r->writer, err, &row, "SELECT sha256 FROM version WHERE plugin = ? AND version = ?", "it",
                      plugin, c->install.version);
    if (rc <= 0)
        return rc;
    bool same = db_blob(row, 0, sha256, 32) && memcmp(sha256, c->install.sha256, 32) == 0;
    db_end(row);
    if (same)
        return 1;
    return error_set(err, MOAT_E_ALREADY_EXISTS, "%s %s is installed with other bytes: a version never changes",
                     c->install.name, c->install.version);
}

static int insert_version(struct registry *r, struct registry_command *c, int64_t plugin, uint64_t now,
                          struct error *err)
{
    int rc = db_run(&r->writer, err,
                    "INSERT INTO version (plugin, version, sha256, size, key, signed_at, expires_at, installed_at,"
                    " capabilities, permissions, words, manifest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    "itbibiiiiitt", plugin, c->install.version, c->install.sha256, (size_t)32, (int64_t)c->install.size,
                    c->install.key, (size_t)32, (int64_t)c->install.signed_at, (int64_t)c->install.expires_at,
                    (int64_t)now, (int64_t)c->install.capabilities, (int64_t)c->install.permissions, c->install.words,
                    c->install.manifest);
    if (rc == 0)
        rc = db_run(&r->writer, err, "UPDATE plugin SET newest = ? WHERE id = ?", "ti", c->install.newest, plugin);
    return rc;
}

static int install(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t publisher = 0, plugin = 0;
    c->install.already = c->install.current = false;
    int rc = signer(r, c, &publisher, err);
    if (rc == 0)
        rc = own_name(r, c, publisher, now, &plugin, err);
    if (rc == 0)
        rc = same_version(r, c, plugin, err);
    if (rc < 0)
        return rc;
    bool already = rc == 1;
    rc = files_publish(r->plugin_dir, c->install.stage, c->install.sha256, err);
    if (rc == 0 && !already)
        rc = insert_version(r, c, plugin, now, err);
    /* The same bytes again mend a version that was found damaged. */
    if (rc == 0 && already)
        rc = db_run(&r->writer, err,
                    "UPDATE version SET state = 'available' WHERE plugin = ? AND version = ? AND state = 'damaged'",
                    "it", plugin, c->install.version);
    if (rc == 0)
        rc = decide_all(r, plugin, c->install.decisions, c->install.ndecisions, now, err);
    if (rc == 0)
        rc = db_run(&r->writer, err,
                    "UPDATE plugin SET current = (SELECT id FROM version WHERE plugin = ?1 AND version = ?2)"
                    " WHERE id = ?1 AND (current IS NULL OR ?3)",
                    "iti", plugin, c->install.version, (int64_t)c->install.use);
    int64_t current;
    if (rc == 0)
        rc = db_number(
            &r->writer, err, 0, &current,
            "SELECT count(*) FROM plugin p JOIN version v ON v.id = p.current WHERE p.id = ? AND v.version = ?", "it",
            plugin, c->install.version);
    if (rc == 0) {
        c->install.already = already;
        c->install.current = current != 0;
    }
    return rc;
}

/* Remembers the hashes whose files may have to go once this is committed. */
static int drop_files(struct registry *r, int64_t plugin, const char *version, struct error *err)
{
    sqlite3_stmt *row;
    int rc =
        db_start(&r->writer, err, &row, "SELECT sha256 FROM version WHERE plugin = ?1 AND (?2 IS NULL OR version = ?2)",
                 "it", plugin, version);
    for (; rc > 0; rc = db_next(&r->writer, err, row)) {
        uint8_t sha256[32];
        if (db_blob(row, 0, sha256, 32))
            buf_put(&r->dropped, sha256, 32); /* one that is forgotten here is collected at the next open */
    }
    return rc;
}

static int forget_name(struct registry *r, int64_t plugin, struct error *err)
{
    int rc = db_run(&r->writer, err, "DELETE FROM decision WHERE plugin = ?", "i", plugin);
    return rc < 0 ? rc : db_run(&r->writer, err, "DELETE FROM plugin WHERE id = ?", "i", plugin);
}

static int uninstall(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    const char *name = c->uninstall.name, *version = c->uninstall.version;
    int64_t plugin = 0, all = 0, one = 0, current = 0;
    int rc = plugin_id(r, name, &plugin, err);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &all, "SELECT count(*) FROM version WHERE plugin = ?", "i", plugin);
    if (rc == 0 && (!plugin || (!all && !c->uninstall.purge)))
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", name);
    if (rc == 0 && version)
        rc = version_id(r, plugin, name, version, &one, err);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &current, "SELECT current FROM plugin WHERE id = ?", "i", plugin);
    if (rc < 0)
        return rc;
    if (one && one == current && all > 1)
        return error_set(err, MOAT_E_WRONG_STATE,
                         "%s is the current version of `%s`: `moat use` another one first, or uninstall all of it",
                         version, name);
    bool last = !version || all == 1;
    rc = drop_files(r, plugin, version, err);
    if (rc == 0 && last)
        rc = db_run(&r->writer, err, "UPDATE plugin SET current = NULL, wanted = 0, active = 1 WHERE id = ?", "i",
                    plugin);
    if (rc == 0)
        rc = db_run(&r->writer, err, "DELETE FROM version WHERE plugin = ?1 AND (?2 IS NULL OR version = ?2)", "it",
                    plugin, version);
    c->uninstall.removed = rc == 0 ? (unsigned)sqlite3_changes(r->writer.handle) : 0;
    if (rc == 0 && last && c->uninstall.purge)
        rc = forget_name(r, plugin, err);
    return rc;
}

static int use(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin, version, usable;
    int rc = installed_id(r, c->use.name, &plugin, err);
    if (rc == 0)
        rc = version_id(r, plugin, c->use.name, c->use.version, &version, err);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &usable,
                       "SELECT count(*) FROM version WHERE id = ? AND state NOT IN ('damaged', 'archived')", "i",
                       version);
    if (rc == 0 && !usable)
        return error_set(err, MOAT_E_WRONG_STATE, "%s of `%s` is damaged or archived", c->use.version, c->use.name);
    if (rc == 0)
        rc = db_run(&r->writer, err, "UPDATE plugin SET current = ? WHERE id = ?", "ii", version, plugin);
    return rc;
}

static int want(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin;
    if (!c->want.name)
        return db_run(&r->writer, err,
                      "UPDATE plugin SET wanted = ? WHERE EXISTS (SELECT 1 FROM version WHERE plugin = plugin.id)", "i",
                      (int64_t)c->want.wanted);
    int rc = installed_id(r, c->want.name, &plugin, err);
    if (rc == 0)
        rc =
            db_run(&r->writer, err, "UPDATE plugin SET wanted = ? WHERE id = ?", "ii", (int64_t)c->want.wanted, plugin);
    return rc;
}

static int damage(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin, version;
    int rc = installed_id(r, c->damage.name, &plugin, err);
    if (rc == 0)
        rc = version_id(r, plugin, c->damage.name, c->damage.version, &version, err);
    if (rc == 0)
        rc = db_run(&r->writer, err, "UPDATE version SET state = 'damaged' WHERE id = ?", "i", version);
    return rc;
}

/* ---- settings, tokens ---- */

static int set(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    if (!c->set.value)
        return db_run(&r->writer, err, "DELETE FROM setting WHERE key = ?", "t", c->set.key);
    return db_run(&r->writer, err,
                  "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                  "tt", c->set.key, c->set.value);
}

static int token_add(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    return db_run(&r->writer, err, "INSERT INTO token (hash, scopes, created_at, expires_at) VALUES (?, ?, ?, ?)",
                  "btii", c->token_add.hash, (size_t)32, c->token_add.scopes, (int64_t)now,
                  (int64_t)c->token_add.expires_at);
}

static const verb_run verbs[REGISTRY_VERB_COUNT] = {
    [REGISTRY_TRUST_ADD] = trust_add,
    [REGISTRY_TRUST_REVOKE] = trust_revoke,
    [REGISTRY_INSTALL] = install,
    [REGISTRY_UNINSTALL] = uninstall,
    [REGISTRY_USE] = use,
    [REGISTRY_WANT] = want,
    [REGISTRY_DAMAGE] = damage,
    [REGISTRY_DECIDE] = decide,
    [REGISTRY_UNDECIDE] = undecide,
    [REGISTRY_SET] = set,
    [REGISTRY_TOKEN_ADD] = token_add,
};

int write_run(struct registry *r, struct registry_command *command, uint64_t now, struct error *err)
{
    return verbs[command->verb](r, command, now, err);
}
