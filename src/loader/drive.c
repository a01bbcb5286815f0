/* The plugin's loop at work: takes idle workers, fills their windows from the queue, rings once per batch, reads
 * answers, puts idle workers back, sees the dead off. */
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "loader/internal.h"

#define RECORDS_AT_ONCE 256
#define STRAYS_MAX 8 /* an honest worker rings once for each sleep of the loop */
#define LINGER_WORK_NS (50 * NS_PER_US)
#define ROUNDS 8 /* then other work of the loop has its turn */

static uint32_t flags_of(const struct worker *w)
{
    return atomic_load_explicit(&w->flags, memory_order_acquire);
}

/* ---- taking and putting back ---- */

static void drive(struct plugin *p);

static void bell_rang(struct loop_watch *watch, uint32_t events)
{
    struct worker *w = (struct worker *)(void *)((char *)watch - offsetof(struct worker, bell));
    (void)events;
    if (!w->busy) {
        /* A late ring for a sleep that is over. Of a worker that rings without end nothing is heard until it is taken
         * again: only then rings are counted by its channel. */
        if (++w->strays >= STRAYS_MAX)
            loop_unwatch(watch);
        return;
    }
    w->bell_rang = true;
    drive(w->plugin);
}

static void adopt(struct plugin *p, struct worker *w)
{
    w->busy_next = p->busy;
    p->busy = w;
    w->busy = true;
    w->strays = 0;
    spin_end(w);
    if (w->bell.loop)
        return;
    w->bell = (struct loop_watch){.fd = channel_fd(w->lane.ch), .ready = bell_rang};
    struct error err;
    if (loop_watch(p->loop, &w->bell, EPOLLIN | EPOLLET, &err)) {
        log_event(LOG_ERROR, "worker_unwatched", "plugin", p->name, "why", err.message, NULL);
        worker_kill(w, KILL_STOPPED);
    }
}

/* Idle workers that have a reason to leave their slot: their end, calls that wait, a question. */
static void adopt_wanted(struct plugin *p, bool asks)
{
    uint32_t slots = atomic_load(&p->slots);
    for (uint32_t i = 0; i < slots; i++) {
        if (!atomic_load(&p->idle[i]))
            continue;
        struct worker *w = atomic_exchange(&p->idle[i], NULL);
        if (!w)
            continue;
        if (flags_of(w) || atomic_load(&p->queued) || asks)
            adopt(p, w);
        else
            worker_return(w);
    }
}

static void let_go(struct plugin *p, struct worker **link)
{
    struct worker *w = *link;
    *link = w->busy_next;
    w->busy_next = NULL;
    w->busy = false;
    worker_return(w);
}

/* Nobody else meets it from here on: it is in no slot. Supervise closes and frees it. */
static void see_off(struct plugin *p, struct worker **link, struct call_list *here)
{
    struct worker *w = *link;
    struct call_list untaken;
    call_list_init(&untaken);
    lane_bury(w, &untaken, here);
    queue_return(p, &untaken);
    *link = w->busy_next;
    atomic_fetch_sub(&p->flagged, 1);
    loop_unwatch(&w->bell);
    w->task.run = worker_gone;
    loop_post(w->l->supervise, &w->task);
}

/* ---- one round ---- */

/* One that says that it has shut down and stays has the rights of its generation for as long as it likes. */
static void see_it_leave(struct worker *w, uint64_t now)
{
    struct lane *lane = &w->lane;
    if (lane->shutdown && now >= lane->leave_by) {
        worker_kill(w, KILL_SHUTDOWN);
    } else if (!lane->shutdown) {
        lane->leave_by = now + SHUTDOWN_GRACE_NS;
        lane->shutdown = lane_control(w, CHANNEL_SHUTDOWN, now, lane->leave_by);
    }
}

static void service(struct plugin *p, struct worker **link, uint64_t now, bool *more, struct call_list *here)
{
    struct worker *w = *link;
    struct lane *lane = &w->lane;
    if (w->bell_rang)
        channel_rang(lane->ch);
    w->bell_rang = false;
    if (lane_drain(w, RECORDS_AT_ONCE, here) == RECORDS_AT_ONCE)
        *more = true;
    uint32_t flags = flags_of(w);
    if (flags & WORKER_DEAD) {
        see_off(p, link, here);
        return;
    }
    lane_expire(w, now, here);
    if (now >= lane->let_go_at) {
        channel_unpin(lane->ch);
        lane->let_go_at = UINT64_MAX;
    }
    if (flags == WORKER_PAUSED)
        errand_serve(w, now);
    if ((flags & ~(uint32_t)WORKER_PAUSED) == WORKER_RETIRED && !lane_flying(lane))
        see_it_leave(w, now);
}

