/* A worker's life as supervise sees it: from the half-built wall to its end, each step an event of its sockets. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "loader/internal.h"

/* ---- flags: any thread ---- */

void worker_flag(struct worker *w, uint32_t flag)
{
    if (atomic_fetch_or(&w->flags, flag) == 0)
        atomic_fetch_add(&w->plugin->flagged, 1);
}

/* The pidfd stays open until the last reference goes, so that no other process can be meant. */
void worker_kill(struct worker *w, enum kill_why why)
{
    int none = KILL_NOT;
    atomic_compare_exchange_strong(&w->why, &none, why);
    if (atomic_load(&w->exposed))
        worker_flag(w, WORKER_KILLED);
    child_kill(&w->child);
}

void worker_unref(struct worker *w)
{
    if (atomic_fetch_sub(&w->refs, 1) != 1)
        return;
    child_close(&w->child);
    io_close(&w->tmp);
    io_close(&w->seats);
    io_close(&w->net);
    errand_clear(w);
    ask_worker_close(w);
    generation_unref(w->gen);
    for (size_t i = 0; i < w->nacts; i++)
        free(atomic_load(&w->acts[i]));
    free(w->acts);
    free(atomic_load(&w->outcomes));
    free(w);
}

/* ---- the end ---- */

static void unwatch_all(struct worker *w)
{
    loop_unwatch(&w->status);
    loop_unwatch(&w->control);
    loop_timer_clear(&w->timer);
    output_close(w);
}

static void forget(struct worker *w)
{
    struct loader *l = w->l;
    for (struct worker **link = &l->workers; *link; link = &(*link)->next_of_all)
        if (*link == w) {
            *link = w->next_of_all;
            break;
        }
    if (w->plugin)
        w->plugin->slots_used &= ~(1ull << w->slot);
    channel_free(w->lane.ch);
    w->lane.ch = NULL;
    if (!cgroup_remove(l->cgroups, &w->cgroup))
        l->cgroups_left = true;
    struct generation *g = w->gen;
    struct plugin *p = w->plugin;
    if (g) {
        l->living--;
        explain_drop(w);
        generation_ref(g);
        generation_worker_gone(g, w);
    }
    worker_unref(w);
    if (g)
        generation_unref(g);
    if (p)
        plugin_show(p);
    walls_pump(l);
    supervise_tick(l);
    loader_closed_check(l);
}

/* Before it was ready: nobody but supervise and the explain thread knows it. */
static void end_early(struct worker *w, const struct error *err)
{
    struct loader *l = w->l;
    struct generation *g = w->gen;
    bool spawning = w->state == WORKER_SPAWNING, pooled = w->state == WORKER_HALF;
    for (struct worker **link = &l->pool; *link; link = &(*link)->next)
        if (*link == w) {
            *link = w->next;
            l->pooled.ready--;
            break;
        }
    bool lost = kill_was_ours(atomic_load(&w->why));
    l->spawning -= spawning;
    w->state = WORKER_ENDED;
    unwatch_all(w);
    child_kill(&w->child);
    if (g) {
        l->assigned--;
        g->starting--;
        if (lost && !g->old && g->lost++ < LOST_MAX)
            generation_start(g, true);
        else
            generation_start_failed(g, err);
    } else if (spawning) {
        walls_failed(l, err, lost);
    } else if (pooled && !lost) {
        l->refill_failed = true; /* walls that die in the pool are not built again and again */
    }
    forget(w);
}

void worker_discard(struct worker *w)
{
    struct error err;
    if (w->state == WORKER_SPAWNING)
        w->l->spawning--;
    w->state = WORKER_ENDED;
    error_set(&err, MOAT_E_INTERNAL, "not needed");
    end_early(w, &err);
}

