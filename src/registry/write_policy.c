/* What commands do to ceilings, data sources, the ends of grants and the home's time: inside their savepoint, on the
 * store thread. */
#include "registry/write.h"

/* ---- ceilings ---- */

static int count_ceilings(struct registry *r, struct error *err)
{
    int64_t n = 0;
    int rc = db_number(&r->writer, err, 0, &n, "SELECT count(*) FROM ceiling", "");
    if (rc == 0 && n >= REGISTRY_CEILINGS_MAX)
        return error_set(err, MOAT_E_LIMIT, "a home has at most %d ceilings", REGISTRY_CEILINGS_MAX);
    return rc;
}

int write_ceiling(struct registry *r, const char *subject, int permission, const char *scope, uint64_t at,
                  struct error *err)
{
    int64_t there = 0;
    int rc = db_number(&r->writer, err, 0, &there,
                       "SELECT count(*) FROM ceiling WHERE subject = ? AND permission = ? AND scope = ?", "tit",
                       subject, (int64_t)permission, scope);
    if (rc < 0 || there)
        return rc < 0 ? rc : WRITE_NOTHING_NEW;
    rc = count_ceilings(r, err);
    if (rc == 0)
        rc = db_run(&r->writer, err, "INSERT INTO ceiling (subject, permission, scope, set_at) VALUES (?, ?, ?, ?)",
                    "titi", subject, (int64_t)permission, scope, (int64_t)at);
    return rc;
}

int write_ceiling_set(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    return write_ceiling(r, c->ceiling.subject, c->ceiling.permission, c->ceiling.scope, now, err);
}

int write_ceiling_remove(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int rc = db_run(&r->writer, err, "DELETE FROM ceiling WHERE subject = ? AND permission = ? AND scope = ?", "tit",
                    c->ceiling.subject, (int64_t)c->ceiling.permission, c->ceiling.scope);
    if (rc == 0 && sqlite3_changes(r->writer.handle) == 0)
        return error_set(err, MOAT_E_NOT_FOUND, "there is no such ceiling over %s: `moat ceiling list`",
                         c->ceiling.subject);
    return rc;
}

/* ---- data sources ---- */

int write_source(struct registry *r, const char *name, const char *kind, const char *place, uint64_t at,
                 struct error *err)
{
    int64_t there = 0;
    int rc = db_number(&r->writer, err, 0, &there, "SELECT count(*) FROM source WHERE name = ?", "t", name);
    if (rc == 0 && there)
        return error_set(err, MOAT_E_ALREADY_EXISTS, "there is a source `%s` already: `moat source remove %s` first",
                         name, name);
    if (rc == 0)
        rc = db_run(&r->writer, err, "INSERT INTO source (name, kind, place, added_at) VALUES (?, ?, ?, ?)", "ttti",
                    name, kind, place, (int64_t)at);
    return rc;
}

int write_source_add(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    return write_source(r, c->source_add.name, c->source_add.kind, c->source_add.place, now, err);
}

int write_source_remove(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int rc = db_run(&r->writer, err, "DELETE FROM source WHERE name = ?", "t", c->source_remove.name);
    if (rc == 0 && sqlite3_changes(r->writer.handle) == 0)
        return error_set(err, MOAT_E_NOT_FOUND, "there is no source `%s`: `moat source list`", c->source_remove.name);
    return rc;
}

/* ---- time ---- */

/* A grant that was given anew meanwhile has another end, and stays. */
int write_grant_end(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t plugin;
    int changed = 0, rc = write_plugin_id(r, c->grant_end.name, &plugin, err);
    for (size_t i = 0; i < c->grant_end.count && rc == 0; i++) {
        const struct registry_decision *d = &c->grant_end.list[i];
        rc = db_run(&r->writer, err,
                    "DELETE FROM decision WHERE plugin = ? AND permission = ? AND scope = ? AND until = ?", "iiti",
                    plugin, (int64_t)d->permission, d->scope, (int64_t)d->until);
        changed += rc == 0 ? sqlite3_changes(r->writer.handle) : 0;
    }
    return rc < 0 ? rc : changed ? WRITE_CHANGED : WRITE_NOTHING_NEW;
}

int write_home_time(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    return db_run(&r->writer, err,
                  "INSERT INTO home_time (one, boot, boot_ns, time_ns) VALUES (1, ?1, ?2, ?3) ON CONFLICT (one)"
                  " DO UPDATE SET boot = ?1, boot_ns = ?2, time_ns = ?3 WHERE time_ns <= ?3",
                  "tii", c->home_time.boot, (int64_t)c->home_time.boot_ns, (int64_t)c->home_time.time_ns);
}
