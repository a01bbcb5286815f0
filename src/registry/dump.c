#include "registry/dump.h"

#include <string.h>
#include <unistd.h>

#include "registry/files.h"
#include "registry/search.h"
#include "registry/write.h"

/* ---- out ---- */

static bool take_version(sqlite3_stmt *row, struct dump_version *v)
{
    *v = (struct dump_version){.version = (const char *)sqlite3_column_text(row, 0),
                               .state = (const char *)sqlite3_column_text(row, 1),
                               .reason = (const char *)sqlite3_column_text(row, 2),
                               .manifest = (const char *)sqlite3_column_text(row, 3),
                               .manifest_len = (size_t)sqlite3_column_bytes(row, 3),
                               .size = (uint64_t)sqlite3_column_int64(row, 6),
                               .signed_at = (uint64_t)sqlite3_column_int64(row, 7),
                               .expires_at = (uint64_t)sqlite3_column_int64(row, 8),
                               .installed_at = (uint64_t)sqlite3_column_int64(row, 9),
                               .changed_at = (uint64_t)sqlite3_column_int64(row, 10)};
    return v->version && v->state && v->reason && v->manifest && db_blob(row, 4, v->sha256, 32) &&
           db_blob(row, 5, v->key_id, 32);
}

int registry_each_dump(struct registry_reader *reader, const char *name,
                       bool (*each)(void *context, const struct dump_version *v), void *context, struct error *err)
{
    sqlite3_stmt *row;
    struct dump_version v;
    int rc = db_start(&reader->db, err, &row,
                      "SELECT v.version, v.state, v.reason, v.manifest, v.sha256, v.key, v.size, v.signed_at,"
                      " v.expires_at, v.installed_at, v.changed_at FROM version v JOIN plugin p ON p.id = v.plugin"
                      " WHERE p.name = ? ORDER BY v.id",
                      "t", name);
    for (; rc > 0; rc = db_next(&reader->db, err, row)) {
        if (!take_version(row, &v)) {
            db_end(row);
            return error_set(err, MOAT_E_STORAGE_FAILED, "%s: a record has a form that Moat never writes",
                             reader->db.file);
        }
        if (!each(context, &v)) {
            db_end(row);
            return 0;
        }
    }
    return rc;
}

/* ---- in ---- */

static int import_publisher(struct registry *r, const struct dump_record *d, struct error *err)
{
    return db_run(&r->writer, err,
                  "INSERT INTO publisher (name, names, added_at) VALUES (?, ?, ?)"
                  " ON CONFLICT (name) DO UPDATE SET names = excluded.names",
                  "tti", d->publisher.name, d->publisher.names, (int64_t)d->publisher.added_at);
}

static int import_key(struct registry *r, const struct dump_record *d, struct error *err)
{
    const struct registry_key *k = &d->key;
    int64_t strange = 0;
    int rc = db_number(&r->writer, err, 0, &strange,
                       "SELECT count(*) FROM key k JOIN publisher p ON p.id = k.publisher"
                       " WHERE k.id = ?1 AND (p.name <> ?2 OR k.bytes <> ?3 OR k.algorithm <> ?4)",
                       "btbi", k->id, (size_t)32, k->publisher, k->bytes, (size_t)32, (int64_t)k->algorithm);
    if (rc == 0 && strange)
        return error_set(err, MOAT_E_ALREADY_EXISTS, "the key is known already, as another publisher's or another one");
    if (rc == 0)
        rc = db_run(&r->writer, err,
                    "INSERT INTO key (id, publisher, algorithm, bytes, added_at, revoked_at)"
                    " SELECT ?1, id, ?3, ?4, ?5, ?6 FROM publisher WHERE name = ?2"
                    " ON CONFLICT (id) DO UPDATE SET revoked_at = excluded.revoked_at WHERE revoked_at = 0",
                    "btibii", k->id, (size_t)32, k->publisher, (int64_t)k->algorithm, k->bytes, (size_t)32,
                    (int64_t)k->added_at, (int64_t)k->revoked_at);
    return rc;
}

