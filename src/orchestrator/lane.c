/* How many calls of one plugin are under way from one loop: a task, or ten thousand, must not fill the plugin's queue,
 * in which others wait as well, nor memory with results that are not on the disk yet. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "orchestrator/run.h"

static uint32_t slot_of(const char *name)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return (h ^ h >> 16) % LANE_SLOTS;
}

struct lane *lane_of(struct place *p, const char *plugin)
{
    _Atomic(struct lane *) *slot = &p->lanes[slot_of(plugin)];
    struct lane *first = atomic_load_explicit(slot, memory_order_relaxed);
    for (struct lane *l = first; l; l = l->next)
        if (strcmp(l->plugin, plugin) == 0)
            return l;
    struct lane *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return NULL;
    text_copy(fresh->plugin, sizeof fresh->plugin, plugin);
    fresh->end = &fresh->first;
    fresh->next = first;
    atomic_store_explicit(slot, fresh, memory_order_release); /* for who counts */
    return fresh;
}

static struct unit *take_first(struct lane *l)
{
    struct unit *u = l->first;
    if (u)
        lane_forget(u);
    return u;
}

/* So many that their results, as large as those of before, are no more than LANE_BYTES; few, as long as little is known
 * of those. */
static uint32_t room_of(const struct lane *l)
{
    uint64_t known = LANE_CALLS_FIRST + atomic_load_explicit(&l->done, memory_order_relaxed);
    uint64_t n = l->large ? LANE_BYTES / l->large : LANE_CALLS;
    n = n < known ? n : known;
    return n < LANE_CALLS_LEAST ? LANE_CALLS_LEAST : n < LANE_CALLS ? (uint32_t)n : LANE_CALLS;
}

void lane_saw(struct lane *l, size_t len)
{
    l->large = len > l->large ? len : l->large - (l->large - len) / 16;
}

static void call_in(struct lane *l, struct unit *u)
{
    l->calls++;
    u->lane = l;
    u->in_lane = true;
    unit_call(u);
}

void lane_enter(struct unit *u)
{
    struct lane *l = u->lane;
    if (u->run->ask) { /* others would wait for its plugin as well, unseen by who looks for knots */
        unit_call(u);
        return;
    }
    if (l->calls < room_of(l)) {
        call_in(l, u);
        return;
    }
    u->next = NULL;
    u->before = l->end;
    *l->end = u;
    l->end = &u->next;
}

void lane_leave(struct unit *u)
{
    struct lane *l = u->lane;
    struct unit *next;
    if (!u->in_lane)
        return;
    u->lane = NULL;
    u->in_lane = false;
    l->calls--;
    while (l->calls < room_of(l) && (next = take_first(l)))
        call_in(l, next);
}

void lane_forget(struct unit *u)
{
    struct lane *l = u->lane;
    *u->before = u->next;
    if (u->next)
        u->next->before = u->before;
    else
        l->end = u->before;
    u->before = NULL;
    u->lane = NULL;
}
