/* The explain thread: answers what workers' filters hand over, and counts what was refused, folded by (plugin,
 * operation, object).  A flood costs the flooder: when its tokens are used up nothing of it is received, and it sleeps
 * in the kernel. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "loader/internal.h"
#include "policy/policy.h"

#define TOKENS_PER_SECOND 1000.0
#define TOKENS_MAX 1000.0
#define TOKENS_RESUME 100.0
#define ALLOWED_COST (1.0 / 16) /* an open that is left to the kernel's walls */
#define EVENTS_AT_ONCE 16       /* then the next worker has its turn */
#define ROWS_OBJECTS 256        /* beyond these an operation's objects share one row */
#define ROWS_MAX 768            /* beyond these operations do, too */
#define OTHER "(other)"

/* Never freed while the loader lives; everything but the count and the last time is fixed. */
struct denial_row {
    struct denial_row *next;
    struct plugin *plugin;
    char operation[32], wall[32], version[MANIFEST_VERSION_MAX + 1], action[MANIFEST_ACTION_MAX + 1];
    int permission;
    uint64_t first_ns;
    _Atomic uint64_t count, last_ns;
    char object[];
};

struct refused {
    struct explain_event event;
    uint32_t running; /* the worker's call when it asked, as in struct worker */
};

/* ---- folding ---- */

static struct denial_row *row_find(struct plugin *p, const char *operation, const char *object)
{
    for (struct denial_row *r = p->rows; r; r = r->next)
        if (strcmp(r->operation, operation) == 0 && strcmp(r->object, object) == 0)
            return r;
    return NULL;
}

static const char *action_of(const struct worker *w, uint32_t running)
{
    const struct manifest *m = w->gen->spec->manifest;
    return running && running <= m->nactions ? m->actions[running - 1].name : "";
}

static struct denial_row *row_new(struct worker *w, const struct refused *ev, const char *operation, const char *object)
{
    struct plugin *p = w->plugin;
    size_t len = strlen(object) + 1;
    struct denial_row *r = calloc(1, sizeof *r + len);
    if (!r)
        return NULL;
    r->plugin = p;
    text_copy(r->operation, sizeof r->operation, operation);
    text_copy(r->wall, sizeof r->wall, ev->event.wall);
    text_copy(r->version, sizeof r->version, w->gen->version);
    text_copy(r->action, sizeof r->action, action_of(w, ev->running));
    memcpy(r->object, object, len);
    r->permission = ev->event.permission;
    r->first_ns = clock_wall_ns();
    r->next = p->rows;
    p->rows = r;
    p->nrows++;
    return r;
}

/* The row of this event: its own, its operation's, or the last resort. Numbers are never lost, only names. */
static struct denial_row *row_of(struct worker *w, const struct refused *ev)
{
    struct plugin *p = w->plugin;
    struct denial_row *r = row_find(p, ev->event.operation, ev->event.object);
    if (r)
        return r;
    if (p->nrows < ROWS_OBJECTS)
        return row_new(w, ev, ev->event.operation, ev->event.object);
    if ((r = row_find(p, ev->event.operation, OTHER)))
        return r;
    if (p->nrows < ROWS_MAX)
        return row_new(w, ev, ev->event.operation, OTHER);
    r = row_find(p, OTHER, OTHER);
    return r ? r : row_new(w, ev, OTHER, OTHER);
}

static void show(const struct denial_row *r, struct denial *out, char command[POLICY_COMMAND_MAX])
{
    const char *object = strcmp(r->object, OTHER) == 0 ? "" : r->object;
    if (!policy_command(r->plugin->name, r->permission, object, command))
        command[0] = '\0';
    *out = (struct denial){
        .plugin = r->plugin->name,
        .version = r->version,
        .action = r->action,
        .operation = r->operation,
        .object = r->object,
        .wall = r->wall,
        .permission = r->permission,
        .command = command,
        .count = atomic_load_explicit(&r->count, memory_order_relaxed),
        .first_ns = r->first_ns,
        .last_ns = atomic_load_explicit(&r->last_ns, memory_order_relaxed),
    };
}

static bool power_of_ten(uint64_t n)
{
    while (n >= 10 && n % 10 == 0)
        n /= 10;
    return n == 1;
}

