#include "registry/schema.h"

#include <stdio.h>

#include "registry/audit.h"
#include "registry/search.h"

#define APPLICATION_ID 0x4d6f6174 /* "Moat" */

/* identity: what the packages' directory remembers, so that no other registry takes them for strays.
 * plugin: the name, which outlives its versions: who owns it and the newest version ever seen stay after an uninstall,
 * so that neither another publisher nor an old version can slip into decisions that were made before.
 * current is kept there alone; version.state knows only what is not derived from it. */
static const char step_1[] =
    "CREATE TABLE identity (id TEXT NOT NULL) STRICT;"
    "INSERT INTO identity VALUES (lower(hex(randomblob(16))));"
    "CREATE TABLE publisher (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, names TEXT NOT NULL,"
    " added_at INTEGER NOT NULL) STRICT;"
    "CREATE TABLE key (id BLOB PRIMARY KEY CHECK (length(id) = 32),"
    " publisher INTEGER NOT NULL REFERENCES publisher (id), algorithm INTEGER NOT NULL,"
    " bytes BLOB NOT NULL CHECK (length(bytes) = 32), added_at INTEGER NOT NULL,"
    " revoked_at INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;"
    "CREATE INDEX key_publisher ON key (publisher);"
    "CREATE TABLE plugin (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " owner INTEGER NOT NULL REFERENCES publisher (id), active INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),"
    " wanted INTEGER NOT NULL DEFAULT 0 CHECK (wanted IN (0, 1, 2)),"
    " current INTEGER REFERENCES version (id) DEFERRABLE INITIALLY DEFERRED,"
    " newest TEXT NOT NULL, first_at INTEGER NOT NULL) STRICT;"
    "CREATE INDEX plugin_current ON plugin (current);"
    "CREATE TABLE version (id INTEGER PRIMARY KEY, plugin INTEGER NOT NULL REFERENCES plugin (id),"
    " version TEXT NOT NULL, sha256 BLOB NOT NULL CHECK (length(sha256) = 32), size INTEGER NOT NULL,"
    " key BLOB NOT NULL REFERENCES key (id), signed_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,"
    " installed_at INTEGER NOT NULL,"
    " state TEXT NOT NULL DEFAULT 'available' CHECK (state IN ('available', 'deprecated', 'archived', 'damaged')),"
    " capabilities INTEGER NOT NULL, permissions INTEGER NOT NULL, words TEXT NOT NULL, manifest TEXT NOT NULL,"
    " UNIQUE (plugin, version)) STRICT;"
    "CREATE INDEX version_sha256 ON version (sha256);"
    "CREATE INDEX version_key ON version (key);"
    "CREATE TABLE decision (plugin INTEGER NOT NULL REFERENCES plugin (id), permission INTEGER NOT NULL,"
    " scope TEXT NOT NULL, refused INTEGER NOT NULL CHECK (refused IN (0, 1)), until INTEGER NOT NULL,"
    " decided_at INTEGER NOT NULL, PRIMARY KEY (plugin, permission, scope)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE token (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
    " scopes TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL) STRICT;";

/* plugin.previous: what a rollback goes back to.  owner_since: when the name was transferred; 0: its first owner's.
 * version.state is the operator's word, damaged_at what a load found: mending gives the operator's word back.
 * changed_at and reason: of the state. config: each revision of a plugin's configuration as JSON; secret properties
 * stand in `secret`, which nothing exports. counter: what happened on one day (days since 1970; day 0 is the sum of all
 * days); it outlives the version, not the name. audit: see docs/audit.md. audit_head is what the last record's number
 * and hash must be; audit_root what the first kept record follows (the last row; each rotation adds one); audit_sign
 * signed heads. */
