/* Installing: from a file that somebody sent to a version that is stored, decided and defined.
 *
 *     take    no key     open, verify, read, unpack: the long part, beside whatever else goes on
 *     admit   the name   owner, immutability, age; with `use` over a running plugin the new generation starts first
 *     store   the name   stage the file, one transaction, define or start
 *     tell    the name   the answer; a start that failed is part of it, not the answer's failure */
#include "service/install.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "service/tell.h"

struct install_op {
    struct op op;
    char *path, *called, *metadata;
    bool temporary, load, use, allow_older;
    char accept[65];
    struct decisions asked; /* with the installation */
    struct intake intake;
    struct decisions after; /* what will hold */
    struct policy_answer answer;
    bool already, current, running, switched, loaded;
    struct error load_error, use_error; /* code 0: none */
};

static void clear(struct op *op)
{
    struct install_op *in = (struct install_op *)op;
    if (in->temporary && in->path)
        unlink(in->path);
    decisions_free(&in->asked);
    decisions_free(&in->after);
    intake_clear(&in->intake);
    free(in->path);
    free(in->called);
    free(in->metadata);
}

static struct manifest *manifest_of(const struct install_op *in)
{
    return package_manifest(in->intake.package);
}

/* ---- tell ---- */

static void tell_error(struct buf *out, const char *key, const struct error *e)
{
    if (e->code == MOAT_E_OK)
        return;
    tell_open(out, key, '{');
    tell_text(out, "code", error_info(e->code)->name);
    tell_text(out, "message", e->message);
    tell_close(out, '}');
}

static void tell_installed(struct install_op *in)
{
    struct buf *out = &in->op.result;
    struct manifest *m = manifest_of(in);
    uint8_t sha256[32];
    package_sha256(in->intake.package, sha256);
    tell_open(out, NULL, '{');
    tell_text(out, "name", m->name);
    tell_text(out, "version", m->version);
    tell_text(out, "publisher", package_publisher(in->intake.package));
    tell_hex(out, "sha256", sha256, sizeof sha256);
    tell_flag(out, "already", in->already);
    tell_flag(out, "current", in->current);
    tell_permissions(out, "permissions", m, &in->answer, &in->after);
    tell_needs_grant(out, "needs_grant", m, &in->answer);
    tell_unasked(out, "not_asked_for", m, in->after.list, in->after.count);
    tell_flag(out, "loaded", in->loaded);
    tell_error(out, "load_error", &in->load_error);
    tell_error(out, "use_error", &in->use_error);
    tell_close(out, '}');
}

static void tell(struct op *op, struct job *job)
{
    struct install_op *in = (struct install_op *)op;
    if (op->code < 0) {
        in->load_error = op->error;
        if (!plugin_is_running(op->s, manifest_of(in)->name))
            plan_define(job, manifest_of(in)->name);
    }
    in->loaded = op->code == 0;
    struct registry_command c = {.verb = REGISTRY_WANT,
                                 .want = {.name = manifest_of(in)->name, .wanted = REGISTRY_LOADED}};
    if (in->loaded && in->load && op_write(op, &c, &in->load_error) < 0)
        in->loaded = false;
    if (in->loaded && in->load)
        loader_keep(op->s->loader, manifest_of(in)->name, true);
    tell_installed(in);
    op_end(op, 0);
}

/* ---- store ---- */

/* The old workers are dead when it returns. */
static void redefine(struct install_op *in, struct job *job)
{
    const char *name = manifest_of(in)->name;
    struct plan p = {0};
    struct error why;
    int rc = plan_make(job, name, NULL, PLAN_MANIFEST, false, &p, &why);
    if (rc == 0)
        rc = plan_set_wait(job->s, name, &p, LOADER_REVOKE, &why);
    if (rc < 0)
        in->use_error = why;
    plan_clear(&p);
}

/* What the loader is to run now that the registry says so. */
static void define(struct install_op *in, struct job *job)
{
    struct op *op = &in->op;
    const char *name = manifest_of(in)->name;
    /* What nobody's code has written is nothing for its next owner to read, nor to trust. */
    if (in->intake.takes_name)
        rights_drop(op->s, name);
    int purged = in->intake.takes_name ? queries_purge(op->s, name, &op->error) : 0;
    if (purged < 0) {
        op_end(op, purged);
        return;
    }
    struct plan p = {0};
    bool start = in->current && (in->load || in->running) && !in->switched;
    if (in->load && !in->current)
        error_set(&in->load_error, MOAT_E_WRONG_STATE, "%s is not the current version: `moat use %s@%s`",
                  manifest_of(in)->version, name, manifest_of(in)->version);
    if (in->switched && in->load) {
        op->code = 0;
        tell(op, job);
        return;
    }
    if (!start) {
        if (in->current && !in->switched)
            plan_define(job, name);
        else if (in->intake.takes_name)
            redefine(in, job); /* what runs unsigned has lost its grants */
        else if (!in->intake.plugin.current[0])
            plan_define(job, name); /* an older version, alone: calls are told what is missing */
        in->loaded = plugin_is_running(op->s, name) && in->current;
        tell_installed(in);
        op_end(op, 0);
        return;
    }
    int rc = plan_make(job, name, NULL, PLAN_CODE, in->load, &p, &op->error);
    if (rc == 0 && p.gate != MOAT_E_OK)
        rc = error_set(&op->error, p.gate, "%s", p.message);
    if (rc == 0) {
        plan_set(op->s, name, &p, LOADER_START, op_loader_done, op_wait(op, tell));
    } else {
        op->code = rc;
        op_then(op, tell);
    }
    plan_clear(&p);
}

