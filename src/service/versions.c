/* Which versions there are: finding one, in order, taking one out, giving one away. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "service/canary.h"
#include "service/installed.h"
#include "service/internal.h"
#include "service/tell.h"

/* ---- finding ---- */

int version_find(struct job *job, const struct target *t, struct registry_version *out, struct buf *manifest,
                 struct error *err)
{
    struct registry_plugin plugin;
    int rc = registry_find_plugin(job->reader, t->name, &plugin, err);
    if (rc < 0)
        return rc;
    if (rc == 0 || !plugin.versions)
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", t->name);
    const char *version = t->version[0] ? t->version : plugin.current;
    if (!*version)
        return error_set(err, MOAT_E_NO_SUCH_VERSION, "`%s` has no current version: `moat use %s@VERSION`", t->name,
                         t->name);
    rc = registry_find_version(job->reader, t->name, version, out, manifest, err);
    if (rc == 0)
        return error_set(err, MOAT_E_NO_SUCH_VERSION, "`%s` is not installed in version %s", t->name, version);
    return rc < 0 ? rc : 0;
}

void tell_deprecated(struct buf *out, const char *key, const struct registry_version *v)
{
    bool is = v->state == REGISTRY_DEPRECATED || (v->state == REGISTRY_CURRENT && v->changed_at);
    tell_text(out, key, is ? (v->reason[0] ? v->reason : "no reason was given") : NULL);
}

void tell_warnings(struct buf *out, const struct registry_version *v)
{
    tell_open(out, "warnings", '[');
    if (v->state == REGISTRY_DEPRECATED || (v->state == REGISTRY_CURRENT && v->changed_at)) {
        char text[REGISTRY_REASON_MAX + 160];
        snprintf(text, sizeof text, "%s %s is deprecated%s%s", v->name, v->version, v->reason[0] ? ": " : "",
                 v->reason);
        tell_text(out, NULL, text);
    }
    tell_close(out, ']');
}

/* ---- all of them, the newest first ---- */

struct listing {
    struct registry_version *list;
    size_t count, cap;
    bool failed;
};

static bool note_version(void *context, const struct registry_version *v)
{
    struct listing *l = context;
    if (l->count == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct registry_version *list = realloc(l->list, cap * sizeof *list);
        l->failed = !list;
        if (!list)
            return false;
        l->list = list;
        l->cap = cap;
    }
    l->list[l->count++] = *v;
    return true;
}

/* Builds of one version are equal to SemVer: the one installed later stands first. */
static int newest_first(const void *a, const void *b)
{
    const struct registry_version *x = a, *y = b;
    int c = version_compare(y->version, x->version);
    return c ? c : (x->installed_at < y->installed_at) - (x->installed_at > y->installed_at);
}

static void tell_version(struct buf *out, const struct registry_version *v)
{
    tell_open(out, NULL, '{');
    tell_text(out, "version", v->version);
    tell_text(out, "state", registry_state_name(v->state));
    tell_deprecated(out, "deprecated", v);
    tell_hex(out, "sha256", v->sha256, sizeof v->sha256);
    tell_number(out, "size", v->size);
    tell_hex(out, "key_id", v->key_id, sizeof v->key_id);
    tell_flag(out, "key_revoked", v->key_revoked);
    tell_seconds(out, "signed_at", v->signed_at);
    tell_seconds(out, "expires_at", v->expires_at);
    tell_seconds(out, "installed_at", v->installed_at);
    tell_close(out, '}');
}

int tell_versions(struct buf *out, struct job *job, const char *name, struct error *err)
{
    struct listing l = {0};
    int rc = registry_each_version(job->reader, name, note_version, &l, err);
    if (rc == 0 && l.failed)
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the versions of %s", name);
    if (rc == 0 && l.count)
        qsort(l.list, l.count, sizeof *l.list, newest_first);
    tell_open(out, "versions", '[');
    for (size_t i = 0; rc == 0 && i < l.count; i++)
        tell_version(out, &l.list[i]);
    tell_close(out, ']');
    free(l.list);
    return rc;
}

struct version_op {
    struct op op;
    struct target target;
    bool purge;
    struct service_file *file;
};

static struct version_op *new_op(struct service *s, const char *what, bool may_have_version, service_done done,
                                 void *context)
{
    struct version_op *v = op_new(s, sizeof *v, done, context);
    if (v)
        v->op.code = target_parse(what, may_have_version, &v->target, &v->op.error);
    return v;
}

