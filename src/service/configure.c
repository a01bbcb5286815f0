/* config get, config set: checked against the manifest's schema, taken by what runs, kept as a new revision. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"
#include "service/config.h"
#include "service/guard.h"
#include "service/tell.h"
#include "json/cursor.h"

struct config_op {
    struct op op;
    struct target target;
    char key[CONFIG_KEY_MAX + 1];
    struct buf text; /* the value; empty: the property is to have its default again */
    struct config before, after;
    struct manifest *manifest;
    bool live, guarded;
    struct loader_guard guard; /* of this change */
};

static void clear(struct op *op)
{
    struct config_op *c = (struct config_op *)op;
    if (c->text.data)
        explicit_bzero(c->text.data, c->text.cap);
    buf_free(&c->text);
    config_free(&c->before);
    config_free(&c->after);
    manifest_unref(c->manifest);
}

static int look(struct config_op *c, struct job *job, struct error *err)
{
    buf_auto text = BUF_INIT(2 * MANIFEST_MAX);
    struct registry_version v;
    int rc = version_find(job, &c->target, &v, &text, err);
    if (rc == 0)
        rc = manifest_parse(text.data, text.len, &c->manifest, err);
    return rc < 0 ? rc : config_read(job, c->target.name, &c->before, err);
}

/* ---- get ---- */

/* Only what may be shown, a name at a time; of a secret whether it is set. */
static void tell_secrets(struct config_op *c, const struct config *holds)
{
    struct buf *out = &c->op.result;
    json_t *schema = json_loads(c->manifest->config_json, JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, NULL), *one;
    const uint8_t *secret = cursor_root((const uint8_t *)buf_text(&holds->secret));
    const char *name;
    tell_open(out, "secrets", '[');
    json_object_foreach(json_object_get(schema, "properties"), name, one)
    {
        if (!config_is_secret(c->manifest, name))
            continue;
        tell_open(out, NULL, '{');
        tell_text(out, "name", name);
        tell_flag(out, "set", cursor_get(secret, name) != NULL);
        tell_close(out, '}');
    }
    tell_close(out, ']');
    json_decref(schema);
}

static int tell_config(struct config_op *c, const struct config *holds, uint64_t revision, struct error *err)
{
    struct buf *out = &c->op.result;
    buf_auto effective = BUF_INIT(4u << 20), nothing = BUF_INIT(16);
    buf_puts(&nothing, "{}");
    struct config shown = {.value = holds->value, .secret = nothing};
    struct error fault = {0};
    /* Without its secrets the text may not satisfy the schema; it is shown all the same. */
    config_effective(c->manifest, &shown, &effective, &fault);
    if (fault.code && fault.code != MOAT_E_BAD_PARAMETERS) {
        *err = fault;
        return -(int)fault.code;
    }
    tell_open(out, NULL, '{');
    tell_text(out, "name", c->target.name);
    tell_text(out, "version", c->manifest->version);
    tell_number(out, "revision", revision);
    tell_raw(out, "config", buf_text(&effective));
    tell_raw(out, "set", buf_text(&holds->value));
    tell_secrets(c, holds);
    tell_raw(out, "schema", c->manifest->config_json);
    if (revision == c->guard.revision)
        tell_guard(out, "guard", &c->guard);
    else
        tell_guard_of(out, "guard", c->op.s, c->target.name);
    tell_close(out, '}');
    return 0;
}

static void get(struct op *op, struct job *job)
{
    struct config_op *c = (struct config_op *)op;
    int rc = op->code;
    if (rc == 0)
        rc = look(c, job, &op->error);
    if (rc == 0)
        rc = tell_config(c, &c->before, c->before.revision, &op->error);
    op_end(op, rc);
}

/* ---- set ---- */

/* One member of the object before: replaced, added, or (text empty) taken out. */
static void change(struct buf *out, const struct buf *before, const char *key, const struct buf *text, bool here)
{
    const uint8_t *object = cursor_root((const uint8_t *)buf_text(before));
    struct cursor_member m;
    buf_putc(out, '{');
    while (cursor_next_member(&object, &m)) {
        if (cursor_text_is(m.name, key))
            continue;
        buf_puts(out, out->len > 1 ? "," : "");
        buf_put(out, m.name, cursor_length(m.name));
        buf_putc(out, ':');
        buf_put(out, m.value, cursor_length(m.value));
    }
    if (here && text->len)
        tell_raw(out, key, buf_text(text));
    buf_putc(out, '}');
}

/* What would hold, checked; the effective text goes to out. */
static int merge(struct config_op *c, struct buf *out, struct error *err)
{
    bool secret = config_is_secret(c->manifest, c->key);
    change(&c->after.value, &c->before.value, c->key, &c->text, !secret);
    change(&c->after.secret, &c->before.secret, c->key, &c->text, secret);
    if (c->after.value.failed || c->after.secret.failed || c->after.value.len + c->after.secret.len > CONFIG_MAX)
        return error_set(err, MOAT_E_TOO_LARGE, "a configuration has at most %u bytes", CONFIG_MAX);
    return config_effective(c->manifest, &c->after, out, err);
}