/* The name with its owner; *id is its row. */
static int import_name(struct registry *r, const struct registry_plugin *p, int64_t *id, struct error *err)
{
    int64_t same = 0;
    int rc = write_plugin_id(r, p->name, id, err);
    if (rc == 0 && !*id) {
        rc = db_run(&r->writer, err,
                    "INSERT INTO plugin (name, owner, newest, first_at, owner_since)"
                    " SELECT ?1, id, ?3, ?4, ?5 FROM publisher WHERE name = ?2",
                    "tttii", p->name, p->owner, p->newest, (int64_t)p->first_at, (int64_t)p->owner_since);
        if (rc == 0 && sqlite3_changes(r->writer.handle) == 0)
            return error_set(err, MOAT_E_NAME_NOT_ALLOWED, "no publisher `%s` is trusted", p->owner);
        *id = sqlite3_last_insert_rowid(r->writer.handle);
        return rc;
    }
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &same,
                       "SELECT count(*) FROM plugin p JOIN publisher o ON o.id = p.owner WHERE p.id = ? AND o.name = ?",
                       "it", *id, p->owner);
    if (rc == 0 && !same)
        return error_set(err, MOAT_E_NAME_NOT_ALLOWED, "the name %s belongs to another publisher than %s", p->name,
                         p->owner);
    return rc;
}

static int import_newest(struct registry *r, const struct registry_import *in, int64_t id, const char *newest,
                         struct error *err)
{
    char seen[REGISTRY_VERSION_MAX + 1];
    sqlite3_stmt *row;
    int rc = db_start(&r->writer, err, &row, "SELECT newest FROM plugin WHERE id = ?", "i", id);
    if (rc <= 0)
        return rc;
    bool known = db_text(row, 0, seen, sizeof seen);
    db_end(row);
    if (known && in->compare(newest, seen) <= 0)
        return 0;
    return db_run(&r->writer, err, "UPDATE plugin SET newest = ? WHERE id = ?", "ti", newest, id);
}

static int import_plugin(struct registry *r, struct registry_import *in, const struct dump_record *d, int64_t *id,
                         struct error *err)
{
    const struct registry_plugin *p = &d->plugin;
    int rc = import_name(r, p, id, err);
    if (rc == 0)
        rc = import_newest(r, in, *id, p->newest, err);
    if (rc == 0)
        rc = db_run(&r->writer, err, "UPDATE plugin SET active = ?, wanted = ?, pinned = ? WHERE id = ?", "iiii",
                    (int64_t)p->active, (int64_t)p->wanted, (int64_t)p->pinned, *id);
    if (rc == 0)
        rc = db_run(&r->writer, err, "DELETE FROM decision WHERE plugin = ?", "i", *id);
    return rc;
}

static int import_decision(struct registry *r, const struct dump_record *d, int64_t id, struct error *err)
{
    return db_run(
        &r->writer, err,
        "INSERT INTO decision (plugin, permission, scope, refused, until, decided_at) VALUES (?, ?, ?, ?, ?, ?)",
        "iitiii", id, (int64_t)d->decision.permission, d->decision.scope, (int64_t)d->decision.refused,
        (int64_t)d->decision.until, (int64_t)d->decision.decided_at);
}

/* The same again is no new revision. */
static int import_config(struct registry *r, const struct dump_record *d, int64_t id, uint64_t now, struct error *err)
{
    return db_run(
        &r->writer, err,
        "INSERT INTO config (plugin, revision, value, secret, set_at)"
        " SELECT ?1, ifnull(max(revision), 0) + 1, ?2,"
        "  ifnull((SELECT secret FROM config WHERE plugin = ?1 ORDER BY revision DESC LIMIT 1), '{}'), ?3"
        " FROM config WHERE plugin = ?1"
        " HAVING ifnull((SELECT value FROM config WHERE plugin = ?1 ORDER BY revision DESC LIMIT 1), '') <> ?2",
        "iti", id, d->config, (int64_t)now);
}

