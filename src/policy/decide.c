#include <string.h>

#include "policy/policy.h"

static bool in_force(const struct decision *d, uint64_t now)
{
    return d->until == 0 || d->until > now;
}

/* One that an earlier one covers says nothing new. Later ones are not removed in its favour: what is in force keeps
 * the order of the decisions, so that the same decisions give the same generation. */
static void keep(struct policy_answer *out, const struct grant *g)
{
    for (size_t i = 0; i < out->ngrants; i++)
        if (grant_covers(&out->grants[i], g))
            return;
    /* A grant without a meaning (a file permission without a path, a scope of another version) covers not even
     * itself and never holds. */
    if (out->ngrants < POLICY_GRANTS_MAX && grant_covers(g, g))
        out->grants[out->ngrants++] = *g;
}

void policy_decide(const struct ask *asks, size_t nasks, const struct decision *decisions, size_t ndecisions,
                   uint64_t now, struct policy_answer *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < nasks; i++)
        out->asked |= 1u << asks[i].permission;

    /* A refusal wins over every grant of the same permission, whichever came first: in doubt, closed. */
    for (size_t i = 0; i < ndecisions; i++)
        if (decisions[i].refused && in_force(&decisions[i], now))
            out->refused |= out->asked & 1u << decisions[i].grant.permission;
    for (size_t i = 0; i < ndecisions; i++) {
        const struct grant *g = &decisions[i].grant;
        bool wanted = (out->asked & ~out->refused) >> g->permission & 1;
        if (!decisions[i].refused && wanted && in_force(&decisions[i], now))
            keep(out, g);
    }

    uint32_t granted = 0;
    for (size_t i = 0; i < out->ngrants; i++)
        granted |= 1u << out->grants[i].permission;
    out->undecided = out->asked & ~granted & ~out->refused;
    out->ready = true;
    for (size_t i = 0; i < nasks && out->ready; i++) {
        if (!asks[i].required || granted >> asks[i].permission & 1)
            continue;
        out->ready = false;
        out->blocking = asks[i].permission;
    }
}
