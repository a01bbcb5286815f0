/* What a manifest asks, what was decided, and what follows: policy's answer, and its words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

_Static_assert(REGISTRY_GRANTS_MAX <= POLICY_GRANTS_MAX, "each grant that is kept can hold");
_Static_assert(POLICY_SCOPE_MAX == REGISTRY_SCOPE_MAX, "a scope of the policy fits a record and the other way round");

int decision_parse(const char *text, struct registry_decision *out, struct error *err)
{
    struct grant g;
    int rc = grant_parse(text, &g, err);
    if (rc < 0)
        return rc;
    *out = (struct registry_decision){.permission = (int)g.permission, .held = REGISTRY_UNWEIGHED};
    memcpy(out->scope, g.scope, sizeof out->scope);
    return 0;
}

uint64_t service_now(const struct service *s)
{
    return home_time_at(&s->time, home_time_boot_clock()) / NS_PER_S;
}

/* Never earlier than it was said; an end is a whole second. */
int decision_until(const struct service *s, const char *span, uint64_t *until, struct error *err)
{
    uint64_t ns, now = home_time_at(&s->time, home_time_boot_clock());
    *until = 0;
    if (!span)
        return 0;
    if (!clock_parse_span(span, &ns) || ns < NS_PER_S)
        return error_set(err, MOAT_E_BAD_USAGE,
                         "a grant holds for a TIME from 1s to 36500d (100 years), such as 90s, 2h or 7d, not \"%.32s\"",
                         span);
    *until = (now + ns + NS_PER_S - 1) / NS_PER_S;
    return 0;
}

static int forbidden(const struct ceiling *c, const char *what, struct error *err)
{
    char over[80];
    ceiling_subject(c, over);
    return error_set(err, MOAT_E_PERMISSION_DENIED, "a ceiling over %s forbids %.300s: `moat ceiling list`", over,
                     what);
}

static int can_run(const struct wall_grant *g, struct error *err)
{
    struct statvfs fs;
    if (g->directory)
        return error_set(err, MOAT_E_BAD_USAGE, "%s is a directory: programs are named one by one", g->path);
    if (statvfs(g->path, &fs) == 0 && fs.f_flag & ST_NOEXEC)
        return error_set(err, MOAT_E_PERMISSION_DENIED, "%s lies on a file system from which nothing is run (noexec)",
                         g->path);
    return 0;
}

/* Where it leads to decides, not its name. */
int grant_resolve(const struct grant *g, const struct policy_answer *a, struct wall_grant *out, struct error *err)
{
    struct wall_grant resolved;
    struct grant real = {.permission = g->permission};
    char path[POLICY_SCOPE_MAX];
    if (!grant_place(g, path))
        return error_set(err, MOAT_E_BAD_USAGE, "%s=%.300s names no place", permission_name(g->permission), g->scope);
    int rc = wall_resolve(path, g->permission == PERMISSION_FILE_WRITE, &resolved, err);
    if (rc < 0)
        return rc;
    if (g->permission == PERMISSION_EXECUTE_CODE && (rc = can_run(&resolved, err)) < 0)
        return rc;
    const struct ceiling *c =
        text_copy(real.scope, sizeof real.scope, resolved.path) ? policy_forbids_grant(a, &real) : NULL;
    if (c)
        return forbidden(c, resolved.path, err);
    *out = resolved;
    return 0;
}

static bool is_file(const struct grant *g)
{
    return g->permission == PERMISSION_FILE_READ || g->permission == PERMISSION_FILE_WRITE;
}

int grant_settle(struct grant *g, struct error *err)
{
    struct wall_grant resolved;
    struct grant real = {.permission = g->permission}, bounded;
    char path[POLICY_SCOPE_MAX];
    if (!is_file(g) || !grant_place(g, path))
        return 0;
    int rc = wall_resolve(path, g->permission == PERMISSION_FILE_WRITE, &resolved, err);
    if (rc < 0)
        return rc;
    bool fits = text_copy(real.scope, sizeof real.scope, resolved.path) && grant_normalise(&real) &&
                grant_place(&real, path) && strcmp(path, resolved.path) == 0; /* and no bound in its name */
    if (fits && grant_most(g))
        fits = grant_bounded(&real, grant_most(g), &bounded);
    if (!fits)
        return error_set(err, MOAT_E_BAD_USAGE, "%.300s leads to %.300s, which is no scope", g->scope, resolved.path);
    *g = grant_most(g) ? bounded : real;
    return 0;
}