/* A call always fits into an empty channel; beyond that, only what will be over soon: what stands in a channel is
 * stuck behind the call before it. Behind one that may wait for another plugin nothing is put at all: that one could
 * wait for the very call that is stuck. */
static bool has_room(const struct worker *w)
{
    const struct lane *lane = &w->lane;
    if (w->gen->may_wait && lane_flying(lane))
        return false;
    return !flags_of(w) && (!lane_flying(lane) || lane->work_ns < WINDOW_WORK_NS) && lane_flying(lane) < CHANNEL_WINDOW;
}

/* Beside a canary each worker takes the calls of its own side; without one, or while it has no worker, all of them. */
static bool takes(const struct worker *w, uint32_t lanes)
{
    return lanes == QUEUE_ALL || (lanes == QUEUE_SIDE(1)) == atomic_load(&w->gen->canary);
}

/* The one with the least to do. */
static struct worker *pick(struct plugin *p, uint32_t lanes)
{
    struct worker *best = NULL;
    for (struct worker *w = p->busy; w; w = w->busy_next)
        if (has_room(w) && takes(w, lanes) && (!best || w->lane.work_ns < best->lane.work_ns))
            best = w;
    return best;
}

/* true: calls are left that no worker has room for. */
static bool fill_from(struct plugin *p, uint32_t lanes, uint64_t now, struct call_list *here)
{
    struct worker *w;
    while (atomic_load(&p->queued) && (w = pick(p, lanes))) {
        struct call *c = queue_take(p, lanes);
        if (!c)
            return false;
        if (lane_push(w, c, now, here) != PUSH_FULL)
            continue;
        struct call_list back;
        call_list_init(&back);
        call_list_add(&back, c);
        queue_return(p, &back);
        return true;
    }
    return lanes == QUEUE_ALL ? atomic_load(&p->queued) > 0 : queue_waits(p, lanes);
}

static bool fill(struct plugin *p, uint64_t now, struct call_list *here)
{
    if (!atomic_load(&p->canary_up))
        return fill_from(p, QUEUE_ALL, now, here);
    bool left = fill_from(p, QUEUE_SIDE(0), now, here);
    return fill_from(p, QUEUE_SIDE(1), now, here) || left;
}

/* Short work is passed on fastest on one CPU; long work, or more of it than a switch between CPUs costs, is better done
 * beside the loop. The channel lets a worker go only while a blocking owner waits: here the timer does. */
static void ring(struct worker *w, uint64_t now)
{
    struct lane *lane = &w->lane;
    bool here = lane->work_ns < 2 * WINDOW_WORK_NS;
    if (here != lane->placed) {
        channel_unpin(lane->ch);
        channel_place(lane->ch, here ? w->child.pid : 0);
        lane->placed = here;
    }
    lane->let_go_at = here ? now + LANE_LET_GO_NS : UINT64_MAX;
    lane->pushed = false;
    channel_ring(lane->ch);
}

/* A worker on this CPU that has little to do gets its turn at once: its answer is there before the loop would sleep. */
static void linger(const struct worker *w)
{
    if (w->lane.placed && w->lane.work_ns < LINGER_WORK_NS)
        channel_linger(w->lane.ch);
}

/* Rings what was filled; idle workers go back to their slots, the others will ring. */
static void settle(struct plugin *p, uint64_t now, bool *more)
{
    for (struct worker **link = &p->busy, *w; (w = *link);) {
        struct lane *lane = &w->lane;
        if (lane->pushed) {
            ring(w, now);
            linger(w);
        }
        if (!lane_flying(lane) && !flags_of(w)) {
            let_go(p, link);
            continue;
        }
        link = &w->busy_next;
        uint32_t flags = flags_of(w);
        if (flags & WORKER_DEAD)
            *more = true;
        else if (flags & WORKER_KILLED)
            continue; /* supervise kicks when it has ended; a broken channel would never let us sleep */
        else if (channel_arm(lane->ch))
            lane->armed = true;
        else
            *more = true;
    }
}

