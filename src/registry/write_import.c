/* Records of another registry, as they come: inside one savepoint, on the store thread. */
#include <string.h>

#include "base/io.h"
#include "registry/dump.h"
#include "registry/files.h"
#include "registry/search.h"
#include "registry/write.h"

struct importing {
    struct registry_import *in;
    uint64_t now;
    int64_t plugin;  /* whose records come */
    int packages;    /* their directory */
    uint8_t key[32]; /* known, when has_key */
    bool has_key;
    struct buf searched; /* int64_t: plugins whose words are looked at when all else is there */
};

static int import_source(struct registry *r, const struct registry_source *s, struct error *err)
{
    int64_t same = 0;
    int rc =
        db_number(&r->writer, err, 0, &same, "SELECT count(*) FROM source WHERE name = ? AND kind = ? AND place = ?",
                  "ttt", s->name, s->kind, s->place);
    return rc < 0 || same ? rc : write_source(r, s->name, s->kind, s->place, s->added_at, err);
}

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

/* A name that nobody has yet. By its values: what is made of a SELECT has SQLite prepare for undoing it row by row. */
static int import_fresh(struct registry *r, const struct registry_plugin *p, int64_t *id, struct error *err)
{
    int64_t owner = 0;
    int rc = write_row_id(r, err, &owner, "SELECT id FROM publisher WHERE name = ?", p->owner);
    if (rc == 0 && !owner)
        return error_set(err, MOAT_E_NAME_NOT_ALLOWED, "no publisher `%s` is trusted", p->owner);
    if (rc == 0)
        rc = db_run(&r->writer, err,
                    "INSERT INTO plugin (name, owner, newest, first_at, owner_since, active, wanted, pinned)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    "titiiiii", p->name, owner, p->newest, (int64_t)p->first_at, (int64_t)p->owner_since,
                    (int64_t)p->active, (int64_t)p->wanted, (int64_t)p->pinned);
    *id = sqlite3_last_insert_rowid(r->writer.handle);
    return rc;
}

static int import_owner(struct registry *r, const struct registry_plugin *p, int64_t id, struct error *err)
{
    int64_t same = 0;
    int rc = db_number(&r->writer, err, 0, &same,
                       "SELECT count(*) FROM plugin p JOIN publisher o ON o.id = p.owner WHERE p.id = ? AND o.name = ?",
                       "it", id, p->owner);
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
    int rc = write_plugin_id(r, p->name, id, err);
    if (rc == 0 && !*id)
        return import_fresh(r, p, id, err);
    if (rc == 0)
        rc = import_owner(r, p, *id, err);
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
    int rc =
        db_run(&r->writer, err,
               "INSERT INTO decision (plugin, permission, scope, refused, until, decided_at) VALUES (?, ?, ?, ?, ?, ?)",
               "iitiii", id, (int64_t)d->decision.permission, d->decision.scope, (int64_t)d->decision.refused,
               (int64_t)d->decision.until, (int64_t)d->decision.decided_at);
    return rc < 0 ? rc : write_check_grants(r, id, err);
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
    return same ? 1 : error_set(err, MOAT_E_ALREADY_EXISTS, "version %s is installed with other bytes", v->version);
}

/* One after the other, most are of the same key. */
static int known_key(struct registry *r, struct importing *im, const struct dump_version *v, struct error *err)
{
    int64_t key = 0;
    if (im->has_key && memcmp(im->key, v->key_id, 32) == 0)
        return 0;
    int rc = db_number(&r->writer, err, 0, &key, "SELECT count(*) FROM key WHERE id = ?", "b", v->key_id, (size_t)32);
    if (rc == 0 && !key)
        return error_set(err, MOAT_E_UNKNOWN_KEY, "the key of version %s is not known", v->version);
    im->has_key = rc == 0;
    memcpy(im->key, v->key_id, 32);
    return rc;
}

