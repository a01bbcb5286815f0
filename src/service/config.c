#include "service/config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "service/tell.h"
#include "json/cursor.h"

void config_free(struct config *c)
{
    /* Secrets do not stay in memory that others get next. */
    if (c->secret.data)
        explicit_bzero(c->secret.data, c->secret.cap);
    buf_free(&c->value);
    buf_free(&c->secret);
}

int config_read(struct job *job, const char *name, struct config *out, struct error *err)
{
    int rc = registry_find_config(job->reader, name, &out->revision, &out->value, &out->secret, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    out->revision = 0;
    return buf_puts(&out->value, "{}") && buf_puts(&out->secret, "{}")
               ? 0
               : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the configuration of %s", name);
}

/* ---- which properties are secret ---- */

static bool says_secret(const json_t *value)
{
    const char *name;
    json_t *one;
    size_t i;
    if (json_is_object(value) && json_is_true(json_object_get(value, "secret")))
        return true;
    json_object_foreach((json_t *)(uintptr_t)value, name, one)
    {
        if (says_secret(one))
            return true;
    }
    json_array_foreach(value, i, one)
    {
        if (says_secret(one))
            return true;
    }
    return false;
}

bool config_is_secret(const struct manifest *m, const char *key)
{
    json_t *schema = json_loads(m->config_json, JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, NULL);
    json_t *property = json_incref(json_object_get(json_object_get(schema, "properties"), key));
    if (schema)
        json_object_del(schema, "properties");
    bool secret = !schema || says_secret(schema) || says_secret(property);
    json_decref(property);
    json_decref(schema);
    return secret;
}

/* ---- what holds ---- */

static bool has_member(const uint8_t *object, const uint8_t *name)
{
    char text[CONFIG_KEY_MAX + 1];
    return cursor_text(name, text, sizeof text) >= 0 && cursor_get(object, text);
}

/* Members of `layer` that neither of the two above has. */
static void put_layer(struct buf *out, const uint8_t *layer, const uint8_t *above, const uint8_t *top)
{
    struct cursor_member m;
    while (cursor_next_member(&layer, &m)) {
        if (has_member(above, m.name) || has_member(top, m.name))
            continue;
        buf_puts(out, out->len > 1 ? "," : "");
        buf_put(out, m.name, cursor_length(m.name));
        buf_putc(out, ':');
        buf_put(out, m.value, cursor_length(m.value));
    }
}

int config_effective(const struct manifest *m, const struct config *c, struct buf *out, struct error *err)
{
    buf_auto defaults = BUF_INIT(4u << 20);
    struct json_fault fault;
    buf_puts(&defaults, m->config_defaults); /* with what the cursor needs behind it */
    const uint8_t *value = cursor_root((const uint8_t *)buf_text(&c->value)),
                  *secret = cursor_root((const uint8_t *)buf_text(&c->secret));
    buf_putc(out, '{');
    put_layer(out, cursor_root((const uint8_t *)buf_text(&defaults)), value, secret);
    put_layer(out, value, secret, NULL);
    put_layer(out, secret, NULL, NULL);
    buf_putc(out, '}');
    if (out->failed || defaults.failed)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the configuration of %s", m->name);
    if (json_schema_check(m->config, out->data, out->len, &fault) == 0) {
        out->data[out->len] = 0;
        return 0;
    }
    return error_set(err, MOAT_E_BAD_PARAMETERS, "the configuration of %s %s: %s%s%s", m->name, m->version,
                     fault.pointer, *fault.pointer ? ": " : "", fault.reason);
}

int config_give(struct spec *spec, const struct buf *effective, struct error *err)
{
    char *copy = strdup(buf_text(effective));
    if (!copy)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the configuration");
    free(spec->config);
    spec->config = copy;
    spec->config_len = effective->len;
    return 0;
}

int config_apply(struct job *job, const char *name, struct spec *spec, struct error *err)
{
    struct config c = CONFIG_INIT;
    buf_auto effective = BUF_INIT(4u << 20);
    int rc = config_read(job, name, &c, err);
    if (rc == 0 && c.revision) {
        rc = config_effective(spec->manifest, &c, &effective, err);
        if (rc == 0)
            rc = config_give(spec, &effective, err);
        if (effective.data)
            explicit_bzero(effective.data, effective.cap);
    }
    config_free(&c);
    if (rc == -MOAT_E_BAD_PARAMETERS && err) {
        char why[ERROR_MESSAGE_MAX];
        snprintf(why, sizeof why, "%s", err->message);
        rc = error_set(err, MOAT_E_WRONG_STATE, "%.800s: `moat config set %s KEY VALUE` mends it", why, name);
    }
    return rc;
}

int config_split(const struct manifest *m, const uint8_t *object, bool secrets, struct config *out, struct error *err)
{
    struct cursor_member member;
    char key[CONFIG_KEY_MAX + 1];
    buf_putc(&out->value, '{');
    buf_putc(&out->secret, '{');
    while (object && cursor_next_member(&object, &member)) {
        if (cursor_text(member.name, key, sizeof key) < 0)
            return error_set(err, MOAT_E_BAD_PARAMETERS, "a configuration's key has at most %d bytes", CONFIG_KEY_MAX);
        bool secret = config_is_secret(m, key);
        if (secret && !secrets)
            return error_set(err, MOAT_E_BAD_PARAMETERS,
                             "`%s` is a secret: `moat config set %s %s -` takes it from "
                             "standard input",
                             key, m->name, key);
        struct buf *to = secret ? &out->secret : &out->value;
        buf_puts(to, to->len > 1 ? "," : "");
        text_json_string(to, key);
        buf_putc(to, ':');
        buf_put(to, member.value, cursor_length(member.value));
    }
    buf_putc(&out->value, '}');
    buf_putc(&out->secret, '}');
    if (out->value.failed || out->secret.failed)
        return error_set(err, MOAT_E_TOO_LARGE, "a configuration has at most %u bytes", CONFIG_MAX);
    return 0;
}
