/* One plugin as any thread meets it: its queue, its bells to the loop and to supervise, what is shown of it. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "loader/internal.h"

struct plugin *plugin_new(struct loader *l, const char *name)
{
    struct plugin *p = aligned_alloc(64, (sizeof *p + 63) & ~63ul);
    if (!p)
        return NULL;
    memset(p, 0, sizeof *p);
    text_copy(p->name, sizeof p->name, name);
    p->l = l;
    p->soonest = UINT64_MAX;
    pthread_mutex_init(&p->lock, NULL);
    p->kick.run = plugin_drive;
    p->timer.fire = plugin_timer;
    p->quiet.run = plugin_quiet;
    p->want.run = plugin_wanted;
    p->probe.run = plugin_probed;
    p->retry.fire = plugin_retry;
    return p;
}

void plugin_free(struct plugin *p)
{
    denials_free(p);
    generation_unref(p->current);
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
    size_t sum = 0;
    for (size_t i = 0; i < config->nloops; i++)
        if (config->loops[i] == wish)
            return wish;
    for (const char *c = p->name; *c; c++)
        sum = 31 * sum + (unsigned char)*c;
    return config->loops[sum % config->nloops];
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

/* ---- the queue, all under the lock ---- */

static void link_last(struct plugin *p, struct call *c)
{
    struct hidden *h = call_hidden(c);
    h->prev = p->last;
    c->next = NULL;
    *(p->last ? &p->last->next : &p->first) = c;
    p->last = c;
}

static void link_first(struct plugin *p, struct call *c)
{
    call_hidden(c)->prev = NULL;
    c->next = p->first;
    if (p->first)
        call_hidden(p->first)->prev = c;
    else
        p->last = c;
    p->first = c;
}

static void queued(struct plugin *p, struct call *c)
{
    struct hidden *h = call_hidden(c);
    atomic_store(&h->state, CALL_QUEUED);
    atomic_fetch_add(&p->queued, 1);
    atomic_fetch_add(&p->l->queued, 1);
    if (h->deadline_ns < p->soonest)
        p->soonest = h->deadline_ns;
    if (atomic_load(&h->cancel)) /* meanwhile, when it comes back from a worker that died */
        p->soonest = 0;
}

static void take_out(struct plugin *p, struct call *c)
{
    struct hidden *h = call_hidden(c);
    *(h->prev ? &h->prev->next : &p->first) = c->next;
    if (c->next)
        call_hidden(c->next)->prev = h->prev;
    else
        p->last = h->prev;
    h->prev = NULL;
    c->next = NULL;
    atomic_store(&h->state, CALL_SENT);
    atomic_fetch_sub(&p->queued, 1);
    atomic_fetch_sub(&p->l->queued, 1);
}

/* An open circuit answers at once; when its time is over, one call is let through to see. */
static int pass_circuit(struct plugin *p, struct call *c)
{
    if (p->circuit == CIRCUIT_CLOSED)
        return 0;
    uint64_t now = clock_mono_ns();
    if (p->circuit == CIRCUIT_OPEN && now >= p->circuit_until) {
        p->circuit = CIRCUIT_TRIAL;
        call_hidden(c)->trial = true;
        return 0;
    }
    uint64_t left = p->circuit_until > now ? (p->circuit_until - now + NS_PER_S - 1) / NS_PER_S : 0;
    return error_set(&c->error, p->circuit_code,
                     "%s failed again and again and is left alone for %llu s (`moat load %s` tries now): %s", p->name,
                     (unsigned long long)left, p->name, p->circuit_why);
}

static int admit(struct plugin *p, struct call *c)
{
    const struct loader_config *config = &p->l->config;
    if (atomic_load(&p->l->closing))
        return error_set(&c->error, MOAT_E_DRAINING, "the host is shutting down");
    if (!p->current)
        return error_set(&c->error, MOAT_E_NO_SUCH_PLUGIN, "there is no plugin \"%s\"", p->name);
    if (p->current->gate)
        return call_refused(c, p->current);
    size_t waiting = atomic_load(&p->queued);
    if (waiting >= config->queue_per_plugin)
        return error_set(&c->error, MOAT_E_QUEUE_FULL, "%zu calls of %s wait already", waiting, p->name);
    waiting = atomic_load(&p->l->queued);
    if (waiting >= config->queue_total)
        return error_set(&c->error, MOAT_E_QUEUE_FULL, "%zu calls wait already", waiting);
    return pass_circuit(p, c);
}

