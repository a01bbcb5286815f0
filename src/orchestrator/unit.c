/* One call of a step, or of one item of it: who runs it, its parameters, its tries, its fallback. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "orchestrator/run.h"
#include "orchestrator/score.h"
#include "service/asked.h"

#define SPARE_MAX 256
#define FILL_HERE (256 * 1024) /* bytes looked at to fill a template: more is the planner's work */
#define FULL_FIRST_NS (5 * NS_PER_MS)
#define FULL_MOST_NS (200 * NS_PER_MS)
#define FULL_LONGEST_NS (30 * NS_PER_S)

/* After these another try may do: the first set whatever the action, since it has not begun; both for one that is free
 * to be run twice. */
static const enum moat_code not_begun[] = {MOAT_E_START_FAILED, MOAT_E_QUEUE_FULL, MOAT_E_DRAINING, MOAT_E_NOT_READY};
static const enum moat_code may_pass[] = {MOAT_E_PLUGIN_CRASHED, MOAT_E_DEADLINE, MOAT_E_OUT_OF_MEMORY};

/* ---- its life ---- */

struct unit *unit_new(struct run *r, uint32_t step, uint32_t item, enum unit_phase phase)
{
    struct place *p = r->place;
    struct unit *u = p->spare;
    struct buf kept = {0};
    if (u) {
        p->spare = u->next;
        p->nspare--;
        kept = u->parameters;
    } else {
        u = malloc(sizeof *u);
    }
    if (!u)
        return NULL;
    memset(u, 0, sizeof *u);
    u->parameters = kept;
    u->parameters.max = service_setting_payload_max(r->o->service) + BUF_PAD;
    u->run = r;
    u->step = step;
    u->item = item;
    u->phase = phase;
    u->avoid = -1;
    u->since_ns = clock_mono_ns();
    u->after = r->units;
    u->link = &r->units;
    if (r->units)
        r->units->link = &u->after;
    r->units = u;
    r->nunits++;
    return u;
}

/* ---- the memory of its parameters ---- */

static void let_go(struct unit *u)
{
    atomic_fetch_sub_explicit(&u->run->o->parameters, u->held, memory_order_relaxed);
    u->held = 0;
}

/* From filled until it is over, however long its plugin lets it wait. What undoes something is not refused. */
static bool hold(struct unit *u, struct error *err)
{
    struct orchestrator *o = u->run->o;
    let_go(u);
    u->held = u->parameters.cap;
    uint64_t all = atomic_fetch_add_explicit(&o->parameters, u->held, memory_order_relaxed) + u->held;
    if (all <= o->parameters_max || u->phase == PHASE_COMPENSATE)
        return true;
    let_go(u);
    error_set(err, MOAT_E_LIMIT,
              "its parameters have %zu bytes, and with those of other steps that wait or run there would be %llu: the "
              "setting `tasks_parameters_max` is %llu",
              u->parameters.len, (unsigned long long)all, (unsigned long long)o->parameters_max);
    buf_free(&u->parameters);
    return false;
}

/* A few are kept with their small buffers: most calls of most tasks are such. */
void unit_free(struct unit *u)
{
    struct run *r = u->run;
    struct place *p = r->place;
    *u->link = u->after;
    if (u->after)
        u->after->link = u->link;
    r->nunits--;
    if (u->counted)
        r->in_flight--;
    offer_unref(u->offer);
    let_go(u);
    free(u->message);
    free(u->error);
    free(u->call.result);
    if (p->nspare < SPARE_MAX && u->parameters.cap <= 4096) {
        buf_clear(&u->parameters);
        u->next = p->spare;
        p->spare = u;
        p->nspare++;
        return;
    }
    buf_free(&u->parameters);
    free(u);
}

const struct task_action *unit_action(const struct unit *u)
{
    const struct task_step *step = &u->run->task->steps[u->step];
    return u->phase == PHASE_RUN ? &step->run : u->phase == PHASE_FALLBACK ? step->fallback : step->compensate;
}

/* ---- when it fails ---- */

static bool is_among(enum moat_code code, const enum moat_code *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == code)
            return true;
    return false;
}

static bool is_idempotent(const struct unit *u)
{
    const struct manifest *m = u->offer ? u->offer->manifest : NULL;
    int action = m ? manifest_action(m, unit_action(u)->action) : -1;
    return action >= 0 && m->actions[action].idempotent;
}