/* 1: these very bytes are known already. */
static int known_version(struct registry *r, const struct dump_version *v, int64_t id, struct error *err)
{
    sqlite3_stmt *row;
    uint8_t sha256[32];
    int rc = db_start(&r->writer, err, &row, "SELECT sha256 FROM version WHERE plugin = ? AND version = ?", "it", id,
                      v->version);
    if (rc <= 0)
        return rc;
    bool same = db_blob(row, 0, sha256, 32) && memcmp(sha256, v->sha256, 32) == 0;
    db_end(row);
    return same ? 1
                : error_set(err, MOAT_E_ALREADY_EXISTS,
                            "version %s is installed with other bytes: a version never "
                            "changes",
                            v->version);
}

static bool has_package(const struct registry *r, const uint8_t sha256[32])
{
    char path[PATH_MAX];
    files_path(r->plugin_dir, sha256, path);
    return access(path, F_OK) == 0;
}

static int import_version(struct registry *r, struct registry_import *in, const struct dump_version *v, int64_t id,
                          uint64_t now, struct error *err)
{
    int64_t key = 0;
    int rc = known_version(r, v, id, err);
    if (rc == 1)
        return db_run(&r->writer, err,
                      "UPDATE version SET state = ?, reason = ?, changed_at = ? WHERE plugin = ? AND version = ?",
                      "ttiit", v->state, v->reason, (int64_t)v->changed_at, id, v->version);
    if (rc == 0)
        rc = db_number(&r->writer, err, 0, &key, "SELECT count(*) FROM key WHERE id = ?", "b", v->key_id, (size_t)32);
    if (rc == 0 && !key)
        return error_set(err, MOAT_E_UNKNOWN_KEY, "the key of version %s is not known", v->version);
    if (rc == 0)
        rc = db_run(
            &r->writer, err,
            "INSERT INTO version (plugin, version, sha256, size, key, signed_at, expires_at, installed_at, state,"
            " reason, changed_at, damaged_at, capabilities, permissions, words, manifest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?)",
            "itbibiiittiiiit", id, v->version, v->sha256, (size_t)32, (int64_t)v->size, v->key_id, (size_t)32,
            (int64_t)v->signed_at, (int64_t)v->expires_at, (int64_t)v->installed_at, v->state, v->reason,
            (int64_t)v->changed_at, has_package(r, v->sha256) ? (int64_t)0 : (int64_t)now, (int64_t)v->capabilities,
            (int64_t)v->permissions, v->manifest);
    in->added += rc == 0;
    return rc;
}

static int import_end(struct registry *r, const struct registry_plugin *p, int64_t id, struct error *err)
{
    int rc = db_run(&r->writer, err,
                    "UPDATE plugin SET current = (SELECT id FROM version WHERE plugin = ?1 AND version = ?2),"
                    " previous = (SELECT id FROM version WHERE plugin = ?1 AND version = ?3) WHERE id = ?1",
                    "itt", id, p->current, p->previous);
    return rc < 0 ? rc : search_refresh(&r->writer, id, err);
}

static int import_record(struct registry *r, struct registry_import *in, const struct dump_record *d, int64_t *plugin,
                         uint64_t now, struct error *err)
{
    switch (d->kind) {
    case DUMP_PUBLISHER:
        in->publishers++;
        return import_publisher(r, d, err);
    case DUMP_KEY:
        in->keys++;
        return import_key(r, d, err);
    case DUMP_PLUGIN:
        in->plugins++;
        return import_plugin(r, in, d, plugin, err);
    case DUMP_DECISION:
        return import_decision(r, d, *plugin, err);
    case DUMP_CONFIG:
        return import_config(r, d, *plugin, now, err);
    case DUMP_VERSION:
        in->versions++;
        return import_version(r, in, &d->version, *plugin, now, err);
    case DUMP_PLUGIN_END:
        return import_end(r, &d->plugin, *plugin, err);
    }
    return error_set(err, MOAT_E_INTERNAL, "there is no such record");
}

int write_import(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    struct registry_import *in = c->import.records;
    struct dump_record record = {0};
    int64_t plugin = 0;
    int rc;
    while ((rc = in->next(in->context, &record, err)) > 0) {
        rc = import_record(r, in, &record, &plugin, now ? now : 1, err);
        if (rc < 0) {
            in->where(in->context, err);
            return rc;
        }
    }
    return rc < 0 ? rc : WRITE_CHANGED;
}
