#include "service/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "package/package.h"
#include "policy/policy.h"
#include "service/record.h"

enum { NEXT_PUBLISHER, NEXT_KEY, NEXT_PLUGIN, NEXT_DECISION, NEXT_CONFIG, NEXT_VERSION, NEXT_END };

/* ---- the text ---- */

struct top {
    uint64_t version;
    const uint8_t *publishers, *plugins;
};

static int read_top(struct import *in, struct error *err)
{
    static const struct record_member members[] = {
        {"moat_export", RECORD_WHOLE, true, offsetof(struct top, version), 0},
        {"publishers", RECORD_LIST, true, offsetof(struct top, publishers), 0},
        {"plugins", RECORD_LIST, true, offsetof(struct top, plugins), 0},
        {0},
    };
    struct top top = {0};
    int rc = record_read(cursor_root(in->document.text), members, "", &top, err);
    if (rc == 0 && top.version != 1)
        rc = record_refuse(err, "/moat_export", "this is another form than 1, the one that is known here");
    in->publishers = top.publishers;
    in->plugins = top.plugins;
    import_rewind(in);
    return rc;
}

static int begin(struct import *in, int rc, struct error *err)
{
    in->manifest = BUF_INIT(2 * MANIFEST_MAX);
    in->config_text = BUF_INIT(1u << 20);
    return rc < 0 ? rc : read_top(in, err);
}

int import_open(struct import *in, int fd, struct error *err)
{
    return begin(in, document_open(&in->document, fd, IMPORT_MAX, err), err);
}

int import_open_bytes(struct import *in, const void *bytes, size_t len, struct error *err)
{
    return begin(in, document_open_bytes(&in->document, bytes, len, IMPORT_MAX, err), err);
}

void import_close(struct import *in)
{
    document_close(&in->document);
    buf_free(&in->manifest);
    buf_free(&in->config_text);
    free(in->masks);
    *in = (struct import){0};
}

void import_rewind(struct import *in)
{
    in->publisher_at = in->publishers;
    in->plugin_at = in->plugins;
    in->publisher = in->plugin = in->mask = 0;
    in->step = NEXT_PUBLISHER;
}

/* Of the record that is being read; it stays in in->pointer until the next one. */
static const char *pointer(struct import *in)
{
    char *at = in->pointer;
    size_t size = sizeof in->pointer;
    switch (in->step) {
    case NEXT_PUBLISHER:
        snprintf(at, size, "/publishers/%zu", in->publisher);
        break;
    case NEXT_KEY:
        snprintf(at, size, "/publishers/%zu/keys/%zu", in->publisher, in->key);
        break;
    case NEXT_DECISION:
        snprintf(at, size, "/plugins/%zu/decisions/%zu", in->plugin, in->decision);
        break;
    case NEXT_CONFIG:
        snprintf(at, size, "/plugins/%zu/config", in->plugin);
        break;
    case NEXT_VERSION:
        snprintf(at, size, "/plugins/%zu/versions/%zu", in->plugin, in->version);
        break;
    default:
        snprintf(at, size, "/plugins/%zu", in->plugin);
        break;
    }
    return at;
}

/* ---- publishers and keys ---- */

static bool is_label(const char *text)
{
    if (!*text)
        return false;
    for (const char *p = text; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("._-", *p)))
            return false;
    return true;
}

struct publisher_record {
    struct registry_publisher p;
    const uint8_t *keys;
};

static int read_publisher(struct import *in, const uint8_t *item, struct dump_record *out, struct error *err)
{
    static const struct record_member members[] = {
        {"name", RECORD_TEXT, true, offsetof(struct publisher_record, p.name), REGISTRY_PUBLISHER_MAX + 1},
        {"names", RECORD_TEXT, true, offsetof(struct publisher_record, p.names), REGISTRY_NAMES_MAX + 1},
        {"added_at", RECORD_WHOLE, true, offsetof(struct publisher_record, p.added_at), 0},
        {"keys", RECORD_LIST, true, offsetof(struct publisher_record, keys), 0},
        {0},
    };
    struct publisher_record record = {0};
    int rc = record_read(item, members, pointer(in), &record, err);
    if (rc == 0 && !is_label(record.p.name))
        rc = record_refuse(err, pointer(in), "`name` is no publisher's name");
    if (rc < 0)
        return rc;
    out->kind = DUMP_PUBLISHER;
    out->publisher = record.p;
    in->key_at = record.keys;
    return 1;
}

