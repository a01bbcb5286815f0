#include "loader/outcome.h"

#include <stdlib.h>

#include "loader/internal.h"

/* ---- what an end says ---- */

/* What the plugin is to blame for; what its caller or an operator did says nothing about it. false: nothing. */
static bool says(const struct worker *w, const struct call *c, int rc, enum guard_kind *out)
{
    const struct hidden *h = call_hidden((struct call *)(uintptr_t)c);
    switch (rc ? (enum moat_code) - rc : MOAT_E_OK) {
    case MOAT_E_OK:
        *out = GUARD_GOOD;
        return true;
    case MOAT_E_ACTION_FAILED:
    case MOAT_E_BAD_RESULT:
    case MOAT_E_PLUGIN_CRASHED:
    case MOAT_E_LIMIT:
        *out = GUARD_FAILED;
        return true;
    case MOAT_E_DEADLINE:
        *out = h->deadline_ns - h->begun_ns >= call_usual_span(w->l, w->gen) ? GUARD_LATE : GUARD_CUT_SHORT;
        return true;
    default:
        return false;
    }
}

/* ---- the owner's ---- */

static void keep(struct worker *w, uint32_t run)
{
    struct outcomes *o = atomic_load_explicit(&w->outcomes, memory_order_relaxed);
    if (__builtin_expect(!o, 0)) {
        o = calloc(1, sizeof *o);
        if (!o)
            return; /* there is less to compare with */
        atomic_store_explicit(&w->outcomes, o, memory_order_release);
    }
    uint64_t n = atomic_load_explicit(&o->n, memory_order_relaxed);
    atomic_store_explicit(&o->runs[n % OUTCOMES_KEPT], run, memory_order_relaxed);
    atomic_store_explicit(&o->n, n + 1, memory_order_release);
}

void outcome_tell(struct worker *w, const struct call *c, uint32_t action, uint64_t ran_ns, int rc)
{
    struct plugin *p = w->plugin;
    enum guard_kind kind;
    if (!says(w, c, rc, &kind))
        return;
    keep(w, guard_run(kind, action, ran_ns));
    if (__builtin_expect(atomic_load_explicit(&p->canary_on, memory_order_relaxed), 0))
        canary_tell(w, action, ran_ns, kind);
    if (__builtin_expect(atomic_load_explicit(&p->guard_on, memory_order_relaxed), 0))
        guard_tell(w, guard_run(kind, action, ran_ns));
}

/* ---- supervise's ---- */

uint64_t outcomes_count(const struct worker *w)
{
    const struct outcomes *o = atomic_load_explicit(&w->outcomes, memory_order_acquire);
    return o ? atomic_load_explicit(&o->n, memory_order_acquire) : 0;
}

/* Those of them that count and are still there, the oldest first. */
static size_t copy(const struct outcomes *o, uint64_t from, uint32_t out[OUTCOMES_KEPT])
{
    uint64_t end = o ? atomic_load_explicit(&o->n, memory_order_acquire) : 0;
    size_t n = 0;
    if (end > OUTCOMES_KEPT && from < end - OUTCOMES_KEPT)
        from = end - OUTCOMES_KEPT;
    for (; from < end; from++)
        out[n++] = atomic_load_explicit(&o->runs[from % OUTCOMES_KEPT], memory_order_relaxed);
    return n;
}

void outcomes_put(struct plugin *p, const uint32_t *runs, size_t n)
{
    if (n && !p->outcomes)
        p->outcomes = calloc(1, sizeof *p->outcomes);
    struct outcomes *o = p->outcomes;
    for (size_t i = 0; o && i < n; i++) {
        uint64_t at = atomic_load_explicit(&o->n, memory_order_relaxed);
        atomic_store_explicit(&o->runs[at % OUTCOMES_KEPT], runs[i], memory_order_relaxed);
        atomic_store_explicit(&o->n, at + 1, memory_order_relaxed);
    }
}

void outcomes_gone(struct worker *w)
{
    uint32_t runs[OUTCOMES_KEPT];
    outcomes_put(w->plugin, runs, copy(atomic_load(&w->outcomes), w->outcomes_from, runs));
}

void outcomes_restart(struct plugin *p, const struct generation *g, bool keep)
{
    for (struct worker *w = p->living; w; w = w->next)
        w->outcomes_from = w->gen == g ? outcomes_count(w) : UINT64_MAX;
    if (p->outcomes && !keep)
        atomic_store(&p->outcomes->n, 0);
}

size_t outcomes_take(const struct plugin *p, uint32_t **out)
{
    size_t workers = 1, n = 0;
    for (const struct worker *w = p->living; w; w = w->next)
        workers++;
    *out = malloc(workers * OUTCOMES_KEPT * sizeof **out);
    if (!*out)
        return 0;
    n = copy(p->outcomes, 0, *out);
    for (const struct worker *w = p->living; w; w = w->next)
        n += copy(atomic_load_explicit(&w->outcomes, memory_order_acquire), w->outcomes_from, *out + n);
    return n;
}