/* The process of a ready worker has ended: its owner learns it from the flag and is woken wherever it waits. */
static void end_ready(struct worker *w, const struct child_event *ev)
{
    struct generation *g = w->gen;
    output_drain(w);
    unwatch_all(w);
    w->state = WORKER_ENDED;
    w->death = *ev;
    g->ready--;
    if (w->seats >= 0 && w->l->config.on_worker_end)
        w->l->config.on_worker_end(w->l->config.context, w->number);
    hand_worker_died(w);
    change_worker_died(w);
    generation_worker_died(g, w);
    worker_flag(w, WORKER_DEAD);
    channel_wake(w->lane.ch);
    plugin_show(w->plugin);
    plugin_kick(w->plugin);
}

static uint64_t usage_cpu(const struct rusage *u)
{
    return (uint64_t)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * NS_PER_S +
           (uint64_t)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) * NS_PER_US;
}

/* Its loop has seen it off: the roster's last look at its tally. */
void worker_gone(struct loop_task *task)
{
    struct worker *w = (struct worker *)(void *)((char *)task - offsetof(struct worker, task));
    struct plugin *p = w->plugin;
    const struct rusage *u = &w->death.usage;
    uint64_t cpu = usage_cpu(u), peak = (uint64_t)u->ru_maxrss * 1024;
    counts_worker_gone(w);
    pthread_mutex_lock(&p->lock);
    p->roster[w->slot] = NULL;
    if (cpu > atomic_load(&w->tally.cpu_ns))
        atomic_store(&w->tally.cpu_ns, cpu);
    p->gone_runs += atomic_load(&w->tally.executions);
    p->gone_cpu_ns += atomic_load(&w->tally.cpu_ns);
    record_worker_gone(w, peak);
    outcomes_gone(w);
    rate_worker_gone(w);
    p->peak = peak > p->peak ? peak : p->peak;
    pthread_mutex_unlock(&p->lock);
    spin_forget(w);
    forget(w);
}

void worker_lost_spawner(struct worker *w)
{
    int none = KILL_NOT;
    atomic_compare_exchange_strong(&w->why, &none, KILL_SPAWNER);
}

/* ---- the start ---- */

/* Steps that are about this plugin or this call for a worker, not about what the machine can enforce. */
static bool is_about_plugin(const char *step)
{
    static const char *const steps[] = {"load", "initialize", "grants", "protocol", ""};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (strcmp(step, steps[i]) == 0)
            return true;
    return false;
}

/* The namespaces can be made here, and then nothing can be done in them (as AppArmor leaves them): where the operator
 * has accepted the fallback wall, that is tried instead. */
static bool falls_back(struct worker *w, int errnum)
{
    struct loader *l = w->l;
    bool refused = errnum == EPERM || errnum == EACCES || errnum == ENOSYS || errnum == EINVAL;
    if (w->plugin || w->child.fallback || !refused || !(l->config.accepted_layers & WALL_BIT(USER_NS)))
        return false;
    l->fallback_always = true;
    spawner_set_fallback(atomic_load(&l->spawner), FALLBACK_ALWAYS);
    worker_lost_spawner(w); /* asked again, not a failure */
    return true;
}

void worker_failed(struct worker *w, const char *step, int errnum, const char *message)
{
    struct error err;
    const char *name = w->plugin ? w->plugin->name : "a worker";
    enum moat_code code = w->plugin && is_about_plugin(step) ? MOAT_E_START_FAILED : MOAT_E_WALL_MISSING;
    falls_back(w, errnum);
    if (errnum == ENOMEM || errnum == EAGAIN || errnum == EMFILE || errnum == ENFILE)
        code = MOAT_E_OUT_OF_MEMORY; /* the layer works, there is no room for one more */
    struct overrun o;
    if (code == MOAT_E_START_FAILED && overrun_of_start(w, NULL, &o))
        overrun_error(w, &o, &err, "%s did not start: %s: %s", name, step, message);
    else if (errnum)
        error_errno(&err, code, errnum, "%s did not start: %s%s%s", name, step, *message ? ": " : "", message);
    else
        error_set(&err, code, "%s did not start: %s: %s", name, step, message);
    end_early(w, &err);
}

