#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "policy/scope.h"

int grant_parse(const char *text, struct grant *out, struct error *err)
{
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    char name[32];
    int permission = -1;
    if (n < sizeof name) {
        memcpy(name, text, n);
        name[n] = '\0';
        permission = permission_parse(name);
    }
    if (permission < 0)
        return error_set(err, MOAT_E_BAD_USAGE, "\"%.*s\" is no permission: `moat permissions` lists them",
                         n > 64 ? 64 : (int)n, text);
    const struct scope_rule *rule = scope_rule((enum permission)permission);
    struct grant g = {.permission = (enum permission)permission};
    if (!equals && rule->needed)
        return error_set(err, MOAT_E_BAD_USAGE, "%s needs a scope: %s=%s", name, name, rule->placeholder);
    if (equals && !rule->normalise)
        return error_set(err, MOAT_E_BAD_USAGE, "%s takes no scope: leave \"%s\" out", name, equals);
    if (equals && !equals[1])
        return error_set(err, MOAT_E_BAD_USAGE, "%s= has an empty scope: %s=%s", name, name, rule->placeholder);
    const char *why = "";
    if (equals && !rule->normalise(equals + 1, g.scope, &why))
        return error_set(err, MOAT_E_BAD_USAGE, "\"%.200s\": %s", text, why);
    *out = g;
    return 0;
}

void grant_format(const struct grant *g, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", permission_name(g->permission), *g->scope ? "=" : "", g->scope);
}

bool grant_equal(const struct grant *a, const struct grant *b)
{
    return a->permission == b->permission && strcmp(a->scope, b->scope) == 0;
}

bool grant_normalise(struct grant *g)
{
    struct grant normal;
    if (!scope_normal(g, false, &normal))
        return false;
    *g = normal;
    return true;
}

bool grant_covers(const struct grant *a, const struct grant *b)
{
    /* Scopes that were not normalised by grant_parse (a row written by another version) are made so first, and cover
     * nothing when that fails. */
    struct grant outer, inner;
    return a->permission == b->permission && scope_normal(a, false, &outer) && scope_normal(b, false, &inner) &&
           scope_gives(&outer, &inner);
}
