/* diff: what another version would change: permissions, actions, schemas, limits, and what agents are told. */
#include <stdlib.h>
#include <string.h>

#include "service/face.h"
#include "service/install.h"
#include "service/tell.h"

struct side {
    struct target target;
    char version[MANIFEST_VERSION_MAX + 1], publisher[REGISTRY_PUBLISHER_MAX + 1];
    struct manifest *manifest;
    json_t *tree;
};

struct diff_op {
    struct op op;
    struct side from, to;
    char *path, *called; /* of a package instead of `to` */
    struct intake intake;
    bool cut;
};

static void clear_side(struct side *s)
{
    manifest_unref(s->manifest);
    json_decref(s->tree);
}

static void clear(struct op *op)
{
    struct diff_op *d = (struct diff_op *)op;
    clear_side(&d->from);
    clear_side(&d->to);
    intake_clear(&d->intake);
    free(d->path);
    free(d->called);
}

/* ---- the two sides ---- */

static int parse_side(struct side *s, const void *text, size_t len, struct error *err)
{
    buf_auto copy = BUF_INIT(2 * MANIFEST_MAX);
    s->tree = face_read(text, len);
    if (!s->tree || !buf_put(&copy, text, len))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest of %s", s->target.name);
    return manifest_parse(copy.data, copy.len, &s->manifest, err);
}

static int read_installed(struct side *s, struct job *job, struct error *err)
{
    buf_auto text = BUF_INIT(2 * MANIFEST_MAX);
    struct registry_version v;
    int rc = version_find(job, &s->target, &v, &text, err);
    if (rc < 0)
        return rc;
    memcpy(s->version, v.version, sizeof s->version);
    memcpy(s->publisher, v.publisher, sizeof s->publisher);
    return parse_side(s, buf_text(&text), text.len, err);
}

static int read_package(struct diff_op *d, struct job *job, struct error *err)
{
    const uint8_t *bytes;
    size_t len;
    struct side *s = &d->to;
    int rc = intake_read(&d->intake, job, d->path, d->called, err);
    if (rc < 0)
        return rc;
    const struct manifest *m = package_manifest(d->intake.package);
    snprintf(s->target.name, sizeof s->target.name, "%s", m->name);
    snprintf(s->version, sizeof s->version, "%s", m->version);
    snprintf(s->publisher, sizeof s->publisher, "%s", package_publisher(d->intake.package));
    package_bytes(d->intake.package, &bytes, &len);
    return parse_side(s, bytes + PACKAGE_HEAD, package_head(d->intake.package)->manifest_len, err);
}

static int check_names(const struct diff_op *d, struct error *err)
{
    if (strcmp(d->from.target.name, d->to.target.name) == 0)
        return 0;
    return error_set(err, MOAT_E_BAD_USAGE, "%s and %s are two plugins: a diff is of two versions of one",
                     d->from.target.name, d->to.target.name);
}

/* ---- what differs ---- */

static const struct manifest_ask *find_ask(const struct manifest *m, enum permission p)
{
    for (size_t i = 0; i < m->nasks; i++)
        if (m->asks[i].permission == p)
            return &m->asks[i];
    return NULL;
}

static bool same_ask(const struct manifest_ask *a, const struct manifest_ask *b)
{
    bool same = a->required == b->required && a->nscopes == b->nscopes;
    for (size_t i = 0; same && i < a->nscopes; i++)
        same = strcmp(a->scopes[i], b->scopes[i]) == 0;
    return same;
}

static void tell_ask(struct buf *out, const char *key, const struct manifest_ask *ask)
{
    tell_open(out, key, '{');
    tell_flag(out, "required", ask->required);
    tell_open(out, "suggested", '[');
    for (size_t i = 0; i < ask->nscopes; i++)
        tell_text(out, NULL, ask->scopes[i]);
    tell_close(out, ']');
    tell_close(out, '}');
}

