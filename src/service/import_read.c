#include "service/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "package/package.h"
#include "policy/policy.h"
#include "service/internal.h"
#include "service/record.h"

/* ---- the text ---- */

struct top {
    uint64_t version;
    const uint8_t *ceilings, *sources, *publishers, *plugins;
};

static int read_top(struct import *in, struct error *err)
{
    static const struct record_member members[] = {
        {"moat_export", RECORD_WHOLE, true, offsetof(struct top, version), 0},
        {"ceilings", RECORD_LIST, false, offsetof(struct top, ceilings), 0},
        {"sources", RECORD_LIST, false, offsetof(struct top, sources), 0},
        {"publishers", RECORD_LIST, true, offsetof(struct top, publishers), 0},
        {"plugins", RECORD_LIST, true, offsetof(struct top, plugins), 0},
        {0},
    };
    struct top top = {0};
    int rc = record_read(cursor_root(in->document->text), members, "", &top, err);
    if (rc == 0 && top.version != 1)
        rc = record_refuse(err, "/moat_export", "this is another form than 1, the one that is known here");
    in->ceiling_at = in->ceilings = top.ceilings;
    in->source_at = in->sources = top.sources;
    in->publisher_at = in->publishers = top.publishers;
    in->plugin_at = in->plugins = top.plugins;
    return rc;
}

int import_open(struct import *in, struct document *document, bool checking, struct error *err)
{
    *in = (struct import){.document = document,
                          .checking = checking,
                          .manifest = BUF_INIT(2 * MANIFEST_MAX),
                          .config_text = BUF_INIT(1u << 20)};
    return read_top(in, err);
}

void import_open_again(struct import *in, const struct import *of, bool checking)
{
    *in = (struct import){.document = of->document,
                          .checking = checking,
                          .ceilings = of->ceilings,
                          .sources = of->sources,
                          .publishers = of->publishers,
                          .plugins = of->plugins,
                          .ceiling_at = of->ceilings,
                          .source_at = of->sources,
                          .publisher_at = of->publishers,
                          .plugin_at = of->plugins,
                          .manifest = BUF_INIT(2 * MANIFEST_MAX),
                          .config_text = BUF_INIT(1u << 20)};
}

bool import_skip(struct import *in)
{
    const uint8_t *item = in->step == IMPORT_PLUGIN ? cursor_item(in->plugin_at) : NULL;
    if (!item)
        return false;
    in->plugin_at = cursor_behind(item);
    in->plugin++;
    return true;
}

void import_close(struct import *in)
{
    buf_free(&in->manifest);
    buf_free(&in->config_text);
    *in = (struct import){0};
}

const char *import_pointer(struct import *in)
{
    char *at = in->pointer;
    size_t size = sizeof in->pointer;
    switch (in->step) {
    case IMPORT_CEILING:
        snprintf(at, size, "/ceilings/%zu", in->ceiling);
        break;
    case IMPORT_SOURCE:
        snprintf(at, size, "/sources/%zu", in->source);
        break;
    case IMPORT_PUBLISHER:
        snprintf(at, size, "/publishers/%zu", in->publisher);
        break;
    case IMPORT_KEY:
        snprintf(at, size, "/publishers/%zu/keys/%zu", in->publisher, in->key);
        break;
    case IMPORT_DECISION:
        snprintf(at, size, "/plugins/%zu/decisions/%zu", in->plugin, in->decision);
        break;
    case IMPORT_CONFIG:
        snprintf(at, size, "/plugins/%zu/config", in->plugin);
        break;
    case IMPORT_VERSION:
        snprintf(at, size, "/plugins/%zu/versions/%zu", in->plugin, in->version);
        break;
    default:
        snprintf(at, size, "/plugins/%zu", in->plugin);
        break;
    }
    return at;
}

/* ---- ceilings and sources ---- */

