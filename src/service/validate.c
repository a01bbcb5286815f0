/* The way of a package up to the point where it would be stored, and what is told about it. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "service/install.h"
#include "service/tell.h"

void intake_clear(struct intake *in)
{
    unpacked_free(&in->files);
    package_free(in->package);
    in->package = NULL;
}

/* A refusal is a finding once the file could be read at all. */
static int found(int rc, struct findings *findings, const struct error *err)
{
    if (rc < 0 && findings)
        findings_add(findings, err->code, "", error_info(err->code)->advice, "%s", err->message);
    return rc;
}

int intake_read(struct intake *in, struct job *job, const char *path, struct findings *findings, struct error *err)
{
    uint64_t now = clock_wall_ns() / NS_PER_S;
    int rc = package_open(path, service_setting_package_max(job->s), &in->package, err);
    if (rc == 0)
        rc = package_verify(in->package, trust_find, job, now, err);
    if (rc == 0)
        rc = package_read(in->package, err);
    return found(rc, findings, err);
}

int intake_unpack(struct intake *in, struct job *job, struct findings *findings, struct error *err)
{
    return package_unpack(in->package, loader_spawner(job->s->loader), &in->files, findings, err);
}

/* 1: these very bytes are installed already. */
static int installed_same(struct intake *in, struct job *job, const struct manifest *m, struct error *err)
{
    struct registry_version v;
    uint8_t sha256[32];
    int rc = registry_find_version(job->reader, m->name, m->version, &v, NULL, err);
    if (rc <= 0)
        return rc;
    package_sha256(in->package, sha256);
    if (memcmp(sha256, v.sha256, sizeof sha256) == 0)
        return 1;
    return error_set(err, MOAT_E_ALREADY_EXISTS, "%s %s is installed with other bytes: a version never changes",
                     m->name, m->version);
}

int intake_admit(struct intake *in, struct job *job, bool allow_older, struct error *err)
{
    const struct manifest *m = package_manifest(in->package);
    snprintf(in->newest, sizeof in->newest, "%s", m->version);
    int rc = registry_find_plugin(job->reader, m->name, &in->plugin, err);
    if (rc <= 0)
        return rc;
    if (strcmp(in->plugin.owner, package_publisher(in->package)) != 0)
        return error_set(err, MOAT_E_NAME_NOT_ALLOWED, "the name %s belongs to the publisher %s, not to %s", m->name,
                         in->plugin.owner, package_publisher(in->package));
    rc = installed_same(in, job, m, err);
    if (rc < 0)
        return rc;
    bool older = version_compare(m->version, in->plugin.newest) < 0;
    if (older)
        snprintf(in->newest, sizeof in->newest, "%s", in->plugin.newest);
    if (rc == 0 && older && !allow_older)
        return error_set(err, MOAT_E_OLDER_VERSION, "%s %s is older than %s, which was installed before", m->name,
                         m->version, in->plugin.newest);
    return 0;
}

static void add_words(struct buf *out, const char *text)
{
    for (; text && *text; text++)
        buf_putc(out, (char)tolower((unsigned char)*text));
    buf_putc(out, '\n');
}

void intake_words(const struct manifest *m, struct buf *out)
{
    add_words(out, m->name);
    add_words(out, m->description);
    add_words(out, m->author);
    for (size_t i = 0; i < m->nkeywords; i++)
        add_words(out, m->keywords[i]);
    for (size_t i = 0; i < m->nactions; i++)
        add_words(out, m->actions[i].name);
}

uint32_t intake_permissions(const struct manifest *m)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < m->nasks; i++)
        mask |= 1u << m->asks[i].permission;
    return mask;
}

void tell_unasked(struct buf *out, const char *key, const struct manifest *m, const struct registry_decision *list,
                  size_t count)
{
    uint32_t asked = intake_permissions(m);
    tell_open(out, key, '[');
    for (size_t i = 0; i < count; i++) {
        struct grant g = {.permission = (enum permission)list[i].permission};
        char text[POLICY_SCOPE_MAX + 64];
        if (list[i].permission < 0 || list[i].permission >= PERMISSION_COUNT || asked >> list[i].permission & 1)
            continue;
        memcpy(g.scope, list[i].scope, sizeof g.scope);
        grant_format(&g, text, sizeof text);
        tell_text(out, NULL, text);
    }
    tell_close(out, ']');
}

/* ---- validate ---- */

struct validate_op {
    struct op op;
    char *path;
    bool temporary;
    struct intake intake;
    struct findings findings;
};

static void clear(struct op *op)
{
    struct validate_op *v = (struct validate_op *)op;
    if (v->temporary && v->path)
        unlink(v->path);
    intake_clear(&v->intake);
    findings_free(&v->findings);
    free(v->path);
}

static void tell_validated(struct validate_op *v)
{
    struct buf *out = &v->op.result;
    struct manifest *m = v->intake.package ? package_manifest(v->intake.package) : NULL;
    tell_open(out, NULL, '{');
    tell_flag(out, "valid", v->findings.count == 0);
    tell_open(out, "findings", '[');
    for (size_t i = 0; i < v->findings.count; i++) {
        const struct finding *f = &v->findings.list[i];
        tell_open(out, NULL, '{');
        tell_text(out, "code", error_info(f->code)->name);
        tell_text(out, "message", f->message);
        tell_text(out, "where", f->where);
        tell_text(out, "cure", f->cure);
        tell_close(out, '}');
    }
    tell_close(out, ']');
    if (m) {
        tell_text(out, "name", m->name);
        tell_text(out, "version", m->version);
        tell_text(out, "publisher", package_publisher(v->intake.package));
        tell_permissions(out, "permissions", m, NULL, 0);
    }
    tell_close(out, '}');
}

/* Not the package's fault: the answer itself fails. */
static bool is_ours(int code)
{
    return code == -MOAT_E_STORAGE_FAILED || code == -MOAT_E_OUT_OF_MEMORY || code == -MOAT_E_INTERNAL ||
           code == -MOAT_E_WALL_MISSING || code == -MOAT_E_NO_SUCH_FILE;
}

static void validate(struct op *op, struct job *job)
{
    struct validate_op *v = (struct validate_op *)op;
    int rc = op->code;
    if (rc == 0)
        rc = intake_read(&v->intake, job, v->path, &v->findings, &op->error);
    if (rc == 0) {
        rc = intake_unpack(&v->intake, job, &v->findings, &op->error);
        if (rc < 0 && !v->findings.count)
            found(rc, &v->findings, &op->error);
    }
    if (rc == 0)
        rc = found(intake_admit(&v->intake, job, false, &op->error), &v->findings, &op->error);
    if (!is_ours(rc)) {
        tell_validated(v);
        rc = 0;
    }
    op_end(op, rc);
}

void service_validate(struct service *s, const char *path, bool temporary, service_done done, void *context)
{
    struct validate_op *v = op_new(s, sizeof *v, done, context);
    if (!v)
        return;
    v->op.clear = clear;
    v->temporary = temporary;
    v->path = strdup(path);
    if (!v->path)
        v->op.code = error_set(&v->op.error, MOAT_E_OUT_OF_MEMORY, "no memory to validate %.400s", path);
    op_begin(&v->op, NULL, validate);
}