int grant_find(const struct grant *g, const struct policy_answer *a, struct wall_grant *out, struct error *err)
{
    struct wall_grant found;
    struct grant there = {.permission = g->permission};
    char path[POLICY_SCOPE_MAX], advice[POLICY_COMMAND_MAX + 2];
    int rc = grant_resolve(g, a, &found, err);
    if (rc < 0)
        return rc;
    if (grant_place(g, path) && strcmp(path, found.path) == 0) {
        *out = found;
        return 0;
    }
    text_copy(there.scope, sizeof there.scope, found.path);
    grant_advice("grant", "NAME", &there, advice);
    return error_set(err, MOAT_E_PERMISSION_DENIED,
                     "%.200s leads to %.200s by a link, which is followed when it is granted and not later: %s", path,
                     found.path, advice);
}

static bool take_place(const struct grant *g, char places[WALL_GRANTS_MAX][POLICY_SCOPE_MAX], size_t *n)
{
    char path[POLICY_SCOPE_MAX];
    if (!is_file(g) || !grant_place(g, path))
        return true;
    for (size_t i = 0; i < *n; i++)
        if (strcmp(places[i], path) == 0)
            return true;
    return *n < WALL_GRANTS_MAX && text_copy(places[(*n)++], POLICY_SCOPE_MAX, path);
}

/* Who is granted one more must not be without all of them at the next start. */
int grants_fit(const struct decisions *d, const struct grant *more, const char *plugin, struct error *err)
{
    char places[WALL_GRANTS_MAX][POLICY_SCOPE_MAX];
    struct grant g;
    size_t n = 0;
    bool fit = true;
    for (size_t i = 0; i < d->count && fit; i++)
        if (!d->list[i].refused && record_as_grant(&d->list[i], &g))
            fit = take_place(&g, places, &n);
    if (fit && (!more || take_place(more, places, &n)))
        return 0;
    return error_set(err, MOAT_E_LIMIT,
                     "%s would have more than %d granted places: grant a directory that has several of them, or revoke "
                     "some: `moat grants %s`",
                     plugin, WALL_GRANTS_MAX, plugin);
}

int grant_not_shorter(const struct grant *g, uint64_t until, const struct decisions *d, const char *plugin,
                      struct error *err)
{
    for (size_t i = 0; i < d->count && until; i++) {
        const struct registry_decision *one = &d->list[i];
        struct grant there;
        if (one->refused || !record_as_grant(one, &there) || !grant_equal(&there, g) ||
            (one->until && one->until <= until))
            continue;
        char text[POLICY_SCOPE_MAX + 64], advice[POLICY_COMMAND_MAX + 2];
        grant_format(g, text, sizeof text);
        grant_advice("revoke", plugin, g, advice);
        return error_set(err, MOAT_E_WRONG_STATE, "%.200s is granted %s already: %s first", text,
                         one->until ? "for longer" : "without an end", advice);
    }
    return 0;
}

