/* What the functions of commands share. */
#include "registry/write.h"

int write_row_id(struct registry *r, struct error *err, int64_t *id, const char *sql, const char *name)
{
    return db_number(&r->writer, err, 0, id, sql, "t", name);
}

int write_plugin_id(struct registry *r, const char *name, int64_t *id, struct error *err)
{
    return write_row_id(r, err, id, "SELECT id FROM plugin WHERE name = ?", name);
}

int write_installed_id(struct registry *r, const char *name, int64_t *id, struct error *err)
{
    int rc = write_row_id(
        r, err, id, "SELECT id FROM plugin p WHERE name = ? AND EXISTS (SELECT 1 FROM version WHERE plugin = p.id)",
        name);
    if (rc == 0 && !*id)
        rc = error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", name);
    return rc;
}

int write_version_id(struct registry *r, int64_t plugin, const char *name, const char *version, int64_t *id,
                     struct error *err)
{
    int rc = db_number(&r->writer, err, 0, id, "SELECT id FROM version WHERE plugin = ? AND version = ?", "it", plugin,
                       version);
    if (rc == 0 && !*id)
        rc = error_set(err, MOAT_E_NO_SUCH_VERSION, "`%s` is not installed in version %s", name, version);
    return rc;
}
