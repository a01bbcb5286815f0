/* What a manifest asks, what was decided, and what follows: policy's answer, and its words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/internal.h"
#include "service/tell.h"

_Static_assert(POLICY_SCOPE_MAX == REGISTRY_SCOPE_MAX, "a scope of the policy fits a record and the other way round");

int decision_parse(const char *text, struct registry_decision *out, struct error *err)
{
    struct grant g;
    int rc = grant_parse(text, &g, err);
    if (rc < 0)
        return rc;
    *out = (struct registry_decision){.permission = (int)g.permission};
    memcpy(out->scope, g.scope, sizeof out->scope);
    return 0;
}

int grant_check_place(const struct grant *g, struct error *err)
{
    struct wall_grant resolved;
    if (g->permission != PERMISSION_FILE_READ && g->permission != PERMISSION_FILE_WRITE)
        return 0;
    return wall_resolve(g->scope, g->permission == PERMISSION_FILE_WRITE, &resolved, err);
}

/* ---- a plugin's decisions ---- */

int decisions_add(struct decisions *d, const struct registry_decision *one, struct error *err)
{
    if (d->count == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 8;
        struct registry_decision *list = realloc(d->list, cap * sizeof *list);
        if (!list)
            return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for %zu decisions", cap);
        d->list = list;
        d->cap = cap;
    }
    d->list[d->count++] = *one;
    return 0;
}

void decisions_free(struct decisions *d)
{
    free(d->list);
    *d = (struct decisions){0};
}

struct reading {
    struct decisions *out;
    struct error *err;
    int code;
};

static bool keep(void *context, const struct registry_decision *d)
{
    struct reading *r = context;
    r->code = decisions_add(r->out, d, r->err);
    return r->code == 0;
}

int decisions_read(struct registry_reader *reader, const char *name, struct decisions *out, struct error *err)
{
    struct reading r = {.out = out, .err = err};
    int rc = registry_each_decision(reader, name, keep, &r, err);
    return rc < 0 ? rc : r.code;
}

static void as_decision(const struct registry_decision *record, struct decision *out)
{
    out->grant.permission = (enum permission)record->permission;
    memcpy(out->grant.scope, record->scope, sizeof out->grant.scope);
    out->refused = record->refused;
    out->until = record->until;
}

/* Without memory nothing is granted: in doubt, closed. */
void decisions_answer(const struct manifest *m, const struct registry_decision *list, size_t count,
                      struct policy_answer *out)
{
    struct ask asks[PERMISSION_COUNT];
    size_t nasks = m->nasks < PERMISSION_COUNT ? m->nasks : PERMISSION_COUNT;
    for (size_t i = 0; i < nasks; i++)
        asks[i] = (struct ask){.permission = m->asks[i].permission, .required = m->asks[i].required};
    struct decision *decisions = calloc(count + 1, sizeof *decisions);
    size_t known = 0;
    for (size_t i = 0; decisions && i < count; i++)
        if (list[i].permission >= 0 && list[i].permission < PERMISSION_COUNT)
            as_decision(&list[i], &decisions[known++]);
    policy_decide(asks, nasks, decisions, known, clock_wall_ns() / NS_PER_S, out);
    free(decisions);
}

static bool walls(enum permission p)
{
    return p == PERMISSION_FILE_READ || p == PERMISSION_FILE_WRITE || p == PERMISSION_EXECUTE_CODE;
}

static bool has(const struct policy_answer *a, const struct grant *g)
{
    for (size_t i = 0; i < a->ngrants; i++)
        if (grant_equal(&a->grants[i], g))
            return true;
    return false;
}

bool answer_same_wall(const struct policy_answer *a, const struct policy_answer *b)
{
    for (size_t i = 0; i < a->ngrants; i++)
        if (walls(a->grants[i].permission) && !has(b, &a->grants[i]))
            return false;
    for (size_t i = 0; i < b->ngrants; i++)
        if (walls(b->grants[i].permission) && !has(a, &b->grants[i]))
            return false;
    return true;
}

