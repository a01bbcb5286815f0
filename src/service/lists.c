/* Lists over many plugins: available, loaded, capabilities, permissions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/figures.h"
#include "service/internal.h"
#include "service/tell.h"

#define LIMIT_DEFAULT 100

struct list_op {
    struct op op;
    struct registry_filter filter;
    char publisher[REGISTRY_PUBLISHER_MAX + 1], after[REGISTRY_NAME_MAX + 1];
    char *text;
    unsigned limit, count;
    char last[REGISTRY_NAME_MAX + 1];
    bool more;
};

static void clear(struct op *op)
{
    free(((struct list_op *)op)->text);
}

/* ---- available ---- */

static void tell_loading(struct buf *out, struct service *s, const char *name)
{
    struct loader_status *status = malloc(sizeof *status);
    bool known = status && loader_status(s->loader, name, status);
    tell_text(out, "loading", loader_state_name(known ? status->state : STATE_UNLOADED));
    tell_text(out, "health_status", health_name(known ? status->health : HEALTH_UNKNOWN));
    free(status);
}

static void tell_mask(struct buf *out, const char *key, uint32_t mask, int count, const char *(*name)(int))
{
    tell_open(out, key, '[');
    for (int i = 0; i < count; i++)
        if (mask >> i & 1)
            tell_text(out, NULL, name(i));
    tell_close(out, ']');
}

static const char *capability_by_number(int i)
{
    return capability_name((enum capability)i);
}

static uint32_t asked_for(const struct manifest *m)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < m->nasks; i++)
        mask |= 1u << m->asks[i].permission;
    return mask;
}

static const char *permission_by_number(int i)
{
    return permission_name((enum permission)i);
}

static bool tell_available(void *context, const struct registry_plugin *p, const struct registry_version *v,
                           const char *text, size_t len)
{
    struct list_op *l = context;
    struct buf *out = &l->op.result;
    if (l->count == l->limit) {
        l->more = true;
        return false;
    }
    l->count++;
    memcpy(l->last, p->name, sizeof l->last);
    buf_auto copy = BUF_INIT(2 * MANIFEST_MAX);
    struct manifest *m = NULL;
    bool readable = buf_put(&copy, text, len) && manifest_parse(copy.data, copy.len, &m, NULL) == 0;
    tell_open(out, NULL, '{');
    tell_text(out, "name", p->name);
    tell_text(out, "version", v->version);
    tell_text(out, "state", registry_state_name(v->state));
    tell_number(out, "versions", p->versions);
    tell_text(out, "publisher", p->owner);
    tell_text(out, "status", p->active ? "active" : "inactive");
    tell_text(out, "author", readable && m->author ? m->author : "");
    tell_text(out, "description", readable && m->description ? m->description : "");
    tell_mask(out, "capabilities", readable ? m->capabilities : 0, CAPABILITY_COUNT, capability_by_number);
    tell_mask(out, "permissions", readable ? asked_for(m) : 0, PERMISSION_COUNT, permission_by_number);
    tell_loading(out, l->op.s, p->name);
    tell_close(out, '}');
    manifest_unref(m);
    return !out->failed;
}

static void available(struct op *op, struct job *job)
{
    struct list_op *l = (struct list_op *)op;
    int rc = op->code;
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "plugins", '[');
    if (rc == 0)
        rc = registry_each_plugin(job->reader, &l->filter, tell_available, l, &op->error);
    tell_close(&op->result, ']');
    tell_text(&op->result, "next", l->more ? l->last : NULL);
    tell_close(&op->result, '}');
    op_end(op, rc);
}

static int parse_word(const char *text, const char *what, int (*parse)(const char *), uint32_t *mask, struct error *err)
{
    if (!text)
        return 0;
    int n = parse(text);
    if (n < 0)
        return error_set(err, MOAT_E_BAD_REQUEST, "\"%.64s\" is no %s", text, what);
    *mask = 1u << n;
    return 0;
}

