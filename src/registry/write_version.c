/* What commands do to plugins and their versions: inside their savepoint, on the store thread. */
#include <string.h>

#include "base/text.h"
#include "registry/files.h"
#include "registry/search.h"
#include "registry/write.h"

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

/* A name that nobody signed for: what was decided and set for it does not pass to whoever signs now. */
static int take_name(struct registry *r, const struct registry_command *c, int64_t publisher, int64_t plugin,
                     uint64_t now, struct error *err)
{
    int rc = db_run(&r->writer, err, "UPDATE plugin SET owner = ?, newest = ?, owner_since = ? WHERE id = ?", "itii",
                    publisher, c->install.newest, (int64_t)now, plugin);
    if (rc == 0)
        rc = db_run(&r->writer, err, "DELETE FROM decision WHERE plugin = ?", "i", plugin);
    return rc < 0 ? rc : db_run(&r->writer, err, "DELETE FROM config WHERE plugin = ?", "i", plugin);
}

/* The name belongs to the publisher of its first signed version. */
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
    const char *owner = (const char *)sqlite3_column_text(row, 2);
    bool own = sqlite3_column_int64(row, 1) == publisher, nobodys = strcmp(owner, REGISTRY_NOBODY) == 0;
    if (!own && !nobodys)
        rc = error_set(err, MOAT_E_NAME_NOT_ALLOWED, "the name %s belongs to the publisher %s", c->install.name, owner);
    db_end(row);
    return rc < 0 ? rc : own ? 0 : take_name(r, c, publisher, *id, now, err);
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
    return error_set(err, MOAT_E_ALREADY_EXISTS, "%s %s is installed with other bytes", c->install.name,
                     c->install.version);
}

static int insert_version(struct registry *r, struct registry_command *c, int64_t plugin, uint64_t now,
                          struct error *err)
{
    int rc =
        db_run(&r->writer, err,
               "INSERT INTO version (plugin, version, sha256, size, key, signed_at, expires_at, installed_at,"
               " capabilities, permissions, manifest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
               "itbibiiiiit", plugin, c->install.version, c->install.sha256, (size_t)32, (int64_t)c->install.size,
               c->install.key, (size_t)32, (int64_t)c->install.signed_at, (int64_t)c->install.expires_at, (int64_t)now,
               (int64_t)c->install.capabilities, (int64_t)c->install.permissions, c->install.manifest);
    if (rc == 0)
        rc = db_run(&r->writer, err, "UPDATE plugin SET newest = ? WHERE id = ?", "ti", c->install.newest, plugin);
    return rc;
}

/* Before anything is done to the package of this hash. */
static int mark(struct registry *r, const uint8_t sha256[32], struct error *err)
{
    int rc = files_mark(r->plugin_dir, sha256, err);
    if (rc == 0 && !buf_put(&r->marked, sha256, 32))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the packages of one transaction");
    return rc;
}

static int count_install(struct registry *r, const struct registry_command *c, struct error *err)
{
    struct registry_count one = {.n.installs = 1};
    if (!text_copy(one.plugin, sizeof one.plugin, c->install.name) ||
        !text_copy(one.version, sizeof one.version, c->install.version))
        return error_set(err, MOAT_E_INTERNAL, "%s %s is longer than a name or a version may be", c->install.name,
                         c->install.version);
    return counter_add(&r->writer, &one, r->now_ms, err);
}

/* The one that was current before is what a rollback goes back to. */
static int make_current(struct registry *r, int64_t plugin, int64_t version, struct error *err)
{
    return db_run(&r->writer, err,
                  "UPDATE plugin SET previous = current, current = ?1 WHERE id = ?2 AND current IS NOT ?1", "ii",
                  version, plugin);
}