static int import_version(struct registry *r, struct importing *im, const struct dump_version *v, int64_t id,
                          struct error *err)
{
    int rc = known_version(r, v, id, err);
    if (rc == 1)
        return db_run(&r->writer, err,
                      "UPDATE version SET state = ?, reason = ?, changed_at = ? WHERE plugin = ? AND version = ?",
                      "ttiit", v->state, v->reason, (int64_t)v->changed_at, id, v->version);
    if (rc == 0)
        rc = known_key(r, im, v, err);
    if (rc == 0)
        rc = db_run(
            &r->writer, err,
            "INSERT INTO version (plugin, version, sha256, size, key, signed_at, expires_at, installed_at, state,"
            " reason, changed_at, damaged_at, capabilities, permissions, manifest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            "itbibiiittiiiit", id, v->version, v->sha256, (size_t)32, (int64_t)v->size, v->key_id, (size_t)32,
            (int64_t)v->signed_at, (int64_t)v->expires_at, (int64_t)v->installed_at, v->state, v->reason,
            (int64_t)v->changed_at, files_is_there(im->packages, v->sha256) ? (int64_t)0 : (int64_t)im->now,
            (int64_t)v->capabilities, (int64_t)v->permissions, v->manifest);
    im->in->added += rc == 0;
    return rc;
}

static int import_end(struct registry *r, struct importing *im, const struct registry_plugin *p, int64_t id,
                      struct error *err)
{
    int rc = db_run(&r->writer, err,
                    "UPDATE plugin SET current = (SELECT id FROM version WHERE plugin = ?1 AND version = ?2),"
                    " previous = (SELECT id FROM version WHERE plugin = ?1 AND version = ?3) WHERE id = ?1",
                    "itt", id, p->current, p->previous);
    if (rc == 0 && !buf_put(&im->searched, &id, sizeof id))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for what is imported");
    return rc;
}

/* One after the other: between statements on other tables SQLite would write the index out each time. */
static int import_words(struct registry *r, const struct importing *im, struct error *err)
{
    struct search_seen seen = {0};
    int64_t id;
    int rc = 0;
    for (size_t at = 0; at < im->searched.len && rc == 0; at += sizeof id) {
        memcpy(&id, im->searched.data + at, sizeof id);
        rc = search_refresh_many(&r->writer, id, &seen, err);
    }
    search_seen_free(&seen);
    return rc;
}

static int import_record(struct registry *r, struct importing *im, const struct dump_record *d, struct error *err)
{
    struct registry_import *in = im->in;
    switch (d->kind) {
    case DUMP_CEILING:
        in->ceilings++;
        return write_ceiling(r, d->ceiling.subject, d->ceiling.permission, d->ceiling.scope, d->ceiling.set_at, err);
    case DUMP_SOURCE:
        in->sources++;
        return import_source(r, &d->source, err);
    case DUMP_PUBLISHER:
        in->publishers++;
        return import_publisher(r, d, err);
    case DUMP_KEY:
        in->keys++;
        return import_key(r, d, err);
    case DUMP_PLUGIN:
        in->plugins++;
        return import_plugin(r, in, d, &im->plugin, err);
    case DUMP_DECISION:
        return import_decision(r, d, im->plugin, err);
    case DUMP_CONFIG:
        return import_config(r, d, im->plugin, im->now, err);
    case DUMP_VERSION:
        in->versions++;
        return import_version(r, im, &d->version, im->plugin, err);
    case DUMP_PLUGIN_END:
        return import_end(r, im, &d->plugin, im->plugin, err);
    }
    return error_set(err, MOAT_E_INTERNAL, "there is no such record");
}

/* What does not fit the cache is written into the log and read again, page by page. The writer's own is small. */
static void make_room(struct registry *r, bool much)
{
    sqlite3_exec(r->writer.handle, much ? "PRAGMA cache_size=-131072" : "PRAGMA cache_size=-2000", NULL, NULL, NULL);
}

int write_import(struct registry *r, struct registry_command *c, uint64_t now, struct error *err)
{
    struct registry_import *in = c->import.records;
    struct importing im = {
        .in = in, .now = now ? now : 1, .packages = files_open(r->plugin_dir), .searched = BUF_INIT(1u << 30)};
    struct dump_record record = {0};
    int rc;
    make_room(r, true);
    while ((rc = in->next(in->context, &record, err)) > 0) {
        rc = import_record(r, &im, &record, err);
        if (rc < 0) {
            in->where(in->context, err);
            break;
        }
    }
    if (rc == 0)
        rc = import_words(r, &im, err);
    make_room(r, false);
    buf_free(&im.searched);
    io_close(&im.packages);
    return rc < 0 ? rc : WRITE_CHANGED;
}
