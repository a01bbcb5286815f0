/* The supervise thread and the spawner that it keeps alive. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "loader/internal.h"

#define SPAWNER_QUICK_NS NS_PER_S /* one that dies sooner after its start waits longer before the next */
#define SPAWNER_BURY_NS (30 * NS_PER_S)

/* ---- the spawner ---- */

static void spawner_died(struct loop_watch *watch, uint32_t events);

static int start(struct loader *l, struct error *err)
{
    struct spawner *s;
    int rc = spawner_start(l->worker_path, l->helper_path, &s, err);
    if (rc)
        return rc;
    l->spawner_watch = (struct loop_watch){.fd = spawner_fd(s), .ready = spawner_died};
    /* It never writes to this socket: an event of any kind is its end. */
    rc = loop_watch(l->supervise, &l->spawner_watch, EPOLLIN | EPOLLRDHUP, err);
    if (rc) {
        spawner_stop(s);
        return rc;
    }
    if (l->config.accepted_layers & WALL_BIT(USER_NS))
        spawner_set_fallback(s, l->fallback_always ? FALLBACK_ALWAYS : FALLBACK_IF_NEEDED);
    l->spawner_started = clock_mono_ns();
    atomic_store(&l->spawner, s);
    return 0;
}

static void bury(struct loop_timer *timer)
{
    struct dead_spawner *dead = (struct dead_spawner *)(void *)((char *)timer - offsetof(struct dead_spawner, bury));
    struct loader *l = dead->l;
    for (struct dead_spawner **link = &l->dead; *link; link = &(*link)->next)
        if (*link == dead) {
            *link = dead->next;
            break;
        }
    spawner_stop(dead->spawner);
    free(dead);
}

/* A job may have taken the pointer a moment ago: the dead one is freed when that is long past. */
static void lay_aside(struct loader *l, struct spawner *s)
{
    struct dead_spawner *dead = calloc(1, sizeof *dead);
    if (!dead)
        return; /* leaks one small object where there is no memory for another */
    *dead = (struct dead_spawner){.next = l->dead, .spawner = s, .l = l, .bury.fire = bury};
    l->dead = dead;
    loop_timer_set(l->supervise, &dead->bury, clock_mono_ns() + SPAWNER_BURY_NS);
}

/* Notices the death at once, whoever hears of it first. */
static void take_death(struct loader *l)
{
    struct spawner *s = atomic_load(&l->spawner);
    if (!l->spawner_watch.loop || spawner_alive(s))
        return;
    loop_unwatch(&l->spawner_watch);
    uint64_t now = clock_mono_ns();
    bool quick = now - l->spawner_started < SPAWNER_QUICK_NS;
    l->spawner_deaths = quick ? l->spawner_deaths + 1 : 0;
    uint64_t wait = l->spawner_deaths ? NS_PER_MS * 10 << (l->spawner_deaths < 10 ? l->spawner_deaths : 10) : 0;
    l->spawner_not_before = now + wait;
    for (struct worker *w = l->workers; w; w = w->next_of_all)
        worker_lost_spawner(w);
    log_event(LOG_ERROR, "spawner_died", "consequence", "its workers ended with it and are started anew", NULL);
}

bool spawner_just_died(struct loader *l)
{
    return l->spawner_watch.loop && !spawner_alive(atomic_load(&l->spawner));
}

static void again(struct loop_timer *timer)
{
    walls_pump((struct loader *)(void *)((char *)timer - offsetof(struct loader, spawner_retry)));
}

bool spawner_resting(struct loader *l)
{
    take_death(l);
    bool rests = !l->spawner_watch.loop && clock_mono_ns() < l->spawner_not_before;
    if (rests && !atomic_load(&l->closing))
        loop_timer_set(l->supervise, &l->spawner_retry, l->spawner_not_before);
    return rests;
}

int spawner_again(struct loader *l, struct error *err)
{
    take_death(l);
    if (l->spawner_watch.loop)
        return 0;
    struct spawner *dead = atomic_load(&l->spawner);
    int rc = start(l, err);
    if (rc == 0)
        lay_aside(l, dead);
    return rc;
}

static void spawner_died(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct loader *l = (struct loader *)(void *)((char *)watch - offsetof(struct loader, spawner_watch));
    take_death(l);
    l->refill_failed = false;
    walls_pump(l); /* an inspector may want a spawner too: there is always one again */
}

