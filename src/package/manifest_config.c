/* The configuration: its schema, and the object of defaults that a plugin starts with until somebody sets more. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "package/manifest_internal.h"

#define DEFAULTS_MAX (1024 * 1024)

/* Appends the default of what a schema describes: its own, or else an object of its properties' defaults.  false when
 * there is none; out is then as it was.  Recursion ends with the text's nesting, which src/json bounds. */
static bool put_default(json_t *schema, struct slice text, struct buf *out)
{
    struct slice found, members;
    json_t *properties = json_object_get(schema, "properties"), *property;
    if (reader_slice(schema, text, "default", &found))
        return buf_put(out, found.text, found.len);
    if (!json_is_object(properties) || !reader_slice(schema, text, "properties", &members))
        return false;
    size_t before = out->len, place = 0, count = 0;
    const char *name;
    buf_putc(out, '{');
    json_object_foreach(properties, name, property)
    {
        size_t start = out->len;
        buf_puts(out, count ? "," : "");
        text_json_string(out, name);
        buf_putc(out, ':');
        if (put_default(property, slice_member(members, place++), out))
            count++;
        else if (!out->failed)
            out->len = start;
    }
    buf_putc(out, '}');
    if (count == 0 && !out->failed)
        out->len = before;
    return count > 0;
}

/* A secret comes from the operator, through standard input; one that stands in a package is none. */
static int check_secrets(struct reader *r, json_t *schema)
{
    json_t *property;
    const char *name;
    int rc = 0;
    json_object_foreach(json_object_get(schema, "properties"), name, property)
    {
        char pointer[JSON_POINTER_MAX];
        snprintf(pointer, sizeof pointer, "/config/properties/%.200s", name);
        if (rc == 0 && json_is_true(json_object_get(property, "secret")) && json_object_get(property, "default"))
            rc = reader_refuse(r, pointer, "a secret has no default");
    }
    return rc;
}

static int check_defaults(struct reader *r, const char *defaults)
{
    buf_auto copy = BUF_INIT(DEFAULTS_MAX);
    struct json_fault fault;
    if (!buf_puts(&copy, defaults))
        return error_set(r->err, MOAT_E_OUT_OF_MEMORY, "no memory for the manifest");
    if (json_schema_check(r->m->config, copy.data, copy.len, &fault) == 0)
        return 0;
    return reader_refuse(r, "/config",
                         "the defaults do not satisfy the schema: %s%s%s (give each required property a default, or "
                         "do not require it)",
                         fault.pointer, *fault.pointer ? ": " : "", fault.reason);
}

static int read_defaults(struct reader *r, json_t *schema, struct slice text)
{
    buf_auto defaults = BUF_INIT(DEFAULTS_MAX);
    if (!put_default(schema, text, &defaults))
        buf_puts(&defaults, "{}");
    if (defaults.failed)
        return reader_refuse(r, "/config", "the defaults are too large");
    char *kept = reader_keep(r, defaults.len + 1, 1);
    if (!kept)
        return -MOAT_E_OUT_OF_MEMORY;
    memcpy(kept, defaults.data, defaults.len);
    r->m->config_defaults = kept;
    return check_defaults(r, kept);
}

int manifest_read_config(struct reader *r)
{
    json_t *schema = json_object_get(r->holder->root, "config");
    struct slice text;
    if (!reader_slice(r->holder->root, r->text, "config", &text)) {
        r->m->config_defaults = "{}";
        return reader_schema(r, (struct slice){"{}", 2}, "/config", &r->m->config_json, &r->m->config);
    }
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (!type || strcmp(type, "object") != 0)
        return reader_refuse(r, "/config", "the configuration's schema needs \"type\": \"object\"");
    int rc = reader_schema(r, text, "/config", &r->m->config_json, &r->m->config);
    if (rc == 0)
        rc = check_secrets(r, schema);
    return rc || !r->m->config ? rc : read_defaults(r, schema, text);
}
