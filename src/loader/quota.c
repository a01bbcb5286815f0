#include "loader/quota.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "loader/cpu.h"
#include "loader/denials.h"
#include "policy/policy.h"
#include "sandbox/weigh.h"

#define SOONEST_NS (10 * NS_PER_MS)
#define LATEST_NS NS_PER_S
#define FASTEST (4ull << 30)        /* bytes a second that are reckoned with */
#define GLANCE_NS (20 * NS_PER_MS)  /* how often is asked what the file system has free, where weighing takes long */
#define SHARE 10                    /* a part in so many of a processor's time is spent on weighing */
#define IDLE_CPU_NS (2 * NS_PER_MS) /* of a worker in which no call runs: more is work */

/* Of one generation. The weigher's, but for what is said. */
struct quota {
    struct generation *gen;      /* armed: a reference */
    struct quota *next;          /* lock: armed */
    _Atomic bool armed;          /* atomic */
    _Atomic bool asked;          /* atomic: a start waits for it */
    uint64_t due;                /* lock */
    uint64_t last_ns, full_due;  /* when it was weighed last, and is again at the latest */
    struct loop_task task;       /* the verdict's way to supervise: a reference */
    _Atomic bool posted;         /* atomic */
    struct error why;            /* of a verdict: the weigher's until it is posted */
    char more[POLICY_SCOPE_MAX]; /* with it: the scope that would allow it */
    bool weighed;                /* supervise: it may start */
    struct measure {
        uint64_t lies, free; /* lock; free: bytes of the file system then */
        bool known;
    } measures[];
};

static struct loader *loader_of(const struct quota *q)
{
    return q->gen->plugin->l;
}

/* ---- weighing ---- */

static int over(struct quota *q, const struct spec_quota *row, uint64_t lies, struct error *err)
{
    struct grant now = {.permission = PERMISSION_FILE_WRITE}, more = now;
    char most[32], advice[POLICY_COMMAND_MAX + 2];
    uint64_t added = lies > row->held ? lies - row->held : 0, bound = row->bound - row->held, need = 2 * bound;
    while (need < added && need < POLICY_MOST_MAX)
        need *= 2;
    text_copy(now.scope, sizeof now.scope, row->granted);
    if (!grant_bounded(&now, need < POLICY_MOST_MAX ? need : POLICY_MOST_MAX, &more))
        more = now;
    grant_advice("grant", q->gen->plugin->name, &more, advice);
    text_copy(q->more, sizeof q->more, more.scope);
    text_format_size(bound, most);
    error_set(
        err, MOAT_E_LIMIT,
        "%s: %.200s may come to hold %s more than when it was granted, and holds %llu bytes more at least: delete some "
        "of it, or %s",
        q->gen->plugin->name, row->granted, most, (unsigned long long)added, advice);
    buf_auto detail = BUF_INIT(ERROR_DETAIL_MAX - 1);
    buf_printf(&detail, "{\"limit\":\"file_write\",\"value\":%llu,\"seen\":%llu,\"place\":", (unsigned long long)bound,
               (unsigned long long)added);
    text_json_string(&detail, row->granted);
    if (buf_putc(&detail, '}'))
        memcpy(err->detail, detail.data, detail.len + 1);
    return -MOAT_E_LIMIT;
}

#define HOLDERS_MAX 256 /* of one worker: as many as are looked for (cpu.c) */

struct family {
    struct weigh_holder list[HOLDERS_MAX];
    size_t n;
};

static void add_holder(void *context, pid_t child)
{
    struct family *f = context;
    if (f->n < HOLDERS_MAX)
        f->list[f->n++] = (struct weigh_holder){child, -1};
}

/* What it and all that it started hold. */
static uint64_t held_by(const struct worker *w, unsigned descriptors, uint64_t dev)
{
    struct family f = {.list = {{w->child.pid, w->child.pidfd}}, .n = 1};
    worker_each_started(w, add_holder, &f);
    return weigh_nameless(f.list, f.n, descriptors, dev);
}

/* What its workers hold of files without a name: in which place they lay is not known any more. */
static uint64_t nameless(struct quota *q, uint64_t dev)
{
    struct plugin *p = q->gen->plugin;
    struct worker *holders[PLUGIN_SLOTS];
    unsigned n = 0;
    uint64_t bytes = 0;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLUGIN_SLOTS; i++) {
        struct worker *w = p->roster[i];
        if (!w || w->gen != q->gen || atomic_load(&w->flags) & WORKER_DEAD)
            continue;
        atomic_fetch_add(&w->refs, 1);
        holders[n++] = w;
    }
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < n; i++) {
        bytes += held_by(holders[i], q->gen->limits.descriptors, dev);
        worker_unref(holders[i]);
    }
    return bytes;
}