static int parse_filter(struct list_op *l, const struct service_filter *f)
{
    struct error *err = &l->op.error;
    l->filter.active = -1;
    l->limit = f->limit ? f->limit : LIMIT_DEFAULT;
    int rc = parse_word(f->capability, "capability", capability_parse, &l->filter.capabilities, err);
    if (rc == 0)
        rc = parse_word(f->permission, "permission", permission_parse, &l->filter.permissions, err);
    if (rc < 0)
        return rc;
    if (f->status && strcmp(f->status, "active") != 0 && strcmp(f->status, "inactive") != 0)
        return error_set(err, MOAT_E_BAD_REQUEST, "status is active or inactive, not \"%.64s\"", f->status);
    if (f->status)
        l->filter.active = strcmp(f->status, "active") == 0;
    if (f->publisher) {
        snprintf(l->publisher, sizeof l->publisher, "%s", f->publisher);
        l->filter.publisher = l->publisher;
    }
    if (f->after) {
        snprintf(l->after, sizeof l->after, "%s", f->after);
        l->filter.after = l->after;
    }
    l->text = f->q ? strdup(f->q) : NULL;
    if (f->q && !l->text)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the search");
    l->filter.text = l->text && *l->text ? l->text : NULL;
    return 0;
}

void service_available(struct service *s, const struct service_filter *filter, service_done done, void *context)
{
    static const struct service_filter everything;
    struct list_op *l = op_new(s, sizeof *l, done, context);
    if (!l)
        return;
    l->op.clear = clear;
    l->op.code = parse_filter(l, filter ? filter : &everything);
    op_read(&l->op, available);
}

/* ---- loaded ---- */

static void tell_loaded(void *context, const struct loader_status *s)
{
    struct buf *out = context;
    if (!s->workers && (s->state == STATE_UNLOADED || s->state == STATE_NEEDS_GRANT))
        return;
    tell_open(out, NULL, '{');
    tell_text(out, "name", s->name);
    tell_text(out, "version", s->version);
    tell_text(out, "loading", loader_state_name(s->state));
    tell_text(out, "health_status", health_name(s->health));
    tell_number(out, "workers", s->workers);
    if (s->first_pid > 0)
        tell_number(out, "pid", (uint64_t)s->first_pid);
    tell_number(out, "execution_count", s->executions);
    tell_number(out, "error_count", s->errors);
    tell_number(out, "restarts", s->restarts);
    tell_number(out, "queued", s->queued);
    tell_number(out, "in_flight", s->in_flight);
    tell_number(out, "cpu_ns", s->cpu_ns);
    tell_number(out, "memory", s->memory);
    tell_number(out, "peak_memory", s->peak_memory);
    tell_spread(out, "latency", &s->runs);
    tell_number(out, "denials", s->denials);
    tell_number(out, "lines_dropped", s->lines_dropped);
    tell_close(out, '}');
}

static void loaded(struct op *op, struct job *job)
{
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "plugins", '[');
    loader_each(op->s->loader, tell_loaded, &op->result);
    tell_close(&op->result, ']');
    tell_close(&op->result, '}');
    op_end(op, 0);
}

void service_loaded(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_read(op, loaded);
}

/* ---- the two vocabularies, with who has which word ---- */

static bool tell_name(void *context, const struct registry_plugin *p, const struct registry_version *v,
                      const char *text, size_t len)
{
    tell_text(context, NULL, p->name);
    return true;
}

static int tell_word(struct op *op, struct job *job, const char *name, const char *about, uint32_t capabilities,
                     uint32_t permissions)
{
    struct registry_filter with = {.active = -1, .capabilities = capabilities, .permissions = permissions};
    tell_open(&op->result, NULL, '{');
    tell_text(&op->result, "name", name);
    tell_text(&op->result, "description", about);
    tell_open(&op->result, "plugins", '[');
    int rc = registry_each_plugin(job->reader, &with, tell_name, &op->result, &op->error);
    tell_close(&op->result, ']');
    tell_close(&op->result, '}');
    return rc;
}

static void capabilities(struct op *op, struct job *job)
{
    int rc = 0;
    tell_open(&op->result, NULL, '[');
    for (int i = 0; i < CAPABILITY_COUNT && rc == 0; i++)
        rc = tell_word(op, job, capability_name((enum capability)i), capability_about((enum capability)i), 1u << i, 0);
    tell_close(&op->result, ']');
    op_end(op, rc);
}

static void permissions(struct op *op, struct job *job)
{
    int rc = 0;
    tell_open(&op->result, NULL, '[');
    for (int i = 0; i < PERMISSION_COUNT && rc == 0; i++)
        rc = tell_word(op, job, permission_name((enum permission)i), permission_about((enum permission)i), 0, 1u << i);
    tell_close(&op->result, ']');
    op_end(op, rc);
}

void service_capabilities(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_read(op, capabilities);
}

void service_permissions(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_read(op, permissions);
}