int queue_add(struct plugin *p, struct call *c)
{
    plugin_loop(p, call_hidden(c)->waiter ? NULL : c->loop);
    pthread_mutex_lock(&p->lock);
    int rc = admit(p, c);
    if (rc == 0 && atomic_load(&call_hidden(c)->cancel))
        rc = error_set(&c->error, MOAT_E_CANCELLED, "the call was cancelled before it started");
    if (rc == 0) {
        link_last(p, c);
        queued(p, c);
    }
    bool nobody = p->shown.living == 0;
    pthread_mutex_unlock(&p->lock);
    if (rc)
        return rc;
    /* The loop would find that there is no worker; telling supervise from here saves its turn. */
    if (nobody)
        plugin_want(p);
    plugin_kick(p);
    return 0;
}

void queue_return(struct plugin *p, struct call_list *list)
{
    struct call *reversed = NULL;
    for (struct call *c = list->first, *next; c; c = next) {
        next = c->next;
        c->next = reversed;
        reversed = c;
    }
    call_list_init(list);
    if (!reversed)
        return;
    pthread_mutex_lock(&p->lock);
    for (struct call *c = reversed, *next; c; c = next) {
        next = c->next;
        link_first(p, c);
        queued(p, c);
    }
    pthread_mutex_unlock(&p->lock);
    plugin_kick(p);
}

struct call *queue_take(struct plugin *p)
{
    pthread_mutex_lock(&p->lock);
    struct call *c = p->first;
    if (c)
        take_out(p, c);
    pthread_mutex_unlock(&p->lock);
    return c;
}

bool queue_remove(struct plugin *p, struct call *c)
{
    pthread_mutex_lock(&p->lock);
    bool there = atomic_load(&call_hidden(c)->state) == CALL_QUEUED;
    if (there)
        take_out(p, c);
    pthread_mutex_unlock(&p->lock);
    return there;
}

uint64_t queue_expire(struct plugin *p, uint64_t now, struct call_list *late)
{
    pthread_mutex_lock(&p->lock);
    if (now >= p->soonest) {
        p->soonest = UINT64_MAX;
        for (struct call *c = p->first, *next; c; c = next) {
            struct hidden *h = call_hidden(c);
            next = c->next;
            if (h->deadline_ns <= now || atomic_load(&h->cancel)) {
                take_out(p, c);
                call_list_add(late, c);
            } else if (h->deadline_ns < p->soonest) {
                p->soonest = h->deadline_ns;
            }
        }
    }
    uint64_t soonest = p->first ? p->soonest : UINT64_MAX;
    pthread_mutex_unlock(&p->lock);
    return soonest;
}

void queue_empty(struct plugin *p, struct call_list *out)
{
    pthread_mutex_lock(&p->lock);
    while (p->first) {
        struct call *c = p->first;
        take_out(p, c);
        call_list_add(out, c);
    }
    p->soonest = UINT64_MAX;
    pthread_mutex_unlock(&p->lock);
}

/* ---- what is shown ---- */

#define LAST_WORDS_NS (100 * NS_PER_MS)

/* The plugin's own bytes: nothing of them may steer a terminal. */
void plugin_log_line(struct plugin *p, struct worker *w, const char *line, bool output)
{
    char clean[LINE_MAX_SHOWN];
    text_copy(clean, sizeof clean, line);
    for (char *c = clean; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
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

void plugin_health(struct plugin *p, enum health health, const char *why)
{
    pthread_mutex_lock(&p->lock);
    struct shown *s = &p->shown;
    if (s->health != health)
        s->health_since_ns = clock_wall_ns();
    s->health = health;
    text_copy(s->health_why, sizeof s->health_why, why);
    pthread_mutex_unlock(&p->lock);
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
    if (!living && s->health == HEALTH_HEALTHY) {
        s->health = HEALTH_UNKNOWN;
        s->health_since_ns = clock_wall_ns();
        s->health_why[0] = '\0';
    }
    bool open = g && !g->gate && p->circuit == CIRCUIT_CLOSED && !atomic_load(&p->l->closing);
    atomic_store(&p->open, open);
    atomic_store(&p->full, g && (g->starting || g->ready >= g->nworkers));
    pthread_mutex_unlock(&p->lock);
}
