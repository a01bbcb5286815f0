/* Which version is current: use, rollback; and how a canary begins, which is to find out which one should be.
 *
 * What agents read is behaviour: a version with another face (service/face) than the current one becomes current only
 * by an operator who has seen the difference, which the digest that `diff` shows stands for. */
#include <stdio.h>
#include <string.h>

#include "service/canary.h"
#include "service/face.h"
#include "service/install.h"
#include "service/tell.h"

struct use_op {
    struct op op;
    struct target target;
    char accept[FACE_DIGEST];
    bool live, back;  /* back: a rollback, to what was current before */
    bool ends;        /* back from a canary: what is current stays */
    unsigned percent; /* of a canary; 0: none is meant */
    char before[MANIFEST_VERSION_MAX + 1];
    struct registry_version version;
};

/* ---- what the operator has to have seen ---- */

int accept_parse(const char *text, char out[FACE_DIGEST], struct error *err)
{
    size_t len = text ? strlen(text) : 0;
    if (!text || strcmp(text, ACCEPT_ALL) == 0) {
        snprintf(out, FACE_DIGEST, "%s", text ? text : "");
        return 0;
    }
    if (len < ACCEPT_LEAST || len >= FACE_DIGEST || strspn(text, "0123456789abcdef") != len)
        return error_set(err, MOAT_E_BAD_REQUEST,
                         "`accept` is the digest that `moat diff` shows, its first %d digits at least, or `%s`",
                         ACCEPT_LEAST, ACCEPT_ALL);
    memcpy(out, text, len + 1);
    return 0;
}

static int refuse_unseen(const char *name, const char *current, const char *version, const char *digest,
                         const char *change, bool other_digest, bool in_file, struct error *err)
{
    int rc = error_set(err, MOAT_E_CHANGES_NOT_ACCEPTED,
                       "%s %s does not tell agents what %s told them: %s%s; see `moat diff %s@%s %s@%s`, then say "
                       "`%s%.*s%s`",
                       name, version, current, change, other_digest ? ", and the digest is of something else" : "",
                       name, current, name, version, in_file ? "\"accept\": \"" : "--accept ", ACCEPT_LEAST, digest,
                       in_file ? "\"" : "");
    if (err)
        snprintf(err->detail, sizeof err->detail, "{\"digest\":\"%s\",\"current\":\"%s\",\"version\":\"%s\"}", digest,
                 current, version);
    return rc;
}

int accept_check(struct job *job, const char *name, const char *current, const struct manifest *m, const char *text,
                 size_t len, const char *accept, bool in_file, struct error *err)
{
    buf_auto before = BUF_INIT(2 * MANIFEST_MAX);
    struct registry_version v;
    char change[160], digest[FACE_DIGEST];
    if (!*current || strcmp(current, m->version) == 0 || strcmp(accept, ACCEPT_ALL) == 0)
        return 0;
    int rc = registry_find_version(job->reader, name, current, &v, &before, err);
    if (rc <= 0)
        return rc;
    json_t *from = face_read(buf_text(&before), before.len), *to = face_read(text, len);
    rc = 0;
    if (!from || !to || !face_digest(to, digest))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to compare two versions of %s", name);
    else if (face_change(from, to, change, sizeof change) && (!*accept || strncmp(digest, accept, strlen(accept)) != 0))
        rc = refuse_unseen(name, current, m->version, digest, change, *accept, in_file, err);
    json_decref(from);
    json_decref(to);
    return rc;
}

/* ---- the answer ---- */

static void tell_used(struct use_op *u)
{
    struct buf *out = &u->op.result;
    tell_open(out, NULL, '{');
    tell_text(out, "name", u->target.name);
    tell_text(out, "version", u->target.version);
    tell_text(out, "before", u->before);
    tell_flag(out, "already", strcmp(u->before, u->target.version) == 0);
    if (u->percent)
        tell_number(out, "canary", u->percent);
    else
        tell_raw(out, "canary", NULL);
    tell_warnings(out, &u->version);
    tell_close(out, '}');
}

/* A running plugin runs the new version by now: when that cannot be recorded, it goes back. One that did not run is
 * defined anew. */
static void record(struct op *op, struct job *job)
{
    struct use_op *u = (struct use_op *)op;
    struct registry_command c = {.verb = REGISTRY_USE, .use = {.name = u->target.name, .version = u->target.version}};
    if (u->back)
        c = (struct registry_command){.verb = REGISTRY_ROLLBACK,
                                      .rollback = {.name = u->target.name, .version = u->target.version}};
    int rc = op->code;
    if (rc == 0) {
        rc = op_write(op, &c, &op->error);
        if (rc < 0 || !u->live)
            plan_define(job, u->target.name);
    }
    if (rc == 0)
        tell_used(u);
    op_end(op, rc);
}

/* ---- canaries ---- */

static void canary_started(struct op *op, struct job *job)
{
    struct use_op *u = (struct use_op *)op;
    struct registry_command c = {
        .verb = REGISTRY_CANARY_START,
        .canary = {.name = u->target.name, .version = u->target.version, .percent = u->percent}};
    int rc = op->code < 0 ? op->code : op_write(op, &c, &op->error);
    if (op->code == 0 && rc < 0)
        canary_end(op->s, u->target.name, u->target.version, false, "its beginning could not be recorded", NULL);
    if (rc == 0)
        tell_used(u);
    op_end(op, rc);
}