static bool may_retry(const struct unit *u)
{
    const struct task_retry *retry = &u->run->task->steps[u->step].retry;
    if (u->tries >= retry->attempts)
        return false;
    if (retry->named)
        return retry->on[u->code / 64] >> u->code % 64 & 1;
    return is_among(u->code, not_begun, sizeof not_begun / sizeof *not_begun) ||
           (is_idempotent(u) && is_among(u->code, may_pass, sizeof may_pass / sizeof *may_pass));
}

static void rested(struct loop_timer *timer)
{
    struct unit *u = (struct unit *)(void *)((char *)timer - offsetof(struct unit, timer));
    struct run *r = u->run;
    u->resting = false;
    run_queue(r, u);
    run_pump(r);
}

/* Not in flight meanwhile: others may go. */
static bool rest(struct unit *u, uint64_t span)
{
    u->timer.fire = rested;
    if (!loop_timer_set(u->run->place->loop, &u->timer, clock_mono_ns() + span))
        return false;
    u->resting = true;
    return true;
}

static uint64_t next_delay(struct unit *u)
{
    const struct task_retry *retry = &u->run->task->steps[u->step].retry;
    uint64_t delay = u->delay_ns ? u->delay_ns : retry->delay_ns;
    if (delay > retry->delay_max_ns)
        delay = retry->delay_max_ns;
    double longer = (double)delay * retry->factor;
    u->delay_ns = longer < (double)retry->delay_max_ns ? (uint64_t)longer : retry->delay_max_ns;
    return delay;
}

/* Others fill the plugin's queue: that is waited out, and is no try. */
static bool wait_for_queue(struct unit *u)
{
    if (u->code != MOAT_E_QUEUE_FULL || clock_mono_ns() > u->since_ns + FULL_LONGEST_NS)
        return false;
    u->full_ns = u->full_ns ? u->full_ns * 2 : FULL_FIRST_NS;
    if (u->full_ns > FULL_MOST_NS)
        u->full_ns = FULL_MOST_NS;
    u->tries--;
    return rest(u, u->full_ns);
}

/* Of many candidates not each one's schema was looked at before: another one may take these parameters. */
#define OTHERS_MAX 8
static bool try_another(struct unit *u)
{
    const struct roster_action *a = &u->run->roster->actions[unit_action(u)->number];
    if (u->code != MOAT_E_BAD_PARAMETERS || a->named || a->choice->n < 2 || !u->offer || u->others++ >= OTHERS_MAX)
        return false;
    u->tries--;
    run_queue(u->run, u);
    return true;
}

static bool try_again(struct unit *u)
{
    uint64_t delay = may_retry(u) ? next_delay(u) : 0;
    if (!may_retry(u) || !rest(u, delay))
        return false;
    event_retry(u, delay);
    return true;
}

static void fall_back(struct unit *u)
{
    event_fallback(u);
    u->phase = PHASE_FALLBACK;
    u->tries = 0;
    u->delay_ns = 0;
    u->avoid = -1;
    run_queue(u->run, u);
}

static void failed(struct unit *u, enum moat_code code, const char *message)
{
    struct run *r = u->run;
    bool goes_on = r->stop == STOP_NOT || (u->phase == PHASE_COMPENSATE && r->stop == STOP_FAILED);
    free(u->message);
    u->message = strdup(message);
    u->code = code;
    if (u->counted)
        r->in_flight--;
    u->counted = false;
    if (goes_on && (wait_for_queue(u) || try_another(u) || try_again(u)))
        return;
    if (goes_on && u->phase == PHASE_RUN && r->task->steps[u->step].fallback)
        fall_back(u);
    else
        step_unit_failed(u);
}

void unit_cannot(struct unit *u, const struct error *why)
{
    u->tries = UINT32_MAX;
    u->others = OTHERS_MAX;
    failed(u, why->code, why->message);
}

/* ---- who runs it ---- */

static void explain(struct unit *u, const struct roster_action *a, int64_t chosen, const char *sticky)
{
    struct step_run *s = &u->run->steps[u->step];
    struct buf why = BUF_INIT(1 << 20);
    size_t len;
    if (u->run->request.explain && !s->why && document_choice(&why, a->choice, a->mask, chosen, sticky))
        s->why = (char *)buf_steal(&why, &len);
    buf_free(&why);
}