static int read_key(struct import *in, const uint8_t *item, struct dump_record *out, struct error *err)
{
    struct key_record {
        struct registry_key k;
        uint64_t algorithm;
    } record = {0};
    static const struct record_member members[] = {
        {"id", RECORD_HEX32, true, offsetof(struct key_record, k.id), 0},
        {"algorithm", RECORD_WHOLE, true, offsetof(struct key_record, algorithm), 0},
        {"public_key", RECORD_HEX32, true, offsetof(struct key_record, k.bytes), 0},
        {"added_at", RECORD_WHOLE, true, offsetof(struct key_record, k.added_at), 0},
        {"revoked_at", RECORD_WHOLE, true, offsetof(struct key_record, k.revoked_at), 0},
        {0},
    };
    uint8_t id[32];
    int rc = record_read(item, members, pointer(in), &record, err);
    if (rc == 0 && record.algorithm > ALGORITHM_HMAC_SHA256)
        rc = record_refuse(err, pointer(in), "`algorithm` is not known here");
    sha256(record.k.bytes, 32, id);
    if (rc == 0 && record.algorithm == ALGORITHM_ED25519 && memcmp(id, record.k.id, 32) != 0)
        rc = record_refuse(err, pointer(in), "`id` is not the id of `public_key`");
    if (rc < 0)
        return rc;
    record.k.algorithm = (int)record.algorithm;
    memcpy(record.k.publisher, out->publisher.name, sizeof record.k.publisher);
    out->kind = DUMP_KEY;
    out->key = record.k;
    return 1;
}

/* ---- plugins ---- */

struct plugin_record {
    struct registry_plugin p;
    char wanted[12];
    const uint8_t *decisions, *versions, *config;
};

static int check_plugin(struct import *in, struct plugin_record *r, struct error *err)
{
    static const char *const names[] = {"lazy", "loaded", "stopped"};
    const struct registry_plugin *p = &r->p;
    size_t wanted = 0;
    while (wanted < 3 && strcmp(names[wanted], r->wanted) != 0)
        wanted++;
    if (!text_is_name(p->name, REGISTRY_NAME_MAX))
        return record_refuse(err, pointer(in), "`name` is no plugin's name");
    if (wanted == 3)
        return record_refuse(err, pointer(in), "`wanted` is lazy, loaded or stopped");
    if (!version_is_valid(p->newest) || (p->current[0] && !version_is_valid(p->current)) ||
        (p->previous[0] && !version_is_valid(p->previous)))
        return record_refuse(err, pointer(in), "`newest`, `current` or `previous` is no version");
    r->p.wanted = (enum registry_wanted)wanted;
    return 0;
}

/* Named as current or previous, and not among the versions? */
static int check_named(struct import *in, const struct plugin_record *r, struct error *err)
{
    const uint8_t *at = r->versions, *item;
    bool current = !r->p.current[0], previous = !r->p.previous[0];
    while (cursor_next_item(&at, &item)) {
        const uint8_t *version = cursor_get(item, "version");
        current |= version && cursor_text_is(version, r->p.current);
        previous |= version && cursor_text_is(version, r->p.previous);
    }
    return current && previous ? 0 : record_refuse(err, pointer(in), "`current` or `previous` is not among `versions`");
}

