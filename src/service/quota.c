/* How much may come to lie in the places that a plugin may write: from grants and what was weighed when they were made
 * to the bounds that the loader holds it to. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "service/internal.h"

int quota_weigh(const struct grant *g, const struct policy_answer *a, int64_t *held, struct error *err)
{
    struct wall_grant place;
    uint64_t bytes;
    *held = REGISTRY_UNWEIGHED;
    if (g->permission != PERMISSION_FILE_WRITE)
        return 0;
    int rc = grant_resolve(g, a, &place, err);
    if (rc == 0)
        rc = weigh(&place, UINT64_MAX, NULL, &bytes, err);
    if (rc == 0)
        *held = (int64_t)bytes;
    return rc;
}

/* The record that a grant in force comes from. */
static const struct registry_decision *record_of(const struct decisions *d, const struct grant *g)
{
    for (size_t i = 0; i < d->count; i++) {
        struct grant one;
        if (!d->list[i].refused && record_as_grant(&d->list[i], &one) && grant_normalise(&one) && grant_equal(&one, g))
            return &d->list[i];
    }
    return NULL;
}

/* Of the same place: however it was named. */
static struct spec_quota *same_place(struct spec *s, const struct wall_grant *place)
{
    for (size_t i = 0; i < s->nquotas; i++)
        if (s->quotas[i].place.dev == place->dev && s->quotas[i].place.ino == place->ino)
            return &s->quotas[i];
    return NULL;
}

static void keep_weight(struct job *job, const char *name, const struct registry_decision *d, uint64_t held)
{
    struct registry_decision weighed = *d;
    struct registry_command c = {.verb = REGISTRY_GRANT_WEIGHED,
                                 .grant_weighed = {.name = name, .list = &weighed, .count = 1}};
    weighed.held = (int64_t)held;
    registry_run(job->s->registry, &c, NULL); /* when it cannot be kept, the next start weighs it */
}

/* What is known of the place is what counts: a second grant of it with another bound begins no new count. */
static int find_held(struct job *job, struct spec *s, const struct registry_decision *d, const struct spec_quota *same,
                     const struct wall_grant *place, uint64_t *held, struct error *err)
{
    if (same || (d && d->held >= 0)) {
        *held = same ? same->held : (uint64_t)d->held;
        return 0;
    }
    int rc = weigh(place, UINT64_MAX, NULL, held, err);
    if (rc == 0 && d)
        keep_weight(job, s->manifest->name, d, *held);
    return rc;
}

static int add(struct job *job, struct spec *s, const struct grant *g, const struct policy_answer *a,
               const struct decisions *decisions, struct error *err)
{
    struct wall_grant place;
    uint64_t held = 0, most = grant_most(g) ? grant_most(g) : job->s->settings.file_write_max;
    int rc = grant_find(g, a, &place, err);
    if (rc < 0)
        return rc;
    struct spec_quota *same = same_place(s, &place);
    rc = find_held(job, s, record_of(decisions, g), same, &place, &held, err);
    if (rc < 0)
        return rc;
    if (same) {
        same->bound = held + most > same->bound ? held + most : same->bound;
        return 0;
    }
    struct spec_quota *q = &s->quotas[s->nquotas++];
    *q = (struct spec_quota){.place = place, .held = held, .bound = held + most};
    grant_place(g, q->granted);
    return 0;
}

/* Those that were decided first, first: what a place held then is what counts. */
static int order(const struct decisions *d, const struct grant *a, const struct grant *b)
{
    const struct registry_decision *x = record_of(d, a), *y = record_of(d, b);
    uint64_t at = x ? x->decided_at : UINT64_MAX, bt = y ? y->decided_at : UINT64_MAX;
    return at < bt ? -1 : at > bt ? 1 : strcmp(a->scope, b->scope);
}

static size_t writable(const struct policy_answer *a, const struct decisions *d, const struct grant **out)
{
    size_t n = 0;
    for (size_t i = 0; i < a->ngrants; i++) {
        if (a->grants[i].permission != PERMISSION_FILE_WRITE)
            continue;
        size_t at = n++;
        for (; at && order(d, &a->grants[i], out[at - 1]) < 0; at--)
            out[at] = out[at - 1];
        out[at] = &a->grants[i];
    }
    return n;
}

static bool lies_in(const struct spec_quota *outer, const struct spec_quota *inner)
{
    size_t n = strlen(outer->place.path);
    return strncmp(outer->place.path, inner->place.path, n) == 0 && inner->place.path[n] == '/';
}

static uint64_t most_of(const struct spec_quota *q)
{
    return q->bound - q->held;
}

/* A place inside another that may take more than the other is counted in both, and the other may take that more: a
 * grant takes nothing away. One that may take no more adds nothing. */
static void nest(struct spec *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->nquotas; i++) {
        bool says = true;
        for (size_t j = 0; j < s->nquotas && says; j++)
            says = !(lies_in(&s->quotas[j], &s->quotas[i]) && most_of(&s->quotas[i]) <= most_of(&s->quotas[j]));
        s->quotas[i].place.writable = says;
    }
    for (size_t i = 0; i < s->nquotas; i++)
        if (s->quotas[i].place.writable)
            s->quotas[kept++] = s->quotas[i];
    s->nquotas = kept;
    uint64_t more[WALL_GRANTS_MAX] = {0};
    for (size_t i = 0; i < kept; i++)
        for (size_t j = 0; j < kept; j++)
            if (lies_in(&s->quotas[i], &s->quotas[j]))
                more[i] += most_of(&s->quotas[j]);
    for (size_t i = 0; i < kept; i++)
        s->quotas[i].bound += more[i];
}

static int plan(struct job *job, struct spec *s, const struct policy_answer *a, const struct decisions *decisions,
                struct error *err)
{
    const struct grant *grants[POLICY_GRANTS_MAX];
    size_t n = writable(a, decisions, grants);
    int rc = 0;
    free(s->quotas);
    s->nquotas = 0;
    s->quotas = n ? calloc(n, sizeof *s->quotas) : NULL;
    if (n && !s->quotas)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the places that %s may write", s->manifest->name);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add(job, s, grants[i], a, decisions, err);
    if (rc == 0)
        nest(s);
    return rc;
}

static bool writes(const struct policy_answer *a)
{
    for (size_t i = 0; i < a->ngrants; i++)
        if (a->grants[i].permission == PERMISSION_FILE_WRITE)
            return true;
    return false;
}

int quota_plan(struct job *job, struct spec *s, const struct policy_answer *a, const struct decisions *decisions,
               struct error *err)
{
    struct decisions read = {0};
    int rc = 0;
    if (!writes(a))
        return 0;
    if (!decisions) {
        rc = decisions_read(job, s->manifest->name, &read, err);
        decisions = &read;
    }
    if (rc == 0)
        rc = plan(job, s, a, decisions, err);
    decisions_free(&read);
    return rc;
}