/* ---- words ---- */

static bool granted(const struct policy_answer *a, enum permission p)
{
    for (size_t i = 0; i < a->ngrants; i++)
        if (a->grants[i].permission == p)
            return true;
    return false;
}

static bool blocks(const struct manifest_ask *ask, const struct policy_answer *a)
{
    return ask->required && !granted(a, ask->permission);
}

static bool is_refused(const struct policy_answer *a, enum permission p)
{
    return a->refused >> p & 1;
}

void answer_explain(const struct manifest *m, const struct policy_answer *a, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < m->nasks && used < size; i++) {
        const struct manifest_ask *ask = &m->asks[i];
        char command[POLICY_COMMAND_MAX];
        if (!blocks(ask, a))
            continue;
        bool known = policy_command(m->name, (int)ask->permission, ask->nscopes ? ask->scopes[0] : "", command);
        used += (size_t)snprintf(out + used, size - used, "%s%s needs %s%s%s%s%s", used ? "; " : "", m->name,
                                 permission_name(ask->permission),
                                 is_refused(a, ask->permission) ? ", which is refused" : "", known ? ": `" : "",
                                 known ? command : "", known ? "`" : "");
    }
}

static void tell_commands(struct buf *out, const struct manifest *m, const struct manifest_ask *ask)
{
    char command[POLICY_COMMAND_MAX];
    size_t n = ask->nscopes ? ask->nscopes : 1;
    for (size_t i = 0; i < n; i++)
        if (policy_command(m->name, (int)ask->permission, ask->nscopes ? ask->scopes[i] : "", command))
            tell_text(out, NULL, command);
}

void tell_needs_grant(struct buf *out, const char *key, const struct manifest *m, const struct policy_answer *a)
{
    tell_open(out, key, '[');
    for (size_t i = 0; i < m->nasks; i++)
        if (a->undecided >> m->asks[i].permission & 1 || blocks(&m->asks[i], a))
            tell_commands(out, m, &m->asks[i]);
    tell_close(out, ']');
}

static void tell_scopes(struct buf *out, const struct manifest_ask *ask, const struct registry_decision *list,
                        size_t count, const struct policy_answer *a)
{
    uint64_t until = 0;
    tell_open(out, "scopes", '[');
    for (size_t i = 0; i < a->ngrants; i++)
        if (a->grants[i].permission == ask->permission && a->grants[i].scope[0])
            tell_text(out, NULL, a->grants[i].scope);
    tell_close(out, ']');
    for (size_t i = 0; i < count; i++)
        if (list[i].permission == (int)ask->permission && list[i].until && (!until || list[i].until < until))
            until = list[i].until;
    tell_seconds(out, "until", until);
    tell_open(out, "suggested", '[');
    for (size_t i = 0; i < ask->nscopes; i++)
        tell_text(out, NULL, ask->scopes[i]);
    tell_close(out, ']');
}

void tell_permissions(struct buf *out, const char *key, const struct manifest *m, const struct registry_decision *list,
                      size_t count)
{
    struct policy_answer a;
    decisions_answer(m, list, count, &a);
    tell_open(out, key, '[');
    for (size_t i = 0; i < m->nasks; i++) {
        const struct manifest_ask *ask = &m->asks[i];
        const char *decision = granted(&a, ask->permission)      ? "granted"
                               : is_refused(&a, ask->permission) ? "refused"
                                                                 : "undecided";
        tell_open(out, NULL, '{');
        tell_text(out, "permission", permission_name(ask->permission));
        tell_flag(out, "required", ask->required);
        tell_text(out, "decision", decision);
        tell_scopes(out, ask, list, count, &a);
        tell_open(out, "commands", '[');
        if (!granted(&a, ask->permission))
            tell_commands(out, m, ask);
        tell_close(out, ']');
        tell_close(out, '}');
    }
    tell_close(out, ']');
}