static const char step_2[] =
    "ALTER TABLE plugin ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));ALTER TABLE plugin ADD "
    "COLUMN previous INTEGER REFERENCES version (id) ON DELETE SET NULL;ALTER TABLE plugin ADD COLUMN owner_since "
    "INTEGER NOT NULL DEFAULT 0;CREATE INDEX plugin_previous ON plugin (previous);CREATE INDEX plugin_owner ON plugin "
    "(owner);ALTER TABLE version ADD COLUMN changed_at INTEGER NOT NULL DEFAULT 0;ALTER TABLE version ADD COLUMN "
    "reason TEXT NOT NULL DEFAULT '';ALTER TABLE version ADD COLUMN damaged_at INTEGER NOT NULL DEFAULT 0;UPDATE "
    "version SET damaged_at = max(installed_at, 1), state = 'available' WHERE state = 'damaged';CREATE TABLE config "
    "(plugin INTEGER NOT NULL REFERENCES plugin (id), revision INTEGER NOT NULL, value TEXT NOT NULL, secret TEXT NOT "
    "NULL, set_at INTEGER NOT NULL, PRIMARY KEY (plugin, revision)) STRICT, WITHOUT ROWID;CREATE TABLE counter (plugin "
    "INTEGER NOT NULL REFERENCES plugin (id), version TEXT NOT NULL, day INTEGER NOT NULL, installs INTEGER NOT NULL "
    "DEFAULT 0, downloads INTEGER NOT NULL DEFAULT 0, loads INTEGER NOT NULL DEFAULT 0, calls INTEGER NOT NULL DEFAULT "
    "0, errors INTEGER NOT NULL DEFAULT 0, last_call INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (plugin, version, day)) "
    "STRICT, WITHOUT ROWID;CREATE TABLE counter_total (one INTEGER PRIMARY KEY CHECK (one = 1), installs INTEGER NOT "
    "NULL, downloads INTEGER NOT NULL, loads INTEGER NOT NULL, calls INTEGER NOT NULL, errors INTEGER NOT NULL, "
    "last_call INTEGER NOT NULL) STRICT;INSERT INTO counter_total VALUES (1, 0, 0, 0, 0, 0, 0);ALTER TABLE token ADD "
    "COLUMN name TEXT NOT NULL DEFAULT '';ALTER TABLE token ADD COLUMN revoked_at INTEGER NOT NULL DEFAULT 0;ALTER "
    "TABLE token ADD COLUMN last_used_at INTEGER NOT NULL DEFAULT 0;CREATE VIRTUAL TABLE search USING fts5 (name, "
    "description, author, actions, keywords, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3');CREATE TABLE "
    "word (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE) STRICT;CREATE TABLE typo (key TEXT NOT NULL, word "
    "INTEGER NOT NULL, PRIMARY KEY (key, word)) STRICT, WITHOUT ROWID;CREATE TABLE audit (seq INTEGER PRIMARY KEY, "
    "time INTEGER NOT NULL, count INTEGER NOT NULL, actor TEXT NOT NULL, call TEXT NOT NULL, action TEXT NOT NULL, "
    "subject TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32)) "
    "STRICT;CREATE INDEX audit_subject ON audit (subject);CREATE TABLE audit_head (one INTEGER PRIMARY KEY CHECK (one "
    "= 1), seq INTEGER NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32)) STRICT;CREATE TABLE audit_root (seq "
    "INTEGER PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32), at INTEGER NOT NULL) STRICT;CREATE TABLE "
    "audit_sign (seq INTEGER NOT NULL, key BLOB NOT NULL CHECK (length(key) = 32), hash BLOB NOT NULL CHECK "
    "(length(hash) = 32), at INTEGER NOT NULL, signature BLOB NOT NULL CHECK (length(signature) = 64), PRIMARY KEY "
    "(seq, key)) STRICT, WITHOUT ROWID;";

/* ceiling: what somebody can never get; source: what database grants name; home_time: the highest time that this home
 * has seen, and where the boot's clock stood then. */
static const char step_3[] =
    "CREATE TABLE ceiling (subject TEXT NOT NULL, permission INTEGER NOT NULL, scope TEXT NOT NULL,"
    " set_at INTEGER NOT NULL, PRIMARY KEY (subject, permission, scope)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE source (name TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('sqlite', 'postgres')),"
    " place TEXT NOT NULL, added_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE home_time (one INTEGER PRIMARY KEY CHECK (one = 1), boot TEXT NOT NULL, boot_ns INTEGER NOT NULL,"
    " time_ns INTEGER NOT NULL) STRICT;";

/* hour: the calls of a plugin in an hour (hours since 1970), of the last weeks; for seeing how they come and go. */
static const char step_5[] =
    "CREATE TABLE hour (plugin INTEGER NOT NULL REFERENCES plugin (id), hour INTEGER NOT NULL, calls INTEGER NOT NULL,"
    " errors INTEGER NOT NULL, PRIMARY KEY (plugin, hour)) STRICT, WITHOUT ROWID;";

/* denial: what a plugin tried and did not get, folded; times are ms since 1970. denial_dropped: how many had rows that
 * were given up for others (denial.c). */
static const char step_6[] =
    "CREATE TABLE denial (plugin INTEGER NOT NULL REFERENCES plugin (id), version TEXT NOT NULL, action TEXT NOT NULL,"
    " operation TEXT NOT NULL, object TEXT NOT NULL, wall TEXT NOT NULL, permission INTEGER NOT NULL,"
    " call TEXT NOT NULL, count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"
    " PRIMARY KEY (plugin, version, action, operation, object)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE denial_dropped (plugin INTEGER PRIMARY KEY REFERENCES plugin (id), count INTEGER NOT NULL) STRICT;";

