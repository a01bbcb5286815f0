/* In whose name a task runs; and tasks that a plugin's call waits for: they run with what its agent_control grants, one
 * call at a time, each on behalf of the call that asks (wire/ask.h), and end with it. Nothing of them is remembered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "orchestrator/run.h"
#include "service/asked.h"
#include "service/tell.h"

/* One for each such task, until it is answered. */
struct asker_plugin {
    struct orchestrator *o;
    struct question *ask;
    char wanted[ASK_OBJECT]; /* what it would need: PLUGIN.ACTION; the planner's, then the loop's */
};

/* ---- in whose name ---- */

static void object_of(char object[ASK_OBJECT], const char *plugin, const char *action)
{
    snprintf(object, ASK_OBJECT, "%.31s.%.33s", plugin, action);
}

static bool granted(const struct asker_plugin *by, const char *object)
{
    return service_may_call(by->o->service, by->ask->plugin, by->ask->version, object);
}

bool asker_may(void *context, const char *plugin, const char *action)
{
    const struct task_asker *asker = context;
    char padded[MANIFEST_NAME_MAX + 3] = " ", object[ASK_OBJECT];
    if (asker->plugin) {
        object_of(object, plugin, action);
        return granted(asker->plugin, object);
    }
    if (asker->everything || strcmp(asker->plugins, "*") == 0)
        return true;
    size_t n = strnlen(plugin, MANIFEST_NAME_MAX);
    memcpy(padded + 1, plugin, n);
    padded[n + 1] = ' ';
    return strstr(asker->plugins, padded) != NULL;
}

int asker_refuse(void *context, const char *step, const char *plugin, const char *action, bool any, struct error *err)
{
    const struct task_asker *asker = context;
    struct asker_plugin *by = asker->plugin;
    if (!by && any)
        return error_set(err, MOAT_E_FORBIDDEN, "step %s needs the scope execute:NAME of a plugin that can run it",
                         step);
    if (!by)
        return error_set(err, MOAT_E_FORBIDDEN, "step %s needs the scope execute:%s", step, plugin);
    object_of(by->wanted, plugin, action);
    service_deny_call(by->o->service, by->ask, by->wanted, err);
    return -(int)err->code;
}

/* ---- its calls ---- */

/* The right is looked at when it is known that it is used: who takes it back either is seen here, or sees that. */
void asked_call(struct unit *u)
{
    struct run *r = u->run;
    struct call *c = &u->call;
    struct asker_plugin *by = r->request.asker.plugin;
    char object[ASK_OBJECT];
    object_of(object, c->plugin, c->action);
    ask_object(r->ask, object);
    if (granted(by, object)) {
        ask_begin(r->ask, c);
        return;
    }
    service_deny_call(r->o->service, r->ask, object, &c->error);
    c->code = -MOAT_E_PERMISSION_DENIED;
    c->done(c);
}

/* As it is told in the receipt. */
static char *chain_of(const struct question *ask)
{
    const char *names[ASK_CHAIN_MAX];
    unsigned n = ask_chain(ask, names);
    struct buf out = BUF_INIT(4096);
    size_t len;
    tell_open(&out, NULL, '[');
    for (unsigned i = 0; i < n; i++)
        tell_text(&out, NULL, names[i]);
    tell_close(&out, ']');
    return (char *)buf_steal(&out, &len);
}

struct question *asked_of(const struct task_request *request)
{
    return request->asker.plugin ? request->asker.plugin->ask : NULL;
}

/* ---- its end ---- */

static void cancelled(void *context, const struct error *error, struct buf *result)
{
}

/* On any thread. It may have ended meanwhile. */
static void stop(struct question *ask)
{
    static const struct task_asker host = {.everything = true};
    orchestrator_cancel(ask->context, ask->task, &host, cancelled, NULL);
}

bool asked_waits(struct run *r, struct error *err)
{
    if (!r->ask)
        return true;
    r->chain = chain_of(r->ask);
    memcpy(r->ask->task, r->id, sizeof r->ask->task);
    if (ask_on_stop(r->ask, stop))
        return true;
    error_set(err, MOAT_E_CANCELLED, "the call that asks for it is over");
    return false;
}

static void done(void *context, const struct error *error, struct buf *result)
{
    struct asker_plugin *by = context;
    struct question *ask = by->ask;
    struct service *s = by->o->service;
    char wanted[ASK_OBJECT];
    struct error err;
    memcpy(wanted, by->wanted, sizeof wanted);
    free(by);
    if (!error && result->len > service_setting_payload_max(s)) {
        error_set(&err, MOAT_E_TOO_LARGE, "what the task has to say has %zu bytes: give it a smaller `result`",
                  result->len);
        error = &err;
    }
    if (!error)
        ask_done(ask, result->data, result->len);
    else if (error->code == MOAT_E_PERMISSION_DENIED && *wanted)
        service_deny_call(s, ask, wanted, NULL);
    else
        ask_fail(ask, error);
}

/* ---- its beginning ---- */

static void run_it(struct orchestrator *o, struct question *ask, struct asker_plugin *by)
{
    struct task_request request = {.text = ask->bytes, .len = ask->len, .done = done, .context = by};
    *by = (struct asker_plugin){.o = o, .ask = ask};
    ask->context = o;
    request.asker.plugin = by;
    snprintf(request.asker.actor, sizeof request.asker.actor, "plugin:%.20s", ask->plugin);
    memcpy(request.traceparent, ask->traceparent, sizeof request.traceparent);
    orchestrator_run(o, &request, NULL);
}

static void asked(struct service *s, struct question *ask)
{
    struct error err;
    struct orchestrator *o = orchestrator_of(s, &err);
    struct asker_plugin *by = o ? malloc(sizeof *by) : NULL;
    if (o && !by)
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the task");
    if (by)
        run_it(o, ask, by);
    else
        ask_fail(ask, &err);
}

void orchestrator_offer(struct service *s)
{
    service_run_tasks(s, asked);
}
