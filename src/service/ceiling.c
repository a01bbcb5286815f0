/* ceiling set, list, remove: what somebody can never get.  Holds every name's key while it changes one, so that no
 * plugin starts by what held before. */
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "service/canary.h"
#include "service/internal.h"
#include "service/tell.h"

struct ceiling_op {
    struct op op;
    struct ceiling ceiling;
    bool remove;
    struct decisions before, after;
    struct buf stopped; /* names that have less now, or (remove) more, as a JSON array */
};

static void clear(struct op *op)
{
    struct ceiling_op *c = (struct ceiling_op *)op;
    decisions_free(&c->before);
    decisions_free(&c->after);
    buf_free(&c->stopped);
}

/* ---- telling ---- */

static void tell_ceiling(struct buf *out, const char *subject, int permission, const char *scope, uint64_t set_at)
{
    bool known = permission >= 0 && permission < PERMISSION_COUNT;
    tell_text(out, "subject", subject);
    tell_text(out, "permission", known ? permission_name((enum permission)permission) : "unknown");
    tell_text(out, "scope", scope);
    if (set_at)
        tell_seconds(out, "set_at", set_at);
}

static bool tell_row(void *context, const struct registry_ceiling *c)
{
    struct buf *out = context;
    tell_open(out, NULL, '{');
    tell_ceiling(out, c->subject, c->permission, c->scope, c->set_at);
    tell_close(out, '}');
    return true;
}

static void list(struct op *op, struct job *job)
{
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "ceilings", '[');
    int rc = registry_each_ceiling(job->reader, tell_row, &op->result, &op->error);
    tell_close(&op->result, ']');
    tell_close(&op->result, '}');
    op_end(op, rc);
}

void service_ceiling_list(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_read(op, list);
}

/* ---- changing ---- */

static int write_it(struct ceiling_op *c)
{
    char subject[80];
    ceiling_subject(&c->ceiling, subject);
    struct registry_command command = {.verb = c->remove ? REGISTRY_CEILING_REMOVE : REGISTRY_CEILING_SET,
                                       .ceiling = {.subject = subject,
                                                   .scope = c->ceiling.never.scope,
                                                   .permission = (int)c->ceiling.never.permission}};
    return op_write(&c->op, &command, &c->op.error);
}

/* What runs is replaced without losing a call. A start that fails leaves it as it is, with less than it may. */
static void follow_again(struct service *s, struct job *job, const char *name)
{
    struct plan p = {0};
    struct error err;
    if (!plugin_is_running(s, name)) {
        plan_define(job, name);
        return;
    }
    int rc = plan_make(job, name, NULL, PLAN_CODE, false, &p, &err);
    if (rc == 0)
        rc = plan_set_wait(s, name, &p, LOADER_START, &err);
    plan_clear(&p);
    if (rc < 0)
        log_event(LOG_WARN, "ceiling_removed", "plugin", name, "why_not_replaced", err.message, NULL);
}

/* One plugin: its own rows of both lists, and what follows from them. */
static int follow_one(struct ceiling_op *c, struct job *job, const char *name, size_t from, size_t count)
{
    struct service *s = c->op.s;
    struct decisions before = c->before, after = c->after;
    struct policy_answer was, is;
    struct manifest *m = NULL;
    struct error none;
    char publisher[REGISTRY_PUBLISHER_MAX + 1], version[MANIFEST_VERSION_MAX + 1];
    before.list += from;
    after.list += from;
    before.count = after.count = count;
    int rc = current_manifest(job, name, &m, publisher, &none);
    if (rc < 0) /* what cannot be read cannot be compared: it gets nothing back, and does not go on */
        return c->remove || nothing_can_run(rc) ? 0 : follow_less(s, job, name, NULL, NULL, NULL, &c->op.error);
    decisions_answer(m, publisher, &before, &was);
    decisions_answer(m, publisher, &after, &is);
    text_copy(version, sizeof version, m->version);
    manifest_unref(m);
    if (answer_same(&was, &is)) /* but a canary may hold what the current version does not ask for */
        return c->remove ? 0 : canary_end(s, name, NULL, true, "a ceiling was set", &c->op.error);
    tell_text(&c->stopped, NULL, name);
    if (!c->remove)
        return follow_less(s, job, name, version, &was, &is, &c->op.error);
    rights_set(s, name, version, &is);
    if (!answer_same_workers(&was, &is) || was.ready != is.ready)
        follow_again(s, job, name);
    return 0;
}

/* All of them, whatever becomes of one; the first error is the answer. */
static int follow_all(struct ceiling_op *c, struct job *job)
{
    int first = 0;
    const struct registry_decision *list = c->after.list;
    struct error err = {0};
    for (size_t i = 0, n; i < c->after.count; i += n) {
        for (n = 1; i + n < c->after.count && strcmp(list[i].name, list[i + n].name) == 0; n++)
            ;
        int rc = follow_one(c, job, list[i].name, i, n);
        if (rc < 0 && first == 0) {
            first = rc;
            err = c->op.error;
        }
    }
    if (first < 0)
        c->op.error = err;
    return first;
}

static void change(struct op *op, struct job *job)
{
    struct ceiling_op *c = (struct ceiling_op *)op;
    struct buf *out = &op->result;
    char subject[80];
    int rc = op->code;
    if (rc == 0)
        rc = decisions_read(job, NULL, &c->before, &op->error);
    if (rc == 0)
        rc = write_it(c);
    if (rc == 0)
        rc = decisions_read(job, NULL, &c->after, &op->error);
    tell_open(&c->stopped, NULL, '[');
    if (rc == 0 && c->before.count == c->after.count)
        rc = follow_all(c, job);
    tell_close(&c->stopped, ']');
    if (rc == 0) {
        ceiling_subject(&c->ceiling, subject);
        tell_open(out, NULL, '{');
        tell_ceiling(out, subject, (int)c->ceiling.never.permission, c->ceiling.never.scope, 0);
        tell_raw(out, c->remove ? "have_more" : "have_less", buf_text(&c->stopped));
        tell_close(out, '}');
    }
    op_end(op, rc);
}

static void begin(struct service *s, const char *subject, const char *never, bool remove, service_done done,
                  void *context)
{
    struct ceiling_op *c = op_new(s, sizeof *c, done, context);
    if (!c)
        return;
    c->op.clear = clear;
    c->remove = remove;
    c->stopped = BUF_INIT(JOBS_RESULT_MAX / 2);
    c->op.code = ceiling_parse(subject, never, &c->ceiling, &c->op.error);
    op_begin(&c->op, c->op.code < 0 ? NULL : JOBS_ALL, change);
}

void service_ceiling_set(struct service *s, const char *subject, const char *never, service_done done, void *context)
{
    begin(s, subject, never, false, done, context);
}

void service_ceiling_remove(struct service *s, const char *subject, const char *never, service_done done, void *context)
{
    begin(s, subject, never, true, done, context);
}
