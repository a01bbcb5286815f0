#include "broker/ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/rights.h"

const struct service services[ASK_SERVICES] = {
    [ASK_CALL] = {PERMISSION_AGENT_CONTROL, WHEN_CALLED, "call", call_object, call_answer},
    [ASK_SQL_READ] = {PERMISSION_DATABASE_READ, WHEN_CALLED, "query", sql_object, sql_read_answer, true,
                      PERMISSION_DATABASE_WRITE},
    [ASK_SQL_WRITE] = {PERMISSION_DATABASE_WRITE, WHEN_CALLED, "change", sql_object, sql_write_answer},
    [ASK_FACT] = {PERMISSION_SYSTEM_ACCESS, WHEN_CALLED, "ask for a fact", fact_object, fact_answer, .whole = true},
    [ASK_TASK] = {PERMISSION_AGENT_CONTROL, WHEN_CALLED, "call", task_object, task_answer, .many = true},
    [ASK_CONNECT] = {PERMISSION_NETWORK_ACCESS, WHEN_CALLED, "connect", connect_object, connect_answer},
};

static const struct service *service_of(const struct question *ask)
{
    return ask->service < ASK_SERVICES && services[ask->service].answer ? &services[ask->service] : NULL;
}

static enum policy_reason allows(struct broker *b, const struct rights *r, enum permission p, const char *object)
{
    return r ? policy_allows(rights_answer(r), p, object, broker_now(b)) : POLICY_NOT_ASKED;
}

/* What is asked for: the narrow permission, unless the manifest names the wider one alone. */
static enum permission asked_for(const struct service *s, const struct rights *r)
{
    uint32_t asked = r ? rights_answer(r)->asked : 0;
    return s->has_wider && !(asked >> s->permission & 1) && asked >> s->wider & 1 ? s->wider : s->permission;
}

/* Of what is for many objects: is it granted for any? */
static enum policy_reason of_any(const struct rights *r, enum permission p)
{
    return r ? (enum policy_reason)rights_answer(r)->why[p] : POLICY_NOT_ASKED;
}

/* *p: the permission that the answer is about. */
static enum policy_reason judge(struct broker *b, const struct service *s, const struct rights *r, const char *object,
                                enum permission *p)
{
    *p = asked_for(s, r);
    if (s->many && !*object)
        return of_any(r, *p);
    if (s->has_wider && allows(b, r, s->wider, object) == POLICY_GRANTED)
        return POLICY_GRANTED;
    return allows(b, r, *p, s->whole ? "" : object);
}

bool broker_allows(struct broker *b, const char *plugin, const char *version, enum permission p, const char *object)
{
    struct rights *r = rights_get(b, plugin, version);
    enum policy_reason why = allows(b, r, p, object);
    rights_put(r);
    return why == POLICY_GRANTED;
}

/* "agent may not call data.transform (undecided): `moat grant agent agent_control=data.transform`" */
static void explain(const struct question *ask, const struct service *s, enum policy_reason why, enum permission p,
                    const char *object, struct error *err)
{
    char command[POLICY_COMMAND_MAX];
    bool known =
        why != POLICY_CEILING && why != POLICY_NOT_ASKED && policy_command(ask->plugin, (int)p, object, command);
    error_set(err, MOAT_E_PERMISSION_DENIED, "%s may not %s %.300s: %s%s%s%s", ask->plugin, s->operation,
              *object ? object : "other plugins", policy_reason_text(why), known ? ": `" : "", known ? command : "",
              known ? "`" : "");
}

void broker_ask(struct broker *b, struct question *ask)
{
    struct error err;
    char object[POLICY_SCOPE_MAX] = "";
    const struct service *s = service_of(ask);
    if (!s || (!s->object(ask, object) && !s->many)) {
        error_set(&err, MOAT_E_BAD_USAGE, s ? "it asks to %s nothing that could be" : "the host has no such service",
                  s ? s->operation : "");
        ask_fail(ask, &err);
        return;
    }
    struct rights *r = rights_get(b, ask->plugin, ask->version);
    enum permission p;
    enum policy_reason why = judge(b, s, r, object, &p);
    if (why == POLICY_GRANTED) {
        s->answer(&(struct asking){.broker = b, .ask = ask, .service = s, .rights = r}, object);
    } else {
        explain(ask, s, why, p, object, &err);
        ask_deny(ask, (int)p, s->operation, object, &err);
    }
    rights_put(r);
}

void broker_deny_call(struct broker *b, struct question *ask, const char *object, struct error *err)
{
    const struct service *s = &services[ASK_CALL];
    struct rights *r = rights_get(b, ask->plugin, ask->version);
    enum permission p;
    enum policy_reason why = judge(b, s, r, object, &p);
    struct error here;
    rights_put(r);
    explain(ask, s, why, p, object, err ? err : &here);
    if (!err)
        ask_deny(ask, (int)p, s->operation, object, &here);
}

bool broker_still(struct broker *b, const struct question *ask, struct error *err)
{
    char object[POLICY_SCOPE_MAX];
    const struct service *s = service_of(ask);
    if (!s || !s->object(ask, object))
        return true; /* it is being told so */
    struct rights *r = rights_get(b, ask->plugin, ask->version);
    enum permission p;
    enum policy_reason why = judge(b, s, r, object, &p);
    rights_put(r);
    if (why != POLICY_GRANTED)
        explain(ask, s, why, p, object, err);
    return why == POLICY_GRANTED;
}
