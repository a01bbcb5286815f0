/* One step: whether it runs, its items, and what its end means for the others. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "orchestrator/run.h"
#include "json/json.h"

/* ---- its end ---- */

void step_free(struct step_run *s)
{
    each_free(s->each);
    offer_unref(s->ran_by);
    free(s->result);
    free(s->message);
    free(s->why);
}

static void tell_heirs(struct run *r, uint32_t i)
{
    const struct task_step *step = &r->task->steps[i];
    for (uint32_t k = 0; k < step->nheirs; k++)
        if (--r->steps[step->heirs[k]].waiting == 0)
            run_ready(r, step->heirs[k]);
}

void step_over(struct run *r, uint32_t i, enum task_outcome outcome)
{
    struct step_run *s = &r->steps[i];
    s->state = STEP_OVER;
    s->outcome = outcome;
    s->ended_ns = clock_wall_ns();
    r->over++;
    if (outcome == OUTCOME_SUCCEEDED) {
        r->successes[r->succeeded++] = i;
        s->finished = r->succeeded;
    }
    atomic_fetch_add_explicit(&r->o->over[outcome], 1, memory_order_relaxed);
    keep_step(r, i);
    event_step_ended(r, i);
    tell_heirs(r, i);
}

void step_failed(struct run *r, uint32_t i, enum moat_code code, char *message)
{
    const struct task_step *step = &r->task->steps[i];
    struct step_run *s = &r->steps[i];
    struct error why;
    s->code = code;
    s->message = message;
    step_over(r, i, OUTCOME_FAILED);
    if (step->on_error == ON_ERROR_CONTINUE)
        return;
    if (r->culprit == UINT32_MAX && r->stop == STOP_NOT)
        r->culprit = i;
    r->compensate |= step->on_error == ON_ERROR_COMPENSATE && r->stop == STOP_NOT;
    error_set(&why, code, "step %s failed: %s", step->id, message ? message : error_info(code)->name);
    run_stop(r, STOP_FAILED, &why);
}

static void step_fails(struct run *r, uint32_t i, const struct error *err)
{
    step_failed(r, i, err->code, strdup(err->message));
}

/* ---- its beginning ---- */

/* Without `when`: not after what was skipped or has failed. */
static int is_wanted(struct values *v, uint32_t i, struct error *err)
{
    const struct run *r = v->run;
    const struct task_step *step = &r->task->steps[i];
    size_t looked = 0;
    for (uint32_t k = 0; k < step->nwhen; k++) {
        v->looked = 0; /* the bound is each one's */
        int rc = condition_holds(v, &step->when[k], err);
        looked += v->looked;
        v->looked = looked;
        if (rc <= 0)
            return rc;
    }
    for (uint32_t k = 0; !step->nwhen && k < step->nneeds; k++)
        if (r->steps[step->needs[k]].outcome != OUTCOME_SUCCEEDED)
            return 0;
    return 1;
}

int step_look(struct values *v, uint32_t i, struct each **items, struct error *err)
{
    int rc = is_wanted(v, i, err);
    if (rc <= 0 || !v->run->task->steps[i].items)
        return rc;
    rc = each_make(v, i, items, err);
    return rc < 0 ? rc : 1;
}

static void begin_call(struct run *r, uint32_t i)
{
    struct error err;
    struct unit *u = unit_new(r, i, NO_ITEM, PHASE_RUN);
    if (u) {
        run_queue(r, u);
        return;
    }
    error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the call");
    step_fails(r, i, &err);
}

void step_go(struct run *r, uint32_t i, int wanted, struct each *items, const struct error *why)
{
    struct step_run *s = &r->steps[i];
    if (wanted == 0) {
        step_over(r, i, OUTCOME_SKIPPED);
        return;
    }
    s->state = STEP_RUNNING;
    s->began_ns = clock_wall_ns();
    event_step_begun(r, i);
    s->each = items;
    if (wanted < 0)
        step_fails(r, i, why);
    else if (items)
        each_go_on(r, i);
    else
        begin_call(r, i);
}

void step_start(struct run *r, uint32_t i)
{
    struct values v = VALUES_INIT(r, NULL);
    struct each *items = NULL;
    struct error err;
    if (large_looks(r, i))
        return;
    int wanted = step_look(&v, i, &items, &err);
    r->looked += v.looked;
    values_free(&v);
    step_go(r, i, wanted, items, &err);
}

/* ---- what its calls come to ---- */

static void keep_offer(struct step_run *s, struct unit *u)
{
    if (!u->offer)
        return;
    offer_unref(s->ran_by);
    s->ran_by = u->offer;
    u->offer = NULL;
}

/* Its result is where it is to be. */
void step_unit_over(struct unit *u)
{
    struct run *r = u->run;
    uint32_t i = u->step, item = u->item;
    struct step_run *s = &r->steps[i];
    uint8_t *result = u->call.result;
    size_t len = u->call.result_len;
    bool undone = u->phase == PHASE_COMPENSATE;
    s->fell_back |= u->phase == PHASE_FALLBACK;
    if (!undone)
        keep_offer(s, u);
    u->call.result = NULL;
    unit_free(u);
    if (undone) {
        s->compensated = true;
        free(result);
        keep_step(r, i);
        event_compensated(r, i);
    } else if (item == NO_ITEM) {
        s->result = result;
        s->len = len;
        s->spilled = !result;
        step_over(r, i, OUTCOME_SUCCEEDED);
    } else {
        s->each->running--;
        each_go_on(r, i);
    }
}

void step_unit_done(struct unit *u)
{
    memset(u->call.result + u->call.result_len, 0, JSON_PAD);
    if (u->phase != PHASE_COMPENSATE && (u->item == NO_ITEM ? large_takes(u) : each_takes(u)))
        return;
    lane_leave(u);
    step_unit_over(u);
}

void step_unit_failed(struct unit *u)
{
    struct run *r = u->run;
    uint32_t i = u->step, item = u->item;
    struct step_run *s = &r->steps[i];
    enum moat_code code = u->code;
    char *message = u->message;
    bool undone = u->phase == PHASE_COMPENSATE;
    if (!undone)
        keep_offer(s, u);
    u->message = NULL;
    unit_free(u);
    if (undone) {
        s->compensation_failed = true;
        free(message);
        keep_step(r, i);
        event_compensated(r, i);
    } else if (item == NO_ITEM) {
        step_failed(r, i, code, message);
    } else {
        if (!s->each->failed++) {
            s->code = code;
            s->message = message;
        } else {
            free(message);
        }
        s->each->running--;
        each_go_on(r, i);
    }
}

void step_unit_dropped(struct unit *u)
{
    struct step_run *s = &u->run->steps[u->step];
    if (u->phase == PHASE_RUN && u->item == NO_ITEM && !s->attempts) {
        s->state = STEP_WAITING;
        s->began_ns = 0;
        unit_free(u);
        return;
    }
    if (!u->code)
        u->code = MOAT_E_CANCELLED;
    step_unit_failed(u);
}

void step_unknown(struct run *r, uint32_t i)
{
    struct error err;
    error_set(&err, MOAT_E_OUTCOME_UNKNOWN,
              "the host ended while it ran; it is not idempotent, so it is not run again");
    step_fails(r, i, &err);
}
