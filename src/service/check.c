/* The deep look at everything that the registry keeps: each finding with its cure.  What can be made from the rest is
 * mended on the way; a package that is not what was installed is marked and set aside, as a load would. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

struct damaged {
    char name[REGISTRY_NAME_MAX + 1], version[REGISTRY_VERSION_MAX + 1];
};

struct check_op {
    struct op op;
    struct damaged *damaged;
    size_t ndamaged, cap;
    unsigned faults;
};

static void clear(struct op *op)
{
    free(((struct check_op *)op)->damaged);
}

/* What is not remembered here for want of memory is found by the next look, or by a load. */
static void remember(struct check_op *c, const struct registry_finding *f)
{
    if (c->ndamaged == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 16;
        struct damaged *more = realloc(c->damaged, cap * sizeof *more);
        if (!more)
            return;
        c->damaged = more;
        c->cap = cap;
    }
    struct damaged *d = &c->damaged[c->ndamaged++];
    text_copy(d->name, sizeof d->name, f->plugin);
    text_copy(d->version, sizeof d->version, f->version);
}

static void tell_finding(void *context, const struct registry_finding *f)
{
    struct check_op *c = context;
    struct buf *out = &c->op.result;
    c->faults += !f->good;
    if (f->damaged_now)
        remember(c, f);
    tell_open(out, NULL, '{');
    tell_text(out, "what", f->what);
    tell_flag(out, "good", f->good);
    tell_text(out, "plugin", f->plugin);
    tell_text(out, "version", f->version);
    tell_text(out, "detail", f->detail);
    tell_text(out, "cure", f->good ? NULL : f->cure);
    tell_close(out, '}');
}

static void mark_damaged(struct check_op *c)
{
    for (size_t i = 0; i < c->ndamaged; i++) {
        const struct damaged *d = &c->damaged[i];
        struct registry_command mark = {.verb = REGISTRY_DAMAGE, .damage = {.name = d->name, .version = d->version}};
        op_write(&c->op, &mark, NULL);
        log_event(LOG_ERROR, "package_damaged", "plugin", d->name, "version", d->version, NULL);
    }
}

static void check(struct op *op, struct job *job)
{
    struct check_op *c = (struct check_op *)op;
    struct registry_command mend = {.verb = REGISTRY_MEND};
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "findings", '[');
    int rc = op_write(op, &mend, &op->error);
    if (rc == 0)
        rc = registry_check(job->reader, tell_finding, c, &op->error);
    if (rc == 0)
        mark_damaged(c);
    tell_close(&op->result, ']');
    tell_flag(&op->result, "good", c->faults == 0);
    tell_number(&op->result, "collected", mend.mend.collected);
    tell_flag(&op->result, "search_rebuilt", mend.mend.searched);
    tell_close(&op->result, '}');
    op_end(op, rc);
}

void service_check(struct service *s, service_done done, void *context)
{
    struct check_op *c = op_new(s, sizeof *c, done, context);
    if (!c)
        return;
    c->op.clear = clear;
    op_begin(&c->op, NULL, check);
}
