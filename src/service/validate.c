/* The way of a package up to the point where it would be stored, and what is told about it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/text.h"
#include "service/install.h"
#include "service/tell.h"

void intake_clear(struct intake *in)
{
    unpacked_free(&in->files);
    package_free(in->package);
    in->package = NULL;
}

/* Not the package's fault: the answer itself fails. */
static bool is_ours(int code)
{
    return code == -MOAT_E_STORAGE_FAILED || code == -MOAT_E_OUT_OF_MEMORY || code == -MOAT_E_INTERNAL ||
           code == -MOAT_E_WALL_MISSING || code == -MOAT_E_NO_SUCH_FILE || code == -MOAT_E_BAD_REQUEST;
}

/* A refusal of the package: an error to who installs, a finding to who asks for all of them. */
static int refuse(int rc, struct findings *findings, const struct error *why, struct error *err)
{
    if (rc < 0 && findings && !is_ours(rc)) {
        findings_refuse(findings, why);
        return 0;
    }
    if (rc < 0)
        *err = *why;
    return rc;
}

static uint64_t now_seconds(void)
{
    return clock_wall_ns() / NS_PER_S;
}

int intake_read(struct intake *in, struct job *job, const char *path, const char *called, struct error *err)
{
    int rc = package_open_as(path, called, service_setting_package_max(job->s), &in->package, err);
    if (rc == 0)
        rc = package_verify(in->package, trust_find, job, now_seconds(), err);
    return rc < 0 ? rc : package_read(in->package, err);
}

int intake_unpack(struct intake *in, struct job *job, struct findings *findings, struct error *err)
{
    struct error why;
    size_t before = findings ? findings->refusals : 0;
    int rc = package_unpack(in->package, loader_spawner(job->s->loader), &in->files, findings, &why);
    if (rc < 0 && findings && findings->refusals > before && !is_ours(rc))
        return 0; /* told already */
    return refuse(rc, findings, &why, err);
}

/* ---- metadata ---- */

static int compare(json_t *said, json_t *manifest, struct findings *findings, struct error *err)
{
    const char *key;
    json_t *value;
    int rc = 0;
    json_object_foreach(said, key, value)
    {
        char where[80];
        if (rc < 0 || json_equal(value, json_object_get(manifest, key)))
            continue;
        snprintf(where, sizeof where, "/%.64s", key);
        if (findings)
            findings_add(findings, MOAT_E_METADATA_MISMATCH, where, error_info(MOAT_E_METADATA_MISMATCH)->advice,
                         "`metadata` says something else about `%.64s` than the signed manifest", key);
        else
            rc = error_set(err, MOAT_E_METADATA_MISMATCH,
                           "`metadata` says something else about `%.64s` than the signed manifest", key);
    }
    return rc;
}

int intake_metadata(struct intake *in, const char *text, struct findings *findings, struct error *err)
{
    const uint8_t *bytes;
    size_t len;
    json_error_t why;
    if (!text)
        return 0;
    package_bytes(in->package, &bytes, &len);
    json_t *said = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    json_t *manifest = json_loadb((const char *)bytes + PACKAGE_HEAD, package_head(in->package)->manifest_len, 0, &why);
    int rc = json_is_object(said) && manifest ? compare(said, manifest, findings, err)
                                              : error_set(err, MOAT_E_BAD_REQUEST, "`metadata` is not a JSON object");
    json_decref(said);
    json_decref(manifest);
    return rc;
}

/* ---- admission ---- */

/* Who signed an unsigned package is nobody, who signed with an unknown key is not known. */
static int check_owner(const struct intake *in, struct error *err)
{
    const struct package_head *h = package_head(in->package);
    const char *publisher = package_publisher(in->package);
    if (in->takes_name || strcmp(in->plugin.owner, publisher) == 0)
        return 0;
    return error_set(err, MOAT_E_NAME_NOT_ALLOWED, "the name %s belongs to the publisher %s%s%s", h->name,
                     in->plugin.owner, *publisher ? ", not to " : "", publisher);
}

/* 1: these very bytes are installed already. */
static int installed_same(const struct intake *in, struct job *job, struct error *err)
{
    const struct package_head *h = package_head(in->package);
    struct registry_version v;
    uint8_t sha256[32];
    int rc = registry_find_version(job->reader, h->name, h->version, &v, NULL, err);
    if (rc <= 0)
        return rc;
    package_sha256(in->package, sha256);
    if (memcmp(sha256, v.sha256, sizeof sha256) == 0)
        return 1;
    return error_set(err, MOAT_E_ALREADY_EXISTS, "%s %s is installed with other bytes", h->name, h->version);
}

static int check_age(struct intake *in, bool allow_older, struct error *err)
{
    const struct package_head *h = package_head(in->package);
    if (in->takes_name || version_compare(h->version, in->plugin.newest) >= 0)
        return 0;
    text_copy(in->newest, sizeof in->newest, in->plugin.newest);
    if (allow_older)
        return 0;
    return error_set(err, MOAT_E_OLDER_VERSION, "%s %s is older than %s, which was installed before", h->name,
                     h->version, in->plugin.newest);
}