static int read_plugin(struct import *in, const uint8_t *item, struct dump_record *out, struct error *err)
{
    static const struct record_member members[] = {
        {"name", RECORD_TEXT, true, offsetof(struct plugin_record, p.name), REGISTRY_NAME_MAX + 1},
        {"owner", RECORD_TEXT, true, offsetof(struct plugin_record, p.owner), REGISTRY_PUBLISHER_MAX + 1},
        {"active", RECORD_FLAG, true, offsetof(struct plugin_record, p.active), 0},
        {"wanted", RECORD_TEXT, true, offsetof(struct plugin_record, wanted), 12},
        {"pinned", RECORD_FLAG, true, offsetof(struct plugin_record, p.pinned), 0},
        {"current", RECORD_TEXT, true, offsetof(struct plugin_record, p.current), REGISTRY_VERSION_MAX + 1},
        {"previous", RECORD_TEXT, true, offsetof(struct plugin_record, p.previous), REGISTRY_VERSION_MAX + 1},
        {"newest", RECORD_TEXT, true, offsetof(struct plugin_record, p.newest), REGISTRY_VERSION_MAX + 1},
        {"first_at", RECORD_WHOLE, true, offsetof(struct plugin_record, p.first_at), 0},
        {"owner_since", RECORD_WHOLE, true, offsetof(struct plugin_record, p.owner_since), 0},
        {"decisions", RECORD_LIST, true, offsetof(struct plugin_record, decisions), 0},
        {"config", RECORD_OBJECT, false, offsetof(struct plugin_record, config), 0},
        {"versions", RECORD_LIST, true, offsetof(struct plugin_record, versions), 0},
        {0},
    };
    struct plugin_record record = {0};
    int rc = record_read(item, members, pointer(in), &record, err);
    if (rc == 0)
        rc = check_plugin(in, &record, err);
    if (rc == 0 && in->checking)
        rc = check_named(in, &record, err);
    if (rc < 0)
        return rc;
    out->kind = DUMP_PLUGIN;
    out->plugin = record.p;
    in->decision_at = record.decisions;
    in->version_at = record.versions;
    in->config = record.config;
    in->decision = in->version = 0;
    return 1;
}

static int read_decision(struct import *in, const uint8_t *item, struct dump_record *out, struct error *err)
{
    struct decision_record {
        struct registry_decision d;
        char permission[32];
    } record = {0};
    static const struct record_member members[] = {
        {"permission", RECORD_TEXT, true, offsetof(struct decision_record, permission), 32},
        {"scope", RECORD_TEXT, true, offsetof(struct decision_record, d.scope), REGISTRY_SCOPE_MAX},
        {"refused", RECORD_FLAG, true, offsetof(struct decision_record, d.refused), 0},
        {"until", RECORD_WHOLE, true, offsetof(struct decision_record, d.until), 0},
        {"decided_at", RECORD_WHOLE, true, offsetof(struct decision_record, d.decided_at), 0},
        {0},
    };
    char text[REGISTRY_SCOPE_MAX + 64];
    struct grant g;
    int rc = record_read(item, members, pointer(in), &record, err);
    if (rc < 0)
        return rc;
    record.d.permission = permission_parse(record.permission);
    if (record.d.permission < 0)
        return record_refuse(err, pointer(in), "`permission` is none of the eight");
    snprintf(text, sizeof text, "%s%s%s", record.permission, record.d.scope[0] ? "=" : "", record.d.scope);
    /* A grant that could not have been given is not taken in another way; a refusal has no scope. */
    if (record.d.refused ? record.d.scope[0] != 0
                         : grant_parse(text, &g, NULL) < 0 || strcmp(g.scope, record.d.scope) != 0)
        return record_refuse(err, pointer(in), "`scope` is no scope of that permission");
    memcpy(record.d.name, out->plugin.name, sizeof record.d.name);
    out->kind = DUMP_DECISION;
    out->decision = record.d;
    return 1;
}

static int read_config(struct import *in, struct dump_record *out, struct error *err)
{
    const char *at = pointer(in);
    buf_clear(&in->config_text);
    if (!buf_put(&in->config_text, in->config, cursor_length(in->config)))
        return record_refuse(err, at, "a configuration is smaller than this");
    out->kind = DUMP_CONFIG;
    out->config = buf_text(&in->config_text);
    return 1;
}

/* ---- versions ---- */

struct version_record {
    struct dump_version v;
    char version[REGISTRY_VERSION_MAX + 1], state[16], reason[REGISTRY_REASON_MAX + 1];
    const uint8_t *manifest;
};

static int note_masks(struct import *in, const struct manifest *m, struct error *err)
{
    if (in->nmasks == in->cap) {
        size_t cap = in->cap ? 2 * in->cap : 1024;
        struct import_masks *masks = realloc(in->masks, cap * sizeof *masks);
        if (!masks)
            return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the document");
        in->masks = masks;
        in->cap = cap;
    }
    struct import_masks *mask = &in->masks[in->nmasks++];
    *mask = (struct import_masks){.capabilities = m->capabilities};
    for (size_t i = 0; i < m->nasks; i++)
        mask->permissions |= 1u << m->asks[i].permission;
    return 0;
}