/* What the loader does with it: it may have found that there is nothing to compare with. */
static void take_guard(struct config_op *c)
{
    struct loader_guard *g = &c->guard, now;
    const char *why = c->live ? "nobody asked for it" : "it did not run: there is nothing to compare with";
    *g = (struct loader_guard){.revision = c->before.revision + 1, .state = c->live ? GUARD_OFF : GUARD_NONE};
    text_copy(g->why, sizeof g->why, why);
    bool is_it = c->guarded && loader_guard_status(c->op.s->loader, c->target.name, &now);
    if (is_it && now.revision == g->revision)
        *g = now;
}

static void record(struct op *op, struct job *job)
{
    struct config_op *c = (struct config_op *)op;
    take_guard(c);
    bool watched =
        c->guard.state != GUARD_OFF && c->guard.state != GUARD_NONE; /* its end is told, and recorded, later */
    struct registry_command command = {.verb = REGISTRY_CONFIGURE,
                                       .configure = {.name = c->target.name,
                                                     .value = buf_text(&c->after.value),
                                                     .secret = buf_text(&c->after.secret),
                                                     .expected = c->before.revision,
                                                     .base = c->guard.base,
                                                     .guard = watched ? "running" : guard_state_name(c->guard.state),
                                                     .why = watched ? "" : c->guard.why}};
    int rc = op->code;
    if (rc == 0) {
        rc = op_write(op, &command, &op->error);
        if (rc < 0 || !c->live)
            plan_define(job, c->target.name); /* of what runs with something that is not kept, nothing goes on */
    }
    if (rc == 0)
        rc = tell_config(c, &c->after, c->before.revision + 1, &op->error);
    op_end(op, rc);
}

/* A running plugin runs with it before it is recorded: what it does not take is not kept. A crash between the two ends
 * its workers with this process, and the next start gives them what is recorded: the old configuration. */
static int start(struct config_op *c, struct job *job, const struct buf *effective, struct error *err)
{
    struct plan p = {0};
    struct settings settings;
    int rc = settings_read(job->reader, &settings, err);
    if (rc == 0)
        rc = plan_make(job, c->target.name, NULL, PLAN_CODE, false, &p, err);
    if (rc == 0 && p.spec)
        rc = config_give(p.spec, effective, err);
    if (rc == 0 && p.spec) {
        c->live = true;
        c->guarded &= settings.config_guard != 0;
        const struct loader_guard_ask guard = {
            .revision = c->before.revision + 1, .base = c->before.revision, .window_ns = settings.config_guard};
        loader_configure(c->op.s->loader, c->target.name, p.spec, c->guarded ? &guard : NULL, op_loader_done,
                         op_wait(&c->op, record));
    }
    plan_clear(&p);
    return rc;
}

static void set(struct op *op, struct job *job)
{
    struct config_op *c = (struct config_op *)op;
    buf_auto effective = BUF_INIT(4u << 20);
    int rc = op->code;
    if (rc == 0)
        rc = look(c, job, &op->error);
    if (rc == 0)
        rc = merge(c, &effective, &op->error);
    if (rc == 0 && plugin_is_running(op->s, c->target.name))
        rc = start(c, job, &effective, &op->error);
    if (effective.data)
        explicit_bzero(effective.data, effective.cap);
    if (rc < 0)
        op_end(op, rc);
    else if (!c->live)
        op_then(op, record);
}

static struct config_op *new_op(struct service *s, const char *name, service_done done, void *context)
{
    struct config_op *c = op_new(s, sizeof *c, done, context);
    if (!c)
        return NULL;
    c->op.clear = clear;
    c->before = (struct config)CONFIG_INIT;
    c->after = (struct config)CONFIG_INIT;
    c->text = BUF_INIT(CONFIG_MAX);
    c->op.code = target_parse(name, false, &c->target, &c->op.error);
    return c;
}

void service_config_get(struct service *s, const char *name, service_done done, void *context)
{
    struct config_op *c = new_op(s, name, done, context);
    if (c)
        op_read(&c->op, get);
}

void service_config_set(struct service *s, const char *name, const char *key, const char *value_json_or_null,
                        bool guard, service_done done, void *context)
{
    struct config_op *c = new_op(s, name, done, context);
    if (!c)
        return;
    struct error *err = &c->op.error;
    c->guarded = guard;
    if (c->op.code == 0 && (!*key || !text_copy(c->key, sizeof c->key, key)))
        c->op.code = error_set(err, MOAT_E_BAD_REQUEST, "a configuration's key has 1 to %d bytes", CONFIG_KEY_MAX);
    if (c->op.code == 0 && value_json_or_null && !buf_puts(&c->text, value_json_or_null))
        c->op.code = error_set(err, MOAT_E_TOO_LARGE, "a configuration has at most %u bytes", CONFIG_MAX);
    op_begin(&c->op, c->op.code < 0 ? NULL : c->target.name, set);
}