static int commit(struct install_op *in, struct job *job, struct error *err)
{
    struct manifest *m = manifest_of(in);
    const struct package_head *head = package_head(in->intake.package);
    struct registry_stage stage;
    uint8_t sha256[32];
    const uint8_t *bytes;
    size_t len;
    buf_auto text = BUF_INIT(2 * MANIFEST_MAX);
    package_sha256(in->intake.package, sha256);
    package_bytes(in->intake.package, &bytes, &len);
    buf_put(&text, bytes + PACKAGE_HEAD, head->manifest_len);
    if (text.failed)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to install %s", m->name);
    int rc = registry_stage(in->op.s->registry, bytes, len, &stage, err);
    if (rc < 0)
        return rc;
    struct registry_command c = {.verb = REGISTRY_INSTALL,
                                 .install = {.name = m->name,
                                             .version = m->version,
                                             .newest = in->intake.newest,
                                             .sha256 = sha256,
                                             .key = head->key_id,
                                             .size = len,
                                             .signed_at = head->signed_at,
                                             .expires_at = head->expires_at,
                                             .manifest = buf_text(&text),
                                             .capabilities = m->capabilities,
                                             .permissions = intake_permissions(m),
                                             .stage = &stage,
                                             .decisions = in->asked.list,
                                             .ndecisions = in->asked.count,
                                             .use = in->use && in->use_error.code == MOAT_E_OK}};
    rc = op_write(&in->op, &c, err);
    if (rc == 0)
        for (size_t i = 0; i < in->asked.count; i++)
            expiry_note(in->op.s, in->asked.list[i].until);
    registry_unstage(&stage);
    in->already = c.install.already;
    in->current = c.install.current;
    return rc;
}

static void store(struct op *op, struct job *job)
{
    struct install_op *in = (struct install_op *)op;
    int rc = commit(in, job, &op->error);
    if (rc == 0) {
        define(in, job);
        return;
    }
    if (in->switched) /* back to what the registry says */
        plan_define(job, manifest_of(in)->name);
    op_end(op, rc);
}

/* ---- admit ---- */

static void switched(struct op *op, struct job *job)
{
    struct install_op *in = (struct install_op *)op;
    in->switched = op->code == 0;
    if (op->code < 0)
        in->use_error = op->error;
    store(op, job);
}

static int settle_asked(struct install_op *in, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < in->asked.count && rc == 0; i++) {
        struct grant g;
        if (!record_as_grant(&in->asked.list[i], &g))
            continue;
        rc = grant_settle(&g, err);
        memcpy(in->asked.list[i].scope, g.scope, sizeof g.scope);
    }
    return rc;
}

/* Decisions as they will be: a grant takes the place of a refusal of its permission. */
static int decisions_after(struct install_op *in, struct job *job, struct error *err)
{
    const char *name = manifest_of(in)->name;
    int rc = in->intake.takes_name ? decisions_begin(job, &in->after, err) : decisions_read(job, name, &in->after, err);
    if (rc == 0)
        rc = settle_asked(in, err);
    for (size_t i = 0; i < in->asked.count && rc == 0; i++) {
        struct grant g;
        if (record_as_grant(&in->asked.list[i], &g))
            rc = grant_not_shorter(&g, in->asked.list[i].until, &in->after, name, err);
    }
    for (size_t i = 0; i < in->asked.count && rc == 0; i++) {
        size_t kept = 0;
        for (size_t k = 0; k < in->after.count; k++)
            if (!in->after.list[k].refused || in->after.list[k].permission != in->asked.list[i].permission)
                in->after.list[kept++] = in->after.list[k];
        in->after.count = kept;
        rc = decisions_add(&in->after, &in->asked.list[i], err);
    }
    if (rc == 0)
        rc = grants_fit(&in->after, NULL, name, err);
    if (rc == 0)
        decisions_answer(manifest_of(in), package_publisher(in->intake.package), &in->after, &in->answer);
    for (size_t i = 0; i < in->asked.count && rc == 0; i++) {
        struct grant g;
        if (record_as_grant(&in->asked.list[i], &g))
            rc = grant_check(&g, &in->answer, err);
        int64_t *held = &in->asked.list[i].held;
        if (rc == 0 && record_as_grant(&in->asked.list[i], &g))
            rc = quota_weigh(&g, &in->answer, held, err);
        in->after.list[in->after.count - in->asked.count + i].held = *held;
    }
    return rc;
}

