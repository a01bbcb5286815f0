/* "Which plugin would it be?": a step that is planned and not run. Its request is read as the one step of a task, so
 * that both mean the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run.h"
#include "orchestrator/score.h"
#include "service/tell.h"
#include "json/cursor.h"

#define REQUEST_MAX (1u << 20)
#define HEAD "{\"task\":1,\"steps\":[{\"id\":\"select\","

struct selection {
    struct chore chore;
    struct orchestrator *o;
    struct task *task;
    struct roster *roster;
    struct choice *choice;
    const uint64_t *mask;
    struct task_asker asker;
    bool explain;
    service_done done;
    void *context;
};

/* ---- reading ---- */

/* "explain" is of the request, the rest of a step. */
static int wrap(const void *request, size_t len, struct buf *out, bool *explain, struct error *err)
{
    struct json_fault fault;
    buf_auto copy = BUF_INIT(REQUEST_MAX);
    struct cursor_member m;
    if (len > REQUEST_MAX - BUF_PAD || !buf_put(&copy, request, len))
        return error_set(err, MOAT_E_TOO_LARGE, "a request to select has at most %u bytes", REQUEST_MAX - BUF_PAD);
    if (!json_explain(copy.data, copy.len, &fault))
        return error_set(err, MOAT_E_BAD_JSON, "the request is not JSON: %s at byte %zu", fault.reason, fault.offset);
    const uint8_t *at = cursor_root(copy.data);
    if (cursor_kind(at) != CURSOR_OBJECT)
        return error_set(err, MOAT_E_BAD_REQUEST, "a request to select is a JSON object");
    buf_puts(out, HEAD);
    for (size_t from = out->len; cursor_next_member(&at, &m);) {
        if (cursor_text_is(m.name, "explain")) {
            *explain = cursor_true(m.value);
            continue;
        }
        if (out->len > from)
            buf_putc(out, ',');
        buf_put(out, m.name, cursor_length(m.name));
        buf_putc(out, ':');
        buf_put(out, m.value, cursor_length(m.value));
    }
    buf_puts(out, "}]}");
    return out->failed ? error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the request") : 0;
}

static int read_request(struct selection *s, const void *request, size_t len, struct error *err)
{
    buf_auto text = BUF_INIT(REQUEST_MAX + 4096);
    int rc = wrap(request, len, &text, &s->explain, err);
    if (rc == 0)
        rc = task_read(text.data, text.len, &s->task, NULL, err);
    if (rc == 0 && s->task->steps[0].run.capability < 0)
        rc = error_set(err, MOAT_E_BAD_REQUEST, "a plugin that is named needs no choice: name a capability");
    return rc;
}

/* ---- choosing ---- */

/* With parameters, or for who may not run everything, the whole check says which of them fit. */
static int choose(struct selection *s, struct registry_reader *reader, struct error *err)
{
    const struct task_action *a = &s->task->steps[0].run;
    struct roster_rights rights = {asker_may, asker_refuse, &s->asker};
    s->choice = catalog_choose(s->o->catalog, a->capability, a->action, a->where, reader, err);
    if (!s->choice)
        return -MOAT_E_OUT_OF_MEMORY;
    if (!s->choice->n || (s->asker.everything && !a->parameters))
        return 0;
    int rc = roster_make(s->o->catalog, s->task, s->asker.everything ? NULL : &rights, reader, &s->roster, NULL, err);
    if (rc < 0)
        return rc;
    choice_unref(s->choice);
    s->choice = choice_ref(s->roster->actions[0].choice);
    s->mask = s->roster->actions[0].mask;
    return 0;
}

/* ---- telling ---- */

struct others {
    struct buf *out;
    const struct selection *s;
    struct registry_reader *reader;
};

static bool is_candidate(const struct choice *c, const struct offer *o)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (strcmp(c->list[i].offer->name, o->name) == 0)
            return true;
    return false;
}

static void tell_other(struct buf *out, const char *plugin, const char *version, const char *why)
{
    tell_open(out, NULL, '{');
    tell_text(out, "plugin", plugin);
    tell_text(out, "version", version);
    tell_flag(out, "chosen", false);
    tell_text(out, "why", why);
    tell_close(out, '}');
}

