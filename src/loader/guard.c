/* The judging is measure/guard's; here is who tells it what, and when it is over. */
#include "loader/guard.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "loader/internal.h"

#define WARM_CALLS 10 /* of each worker that may be there: not called slow */

struct guard {
    struct plugin *plugin;
    struct loop_timer window; /* supervise */
    uint32_t *seen;
    size_t nseen;
    /* the plugin's lock */
    const struct generation *of; /* whose calls are judged */
    struct loader_guard told;
    struct guard_test test;
    uint16_t borders[]; /* by action */
};

const char *guard_state_name(enum guard_state s)
{
    static const char *const names[] = {"running", "passed", "expired", "worse", "rolled_back", "ended", "none", "off"};
    return (size_t)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

bool guard_state_parse(const char *name, enum guard_state *out)
{
    for (int s = 0; s < GUARD_STATES; s++)
        if (strcmp(guard_state_name((enum guard_state)s), name) == 0) {
            *out = (enum guard_state)s;
            return true;
        }
    return false;
}

/* ---- calls: who owns the worker ---- */

void guard_tell(struct worker *w, uint32_t run)
{
    struct plugin *p = w->plugin;
    bool fell = false;
    pthread_mutex_lock(&p->lock);
    struct guard *g = p->guard;
    if (g && w->gen == g->of && g->test.test.verdict == SEQUENTIAL_OPEN)
        fell = guard_add(&g->test, run) != SEQUENTIAL_OPEN;
    pthread_mutex_unlock(&p->lock);
    if (fell && !atomic_exchange(&p->guard_fell, true))
        loop_post(p->l->supervise, &p->guard_task);
}

/* ---- what is told ---- */

static double ratio(double log_evidence)
{
    return exp(fmin(log_evidence, 30));
}

static struct loader_canary_side side(const struct guard_side *s)
{
    return (struct loader_canary_side){s->calls, s->failed, s->slow};
}

/* Under the lock. */
static struct loader_guard told_now(const struct guard *g)
{
    struct loader_guard told = g->told;
    told.before = side(&g->test.before);
    told.after = side(&g->test.after);
    told.evidence_worse = ratio(g->test.test.log_worse);
    told.evidence_fine = ratio(g->test.test.log_fine);
    return told;
}

static void log_over(const struct plugin *p, const struct loader_guard *t)
{
    char worse[32], fine[32];
    snprintf(worse, sizeof worse, "%.3g", t->evidence_worse);
    snprintf(fine, sizeof fine, "%.3g", t->evidence_fine);
    log_event(t->state == GUARD_WORSE ? LOG_WARN : LOG_INFO, "config_guard_over", "plugin", p->name, "#revision",
              log_num(t->revision), "outcome", guard_state_name(t->state), "why", t->why, "#calls",
              log_num(t->after.calls), "#failed", log_num(t->after.failed), "#slow", log_num(t->after.slow),
              "#calls_before", log_num(t->before.calls), "#failed_before", log_num(t->before.failed), "#slow_before",
              log_num(t->before.slow), "evidence_worse", worse, "evidence_fine", fine, NULL);
}

/* ---- its end: supervise ---- */

/* What is left of it is the caller's. */
static struct guard *take_away(struct plugin *p, enum guard_state state, const char *why)
{
    struct guard *g = p->guard;
    struct loader_guard *last = malloc(sizeof *last); /* NULL: it is not shown later */
    loop_timer_clear(&g->window);
    pthread_mutex_lock(&p->lock);
    g->told.state = state;
    g->told.until_ns = clock_wall_ns();
    text_copy(g->told.why, sizeof g->told.why, why);
    g->told = told_now(g);
    if (last)
        *last = g->told;
    p->guard = NULL;
    atomic_store(&p->guard_on, false);
    free(p->last_guard);
    p->last_guard = last;
    pthread_mutex_unlock(&p->lock);
    log_over(p, &g->told);
    return g;
}

static void guard_free(struct guard *g)
{
    if (g)
        free(g->seen);
    free(g);
}

static void over(struct plugin *p, enum guard_state state, const char *why)
{
    const struct loader_config *config = &p->l->config;
    struct guard *g = take_away(p, state, why);
    if (state == GUARD_WORSE) { /* what was before is to be again, and what was seen of it with it */
        pthread_mutex_lock(&p->lock);
        outcomes_restart(p, p->current, false);
        outcomes_put(p, g->seen, g->nseen);
        pthread_mutex_unlock(&p->lock);
    }
    if (config->on_guard)
        config->on_guard(config->context, p->name, &g->told);
    guard_free(g);
}

void guard_end(struct plugin *p, const char *why)
{
    if (p->guard)
        over(p, GUARD_ENDED, why);
}

static void window_over(struct loop_timer *timer)
{
    struct guard *g = (struct guard *)(void *)((char *)timer - offsetof(struct guard, window));
    over(g->plugin, GUARD_EXPIRED, "its time was over before the calls showed whether it is worse");
}

/* The verdict fell. */
void guard_judged(struct loop_task *task)
{
    struct plugin *p = (struct plugin *)(void *)((char *)task - offsetof(struct plugin, guard_task));
    atomic_exchange(&p->guard_fell, false);
    struct guard *g = p->guard;
    if (!g)
        return;
    pthread_mutex_lock(&p->lock);
    enum sequential_verdict verdict = g->test.test.verdict;
    struct loader_guard t = told_now(g);
    pthread_mutex_unlock(&p->lock);
    if (verdict == SEQUENTIAL_FINE)
        over(p, GUARD_PASSED, "it is not worse than what was before");
    if (verdict != SEQUENTIAL_WORSE)
        return;
    char why[200];
    snprintf(why, sizeof why,
             "%llu of its %llu calls failed and %llu were slow; before, %llu of %llu failed and %llu "
             "were slow",
             (unsigned long long)t.after.failed, (unsigned long long)t.after.calls, (unsigned long long)t.after.slow,
             (unsigned long long)t.before.failed, (unsigned long long)t.before.calls,
             (unsigned long long)t.before.slow);
    over(p, GUARD_WORSE, why);
}

/* With what was before it did not crash like that, or its circuit would have been open. */
void guard_gave_up(struct plugin *p, const struct error *err)
{
    char why[200];
    if (!p->guard)
        return;
    snprintf(why, sizeof why, "the plugin failed again and again: %.150s", err->message);
    over(p, GUARD_WORSE, why);
}

/* ---- its beginning: supervise ---- */

static struct guard *guard_new(struct plugin *p, const struct loader_guard_ask *ask)
{
    size_t nactions = p->current->spec->manifest->nactions;
    struct guard *g = calloc(1, sizeof *g + nactions * sizeof *g->borders);
    if (!g)
        return NULL;
    g->plugin = p;
    g->window.fire = window_over;
    uint64_t now = clock_wall_ns();
    g->told = (struct loader_guard){.revision = ask->revision,
                                    .base = ask->base,
                                    .state = GUARD_RUNNING,
                                    .since_ns = now,
                                    .ends_ns = now + ask->window_ns};
    return g;
}

/* What was seen before; of a change that is still watched, what was seen before that. */
static void take_seen(struct plugin *p, struct guard *g)
{
    if (p->guard) {
        char why[120];
        g->seen = p->guard->seen;
        g->nseen = p->guard->nseen;
        g->told.base = p->guard->told.base;
        p->guard->seen = NULL;
        snprintf(why, sizeof why, "revision %llu came meanwhile: both are judged as one",
                 (unsigned long long)g->told.revision);
        guard_end(p, why);
        return;
    }
    pthread_mutex_lock(&p->lock);
    g->nseen = outcomes_take(p, &g->seen);
    pthread_mutex_unlock(&p->lock);
}

static void show_last(struct plugin *p, const struct guard *g)
{
    pthread_mutex_lock(&p->lock);
    if (!p->last_guard)
        p->last_guard = malloc(sizeof *p->last_guard);
    if (p->last_guard)
        *p->last_guard = told_now(g);
    pthread_mutex_unlock(&p->lock);
}

static void begin(struct plugin *p, const struct generation *of, const struct loader_guard_ask *ask)
{
    struct guard *g = guard_new(p, ask);
    if (!g) {
        guard_end(p, "there is no memory to watch the next one");
        return;
    }
    take_seen(p, g);
    g->of = of;
    const struct manifest *m = p->current->spec->manifest;
    unsigned warm = WARM_CALLS * p->current->nworkers;
    if (!guard_init(&g->test, g->seen, g->nseen, g->borders, m->nactions, warm)) {
        g->told.state = GUARD_NONE;
        g->told.until_ns = g->told.since_ns;
        snprintf(g->told.why, sizeof g->told.why, "%llu calls were seen before: too few to compare with",
                 (unsigned long long)g->test.before.calls);
        show_last(p, g);
        guard_free(g);
        return;
    }
    log_event(LOG_INFO, "config_guard_started", "plugin", p->name, "#revision", log_num(ask->revision), NULL);
    pthread_mutex_lock(&p->lock);
    p->guard = g;
    atomic_store(&p->guard_on, true);
    pthread_mutex_unlock(&p->lock);
    loop_timer_set(p->l->supervise, &g->window, clock_mono_ns() + ask->window_ns);
}

void guard_changed(struct plugin *p, const struct generation *g, const struct loader_guard_ask *ask)
{
    bool back = ask && ask->back;
    if (ask && !back && p->current)
        begin(p, g, ask);
    else
        guard_end(p, "the plugin was defined anew, or configured without a guard");
    pthread_mutex_lock(&p->lock);
    outcomes_restart(p, g, back);
    pthread_mutex_unlock(&p->lock);
}

/* The same with the same configuration in fresh workers goes on; behind a closed gate nothing does. */
void guard_published(struct plugin *p, const struct generation *g)
{
    const struct generation *old = p->current;
    if (g->gate) {
        guard_end(p, "the plugin was unloaded, or may not run any more");
        return;
    }
    if (!old || !change_is_none(old->told, g->told)) {
        guard_changed(p, g, g->guard_asked ? &g->guard : NULL);
        return;
    }
    pthread_mutex_lock(&p->lock);
    if (p->guard)
        p->guard->of = g;
    pthread_mutex_unlock(&p->lock);
}

/* ---- telling: any thread ---- */

bool plugin_guard(struct plugin *p, struct loader_guard *out)
{
    pthread_mutex_lock(&p->lock);
    bool there = p->guard || p->last_guard;
    if (p->guard)
        *out = told_now(p->guard);
    else if (p->last_guard)
        *out = *p->last_guard;
    pthread_mutex_unlock(&p->lock);
    return there;
}

void plugin_guard_settle(struct plugin *p, uint64_t revision, bool back, const char *why)
{
    pthread_mutex_lock(&p->lock);
    struct loader_guard *last = p->last_guard;
    if (last && last->revision == revision && last->state == GUARD_WORSE) {
        last->state = back ? GUARD_ROLLED_BACK : GUARD_ENDED;
        if (why)
            text_copy(last->why, sizeof last->why, why);
    }
    pthread_mutex_unlock(&p->lock);
}

void guard_forget(struct plugin *p)
{
    guard_free(p->guard);
    free(p->last_guard);
    free(p->outcomes);
}