/* from and to are members that are there when the side asks for it. */
static void tell_permission_changes(struct buf *out, const struct manifest *from, const struct manifest *to)
{
    tell_open(out, "permissions", '[');
    for (int p = 0; p < PERMISSION_COUNT; p++) {
        const struct manifest_ask *a = find_ask(from, (enum permission)p), *b = find_ask(to, (enum permission)p);
        if ((!a && !b) || (a && b && same_ask(a, b)))
            continue;
        tell_open(out, NULL, '{');
        tell_text(out, "permission", permission_name((enum permission)p));
        tell_text(out, "change", !a ? "added" : !b ? "removed" : "changed");
        if (a)
            tell_ask(out, "from", a);
        if (b)
            tell_ask(out, "to", b);
        tell_close(out, '}');
    }
    tell_close(out, ']');
}

/* Members of the manifest that neither permissions nor actions are about, pointer by pointer. */
static void tell_other_changes(struct diff_op *d)
{
    static const char *const apart[] = {"version", "required_permissions", "optional_permissions", "actions", "limits",
                                        "config",  "description"};
    json_t *a = json_copy(d->from.tree), *b = json_copy(d->to.tree);
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++) {
        json_object_del(a, apart[i]);
        json_object_del(b, apart[i]);
    }
    tell_json_changes(&d->op.result, "other", a, b, &d->cut);
    json_decref(a);
    json_decref(b);
}

static void tell_side(struct buf *out, const char *key, const struct side *s)
{
    tell_open(out, key, '{');
    tell_text(out, "version", s->version);
    tell_text(out, "publisher", s->publisher);
    tell_close(out, '}');
}

static int tell_diff(struct diff_op *d, struct error *err)
{
    struct buf *out = &d->op.result;
    char before[FACE_DIGEST], digest[FACE_DIGEST];
    json_t *a = d->from.tree, *b = d->to.tree;
    if (!face_digest(a, before) || !face_digest(b, digest))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the difference");
    tell_open(out, NULL, '{');
    tell_text(out, "name", d->to.target.name);
    tell_side(out, "from", &d->from);
    tell_side(out, "to", &d->to);
    tell_flag(out, "same_face", strcmp(before, digest) == 0);
    tell_text(out, "digest", digest);
    tell_permission_changes(out, d->from.manifest, d->to.manifest);
    tell_json_changes(out, "description", json_object_get(a, "description"), json_object_get(b, "description"),
                      &d->cut);
    tell_action_changes(out, a, b, &d->cut);
    tell_json_changes(out, "limits", json_object_get(a, "limits"), json_object_get(b, "limits"), &d->cut);
    tell_json_changes(out, "config", json_object_get(a, "config"), json_object_get(b, "config"), &d->cut);
    tell_other_changes(d);
    tell_flag(out, "cut", d->cut);
    tell_close(out, '}');
    return 0;
}

static void diff(struct op *op, struct job *job)
{
    struct diff_op *d = (struct diff_op *)op;
    int rc = op->code;
    if (rc == 0)
        rc = read_installed(&d->from, job, &op->error);
    if (rc == 0)
        rc = d->path ? read_package(d, job, &op->error) : read_installed(&d->to, job, &op->error);
    if (rc == 0)
        rc = check_names(d, &op->error);
    if (rc == 0)
        rc = tell_diff(d, &op->error);
    op_end(op, rc);
}

void service_diff(struct service *s, const char *from, const char *to_or_null, const char *path,
                  const char *called_or_null, service_done done, void *context)
{
    struct diff_op *d = op_new(s, sizeof *d, done, context);
    if (!d)
        return;
    d->op.clear = clear;
    d->op.code = target_parse(from, true, &d->from.target, &d->op.error);
    if (d->op.code == 0 && to_or_null)
        d->op.code = target_parse(to_or_null, true, &d->to.target, &d->op.error);
    d->path = to_or_null ? NULL : strdup(path);
    d->called = to_or_null ? NULL : strdup(called_or_null ? called_or_null : path);
    if (d->op.code == 0 && !to_or_null && (!d->path || !d->called))
        d->op.code = error_set(&d->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for the difference");
    op_begin(&d->op, NULL, diff);
}
