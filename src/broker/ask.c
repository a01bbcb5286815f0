#include "broker/ask.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/rights.h"

const struct service services[ASK_SERVICES] = {
    [ASK_CALL] = {PERMISSION_AGENT_CONTROL, WHEN_CALLED, "call", call_object, call_answer},
};

static const struct service *service_of(const struct question *ask)
{
    return ask->service < ASK_SERVICES && services[ask->service].answer ? &services[ask->service] : NULL;
}

static enum policy_reason judge(struct broker *b, const struct service *s, const struct rights *r, const char *object)
{
    return r ? policy_allows(rights_answer(r), s->permission, object, broker_now(b)) : POLICY_NOT_ASKED;
}

/* "agent may not call data.transform (undecided): `moat grant agent agent_control=data.transform`" */
static void explain(const struct question *ask, const struct service *s, enum policy_reason why, const char *object,
                    struct error *err)
{
    char command[POLICY_COMMAND_MAX];
    bool known = why != POLICY_CEILING && why != POLICY_NOT_ASKED &&
                 policy_command(ask->plugin, (int)s->permission, object, command);
    error_set(err, MOAT_E_PERMISSION_DENIED, "%s may not %s %.300s: %s%s%s%s", ask->plugin, s->operation, object,
              policy_reason_text(why), known ? ": `" : "", known ? command : "", known ? "`" : "");
}

void broker_ask(struct broker *b, struct question *ask)
{
    struct error err;
    char object[POLICY_SCOPE_MAX];
    const struct service *s = service_of(ask);
    if (!s || !s->object(ask, object)) {
        error_set(&err, MOAT_E_BAD_USAGE, s ? "it asks to %s nothing that could be" : "the host has no such service",
                  s ? s->operation : "");
        ask_fail(ask, &err);
        return;
    }
    struct rights *r = rights_get(b, ask->plugin, ask->version);
    enum policy_reason why = judge(b, s, r, object);
    if (why == POLICY_GRANTED) {
        s->answer(&(struct asking){.broker = b, .ask = ask, .service = s, .rights = r}, object);
    } else {
        explain(ask, s, why, object, &err);
        ask_deny(ask, (int)s->permission, s->operation, object, &err);
    }
    rights_put(r);
}

bool broker_still(struct broker *b, const struct question *ask, struct error *err)
{
    char object[POLICY_SCOPE_MAX];
    const struct service *s = service_of(ask);
    if (!s || !s->object(ask, object))
        return true; /* it is being told so */
    struct rights *r = rights_get(b, ask->plugin, ask->version);
    enum policy_reason why = judge(b, s, r, object);
    rights_put(r);
    if (why != POLICY_GRANTED)
        explain(ask, s, why, object, err);
    return why == POLICY_GRANTED;
}
