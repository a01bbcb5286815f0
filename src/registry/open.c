#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "registry/check.h"
#include "registry/files.h"
#include "registry/internal.h"
#include "registry/restore.h"
#include "registry/schema.h"

static const char *const state_names[] = {"available", "current", "deprecated", "archived", "damaged"};

const char *registry_state_name(enum registry_state s)
{
    return state_names[s];
}

int store_fate(void *context, const uint8_t sha256[32], struct error *err)
{
    struct registry *r = context;
    int64_t fate;
    _Static_assert(FILES_WANTED == 1 && FILES_DAMAGED == 2, "the statement's numbers");
    int rc = db_number(&r->writer, err, FILES_UNWANTED, &fate,
                       "SELECT min(iif(damaged_at = 0, 1, 2)) FROM version WHERE sha256 = ?", "b", sha256, (size_t)32);
    return rc < 0 ? rc : (int)fate;
}

/* What a run that died has left behind goes; the whole is looked through only where no run of this release was. */
static int settle(struct registry *r, bool fresh, struct error *err)
{
    uint64_t removed = 0;
    return fresh ? files_collect(r->plugin_dir, store_fate, r, &removed, err)
                 : files_settle_marked(r->plugin_dir, store_fate, r, err);
}

static int claim(struct registry *r, const char *dir, struct error *err)
{
    bool fresh;
    sqlite3_stmt *row;
    char id[64];
    int rc = db_start(&r->writer, err, &row, "SELECT id FROM identity", "");
    if (rc <= 0)
        return rc < 0 ? rc : error_set(err, MOAT_E_STORAGE_FAILED, "%s has lost its identity", r->file);
    bool fits = db_text(row, 0, id, sizeof id) && id[0];
    db_end(row);
    if (!fits)
        return error_set(err, MOAT_E_STORAGE_FAILED, "%s has a damaged identity", r->file);
    rc = files_claim(r->plugin_dir, id, dir, &fresh, err);
    return rc < 0 ? rc : settle(r, fresh, err);
}

/* Nobody watches any more what the host that ended watched: it stays, and the secrets before it go. */
static int end_guards(struct db *db, struct error *err)
{
    int rc = db_run(db, err,
                    "UPDATE config SET guard = 'ended', why = 'the host ended meanwhile', guard_until = unixepoch()"
                    " WHERE guard = 'running'",
                    "");
    return rc < 0 ? rc
                  : db_run(db, err,
                           "UPDATE config SET secret = '{}' WHERE secret <> '{}' AND revision <>"
                           " (SELECT max(revision) FROM config c WHERE c.plugin = config.plugin)",
                           "");
}

static int prepare(struct registry *r, const char *dir, struct error *err)
{
    int rc = io_mkdirs(dir, 0700, err);
    if (rc == 0)
        rc = restore_finish(dir, r->plugin_dir, err);
    if (rc == 0)
        rc = db_open(&r->writer, r->file, true, err);
    if (rc == 0)
        rc = schema_migrate(&r->writer, schema_steps, schema_version, err);
    if (rc == 0)
        rc = check_at_open(&r->writer, err);
    if (rc == 0)
        rc = end_guards(&r->writer, err);
    if (rc == 0)
        rc = audit_load(&r->writer, &r->head, err);
    if (rc == 0)
        rc = claim(r, dir, err);
    if (rc == 0)
        rc = store_start(r, err);
    return rc;
}

int registry_open(const char *dir, const char *plugin_dir, struct registry **out, struct error *err)
{
    struct registry *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the registry");
    int rc;
    if ((size_t)snprintf(r->file, sizeof r->file, "%s/registry.db", dir) >= sizeof r->file ||
        (size_t)snprintf(r->plugin_dir, sizeof r->plugin_dir, "%s", plugin_dir) >= sizeof r->plugin_dir - 96)
        rc = error_set(err, MOAT_E_BAD_USAGE, "the path %s or %s is too long", dir, plugin_dir);
    else
        rc = prepare(r, dir, err);
    if (rc < 0) {
        registry_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void registry_close(struct registry *r)
{
    if (!r)
        return;
    store_stop(r);
    db_close(&r->writer);
    free(r);
}

int registry_stage(struct registry *r, const void *bytes, size_t len, struct registry_stage *out, struct error *err)
{
    return files_stage(r->plugin_dir, bytes, len, out, err);
}

void registry_package_path(const struct registry *r, const uint8_t sha256[32], char out[PATH_MAX])
{
    files_path(r->plugin_dir, sha256, out);
}