/* One place; a verdict when it is over, or cannot be counted. One that is gone holds nothing. */
static int weigh_one(struct quota *q, size_t i, struct error *err)
{
    struct quotas *all = &loader_of(q)->quotas;
    const struct spec_quota *row = &q->gen->spec->quotas[i];
    struct error why;
    uint64_t lies = 0, before = weigh_free(&row->place);
    int rc = weigh(&row->place, row->bound, &all->closing, &lies, &why);
    if (rc == -MOAT_E_CANCELLED)
        return 0;
    lies += nameless(q, row->place.dev);
    pthread_mutex_lock(&all->lock);
    q->measures[i] = (struct measure){.lies = lies, .free = before, .known = true};
    pthread_mutex_unlock(&all->lock);
    if (rc < 0 && rc != -MOAT_E_NO_SUCH_FILE) {
        text_copy(q->more, sizeof q->more, row->granted);
        return error_set(err, MOAT_E_LIMIT, "%s: %s", q->gen->plugin->name, why.message);
    }
    return lies > row->bound ? over(q, row, lies, err) : 0;
}

/* As soon as the rest could be used up, no sooner than its share of time allows. */
static void plan_next(struct quota *q, uint64_t began, uint64_t now)
{
    const struct spec *s = q->gen->spec;
    uint64_t wait = LATEST_NS, cost = (now - began) * SHARE;
    for (size_t i = 0; i < s->nquotas; i++) {
        uint64_t lies = q->measures[i].lies, left = s->quotas[i].bound > lies ? s->quotas[i].bound - lies : 0;
        uint64_t ns = left / (FASTEST / NS_PER_S);
        wait = ns < wait ? ns : wait;
    }
    wait = wait < SOONEST_NS ? SOONEST_NS : wait;
    q->last_ns = now;
    q->full_due = now + (wait > cost ? wait : cost);
}

static int weigh_all(struct quota *q, struct error *err)
{
    uint64_t began = clock_mono_ns();
    int rc = 0;
    for (size_t i = 0; i < q->gen->spec->nquotas && rc == 0; i++)
        rc = weigh_one(q, i, err);
    plan_next(q, began, clock_mono_ns());
    return rc;
}

/* Between two weighings that are far apart: has a file system less room by as much as a place may still take? */
static bool shrank(const struct quota *q)
{
    const struct spec *s = q->gen->spec;
    for (size_t i = 0; i < s->nquotas; i++) {
        const struct measure *m = &q->measures[i];
        uint64_t left = s->quotas[i].bound > m->lies ? s->quotas[i].bound - m->lies : 0;
        uint64_t now = weigh_free(&s->quotas[i].place);
        if (m->known && now < m->free && m->free - now >= left)
            return true;
    }
    return false;
}

/* ---- the weigher ---- */

/* Does a call run in one of its workers, as far as its owner has said? */
static bool is_busy(const struct quota *q)
{
    struct plugin *p = q->gen->plugin;
    bool busy = false;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLUGIN_SLOTS && !busy; i++)
        busy = p->roster[i] && p->roster[i]->gen == q->gen &&
               atomic_load_explicit(&p->roster[i]->tally.in_flight, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
    return busy;
}

static void post(struct quota *q)
{
    if (atomic_exchange(&q->posted, true))
        return;
    generation_ref(q->gen);
    loop_post(loader_of(q)->supervise, &q->task);
}

/* When to come back; 0: not, until something begins again. */
static uint64_t look(struct quota *q)
{
    bool busy = is_busy(q), asked = atomic_load(&q->asked);
    uint64_t now = clock_mono_ns();
    struct error why = {0};
    if (atomic_load(&q->posted))
        return now + SOONEST_NS; /* the last verdict is not seen yet */
    if (!asked && now < q->full_due && !shrank(q))
        return q->full_due < now + GLANCE_NS ? q->full_due : now + GLANCE_NS;
    int rc = weigh_all(q, &why);
    if (rc < 0 || asked) {
        q->why = why;
        post(q);
    }
    if (!busy)
        return 0;
    now = clock_mono_ns();
    return q->full_due < now + GLANCE_NS ? q->full_due : now + GLANCE_NS;
}

static void unlink_one(struct quotas *all, struct quota *q)
{
    for (struct quota **link = &all->armed; *link; link = &(*link)->next)
        if (*link == q) {
            *link = q->next;
            return;
        }
}

/* Something may have begun between the look and the word that nobody looks: it is seen here, or arms it again. */
static bool rest(struct quotas *all, struct quota *q)
{
    unlink_one(all, q);
    pthread_mutex_unlock(&all->lock);
    atomic_store(&q->armed, false);
    atomic_thread_fence(memory_order_seq_cst);
    bool again = (is_busy(q) || atomic_load(&q->asked)) && !atomic_exchange(&q->armed, true);
    pthread_mutex_lock(&all->lock);
    if (again) {
        q->next = all->armed;
        all->armed = q;
    }
    return !again;
}