/* Has the capability, and is no candidate all the same. */
static void add_misfit(void *context, struct offer *o)
{
    struct others *others = context;
    const struct task_action *a = &others->s->task->steps[0].run;
    char owner[REGISTRY_PUBLISHER_MAX + 1], text[160];
    if (is_candidate(others->s->choice, o))
        return;
    catalog_owner(others->reader, o->name, owner, NULL);
    const char *why =
        manifest_action(o->manifest, a->action) < 0 ? "it has not the action" : where_misfit(a->where, o, owner, text);
    tell_other(others->out, o->name, o->manifest->version, why ? why : "it has just come");
}

/* Installed, and its calls are refused now. */
static bool add_closed(void *context, const struct registry_plugin *p, const struct registry_version *v,
                       const char *manifest, size_t manifest_len)
{
    struct others *others = context;
    char message[256], why[300];
    if (loader_gate(others->s->o->loader, p->name, message, sizeof message)) {
        snprintf(why, sizeof why, "its calls are refused: %s", message);
        tell_other(others->out, p->name, v->version, why);
    }
    return true;
}

static void explain(struct selection *s, int64_t chosen, const char *sticky, struct registry_reader *reader,
                    struct buf *out)
{
    struct others others = {out, s, reader};
    int capability = s->task->steps[0].run.capability;
    struct registry_filter filter = {.capabilities = 1u << capability, .active = -1};
    tell_open(out, "candidates", '[');
    document_candidates(out, s->choice, s->mask, chosen, sticky);
    catalog_each(s->o->catalog, capability, add_misfit, &others);
    registry_each_plugin(reader, &filter, add_closed, &others, NULL);
    tell_close(out, ']');
}

static void tell(struct selection *s, struct registry_reader *reader, struct buf *out)
{
    const char *key = s->task->steps[0].sticky;
    int64_t chosen = key ? sticky_find(s->o, key, s->choice, s->mask) : -1;
    const char *sticky = chosen >= 0 ? key : NULL;
    if (chosen < 0)
        chosen = score_best(s->choice, s->mask, -1);
    const struct offer *o = chosen >= 0 ? s->choice->list[chosen].offer : NULL;
    tell_open(out, NULL, '{');
    tell_text(out, "plugin", o ? o->name : NULL);
    tell_text(out, "version", o ? o->manifest->version : NULL);
    if (s->explain)
        explain(s, chosen, sticky, reader, out);
    tell_close(out, '}');
}

/* ---- from request to answer ---- */

static void finish(struct selection *s, int code, const struct error *err, struct buf *out)
{
    s->done(s->context, code < 0 ? err : NULL, out);
    roster_unref(s->roster);
    choice_unref(s->choice);
    task_unref(s->task);
    free(s);
}

static void answer(struct selection *s, struct registry_reader *reader, struct error *err)
{
    buf_auto out = BUF_INIT(64u << 20);
    int rc = choose(s, reader, err);
    if (rc == 0)
        tell(s, reader, &out);
    if (rc == 0 && out.failed)
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the candidates");
    finish(s, rc, err, &out);
}

static void answer_there(struct chore *chore, struct registry_reader *reader)
{
    struct selection *s = (struct selection *)(void *)chore;
    struct error err;
    int rc = catalog_is_stale(s->o->catalog) ? catalog_renew(s->o->catalog, &err) : 0;
    if (rc < 0)
        finish(s, rc, &err, NULL);
    else
        answer(s, reader, &err);
}

void orchestrator_select(struct orchestrator *o, const void *request, size_t len, const struct task_asker *asker,
                         service_done done, void *context)
{
    struct error err;
    struct selection *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the request");
        done(context, &err, NULL);
        return;
    }
    *s = (struct selection){.o = o, .asker = *asker, .done = done, .context = context};
    s->chore.work = answer_there;
    int rc = read_request(s, request, len, &err);
    orchestrator_look(o);
    if (rc < 0)
        finish(s, rc, &err, NULL);
    else if (s->explain || roster_is_long(o->catalog, s->task))
        planner_post(o->planner, &s->chore);
    else
        answer(s, NULL, &err);
}
