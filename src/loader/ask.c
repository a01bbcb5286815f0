#include "loader/ask.h"

#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "loader/denials.h"

void ask_worker_open(struct worker *w)
{
    pthread_mutex_init(&w->asks.lock, NULL);
}

void ask_worker_close(struct worker *w)
{
    pthread_mutex_destroy(&w->asks.lock);
}

static void unref(struct inquiry *x)
{
    struct worker *w = x->w;
    struct loader *l = w->l;
    if (atomic_fetch_sub(&x->refs, 1) != 1)
        return;
    if (x->of)
        unref(x->of); /* as deep as a chain of calls */
    free(x->nested.result);
    free(x);
    worker_unref(w);
    if (atomic_fetch_sub(&l->asks, 1) == 1 && atomic_load(&l->closing))
        syscall(SYS_futex, &l->asks, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void asks_drain(struct loader *l)
{
    uint32_t left;
    while ((left = atomic_load(&l->asks)))
        syscall(SYS_futex, &l->asks, FUTEX_WAIT_PRIVATE, left, NULL, NULL, 0);
}

/* ---- the worker's answer ---- */

/* "code NUL message", as a plugin's own failures. */
static void reply_error(struct worker *w, const struct error *err)
{
    char text[ERROR_MESSAGE_MAX + 64];
    const char *code = error_info(err->code)->name;
    size_t n = strlen(code) + 1, m = strlen(err->message);
    memcpy(text, code, n);
    memcpy(text + n, err->message, m);
    channel_reply(w->lane.ch, false, text, n + m, false);
}

/* Takes x off its worker: true for one who asks, and that one replies before it gives the lock back. */
static bool take_off(struct inquiry *x)
{
    struct worker *w = x->w;
    pthread_mutex_lock(&w->asks.lock);
    if (w->asks.now == x) {
        w->asks.now = NULL;
        return true;
    }
    pthread_mutex_unlock(&w->asks.lock);
    return false;
}

static void taken_off(struct inquiry *x)
{
    pthread_mutex_unlock(&x->w->asks.lock);
    unref(x);
}

/* One of its calls has ended. */
static void add_call(struct inquiry *x, const struct receipt *r)
{
    x->sum.calls++;
    x->sum.ns += r->queued_ns + r->ran_ns;
    x->sum.cpu_ns += r->cpu_ns + r->calls_cpu_ns;
}

static void account(struct inquiry *x)
{
    x->w->asks.sum.calls += x->sum.calls;
    x->w->asks.sum.ns += x->sum.ns;
    x->w->asks.sum.cpu_ns += x->sum.cpu_ns;
}

static bool is_quick(const struct inquiry *x)
{
    return clock_mono_ns() - x->since_ns < ASK_QUICK_NS;
}

static void finish(struct inquiry *x, const void *bytes, size_t len, const struct error *err)
{
    knot_end(x); /* before the worker can ask for the next */
    if (take_off(x)) {
        account(x);
        if (err)
            reply_error(x->w, err);
        else
            channel_reply(x->w->lane.ch, true, bytes, len, is_quick(x));
        taken_off(x);
    }
    unref(x); /* the handler's */
}

/* Under the lock, which it gives back: nobody waits for it any more. err NULL: the worker has ended. */
static void give_up(struct inquiry *x, const struct error *err)
{
    struct worker *w = x->w;
    w->asks.now = NULL;
    void (*stop)(struct question * ask) = x->ask.stop;
    knot_end(x);
    if (err)
        reply_error(w, err);
    pthread_mutex_unlock(&w->asks.lock);
    if (stop)
        stop(&x->ask);
    unref(x);
}

static bool on_stop(struct question *ask, void (*stop)(struct question *ask))
{
    struct inquiry *x = (struct inquiry *)(void *)ask;
    pthread_mutex_lock(&x->w->asks.lock);
    bool waits = x->w->asks.now == x;
    ask->stop = stop;
    pthread_mutex_unlock(&x->w->asks.lock);
    return waits;
}

static void done(struct question *ask, const void *bytes, size_t len)
{
    finish((struct inquiry *)(void *)ask, bytes, len, NULL);
}

/* The descriptor is there before the answer, and one for each answer: nobody else sends any. */
static void hand(struct question *ask, int fd)
{
    struct inquiry *x = (struct inquiry *)(void *)ask;
    struct worker *w = x->w;
    struct error err;
    knot_end(x);
    if (take_off(x)) {
        if (w->net >= 0 && io_send(w->net, "", 1, &fd, 1)) {
            channel_reply(w->lane.ch, true, "", 0, is_quick(x));
        } else {
            error_set(&err, MOAT_E_WRONG_STATE, "this worker was started without the right to connect: call again");
            reply_error(w, &err);
        }
        taken_off(x);
    }
    unref(x);
}

static void fail(struct question *ask, const struct error *err)
{
    finish((struct inquiry *)(void *)ask, NULL, 0, err);
}

/* ---- a denial: told of before the plugin goes on, so that who floods waits for it ---- */

static void run_denied(struct loop_task *task)
{
    struct inquiry *x = (struct inquiry *)(void *)((char *)task - offsetof(struct inquiry, task));
    denial_count(x->w, x->refused);
    free(x->refused);
    finish(x, NULL, 0, &x->error);
}

static void deny(struct question *ask, int permission, const char *operation, const char *object,
                 const struct error *err)
{
    struct inquiry *x = (struct inquiry *)(void *)ask;
    x->error = *err;
    x->refused = calloc(1, sizeof *x->refused);
    if (!x->refused) {
        finish(x, NULL, 0, &x->error);
        return;
    }
    struct explain_event *ev = &x->refused->event;
    ev->denied = true;
    ev->permission = permission;
    text_copy(ev->operation, sizeof ev->operation, operation);
    text_plain(ev->object, sizeof ev->object, object, strlen(object));
    text_copy(ev->wall, sizeof ev->wall, "broker");
    x->refused->action = x->action;
    memcpy(x->refused->call, x->call_id, sizeof x->refused->call);
    x->task.run = run_denied;
    loop_post(x->w->l->explain, &x->task);
}

/* ---- a call of another plugin ---- */

static void nested_done(struct call *c)
{
    struct inquiry *x = c->context;
    add_call(x, &c->receipt);
    finish(x, c->result, c->result_len, c->code ? &c->error : NULL);
}

static void stop_nested(struct question *ask)
{
    struct inquiry *x = (struct inquiry *)(void *)ask;
    call_cancel(x->w->l, &x->nested);
}

/* Who waits: those of the call that asks, and its own plugin. */
static void take_chain(struct inquiry *x)
{
    const struct inquiry *of = x->of;
    if (of) {
        memcpy(x->chain, of->chain, of->depth * sizeof *x->chain);
        x->depth = of->depth;
    }
    x->chain[x->depth++] = x->w->plugin;
}

static unsigned chain(const struct question *ask, const char *names[ASK_CHAIN_MAX])
{
    const struct inquiry *x = (const struct inquiry *)(const void *)ask;
    for (unsigned i = 0; i < x->depth; i++)
        names[i] = x->chain[i]->name;
    return x->depth;
}

static int check_chain(const struct inquiry *x, const char *name, const struct plugin *target, struct error *err)
{
    for (unsigned i = 0; i < x->depth; i++)
        if (x->chain[i] == target)
            return error_set(err, MOAT_E_CALL_CYCLE, "%s waits for this call already", name);
    if (x->depth == ASK_CHAIN_MAX)
        return error_set(err, MOAT_E_CALL_DEPTH, "%d plugins wait for each other already, from %s to %s", ASK_CHAIN_MAX,
                         x->chain[0]->name, x->w->plugin->name);
    return 0;
}

static int check(struct inquiry *x, const char *name, struct plugin *target, uint64_t now, struct error *err)
{
    if (!target)
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "there is no plugin \"%.64s\"", name);
    if (!x->w->gen->may_wait) /* what knot.c relies on; the policy has refused it before */
        return error_set(err, MOAT_E_INTERNAL, "the manifest of %s does not ask for agent_control", x->ask.plugin);
    if (x->ask.deadline_ns <= now)
        return error_set(err, MOAT_E_DEADLINE, "no time is left");
    int rc = check_chain(x, name, target, err);
    rc = rc ? rc : knot_open(x, target);
    if (rc == -MOAT_E_CANCELLED)
        error_set(err, MOAT_E_CANCELLED, "the call that asks for it is over");
    if (rc == -MOAT_E_WOULD_DEADLOCK)
        error_set(err, MOAT_E_WOULD_DEADLOCK, "every worker of %s waits, in the end for %s, which would wait for it",
                  name, x->w->plugin->name);
    return rc;
}

static uint64_t time_left(const struct question *ask, uint64_t now)
{
    return ask->deadline_ns == UINT64_MAX ? 0 : ask->deadline_ns - now;
}

static void call(struct question *ask, const char *plugin, const char *action, const void *parameters, size_t len)
{
    struct inquiry *x = (struct inquiry *)(void *)ask;
    struct loader *l = x->w->l;
    struct plugin *own = x->w->plugin, *target = table_find(l, plugin);
    uint64_t now = clock_mono_ns();
    text_copy(x->plugin, sizeof x->plugin, plugin);
    text_copy(x->named, sizeof x->named, action);
    int rc = check(x, x->plugin, target, now, &x->error);
    if (rc) {
        finish(x, NULL, 0, &x->error);
        return;
    }
    struct call *c = &x->nested;
    *c = (struct call){.plugin = x->plugin,
                       .action = x->named,
                       .parameters = parameters,
                       .parameters_len = len,
                       .deadline_ns = time_left(ask, now),
                       .principal = ask->principal,
                       .loop = plugin_loop(target, plugin_loop(own, NULL)),
                       .done = nested_done,
                       .context = x};
    memcpy(c->traceparent, ask->traceparent, sizeof c->traceparent);
    call_hidden(c)->of = x;
    if (on_stop(ask, stop_nested))
        call_begin(l, c); /* stopped meanwhile, it is cancelled before it is queued */
    else
        finish(x, NULL, 0, &x->error); /* which nobody reads */
}

/* ---- calls of a handler, one after the other ---- */

static void refused_later(struct loop_task *task)
{
    struct call *c = (struct call *)(void *)((char *)task - offsetof(struct call, internal));
    c->done(c);
}

static void set_object(struct question *ask, const char *object)
{
    struct inquiry *x = (struct inquiry *)(void *)ask;
    pthread_mutex_lock(&x->w->asks.lock);
    text_copy(x->ask.object, sizeof x->ask.object, object);
    pthread_mutex_unlock(&x->w->asks.lock);
}

static void begin_call(struct question *ask, struct call *c)
{
    struct inquiry *x = (struct inquiry *)(void *)ask;
    struct hidden *h = call_hidden(c);
    uint64_t now = clock_mono_ns();
    c->code = check(x, c->plugin, table_find(x->w->l, c->plugin), now, &c->error);
    if (c->code) {
        h->task.run = refused_later;
        loop_post(c->loop, &h->task);
        return;
    }
    uint64_t left = time_left(ask, now);
    if (left && (!c->deadline_ns || c->deadline_ns > left))
        c->deadline_ns = left;
    c->principal = ask->principal;
    h->of = x;
    call_begin(x->w->l, c);
}

static void call_over(struct question *ask, const struct call *c)
{
    struct inquiry *x = (struct inquiry *)(void *)ask;
    set_object(ask, "");
    knot_close(x);
    if (call_hidden((struct call *)(uintptr_t)c)->of)
        add_call(x, &c->receipt);
}

/* ---- what the worker asks ---- */

static const struct ask_answers answers = {.on_stop = on_stop,
                                           .done = done,
                                           .hand = hand,
                                           .refuse = fail,
                                           .deny = deny,
                                           .call = call,
                                           .object = set_object,
                                           .begin = begin_call,
                                           .over = call_over,
                                           .chain = chain};

static struct inquiry *make(struct worker *w, const struct flight *f, const struct channel_answer *a)
{
    struct inquiry *x = malloc(sizeof *x + a->len + BUF_PAD);
    if (!x)
        return NULL;
    memset(x, 0, offsetof(struct inquiry, nested));
    memset(&x->nested, 0, sizeof *x - offsetof(struct inquiry, nested));
    memcpy(x->bytes, a->shared, a->len); /* shared memory is the worker's to change */
    x->bytes[a->len] = 0;
    x->refs = 2;
    x->since_ns = clock_mono_ns();
    x->w = w;
    x->of = call_hidden((struct call *)(uintptr_t)f->call)->of;
    if (x->of)
        atomic_fetch_add(&x->of->refs, 1);
    x->action = f->action + 1;
    memcpy(x->call_id, f->call->id, sizeof x->call_id);
    take_chain(x);
    x->ask = (struct question){.to = &answers,
                               .service = a->status,
                               .bytes = x->bytes,
                               .len = a->len,
                               .plugin = w->plugin->name,
                               .version = w->gen->version,
                               .action = w->gen->spec->manifest->actions[f->action].name,
                               .call_id = x->call_id,
                               .worker = w->number,
                               .seats = w->seats,
                               .deadline_ns = f->deadline_ns,
                               .principal = f->call->principal};
    if (a->status == ASK_CALL || a->status == ASK_TASK)
        trace_child(CALL_PLACE(f->call), x->ask.traceparent);
    atomic_fetch_add(&w->refs, 1);
    atomic_fetch_add(&w->l->asks, 1);
    return x;
}

/* Why nobody would wait for an answer, or 0. */
static int unwanted(const struct worker *w, const struct flight *f, struct error *err)
{
    const struct call *c = f->call;
    if (!c || atomic_load(&call_hidden((struct call *)(uintptr_t)c)->cancel))
        return error_set(err, MOAT_E_CANCELLED, "the call was cancelled");
    if (atomic_load(&w->flags) & (WORKER_DEAD | WORKER_KILLED))
        return error_set(err, MOAT_E_CANCELLED, "its worker has ended");
    if (f->flagged)
        return error_set(err, MOAT_E_DEADLINE, "the call's time is over");
    if (!w->l->config.on_ask)
        return error_set(err, MOAT_E_WRONG_STATE, "this host answers nothing");
    return 0;
}

/* Who asks and is soon answered is passed on fastest on the CPU of who answers; the owner lets it go as after a call.
 */
static void stay_near(struct worker *w, uint64_t now)
{
    struct lane *lane = &w->lane;
    if (!lane->placed)
        channel_place(lane->ch, w->child.pid);
    lane->placed = true;
    lane->let_go_at = now + LANE_LET_GO_NS;
}

void ask_take(struct worker *w, const struct flight *f, const struct channel_answer *a)
{
    struct error err;
    int rc = unwanted(w, f, &err);
    struct inquiry *x = rc ? NULL : make(w, f, a);
    if (!rc && !x)
        rc = error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for what it asks");
    if (rc) {
        reply_error(w, &err);
        return;
    }
    w->lane.asks = true;
    stay_near(w, x->since_ns);
    pthread_mutex_lock(&w->asks.lock);
    w->asks.now = x;
    pthread_mutex_unlock(&w->asks.lock);
    atomic_fetch_add(&x->refs, 1);
    w->l->config.on_ask(w->l->config.context, &x->ask);
    unref(x);
}

void ask_withdraw(struct worker *w, const struct error *err)
{
    pthread_mutex_lock(&w->asks.lock);
    struct inquiry *x = w->asks.now;
    if (x)
        give_up(x, err);
    else
        pthread_mutex_unlock(&w->asks.lock);
}

void ask_account(struct worker *w, struct receipt *r)
{
    struct asked_sum sum = {0};
    if (w->lane.asks) {
        pthread_mutex_lock(&w->asks.lock);
        sum = w->asks.sum;
        w->asks.sum = (struct asked_sum){0};
        pthread_mutex_unlock(&w->asks.lock);
    }
    w->lane.asks = false;
    if (!r)
        return;
    r->calls = sum.calls;
    r->calls_ns = sum.ns;
    r->calls_cpu_ns = sum.cpu_ns;
}

/* ---- looked at again ---- */

static void review(struct worker *w, bool (*over)(void *context, const struct question *ask, struct error *err),
                   void *context)
{
    struct error err;
    pthread_mutex_lock(&w->asks.lock);
    struct inquiry *x = w->asks.now;
    struct question seen; /* what it waits for now is its handler's to change */
    if (x) {
        atomic_fetch_add(&x->refs, 1);
        seen = x->ask;
    }
    pthread_mutex_unlock(&w->asks.lock);
    if (!x)
        return;
    if (over(context, &seen, &err) && take_off(x))
        give_up(x, &err);
    unref(x);
}

void loader_asks_review(struct loader *l, const char *name,
                        bool (*over)(void *context, const struct question *ask, struct error *err), void *context)
{
    struct worker *all[PLUGIN_SLOTS];
    unsigned n = 0;
    struct plugin *p = table_find(l, name);
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLUGIN_SLOTS; i++)
        if (p->roster[i]) {
            all[n++] = p->roster[i];
            atomic_fetch_add(&p->roster[i]->refs, 1);
        }
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < n; i++) {
        review(all[i], over, context);
        worker_unref(all[i]);
    }
}