static struct quota *soonest(const struct quotas *all)
{
    struct quota *first = all->armed;
    for (struct quota *q = first; q; q = q->next)
        first = q->due < first->due ? q : first;
    return first;
}

static void wait_until(struct quotas *all, const struct quota *q)
{
    struct timespec at = {0};
    if (!q) {
        pthread_cond_wait(&all->cond, &all->lock);
        return;
    }
    at.tv_sec = (time_t)(q->due / NS_PER_S);
    at.tv_nsec = (long)(q->due % NS_PER_S);
    pthread_cond_timedwait(&all->cond, &all->lock, &at);
}

static void serve(struct quotas *all, struct quota *q)
{
    pthread_mutex_unlock(&all->lock);
    uint64_t due = look(q);
    pthread_mutex_lock(&all->lock);
    q->due = due;
    if (due || !rest(all, q))
        return;
    pthread_mutex_unlock(&all->lock);
    generation_unref(q->gen); /* the armed one's; q may be gone with it */
    pthread_mutex_lock(&all->lock);
}

static void *run(void *context)
{
    struct quotas *all = context;
    pthread_setname_np(pthread_self(), "moat-weigh");
    pthread_mutex_lock(&all->lock);
    while (!atomic_load(&all->closing)) {
        struct quota *q = soonest(all);
        if (q && q->due <= clock_mono_ns())
            serve(all, q);
        else
            wait_until(all, q);
    }
    while (all->armed) {
        struct quota *q = all->armed;
        all->armed = q->next;
        generation_unref(q->gen);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* at_once: it is weighed now; else it is glanced at soon, and not weighed more often for being asked more often. */
static void arm(struct quota *q, bool at_once)
{
    struct quotas *all = &loader_of(q)->quotas;
    uint64_t soon = clock_mono_ns() + SOONEST_NS;
    bool armed = atomic_exchange(&q->armed, true);
    if (armed && !at_once)
        return;
    pthread_mutex_lock(&all->lock);
    q->due = at_once ? 0 : q->full_due < soon ? q->full_due : soon;
    if (!armed) {
        generation_ref(q->gen);
        q->next = all->armed;
        all->armed = q;
    }
    pthread_cond_signal(&all->cond);
    pthread_mutex_unlock(&all->lock);
}

void quota_arm(struct quota *q)
{
    /* The owner has said before that something runs; the weigher looks for that after it has said that it rests. */
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&q->armed, memory_order_relaxed))
        arm(q, false);
}

/* ---- verdicts: supervise ---- */

bool quota_told(struct plugin *p, struct error *err)
{
    if (!p->quota_why)
        return false;
    *err = *p->quota_why;
    return true;
}

static void tell(struct plugin *p, const struct error *why)
{
    struct error *kept = why ? malloc(sizeof *kept) : NULL;
    if (kept)
        *kept = *why;
    pthread_mutex_lock(&p->lock);
    free(p->quota_why);
    p->quota_why = kept;
    pthread_mutex_unlock(&p->lock);
    p->quota_over = why != NULL;
}

void quota_forget(struct plugin *p)
{
    free(p->quota_why);
}

struct denied {
    struct loop_task task;
    struct worker *w; /* a reference */
    struct refused refused;
};

static void count_denied(struct loop_task *task)
{
    struct denied *d = (struct denied *)(void *)task;
    denial_count(d->w, &d->refused);
    worker_unref(d->w);
    free(d);
}

static void deny(struct worker *w, const char *more)
{
    struct denied *d = calloc(1, sizeof *d);
    if (!d)
        return;
    struct explain_event *ev = &d->refused.event;
    ev->denied = true;
    ev->permission = PERMISSION_FILE_WRITE;
    text_copy(ev->operation, sizeof ev->operation, POLICY_WRITE_MORE);
    text_copy(ev->object, sizeof ev->object, more);
    text_copy(ev->wall, sizeof ev->wall, "quota");
    d->refused.action = atomic_load_explicit(&w->running, memory_order_relaxed);
    lines_call_now(w, d->refused.action, d->refused.call);
    atomic_fetch_add(&w->refs, 1);
    d->w = w;
    d->task.run = count_denied;
    loop_post(w->l->explain, &d->task);
}

/* Whoever may write ends, of every generation: they have the same places. */
static void kill_writers(struct plugin *p, const char *more)
{
    bool told = false;
    for (struct worker *w = p->living; w; w = w->next) {
        if (w->state == WORKER_ENDED || !w->gen->quota)
            continue;
        if (!told)
            deny(w, more);
        told = true;
        worker_kill(w, KILL_QUOTA);
    }
    atomic_fetch_add(&p->quota_kills, told);
}