/* The first time, the tenth, the hundredth: a flood is told in a few lines. */
static void tell(struct loader *l, const struct denial_row *r)
{
    char command[POLICY_COMMAND_MAX];
    struct denial d;
    show(r, &d, command);
    if (!power_of_ten(d.count))
        return;
    log_event(LOG_WARN, "denial", "plugin", d.plugin, "version", d.version, "action", *d.action ? d.action : NULL,
              "operation", d.operation, "object", d.object, "wall", d.wall, "permission",
              d.permission >= 0 ? permission_name((enum permission)d.permission) : NULL, "#count", log_num(d.count),
              "allow_with", *d.command ? d.command : NULL, NULL);
    if (l->config.on_denial)
        l->config.on_denial(l->config.context, &d);
}

static void count_denial(struct worker *w, const struct refused *ev)
{
    struct loader *l = w->l;
    atomic_fetch_add(&w->plugin->denials, 1);
    pthread_mutex_lock(&l->denials_lock);
    struct denial_row *r = row_of(w, ev);
    if (r) {
        atomic_fetch_add(&r->count, 1);
        atomic_store(&r->last_ns, clock_wall_ns());
    }
    pthread_mutex_unlock(&l->denials_lock);
    if (r)
        tell(l, r);
}

void denials_free(struct plugin *p)
{
    while (p->rows) {
        struct denial_row *r = p->rows;
        p->rows = r->next;
        free(r);
    }
}

static void each_of(struct plugin *p, void (*each)(void *context, const struct denial *denial), void *context)
{
    char command[POLICY_COMMAND_MAX];
    struct denial d;
    pthread_mutex_lock(&p->l->denials_lock);
    const struct denial_row *r = p->rows; /* what is behind it stays as it is */
    pthread_mutex_unlock(&p->l->denials_lock);
    for (; r; r = r->next) {
        show(r, &d, command);
        each(context, &d);
    }
}

void loader_denials(struct loader *l, const char *name, void (*each)(void *context, const struct denial *denial),
                    void *context)
{
    if (name) {
        struct plugin *p = table_find(l, name);
        if (p)
            each_of(p, each, context);
        return;
    }
    pthread_mutex_lock(&l->table_lock);
    struct plugin *p = l->plugins;
    pthread_mutex_unlock(&l->table_lock);
    for (; p; p = p->next_of_all)
        each_of(p, each, context);
}

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

static void pause_it(struct explained *e)
{
    double missing = TOKENS_RESUME - e->tokens;
    loop_unwatch(&e->watch);
    loop_timer_set(worker_of(e)->l->explain, &e->refill,
                   e->tokens_ns + (uint64_t)(missing * (double)NS_PER_S / TOKENS_PER_SECOND));
}

static int explain_one(struct worker *w, struct refused *ev)
{
    const struct spec *s = w->gen->spec;
    /* Before the answer: the call may be over right after it. */
    ev->running = atomic_load_explicit(&w->running, memory_order_relaxed);
    atomic_store_explicit(&w->l->explain_busy_ns, clock_mono_ns(), memory_order_relaxed);
    int got = explain_next(w->explained.listener, &w->child, s->grants, s->ngrants, &ev->event);
    atomic_store_explicit(&w->l->explain_busy_ns, 0, memory_order_relaxed);
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
            listen_end(e);
        if (got <= 0)
            return;
        if (ev.event.denied)
            count_denial(w, &ev);
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
        listen_end(e); /* closed: what it asks from now on answers ENOSYS */
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

void explain_add(struct worker *w, int listener)
{
    atomic_fetch_add(&w->refs, 1);
    w->explained.listener = listener;
    w->explained.add.run = run_add;
    w->explained.drop.run = run_drop;
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
    return NULL;
}

int explain_open(struct loader *l, struct error *err)
{
    int rc = loop_new(&l->explain, err);
    if (rc)
        return rc;
    if ((rc = pthread_create(&l->explain_thread, NULL, run, l)))
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start the explain thread");
    l->explain_runs = true;
    return 0;
}

void explain_close(struct loader *l)
{
    if (l->explain_runs) {
        loop_stop(l->explain);
        pthread_join(l->explain_thread, NULL);
    }
    loop_free(l->explain);
}
