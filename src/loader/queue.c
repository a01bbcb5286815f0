/* A plugin's queue: calls in host memory that wait for a worker; bounded, fair between those who ask, each of them to
 * be withdrawn.
 *
 * Callers are spread over a few lanes by who they are (stochastic fair queueing), and lanes take turns: who floods
 * waits behind himself, not others behind him.  In a full queue the newest call of the longest lane makes room for one
 * of a shorter lane.  Everything is under the plugin's lock. */
#include <stdlib.h>
#include <string.h>

#include "loader/internal.h"

/* ---- lanes ---- */

static struct queue_lane *lane_of(struct plugin *p, const struct call *c)
{
    const struct hidden *h = call_hidden((struct call *)(uintptr_t)c);
    return &p->queue.lanes[h->side * QUEUE_LANES + c->principal % QUEUE_LANES];
}

static uint32_t bit_of(const struct plugin *p, const struct queue_lane *lane)
{
    return 1u << (lane - p->queue.lanes);
}

static void link_last(struct plugin *p, struct call *c)
{
    struct queue_lane *lane = lane_of(p, c);
    call_hidden(c)->prev = lane->last;
    c->next = NULL;
    *(lane->last ? &lane->last->next : &lane->first) = c;
    lane->last = c;
}

static void link_first(struct plugin *p, struct call *c)
{
    struct queue_lane *lane = lane_of(p, c);
    call_hidden(c)->prev = NULL;
    c->next = lane->first;
    if (lane->first)
        call_hidden(lane->first)->prev = c;
    else
        lane->last = c;
    lane->first = c;
}

/* It was linked. */
static void queued(struct plugin *p, struct call *c)
{
    struct hidden *h = call_hidden(c);
    struct queue_lane *lane = lane_of(p, c);
    lane->count++;
    p->queue.filled |= bit_of(p, lane);
    atomic_store(&h->state, CALL_QUEUED);
    atomic_fetch_add(&p->queued, 1);
    atomic_fetch_add(&p->l->queued, 1);
    if (h->deadline_ns < p->queue.soonest)
        p->queue.soonest = h->deadline_ns;
    if (atomic_load(&h->cancel)) /* meanwhile, when it comes back from a worker that died */
        p->queue.soonest = 0;
}

static void take_out(struct plugin *p, struct call *c)
{
    struct hidden *h = call_hidden(c);
    struct queue_lane *lane = lane_of(p, c);
    *(h->prev ? &h->prev->next : &lane->first) = c->next;
    if (c->next)
        call_hidden(c->next)->prev = h->prev;
    else
        lane->last = h->prev;
    h->prev = NULL;
    c->next = NULL;
    if (!--lane->count)
        p->queue.filled &= ~bit_of(p, lane);
    atomic_store(&h->state, CALL_SENT);
    atomic_fetch_sub(&p->queued, 1);
    atomic_fetch_sub(&p->l->queued, 1);
}

/* The lane whose turn it is: the next filled one behind the last that had its turn. The two sides go on beside each
 * other, so each keeps its own. */
static struct queue_lane *next_lane(struct plugin *p, uint32_t lanes)
{
    uint32_t filled = p->queue.filled & lanes, *turn = &p->queue.turn[lanes == QUEUE_SIDE(1)];
    if (!filled)
        return NULL;
    uint32_t behind = filled & ~((2u << *turn) - 1);
    *turn = (uint32_t)__builtin_ctz(behind ? behind : filled);
    return &p->queue.lanes[*turn];
}

static struct queue_lane *longest_lane(struct plugin *p)
{
    struct queue_lane *longest = p->queue.lanes;
    for (size_t i = 1; i < 2 * QUEUE_LANES; i++)
        if (p->queue.lanes[i].count > longest->count)
            longest = &p->queue.lanes[i];
    return longest;
}

/* ---- in ---- */

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
    if (quota_told(p, &c->error)) /* one call at a time tries */
        return -MOAT_E_LIMIT;
    uint64_t left = p->circuit_until > now ? (p->circuit_until - now + NS_PER_S - 1) / NS_PER_S : 0;
    return error_set(&c->error, p->circuit_code,
                     "%s failed again and again and is left alone for %llu s (`moat load %s` tries now): %s", p->name,
                     (unsigned long long)left, p->name, p->circuit_why);
}

static int full(struct call *c, size_t waiting, const char *of)
{
    return error_set(&c->error, MOAT_E_QUEUE_FULL, "%zu calls%s%s wait already", waiting, *of ? " of " : "", of);
}

