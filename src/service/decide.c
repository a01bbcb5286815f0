/* grant, refuse, revoke, grants: the decision is recorded first; then what runs is made to follow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/install.h"
#include "service/programs.h"
#include "service/tell.h"

struct decide_op {
    struct op op;
    struct target target;
    char *text, *span;
    struct manifest *manifest; /* of the current version */
    char publisher[REGISTRY_PUBLISHER_MAX + 1];
    struct decisions before, after, removed;
    struct policy_answer was, is;
    struct grant grant;
    int64_t held; /* by the place of a grant of file_write */
    bool bare;    /* every grant of the permission */
};

static void clear(struct op *op)
{
    struct decide_op *d = (struct decide_op *)op;
    free(d->text);
    free(d->span);
    manifest_unref(d->manifest);
    decisions_free(&d->before);
    decisions_free(&d->after);
    decisions_free(&d->removed);
}

static void begin(struct service *s, const char *name, const char *text, const char *span, op_step step,
                  service_done done, void *context)
{
    struct decide_op *d = op_new(s, sizeof *d, done, context);
    if (!d)
        return;
    d->op.clear = clear;
    d->text = strdup(text ? text : "");
    d->span = span ? strdup(span) : NULL;
    d->op.code = d->text && (d->span || !span)
                     ? target_parse(name, false, &d->target, &d->op.error)
                     : error_set(&d->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for the decision");
    op_begin(&d->op, d->op.code < 0 ? NULL : d->target.name, step);
}

/* ---- before and after ---- */

static int read_before(struct decide_op *d, struct job *job)
{
    int rc = d->op.code;
    if (rc == 0)
        rc = current_manifest(job, d->target.name, &d->manifest, d->publisher, &d->op.error);
    if (rc == 0)
        rc = decisions_read(job, d->target.name, &d->before, &d->op.error);
    if (rc == 0)
        decisions_answer(d->manifest, d->publisher, &d->before, &d->was);
    return rc;
}

static int write_one(struct decide_op *d, struct job *job, bool refused, uint64_t until)
{
    struct registry_decision one = {
        .permission = (int)d->grant.permission, .refused = refused, .until = until, .held = d->held};
    memcpy(one.scope, d->grant.scope, sizeof one.scope);
    struct registry_command c = {.verb = REGISTRY_DECIDE, .decide = {.name = d->target.name, .list = &one, .count = 1}};
    return op_write(&d->op, &c, &d->op.error);
}

static int read_after(struct decide_op *d, struct job *job)
{
    int rc = decisions_read(job, d->target.name, &d->after, &d->op.error);
    if (rc == 0)
        decisions_answer(d->manifest, d->publisher, &d->after, &d->is);
    return rc;
}

/* ---- the answer ---- */

static void tell_decided(struct decide_op *d)
{
    struct buf *out = &d->op.result;
    tell_open(out, NULL, '{');
    tell_text(out, "name", d->target.name);
    tell_permissions(out, "permissions", d->manifest, &d->is, &d->after);
    tell_needs_grant(out, "needs_grant", d->manifest, &d->is);
    tell_unasked(out, "not_asked_for", d->manifest, d->after.list, d->after.count);
    tell_close(out, '}');
}

static void followed(struct op *op, struct job *job)
{
    if (op->code == 0)
        tell_decided((struct decide_op *)op);
    op_end(op, op->code);
}

/* ---- what runs follows ---- */

/* Workers that hold less than they may now are replaced without losing a call. */
static void follow_more(struct decide_op *d, struct job *job)
{
    struct op *op = &d->op;
    const char *name = d->target.name;
    struct plan p = {0};
    rights_set(op->s, name, d->manifest->version, &d->is);
    if (!plugin_is_running(op->s, name) || answer_same_workers(&d->was, &d->is)) {
        if (!plugin_is_running(op->s, name))
            plan_define(job, name);
        tell_decided(d);
        op_end(op, 0);
        return;
    }
    int rc = plan_make(job, name, NULL, PLAN_CODE, false, &p, &op->error);
    if (rc < 0) {
        error_prefix(&op->error, "the decision is recorded, but %s could not follow it", name);
        op_end(op, rc);
        return;
    }
    plan_set(op->s, name, &p, LOADER_START, op_loader_done, op_wait(op, followed));
    plan_clear(&p);
}

/* Is any part of g still there by one of these? A place that may be written may be read. */
static const struct grant *left_of(const struct grant *g, const struct policy_answer *is)
{
    for (size_t i = 0; i < is->ngrants; i++) {
        struct grant other = is->grants[i];
        if (g->permission == PERMISSION_FILE_READ)
            grant_reading(&is->grants[i], &other);
        if (grant_covers(&other, g) || grant_covers(g, &other))
            return &is->grants[i];
    }
    return NULL;
}

static int check_nothing_left(struct decide_op *d)
{
    const struct grant *left = d->bare ? NULL : left_of(&d->grant, &d->is);
    for (size_t i = 0; d->bare && !left && i < d->removed.count; i++) {
        struct grant g = {.permission = (enum permission)d->removed.list[i].permission};
        memcpy(g.scope, d->removed.list[i].scope, sizeof g.scope);
        left = left_of(&g, &d->is);
    }
    if (!left)
        return 0;
    char text[POLICY_SCOPE_MAX + 64], advice[POLICY_COMMAND_MAX + 2];
    grant_format(left, text, sizeof text);
    grant_advice("revoke", d->target.name, left, advice);
    return error_set(&d->op.error, MOAT_E_REVOKE_INCOMPLETE, "part of it is still granted by %.200s: %s", text, advice);
}

static int follow_it(struct decide_op *d, struct job *job)
{
    return follow_less(d->op.s, job, d->target.name, d->manifest->version, &d->was, &d->is, &d->op.error);
}

/* ---- grant, refuse ---- */

/* A program of the package, by a name that the package does not know, would be granted and never run. */
static int is_shipped(struct decide_op *d)
{
    const char *scope = d->grant.scope;
    if (d->grant.permission != PERMISSION_EXECUTE_CODE || !*scope || *scope == '/' ||
        programs_are_shipped(d->manifest, scope))
        return 0;
    return error_set(&d->op.error, MOAT_E_NO_SUCH_FILE,
                     "the package of %s ships no program %.200s; one of this machine has an absolute path",
                     d->target.name, scope);
}

static void grant(struct op *op, struct job *job)
{
    struct decide_op *d = (struct decide_op *)op;
    uint64_t until;
    int rc = read_before(d, job);
    if (rc == 0)
        rc = grant_parse(d->text, &d->grant, &op->error);
    if (rc == 0)
        rc = decision_until(op->s, d->span, &until, &op->error);
    if (rc == 0)
        rc = is_shipped(d);
    if (rc == 0)
        rc = grant_settle(&d->grant, &op->error);
    if (rc == 0)
        rc = grants_fit(&d->before, &d->grant, d->target.name, &op->error);
    if (rc == 0)
        rc = grant_check(&d->grant, &d->was, &op->error);
    if (rc == 0)
        rc = grant_not_shorter(&d->grant, until, &d->before, d->target.name, &op->error);
    if (rc == 0)
        rc = quota_weigh(&d->grant, &d->was, &d->held, &op->error);
    if (rc == 0)
        rc = write_one(d, job, false, until);
    if (rc == 0)
        rc = read_after(d, job);
    if (rc == 0)
        expiry_note(op->s, until);
    if (rc < 0)
        op_end(op, rc);
    else
        follow_more(d, job);
}

void service_grant(struct service *s, const char *name, const char *text, const char *for_or_null, service_done done,
                   void *context)
{
    begin(s, name, text, for_or_null, grant, done, context);
}

static int parse_permission(struct decide_op *d)
{
    int permission = permission_parse(d->text);
    if (permission < 0)
        return error_set(&d->op.error, MOAT_E_BAD_USAGE, "\"%.64s\" is no permission: `moat permissions` lists them",
                         d->text);
    d->grant = (struct grant){.permission = (enum permission)permission};
    d->held = REGISTRY_UNWEIGHED;
    return 0;
}

static void refuse(struct op *op, struct job *job)
{
    struct decide_op *d = (struct decide_op *)op;
    int rc = read_before(d, job);
    if (rc == 0)
        rc = parse_permission(d);
    if (rc == 0)
        rc = write_one(d, job, true, 0);
    if (rc == 0)
        rc = read_after(d, job);
    if (rc == 0)
        rc = follow_it(d, job);
    if (rc == 0)
        tell_decided(d);
    op_end(op, rc);
}

void service_refuse(struct service *s, const char *name, const char *permission, service_done done, void *context)
{
    begin(s, name, permission, NULL, refuse, done, context);
}

/* ---- revoke ---- */

/* A bare permission means every grant of it; otherwise what the text covers. */
static int parse_revoke(struct decide_op *d)
{
    d->bare = !strchr(d->text, '=') && permission_parse(d->text) >= 0;
    return d->bare ? parse_permission(d) : grant_parse(d->text, &d->grant, &d->op.error);
}

static int add_removed(struct decide_op *d, const struct grant *what)
{
    int rc = 0;
    for (size_t i = 0; i < d->before.count && rc == 0; i++) {
        const struct registry_decision *r = &d->before.list[i];
        struct grant g = {.permission = (enum permission)r->permission};
        memcpy(g.scope, r->scope, sizeof g.scope);
        if (r->permission != (int)what->permission || r->refused)
            continue;
        if (d->bare || grant_equal(what, &g) || grant_covers(what, &g))
            rc = decisions_add(&d->removed, r, &d->op.error);
    }
    return rc;
}

/* By the path that it has, or by a link that leads there, as it may have been granted. */
static int find_removed(struct decide_op *d)
{
    struct grant settled = d->grant;
    int rc = add_removed(d, &d->grant);
    if (rc == 0 && !d->removed.count && grant_settle(&settled, NULL) == 0 && !grant_equal(&settled, &d->grant)) {
        rc = add_removed(d, &settled);
        if (d->removed.count)
            d->grant = settled;
    }
    if (rc == 0 && !d->removed.count && !left_of(&d->grant, &d->was))
        rc = error_set(&d->op.error, MOAT_E_NOT_FOUND, "%s has no grant %.300s: `moat grants %s`", d->target.name,
                       d->text, d->target.name);
    return rc;
}

static void revoke(struct op *op, struct job *job)
{
    struct decide_op *d = (struct decide_op *)op;
    int rc = read_before(d, job);
    if (rc == 0)
        rc = parse_revoke(d);
    if (rc == 0)
        rc = find_removed(d);
    struct registry_command c = {
        .verb = REGISTRY_UNDECIDE,
        .undecide = {.name = d->target.name, .list = d->removed.list, .count = d->removed.count}};
    if (rc == 0 && d->removed.count)
        rc = op_write(op, &c, &op->error);
    if (rc == 0)
        rc = read_after(d, job);
    if (rc == 0)
        rc = follow_it(d, job);
    if (rc == 0)
        rc = check_nothing_left(d);
    if (rc == 0)
        tell_decided(d);
    op_end(op, rc);
}

void service_revoke(struct service *s, const char *name, const char *text, service_done done, void *context)
{
    begin(s, name, text, NULL, revoke, done, context);
}

/* ---- grants ---- */

struct listing {
    struct buf *out;
    struct job *job;
    const struct decisions *all;
    struct manifest *manifest; /* of the plugin that is told of */
    char publisher[REGISTRY_PUBLISHER_MAX + 1];
};

static bool asked_for(const struct manifest *m, int permission, bool *required)
{
    for (size_t i = 0; m && i < m->nasks; i++) {
        if ((int)m->asks[i].permission != permission)
            continue;
        *required = m->asks[i].required;
        return true;
    }
    return false;
}

static void tell_decision(struct listing *l, const struct registry_decision *d)
{
    bool required = false, known = d->permission >= 0 && d->permission < PERMISSION_COUNT;
    bool asked = asked_for(l->manifest, d->permission, &required);
    enum policy_reason why =
        l->manifest ? decisions_judge(l->manifest, l->publisher, l->all, d) : POLICY_NOT_ASKED; /* by nothing */
    tell_open(l->out, NULL, '{');
    tell_text(l->out, "plugin", d->name);
    tell_text(l->out, "permission", known ? permission_name((enum permission)d->permission) : "unknown");
    tell_text(l->out, "scope", d->scope);
    tell_text(l->out, "decision", d->refused ? "refused" : "granted");
    tell_flag(l->out, "asked", asked);
    tell_flag(l->out, "required", required);
    tell_flag(l->out, "in_force", why == POLICY_GRANTED);
    tell_text(l->out, "reason", policy_reason_name(why));
    tell_until(l->out, "until", l->all, d->until);
    tell_seconds(l->out, "decided_at", d->decided_at);
    tell_close(l->out, '}');
}

static int tell_plugin(struct listing *l, const char *name, struct error *err)
{
    struct error none;
    manifest_unref(l->manifest);
    l->manifest = NULL;
    /* Uninstalled, or nothing of it is current: its decisions are shown all the same. */
    int rc = current_manifest(l->job, name, &l->manifest, l->publisher, &none);
    if (rc < 0 && !nothing_can_run(rc)) {
        *err = none;
        return rc;
    }
    for (size_t i = 0; i < l->all->count; i++)
        if (strcmp(l->all->list[i].name, name) == 0)
            tell_decision(l, &l->all->list[i]);
    return 0;
}

static void tell_undecided(struct decide_op *d, struct job *job, struct buf *out)
{
    struct policy_answer a;
    if (!d->manifest)
        return;
    decisions_answer(d->manifest, d->publisher, &d->before, &a);
    tell_permissions(out, "permissions", d->manifest, &a, &d->before);
    tell_needs_grant(out, "needs_grant", d->manifest, &a);
}

/* ---- what a plugin reaches through others ---- */

struct reach {
    struct job *job;
    char names[256][REGISTRY_NAME_MAX + 1]; /* in the order they were found; the first is the plugin itself */
    size_t count;
    bool more, any; /* any: one of them may call every plugin */
};

static void reach_add(struct reach *r, const char *name, size_t len)
{
    for (size_t i = 0; i < r->count; i++)
        if (strncmp(r->names[i], name, len) == 0 && r->names[i][len] == '\0')
            return;
    if (len > REGISTRY_NAME_MAX || r->count == sizeof r->names / sizeof *r->names) {
        r->more = true;
        return;
    }
    memcpy(r->names[r->count], name, len);
    r->names[r->count++][len] = '\0';
}

/* Along the grants of agent_control that hold. What is not installed leads nowhere. */
static int reach_from(struct reach *r, const char *name, struct error *err)
{
    struct manifest *m = NULL;
    struct decisions d = {0};
    struct policy_answer a;
    struct error none;
    char publisher[REGISTRY_PUBLISHER_MAX + 1];
    if (current_manifest(r->job, name, &m, publisher, &none) < 0)
        return 0;
    int rc = decisions_read(r->job, name, &d, err);
    if (rc == 0)
        decisions_answer(m, publisher, &d, &a);
    for (size_t i = 0; rc == 0 && i < a.ngrants; i++) {
        const char *scope = a.grants[i].scope;
        if (a.grants[i].permission != PERMISSION_AGENT_CONTROL)
            continue;
        r->any |= !*scope;
        if (*scope)
            reach_add(r, scope, strcspn(scope, "."));
    }
    decisions_free(&d);
    manifest_unref(m);
    return rc;
}

static int tell_reaches(struct buf *out, struct job *job, const char *name, struct error *err)
{
    struct reach r = {.job = job};
    int rc = 0;
    reach_add(&r, name, strlen(name));
    for (size_t i = 0; i < r.count && rc == 0; i++)
        rc = reach_from(&r, r.names[i], err);
    tell_open(out, "reaches", '[');
    for (size_t i = 1; i < r.count; i++)
        tell_text(out, NULL, r.names[i]);
    if (r.any || r.more)
        tell_text(out, NULL, "*");
    tell_close(out, ']');
    return rc;
}

static void grants(struct op *op, struct job *job)
{
    struct decide_op *d = (struct decide_op *)op;
    struct listing l = {.out = &op->result, .job = job, .all = &d->before};
    const char *name = d->target.name[0] ? d->target.name : NULL;
    int rc = op->code;
    if (rc == 0 && name)
        rc = current_manifest(job, name, &d->manifest, d->publisher, &op->error);
    if (rc == 0)
        rc = decisions_read(job, name, &d->before, &op->error);
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "grants", '[');
    for (size_t i = 0; i < d->before.count && rc == 0; i++)
        if (i == 0 || strcmp(d->before.list[i].name, d->before.list[i - 1].name) != 0)
            rc = tell_plugin(&l, d->before.list[i].name, &op->error);
    tell_close(&op->result, ']');
    if (rc == 0 && name)
        tell_undecided(d, job, &op->result);
    if (rc == 0 && name)
        rc = tell_reaches(&op->result, job, name, &op->error);
    tell_close(&op->result, '}');
    manifest_unref(l.manifest);
    op_end(op, rc);
}

void service_grants(struct service *s, const char *name_or_null, service_done done, void *context)
{
    struct decide_op *d = op_new(s, sizeof *d, done, context);
    if (!d)
        return;
    d->op.clear = clear;
    if (name_or_null)
        d->op.code = target_parse(name_or_null, false, &d->target, &d->op.error);
    op_read(&d->op, grants);
}