/* As the policy writes them, or not at all: what is compared is what is shown. */
static int read_ceiling(struct import *in, const uint8_t *item, struct dump_record *out, struct error *err)
{
    struct ceiling_record {
        struct registry_ceiling c;
        char permission[32];
    } record = {0};
    static const struct record_member members[] = {
        {"subject", RECORD_TEXT, true, offsetof(struct ceiling_record, c.subject), sizeof record.c.subject},
        {"permission", RECORD_TEXT, true, offsetof(struct ceiling_record, permission), 32},
        {"scope", RECORD_TEXT, true, offsetof(struct ceiling_record, c.scope), REGISTRY_SCOPE_MAX},
        {"set_at", RECORD_WHOLE, true, offsetof(struct ceiling_record, c.set_at), 0},
        {0},
    };
    char text[REGISTRY_SCOPE_MAX + 64], subject[80] = "";
    struct ceiling c;
    int rc = record_read(item, members, import_pointer(in), &record, err);
    if (rc < 0)
        return rc;
    record.c.permission = permission_parse(record.permission);
    snprintf(text, sizeof text, "%s%s%s", record.permission, record.c.scope[0] ? "=" : "", record.c.scope);
    if (ceiling_parse(record.c.subject, text, &c, NULL) == 0)
        ceiling_subject(&c, subject);
    if (record.c.permission < 0 || strcmp(subject, record.c.subject) != 0 || strcmp(c.never.scope, record.c.scope) != 0)
        return record_refuse(err, import_pointer(in), "`subject`, `permission` and `scope` are no ceiling");
    out->kind = DUMP_CEILING;
    out->ceiling = record.c;
    return 1;
}

static int read_source(struct import *in, const uint8_t *item, struct dump_record *out, struct error *err)
{
    static const struct record_member members[] = {
        {"name", RECORD_TEXT, true, offsetof(struct registry_source, name), REGISTRY_SOURCE_MAX + 1},
        {"kind", RECORD_TEXT, true, offsetof(struct registry_source, kind), sizeof((struct registry_source *)0)->kind},
        {"place", RECORD_TEXT, true, offsetof(struct registry_source, place), PATH_MAX},
        {"added_at", RECORD_WHOLE, true, offsetof(struct registry_source, added_at), 0},
        {0},
    };
    struct registry_source record = {0};
    int rc = record_read(item, members, import_pointer(in), &record, err);
    if (rc == 0 && !source_is_well_formed(&record))
        rc = record_refuse(err, import_pointer(in), "`name`, `kind` and `place` are no data source");
    if (rc < 0)
        return rc;
    out->kind = DUMP_SOURCE;
    out->source = record;
    return 1;
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
    int rc = record_read(item, members, import_pointer(in), &record, err);
    if (rc == 0 && !is_label(record.p.name))
        rc = record_refuse(err, import_pointer(in), "`name` is no publisher's name");
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
    int rc = record_read(item, members, import_pointer(in), &record, err);
    if (rc == 0 && record.algorithm > ALGORITHM_HMAC_SHA256)
        rc = record_refuse(err, import_pointer(in), "`algorithm` is not known here");
    sha256(record.k.bytes, 32, id);
    if (rc == 0 && record.algorithm == ALGORITHM_ED25519 && memcmp(id, record.k.id, 32) != 0)
        rc = record_refuse(err, import_pointer(in), "`id` is not the id of `public_key`");
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
        return record_refuse(err, import_pointer(in), "`name` is no plugin's name");
    if (wanted == 3)
        return record_refuse(err, import_pointer(in), "`wanted` is lazy, loaded or stopped");
    if (!version_is_valid(p->newest) || (p->current[0] && !version_is_valid(p->current)) ||
        (p->previous[0] && !version_is_valid(p->previous)))
        return record_refuse(err, import_pointer(in), "`newest`, `current` or `previous` is no version");
    r->p.wanted = (enum registry_wanted)wanted;
    return 0;
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
    int rc = record_read_to(item, members, import_pointer(in), &record, &in->plugin_at, err);
    if (rc == 0)
        rc = check_plugin(in, &record, err);
    if (rc < 0)
        return rc;
    out->kind = DUMP_PLUGIN;
    out->plugin = record.p;
    in->decision_at = record.decisions;
    in->version_at = record.versions;
    in->config = record.config;
    in->decision = in->version = 0;
    in->has_current = !record.p.current[0];
    in->has_previous = !record.p.previous[0];
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
    int rc = record_read(item, members, import_pointer(in), &record, err);
    if (rc < 0)
        return rc;
    record.d.permission = permission_parse(record.permission);
    if (record.d.permission < 0)
        return record_refuse(err, import_pointer(in), "`permission` is none of the eight");
    snprintf(text, sizeof text, "%s%s%s", record.permission, record.d.scope[0] ? "=" : "", record.d.scope);
    /* A grant that could not have been given is not taken in another way; a refusal has no scope. */
    if (record.d.refused ? record.d.scope[0] != 0
                         : grant_parse(text, &g, NULL) < 0 || strcmp(g.scope, record.d.scope) != 0)
        return record_refuse(err, import_pointer(in), "`scope` is no scope of that permission");
    memcpy(record.d.name, out->plugin.name, sizeof record.d.name);
    out->kind = DUMP_DECISION;
    out->decision = record.d;
    return 1;
}