/* Of the plugin's bound a shorter lane may take from the longest; of the host's a plugin for which nothing waits may
 * always have one. */
static int make_room(struct plugin *p, struct call *c, struct call **victim)
{
    const struct tuned *tuned_to = &p->l->tuned;
    size_t waiting = atomic_load(&p->queued), all = atomic_load(&p->l->queued);
    struct queue_lane *longest;
    if (all >= tuned(&tuned_to->queue_total) && waiting)
        return full(c, all, "");
    if (waiting < tuned(&tuned_to->queue_per_plugin))
        return 0;
    longest = longest_lane(p);
    if (longest->count <= lane_of(p, c)->count + 1)
        return full(c, waiting, p->name);
    *victim = longest->last;
    take_out(p, *victim);
    return 0;
}

static int admit(struct plugin *p, struct call *c, struct call **victim)
{
    if (atomic_load(&p->l->closing))
        return error_set(&c->error, MOAT_E_DRAINING, "the host is shutting down");
    if (!p->current)
        return error_set(&c->error, MOAT_E_NO_SUCH_PLUGIN, "there is no plugin \"%s\"", p->name);
    if (p->current->gate)
        return call_refused(c, p->current);
    if (atomic_load(&call_hidden(c)->cancel))
        return error_set(&c->error, MOAT_E_CANCELLED, "the call was cancelled before it started");
    int rc = make_room(p, c, victim);
    return rc ? rc : pass_circuit(p, c);
}

int queue_add(struct plugin *p, struct call *c)
{
    struct call *victim = NULL;
    struct loop *loop = plugin_loop(p, call_hidden(c)->waiter ? NULL : c->loop);
    bool at_once = c->at_once && loop_is_mine(loop);
    pthread_mutex_lock(&p->lock);
    call_hidden(c)->side = (uint8_t)canary_side(p, c);
    int rc = admit(p, c, &victim);
    if (rc == 0) {
        link_last(p, c);
        queued(p, c);
    }
    bool nobody = p->shown.living == 0;
    pthread_mutex_unlock(&p->lock);
    if (victim)
        call_finish(victim, full(victim, tuned(&p->l->tuned.queue_per_plugin), p->name), NULL);
    if (rc)
        return rc;
    /* The loop would find that there is no worker; telling supervise from here saves its turn. */
    if (nobody)
        plugin_want(p);
    if (at_once)
        plugin_drive_now(p);
    else
        plugin_kick(p);
    return 0;
}

/* ---- back, and out ---- */

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

struct call *queue_take(struct plugin *p, uint32_t lanes)
{
    pthread_mutex_lock(&p->lock);
    struct queue_lane *lane = next_lane(p, lanes);
    struct call *c = lane ? lane->first : NULL;
    if (c)
        take_out(p, c);
    pthread_mutex_unlock(&p->lock);
    return c;
}

bool queue_waits(struct plugin *p, uint32_t lanes)
{
    pthread_mutex_lock(&p->lock);
    bool waits = p->queue.filled & lanes;
    pthread_mutex_unlock(&p->lock);
    return waits;
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

static void expire_lane(struct plugin *p, struct queue_lane *lane, uint64_t now, struct call_list *late)
{
    for (struct call *c = lane->first, *next; c; c = next) {
        struct hidden *h = call_hidden(c);
        next = c->next;
        if (h->deadline_ns <= now || atomic_load(&h->cancel)) {
            take_out(p, c);
            call_list_add(late, c);
        } else if (h->deadline_ns < p->queue.soonest) {
            p->queue.soonest = h->deadline_ns;
        }
    }
}

uint64_t queue_expire(struct plugin *p, uint64_t now, struct call_list *late)
{
    pthread_mutex_lock(&p->lock);
    if (now >= p->queue.soonest) {
        p->queue.soonest = UINT64_MAX;
        for (size_t i = 0; i < 2 * QUEUE_LANES; i++)
            expire_lane(p, &p->queue.lanes[i], now, late);
    }
    uint64_t soonest = p->queue.filled ? p->queue.soonest : UINT64_MAX;
    pthread_mutex_unlock(&p->lock);
    return soonest;
}

void queue_empty(struct plugin *p, struct call_list *out)
{
    struct queue_lane *lane;
    pthread_mutex_lock(&p->lock);
    while ((lane = next_lane(p, QUEUE_ALL))) {
        struct call *c = lane->first;
        take_out(p, c);
        call_list_add(out, c);
    }
    p->queue.soonest = UINT64_MAX;
    pthread_mutex_unlock(&p->lock);
}
