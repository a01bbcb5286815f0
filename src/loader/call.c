/* One call from its beginning to its end: identity, checks, completion.  Where it runs is lane.c's business. */
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "loader/internal.h"

/* ---- lists ---- */

void call_list_init(struct call_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

void call_list_add(struct call_list *list, struct call *c)
{
    c->next = NULL;
    *list->end = c;
    list->end = &c->next;
}

void call_list_run(struct call_list *list)
{
    struct call *c = list->first;
    call_list_init(list);
    while (c) {
        struct call *next = c->next;
        c->done(c); /* c may be gone, or begun again */
        c = next;
    }
}

/* ---- identity ---- */

static inline uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

/* xoshiro256**: an id has to be unique, not secret. */
static uint64_t random64(void)
{
    static _Thread_local uint64_t s[4];
    if (!(s[0] | s[1] | s[2] | s[3]))
        for (ssize_t n = 0; n != sizeof s;)
            n = getrandom(s, sizeof s, 0);
    uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

/* Eight digits of hex at a time: each nibble in a byte of its own, then '0' or 'a' - 10 added to all of them. */
static void put_hex32(char *out, uint32_t n)
{
    uint64_t x = n;
    x = (x & 0xffff0000) << 16 | (x & 0xffff);
    x = (x & 0x0000ff000000ff00) << 8 | (x & 0x000000ff000000ff);
    x = (x & 0x00f000f000f000f0) << 4 | (x & 0x000f000f000f000f);
    uint64_t letters = (x + 0x0606060606060606) >> 4 & 0x0101010101010101;
    x += 0x3030303030303030 + letters * ('a' - '0' - 10);
    memcpy(out, &x, 8);
}

void call_make_id(char id[33])
{
    uint64_t a = random64(), b = random64();
    put_hex32(id, (uint32_t)a);
    put_hex32(id + 8, (uint32_t)(a >> 32));
    put_hex32(id + 16, (uint32_t)b);
    put_hex32(id + 24, (uint32_t)(b >> 32));
    id[32] = '\0';
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t longest_span(const struct loader *l, const struct generation *gen)
{
    uint64_t most = tuned(&l->tuned.deadline_max_ns);
    return gen ? smaller(gen->deadline_max_ns, most) : most;
}

uint64_t call_usual_span(const struct loader *l, const struct generation *gen)
{
    uint64_t most = longest_span(l, gen);
    return gen && !gen->deadline_own ? smaller(tuned(&l->tuned.deadline_default_ns), most) : most;
}

void call_open(struct loader *l, struct plugin *p, struct call *c, const struct generation *gen, uint64_t now)
{
    struct hidden *h = call_hidden(c);
    if (!*c->id)
        call_make_id(c->id);
    atomic_store_explicit(&h->state, CALL_NEW, memory_order_relaxed);
    h->tries = 0;
    h->trial = false;
    h->begun_ns = now;
    atomic_store_explicit(&h->plugin, p, memory_order_release);
    uint64_t span = c->deadline_ns ? smaller(c->deadline_ns, longest_span(l, gen)) : call_usual_span(l, gen);
    h->deadline_ns = h->begun_ns + span;
    if (h->deadline_ns < span)
        h->deadline_ns = UINT64_MAX;
}

/* ---- checks ---- */

static int no_such_action(struct call *c, const struct manifest *m)
{
    char names[512];
    size_t used = 0;
    names[0] = '\0';
    for (size_t i = 0; i < m->nactions && used < sizeof names - MANIFEST_ACTION_MAX - 8; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", m->actions[i].name);
    return error_set(&c->error, MOAT_E_NO_SUCH_ACTION, "%s has no action \"%.64s\"; it has %s", m->name, c->action,
                     m->nactions ? names : "none");
}

void call_detail(struct call *c, const struct json_fault *fault)
{
    buf_auto detail = BUF_INIT(ERROR_DETAIL_MAX - 1);
    buf_puts(&detail, "{\"pointer\":");
    text_json_string(&detail, fault->pointer);
    buf_puts(&detail, ",\"reason\":");
    text_json_string(&detail, fault->reason);
    if (buf_putc(&detail, '}'))
        memcpy(c->error.detail, detail.data, detail.len + 1);
}

static int faulty(struct call *c, const struct json_fault *fault)
{
    if (fault->code == MOAT_E_BAD_JSON)
        error_set(&c->error, MOAT_E_BAD_JSON, "the parameters of %s.%s are not JSON: %s at byte %zu", c->plugin,
                  c->action, fault->reason, fault->offset);
    else
        error_set(&c->error, fault->code, "the parameters of %s.%s do not fit: %s%s%s", c->plugin, c->action,
                  fault->pointer, *fault->pointer ? ": " : "", fault->reason);
    call_detail(c, fault);
    return -(int)fault->code;
}

int call_check(struct call *c, struct generation *gen, uint8_t *room)
{
    struct hidden *h = call_hidden(c);
    const struct manifest *m = gen->spec->manifest;
    int action = manifest_action(m, c->action);
    if (action < 0)
        return no_such_action(c, m);
    uint8_t *fresh = NULL;
    if (!room) {
        room = fresh = malloc(c->parameters_len + JSON_PAD);
        if (!fresh)
            return error_set(&c->error, MOAT_E_OUT_OF_MEMORY, "no memory for the parameters of %s.%s", c->plugin,
                             c->action);
    }
    const uint8_t *from = h->copy ? h->copy : c->parameters;
    struct json_fault fault;
    if (json_schema_copy_check(m->actions[action].parameters, room, from, c->parameters_len, &fault)) {
        free(fresh);
        return faulty(c, &fault);
    }
    h->action = (uint32_t)action;
    if (fresh)
        h->copy = fresh;
    return 0;
}

int call_refused(struct call *c, const struct generation *gen)
{
    return error_set(&c->error, gen->gate, "%s", gen->gate_message);
}

int call_too_large(struct loader *l, struct call *c)
{
    if (c->parameters_len <= l->config.payload_max)
        return 0;
    return error_set(&c->error, MOAT_E_TOO_LARGE, "the parameters have %zu bytes; at most %zu are taken",
                     c->parameters_len, l->config.payload_max);
}

/* ---- beginning ---- */

int call_queue(struct loader *l, struct call *c, bool again)
{
    struct hidden *h = call_hidden(c);
    struct plugin *p = table_find(l, c->plugin);
    struct generation *gen = p ? plugin_current(p) : NULL;
    if (!again)
        call_open(l, p, c, gen, ticks_now());
    if (!gen)
        return error_set(&c->error, MOAT_E_NO_SUCH_PLUGIN, "there is no plugin \"%.64s\"", c->plugin);
    int rc = gen->gate ? call_refused(c, gen) : call_too_large(l, c);
    rc = rc ? rc : call_check(c, gen, NULL);
    if (rc) {
        generation_unref(gen);
        return rc;
    }
    h->gen = gen;
    return queue_add(p, c);
}

static void run_done(struct loop_task *task)
{
    struct call *c = (struct call *)(void *)((char *)task - offsetof(struct call, internal));
    c->done(c);
}

void call_begin(struct loader *l, struct call *c)
{
    struct hidden *h = call_hidden(c);
    h->task.run = run_done;
    h->waiter = NULL;
    h->lent = false;
    int rc = call_queue(l, c, false);
    if (rc)
        call_finish(c, rc, NULL);
}

void call_cancel(struct loader *l, struct call *c)
{
    struct hidden *h = call_hidden(c);
    atomic_store(&h->cancel, 1);
    struct plugin *p = atomic_load(&h->plugin);
    if (!p || atomic_load(&h->state) == CALL_DONE)
        return;
    if (queue_remove(p, c)) {
        error_set(&c->error, MOAT_E_CANCELLED, "the call was cancelled before it started");
        call_finish(c, -MOAT_E_CANCELLED, NULL);
        return;
    }
    /* Its channel has an owner: the loop, or a thread in call_run, which looks at the flag when it is woken. */
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLUGIN_SLOTS; i++)
        if (p->roster[i]) {
            atomic_store(&p->roster[i]->look, true);
            channel_wake(p->roster[i]->lane.ch);
        }
    pthread_mutex_unlock(&p->lock);
    plugin_kick(p);
}

/* ---- the end ---- */

void waiter_wait(struct waiter *w)
{
    uint32_t left;
    while ((left = atomic_load(&w->left)))
        syscall(SYS_futex, &w->left, FUTEX_WAIT_PRIVATE, left, NULL, NULL, 0);
}

/* The waiter may be gone as soon as it reads 0; the wake then reaches nobody, or somebody who looks again. */
void waiter_tell(struct waiter *w)
{
    if (atomic_fetch_sub(&w->left, 1) == 1)
        syscall(SYS_futex, &w->left, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* The trial of an open circuit is over: an answer of the plugin closes it, whatever the answer says. */
static void trial_over(struct plugin *p, int code)
{
    bool answered = code == 0 || code == -MOAT_E_ACTION_FAILED || code == -MOAT_E_BAD_RESULT;
    pthread_mutex_lock(&p->lock);
    if (p->circuit == CIRCUIT_TRIAL) {
        p->circuit = answered ? CIRCUIT_CLOSED : CIRCUIT_OPEN;
        p->circuit_until = clock_mono_ns();
    }
    pthread_mutex_unlock(&p->lock);
    if (answered && !atomic_exchange(&p->probed, true))
        loop_post(p->l->supervise, &p->probe);
}

static void tell_end(const struct loader_config *config, const struct call *c, uint64_t begun)
{
    uint64_t now = ticks_now(), wall = clock_wall_ns();
    config->on_end(config->context, c,
                   &(struct call_times){.begun = wall - (now > begun ? now - begun : 0), .ended = wall});
}

static void finish(const struct generation *ran, struct call *c, int code, struct call_list *here)
{
    struct hidden *h = call_hidden(c);
    struct plugin *p = atomic_load_explicit(&h->plugin, memory_order_relaxed);
    c->code = code;
    if (p && p->l->config.on_end)
        tell_end(&p->l->config, c, h->begun_ns);
    if (p && code)
        stats_error(p, ran, c);
    if (p && h->trial)
        trial_over(p, code);
    if (h->gen)
        generation_unref(h->gen);
    free(h->copy);
    h->gen = NULL;
    h->copy = NULL;
    h->trial = false;
    atomic_store_explicit(&h->state, CALL_DONE, memory_order_release);
    if (h->lent)
        return;
    if (h->waiter)
        waiter_tell(h->waiter);
    else if (here && p && c->loop == p->loop)
        call_list_add(here, c);
    else
        loop_post(c->loop, &h->task);
}

void call_finish(struct call *c, int code, struct call_list *here)
{
    finish(NULL, c, code, here);
}

void call_finish_in(struct worker *w, struct call *c, int code, struct call_list *here)
{
    finish(w->gen, c, code, here);
}
