/* One plugin as any thread meets it: its bells to the loop and to supervise, what is shown of it. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "loader/denials.h"
#include "loader/internal.h"

struct plugin *plugin_new(struct loader *l, const char *name)
{
    struct plugin *p = aligned_alloc(64, (sizeof *p + 63) & ~63ul);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    text_copy(p->name, sizeof p->name, name);
    p->l = l;
    p->queue.soonest = UINT64_MAX;
    pthread_mutex_init(&p->lock, NULL);
    p->kick.run = plugin_drive;
    p->timer.fire = plugin_timer;
    p->quiet.run = plugin_quiet;
    p->want.run = plugin_wanted;
    p->probe.run = plugin_probed;
    p->judge.run = canary_judged;
    p->guard_task.run = guard_judged;
    p->retry.fire = plugin_retry;
    return p;
}

void plugin_free(struct plugin *p)
{
    denials_free(p);
    generation_unref(p->current);
    canary_forget(p);
    guard_forget(p);
    quota_forget(p);
    records_free(p);
    pthread_mutex_destroy(&p->lock);
    free(p->errors);
    free(p);
}

/* The flag goes down before the work is looked at, so that what comes after that look rings again. */
static void ring_once(_Atomic bool *flag, struct loop *loop, struct loop_task *task)
{
    if (!atomic_exchange(flag, true))
        loop_post(loop, task);
}

static struct loop *choose_loop(const struct plugin *p, struct loop *wish)
{
    const struct loader_config *config = &p->l->config;
    size_t sum = 0, n = config->nloops ? config->nloops : 1; /* none is refused at the beginning */
    for (size_t i = 0; i < config->nloops; i++)
        if (config->loops[i] == wish)
            return wish;
    for (const char *c = p->name; *c; c++)
        sum = 31 * sum + (unsigned char)*c;
    return config->loops[sum % n];
}

struct loop *plugin_loop(struct plugin *p, struct loop *wish)
{
    struct loop *none = atomic_load(&p->loop);
    if (none)
        return none;
    struct loop *one = choose_loop(p, wish);
    return atomic_compare_exchange_strong(&p->loop, &none, one) ? one : none;
}

/* A plugin without a loop has had no call, and a worker that waits for the first one needs none. */
void plugin_kick(struct plugin *p)
{
    if (atomic_load(&p->loop) || atomic_load(&p->queued) || atomic_load(&p->flagged) || atomic_load(&p->ask_health))
        ring_once(&p->kicked, plugin_loop(p, NULL), &p->kick);
}

void plugin_want(struct plugin *p)
{
    ring_once(&p->wanted, p->l->supervise, &p->want);
}

struct generation *plugin_current(struct plugin *p)
{
    pthread_mutex_lock(&p->lock);
    struct generation *g = p->current ? generation_ref(p->current) : NULL;
    pthread_mutex_unlock(&p->lock);
    return g;
}

/* Under the lock. */
static bool is_of(const struct generation *g, const char *version)
{
    return g && strcmp(g->version, version) == 0;
}

/* Also while a worker of it that crashed is followed by another. */
static bool is_canary(struct plugin *p, const char *version)
{
    struct loader_canary c;
    return plugin_canary(p, &c) && (c.state == CANARY_RUNNING || c.state == CANARY_PASSED) &&
           strcmp(c.version, version) == 0;
}

bool loader_lives(struct loader *l, const char *name, const char *version)
{
    struct plugin *p = loader_plugin(l, name);
    if (!p)
        return false;
    if (is_canary(p, version))
        return true;
    pthread_mutex_lock(&p->lock);
    bool lives = is_of(p->current, version);
    for (unsigned i = 0; i < PLUGIN_SLOTS && !lives; i++)
        lives = p->roster[i] && is_of(p->roster[i]->gen, version);
    pthread_mutex_unlock(&p->lock);
    return lives;
}

/* ---- what is shown ---- */

#define LAST_WORDS_NS (100 * NS_PER_MS)

void plugin_log_line(struct plugin *p, struct worker *w, const char *line, bool output)
{
    char clean[LINE_MAX_SHOWN];
    text_plain(clean, sizeof clean, line, strlen(line));
    pthread_mutex_lock(&p->lock);
    /* The two ways have no common order; last words are what is written to standard error. */
    uint64_t now = clock_mono_ns();
    if (output || now > w->last_output_ns + LAST_WORDS_NS) {
        memcpy(p->last_log, clean, sizeof clean);
        memcpy(w->last_line, clean, sizeof clean);
    }
    if (output)
        w->last_output_ns = now;
    pthread_mutex_unlock(&p->lock);
}

/* Under the lock. */
static void combine(struct shown *s)
{
    const struct opinion *worse = s->rate.health > s->own.health ? &s->rate : &s->own;
    if (s->own.health == HEALTH_UNKNOWN)
        worse = &s->own; /* nothing runs */
    if (s->health != worse->health)
        s->health_since_ns = clock_wall_ns();
    s->health = worse->health;
    memcpy(s->health_why, worse->why, sizeof s->health_why);
}

static void opine(struct plugin *p, struct opinion *of, enum health health, const char *why)
{
    pthread_mutex_lock(&p->lock);
    of->health = health;
    text_copy(of->why, sizeof of->why, why);
    combine(&p->shown);
    pthread_mutex_unlock(&p->lock);
}

void plugin_health(struct plugin *p, enum health health, const char *why)
{
    opine(p, &p->shown.own, health, why);
}

void plugin_rate(struct plugin *p, enum health health, const char *why)
{
    opine(p, &p->shown.rate, health, why);
}

void plugin_show(struct plugin *p)
{
    unsigned living = 0;
    for (const struct worker *w = p->living; w; w = w->next)
        living++;
    const struct generation *g = p->current;
    pthread_mutex_lock(&p->lock);
    struct shown *s = &p->shown;
    s->defined = g != NULL;
    s->gate_closed = g && g->gate;
    s->needs_grant = g && g->gate == MOAT_E_PERMISSION_DENIED;
    s->ready = g ? g->ready : 0;
    s->starting = g && (g->starting || g->asked);
    s->next = p->next != NULL;
    s->living = living;
    s->not_before = p->not_before;
    if (!living && s->own.health == HEALTH_HEALTHY) {
        s->own = (struct opinion){.health = HEALTH_UNKNOWN};
        combine(s);
    }
    bool open = g && !g->gate && p->circuit == CIRCUIT_CLOSED && !p->canary && !atomic_load(&p->l->closing);
    atomic_store(&p->open, open);
    atomic_store(&p->full, g && (g->starting || g->ready >= g->nworkers) && canary_full(p));
    atomic_store(&p->canary_up, canary_ready(p));
    pthread_mutex_unlock(&p->lock);
}