/* `use` of another version than the current one: nothing may be lost when it cannot start. */
static bool must_switch(const struct install_op *in)
{
    return in->use && in->running && in->use_error.code == MOAT_E_OK && in->intake.plugin.current[0] &&
           strcmp(in->intake.plugin.current, manifest_of(in)->version) != 0;
}

/* What keeps another version than the current one from becoming current at once; it is installed all the same. */
static void may_use(struct install_op *in, struct job *job)
{
    const struct manifest *m = manifest_of(in);
    const struct registry_plugin *plugin = &in->intake.plugin;
    const uint8_t *bytes;
    size_t len;
    if (!in->answer.ready) {
        char why[ERROR_MESSAGE_MAX];
        answer_explain(m, &in->answer, why, sizeof why);
        error_set(&in->use_error, MOAT_E_PERMISSION_DENIED, "%s", why);
        return;
    }
    if (plugin->pinned && strcmp(plugin->current, m->version) != 0) {
        error_set(&in->use_error, MOAT_E_WRONG_STATE, "%s is pinned to %s: `moat unpin %s`", m->name, plugin->current,
                  m->name);
        return;
    }
    package_bytes(in->intake.package, &bytes, &len);
    accept_check(job, m->name, plugin->current, m, (const char *)bytes + PACKAGE_HEAD,
                 package_head(in->intake.package)->manifest_len, in->accept, false, &in->use_error);
}

static void admit(struct op *op, struct job *job)
{
    struct install_op *in = (struct install_op *)op;
    struct plan p = {0};
    int rc = intake_admit(&in->intake, job, in->allow_older, NULL, &op->error);
    if (rc == 0)
        rc = decisions_after(in, job, &op->error);
    if (rc < 0) {
        op_end(op, rc);
        return;
    }
    struct manifest *m = manifest_of(in);
    in->running = plugin_is_running(op->s, m->name);
    if (in->use && in->intake.plugin.current[0])
        may_use(in, job);
    if (!must_switch(in)) {
        store(op, job);
        return;
    }
    rc = plan_from_package(job, in->intake.package, &in->intake.files, &in->after, &p, &in->use_error);
    if (rc == 0 && p.gate != MOAT_E_OK)
        rc = error_set(&in->use_error, p.gate, "%s", p.message);
    if (rc < 0)
        store(op, job);
    else
        plan_set(op->s, m->name, &p, LOADER_START, op_loader_done, op_wait(op, switched));
    plan_clear(&p);
}

/* ---- take ---- */

static void take(struct op *op, struct job *job)
{
    struct install_op *in = (struct install_op *)op;
    int rc = op->code;
    if (rc == 0)
        rc = intake_read(&in->intake, job, in->path, in->called, &op->error);
    if (rc == 0)
        rc = intake_metadata(&in->intake, in->metadata, NULL, &op->error);
    if (rc == 0)
        rc = intake_unpack(&in->intake, job, NULL, &op->error);
    if (rc < 0)
        op_end(op, rc);
    else
        op_rekey(op, manifest_of(in)->name, admit);
}

static int copy_request(struct install_op *in, const struct service_install *from, struct error *err)
{
    uint64_t until;
    const char *called = from->called ? from->called : from->path;
    in->path = strdup(from->path);
    in->called = strdup(called);
    in->metadata = from->metadata ? strdup(from->metadata) : NULL;
    if (!in->path || !in->called || (from->metadata && !in->metadata))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to install %.400s", called);
    int rc = decision_until(in->op.s, from->span, &until, err);
    if (rc == 0 && from->span && !from->ngrants)
        rc = error_set(err, MOAT_E_BAD_USAGE, "`for` is how long the grants hold, and there is none: --grant G");
    for (size_t i = 0; i < from->ngrants && rc == 0; i++) {
        struct registry_decision d;
        rc = decision_parse(from->grants[i], &d, err);
        d.until = until;
        if (rc == 0)
            rc = decisions_add(&in->asked, &d, err);
    }
    return rc;
}

void service_install(struct service *s, const struct service_install *request, service_done done, void *context)
{
    struct install_op *in = op_new(s, sizeof *in, done, context);
    if (!in)
        return;
    in->op.clear = clear;
    in->temporary = request->temporary;
    in->load = request->load;
    in->use = request->use;
    in->allow_older = request->allow_older;
    in->op.code = copy_request(in, request, &in->op.error);
    if (in->op.code == 0)
        in->op.code = accept_parse(request->accept, in->accept, &in->op.error);
    op_begin(&in->op, NULL, take);
}
