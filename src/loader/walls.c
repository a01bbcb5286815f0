/* Half-built walls: a few stand ready, filled up again when nobody waits for one; each start takes one. */
#include "base/log.h"
#include "loader/internal.h"

#define REFILL_NS (10 * NS_PER_MS)
#define CROWDED_NS (20 * NS_PER_MS)
#define BURST_NS NS_PER_S

static struct generation *first_start(struct loader *l)
{
    struct generation *g = l->starts;
    l->starts = g->next_start;
    g->next_start = NULL;
    g->waits_for_wall = false;
    return g;
}

static void first_again(struct loader *l, struct generation *g)
{
    g->next_start = l->starts;
    l->starts = g;
    g->waits_for_wall = true;
}

static void fail_start(struct generation *g, const struct error *err)
{
    g->starting--;
    generation_start_failed(g, err);
}

static void assign_one(struct loader *l)
{
    struct generation *g = first_start(l);
    struct worker *w = l->pool;
    l->pool = w->next;
    l->pooled.ready--;
    struct error err;
    if (worker_assign(w, g, &err) == 0)
        return;
    /* Half an assignment may have been sent: that wall is of no use to anyone else. */
    bool gone = w->child.gone;
    worker_discard(w);
    if (gone && (l->pool || g->lost++ < LOST_MAX))
        first_again(l, g); /* the next one, or one that is built for it */
    else
        fail_start(g, &err);
}

static bool is_short(const struct loader *l)
{
    return l->spawning + l->pooled.ready < l->pooled.size;
}

static unsigned waiting(const struct loader *l)
{
    unsigned n = 0;
    for (const struct generation *g = l->starts; g; g = g->next_start)
        n++;
    return n;
}

/* ---- too many workers ---- */

static struct plugin *rests_longest(struct loader *l)
{
    struct plugin *longest = NULL;
    uint64_t earliest = UINT64_MAX;
    pthread_mutex_lock(&l->table_lock);
    struct plugin *all = l->plugins;
    pthread_mutex_unlock(&l->table_lock);
    for (struct plugin *p = all; p; p = p->next_of_all) {
        uint64_t since = plugin_rests_since(p);
        if (since && since < earliest) {
            earliest = since;
            longest = p;
        }
    }
    return longest;
}

static unsigned leaving(const struct loader *l)
{
    unsigned n = 0;
    for (const struct worker *w = l->workers; w; w = w->next_of_all)
        n += w->gen && (atomic_load(&w->flags) & ~(uint32_t)WORKER_PAUSED);
    return n;
}

/* Starts that wait have their room made by those who have rested longest; where nobody rests they wait on. */
static void make_room(struct loader *l)
{
    unsigned wanted = waiting(l), going = leaving(l);
    struct plugin *p = NULL;
    while (going < wanted && (p = rests_longest(l))) {
        log_event(LOG_INFO, "stopped_for_room", "plugin", p->name, NULL);
        plugin_rest(p);
        going = leaving(l);
    }
    if (going < wanted)
        loop_timer_set(l->supervise, &l->crowded, clock_mono_ns() + CROWDED_NS);
}

void walls_crowded(struct loop_timer *timer)
{
    walls_pump((struct loader *)(void *)((char *)timer - offsetof(struct loader, crowded)));
}

static void pump_once(struct loader *l)
{
    struct error err;
    while (l->starts && l->pool && l->living < l->config.workers_total)
        assign_one(l);
    if (l->starts && l->living >= l->config.workers_total) {
        make_room(l);
        return; /* whoever leaves comes back here */
    }
    if (spawner_resting(l))
        return; /* a timer comes back here */
    if (!atomic_load(&l->closing) && spawner_again(l, &err))
        log_event(LOG_ERROR, "spawner_missing", "why", err.message, NULL);
    while (l->spawning < waiting(l)) {
        if (worker_spawn(l, &err) == 0)
            continue;
        if (spawner_just_died(l)) {
            l->pump_again = true; /* that says nothing about who starts: once more with a new one */
            return;
        }
        while (l->starts)
            fail_start(first_start(l), &err);
    }
    if (is_short(l) && !l->refill_failed && !l->refill.slot && !atomic_load(&l->closing))
        loop_timer_set(l->supervise, &l->refill, clock_mono_ns() + REFILL_NS);
}

