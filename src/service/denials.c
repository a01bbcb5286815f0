/* What plugins tried and did not get: the loader tells, the registry keeps, a request reads.
 *
 * A row is on the disk two seconds after what it tells of at the latest, or when somebody asks: so much a crash of the
 * host can lose, and nothing of an end in order. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

/* ---- keeping ---- */

/* The last ones of all come while nothing else is written: more of them than fit at once are written in turns. */
bool denials_tell(void *context, const struct denial *more)
{
    struct service *s = context;
    struct registry_denial d = {.plugin = more->plugin,
                                .version = more->version,
                                .action = more->action,
                                .call = more->call_id,
                                .operation = more->operation,
                                .object = more->object,
                                .wall = more->wall,
                                .permission = more->permission,
                                .count = more->count,
                                .first_ms = more->first_ns / NS_PER_MS,
                                .last_ms = more->last_ns / NS_PER_MS};
    if (registry_deny(s->registry, &d))
        return true;
    return s->counters_over && registry_flush(s->registry, NULL) == 0 && registry_deny(s->registry, &d);
}

int denials_flush(struct job *job, const char *name_or_null, struct error *err)
{
    loader_collect(job->s->loader, name_or_null);
    return registry_flush(job->s->registry, err);
}

/* ---- reading ---- */

struct denials_op {
    struct op op;
    struct target target;
    uint64_t since_ms, limit;
};

static bool tell_denial(void *context, const struct registry_denial *r)
{
    struct denials_op *d = context;
    struct buf *out = &d->op.result;
    char command[POLICY_COMMAND_MAX];
    bool known = r->permission >= 0 && r->permission < PERMISSION_COUNT;
    const char *object = strcmp(r->object, LOADER_DENIALS_OTHER) == 0 ? "" : r->object;
    tell_open(out, NULL, '{');
    tell_text(out, "plugin", r->plugin);
    tell_text(out, "version", r->version);
    tell_text(out, "action", r->action);
    tell_text(out, "call", *r->call ? r->call : NULL);
    tell_text(out, "operation", r->operation);
    tell_text(out, "object", r->object);
    tell_text(out, "wall", r->wall);
    tell_text(out, "permission", known ? permission_name((enum permission)r->permission) : NULL);
    tell_text(out, "command",
              policy_denial_command(r->plugin, r->permission, r->operation, object, command) ? command : NULL);
    tell_number(out, "count", r->count);
    tell_time(out, "first", r->first_ms * NS_PER_MS);
    tell_time(out, "last", r->last_ms * NS_PER_MS);
    tell_close(out, '}');
    return --d->limit > 0;
}

static int is_installed(struct job *job, const char *name, struct error *err)
{
    struct registry_plugin plugin;
    int rc = registry_find_plugin(job->reader, name, &plugin, err);
    if (rc == 0 || (rc > 0 && !plugin.versions))
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", name);
    return rc < 0 ? rc : 0;
}

static void denials(struct op *op, struct job *job)
{
    struct denials_op *d = (struct denials_op *)op;
    const char *name = d->target.name[0] ? d->target.name : NULL;
    uint64_t dropped = 0;
    int rc = op->code;
    if (rc == 0 && name)
        rc = is_installed(job, name, &op->error);
    if (rc == 0)
        rc = denials_flush(job, name, &op->error);
    if (rc == 0)
        rc = registry_find_denials_dropped(job->reader, name, &dropped, &op->error);
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "denials", '[');
    if (rc == 0)
        rc = registry_each_denial(job->reader, name, d->since_ms, tell_denial, d, &op->error);
    tell_close(&op->result, ']');
    tell_number(&op->result, "dropped", dropped);
    tell_close(&op->result, '}');
    op_end(op, rc);
}

void service_denials(struct service *s, const char *name_or_null, const char *since_or_null, uint64_t limit,
                     service_done done, void *context)
{
    struct denials_op *d = op_new(s, sizeof *d, done, context);
    uint64_t span = 0, now = clock_wall_ns();
    if (!d)
        return;
    d->limit = limit ? limit : UINT64_MAX;
    if (name_or_null)
        d->op.code = target_parse(name_or_null, false, &d->target, &d->op.error);
    if (d->op.code == 0 && since_or_null && !clock_parse_span(since_or_null, &span))
        d->op.code = error_set(&d->op.error, MOAT_E_BAD_REQUEST, "since is not " CLOCK_SPAN_FORM " 90s, 10m or 7d");
    else if (since_or_null)
        d->since_ms = span < now ? (now - span) / NS_PER_MS : 0;
    op_begin(&d->op, NULL, denials);
}
