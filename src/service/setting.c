/* Values of settings: from JSON, as JSON, and the schema that says so to others.  Pure. */
#include "service/setting.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/net.h"
#include "loader/loader.h"
#include "service/origins.h"
#include "service/tell.h"
#include "trace/spans.h"

static const char *const levels[] = {"debug", "info", "warn", "error"};

const char *setting_kind_name(const struct setting *t)
{
    static const char *const names[] = {"number",          "size", "time",        "list of layers", "level",
                                        "list of origins", "URL",  "name servers"};
    return names[t->kind];
}

bool setting_is_text(const struct setting *t)
{
    return t->kind == KIND_ORIGINS || t->kind == KIND_URL || t->kind == KIND_SERVERS;
}

struct setting_value setting_fallback(const struct setting *t)
{
    struct setting_value v = {.n = t->fallback};
    if (t->kind == KIND_ORIGINS)
        text_copy(v.text, sizeof v.text, "[]");
    return v;
}

/* ---- a value from its JSON ---- */

static int parse_layers(const json_t *value, uint64_t *out, struct error *err)
{
    size_t i;
    json_t *item;
    uint64_t mask = 0;
    if (!json_is_array(value))
        return error_set(err, MOAT_E_BAD_USAGE, "accept_missing_layers is a list, such as [\"landlock\"]");
    json_array_foreach(value, i, item)
    {
        const char *name = json_string_value(item);
        int layer = name ? wall_layer_parse(name) : -1;
        if (layer < 0)
            return error_set(err, MOAT_E_BAD_USAGE, "\"%.64s\" is no layer: `moat doctor` lists them",
                             name ? name : "(not a text)");
        mask |= 1ull << layer;
    }
    *out = mask;
    return 0;
}