static int read_config(struct import *in, struct dump_record *out, struct error *err)
{
    const char *at = import_pointer(in);
    buf_clear(&in->config_text);
    if (!buf_put(&in->config_text, in->config, cursor_length(in->config)))
        return record_refuse(err, at, "a configuration is smaller than this");
    out->kind = DUMP_CONFIG;
    out->config = buf_text(&in->config_text);
    return 1;
}

/* ---- one after the other ---- */

int import_next(void *import, struct dump_record *out, struct error *err)
{
    struct import *in = import;
    const uint8_t *item;
    if (in->step == IMPORT_CEILING) {
        if (in->ceiling_at && cursor_next_item(&in->ceiling_at, &item)) {
            int rc = read_ceiling(in, item, out, err);
            in->ceiling += rc > 0;
            return rc;
        }
        in->step = IMPORT_SOURCE;
    }
    if (in->step == IMPORT_SOURCE) {
        if (in->source_at && cursor_next_item(&in->source_at, &item)) {
            int rc = read_source(in, item, out, err);
            in->source += rc > 0;
            return rc;
        }
        in->step = IMPORT_PUBLISHER;
    }
    if (in->step == IMPORT_KEY || in->step == IMPORT_PUBLISHER) {
        if (in->step == IMPORT_KEY && cursor_next_item(&in->key_at, &item)) {
            int rc = read_key(in, item, out, err);
            in->key += rc > 0;
            return rc;
        }
        in->publisher += in->step == IMPORT_KEY;
        in->step = IMPORT_PUBLISHER;
        if (cursor_next_item(&in->publisher_at, &item)) {
            int rc = read_publisher(in, item, out, err);
            in->step = rc > 0 ? IMPORT_KEY : in->step;
            in->key = 0;
            return rc;
        }
        in->step = IMPORT_PLUGIN;
    }
    if (in->step == IMPORT_PLUGIN) {
        item = cursor_item(in->plugin_at);
        if (!item)
            return 0;
        int rc = read_plugin(in, item, out, err);
        in->step = rc > 0 ? IMPORT_DECISION : in->step;
        return rc;
    }
    if (in->step == IMPORT_DECISION) {
        if (cursor_next_item(&in->decision_at, &item)) {
            int rc = read_decision(in, item, out, err);
            in->decision += rc > 0;
            return rc;
        }
        in->step = IMPORT_CONFIG;
        if (in->config)
            return read_config(in, out, err);
    }
    in->step = IMPORT_VERSION;
    item = cursor_item(in->version_at);
    if (item) {
        int rc = import_read_version(in, item, out, err);
        in->version += rc > 0;
        return rc;
    }
    in->step = IMPORT_PLUGIN;
    import_pointer(in);
    if (!in->has_current || !in->has_previous)
        return record_refuse(err, in->pointer, "`current` or `previous` is not among `versions`");
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
