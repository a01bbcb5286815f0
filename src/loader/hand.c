#include "loader/hand.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "loader/internal.h"

static bool has_state(const struct generation *g)
{
    return g && !g->gate && g->spec && g->spec->manifest->state && g->nworkers == 1;
}

static struct worker *worker_of(const struct generation *g)
{
    for (struct worker *w = g->plugin->living; w; w = w->next)
        if (w->gen == g && w->state == WORKER_READY && !(atomic_load(&w->flags) & ~(uint32_t)WORKER_PAUSED))
            return w;
    return NULL;
}

/* A worker that is gone, or on its way, has nothing to hand over any more. */
bool hand_wanted(const struct generation *next)
{
    const struct plugin *p = next->plugin;
    return next == p->next && !next->percent && has_state(next) && has_state(p->current) && worker_of(p->current);
}

static void end(struct hand *h)
{
    loop_timer_clear(&h->late);
    *h = (struct hand){.step = HAND_NONE};
}

void hand_end(struct plugin *p)
{
    struct worker *old = p->hand.old;
    if (p->hand.step == HAND_NONE)
        return;
    end(&p->hand);
    errand_withdraw(old);
    worker_resume(old);
}

/* The old one stays, with what it has. */
__attribute__((format(printf, 3, 4))) static void fail(struct plugin *p, enum moat_code code, const char *format, ...)
{
    struct error err;
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    error_set(&err, code, "%s stays as it is: %s", p->name, why);
    log_event(LOG_WARN, "state_not_handed_over", "plugin", p->name, "why", why, NULL);
    generation_drop_next(p, &err); /* which ends the hand-over */
    plugin_show(p);
}

static void late(struct loop_timer *timer)
{
    struct plugin *p = (struct plugin *)(void *)((char *)timer - offsetof(struct plugin, hand.late));
    /* Once it was sent, the channel's own deadline ends it. */
    if (p->hand.step == HAND_WAITS || (p->hand.step == HAND_SAVES && errand_withdraw(p->hand.old)))
        fail(p, MOAT_E_START_FAILED, "a call of it ran on while its state was to be saved");
}

static void ask_to_save(struct plugin *p)
{
    struct hand *h = &p->hand;
    h->step = errand_send(h->old, CHANNEL_SAVE, NULL, 0, p->l->errand_ns) ? HAND_SAVES : HAND_WAITS;
}

void hand_begin(struct worker *heir)
{
    struct plugin *p = heir->plugin;
    struct hand *h = &p->hand;
    h->old = worker_of(p->current);
    h->heir = heir;
    h->late.fire = late;
    loop_timer_set(p->l->supervise, &h->late, clock_mono_ns() + p->l->drain_ns);
    worker_pause(h->old);
    ask_to_save(p);
    plugin_show(p);
}

static void take_over(struct plugin *p)
{
    struct worker *old = p->hand.old, *heir = p->hand.heir;
    struct generation *g = heir->gen;
    end(&p->hand);
    generation_met(g, heir); /* new calls meet it before they can meet its worker */
    worker_resume(old);      /* to leave */
    worker_resume(heir);
    generation_serves(g);
}

static void saved(struct plugin *p, struct errand *answer)
{
    if (answer->answer != ERRAND_DONE)
        fail(p, MOAT_E_START_FAILED, "its state could not be saved: %s", answer->message);
    else if (answer->blob_len > HAND_STATE_MAX)
        fail(p, MOAT_E_TOO_LARGE, "its state has %zu bytes, more than %u", answer->blob_len, HAND_STATE_MAX);
    else if (errand_send(p->hand.heir, CHANNEL_RESTORE, answer->blob, answer->blob_len, p->l->errand_ns)) {
        answer->blob = NULL;
        p->hand.step = HAND_RESTORES;
    } else {
        fail(p, MOAT_E_INTERNAL, "its next worker is on another errand");
    }
}

static void restored(struct plugin *p, const struct errand *answer)
{
    if (answer->answer == ERRAND_DONE)
        take_over(p);
    else
        fail(p, MOAT_E_START_FAILED, "its next generation did not take its state: %s", answer->message);
}

/* An answer to a hand-over that is over says only that the worker can be asked again. */
void hand_told(struct worker *w, struct errand *answer)
{
    struct plugin *p = w->plugin;
    struct hand *h = &p->hand;
    if (h->step == HAND_WAITS && w == h->old)
        ask_to_save(p);
    else if (h->step == HAND_SAVES && w == h->old)
        saved(p, answer);
    else if (h->step == HAND_RESTORES && w == h->heir)
        restored(p, answer);
}

void hand_worker_died(struct worker *w)
{
    struct error how;
    struct plugin *p = w->plugin;
    const struct hand *h = &p->hand;
    if (h->step == HAND_NONE || (w != h->old && w != h->heir))
        return;
    errand_death(w, &how);
    if (w == h->heir)
        fail(p, MOAT_E_START_FAILED, "its next generation did not take its state: %s", how.message);
    else
        fail(p, MOAT_E_PLUGIN_CRASHED, "its worker ended before its state was handed over, which is lost: %s",
             how.message);
}
