#include <string.h>

#include "policy/scope.h"

static const struct {
    const char *name, *text;
} reasons[POLICY_REASON_COUNT] = {
#define X(id, name, text) {name, text},
    POLICY_REASONS(X)
#undef X
};

const char *policy_reason_name(enum policy_reason r)
{
    return reasons[r].name;
}

const char *policy_reason_text(enum policy_reason r)
{
    return reasons[r].text;
}

static bool in_time(uint64_t until, uint64_t now)
{
    return until == 0 || until > now;
}

/* ---- ceilings ---- */

static bool is_over(const struct policy_input *in, const struct ceiling *c)
{
    int capability;
    switch (c->of) {
    case CEILING_EVERYBODY:
        return true;
    case CEILING_PUBLISHER:
        return in->publisher && strcmp(in->publisher, c->name) == 0;
    case CEILING_CAPABILITY:
        capability = capability_parse(c->name);
        return capability >= 0 && in->capabilities >> capability & 1;
    }
    return true; /* a kind of another version: in doubt, closed */
}

/* Most of a scope's room is empty. */
static void copy_grant(const struct grant *from, struct grant *to)
{
    to->permission = from->permission;
    memcpy(to->scope, from->scope, strnlen(from->scope, sizeof from->scope - 1) + 1);
}

static void add_ceiling(const struct ceiling *c, struct policy_answer *out)
{
    struct ceiling *mine = &out->never[out->nnever++];
    mine->of = c->of;
    memcpy(mine->name, c->name, sizeof mine->name);
    copy_grant(&c->never, &mine->never);
}

static void find_ceilings(const struct policy_input *in, struct policy_answer *out)
{
    for (size_t i = 0; i < in->nceilings; i++)
        if (out->nnever < POLICY_CEILINGS_MAX && is_over(in, &in->ceilings[i]))
            add_ceiling(&in->ceilings[i], out);
}

const struct ceiling *policy_forbids_grant(const struct policy_answer *a, const struct grant *g)
{
    struct grant reading; /* what may be written there may be read there */
    if (!a->nnever)
        return NULL;
    bool whole = scope_rule(g->permission)->walls, writes = grant_reading(g, &reading);
    for (size_t i = 0; i < a->nnever; i++) {
        const struct grant *never = &a->never[i].never;
        if (scope_contains(never, g) || (whole && scope_meets(never, g)) || (writes && scope_meets(never, &reading)))
            return &a->never[i];
    }
    return NULL;
}

/* ---- decisions ---- */

/* A refusal wins over every grant of the same permission, whichever came first: in doubt, closed. */
static uint32_t refused_of(const struct policy_input *in)
{
    uint32_t refused = 0;
    for (size_t i = 0; i < in->ndecisions; i++)
        if (in->decisions[i].refused && in_time(in->decisions[i].until, in->now))
            refused |= 1u << in->decisions[i].grant.permission;
    return refused;
}

/* Of a grant. */
static enum policy_reason judge(const struct policy_input *in, const struct policy_answer *so_far,
                                const struct decision *d)
{
    if (!(so_far->asked >> d->grant.permission & 1))
        return POLICY_NOT_ASKED;
    if (so_far->refused >> d->grant.permission & 1)
        return POLICY_REFUSED;
    if (!in_time(d->until, in->now))
        return POLICY_ENDED;
    if (d->strange)
        return POLICY_MEANINGLESS;
    /* More ceilings than an answer holds: nothing is known to be below all of them. */
    if (in->nceilings > POLICY_CEILINGS_MAX || policy_forbids_grant(so_far, &d->grant))
        return POLICY_CEILING;
    return POLICY_GRANTED;
}

/* All of the network does not name the addresses that have to be named. */
static bool names_less(const struct grant *outer, const struct grant *inner)
{
    return inner->permission == PERMISSION_NETWORK_ACCESS && !*outer->scope && host_is_address(inner->scope);
}

/* More may be written by it, or it cannot be known here which is more. */
static bool bounded_less(const struct grant *outer, const struct grant *inner)
{
    if (inner->permission != PERMISSION_FILE_WRITE)
        return false;
    uint64_t o = grant_most(outer), i = grant_most(inner);
    return (!o != !i) || o < i;
}