static void died_early(struct worker *w, const struct child_event *ev)
{
    struct error err;
    const char *name = w->plugin ? w->plugin->name : "a worker";
    output_drain(w);
    int status = ev->wait_status;
    struct overrun o;
    if (atomic_load(&w->why) == KILL_SPAWNER)
        error_set(&err, MOAT_E_START_FAILED, "%s did not start: the process that starts workers died", name);
    else if (atomic_load(&w->why) == KILL_EXPLAIN)
        error_set(&err, MOAT_E_START_FAILED, "%s did not start: nothing explained its calls any more", name);
    else if (overrun_of_start(w, ev, &o))
        overrun_error(w, &o, &err, "%s did not start", name);
    else if (WIFSIGNALED(status))
        error_set(&err, MOAT_E_START_FAILED, "%s did not start: its worker was ended by SIG%s%s%s", name,
                  sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?",
                  *w->last_line ? "; last log line: " : "", w->last_line);
    else
        error_set(&err, MOAT_E_START_FAILED, "%s did not start: its worker ended with status %d%s%s", name,
                  WEXITSTATUS(status), *w->last_line ? "; last log line: " : "", w->last_line);
    end_early(w, &err);
}

static void start_timeout(struct loop_timer *timer)
{
    struct worker *w = (struct worker *)(void *)((char *)timer - offsetof(struct worker, timer));
    struct error err;
    error_set(&err, MOAT_E_START_FAILED, "%s was not ready after %llu s: %s", w->plugin ? w->plugin->name : "a worker",
              (unsigned long long)(START_TIMEOUT_NS / NS_PER_S),
              w->state == WORKER_GOING  ? "its code was loaded or initialising"
              : w->state == WORKER_HELD ? "its package was being verified"
                                        : "its wall was being built");
    end_early(w, &err);
}

static void now_half(struct worker *w)
{
    struct loader *l = w->l;
    if (w->state != WORKER_SPAWNING || !w->half || w->child.pid <= 0)
        return; /* either message may come first: SPAWNED from the spawner, HALF from the worker */
    loop_timer_clear(&w->timer);
    posture_first(&w->child);
    overrun_watch(w);
    w->state = WORKER_HALF;
    l->spawning--;
    l->pooled.ready++;
    w->next = l->pool;
    l->pool = w;
    l->refill_failed = false;
    walls_pump(l);
}

static void now_built(struct worker *w, struct wall_event *ev)
{
    struct error err;
    struct posture posture;
    if (ev->listener >= 0)
        explain_add(w, ev->listener);
    if (posture_verify(&w->child, &w->request, ev->self, &posture, &err)) {
        error_prefix(&err, "%s did not start", w->plugin->name);
        end_early(w, &err);
    } else {
        worker_go(w);
    }
}

/* Each start says so: it must not be forgotten. */
static void tell_fallback(struct worker *w)
{
    atomic_store(&w->l->fallback, true);
    log_event(LOG_WARN, "wall_fallback", "plugin", w->plugin->name, "version", w->gen->version, "why",
              "this machine has no user namespaces; the plugin runs behind Landlock, seccomp and limits alone, as "
              "accept_missing_layers allows",
              "#pid", log_num(w->child.pid), NULL);
}

static void now_ready(struct worker *w)
{
    struct plugin *p = w->plugin;
    struct generation *g = w->gen;
    loop_timer_clear(&w->timer);
    w->state = WORKER_READY;
    w->ready_ns = clock_mono_ns();
    w->lane.cpu_seen_at = w->ready_ns;
    clock_getcpuclockid(w->child.pid, &w->cpu_clock);
    channel_place(w->lane.ch, w->child.pid);
    w->lane.placed = true;
    w->l->assigned--;
    g->starting--;
    g->ready++;
    g->lost = 0;
    atomic_store(&p->fallback, w->child.fallback);
    if (w->child.fallback)
        tell_fallback(w);
    atomic_store(&w->exposed, true);
    bool inherits = hand_wanted(g);
    if (!inherits)
        generation_met(g, w);
    pthread_mutex_lock(&p->lock);
    p->roster[w->slot] = w;
    pthread_mutex_unlock(&p->lock);
    if (atomic_load(&p->slots) <= w->slot)
        atomic_store(&p->slots, w->slot + 1);
    if (g->old)
        worker_flag(w, WORKER_RETIRED);
    if (inherits)
        worker_pause(w);
    atomic_exchange(&p->idle[w->slot], w);
    if (inherits)
        hand_begin(w);
    else
        generation_serves(g);
    plugin_kick(p);
    posture_end(&w->child);
    walls_pump(w->l); /* the pool is filled again now that nobody waits */
}

