/* Backups of a running home, and their restoration into one that nobody holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "service/internal.h"
#include "service/tell.h"

struct backup_op {
    struct op op;
    char *file;
};

static void clear(struct op *op)
{
    free(((struct backup_op *)op)->file);
}

static void backup(struct op *op, struct job *job)
{
    struct backup_op *b = (struct backup_op *)op;
    struct registry_backup done;
    int rc = op->code;
    if (rc == 0)
        rc = registry_flush(op->s->registry, &op->error);
    if (rc == 0)
        rc = registry_backup(job->reader, op->s->home.registry_dir, b->file, &done, &op->error);
    struct registry_command note = {.verb = REGISTRY_NOTE_BACKUP, .note.file = b->file};
    if (rc == 0)
        rc = op_write(op, &note, &op->error);
    if (rc == 0) {
        tell_open(&op->result, NULL, '{');
        tell_text(&op->result, "file", b->file);
        tell_number(&op->result, "packages", done.packages);
        tell_number(&op->result, "files", done.files);
        tell_number(&op->result, "bytes", done.bytes);
        tell_close(&op->result, '}');
    }
    op_end(op, rc);
}

/* Whatever would remove a package waits until it is done; calls do not. */
void service_backup(struct service *s, const char *file, service_done done, void *context)
{
    struct backup_op *b = op_new(s, sizeof *b, done, context);
    if (!b)
        return;
    b->op.clear = clear;
    b->file = strdup(file);
    if (!b->file)
        b->op.code = error_set(&b->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for a backup");
    op_begin(&b->op, JOBS_ALL, backup);
}

static int note_restore(const struct home *home, const char *file, struct error *err)
{
    struct registry *r;
    struct registry_command note = {.verb = REGISTRY_NOTE_RESTORE, .note.file = file};
    int rc = registry_open(home->registry_dir, home->plugin_dir, &r, err);
    if (rc < 0)
        return rc;
    rc = registry_run(r, &note, err);
    registry_close(r);
    return rc;
}

int service_restore(struct home *home, const char *file, struct service_restored *out, struct error *err)
{
    struct registry_restored done = {0};
    fd_auto lock = -1;
    struct home_owner owner = {0};
    int rc = home_lock(home, false, &lock, &owner, err);
    if (rc == -MOAT_E_HOME_BUSY && owner.server)
        return error_set(err, MOAT_E_HOME_BUSY, "a server (process %d) holds %s: stop it first", (int)owner.pid,
                         home->dir);
    if (rc == 0)
        rc = registry_restore(home->registry_dir, home->plugin_dir, file, &done, err);
    if (rc == 0)
        rc = note_restore(home, file, err);
    if (rc < 0)
        return rc;
    *out = (struct service_restored){.packages = done.packages};
    if (done.kept)
        snprintf(out->before, sizeof out->before, "before-%s", done.stamp);
    return 0;
}