/* config.guard: whether the revision was watched and how that ended (loader's guard_state_name, "" before this step),
 * why, by which evidence, when; base: the revision that it was compared with; back: the one that it is again, or -1. */
static const char step_7[] = "ALTER TABLE config ADD COLUMN guard TEXT NOT NULL DEFAULT '';"
                             "ALTER TABLE config ADD COLUMN base INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE config ADD COLUMN why TEXT NOT NULL DEFAULT '';"
                             "ALTER TABLE config ADD COLUMN evidence TEXT NOT NULL DEFAULT '';"
                             "ALTER TABLE config ADD COLUMN guard_until INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE config ADD COLUMN back INTEGER NOT NULL DEFAULT -1;";

/* What a search looks at stands in its own tables. */
static const char step_4[] = "ALTER TABLE version DROP COLUMN words;";

/* near_miss: words by their halves (search.h), in place of words by what is left of them without one character. The
 * search of whatever is installed is made anew here, once for all older releases. */
static const char step_8[] = "DROP TABLE typo;"
                             "DROP TABLE word;"
                             "CREATE TABLE near_miss (half TEXT NOT NULL, word TEXT NOT NULL, PRIMARY KEY (half, word))"
                             " STRICT, WITHOUT ROWID;";

/* start: how many workers were started in an hour (hours since 1970), and how many at once at most; of the last weeks.
 */
static const char step_9[] = "CREATE TABLE start (hour INTEGER PRIMARY KEY, starts INTEGER NOT NULL,"
                             " most INTEGER NOT NULL) STRICT;";

/* decision.held: bytes that lay in a place for writing when it was granted; -1: it was not weighed yet. */
static const char step_10[] = "ALTER TABLE decision ADD COLUMN held INTEGER NOT NULL DEFAULT -1;";

const struct schema_step schema_steps[] = {
    {step_1, NULL}, {step_2, audit_create}, {step_3, NULL},           {step_4, NULL}, {step_5, NULL},
    {step_6, NULL}, {step_7, NULL},         {step_8, search_rebuild}, {step_9, NULL}, {step_10, NULL}};
const int schema_version = sizeof schema_steps / sizeof *schema_steps;

static int pragma(struct db *db, const char *sql, int64_t *out, struct error *err)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db->handle, sql, -1, &s, NULL) != SQLITE_OK)
        return db_error(db, err);
    bool row = sqlite3_step(s) == SQLITE_ROW;
    if (row)
        *out = sqlite3_column_int64(s, 0);
    return sqlite3_finalize(s) == SQLITE_OK && row ? 0 : db_error(db, err);
}

static int run(struct db *db, const char *sql, struct error *err)
{
    return sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(db, err);
}

/* An empty file is ours to fill; any other must carry our mark. */
static int recognise(struct db *db, int newest, int64_t *version, struct error *err)
{
    int64_t application, tables;
    int rc = pragma(db, "PRAGMA application_id", &application, err);
    if (rc == 0)
        rc = pragma(db, "PRAGMA user_version", version, err);
    if (rc == 0)
        rc = pragma(db, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (rc < 0)
        return rc;
    bool empty = application == 0 && *version == 0 && tables == 0;
    if (!empty && application != APPLICATION_ID)
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s is a database, but not a registry of Moat's", db->file);
    if (*version < 0 || *version > newest)
        return error_set(err, MOAT_E_STORAGE_FAILED,
                         "%s was written by a newer Moat (schema %lld, this one knows %d): use that one", db->file,
                         (long long)*version, newest);
    return 0;
}

static int steps_from(struct db *db, const struct schema_step *steps, int64_t from, int version, struct error *err)
{
    char mark[96];
    int rc = 0;
    for (int64_t i = from; i < version && rc == 0; i++) {
        rc = run(db, steps[i].sql, err);
        if (rc == 0 && steps[i].fill)
            rc = steps[i].fill(db, err);
    }
    snprintf(mark, sizeof mark, "PRAGMA application_id=%d; PRAGMA user_version=%d", APPLICATION_ID, version);
    if (rc == 0)
        rc = run(db, mark, err);
    if (rc == 0)
        rc = run(db, "COMMIT", err);
    return rc;
}

int schema_migrate(struct db *db, const struct schema_step *steps, int version, struct error *err)
{
    int rc = run(db, "BEGIN IMMEDIATE", err);
    if (rc < 0)
        return rc;
    int64_t from;
    rc = recognise(db, version, &from, err);
    if (rc == 0 && from < version)
        rc = steps_from(db, steps, from, version, err);
    /* After the commit this fails, and may; after anything else it leaves the file as it was. */
    sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}
