/* What running calls ask of the host, and by which rights: the loader's asks on their way to the broker. */
#include "service/internal.h"

void asked(void *context, struct question *ask)
{
    broker_ask(((struct service *)context)->broker, ask);
}

void rights_set(struct service *s, const char *name, const char *version, const struct policy_answer *answer)
{
    broker_set(s->broker, name, version, answer);
}

void rights_drop(struct service *s, const char *name)
{
    broker_drop(s->broker, name);
}

static bool over(void *context, const struct question *ask, struct error *err)
{
    return !broker_still(((struct service *)context)->broker, ask, err);
}

void rights_review(struct service *s, const char *name)
{
    loader_asks_review(s->loader, name, over, s);
}