/* Late, or cancelled on its way back into the queue. */
static int waited_in_vain(struct call *c)
{
    char span[32];
    const struct hidden *h = call_hidden(c);
    if (atomic_load(&h->cancel))
        return error_set(&c->error, MOAT_E_CANCELLED, "the call was cancelled before it started");
    clock_format_span(h->deadline_ns - h->begun_ns, span);
    return error_set(&c->error, MOAT_E_DEADLINE, "%s.%s still waited for a worker after %s", c->plugin, c->action,
                     span);
}

static void call_late(struct call_list *late, struct call_list *here)
{
    for (struct call *c = late->first, *next; c; c = next) {
        next = c->next;
        call_finish(c, waited_in_vain(c), here);
    }
}

/* Behind a closed gate nothing waits. */
static void refuse_queue(struct plugin *p, struct call_list *here)
{
    struct generation *gen = plugin_current(p);
    if (!gen || gen->gate) {
        struct call_list all;
        call_list_init(&all);
        queue_empty(p, &all);
        for (struct call *c = all.first, *next; c; c = next) {
            next = c->next;
            int rc = gen ? call_refused(c, gen)
                         : error_set(&c->error, MOAT_E_NO_SUCH_PLUGIN, "there is no plugin \"%s\"", p->name);
            call_finish(c, rc, here);
        }
    }
    if (gen)
        generation_unref(gen);
}

/* When something about it is due that no ring announces. */
static uint64_t look_again_at(const struct worker *w)
{
    const struct lane *lane = &w->lane;
    if (lane_flying(lane))
        return lane->soonest < lane->let_go_at ? lane->soonest : lane->let_go_at;
    return lane->shutdown && !(flags_of(w) & WORKER_KILLED) ? lane->leave_by : UINT64_MAX;
}

static uint64_t drive_round(struct plugin *p, bool *more, struct call_list *here)
{
    uint64_t now = ticks_now(), next = UINT64_MAX;
    bool asks = atomic_load(&p->ask_health) && atomic_exchange(&p->ask_health, false);
    adopt_wanted(p, asks);
    for (struct worker **link = &p->busy, *w; (w = *link);) {
        service(p, link, now, more, here);
        if (*link != w)
            continue;
        if (asks && !lane_flying(&w->lane) && !flags_of(w))
            lane_control(w, CHANNEL_HEALTH, now, now + p->l->errand_ns);
        link = &w->busy_next;
    }
    if (atomic_load(&p->queued)) {
        struct call_list late;
        call_list_init(&late);
        uint64_t at = queue_expire(p, now, &late);
        next = at < next ? at : next;
        call_late(&late, here);
        refuse_queue(p, here);
        if (fill(p, now, here) && !atomic_load(&p->full))
            plugin_want(p);
    }
    settle(p, now, more);
    for (const struct worker *w = p->busy; w; w = w->busy_next) {
        uint64_t at = look_again_at(w);
        next = at < next ? at : next;
    }
    return next;
}

static void drive(struct plugin *p)
{
    struct call_list here;
    call_list_init(&here);
    bool more = true;
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < ROUNDS && more; i++) {
        more = false;
        next = drive_round(p, &more, &here);
    }
    if (more)
        plugin_kick(p);
    if (next == UINT64_MAX)
        loop_timer_clear(&p->timer);
    else if (!p->timer.slot || next != p->timer.at)
        loop_timer_set(p->loop, &p->timer, next);
    call_list_run(&here); /* last: it may begin calls, which only queues and kicks */
}

void plugin_drive(struct loop_task *task)
{
    struct plugin *p = (struct plugin *)(void *)((char *)task - offsetof(struct plugin, kick));
    atomic_exchange(&p->kicked, false); /* before the look: what comes after it rings again */
    drive(p);
}

void plugin_drive_now(struct plugin *p)
{
    drive(p);
}

void plugin_timer(struct loop_timer *timer)
{
    drive((struct plugin *)(void *)((char *)timer - offsetof(struct plugin, timer)));
}

void plugin_quiet(struct loop_task *task)
{
    struct plugin *p = (struct plugin *)(void *)((char *)task - offsetof(struct plugin, quiet));
    loop_timer_clear(&p->timer);
}
