/* The explain thread: answers what workers' filters hand over, and counts what was refused (denials.c).  A flood costs
 * the flooder: when its tokens are used up nothing of it is received, and it sleeps in the kernel. */
#include <poll.h>
#include <sys/epoll.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "loader/cpu.h"
#include "loader/denials.h"

#define TOKENS_PER_SECOND 1000.0
#define TOKENS_MAX 1000.0
#define TOKENS_RESUME 100.0
#define ALLOWED_COST (1.0 / 16) /* an open that is left to the kernel's walls */
#define EXPLAIN_STUCK_NS (5 * NS_PER_S)
#define EVENTS_AT_ONCE 16 /* then the next worker has its turn */

/* ---- one worker's listener ---- */

static struct worker *worker_of(struct explained *e)
{
    return (struct worker *)(void *)((char *)e - offsetof(struct worker, explained));
}

static void refill(struct explained *e)
{
    uint64_t now = clock_mono_ns();
    e->tokens += (double)(now - e->tokens_ns) * (TOKENS_PER_SECOND / (double)NS_PER_S);
    e->tokens = e->tokens > TOKENS_MAX ? TOKENS_MAX : e->tokens;
    e->tokens_ns = now;
}

static void listen_end(struct explained *e)
{
    loop_unwatch(&e->watch);
    loop_timer_clear(&e->refill);
    io_close(&e->listener);
}

/* Its worker has ended, or it is broken: closed, what is asked from now on answers ENOSYS. */
static void listen_lost(struct explained *e)
{
    listen_end(e);
    atomic_store(&e->lost, true);
}

static void pause_it(struct explained *e)
{
    double missing = TOKENS_RESUME - e->tokens;
    loop_unwatch(&e->watch);
    loop_timer_set(worker_of(e)->l->explain, &e->refill,
                   e->tokens_ns + (uint64_t)(missing * (double)NS_PER_S / TOKENS_PER_SECOND));
}

/* A process was refused before it could say what it was to become: the first program that the author asks for. */
static void name_program(const struct manifest *m, struct explain_event *e)
{
    const struct manifest_ask *ask = manifest_ask_of(m, PERMISSION_EXECUTE_CODE);
    if (!e->denied || e->permission != PERMISSION_EXECUTE_CODE || *e->object)
        return;
    if (ask && ask->nscopes)
        text_copy(e->object, sizeof e->object, ask->scopes[0]);
    else
        e->permission = -1;
}

static int explain_one(struct worker *w, struct refused *ev)
{
    /* Before the answer: the call may be over right after it. */
    ev->action = atomic_load_explicit(&w->running, memory_order_relaxed);
    lines_call_now(w, ev->action, ev->call);
    atomic_store_explicit(&w->l->explain_busy_ns, clock_mono_ns(), memory_order_relaxed);
    int got = explain_next(w->explained.listener, &w->child, &w->request, &ev->event);
    atomic_store_explicit(&w->l->explain_busy_ns, 0, memory_order_relaxed);
    if (got == 1)
        name_program(w->gen->spec->manifest, &ev->event);
    return got;
}

static void on_listener(struct loop_watch *watch, uint32_t events)
{
    struct explained *e = (struct explained *)(void *)((char *)watch - offsetof(struct explained, watch));
    struct worker *w = worker_of(e);
    struct refused ev;
    (void)events;
    refill(e);
    for (int i = 0; i < EVENTS_AT_ONCE; i++) {
        int got = explain_one(w, &ev);
        if (got < 0)
            listen_lost(e);
        if (got <= 0)
            return;
        if (ev.event.denied)
            denial_count(w, &ev);
        e->tokens -= ev.event.denied ? 1.0 : ALLOWED_COST;
        if (e->tokens <= 0) {
            pause_it(e);
            return;
        }
    }
}

static void resume(struct loop_timer *timer)
{
    struct explained *e = (struct explained *)(void *)((char *)timer - offsetof(struct explained, refill));
    struct error err;
    refill(e);
    if (loop_watch(worker_of(e)->l->explain, &e->watch, EPOLLIN, &err))
        listen_lost(e);
}

static void run_add(struct loop_task *task)
{
    struct explained *e = (struct explained *)(void *)((char *)task - offsetof(struct explained, add));
    explain_setup(e->listener);
    e->watch = (struct loop_watch){.fd = e->listener, .ready = on_listener};
    e->refill.fire = resume;
    e->tokens = TOKENS_MAX;
    e->tokens_ns = clock_mono_ns();
    resume(&e->refill);
}

static void run_drop(struct loop_task *task)
{
    struct explained *e = (struct explained *)(void *)((char *)task - offsetof(struct explained, drop));
    listen_end(e);
    worker_unref(worker_of(e));
}