int write_install(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
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
    rc = mark(r, c->install.sha256, err);
    if (rc == 0)
        rc = files_publish(r->plugin_dir, c->install.stage, c->install.sha256, err);
    if (rc == 0 && !already)
        rc = insert_version(r, c, plugin, now, err);
    if (rc == 0 && !already)
        rc = count_install(r, c, err);
    /* The same bytes again mend a version that was found damaged. */
    if (rc == 0 && already)
        rc = db_run(&r->writer, err,
                    "UPDATE version SET damaged_at = 0 WHERE plugin = ? AND version = ? AND damaged_at <> 0", "it",
                    plugin, c->install.version);
    if (rc == 0)
        rc = write_decisions(r, plugin, c->install.decisions, c->install.ndecisions, now, err);
    int64_t current = 0, version = 0;
    if (rc == 0)
        rc = write_version_id(r, plugin, c->install.name, c->install.version, &version, err);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &current, "SELECT current FROM plugin WHERE id = ?", "i", plugin);
    /* An older version than the newest seen becomes current only when it is asked for. */
    bool older = strcmp(c->install.newest, c->install.version) != 0;
    if (rc == 0 && current && c->install.use)
        rc = write_may_be_current(r, plugin, c->install.name, version, c->install.version, err);
    if (rc == 0 && ((!current && !older) || c->install.use)) {
        rc = make_current(r, plugin, version, err);
        current = version;
    }
    if (rc == 0)
        rc = search_refresh(&r->writer, plugin, err);
    if (rc == 0) {
        c->install.already = already;
        c->install.current = current == version;
    }
    return rc;
}

/* The files may have to go once this is committed. */
static int drop_files(struct registry *r, int64_t plugin, const char *version, struct error *err)
{
    sqlite3_stmt *row;
    int rc =
        db_start(&r->writer, err, &row, "SELECT sha256 FROM version WHERE plugin = ?1 AND (?2 IS NULL OR version = ?2)",
                 "it", plugin, version);
    for (; rc > 0; rc = db_next(&r->writer, err, row)) {
        uint8_t sha256[32];
        int marked = db_blob(row, 0, sha256, 32) ? mark(r, sha256, err) : 0;
        if (marked < 0) {
            db_end(row);
            return marked;
        }
    }
    return rc;
}

static int forget_name(struct registry *r, int64_t plugin, struct error *err)
{
    static const char *const all[] = {
        "DELETE FROM decision WHERE plugin = ?", "DELETE FROM config WHERE plugin = ?",
        "DELETE FROM counter WHERE plugin = ?",  "DELETE FROM hour WHERE plugin = ?",
        "DELETE FROM denial WHERE plugin = ?",   "DELETE FROM denial_dropped WHERE plugin = ?",
        "DELETE FROM plugin WHERE id = ?",
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all && rc == 0; i++)
        rc = db_run(&r->writer, err, all[i], "i", plugin);
    return rc;
}

int write_uninstall(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    const char *name = c->uninstall.name, *version = c->uninstall.version;
    int64_t plugin = 0, all = 0, one = 0, current = 0;
    int rc = write_plugin_id(r, name, &plugin, err);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &all, "SELECT count(*) FROM version WHERE plugin = ?", "i", plugin);
    if (rc == 0 && (!plugin || (!all && !c->uninstall.purge)))
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", name);
    if (rc == 0 && version)
        rc = write_version_id(r, plugin, name, version, &one, err);
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
        rc = db_run(&r->writer, err,
                    "UPDATE plugin SET current = NULL, wanted = 0, active = 1, pinned = 0 WHERE id = ?", "i", plugin);
    if (rc == 0)
        rc = db_run(&r->writer, err, "DELETE FROM version WHERE plugin = ?1 AND (?2 IS NULL OR version = ?2)", "it",
                    plugin, version);
    c->uninstall.removed = rc == 0 ? (unsigned)sqlite3_changes(r->writer.handle) : 0;
    if (rc == 0)
        rc = search_refresh(&r->writer, plugin, err);
    if (rc == 0 && last && c->uninstall.purge)
        rc = forget_name(r, plugin, err);
    return rc;
}