/* One that an earlier one covers for as long says nothing new. Later ones are not removed in its favour: what is in
 * force keeps the order of the decisions, so that the same decisions give the same generation. */
static bool says_something(const struct policy_answer *out, const struct grant *g, uint64_t until)
{
    for (size_t i = 0; i < out->ngrants; i++) {
        bool outlasts = out->until[i] == 0 || (until && until <= out->until[i]);
        if (outlasts && scope_gives(&out->grants[i], g) && !names_less(&out->grants[i], g) &&
            !bounded_less(&out->grants[i], g))
            return false;
    }
    return true;
}

/* Of several reasons why a permission is not granted, the one that the operator can do most with. */
static void note_reason(struct policy_answer *out, enum permission p, enum policy_reason r)
{
    static const uint8_t weight[POLICY_REASON_COUNT] = {
        [POLICY_UNDECIDED] = 1, [POLICY_MEANINGLESS] = 2, [POLICY_ENDED] = 3,    [POLICY_CEILING] = 4,
        [POLICY_GRANTED] = 5,   [POLICY_REFUSED] = 6,     [POLICY_NOT_ASKED] = 7};
    if (weight[r] > weight[out->why[p]])
        out->why[p] = (uint8_t)r;
}

static void take_grants(const struct policy_input *in, struct policy_answer *out)
{
    for (size_t i = 0; i < in->ndecisions && out->ngrants < POLICY_GRANTS_MAX; i++) {
        const struct decision *d = &in->decisions[i];
        if (d->refused)
            continue;
        enum policy_reason r = judge(in, out, d);
        note_reason(out, d->grant.permission, r);
        if (r != POLICY_GRANTED)
            continue;
        if (d->until && (!out->next_end || d->until < out->next_end))
            out->next_end = d->until;
        if (!says_something(out, &d->grant, d->until))
            continue;
        copy_grant(&d->grant, &out->grants[out->ngrants]);
        out->until[out->ngrants++] = d->until;
    }
}

/* ---- the answer ---- */

/* Who may never read any place never writes one either. */
static uint32_t all_of(enum permission never)
{
    return 1u << never | (never == PERMISSION_FILE_READ ? 1u << PERMISSION_FILE_WRITE : 0);
}

static void begin(const struct policy_input *in, struct policy_answer *out)
{
    out->asked = 0;
    out->ngrants = out->nnever = 0;
    out->next_end = 0;
    for (size_t i = 0; i < in->nasks; i++)
        out->asked |= 1u << in->asks[i].permission;
    out->refused = out->asked & refused_of(in);
    find_ceilings(in, out);
    out->forbidden = 0;
    for (size_t i = 0; i < out->nnever; i++)
        if (!*out->never[i].never.scope)
            out->forbidden |= out->asked & all_of(out->never[i].never.permission);
    for (int p = 0; p < PERMISSION_COUNT; p++) {
        bool asked = out->asked >> p & 1, never = out->forbidden >> p & 1;
        out->why[p] = !asked                  ? POLICY_NOT_ASKED
                      : out->refused >> p & 1 ? POLICY_REFUSED
                      : never                 ? POLICY_CEILING
                                              : POLICY_UNDECIDED;
    }
}

void policy_decide(const struct policy_input *in, struct policy_answer *out)
{
    uint32_t granted = 0;
    begin(in, out);
    take_grants(in, out);
    for (size_t i = 0; i < out->ngrants; i++)
        granted |= 1u << out->grants[i].permission;
    out->undecided = out->asked & ~granted & ~out->refused;
    out->ready = true;
    out->blocking = (enum permission)0;
    for (size_t i = 0; i < in->nasks && out->ready; i++) {
        if (!in->asks[i].required || granted >> in->asks[i].permission & 1)
            continue;
        out->ready = false;
        out->blocking = in->asks[i].permission;
    }
}

enum policy_reason policy_judge(const struct policy_input *in, const struct decision *d)
{
    struct policy_answer so_far;
    begin(in, &so_far);
    if (!d->refused)
        return judge(in, &so_far, d);
    if (!(so_far.asked >> d->grant.permission & 1))
        return POLICY_NOT_ASKED;
    return in_time(d->until, in->now) ? POLICY_REFUSED : POLICY_ENDED;
}
