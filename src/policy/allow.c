/* One object at a time: what brokers ask. */
#include <string.h>

#include "policy/scope.h"

static bool in_time(uint64_t until, uint64_t now)
{
    return until == 0 || until > now;
}

/* false: it names nothing that could be granted. */
static bool as_object(enum permission p, const char *text, struct grant *out)
{
    const struct scope_rule *rule = scope_rule(p);
    out->permission = p;
    out->scope[0] = '\0';
    return !*text || (rule->object && rule->object(text, out->scope));
}

/* What may be written there may be read there: who may never read a place never writes it either. */
static const struct ceiling *forbidden(const struct policy_answer *a, const struct grant *object, bool known)
{
    struct grant reading = *object;
    if (object->permission == PERMISSION_FILE_WRITE)
        reading.permission = PERMISSION_FILE_READ;
    for (size_t i = 0; i < a->nnever; i++) {
        const struct grant *never = &a->never[i].never;
        bool concerned = never->permission == object->permission || never->permission == reading.permission;
        if (concerned && (!known || scope_admits(never, object) || scope_admits(never, &reading)))
            return &a->never[i];
    }
    return NULL;
}

const struct ceiling *policy_forbids(const struct policy_answer *a, enum permission p, const char *object)
{
    struct grant g;
    bool known = as_object(p, object, &g);
    return forbidden(a, &g, known);
}

static bool admits(const struct grant *g, const struct grant *object)
{
    const struct scope_rule *rule = scope_rule(g->permission);
    if (g->permission == object->permission && !*g->scope && *object->scope && rule->bare_gives)
        return rule->bare_gives(object->scope);
    return scope_admits(g, object);
}

/* Without an object any grant of the permission will do. */
static bool holds(const struct policy_answer *a, const struct grant *object, uint64_t now)
{
    for (size_t i = 0; i < a->ngrants; i++) {
        const struct grant *g = &a->grants[i];
        if (g->permission == object->permission && in_time(a->until[i], now) && (!*object->scope || admits(g, object)))
            return true;
    }
    return false;
}

static bool any_ended(const struct policy_answer *a, const struct grant *object, uint64_t now)
{
    for (size_t i = 0; i < a->ngrants; i++)
        if (!in_time(a->until[i], now) && admits(&a->grants[i], object))
            return true;
    return false;
}

enum policy_reason policy_allows(const struct policy_answer *a, enum permission p, const char *object, uint64_t now)
{
    struct grant g;
    bool known = as_object(p, object, &g);
    if (a->why[p] != POLICY_GRANTED)
        return (enum policy_reason)a->why[p];
    if (!known)
        return POLICY_OUTSIDE;
    if (forbidden(a, &g, true))
        return POLICY_CEILING;
    if (holds(a, &g, now))
        return POLICY_GRANTED;
    return any_ended(a, &g, now) ? POLICY_ENDED : POLICY_OUTSIDE;
}

bool policy_object(enum permission p, const char *object, char out[POLICY_SCOPE_MAX])
{
    struct grant g;
    if (!*object || !as_object(p, object, &g) || !*g.scope)
        return false;
    memcpy(out, g.scope, strlen(g.scope) + 1);
    return true;
}

bool policy_names(const struct policy_answer *a, const char *address, uint64_t now)
{
    struct grant object;
    if (!as_object(PERMISSION_NETWORK_ACCESS, address, &object) || !host_is_address(object.scope))
        return false;
    for (size_t i = 0; i < a->ngrants; i++) {
        const struct grant *g = &a->grants[i];
        if (g->permission == PERMISSION_NETWORK_ACCESS && *g->scope && in_time(a->until[i], now) &&
            host_is_address(g->scope) && scope_admits(g, &object))
            return true;
    }
    return false;
}