static bool choose(struct unit *u)
{
    struct run *r = u->run;
    const struct roster_action *a = &r->roster->actions[unit_action(u)->number];
    const char *key = u->phase == PHASE_RUN ? r->task->steps[u->step].sticky : NULL;
    offer_unref(u->offer);
    u->offer = NULL;
    if (a->named) {
        u->offer = offer_ref(a->named);
        return true;
    }
    int64_t chosen = key && u->avoid < 0 ? sticky_find(r->o, key, a->choice, a->mask) : -1;
    bool stuck = chosen >= 0;
    if (!stuck)
        chosen = score_best(a->choice, a->mask, u->avoid);
    if (chosen < 0)
        return false;
    explain(u, a, chosen, stuck ? key : NULL);
    u->avoid = chosen;
    u->offer = offer_ref(a->choice->list[chosen].offer);
    score_chosen(u->offer);
    if (key && !stuck)
        sticky_set(r->o, key, u->offer->name);
    return true;
}

/* ---- its call ---- */

bool run_within_budget(const struct run *r, struct error *why)
{
    const struct task_budget *b = &r->task->budget;
    uint64_t bytes = r->bytes_in + r->bytes_out;
    if (r->calls > b->calls)
        error_set(why, MOAT_E_LIMIT, "the task's budget of %llu calls is used up", (unsigned long long)b->calls);
    else if (r->cpu_ns > b->cpu_ns)
        error_set(why, MOAT_E_LIMIT, "the task's budget of CPU time is used up");
    else if (bytes > b->bytes)
        error_set(why, MOAT_E_LIMIT, "the task's budget of %llu bytes is used up", (unsigned long long)b->bytes);
    else
        return true;
    return false;
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}

static void account(struct unit *u)
{
    struct run *r = u->run;
    const struct receipt *receipt = &u->call.receipt;
    struct lane *l = u->lane;
    r->calls += receipt->calls; /* and what it called itself */
    r->cpu_ns += receipt->cpu_ns + receipt->calls_cpu_ns;
    r->ran_ns += receipt->ran_ns;
    r->bytes_in += receipt->bytes_in;
    r->bytes_out += receipt->bytes_out;
    add(&l->done, 1);
    add(&l->failed, u->call.code != 0);
    add(&l->ran_ns, receipt->ran_ns);
    add(&l->cpu_ns, receipt->cpu_ns);
    lane_saw(l, u->call.code == 0 ? u->call.result_len : 0);
}

static void call_done(struct call *call)
{
    struct unit *u = (struct unit *)(void *)((char *)call - offsetof(struct unit, call));
    struct run *r = run_ref(u->run);
    struct error why;
    bool free_of_budget = u->phase == PHASE_COMPENSATE;
    u->called = false;
    if (r->ask)
        ask_over(r->ask, call);
    account(u);
    if (call->code == 0) {
        u->code = MOAT_E_OK;
        step_unit_done(u);
    } else {
        lane_leave(u);
        failed(u, call->error.code, call->error.message);
    }
    if (!free_of_budget && !run_within_budget(r, &why))
        run_stop(r, STOP_BUDGET, &why);
    run_pump(r);
    run_unref(r);
}

static uint64_t deadline_of(const struct unit *u)
{
    const struct run *r = u->run;
    uint64_t timeout = r->task->steps[u->step].timeout_ns, end = r->until_ns;
    /* The budget's own timer comes first: it knows the reason. */
    uint64_t now = clock_mono_ns() - NS_PER_S, left = u->phase == PHASE_COMPENSATE ? UINT64_MAX
                                                      : end > now                  ? end - now
                                                                                   : 1;
    return timeout && timeout < left ? timeout : left == UINT64_MAX ? 0 : left;
}

static void told(struct call *call, const struct call_told *what)
{
    if (what->progress)
        event_progress((struct unit *)(void *)((char *)call - offsetof(struct unit, call)), what->thousandths,
                       what->text);
}

void unit_call(struct unit *u)
{
    struct run *r = u->run;
    struct call *c = &u->call;
    free(c->result);
    memset(c, 0, sizeof *c);
    c->plugin = u->offer->name;
    c->action = unit_action(u)->action;
    c->parameters = u->parameters.data;
    c->parameters_len = u->parameters.len;
    c->deadline_ns = deadline_of(u);
    memcpy(c->traceparent, r->traceparent, sizeof c->traceparent);
    c->principal = (uint64_t)r->request.asker.token;
    c->loop = r->place->loop;
    c->done = call_done;
    c->told = told;
    u->called = true;
    u->tries++;
    r->calls++;
    r->steps[u->step].attempts++;
    if (r->ask)
        asked_call(u);
    else
        call_begin(r->o->loader, c);
}

