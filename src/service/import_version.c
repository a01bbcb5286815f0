/* The versions of an exported document: each with its manifest, which is read as an install would read it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "package/package.h"
#include "service/import.h"
#include "service/record.h"

struct version_record {
    struct dump_version v;
    char version[REGISTRY_VERSION_MAX + 1], state[16], reason[REGISTRY_REASON_MAX + 1];
    struct record_span manifest;
};

static void note_masks(struct import *in, const struct manifest *m)
{
    in->masks = (struct import_masks){.capabilities = m->capabilities};
    for (size_t i = 0; i < m->nasks; i++)
        in->masks.permissions |= 1u << m->asks[i].permission;
}

/* As an install would read it: of that name and version, with schemas that compile. */
static int check_manifest(struct import *in, const char *name, const char *version, struct error *err)
{
    struct manifest *m = NULL;
    struct error why;
    char at[160];
    snprintf(at, sizeof at, "%s/manifest", import_pointer(in));
    int rc = manifest_parse(in->manifest.data, in->manifest.len, &m, &why);
    in->manifest.data[in->manifest.len] = 0; /* the checker may have written behind the text */
    if (rc < 0)
        rc = record_refuse(err, at, "%.400s", why.message);
    else if (strcmp(m->name, name) != 0 || strcmp(m->version, version) != 0)
        rc = record_refuse(err, at, "this is the manifest of another plugin or version");
    if (rc == 0)
        note_masks(in, m);
    manifest_unref(m);
    return rc;
}

static int check_version(struct import *in, const struct version_record *r, struct error *err)
{
    static const char *const states[] = {"available", "deprecated", "archived"};
    size_t i = 0;
    while (i < 3 && strcmp(states[i], r->state) != 0)
        i++;
    if (i == 3)
        return record_refuse(err, import_pointer(in), "`state` is available, deprecated or archived");
    if (!version_is_valid(r->version))
        return record_refuse(err, import_pointer(in), "`version` is no version");
    return 0;
}

int import_read_version(struct import *in, const uint8_t *item, struct dump_record *out, struct error *err)
{
    static const struct record_member members[] = {
        {"version", RECORD_TEXT, true, offsetof(struct version_record, version), REGISTRY_VERSION_MAX + 1},
        {"state", RECORD_TEXT, true, offsetof(struct version_record, state), 16},
        {"reason", RECORD_TEXT, true, offsetof(struct version_record, reason), REGISTRY_REASON_MAX + 1},
        {"changed_at", RECORD_WHOLE, true, offsetof(struct version_record, v.changed_at), 0},
        {"sha256", RECORD_HEX32, true, offsetof(struct version_record, v.sha256), 0},
        {"size", RECORD_WHOLE, true, offsetof(struct version_record, v.size), 0},
        {"key_id", RECORD_HEX32, true, offsetof(struct version_record, v.key_id), 0},
        {"signed_at", RECORD_WHOLE, true, offsetof(struct version_record, v.signed_at), 0},
        {"expires_at", RECORD_WHOLE, true, offsetof(struct version_record, v.expires_at), 0},
        {"installed_at", RECORD_WHOLE, true, offsetof(struct version_record, v.installed_at), 0},
        {"manifest", RECORD_SPAN, true, offsetof(struct version_record, manifest), 0},
        {0},
    };
    struct version_record record = {0};
    int rc = record_read_to(item, members, import_pointer(in), &record, &in->version_at, err);
    if (rc == 0)
        rc = check_version(in, &record, err);
    if (rc < 0)
        return rc;
    buf_clear(&in->manifest);
    if (!buf_put(&in->manifest, record.manifest.text, record.manifest.len))
        return record_refuse(err, import_pointer(in), "a manifest is smaller than this");
    if (in->checking)
        rc = check_manifest(in, out->plugin.name, record.version, err);
    if (rc < 0)
        return rc;
    in->has_current |= strcmp(record.version, out->plugin.current) == 0;
    in->has_previous |= strcmp(record.version, out->plugin.previous) == 0;
    memcpy(in->version_text, record.version, sizeof in->version_text);
    memcpy(in->state, record.state, sizeof in->state);
    memcpy(in->reason, record.reason, sizeof in->reason);
    out->kind = DUMP_VERSION;
    out->version = record.v;
    out->version.version = in->version_text;
    out->version.state = in->state;
    out->version.reason = in->reason;
    out->version.manifest = buf_text(&in->manifest);
    out->version.manifest_len = in->manifest.len;
    out->version.capabilities = in->masks.capabilities;
    out->version.permissions = in->masks.permissions;
    return 1;
}
