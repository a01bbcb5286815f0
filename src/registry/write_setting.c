/* What commands do to settings and tokens: inside their savepoint, on the store thread. */
#include "registry/write.h"

int write_set(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    if (!c->set.value)
        return db_run(&r->writer, err, "DELETE FROM setting WHERE key = ?", "t", c->set.key);
    return db_run(&r->writer, err,
                  "INSERT INTO setting (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                  "tt", c->set.key, c->set.value);
}

int write_token_add(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int rc =
        db_run(&r->writer, err, "INSERT INTO token (hash, name, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
               "bttii", c->token_add.hash, (size_t)32, c->token_add.name ? c->token_add.name : "", c->token_add.scopes,
               (int64_t)now, (int64_t)c->token_add.expires_at);
    if (rc == 0)
        c->token_add.id = sqlite3_last_insert_rowid(r->writer.handle);
    return rc;
}

/* The row stays: an id is never given twice, and the trail speaks of it. */
int write_token_revoke(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int64_t revoked_at;
    int rc = db_number(&r->writer, err, -1, &revoked_at, "SELECT revoked_at FROM token WHERE id = ?", "i",
                       c->token_revoke.id);
    if (rc < 0)
        return rc;
    if (revoked_at < 0)
        return error_set(err, MOAT_E_NOT_FOUND, "there is no token %lld", (long long)c->token_revoke.id);
    if (revoked_at > 0)
        return WRITE_NOTHING_NEW;
    return db_run(&r->writer, err, "UPDATE token SET revoked_at = ? WHERE id = ?", "ii", (int64_t)(now ? now : 1),
                  c->token_revoke.id);
}

int write_token_used(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < c->token_used.count && rc == 0; i++)
        rc = db_run(&r->writer, err, "UPDATE token SET last_used_at = max(last_used_at, ?) WHERE id = ?", "ii",
                    (int64_t)c->token_used.list[i].at, c->token_used.list[i].id);
    return rc;
}
