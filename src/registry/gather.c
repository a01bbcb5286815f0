#include "registry/gather.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "registry/internal.h"

static bool same(const struct gather_refusal *a, const struct gather_refusal *b)
{
    return a->code == b->code && strcmp(a->actor, b->actor) == 0 && strcmp(a->action, b->action) == 0 &&
           strcmp(a->subject, b->subject) == 0;
}

static void add_refusal(struct gather *g, const struct gather_refusal *one)
{
    for (size_t i = 0; i < g->nrefusals; i++) {
        if (same(&g->refusals[i], one)) {
            g->refusals[i].count += one->count;
            return;
        }
    }
    if (g->nrefusals < GATHER_REFUSALS) {
        g->refusals[g->nrefusals++] = *one;
        return;
    }
    /* A flood of different ones: their number is kept, not their names. */
    struct gather_refusal *rest = &g->refusals[GATHER_REFUSALS];
    if (g->nrefusals == GATHER_REFUSALS) {
        *rest = (struct gather_refusal){.actor = "*", .action = "*", .subject = "*", .code = one->code};
        g->nrefusals++;
    }
    rest->count += one->count;
}

void gather_refusal(struct gather *g, const struct registry_refusal *refusal)
{
    struct gather_refusal one = {.code = refusal->code, .count = 1};
    snprintf(one.actor, sizeof one.actor, "%s", refusal->actor ? refusal->actor : AUDIT_HOST);
    snprintf(one.call, sizeof one.call, "%s", refusal->call ? refusal->call : "");
    snprintf(one.action, sizeof one.action, "%s", refusal->action);
    snprintf(one.subject, sizeof one.subject, "%s", refusal->subject ? refusal->subject : "*");
    if (!g->due_ns)
        g->due_ns = clock_mono_ns() + GATHER_NS;
    add_refusal(g, &one);
}

void gather_give_back(struct gather *g, struct gather *taken)
{
    for (size_t i = 0; i < taken->nrefusals; i++)
        add_refusal(g, &taken->refusals[i]);
    if (taken->due_ns && !g->due_ns)
        g->due_ns = clock_mono_ns() + GATHER_NS;
    *taken = (struct gather){0};
}

int gather_write(struct registry *r, const struct gather *g, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < g->nrefusals && rc == 0; i++) {
        const struct gather_refusal *one = &g->refusals[i];
        struct registry_audit_record e = {.time_ms = r->now_ms,
                                          .count = one->count,
                                          .actor = one->actor,
                                          .call = one->call,
                                          .action = one->action,
                                          .subject = one->subject,
                                          .outcome = error_info(one->code)->name,
                                          .detail = ""};
        rc = audit_append(&r->writer, &r->head, &e, err);
    }
    return rc;
}