static bool parse_level(const char *text, uint64_t *out)
{
    for (uint64_t i = 0; text && i < sizeof levels / sizeof *levels; i++) {
        if (strcmp(levels[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool parse_one(const struct setting *t, const json_t *value, uint64_t *out)
{
    const char *text = json_string_value(value);
    if (json_is_integer(value) && json_integer_value(value) >= 0 && (t->kind == KIND_NUMBER || t->kind == KIND_SIZE)) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    return text &&
           ((t->kind == KIND_SIZE && text_parse_size(text, out)) ||
            (t->kind == KIND_TIME && clock_parse_span(text, out)) || (t->kind == KIND_LEVEL && parse_level(text, out)));
}

static const char *form(const struct setting *t)
{
    static const char *const forms[] = {"a whole number", "bytes, or a size such as \"16MiB\"", "a time such as \"2s\"",
                                        "a list", "\"debug\", \"info\", \"warn\" or \"error\""};
    return forms[t->kind];
}

static void show(const struct setting *t, uint64_t n, char out[32])
{
    if (t->kind == KIND_TIME)
        clock_format_span(n, out);
    else
        snprintf(out, 32, "%llu", (unsigned long long)n);
}

static int parse_origins(const json_t *value, struct setting_value *out, struct error *err)
{
    int rc = origins_check(value, err);
    size_t len = rc ? 0 : json_dumpb(value, out->text, sizeof out->text - 1, JSON_COMPACT);
    if (rc == 0 && len >= sizeof out->text)
        return error_set(err, MOAT_E_BAD_USAGE, "cors_origins takes at most %d bytes", SETTINGS_TEXT_MAX - 1);
    out->text[len] = '\0';
    return rc;
}

static int parse_url(const struct setting *t, const json_t *value, struct setting_value *out, struct error *err)
{
    const char *text = json_string_value(value);
    if (!text || (*text && !spans_is_endpoint(text)))
        return error_set(err, MOAT_E_BAD_USAGE,
                         "%s takes a URL such as \"http://127.0.0.1:4318\", without user, query and fragment, or \"\"",
                         t->key);
    text_copy(out->text, sizeof out->text, text);
    return 0;
}

static int parse_servers(const struct setting *t, const json_t *value, struct setting_value *out, struct error *err)
{
    const char *text = json_string_value(value);
    if (!text || !net_servers_check(text))
        return error_set(err, MOAT_E_BAD_USAGE,
                         "%s takes addresses of name servers, such as \"9.9.9.9,[2620:fe::fe]:53\", or \"\"", t->key);
    text_copy(out->text, sizeof out->text, text);
    return 0;
}

static int parse_value(const struct setting *t, const json_t *value, struct setting_value *out, struct error *err)
{
    char least[32], most[32];
    if (t->kind == KIND_ORIGINS)
        return parse_origins(value, out, err);
    if (t->kind == KIND_URL)
        return parse_url(t, value, out, err);
    if (t->kind == KIND_SERVERS)
        return parse_servers(t, value, out, err);
    int rc = t->kind == KIND_LAYERS          ? parse_layers(value, &out->n, err)
             : !parse_one(t, value, &out->n) ? error_set(err, MOAT_E_BAD_USAGE, "%s takes %s", t->key, form(t))
                                             : 0;
    if (rc || (out->n >= t->min && out->n <= t->max))
        return rc;
    show(t, t->min, least);
    show(t, t->max, most);
    return error_set(err, MOAT_E_BAD_USAGE, "%s must be from %s to %s", t->key, least, most);
}

int setting_parse(const struct setting *t, const char *text, struct setting_value *out, struct error *err)
{
    json_error_t why;
    struct setting_value v = setting_fallback(t);
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    int rc = value ? parse_value(t, value, &v, err)
                   : error_set(err, MOAT_E_BAD_JSON, "the value of %s is not JSON: %s", t->key, why.text);
    json_decref(value);
    if (rc == 0)
        *out = v;
    return rc;
}

/* ---- as JSON ---- */

void setting_tell(struct buf *out, const char *key, const struct setting *t, const struct setting_value *v)
{
    char text[32];
    uint64_t n = v->n;
    switch (t->kind) {
    case KIND_ORIGINS:
        tell_raw(out, key, v->text);
        break;
    case KIND_URL:
    case KIND_SERVERS:
        tell_text(out, key, v->text);
        break;
    case KIND_LAYERS:
        tell_open(out, key, '[');
        for (int i = 0; i < WALL_LAYER_COUNT; i++)
            if (n >> i & 1)
                tell_text(out, NULL, wall_layer_name((enum wall_layer)i));
        tell_close(out, ']');
        break;
    case KIND_TIME:
        show(t, n, text);
        tell_text(out, key, text);
        break;
    case KIND_LEVEL:
        tell_text(out, key, levels[n]);
        break;
    default:
        tell_number(out, key, n);
    }
}

bool setting_has_bounds(const struct setting *t)
{
    return t->kind == KIND_NUMBER || t->kind == KIND_SIZE || t->kind == KIND_TIME;
}

void setting_tell_bounds(struct buf *out, const struct setting *t, const char *least, const char *most)
{
    struct setting_value min = {.n = t->min}, max = {.n = t->max};
    setting_tell(out, least, t, &min);
    setting_tell(out, most, t, &max);
}

/* ---- the published schema ---- */

static void put_size(struct buf *out, const struct setting *t)
{
    tell_open(out, "anyOf", '[');
    tell_open(out, NULL, '{');
    tell_text(out, "type", "integer");
    setting_tell_bounds(out, t, "minimum", "maximum");
    tell_close(out, '}');
    tell_raw(out, NULL, "{\"type\":\"string\",\"pattern\":\"^[0-9]+(KiB|MiB|GiB)?$\"}");
    tell_close(out, ']');
}

static void put_texts(struct buf *out, const char *key, const char *const *texts, size_t n)
{
    tell_open(out, key, '[');
    for (size_t i = 0; i < n; i++)
        tell_text(out, NULL, texts[i]);
    tell_close(out, ']');
}

static void put_layers(struct buf *out)
{
    tell_text(out, "type", "array");
    tell_open(out, "items", '{');
    tell_open(out, "enum", '[');
    for (int i = 0; i < WALL_LAYER_COUNT; i++)
        tell_text(out, NULL, wall_layer_name((enum wall_layer)i));
    tell_close(out, ']');
    tell_close(out, '}');
}

static void put_kind(struct buf *out, const struct setting *t)
{
    switch (t->kind) {
    case KIND_NUMBER:
        tell_text(out, "type", "integer");
        setting_tell_bounds(out, t, "minimum", "maximum");
        break;
    case KIND_SIZE:
        put_size(out, t);
        break;
    case KIND_TIME:
        tell_raw(out, "type", "\"string\"");
        tell_text(out, "pattern", "^[0-9]+(ms|s|m|h|d)$");
        setting_tell_bounds(out, t, "x-moat-minimum", "x-moat-maximum");
        break;
    case KIND_LAYERS:
        put_layers(out);
        break;
    case KIND_LEVEL:
        put_texts(out, "enum", levels, sizeof levels / sizeof *levels);
        break;
    case KIND_URL:
        tell_text(out, "type", "string");
        tell_text(out, "pattern", "^$|^https?://[^/:@?#][^@?#]*$");
        tell_number(out, "maxLength", 999);
        break;
    case KIND_SERVERS:
        tell_text(out, "type", "string");
        tell_text(out, "pattern", "^[0-9A-Fa-f.:,\\[\\]]*$");
        tell_number(out, "maxLength", NET_SERVERS_MAX - 1);
        break;
    case KIND_ORIGINS:
        tell_text(out, "type", "array");
        tell_number(out, "maxItems", ORIGINS_MAX);
        tell_raw(out, "items", "{\"type\":\"string\",\"pattern\":\"^[a-z0-9+.-]+://[a-z0-9._:\\\\[\\\\]-]+$\"}");
        break;
    }
}

bool settings_schema(struct buf *out)
{
    tell_open(out, NULL, '{');
    tell_text(out, "$schema", "https://json-schema.org/draft/2020-12/schema");
    tell_text(out, "title", "Moat's settings");
    tell_text(out, "description",
              "Made from the table of settings: `moat help pages/settings`. Each key is set alone, "
              "with `moat settings set KEY VALUE` or PUT /api/settings/{key}.");
    tell_text(out, "type", "object");
    tell_flag(out, "additionalProperties", false);
    tell_open(out, "properties", '{');
    for (size_t i = 0; i < nsettings; i++) {
        const struct setting *t = &settings_table[i];
        struct setting_value usual = setting_fallback(t);
        tell_open(out, t->key, '{');
        tell_text(out, "description", t->about);
        put_kind(out, t);
        setting_tell(out, "default", t, &usual);
        tell_text(out, "x-moat-takes-effect", t->live ? "at once" : "at the next start");
        tell_close(out, '}');
    }
    tell_close(out, '}');
    tell_close(out, '}');
    return !out->failed;
}
