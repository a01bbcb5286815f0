/* export: the registry as one JSON document, of one moment, written to a file without a name as it is read: it may be
 * larger than memory. No secret is in it: see docs/versions.md. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "registry/dump.h"
#include "service/config.h"
#include "service/tell.h"

#define CHUNK (256 * 1024)

struct export_op {
    struct op op;
    struct service_file *file;
    int fd;
    struct buf out;
    struct job *job;
    int code; /* the first error */
    const char *publisher;
};

static void clear(struct op *op)
{
    struct export_op *e = (struct export_op *)op;
    buf_free(&e->out);
    io_close(&e->fd);
}

/* What is gathered goes to the file, but for the last byte: what follows it is told by it. */
static bool spill(struct export_op *e, size_t at_least)
{
    if (e->code || e->out.len < at_least || e->out.len < 2)
        return e->code == 0;
    size_t len = e->out.len - 1;
    if (e->out.failed)
        e->code = error_set(&e->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for the export");
    else if (!io_write_all(e->fd, e->out.data, len))
        e->code = error_errno(&e->op.error, MOAT_E_STORAGE_FAILED, errno, "cannot write the export");
    uint8_t last = e->out.data[len];
    buf_clear(&e->out);
    buf_putc(&e->out, (char)last);
    return e->code == 0;
}

/* ---- publishers ---- */

static bool tell_key(void *context, const struct registry_key *k)
{
    struct export_op *e = context;
    struct buf *out = &e->out;
    tell_open(out, NULL, '{');
    tell_hex(out, "id", k->id, 32);
    tell_number(out, "algorithm", (uint64_t)k->algorithm);
    tell_hex(out, "public_key", k->bytes, 32);
    tell_number(out, "added_at", k->added_at);
    tell_number(out, "revoked_at", k->revoked_at);
    tell_close(out, '}');
    return spill(e, CHUNK);
}

static bool tell_publisher(void *context, const struct registry_publisher *p)
{
    struct export_op *e = context;
    struct buf *out = &e->out;
    tell_open(out, NULL, '{');
    tell_text(out, "name", p->name);
    tell_text(out, "names", p->names);
    tell_number(out, "added_at", p->added_at);
    tell_open(out, "keys", '[');
    int rc = registry_each_key(e->job->reader, p->name, tell_key, e, &e->op.error);
    if (rc < 0 && !e->code)
        e->code = rc;
    tell_close(out, ']');
    tell_close(out, '}');
    return spill(e, CHUNK);
}

/* ---- plugins ---- */

static bool tell_decision(void *context, const struct registry_decision *d)
{
    struct export_op *e = context;
    struct buf *out = &e->out;
    if (d->permission < 0 || d->permission >= PERMISSION_COUNT)
        return true;
    tell_open(out, NULL, '{');
    tell_text(out, "permission", permission_name((enum permission)d->permission));
    tell_text(out, "scope", d->scope);
    tell_flag(out, "refused", d->refused);
    tell_number(out, "until", d->until);
    tell_number(out, "decided_at", d->decided_at);
    tell_close(out, '}');
    return true;
}

/* As a member of the document: without the white space around it that a file has, an editor's newline at its end. */
static void tell_manifest(struct buf *out, const struct dump_version *v)
{
    static const char white[] = " \t\r\n";
    size_t from = strspn(v->manifest, white), to = v->manifest_len;
    while (to > from && strchr(white, v->manifest[to - 1]))
        to--;
    tell_raw(out, "manifest", "");
    buf_put(out, v->manifest + from, to - from);
}

static bool tell_version(void *context, const struct dump_version *v)
{
    struct export_op *e = context;
    struct buf *out = &e->out;
    tell_open(out, NULL, '{');
    tell_text(out, "version", v->version);
    tell_text(out, "state", v->state);
    tell_text(out, "reason", v->reason);
    tell_number(out, "changed_at", v->changed_at);
    tell_hex(out, "sha256", v->sha256, 32);
    tell_number(out, "size", v->size);
    tell_hex(out, "key_id", v->key_id, 32);
    tell_number(out, "signed_at", v->signed_at);
    tell_number(out, "expires_at", v->expires_at);
    tell_number(out, "installed_at", v->installed_at);
    tell_manifest(out, v);
    tell_close(out, '}');
    return spill(e, CHUNK);
}

static bool tell_plugin(void *context, const struct registry_plugin *p)
{
    static const char *const wanted[] = {"lazy", "loaded", "stopped"};
    struct export_op *e = context;
    struct buf *out = &e->out;
    struct error *err = &e->op.error;
    struct config c = CONFIG_INIT;
    tell_open(out, NULL, '{');
    tell_text(out, "name", p->name);
    tell_text(out, "owner", p->owner);
    tell_flag(out, "active", p->active);
    tell_text(out, "wanted", wanted[p->wanted]);
    tell_flag(out, "pinned", p->pinned);
    tell_text(out, "current", p->current);
    tell_text(out, "previous", p->previous);
    tell_text(out, "newest", p->newest);
    tell_number(out, "first_at", p->first_at);
    tell_number(out, "owner_since", p->owner_since);
    tell_open(out, "decisions", '[');
    int rc = registry_each_decision(e->job->reader, p->name, tell_decision, e, err);
    tell_close(out, ']');
    if (rc == 0)
        rc = config_read(e->job, p->name, &c, err);
    if (rc == 0 && c.revision)
        tell_raw(out, "config", buf_text(&c.value));
    config_free(&c);
    tell_open(out, "versions", '[');
    if (rc == 0)
        rc = registry_each_dump(e->job->reader, p->name, tell_version, e, err);
    tell_close(out, ']');
    tell_close(out, '}');
    if (rc < 0 && !e->code)
        e->code = rc;
    return spill(e, CHUNK);
}

/* ---- ceilings and sources ---- */

static bool tell_ceiling(void *context, const struct registry_ceiling *c)
{
    struct buf *out = &((struct export_op *)context)->out;
    if (c->permission < 0 || c->permission >= PERMISSION_COUNT)
        return true;
    tell_open(out, NULL, '{');
    tell_text(out, "subject", c->subject);
    tell_text(out, "permission", permission_name((enum permission)c->permission));
    tell_text(out, "scope", c->scope);
    tell_number(out, "set_at", c->set_at);
    tell_close(out, '}');
    return true;
}

/* Where it is, never what is in it: a connection string stays in its file. */
static bool tell_source(void *context, const struct registry_source *s)
{
    struct export_op *e = context;
    struct buf *out = &e->out;
    tell_open(out, NULL, '{');
    tell_text(out, "name", s->name);
    tell_text(out, "kind", s->kind);
    tell_text(out, "place", s->place);
    tell_number(out, "added_at", s->added_at);
    tell_close(out, '}');
    return spill(e, CHUNK);
}

/* ---- all of it ---- */

static int write_all(struct export_op *e)
{
    struct error *err = &e->op.error;
    tell_open(&e->out, NULL, '{');
    tell_number(&e->out, "moat_export", 1);
    tell_open(&e->out, "ceilings", '[');
    int rc = registry_each_ceiling(e->job->reader, tell_ceiling, e, err);
    tell_close(&e->out, ']');
    tell_open(&e->out, "sources", '[');
    if (rc == 0)
        rc = registry_each_source(e->job->reader, tell_source, e, err);
    tell_close(&e->out, ']');
    tell_open(&e->out, "publishers", '[');
    if (rc == 0 && !e->code)
        rc = registry_each_publisher(e->job->reader, tell_publisher, e, err);
    tell_close(&e->out, ']');
    tell_open(&e->out, "plugins", '[');
    if (rc == 0 && !e->code)
        rc = registry_each_name(e->job->reader, tell_plugin, e, err);
    tell_close(&e->out, ']');
    tell_close(&e->out, '}');
    buf_puts(&e->out, "\n ");
    spill(e, 0);
    return rc < 0 ? rc : e->code;
}

static int open_file(struct export_op *e)
{
    const char *dir = e->op.s->home.registry_dir;
    char name[PATH_MAX + 32];
    e->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (e->fd < 0) { /* not every file system has files without names */
        snprintf(name, sizeof name, "%s/.export-XXXXXX", dir);
        e->fd = mkostemp(name, O_CLOEXEC);
        if (e->fd >= 0)
            unlink(name);
    }
    return e->fd >= 0 ? 0 : error_errno(&e->op.error, MOAT_E_STORAGE_FAILED, errno, "cannot write into %s", dir);
}

static void export(struct op *op, struct job *job)
{
    struct export_op *e = (struct export_op *)op;
    struct stat st;
    e->job = job;
    int rc = open_file(e);
    if (rc == 0)
        rc = registry_snapshot_begin(job->reader, &op->error);
    if (rc == 0) {
        rc = write_all(e);
        registry_snapshot_end(job->reader);
    }
    if (rc == 0 && fstat(e->fd, &st) < 0)
        rc = error_errno(&op->error, MOAT_E_STORAGE_FAILED, errno, "cannot write the export");
    if (rc == 0)
        *e->file = (struct service_file){.fd = io_steal(&e->fd),
                                         .len = (uint64_t)st.st_size,
                                         .media = "application/json",
                                         .name = "moat-export.json"};
    op_end(op, rc);
}

void service_export(struct service *s, struct service_file *file, service_done done, void *context)
{
    struct export_op *e = op_new(s, sizeof *e, done, context);
    if (!e)
        return;
    e->op.clear = clear;
    e->fd = -1;
    e->file = file;
    e->out = BUF_INIT(64u << 20);
    op_begin(&e->op, NULL, export);
}
