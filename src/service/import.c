/* import: an exported document, all or nothing.
 *
 *     check   "*"   the whole text is JSON, every record is one, every manifest is one that an install would take
 *     store   "*"   the records once more, straight into one command of the registry
 *     follow  "*"   what is named is defined anew; what ran is drained and starts again with its next call */
#include "service/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "package/package.h"
#include "service/config.h"
#include "service/install.h"
#include "service/tell.h"
#include "json/json.h"

struct import_op {
    struct op op;
    int fd;
    struct import in;
};

static void clear(struct op *op)
{
    struct import_op *i = (struct import_op *)op;
    import_close(&i->in);
    io_close(&i->fd);
}

/* ---- what ran follows ---- */

static int follow_one(struct job *job, const char *name, struct error *err)
{
    int rc = 0;
    if (plugin_is_running(job->s, name)) {
        struct waits *w = waits_new(1);
        if (!w)
            return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to stop %s", name);
        loader_stop(job->s->loader, name, STOP_GRACE_NS, waits_done, waits_add(w, name));
        rc = waits_finish(w, STOP_GRACE_NS + WAIT_DEAD_NS, err);
    }
    plan_define(job, name);
    return rc;
}

static int follow(struct import_op *i, struct job *job)
{
    struct dump_record record = {0};
    struct error *err = &i->op.error;
    int rc, followed = 0;
    import_rewind(&i->in);
    while ((rc = import_next(&i->in, &record, err)) > 0 && followed == 0)
        if (record.kind == DUMP_PLUGIN_END)
            followed = follow_one(job, record.plugin.name, err);
    return rc < 0 ? rc : followed;
}

static void import(struct op *op, struct job *job)
{
    struct import_op *i = (struct import_op *)op;
    struct registry_import records = {
        .next = import_next, .where = import_where, .context = &i->in, .compare = version_compare};
    struct registry_command c = {.verb = REGISTRY_IMPORT, .import = {.records = &records}};
    int rc = op->code;
    if (rc == 0)
        rc = import_open(&i->in, i->fd, &op->error);
    if (rc == 0)
        rc = import_check(&i->in, &op->error);
    if (rc == 0) {
        import_rewind(&i->in);
        rc = op_write(op, &c, &op->error);
    }
    if (rc == 0)
        rc = follow(i, job);
    tell_open(&op->result, NULL, '{');
    tell_number(&op->result, "publishers", records.publishers);
    tell_number(&op->result, "keys", records.keys);
    tell_number(&op->result, "plugins", records.plugins);
    tell_number(&op->result, "versions", records.versions);
    tell_number(&op->result, "added", records.added);
    tell_close(&op->result, '}');
    op_end(op, rc);
}

void service_import(struct service *s, int file, service_done done, void *context)
{
    struct import_op *i = op_new(s, sizeof *i, done, context);
    if (!i)
        return;
    i->op.clear = clear;
    i->fd = fcntl(file, F_DUPFD_CLOEXEC, 3);
    if (i->fd < 0)
        i->op.code = error_errno(&i->op.error, MOAT_E_LIMIT, errno, "cannot take the document");
    op_begin(&i->op, JOBS_ALL, import);
}