bool quota_shut(struct plugin *p)
{
    if (!p->quota_over)
        return false;
    p->crashes = 0;
    p->not_before = 0;
    pthread_mutex_lock(&p->lock);
    p->circuit = CIRCUIT_OPEN;
    p->circuit_until = clock_mono_ns();
    p->circuit_code = MOAT_E_LIMIT;
    text_copy(p->circuit_why, sizeof p->circuit_why, p->quota_why ? p->quota_why->message : "");
    pthread_mutex_unlock(&p->lock);
    return true;
}

static void judge_over(struct generation *g, const struct error *why)
{
    struct plugin *p = g->plugin;
    log_event(LOG_WARN, "quota_over", "plugin", p->name, "version", g->version, "why", why->message, NULL);
    tell(p, why);
    g->quota->weighed = false;
    plugin_health(p, HEALTH_FAILED, why->message);
    kill_writers(p, g->quota->more);
    quota_shut(p);
    plugin_show(p);
}

static void verdict(struct loop_task *task)
{
    struct quota *q = (struct quota *)(void *)((char *)task - offsetof(struct quota, task));
    struct generation *g = q->gen;
    struct error why = q->why;
    bool asked = atomic_exchange(&q->asked, false);
    atomic_store(&q->posted, false);
    if (why.code)
        judge_over(g, &why);
    else if (asked && g->plugin->quota_over)
        tell(g->plugin, NULL);
    q->weighed = !why.code;
    if (asked && why.code)
        generation_start_failed(g, &why);
    else if (asked)
        generation_start(g, true);
    generation_unref(g);
}

bool quota_first(struct generation *g)
{
    struct quota *q = g->quota;
    if (!q || (q->weighed && !g->plugin->quota_over))
        return false;
    if (!atomic_exchange(&q->asked, true))
        arm(q, true);
    return true;
}

static void note_started(void *context, pid_t child)
{
    *(bool *)context = true;
}

/* What a thread of its own does when no call runs, in the worker or in what it has started. */
void quota_look(struct worker *w)
{
    bool works = false;
    if (!w->gen || !w->gen->quota || w->state != WORKER_READY)
        return;
    worker_each_started(w, note_started, &works);
    if (!works) {
        uint64_t cpu = worker_cpu(w);
        if (cpu <= w->quota_cpu_ns + IDLE_CPU_NS)
            return;
        w->quota_cpu_ns = cpu; /* since it was armed for that: little by little is work as well */
    }
    quota_arm(w->gen->quota);
}

/* ---- objects ---- */

void quotas_init(struct quotas *q)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->cond, &attr);
    pthread_condattr_destroy(&attr);
}

void quotas_close(struct quotas *q)
{
    pthread_mutex_lock(&q->lock);
    atomic_store(&q->closing, true);
    pthread_cond_signal(&q->cond);
    pthread_mutex_unlock(&q->lock);
    if (q->runs)
        pthread_join(q->thread, NULL);
    q->runs = false;
}

void quotas_clear(struct quotas *q)
{
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->cond);
}

bool quota_make(struct generation *g)
{
    struct quotas *all = &g->plugin->l->quotas;
    size_t n = g->spec ? g->spec->nquotas : 0;
    if (!n)
        return true;
    if (!all->runs && pthread_create(&all->thread, NULL, run, all) != 0)
        return false;
    all->runs = true;
    g->quota = calloc(1, sizeof *g->quota + n * sizeof *g->quota->measures);
    if (!g->quota)
        return false;
    g->quota->gen = g;
    g->quota->task.run = verdict;
    return true;
}

void quota_free(struct quota *q)
{
    free(q);
}

size_t loader_places(struct loader *l, const char *name, struct loader_place out[WALL_GRANTS_MAX])
{
    struct plugin *p = table_find(l, name);
    struct generation *g = p ? plugin_current(p) : NULL;
    size_t n = g && g->quota ? g->spec->nquotas : 0;
    for (size_t i = 0; i < n; i++) {
        const struct spec_quota *row = &g->spec->quotas[i];
        pthread_mutex_lock(&l->quotas.lock);
        struct measure m = g->quota->measures[i];
        pthread_mutex_unlock(&l->quotas.lock);
        out[i] = (struct loader_place){.held = row->held, .most = row->bound - row->held, .weighed = m.known};
        text_copy(out[i].place, sizeof out[i].place, row->granted);
        out[i].added = m.lies > row->held ? m.lies - row->held : 0;
    }
    generation_unref(g);
    return n;
}