/* As an install would read it: of that name and version, with schemas that compile. */
static int check_manifest(struct import *in, const char *name, const char *version, struct error *err)
{
    struct manifest *m = NULL;
    struct error why;
    char at[160];
    buf_auto copy = BUF_INIT(2 * MANIFEST_MAX);
    if (!buf_put(&copy, in->manifest.data, in->manifest.len))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a manifest");
    snprintf(at, sizeof at, "%s/manifest", pointer(in));
    int rc = manifest_parse(copy.data, copy.len, &m, &why);
    if (rc < 0)
        rc = record_refuse(err, at, "%.400s", why.message);
    else if (strcmp(m->name, name) != 0 || strcmp(m->version, version) != 0)
        rc = record_refuse(err, at, "this is the manifest of another plugin or version");
    if (rc == 0)
        rc = note_masks(in, m, err);
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
        return record_refuse(err, pointer(in), "`state` is available, deprecated or archived");
    if (!version_is_valid(r->version))
        return record_refuse(err, pointer(in), "`version` is no version");
    return 0;
}

static int read_version(struct import *in, const uint8_t *item, struct dump_record *out, struct error *err)
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
        {"manifest", RECORD_OBJECT, true, offsetof(struct version_record, manifest), 0},
        {0},
    };
    struct version_record record = {0};
    int rc = record_read(item, members, pointer(in), &record, err);
    if (rc == 0)
        rc = check_version(in, &record, err);
    if (rc < 0)
        return rc;
    buf_clear(&in->manifest);
    if (!buf_put(&in->manifest, record.manifest, cursor_length(record.manifest)))
        return record_refuse(err, pointer(in), "a manifest is smaller than this");
    if (in->checking)
        rc = check_manifest(in, out->plugin.name, record.version, err);
    if (rc < 0)
        return rc;
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
    if (in->mask < in->nmasks) {
        out->version.capabilities = in->masks[in->mask].capabilities;
        out->version.permissions = in->masks[in->mask].permissions;
    }
    in->mask++;
    return 1;
}

/* ---- one after the other ---- */

int import_next(void *import, struct dump_record *out, struct error *err)
{
    struct import *in = import;
    const uint8_t *item;
    if (in->step == NEXT_KEY || in->step == NEXT_PUBLISHER) {
        if (in->step == NEXT_KEY && cursor_next_item(&in->key_at, &item)) {
            int rc = read_key(in, item, out, err);
            in->key += rc > 0;
            return rc;
        }
        in->publisher += in->step == NEXT_KEY;
        in->step = NEXT_PUBLISHER;
        if (cursor_next_item(&in->publisher_at, &item)) {
            int rc = read_publisher(in, item, out, err);
            in->step = rc > 0 ? NEXT_KEY : in->step;
            in->key = 0;
            return rc;
        }
        in->step = NEXT_PLUGIN;
    }
    if (in->step == NEXT_PLUGIN) {
        if (!cursor_next_item(&in->plugin_at, &item))
            return 0;
        int rc = read_plugin(in, item, out, err);
        in->step = rc > 0 ? NEXT_DECISION : in->step;
        return rc;
    }
    if (in->step == NEXT_DECISION) {
        if (cursor_next_item(&in->decision_at, &item)) {
            int rc = read_decision(in, item, out, err);
            in->decision += rc > 0;
            return rc;
        }
        in->step = NEXT_CONFIG;
        if (in->config)
            return read_config(in, out, err);
    }
    in->step = NEXT_VERSION;
    if (cursor_next_item(&in->version_at, &item)) {
        int rc = read_version(in, item, out, err);
        in->version += rc > 0;
        return rc;
    }
    in->step = NEXT_PLUGIN;
    pointer(in);
    in->plugin++;
    out->kind = DUMP_PLUGIN_END;
    return 1;
}

void import_where(void *import, struct error *err)
{
    struct import *in = import;
    char why[ERROR_MESSAGE_MAX];
    if (!err)
        return;
    snprintf(why, sizeof why, "%s", err->message);
    snprintf(err->message, sizeof err->message, "%s: %.850s", in->pointer, why);
    snprintf(err->detail, sizeof err->detail, "{\"pointer\":\"%s\"}", in->pointer);
}

int import_check(struct import *in, struct error *err)
{
    struct dump_record record = {0};
    int rc;
    in->checking = true;
    while ((rc = import_next(in, &record, err)) > 0)
        ;
    in->checking = false;
    return rc;
}