/* ---- looking around ---- */

/* Its loop asks, when a worker is idle. A plugin at rest is left at rest. */
static void ask_health(struct plugin *p, uint64_t now)
{
    uint64_t runs = 0;
    if (!p->current || !p->current->ready || now < p->asked_ns + p->l->probe_ns)
        return;
    for (const struct worker *w = p->living; w; w = w->next)
        runs += atomic_load_explicit(&w->tally.executions, memory_order_relaxed);
    pthread_mutex_lock(&p->lock);
    bool well = p->shown.health == HEALTH_HEALTHY;
    pthread_mutex_unlock(&p->lock);
    if (well && runs == p->asked_runs)
        return;
    p->asked_ns = now;
    p->asked_runs = runs;
    atomic_store(&p->ask_health, true);
    plugin_kick(p);
}

static void stop_idle(struct plugin *p, uint64_t now)
{
    uint64_t span = tuned(&p->l->tuned.idle_stop_ns), since = span ? plugin_rests_since(p) : 0;
    if (!since || now < since + span || atomic_load(&p->keep))
        return;
    log_event(LOG_INFO, "idle_stop", "plugin", p->name, NULL);
    plugin_rest(p);
}

static void tick(struct loop_timer *timer)
{
    struct loader *l = (struct loader *)(void *)((char *)timer - offsetof(struct loader, tick));
    uint64_t now = clock_mono_ns();
    explain_look(l, now);
    if (l->cgroups_left)
        cgroup_sweep(l->cgroups);
    l->cgroups_left = false;
    pthread_mutex_lock(&l->table_lock);
    struct plugin *all = l->plugins;
    pthread_mutex_unlock(&l->table_lock);
    for (struct plugin *p = all; p; p = p->next_of_all) {
        ask_health(p, now);
        stop_idle(p, now);
        rate_look(p);
        for (struct worker *w = p->living; w; w = w->next) {
            lines_look(w, now);
            quota_look(w);
        }
    }
    supervise_tick(l);
}

void supervise_tick(struct loader *l)
{
    if ((l->living || l->cgroups_left) && !l->tick.slot) /* walls in the pool need no looking after */
        loop_timer_set(l->supervise, &l->tick, clock_mono_ns() + l->tick_ns);
}

/* ---- the thread ---- */

static void *run(void *context)
{
    struct loader *l = context;
    pthread_setname_np(pthread_self(), "moat-supervise");
    loop_run(l->supervise);
    return NULL;
}

static void pump_first(struct loop_task *task)
{
    struct loader *l = (struct loader *)(void *)((char *)task - offsetof(struct loader, first_pump));
    walls_refill(&l->refill); /* nobody waits yet */
}

/* Most hosts have none, and need none. */
static void find_cgroups(struct loader *l)
{
    char why[160];
    const struct loader_config *c = &l->config;
    l->cgroups = cgroup_place_open(c->cgroup_root ? c->cgroup_root : "/sys/fs/cgroup",
                                   c->cgroup_self ? c->cgroup_self : "/proc/self/cgroup", why, sizeof why);
    log_event(LOG_DEBUG, "cgroups", "used", l->cgroups ? "yes" : "no", "why", l->cgroups ? NULL : why, NULL);
}

int supervise_open(struct loader *l, struct error *err)
{
    int rc = loop_new(&l->supervise, err);
    rc = rc ? rc : start(l, err);
    if (rc)
        return rc;
    find_cgroups(l);
    l->tick.fire = tick;
    l->spawner_retry.fire = again;
    l->refill.fire = walls_refill;
    l->crowded.fire = walls_crowded;
    l->pooled.resize.run = walls_resize;
    l->first_pump.run = pump_first;
    loop_post(l->supervise, &l->first_pump);
    if ((rc = pthread_create(&l->supervise_thread, NULL, run, l)))
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start the supervise thread");
    l->supervise_runs = true;
    return 0;
}

void supervise_close(struct loader *l)
{
    if (l->supervise_runs) {
        loop_stop(l->supervise);
        pthread_join(l->supervise_thread, NULL);
    }
    if (l->spawner_watch.loop)
        loop_unwatch(&l->spawner_watch);
    while (l->dead)
        bury(&l->dead->bury);
    spawner_stop(atomic_load(&l->spawner));
    cgroup_place_close(l->cgroups); /* nobody is left in them */
    loop_free(l->supervise);
}