int write_may_be_current(struct registry *r, int64_t plugin, const char *name, int64_t version, const char *text,
                         struct error *err)
{
    int64_t usable, pinned;
    int rc =
        db_number(&r->writer, err, 0, &usable,
                  "SELECT count(*) FROM version WHERE id = ? AND damaged_at = 0 AND state <> 'archived'", "i", version);
    if (rc == 0 && !usable)
        return error_set(err, MOAT_E_WRONG_STATE, "%s of `%s` is damaged or archived", text, name);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &pinned,
                       "SELECT count(*) FROM plugin WHERE id = ? AND pinned AND current IS NOT NULL AND current <> ?",
                       "ii", plugin, version);
    if (rc == 0 && pinned)
        return error_set(err, MOAT_E_WRONG_STATE, "%s is pinned to its current version: `moat unpin %s`", name, name);
    return rc;
}

int write_use(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin, version;
    int rc = write_installed_id(r, c->use.name, &plugin, err);
    if (rc == 0)
        rc = write_version_id(r, plugin, c->use.name, c->use.version, &version, err);
    if (rc == 0)
        rc = write_may_be_current(r, plugin, c->use.name, version, c->use.version, err);
    if (rc == 0)
        rc = make_current(r, plugin, version, err);
    if (rc == 0)
        rc = search_refresh(&r->writer, plugin, err);
    return rc;
}

int write_rollback(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    const char *name = c->rollback.name;
    int64_t plugin, version, previous = 0;
    int rc = write_installed_id(r, name, &plugin, err);
    if (rc == 0)
        rc = write_version_id(r, plugin, name, c->rollback.version, &version, err);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &previous, "SELECT previous FROM plugin WHERE id = ?", "i", plugin);
    if (rc == 0 && previous != version)
        return error_set(err, MOAT_E_WRONG_STATE, "%s of `%s` is not what was current before", c->rollback.version,
                         name);
    if (rc == 0)
        rc = write_may_be_current(r, plugin, name, version, c->rollback.version, err);
    if (rc == 0)
        rc = db_run(&r->writer, err, "UPDATE plugin SET current = previous, previous = NULL WHERE id = ?", "i", plugin);
    if (rc == 0)
        rc = search_refresh(&r->writer, plugin, err);
    return rc;
}

int write_want(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin;
    if (!c->want.name)
        return db_run(&r->writer, err,
                      "UPDATE plugin SET wanted = ? WHERE EXISTS (SELECT 1 FROM version WHERE plugin = plugin.id)", "i",
                      (int64_t)c->want.wanted);
    int rc = write_installed_id(r, c->want.name, &plugin, err);
    if (rc == 0)
        rc =
            db_run(&r->writer, err, "UPDATE plugin SET wanted = ? WHERE id = ?", "ii", (int64_t)c->want.wanted, plugin);
    return rc;
}

/* Its file is moved once this is committed. */
static int mark_damaged(struct registry *r, int64_t version, struct error *err)
{
    sqlite3_stmt *row;
    uint8_t sha256[32];
    int rc = db_start(&r->writer, err, &row, "SELECT sha256 FROM version WHERE id = ?", "i", version);
    if (rc <= 0)
        return rc;
    bool whole = db_blob(row, 0, sha256, 32);
    db_end(row);
    return whole ? mark(r, sha256, err) : 0;
}

int write_damage(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin, version = 0;
    int rc = write_installed_id(r, c->damage.name, &plugin, err);
    if (rc == 0)
        rc = write_version_id(r, plugin, c->damage.name, c->damage.version, &version, err);
    if (rc == 0)
        rc = db_run(&r->writer, err, "UPDATE version SET damaged_at = ? WHERE id = ? AND damaged_at = 0", "ii",
                    (int64_t)(now ? now : 1), version);
    if (rc == 0 && sqlite3_changes(r->writer.handle) == 0)
        return WRITE_NOTHING_NEW;
    return rc < 0 ? rc : mark_damaged(r, version, err);
}