static void on_control(struct loop_watch *watch, uint32_t events)
{
    struct worker *w = (struct worker *)(void *)((char *)watch - offsetof(struct worker, control));
    (void)events;
    struct wall_event ev;
    wall_next(&w->child, &ev);
    switch (ev.kind) {
    case WALL_HALF:
        w->half = true;
        now_half(w);
        break;
    case WALL_BUILT:
        now_built(w, &ev);
        break;
    case WALL_READY:
        now_ready(w);
        break;
    case WALL_FAILED:
        loop_unwatch(&w->control);
        if (w->state == WORKER_READY) {
            log_event(LOG_WARN, "plugin_broke_protocol", "plugin", w->plugin->name, "why", ev.message, NULL);
            worker_kill(w, KILL_BROKEN);
        } else {
            worker_failed(w, ev.step, ev.errnum, ev.message);
        }
        break;
    case WALL_GONE:
        /* How it ended comes from the spawner. One that lives on has become another program, and nobody's. */
        loop_unwatch(&w->control);
        child_kill(&w->child);
        break;
    default:
        break;
    }
}

static void on_status(struct loop_watch *watch, uint32_t events)
{
    struct worker *w = (struct worker *)(void *)((char *)watch - offsetof(struct worker, status));
    (void)events;
    struct child_event ev;
    child_next(&w->child, &ev);
    switch (ev.kind) {
    case CHILD_SPAWNED:
        now_half(w);
        break;
    case CHILD_FAILED:
        worker_failed(w, ev.step, ev.errnum, "");
        break;
    case CHILD_EXITED:
        /* The spawner reports an end with what was used, and a process that ran has used memory: without it, nobody was
         * left to report. The spawner's own socket may tell so a moment later. */
        if (ev.usage.ru_maxrss == 0)
            worker_lost_spawner(w);
        if (w->state == WORKER_READY)
            end_ready(w, &ev);
        else
            died_early(w, &ev);
        break;
    default:
        break;
    }
}

int worker_spawn(struct loader *l, struct error *err)
{
    int rc = spawner_again(l, err);
    if (rc)
        return rc;
    struct worker *w = aligned_alloc(64, (sizeof *w + 63) & ~63ul);
    if (!w)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a worker");
    memset(w, 0, sizeof *w);
    w->refs = 1;
    w->l = l;
    ask_worker_open(w);
    w->child = CHILD_NONE;
    w->explained.listener = -1;
    w->tmp = w->seats = w->net = -1;
    rc = spawner_worker(atomic_load(&l->spawner), &w->child, err);
    rc = rc ? rc : worker_prepare(w, err);
    if (rc) {
        channel_free(w->lane.ch);
        worker_unref(w); /* without its socket the half-built worker leaves */
        return rc;
    }
    w->status = (struct loop_watch){.fd = w->child.status, .ready = on_status};
    w->control = (struct loop_watch){.fd = w->child.control, .ready = on_control};
    w->timer.fire = start_timeout;
    if ((rc = loop_watch(l->supervise, &w->status, EPOLLIN, err)) ||
        (rc = loop_watch(l->supervise, &w->control, EPOLLIN, err)) || (rc = output_watch(w, err))) {
        unwatch_all(w);
        channel_free(w->lane.ch);
        worker_unref(w); /* without its socket the half-built worker leaves */
        return rc;
    }
    loop_timer_set(l->supervise, &w->timer, clock_mono_ns() + START_TIMEOUT_NS);
    w->next_of_all = l->workers;
    l->workers = w;
    l->spawning++;
    return 0;
}