/* ---- its parameters ---- */

static int fill(struct unit *u, struct error *err)
{
    const struct task_template *t = unit_action(u)->parameters;
    struct values values = VALUES_INIT(u->run, u);
    struct template_source source = {values_get, &values};
    buf_clear(&u->parameters);
    if (!t || t->plain) {
        bool put = t ? buf_put(&u->parameters, t->at, t->len) : buf_puts(&u->parameters, "{}");
        return put ? 0 : error_set(err, MOAT_E_TOO_LARGE, "the parameters are too large, or there is no memory");
    }
    int rc = template_fill(t, &source, &u->parameters, err);
    values_free(&values);
    return rc;
}

static bool must_note(struct unit *u);
static void noted(struct loop_task *task);
static void filled_there(struct loop_task *task);

static void filled(struct unit *u, int code, const struct error *err)
{
    struct run *r = u->run;
    bool stopped = r->stop != STOP_NOT && !(u->phase == PHASE_COMPENSATE && r->stop == STOP_FAILED);
    struct error why;
    if (stopped) {
        step_unit_dropped(u);
    } else if (code < 0) {
        unit_cannot(u, err);
    } else if (u->phase != PHASE_COMPENSATE && r->calls >= r->task->budget.calls) {
        r->calls++;
        run_within_budget(r, &why);
        r->calls--;
        u->filling = true; /* the others go first, and the reason is the budget's */
        run_stop(r, STOP_BUDGET, &why);
        u->filling = false;
        step_unit_dropped(u);
    } else if (!hold(u, &why)) {
        unit_cannot(u, &why);
    } else if (!must_note(u)) {
        lane_enter(u);
    }
}

/* A step that must not be run twice is remembered before it is run. */
static bool must_note(struct unit *u)
{
    struct step_run *s = &u->run->steps[u->step];
    if ((s->noted && u->phase != PHASE_COMPENSATE) || u->is_noted || is_idempotent(u) || !keep_note(u))
        return false;
    u->filling = true;
    u->task.run = noted;
    return true;
}

static void noted(struct loop_task *task)
{
    struct unit *u = (struct unit *)(void *)((char *)task - offsetof(struct unit, task));
    u->is_noted = u->there == 0;
    u->run->steps[u->step].noted |= u->is_noted;
    filled_there(task);
}

static void filled_there(struct loop_task *task)
{
    struct unit *u = (struct unit *)(void *)((char *)task - offsetof(struct unit, task));
    struct run *r = run_ref(u->run);
    struct error err;
    int code = large_came(u, &err);
    filled(u, code, &err);
    run_pump(r);
    run_unref(r);
}

static void fill_there(struct chore *chore, struct registry_reader *reader)
{
    struct unit *u = (struct unit *)(void *)((char *)chore - offsetof(struct unit, chore));
    struct error err;
    int code = fill(u, &err);
    large_back(u, code, &err);
}

void unit_begin(struct unit *u)
{
    struct run *r = u->run;
    struct error err;
    u->counted = true;
    r->in_flight++;
    if (!choose(u)) {
        failed(u, MOAT_E_NO_SUCH_PLUGIN, "no plugin is left that could run it");
        return;
    }
    u->lane = lane_of(r->place, u->offer->name);
    if (!u->lane) {
        failed(u, MOAT_E_OUT_OF_MEMORY, "no memory for the call");
        return;
    }
    if (values_size(u) > FILL_HERE || values_on_disk(r, unit_action(u)->parameters)) {
        large_send(u, fill_there, filled_there);
        return;
    }
    int rc = fill(u, &err);
    filled(u, rc, &err);
}

void unit_stop(struct unit *u)
{
    if (u->filling)
        return; /* it sees it when it is back */
    if (u->called) {
        call_cancel(u->run->o->loader, &u->call);
        return;
    }
    if (u->before)
        lane_forget(u);
    if (u->resting)
        loop_timer_clear(&u->timer);
    step_unit_dropped(u);
}