static void start_canary(struct use_op *u, const struct plan *p)
{
    struct op *op = &u->op;
    const struct target *t = &u->target;
    struct error *err = &op->error;
    if (strcmp(u->before, t->version) == 0)
        op_end(op, error_set(err, MOAT_E_WRONG_STATE, "%s of %s is the current version", t->version, t->name));
    else if (!plugin_is_running(op->s, t->name))
        op_end(op, error_set(err, MOAT_E_WRONG_STATE,
                             "%s does not run here, and a canary is judged beside what runs: `moat load %s`, in a "
                             "server (`moat serve`)",
                             t->name, t->name));
    else {
        rights_set(op->s, t->name, t->version, &p->answer);
        loader_canary(op->s->loader, t->name, p->spec, u->percent, op_loader_done, op_wait(op, canary_started));
    }
}

/* What a canary was to replace stays. */
static void keep_current(struct use_op *u, const char *why)
{
    struct op *op = &u->op;
    int rc = canary_end(op->s, u->target.name, NULL, false, why, &op->error);
    if (rc == 0)
        tell_used(u);
    op_end(op, rc);
}

/* ---- the way there ---- */

/* Which version it is to be; the state of the registry that stands against it. */
static int look(struct use_op *u, struct job *job, struct error *err)
{
    struct registry_plugin plugin;
    struct target *t = &u->target;
    int rc = registry_find_plugin(job->reader, t->name, &plugin, err);
    if (rc < 0)
        return rc;
    if (rc == 0 || !plugin.versions)
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", t->name);
    snprintf(u->before, sizeof u->before, "%s", plugin.current);
    struct loader_canary canary;
    u->ends = u->back && canary_runs(job->s, t->name, &canary);
    if (u->ends) {
        snprintf(t->version, sizeof t->version, "%s", plugin.current);
        snprintf(u->before, sizeof u->before, "%s", canary.version);
        return 0;
    }
    if (u->back && !plugin.previous[0])
        return error_set(err, MOAT_E_WRONG_STATE,
                         "there is no version of %s to go back to: `moat info %s` shows those "
                         "there are, `moat use` takes one",
                         t->name, t->name);
    if (u->back)
        snprintf(t->version, sizeof t->version, "%s", plugin.previous);
    if (plugin.pinned && strcmp(plugin.current, t->version) != 0)
        return error_set(err, MOAT_E_WRONG_STATE, "%s is pinned to %s: `moat unpin %s`", t->name, plugin.current,
                         t->name);
    return 0;
}

static int check_seen(struct use_op *u, struct job *job, const struct plan *p, struct error *err)
{
    buf_auto text = BUF_INIT(2 * MANIFEST_MAX);
    int rc = registry_find_version(job->reader, u->target.name, u->target.version, &u->version, &text, err);
    if (rc < 0 || u->back || !p->spec)
        return rc < 0 ? rc : 0; /* what was current before has been seen */
    return accept_check(job, u->target.name, u->before, p->spec->manifest, buf_text(&text), text.len, u->accept, false,
                        err);
}

/* The version must be able to run before anything is changed; `unload` does not stand in its way. */
static void use(struct op *op, struct job *job)
{
    struct use_op *u = (struct use_op *)op;
    const struct target *t = &u->target;
    struct plan p = {0};
    int rc = op->code;
    if (rc == 0 && !t->version[0] && !u->back)
        rc = error_set(&op->error, MOAT_E_BAD_USAGE, "say which version: %s@VERSION", t->name);
    if (rc == 0)
        rc = look(u, job, &op->error);
    if (rc == 0)
        rc = plan_make(job, t->name, t->version, PLAN_CODE, true, &p, &op->error);
    if (rc == 0 && p.gate != MOAT_E_OK)
        rc = error_set(&op->error, p.gate, "%s", p.message);
    if (rc == 0)
        rc = check_seen(u, job, &p, &op->error);
    if (rc < 0) {
        op_end(op, rc);
    } else if (u->ends) {
        keep_current(u, "it was rolled back");
    } else if (u->percent) {
        start_canary(u, &p);
    } else if (strcmp(u->before, t->version) == 0) {
        keep_current(u, "the current version was chosen");
    } else if (plugin_is_running(op->s, t->name)) {
        u->live = true;
        plan_set(op->s, t->name, &p, LOADER_START, op_loader_done, op_wait(op, record));
    } else {
        op_then(op, record);
    }
    plan_clear(&p);
}

static void begin(struct service *s, const char *what, bool back, unsigned percent, const char *accept,
                  service_done done, void *context)
{
    struct use_op *u = op_new(s, sizeof *u, done, context);
    if (!u)
        return;
    u->back = back;
    u->percent = percent;
    u->op.code = target_parse(what, !back, &u->target, &u->op.error);
    if (u->op.code == 0)
        u->op.code = accept_parse(accept, u->accept, &u->op.error);
    op_begin(&u->op, u->op.code < 0 ? NULL : u->target.name, use);
}

void service_use(struct service *s, const char *what, const char *accept_or_null, service_done done, void *context)
{
    begin(s, what, false, 0, accept_or_null, done, context);
}

void service_canary(struct service *s, const char *what, unsigned percent, const char *accept_or_null,
                    service_done done, void *context)
{
    begin(s, what, false, percent, accept_or_null, done, context);
}

void service_rollback(struct service *s, const char *name, service_done done, void *context)
{
    begin(s, name, true, 0, NULL, done, context);
}