static void run_check(struct loop_task *task)
{
    struct explained *e = (struct explained *)(void *)((char *)task - offsetof(struct explained, check));
    if (e->listener >= 0 && !explain_holds(e->listener))
        listen_lost(e);
    atomic_store(&e->checking, false);
    worker_unref(worker_of(e));
}

void explain_add(struct worker *w, int listener)
{
    atomic_fetch_add(&w->refs, 1);
    w->explained.listener = listener;
    w->explained.add.run = run_add;
    w->explained.drop.run = run_drop;
    w->explained.check.run = run_check;
    w->explain_added = true;
    loop_post(w->l->explain, &w->explained.add);
}

void explain_drop(struct worker *w)
{
    if (w->explain_added)
        loop_post(w->l->explain, &w->explained.drop);
    w->explain_added = false;
}

/* ---- the thread ---- */

static void *run(void *context)
{
    struct loader *l = context;
    pthread_setname_np(pthread_self(), "moat-explain");
    loop_run(l->explain);
    atomic_store(&l->explain_over, true);
    return NULL;
}

static int start(struct loader *l, struct error *err)
{
    atomic_store(&l->explain_over, false);
    int rc = pthread_create(&l->explain_thread, NULL, run, l);
    l->explain_runs = rc == 0;
    return rc ? error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start the explain thread") : 0;
}

/* ---- looked after by supervise ---- */

static void look_at_thread(struct loader *l, uint64_t now)
{
    struct error err;
    uint64_t since = atomic_load(&l->explain_busy_ns);
    bool stuck = since && now > since + EXPLAIN_STUCK_NS;
    if (stuck && !atomic_exchange(&l->explain_stuck, stuck))
        log_event(LOG_ERROR, "explain_stuck", "why",
                  "a granted file system does not answer: file opens of all plugins wait for it", NULL);
    atomic_store(&l->explain_stuck, stuck);
    if (!atomic_load(&l->explain_over) && l->explain_runs)
        return;
    if (l->explain_runs)
        pthread_join(l->explain_thread, NULL);
    l->explain_runs = false;
    if (start(l, &err) < 0) {
        log_event(LOG_ERROR, "explain_gone", "why", err.message, "consequence",
                  "what plugins ask for waits until it is there again", NULL);
        return;
    }
    atomic_fetch_add(&l->explain_restarts, 1);
    atomic_store(&l->explain_mended_ns, clock_wall_ns());
    log_event(LOG_ERROR, "explain_restarted", "consequence", "what plugins asked for meanwhile has waited", NULL);
}

/* A worker whose calls nobody explains can do less than it may: it is ended, and another one started. One that dies
 * loses its listener too, a while before it is gone, but that is no news. */
static void look_at_listener(struct worker *w)
{
    struct loader *l = w->l;
    if (!atomic_load(&w->explained.lost)) {
        if (!atomic_exchange(&w->explained.checking, true)) {
            atomic_fetch_add(&w->refs, 1);
            loop_post(l->explain, &w->explained.check);
        }
        return;
    }
    struct pollfd ended = {.fd = w->child.pidfd, .events = POLLIN};
    if (atomic_load(&w->why) != KILL_NOT || w->state == WORKER_ENDED || worker_ends(w) || poll(&ended, 1, 0) != 0)
        return;
    log_event(LOG_ERROR, "explain_lost", "plugin", w->plugin->name, "#pid", log_num(w->child.pid), "consequence",
              "nothing explains its calls, so they fail: the worker is ended and started anew", NULL);
    atomic_fetch_add(&l->explain_lost, 1);
    atomic_store(&l->explain_mended_ns, clock_wall_ns());
    worker_kill(w, KILL_EXPLAIN);
}

void explain_look(struct loader *l, uint64_t now)
{
    look_at_thread(l, now);
    for (struct worker *w = l->workers; w; w = w->next_of_all)
        if (w->explain_added)
            look_at_listener(w);
}

void loader_explainer(const struct loader *l, struct loader_explainer *out)
{
    *out = (struct loader_explainer){.stuck = atomic_load(&l->explain_stuck),
                                     .gone = atomic_load(&l->explain_over),
                                     .lost = atomic_load(&l->explain_lost),
                                     .restarts = atomic_load(&l->explain_restarts),
                                     .mended_ns = atomic_load(&l->explain_mended_ns)};
}

/* ---- beginning and end ---- */

int explain_open(struct loader *l, struct error *err)
{
    int rc = loop_new(&l->explain, err);
    if (rc)
        return rc;
    return start(l, err);
}

void explain_close(struct loader *l)
{
    if (l->explain_runs) {
        loop_stop(l->explain);
        pthread_join(l->explain_thread, NULL);
    }
    loop_free(l->explain);
}
