/* agent_control: an action of another plugin. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "broker/ask.h"

struct named {
    const char *plugin, *action;
    const uint8_t *parameters;
    size_t len;
};

/* "plugin NUL action NUL parameters" */
static bool take_apart(const struct question *ask, struct named *out)
{
    const char *plugin = (const char *)ask->bytes, *end = plugin + ask->len;
    const char *action = memchr(plugin, 0, ask->len);
    if (!action++)
        return false;
    const char *parameters = memchr(action, 0, (size_t)(end - action));
    if (!parameters++)
        return false;
    *out = (struct named){plugin, action, (const uint8_t *)parameters, (size_t)(end - parameters)};
    return text_is_name(plugin, 30) && text_is_name(action, 32);
}

bool call_object(const struct question *ask, char object[POLICY_SCOPE_MAX])
{
    struct named n;
    if (!take_apart(ask, &n))
        return false;
    snprintf(object, POLICY_SCOPE_MAX, "%s.%s", n.plugin, n.action);
    return true;
}

void call_answer(const struct asking *a, const char *object)
{
    struct named n;
    (void)object;
    if (take_apart(a->ask, &n))
        ask_call(a->ask, n.plugin, n.action, n.parameters, n.len);
}