int grant_check(const struct grant *g, const struct policy_answer *a, struct error *err)
{
    struct wall_grant resolved;
    char text[POLICY_SCOPE_MAX + 64];
    const struct ceiling *c = policy_forbids_grant(a, g);
    grant_format(g, text, sizeof text);
    if (c)
        return forbidden(c, text, err);
    char path[POLICY_SCOPE_MAX];
    return grant_place(g, path) ? grant_resolve(g, a, &resolved, err) : 0;
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
    free(d->ceilings);
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

/* What cannot be read as a ceiling binds everybody: in doubt, closed. */
static bool keep_ceiling(void *context, const struct registry_ceiling *record)
{
    struct reading *r = context;
    struct decisions *d = r->out;
    struct ceiling c;
    if (record->permission < 0 || record->permission >= PERMISSION_COUNT)
        return true; /* of what this version cannot give */
    if (ceiling_parse(record->subject, permission_name((enum permission)record->permission), &c, NULL) < 0)
        c = (struct ceiling){.of = CEILING_EVERYBODY, .never.permission = (enum permission)record->permission};
    memcpy(c.never.scope, record->scope, sizeof c.never.scope);
    if (*c.never.scope && !grant_normalise(&c.never)) /* a scope that means nothing here: all of the permission */
        c.never.scope[0] = '\0';
    struct ceiling *list = realloc(d->ceilings, (d->nceilings + 1) * sizeof *list);
    if (!list) {
        r->code = error_set(r->err, MOAT_E_OUT_OF_MEMORY, "no memory for the ceilings");
        return false;
    }
    d->ceilings = list;
    d->ceilings[d->nceilings++] = c;
    return true;
}

void decisions_at_now(struct job *job, struct decisions *d)
{
    d->now = service_now(job->s);
    d->ahead = (int64_t)d->now - (int64_t)(clock_wall_ns() / NS_PER_S);
}

int decisions_begin(struct job *job, struct decisions *out, struct error *err)
{
    struct reading r = {.out = out, .err = err};
    decisions_at_now(job, out);
    int rc = registry_each_ceiling(job->reader, keep_ceiling, &r, err);
    return rc < 0 ? rc : r.code;
}

int decisions_read(struct job *job, const char *name, struct decisions *out, struct error *err)
{
    struct reading r = {.out = out, .err = err};
    int rc = decisions_begin(job, out, err);
    if (rc == 0)
        rc = registry_each_decision(job->reader, name, keep, &r, err);
    return rc < 0 ? rc : r.code;
}

bool record_as_grant(const struct registry_decision *record, struct grant *out)
{
    if (record->permission < 0 || record->permission >= PERMISSION_COUNT)
        return false;
    out->permission = (enum permission)record->permission;
    memcpy(out->scope, record->scope, sizeof out->scope);
    return true;
}

static bool as_decision(const struct registry_decision *record, struct decision *out)
{
    out->refused = record->refused;
    out->until = record->until;
    if (!record_as_grant(record, &out->grant))
        return false;
    out->strange = !record->refused && !grant_normalise(&out->grant);
    return true;
}

/* Its decisions are left to whoever has them. */
static struct policy_input input_of(const struct manifest *m, const char *publisher, const struct decisions *d,
                                    struct ask asks[PERMISSION_COUNT])
{
    size_t nasks = m->nasks < PERMISSION_COUNT ? m->nasks : PERMISSION_COUNT;
    for (size_t i = 0; i < nasks; i++)
        asks[i] = (struct ask){.permission = m->asks[i].permission, .required = m->asks[i].required};
    return (struct policy_input){.asks = asks,
                                 .nasks = nasks,
                                 .ceilings = d->ceilings,
                                 .nceilings = d->nceilings,
                                 .publisher = publisher,
                                 .capabilities = m->capabilities,
                                 .now = d->now};
}

/* Without memory nothing is granted: in doubt, closed. */
void decisions_answer(const struct manifest *m, const char *publisher, const struct decisions *d,
                      struct policy_answer *out)
{
    struct ask asks[PERMISSION_COUNT];
    struct policy_input in = input_of(m, publisher, d, asks);
    struct decision *decisions = calloc(d->count + 1, sizeof *decisions);
    for (size_t i = 0; decisions && i < d->count; i++)
        in.ndecisions += as_decision(&d->list[i], &decisions[in.ndecisions]);
    in.decisions = decisions;
    policy_decide(&in, out);
    free(decisions);
}

enum policy_reason decisions_judge(const struct manifest *m, const char *publisher, const struct decisions *d,
                                   const struct registry_decision *one)
{
    struct ask asks[PERMISSION_COUNT];
    struct policy_input in = input_of(m, publisher, d, asks);
    struct decision refused = {.grant.permission = (enum permission)one->permission, .refused = true}, decision;
    if (!as_decision(one, &decision))
        return POLICY_MEANINGLESS;
    /* A refusal and a grant of one permission are never both there, but an import may say so. */
    for (size_t i = 0; i < d->count && !one->refused && !in.ndecisions; i++)
        if (d->list[i].refused && d->list[i].permission == one->permission && strcmp(d->list[i].name, one->name) == 0) {
            refused.until = d->list[i].until;
            in.decisions = &refused;
            in.ndecisions = 1;
        }
    return policy_judge(&in, &decision);
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

static bool granted(const struct policy_answer *a, enum permission p)
{
    for (size_t i = 0; i < a->ngrants; i++)
        if (a->grants[i].permission == p)
            return true;
    return false;
}

bool answer_same_workers(const struct policy_answer *a, const struct policy_answer *b)
{
    return answer_same_wall(a, b) && granted(a, PERMISSION_NETWORK_ACCESS) == granted(b, PERMISSION_NETWORK_ACCESS);
}

bool answer_less_of(enum permission p, const struct policy_answer *was, const struct policy_answer *is)
{
    for (size_t i = 0; i < was->ngrants; i++)
        if (was->grants[i].permission == p && !has(is, &was->grants[i]))
            return true;
    return granted(was, p) && was->nnever != is->nnever;
}

bool answer_same(const struct policy_answer *a, const struct policy_answer *b)
{
    for (size_t i = 0; i < a->ngrants; i++)
        if (!has(b, &a->grants[i]))
            return false;
    for (size_t i = 0; i < b->ngrants; i++)
        if (!has(a, &b->grants[i]))
            return false;
    return a->ready == b->ready && a->nnever == b->nnever;
}

/* ---- words ---- */

static bool blocks(const struct manifest_ask *ask, const struct policy_answer *a)
{
    return ask->required && !granted(a, ask->permission);
}

static bool is_refused(const struct policy_answer *a, enum permission p)
{
    return a->refused >> p & 1;
}

static const char *why_not(const struct policy_answer *a, enum permission p)
{
    if (is_refused(a, p))
        return ", which is refused";
    if (a->why[p] == POLICY_CEILING)
        return ", which a ceiling forbids (`moat ceiling list`)";
    return a->why[p] == POLICY_ENDED ? ", whose grant has ended" : "";
}

/* The command that decides, or false: none can, or none is known. */
static bool command_of(const struct manifest *m, const struct policy_answer *a, const struct manifest_ask *ask,
                       const char *scope, char out[POLICY_COMMAND_MAX])
{
    if (a->forbidden >> ask->permission & 1 || (*scope && policy_forbids(a, ask->permission, scope)))
        return false;
    return policy_command(m->name, (int)ask->permission, scope, out);
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
        bool known = command_of(m, a, ask, ask->nscopes ? ask->scopes[0] : "", command);
        used += (size_t)snprintf(out + used, size - used, "%s%s needs %s%s%s%s%s", used ? "; " : "", m->name,
                                 permission_name(ask->permission), why_not(a, ask->permission), known ? ": `" : "",
                                 known ? command : "", known ? "`" : "");
    }
}

static void tell_commands(struct buf *out, const struct manifest *m, const struct policy_answer *a,
                          const struct manifest_ask *ask)
{
    char command[POLICY_COMMAND_MAX];
    size_t n = ask->nscopes ? ask->nscopes : 1;
    for (size_t i = 0; i < n; i++)
        if (command_of(m, a, ask, ask->nscopes ? ask->scopes[i] : "", command))
            tell_text(out, NULL, command);
}

void tell_needs_grant(struct buf *out, const char *key, const struct manifest *m, const struct policy_answer *a)
{
    tell_open(out, key, '[');
    for (size_t i = 0; i < m->nasks; i++)
        if (a->undecided >> m->asks[i].permission & 1 || blocks(&m->asks[i], a))
            tell_commands(out, m, a, &m->asks[i]);
    tell_close(out, ']');
}

/* By the wall clock as it is now, which is what whoever reads it has. */
void tell_until(struct buf *out, const char *key, const struct decisions *d, uint64_t until)
{
    int64_t shown = (int64_t)until - d->ahead;
    tell_seconds(out, key, until ? (uint64_t)(shown > 0 ? shown : 1) : 0);
}

static void tell_scopes(struct buf *out, const struct manifest_ask *ask, const struct policy_answer *a,
                        const struct decisions *d)
{
    uint64_t until = 0;
    tell_open(out, "scopes", '[');
    for (size_t i = 0; i < a->ngrants; i++) {
        if (a->grants[i].permission != ask->permission)
            continue;
        if (a->grants[i].scope[0])
            tell_text(out, NULL, a->grants[i].scope);
        if (a->until[i] && (!until || a->until[i] < until))
            until = a->until[i];
    }
    tell_close(out, ']');
    tell_until(out, "until", d, until);
    tell_open(out, "suggested", '[');
    for (size_t i = 0; i < ask->nscopes; i++)
        tell_text(out, NULL, ask->scopes[i]);
    tell_close(out, ']');
}

void tell_permissions(struct buf *out, const char *key, const struct manifest *m, const struct policy_answer *a,
                      const struct decisions *d)
{
    tell_open(out, key, '[');
    for (size_t i = 0; i < m->nasks; i++) {
        const struct manifest_ask *ask = &m->asks[i];
        const char *decision = granted(a, ask->permission)      ? "granted"
                               : is_refused(a, ask->permission) ? "refused"
                                                                : "undecided";
        tell_open(out, NULL, '{');
        tell_text(out, "permission", permission_name(ask->permission));
        tell_flag(out, "required", ask->required);
        tell_text(out, "decision", decision);
        tell_text(out, "reason", policy_reason_name((enum policy_reason)a->why[ask->permission]));
        tell_scopes(out, ask, a, d);
        tell_open(out, "commands", '[');
        if (!granted(a, ask->permission))
            tell_commands(out, m, a, ask);
        tell_close(out, ']');
        tell_close(out, '}');
    }
    tell_close(out, ']');
}