int intake_admit(struct intake *in, struct job *job, bool allow_older, struct findings *findings, struct error *err)
{
    const struct package_head *h = package_head(in->package);
    struct error why;
    text_copy(in->newest, sizeof in->newest, h->version);
    int rc = registry_find_plugin(job->reader, h->name, &in->plugin, err);
    if (rc <= 0)
        return rc;
    in->takes_name =
        strcmp(in->plugin.owner, REGISTRY_NOBODY) == 0 && strcmp(package_publisher(in->package), REGISTRY_NOBODY) != 0;
    rc = refuse(check_owner(in, &why), findings, &why, err);
    if (rc < 0)
        return rc;
    int same = installed_same(in, job, &why);
    rc = refuse(same, findings, &why, err);
    if (rc < 0)
        return rc;
    return refuse(check_age(in, allow_older || same == 1, &why), findings, &why, err);
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
    char *path, *called, *metadata;
    bool temporary;
    struct intake intake;
    struct findings findings;
    struct decisions nothing; /* what holds without a decision: the ceilings */
    enum package_signature signature;
};

static void clear(struct op *op)
{
    struct validate_op *v = (struct validate_op *)op;
    if (v->temporary && v->path)
        unlink(v->path);
    intake_clear(&v->intake);
    findings_free(&v->findings);
    decisions_free(&v->nothing);
    free(v->path);
    free(v->called);
    free(v->metadata);
}

static void tell_validated(struct validate_op *v)
{
    struct buf *out = &v->op.result;
    struct manifest *m = v->intake.package ? package_manifest(v->intake.package) : NULL;
    tell_open(out, NULL, '{');
    tell_flag(out, "valid", v->findings.refusals == 0);
    tell_text(out, "signature", package_signature_name(v->signature));
    tell_open(out, "findings", '[');
    for (size_t i = 0; i < v->findings.count; i++) {
        const struct finding *f = &v->findings.list[i];
        tell_open(out, NULL, '{');
        tell_text(out, "code", error_info(f->code)->name);
        tell_text(out, "message", f->message);
        tell_text(out, "where", f->where);
        tell_text(out, "cure", f->cure);
        tell_text(out, "severity", f->warning ? "warn" : "refuse");
        tell_close(out, '}');
    }
    tell_close(out, ']');
    if (m) {
        tell_text(out, "name", m->name);
        tell_text(out, "version", m->version);
        tell_text(out, "publisher", package_publisher(v->intake.package));
        struct policy_answer answer;
        decisions_answer(m, package_publisher(v->intake.package), &v->nothing, &answer);
        tell_permissions(out, "permissions", m, &answer, &v->nothing);
    }
    tell_close(out, '}');
}

/* What only a package that is as it was signed can be asked: nothing else of it is parsed here. */
static int look_inside(struct validate_op *v, struct job *job, struct error *err)
{
    int rc = package_read_all(v->intake.package, &v->findings, err);
    if (rc == 0)
        rc = intake_metadata(&v->intake, v->metadata, &v->findings, err);
    if (rc == 0 && package_manifest(v->intake.package))
        rc = intake_unpack(&v->intake, job, &v->findings, err);
    return rc;
}

static int survey(struct validate_op *v, struct job *job, struct error *err)
{
    struct error why;
    int rc = package_open_as(v->path, v->called, service_setting_package_max(job->s), &v->intake.package, &why);
    if (rc < 0)
        return refuse(rc, &v->findings, &why, err);
    rc = package_survey(v->intake.package, trust_find, job, now_seconds(), &v->findings, &v->signature, err);
    if (rc == 0 && package_is_readable(v->intake.package))
        rc = look_inside(v, job, err);
    return rc < 0 ? rc : intake_admit(&v->intake, job, false, &v->findings, err);
}

static void validate(struct op *op, struct job *job)
{
    struct validate_op *v = (struct validate_op *)op;
    int rc = op->code;
    if (rc == 0)
        rc = survey(v, job, &op->error);
    if (rc == 0)
        rc = decisions_begin(job, &v->nothing, &op->error);
    if (rc == 0)
        tell_validated(v);
    op_end(op, rc);
}

void service_validate(struct service *s, const char *path, const char *called_or_null, bool temporary,
                      const char *metadata_or_null, service_done done, void *context)
{
    struct validate_op *v = op_new(s, sizeof *v, done, context);
    if (!v)
        return;
    v->op.clear = clear;
    v->temporary = temporary;
    v->path = strdup(path);
    v->called = strdup(called_or_null ? called_or_null : path);
    v->metadata = metadata_or_null ? strdup(metadata_or_null) : NULL;
    if (!v->path || !v->called || (metadata_or_null && !v->metadata))
        v->op.code = error_set(&v->op.error, MOAT_E_OUT_OF_MEMORY, "no memory to validate %.400s",
                               called_or_null ? called_or_null : path);
    op_begin(&v->op, NULL, validate);
}