static void versions(struct op *op, struct job *job)
{
    struct version_op *v = (struct version_op *)op;
    struct buf *out = &op->result;
    struct registry_plugin plugin;
    int rc = op->code;
    if (rc == 0)
        rc = registry_snapshot_begin(job->reader, &op->error);
    if (rc < 0) {
        op_end(op, rc);
        return;
    }
    rc = registry_find_plugin(job->reader, v->target.name, &plugin, &op->error);
    if (rc >= 0)
        rc = rc && plugin.versions
                 ? 0
                 : error_set(&op->error, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", v->target.name);
    if (rc == 0) {
        tell_open(out, NULL, '{');
        tell_text(out, "name", plugin.name);
        tell_text(out, "current", plugin.current[0] ? plugin.current : NULL);
        tell_text(out, "previous", plugin.previous[0] ? plugin.previous : NULL);
        tell_text(out, "newest", plugin.newest);
        tell_flag(out, "pinned", plugin.pinned);
        rc = tell_versions(out, job, plugin.name, &op->error);
        tell_close(out, '}');
    }
    registry_snapshot_end(job->reader);
    op_end(op, rc);
}

void service_versions(struct service *s, const char *name, service_done done, void *context)
{
    struct version_op *v = new_op(s, name, false, done, context);
    if (v)
        op_read(&v->op, versions);
}

/* ---- uninstall ---- */

static int forget(struct service *s, const char *name, struct error *err)
{
    if (!loader_plugin(s->loader, name))
        return 0;
    struct waits *w = waits_new(1);
    if (!w)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to stop %s", name);
    loader_forget(s->loader, name, waits_done, waits_add(w, name));
    return waits_finish(w, WAIT_DEAD_NS, err);
}

/* The registry first: when it cannot be written, nothing was stopped. */
static void uninstall(struct op *op, struct job *job)
{
    struct version_op *v = (struct version_op *)op;
    const struct target *t = &v->target;
    struct registry_plugin plugin;
    struct registry_command c = {
        .verb = REGISTRY_UNINSTALL,
        .uninstall = {.name = t->name, .version = t->version[0] ? t->version : NULL, .purge = v->purge}};
    int rc = op->code;
    if (rc == 0)
        rc = op_write(op, &c, &op->error);
    int left = rc < 0 ? rc : registry_find_plugin(job->reader, t->name, &plugin, &op->error);
    if (left == 0 || (left > 0 && !plugin.versions))
        rc = forget(op->s, t->name, &op->error);
    else if (left > 0 && t->version[0])
        rc = canary_end(op->s, t->name, t->version, false, "its version was uninstalled", &op->error);
    if (rc == 0 && left == 0 && v->purge)
        rc = queries_purge(op->s, t->name, &op->error);
    tell_open(&op->result, NULL, '{');
    tell_text(&op->result, "name", t->name);
    tell_number(&op->result, "removed", c.uninstall.removed);
    tell_flag(&op->result, "purged", v->purge);
    tell_close(&op->result, '}');
    op_end(op, left < 0 ? left : rc);
}

void service_uninstall(struct service *s, const char *what, bool purge, service_done done, void *context)
{
    struct version_op *v = new_op(s, what, true, done, context);
    if (!v)
        return;
    v->purge = purge;
    op_begin(&v->op, v->op.code < 0 ? NULL : v->target.name, uninstall);
}

/* ---- fetch ---- */

/* The bytes as they were installed, in memory that nobody can change any more. A key that is revoked by now and an
 * expiry are the receiver's to judge: the signature comes along. */
static int take_package(struct job *job, const struct registry_version *v, struct service_file *out, struct error *err)
{
    struct package *package = NULL;
    const uint8_t *bytes;
    size_t len;
    int rc = installed_package(job, v, &package, err);
    if (rc < 0)
        return rc;
    package_bytes(package, &bytes, &len);
    out->fd = io_sealed("package", bytes, len);
    package_free(package);
    if (out->fd < 0)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the package of %s %s", v->name, v->version);
    out->len = len;
    out->media = "application/octet-stream";
    snprintf(out->name, sizeof out->name, "%s-%s.moat", v->name, v->version);
    return 0;
}

static void count_download(struct service *s, const struct registry_version *v)
{
    struct registry_count one = {.n.downloads = 1};
    memcpy(one.plugin, v->name, sizeof one.plugin);
    memcpy(one.version, v->version, sizeof one.version);
    registry_count(s->registry, &one);
}

static void fetch(struct op *op, struct job *job)
{
    struct version_op *f = (struct version_op *)op;
    struct registry_version v;
    int rc = op->code;
    if (rc == 0)
        rc = version_find(job, &f->target, &v, NULL, &op->error);
    if (rc == 0)
        rc = take_package(job, &v, f->file, &op->error);
    if (rc == 0)
        count_download(op->s, &v);
    op_end(op, rc);
}

void service_fetch(struct service *s, const char *what, struct service_file *file, service_done done, void *context)
{
    struct version_op *v = new_op(s, what, true, done, context);
    if (!v)
        return;
    v->file = file;
    op_begin(&v->op, NULL, fetch);
}
