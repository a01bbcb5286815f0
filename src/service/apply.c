/* apply: the declarative file, all of it or nothing.
 *
 *     take    no key   the document is read; packages of `incoming` that it names are taken in, as an install takes
 * them settle  "*"      every plugin is compared and checked; when something differs and it is no mere check, all of it
 * is one command of the registry; then what runs follows */
#include "service/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/io.h"
#include "service/tell.h"

struct apply_op {
    struct op op;
    int fd;
    bool check;
    struct apply file;
    struct change *list; /* of file.count */
    size_t differences;
    /* The commands, while the registry asks for them. */
    size_t at, step, commands;
};

static void clear(struct op *op)
{
    struct apply_op *a = (struct apply_op *)op;
    for (size_t i = 0; a->list && i < a->file.count; i++)
        change_clear(&a->list[i]);
    free(a->list);
    apply_close(&a->file);
    io_close(&a->fd);
}

/* ---- the commands of one plugin, in this order; each false when there is none ---- */

static bool make_unpin(const struct change *c, struct registry_command *out)
{
    *out = (struct registry_command){.verb = REGISTRY_PIN, .pin = {.name = c->wanted->name, .on = false}};
    return c->unpins;
}

static bool make_install(const struct change *c, struct registry_command *out)
{
    struct arrival *a = c->arrival;
    if (!a)
        return false;
    *out = (struct registry_command){.verb = REGISTRY_INSTALL,
                                     .install = {.name = c->wanted->name,
                                                 .version = c->wanted->version,
                                                 .newest = a->newest,
                                                 .sha256 = c->wanted->sha256,
                                                 .key = a->key,
                                                 .size = a->size,
                                                 .signed_at = a->signed_at,
                                                 .expires_at = a->expires_at,
                                                 .manifest = buf_text(&a->text),
                                                 .capabilities = c->manifest->capabilities,
                                                 .permissions = a->permissions,
                                                 .stage = &a->stage,
                                                 .use = c->switches}};
    return true;
}

static bool make_use(const struct change *c, struct registry_command *out)
{
    *out = (struct registry_command){.verb = REGISTRY_USE,
                                     .use = {.name = c->wanted->name, .version = c->wanted->version}};
    return c->switches && !c->arrival;
}

static bool make_undecide(const struct change *c, struct registry_command *out)
{
    *out = (struct registry_command){
        .verb = REGISTRY_UNDECIDE,
        .undecide = {.name = c->wanted->name, .list = c->remove.list, .count = c->remove.count}};
    return c->remove.count != 0;
}

static bool make_decide(const struct change *c, struct registry_command *out)
{
    *out = (struct registry_command){.verb = REGISTRY_DECIDE,
                                     .decide = {.name = c->wanted->name, .list = c->add.list, .count = c->add.count}};
    return c->add.count != 0;
}

static bool make_configure(const struct change *c, struct registry_command *out)
{
    *out = (struct registry_command){.verb = REGISTRY_CONFIGURE,
                                     .configure = {.name = c->wanted->name,
                                                   .value = buf_text(&c->config.value),
                                                   .secret = buf_text(&c->config.secret),
                                                   .expected = c->config.revision}};
    return c->configures;
}

static bool make_activate(const struct change *c, struct registry_command *out)
{
    *out = (struct registry_command){.verb = REGISTRY_ACTIVATE,
                                     .activate = {.name = c->wanted->name, .on = c->wanted->active}};
    return c->activates;
}

static bool make_want(const struct change *c, struct registry_command *out)
{
    *out = (struct registry_command){.verb = REGISTRY_WANT,
                                     .want = {.name = c->wanted->name, .wanted = c->wanted->wanted}};
    return c->wants;
}

static bool make_pin(const struct change *c, struct registry_command *out)
{
    *out = (struct registry_command){.verb = REGISTRY_PIN, .pin = {.name = c->wanted->name, .on = true}};
    return c->pins;
}

static bool (*const makers[])(const struct change *c, struct registry_command *out) = {
    make_unpin, make_install, make_use, make_undecide, make_decide, make_configure, make_activate, make_want, make_pin,
};
#define MAKERS (sizeof makers / sizeof *makers)

static int next(void *context, struct registry_command *out, struct error *err)
{
    struct apply_op *a = context;
    for (; a->at < a->file.count; a->at++, a->step = 0)
        while (a->step < MAKERS)
            if (makers[a->step++](&a->list[a->at], out))
                return 1;
    return 0;
}

static void where(void *context, struct error *err)
{
    struct apply_op *a = context;
    apply_refuse_at(err, a->list[a->at].index, "%s", "");
}

/* ---- settle ---- */

static int compare_all(struct apply_op *a, struct job *job)
{
    struct buf *out = &a->op.result;
    int rc = 0;
    tell_open(out, NULL, '{');
    tell_flag(out, "applied", !a->check);
    tell_number(out, "plugins", a->file.count);
    tell_open(out, "changes", '[');
    for (size_t i = 0; i < a->file.count && rc == 0; i++) {
        rc = apply_diff(job, &a->list[i], out, &a->op.error);
        a->differences += a->list[i].differences;
    }
    tell_close(out, ']');
    tell_close(out, '}');
    return rc;
}

static int write(struct apply_op *a)
{
    struct registry_together together = {.next = next, .where = where, .context = a};
    struct registry_command c = {.verb = REGISTRY_APPLY,
                                 .apply = {.together = &together, .plugins = a->file.count, .changes = a->differences}};
    return op_write(&a->op, &c, &a->op.error);
}

static void settle(struct op *op, struct job *job)
{
    struct apply_op *a = (struct apply_op *)op;
    int rc = compare_all(a, job);
    if (rc == 0 && a->differences && !a->check) {
        rc = write(a);
        if (rc == 0)
            rc = apply_follow(job, a->list, a->file.count, &op->error);
    }
    op_end(op, rc);
}

/* ---- take ---- */

static void take(struct op *op, struct job *job)
{
    struct apply_op *a = (struct apply_op *)op;
    int rc = op->code;
    if (rc == 0)
        rc = apply_open(&a->file, a->fd, &op->error);
    if (rc == 0)
        a->list = calloc(a->file.count + 1, sizeof *a->list);
    if (rc == 0 && !a->list)
        rc = error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "no memory for the document");
    for (size_t i = 0; i < a->file.count && rc == 0; i++) {
        a->list[i].wanted = &a->file.list[i];
        a->list[i].index = i;
        rc = apply_take(job, &a->list[i], !a->check, &op->error);
    }
    if (rc < 0)
        op_end(op, rc);
    else
        op_rekey(op, JOBS_ALL, settle);
}

void service_apply(struct service *s, int file, bool check, service_done done, void *context)
{
    struct apply_op *a = op_new(s, sizeof *a, done, context);
    if (!a)
        return;
    a->op.clear = clear;
    a->check = check;
    a->fd = fcntl(file, F_DUPFD_CLOEXEC, 3);
    if (a->fd < 0)
        a->op.code = error_errno(&a->op.error, MOAT_E_LIMIT, errno, "cannot take the document");
    op_begin(&a->op, NULL, take);
}
