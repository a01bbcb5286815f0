#include "service/installed.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/face.h"

bool installed_is_damage(int code)
{
    switch (-code) {
    case MOAT_E_NO_SUCH_FILE:
    case MOAT_E_NOT_A_PACKAGE:
    case MOAT_E_PACKAGE_DAMAGED:
    case MOAT_E_BAD_SIGNATURE:
        return true;
    default:
        return false;
    }
}

static int same_hash(struct package *package, const struct registry_version *v, struct error *err)
{
    uint8_t sha256[32];
    package_sha256(package, sha256);
    if (memcmp(sha256, v->sha256, 32) == 0)
        return 0;
    return error_set(err, MOAT_E_PACKAGE_DAMAGED, "the stored package is not the one that was installed");
}

static int open_hashed(struct job *job, const struct registry_version *v, struct package **out, struct error *err)
{
    char path[PATH_MAX];
    struct package *package = NULL;
    registry_package_path(job->s->registry, v->sha256, path);
    int rc = package_open(path, PACKAGE_MAX_EVER, &package, err);
    if (rc == 0)
        rc = same_hash(package, v, err);
    if (rc < 0)
        package_free(package);
    else
        *out = package;
    return rc;
}

static int open_installed(struct job *job, const struct registry_version *v, struct package **out, struct error *err)
{
    struct package *package = NULL;
    int rc = open_hashed(job, v, &package, err);
    if (rc == 0)
        rc = package_verify(package, trust_find, job, clock_wall_ns() / NS_PER_S, err);
    if (rc < 0)
        package_free(package);
    else
        *out = package;
    return rc;
}

/* The registry's manifest decides what is asked and checked, and may have come with an import: the signed one wins. */
static int same_manifest(struct package *package, const struct registry_version *v, const struct buf *text,
                         struct error *err)
{
    const uint8_t *bytes;
    size_t len, signed_len = package_head(package)->manifest_len;
    package_bytes(package, &bytes, &len);
    if (signed_len == text->len && memcmp(bytes + PACKAGE_HEAD, text->data, signed_len) == 0)
        return 0;
    json_t *ours = face_read(buf_text(text), text->len);
    json_t *theirs = face_read((const char *)bytes + PACKAGE_HEAD, signed_len);
    bool same = ours && theirs && json_equal(ours, theirs);
    json_decref(ours);
    json_decref(theirs);
    return same ? 0
                : error_set(err, MOAT_E_PACKAGE_DAMAGED,
                            "the registry has another manifest of %s %s than the signed one", v->name, v->version);
}

struct others {
    const char *not_this;
    char version[REGISTRY_VERSION_MAX + 1];
};

static bool is_good_other(void *context, const struct registry_version *v)
{
    struct others *o = context;
    bool good = (v->state == REGISTRY_AVAILABLE || v->state == REGISTRY_DEPRECATED || v->state == REGISTRY_CURRENT) &&
                !v->key_revoked && strcmp(v->version, o->not_this) != 0;
    if (good)
        memcpy(o->version, v->version, sizeof o->version);
    return !good;
}

void installed_cure(struct job *job, const char *name, const char *version, char out[200])
{
    struct others o = {.not_this = version};
    registry_each_version(job->reader, name, is_good_other, &o, NULL);
    if (o.version[0])
        snprintf(out, 200, "install it again, or `moat use %s@%s`", name, o.version);
    else
        snprintf(out, 200, "install it again");
}

int installed_mark_damaged(struct job *job, const struct registry_version *v, struct error *err)
{
    char why[300];
    snprintf(why, sizeof why, "%.299s", err->message);
    struct registry_command c = {.verb = REGISTRY_DAMAGE, .damage = {.name = v->name, .version = v->version}};
    registry_run(job->s->registry, &c, NULL); /* when it cannot be marked, the next load finds it again */
    log_event(LOG_ERROR, "package_damaged", "plugin", v->name, "version", v->version, "why", why, NULL);
    char cure[200];
    installed_cure(job, v->name, v->version, cure);
    return error_set(err, MOAT_E_PACKAGE_DAMAGED, "the installed package of %s %s is damaged: %s (%s)", v->name,
                     v->version, cure, why);
}

int installed_package(struct job *job, const struct registry_version *v, struct package **out, struct error *err)
{
    int rc = open_hashed(job, v, out, err);
    return installed_is_damage(rc) ? installed_mark_damaged(job, v, err) : rc;
}

int installed_open(struct job *job, const struct registry_version *v, const struct buf *text, struct package **out,
                   struct error *err)
{
    int rc = open_installed(job, v, out, err);
    return rc < 0 ? rc : same_manifest(*out, v, text, err);
}