/* Building a wall takes milliseconds of a CPU: not while somebody starts, nor during the first calls after that. */
void walls_refill(struct loop_timer *timer)
{
    struct loader *l = (struct loader *)(void *)((char *)timer - offsetof(struct loader, refill));
    struct error err;
    if (l->starts || l->assigned || atomic_load(&l->closing) || spawner_resting(l))
        return; /* the end of that comes back to walls_pump */
    while (!l->refill_failed && is_short(l))
        l->refill_failed = worker_spawn(l, &err) != 0;
}

void walls_pump(struct loader *l)
{
    l->pump_again = true;
    if (l->pumping)
        return; /* a failed start asked again from inside */
    l->pumping = true;
    while (l->pump_again) {
        l->pump_again = false;
        pump_once(l);
    }
    l->pumping = false;
}

/* Starts within a second are at once: what stands ready is all that they find. */
static void count_start(struct loader *l)
{
    uint64_t now = clock_mono_ns();
    if (now - l->pooled.burst_ns > BURST_NS) {
        l->pooled.burst_ns = now;
        l->pooled.burst = 0;
    }
    l->pooled.burst++;
    atomic_fetch_add(&l->pooled.asked, 1);
    if (l->pooled.burst > atomic_load(&l->pooled.asked_at_once))
        atomic_store(&l->pooled.asked_at_once, l->pooled.burst);
    counts_stir(l);
}

void walls_ask(struct loader *l, struct generation *g)
{
    count_start(l);
    struct generation **end = &l->starts;
    while (*end)
        end = &(*end)->next_start;
    *end = g;
    g->waits_for_wall = true;
    g->starting++;
    walls_pump(l);
}

void walls_forget(struct loader *l, struct generation *g)
{
    if (!g->waits_for_wall)
        return;
    for (struct generation **link = &l->starts; *link; link = &(*link)->next_start)
        if (*link == g) {
            *link = g->next_start;
            break;
        }
    g->next_start = NULL;
    g->waits_for_wall = false;
    g->starting--;
}

void walls_failed(struct loader *l, const struct error *err, bool lost_spawner)
{
    if (lost_spawner)
        return; /* a new one is asked again */
    if (l->starts)
        fail_start(first_start(l), err);
    else
        l->refill_failed = true;
}

/* ---- how many stand ready ---- */

/* What is too much leaves; what is missing is built as after a start. */
void walls_resize(struct loop_task *task)
{
    struct loader *l = (struct loader *)(void *)((char *)task - offsetof(struct loader, pooled.resize));
    atomic_store(&l->pooled.resizing, false);
    while (l->pool && l->spawning + l->pooled.ready > l->pooled.size)
        worker_discard(l->pool);
    l->refill_failed = false;
    walls_pump(l);
}

void loader_pool_set(struct loader *l, unsigned size)
{
    if (atomic_exchange(&l->pooled.size, size) != size && !atomic_exchange(&l->pooled.resizing, true))
        loop_post(l->supervise, &l->pooled.resize);
}

void loader_pool(const struct loader *l, struct loader_pool *out)
{
    *out = (struct loader_pool){.size = atomic_load(&l->pooled.size), .ready = atomic_load(&l->pooled.ready)};
}

bool loader_take_starts(struct loader *l, uint64_t *starts, unsigned *at_once)
{
    *starts = atomic_exchange(&l->pooled.asked, 0);
    *at_once = atomic_exchange(&l->pooled.asked_at_once, 0);
    return *starts > 0;
}

void walls_close(struct loader *l)
{
    for (struct worker *w = l->workers, *next; w; w = next) {
        next = w->next_of_all;
        if (!w->gen)
            worker_discard(w);
    }
}
