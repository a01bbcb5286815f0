/* What an operator says about plugins and versions: pinned, active, deprecated, archived, configured. */
#include "registry/write.h"

/* Sets one flag of a plugin. */
static int set_flag(struct registry *r, const char *name, bool on, bool *changed, const char *sql, struct error *err)
{
    int64_t plugin;
    int rc = write_installed_id(r, name, &plugin, err);
    if (rc == 0)
        rc = db_run(&r->writer, err, sql, "ii", (int64_t)on, plugin);
    if (rc < 0)
        return rc;
    *changed = sqlite3_changes(r->writer.handle) != 0;
    return *changed ? WRITE_CHANGED : WRITE_NOTHING_NEW;
}

int write_pin(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    return set_flag(r, c->pin.name, c->pin.on, &c->pin.changed,
                    "UPDATE plugin SET pinned = ?1 WHERE id = ?2 AND pinned <> ?1", err);
}

int write_activate(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    return set_flag(r, c->activate.name, c->activate.on, &c->activate.changed,
                    "UPDATE plugin SET active = ?1 WHERE id = ?2 AND active <> ?1", err);
}

/* ---- deprecated, archived ---- */

static int check_not_current(struct registry *r, const struct registry_command *c, int64_t version, struct error *err)
{
    int64_t current;
    int rc = db_number(&r->writer, err, 0, &current, "SELECT count(*) FROM plugin WHERE current = ?", "i", version);
    if (rc == 0 && current)
        return error_set(err, MOAT_E_WRONG_STATE, "%s is the current version of `%s`: `moat use` another one first",
                         c->mark.version, c->mark.name);
    return rc;
}

int write_mark(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    const char *state = registry_state_name(c->mark.state), *to = c->mark.on ? state : "available";
    int64_t plugin, version;
    int rc = write_installed_id(r, c->mark.name, &plugin, err);
    if (rc == 0)
        rc = write_version_id(r, plugin, c->mark.name, c->mark.version, &version, err);
    if (rc == 0 && c->mark.on && c->mark.state == REGISTRY_ARCHIVED)
        rc = check_not_current(r, c, version, err);
    /* What is archived does not become deprecated by the way, and undoing undoes its own word only. */
    if (rc == 0 && c->mark.on)
        rc = db_run(&r->writer, err,
                    "UPDATE version SET state = ?1, changed_at = ?2, reason = ?3 WHERE id = ?4"
                    " AND (state <> ?1 OR reason <> ?3) AND (state <> 'archived' OR ?1 = 'archived')",
                    "titi", to, (int64_t)(now ? now : 1), c->mark.reason, version);
    else if (rc == 0)
        rc = db_run(&r->writer, err,
                    "UPDATE version SET state = ?1, changed_at = 0, reason = '' WHERE id = ?2 AND state = ?3", "tit",
                    to, version, state);
    if (rc < 0)
        return rc;
    c->mark.changed = sqlite3_changes(r->writer.handle) != 0;
    return c->mark.changed ? WRITE_CHANGED : WRITE_NOTHING_NEW;
}

/* ---- configuration ---- */

/* Those of the newest revision stay, and of the bases to which a guard may go back. */
static int drop_secrets(struct registry *r, int64_t plugin, struct error *err)
{
    return db_run(&r->writer, err,
                  "UPDATE config SET secret = '{}' WHERE plugin = ?1 AND secret <> '{}' AND revision NOT IN"
                  " (SELECT max(revision) FROM config WHERE plugin = ?1"
                  " UNION SELECT base FROM config WHERE plugin = ?1 AND guard = 'running')",
                  "i", plugin);
}

int write_configure(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin, revision = 0;
    int rc = write_installed_id(r, c->configure.name, &plugin, err);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &revision, "SELECT max(revision) FROM config WHERE plugin = ?", "i", plugin);
    if (rc == 0 && (uint64_t)revision != c->configure.expected)
        return error_set(err, MOAT_E_WRONG_STATE, "somebody else has configured `%s` meanwhile: look again",
                         c->configure.name);
    if (rc == 0)
        rc = db_run(&r->writer, err,
                    "INSERT INTO config (plugin, revision, value, secret, set_at, guard, base, why)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    "iittitit", plugin, revision + 1, c->configure.value, c->configure.secret, (int64_t)now,
                    c->configure.guard ? c->configure.guard : "", (int64_t)c->configure.base,
                    c->configure.why ? c->configure.why : "");
    return rc < 0 ? rc : drop_secrets(r, plugin, err);
}

/* The base, once more. Of a plugin that had nothing set before there is no row: then nothing is set. */
static int go_back(struct registry *r, int64_t plugin, const struct registry_command *c, uint64_t now,
                   struct error *err)
{
    int64_t revision;
    int rc = db_number(&r->writer, err, 0, &revision, "SELECT max(revision) FROM config WHERE plugin = ?", "i", plugin);
    if (rc == 0 && (uint64_t)revision != c->guard_end.revision)
        return error_set(err, MOAT_E_WRONG_STATE, "somebody else has configured `%s` meanwhile", c->guard_end.name);
    return rc < 0 ? rc
                  : db_run(&r->writer, err,
                           "INSERT INTO config (plugin, revision, value, secret, set_at, back)"
                           " SELECT ?1, ?2 + 1, ifnull(max(value), '{}'), ifnull(max(secret), '{}'), ?3, ?4"
                           " FROM config WHERE plugin = ?1 AND revision = ?4",
                           "iiii", plugin, revision, (int64_t)now, (int64_t)c->guard_end.base);
}

int write_guard_end(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin, base = -1;
    c->guard_end.changed = false;
    int rc = write_installed_id(r, c->guard_end.name, &plugin, err);
    if (rc == 0)
        rc = db_number(&r->writer, err, -1, &base,
                       "SELECT base FROM config WHERE plugin = ? AND revision = ? AND guard = 'running'", "ii", plugin,
                       (int64_t)c->guard_end.revision);
    if (rc < 0 || base < 0)
        return rc < 0 ? rc : WRITE_NOTHING_NEW;
    c->guard_end.base = (uint64_t)base;
    if (c->guard_end.back)
        rc = go_back(r, plugin, c, now, err);
    if (rc == 0)
        rc = db_run(&r->writer, err,
                    "UPDATE config SET guard = ?, why = ?, evidence = ?, guard_until = ? WHERE plugin = ? AND"
                    " revision = ?",
                    "tttiii", c->guard_end.outcome, c->guard_end.why, c->guard_end.evidence, (int64_t)now, plugin,
                    (int64_t)c->guard_end.revision);
    c->guard_end.changed = rc == 0;
    return rc < 0 ? rc : drop_secrets(r, plugin, err);
}
