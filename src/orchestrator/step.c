/* One step: whether it runs, its items, and what its end means for the others. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "orchestrator/run.h"
#include "json/cursor.h"

/* ---- its end ---- */

static void each_free(struct each *e)
{
    for (uint32_t i = 0; e && i < e->n; i++)
        if (e->results)
            free(e->results[i].result);
    if (!e)
        return;
    free(e->results);
    free(e->items);
    free(e->text);
    free(e);
}

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

static void step_over(struct run *r, uint32_t i, enum task_outcome outcome)
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

static void step_failed(struct run *r, uint32_t i, enum moat_code code, char *message)
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

/* ---- for_each ---- */

static bool launch(struct run *r, uint32_t i)
{
    struct each *e = r->steps[i].each;
    while (e->next < e->n && e->running < r->task->steps[i].items_at_once && r->stop == STOP_NOT) {
        struct unit *u = unit_new(r, i, e->next, PHASE_RUN);
        if (!u)
            return false;
        e->next++;
        e->running++;
        run_queue(r, u);
    }
    return true;
}

/* [r0,r1,…] */
static uint8_t *join(const struct each *e, size_t *len)
{
    size_t room = 2;
    for (uint32_t i = 0; i < e->n; i++)
        room += e->results[i].len + 5;
    uint8_t *out = malloc(room + JSON_PAD), *at = out;
    if (!out)
        return NULL;
    *at++ = '[';
    for (uint32_t i = 0; i < e->n; i++) {
        const struct piece_of *p = &e->results[i];
        if (i)
            *at++ = ',';
        memcpy(at, p->result ? p->result : (const uint8_t *)"null", p->result ? p->len : 4);
        at += p->result ? p->len : 4;
    }
    *at++ = ']';
    memset(at, 0, JSON_PAD);
    *len = (size_t)(at - out);
    return out;
}

static void each_over(struct run *r, uint32_t i)
{
    struct step_run *s = &r->steps[i];
    struct each *e = s->each;
    bool failed = e->failed > 0;
    char *message = s->message;
    s->message = NULL;
    if (!failed || r->task->steps[i].on_error == ON_ERROR_CONTINUE)
        s->result = join(e, &s->len);
    if (!failed && !s->result) {
        failed = true;
        s->code = MOAT_E_OUT_OF_MEMORY;
    }
    each_free(e);
    s->each = NULL;
    if (failed)
        step_failed(r, i, s->code, message);
    else
        step_over(r, i, OUTCOME_SUCCEEDED);
}

/* One item more is over: is all of it? */
static void each_go_on(struct run *r, uint32_t i)
{
    struct each *e = r->steps[i].each;
    event_items(r, i);
    bool gives_up = e->failed && r->task->steps[i].on_error != ON_ERROR_CONTINUE;
    if (!gives_up && !launch(r, i) && !e->running) {
        e->failed++;
        r->steps[i].code = MOAT_E_OUT_OF_MEMORY;
        gives_up = true;
    }
    if (!e->running && (gives_up || e->next == e->n))
        each_over(r, i);
}

static bool find_items(struct each *e, const uint8_t *array, const uint8_t *end)
{
    const uint8_t *item, *at = array;
    while (e->n <= TASK_ITEMS_MAX && cursor_next_item(&at, &item))
        e->n++;
    e->items = calloc(e->n + 1, sizeof *e->items);
    e->results = calloc(e->n + 1, sizeof *e->results);
    at = array;
    for (uint32_t i = 0; e->items && cursor_next_item(&at, &item) && i < e->n; i++)
        e->items[i] = item;
    if (e->items)
        e->items[e->n] = end;
    return e->items && e->results;
}

static int make_items(struct run *r, uint32_t i, struct each *e, struct error *err)
{
    struct values values = {.run = r, .scratch = BUF_INIT(4096)};
    struct template_source source = {values_get, &values};
    struct buf out = BUF_INIT(TASK_TEXT_MAX);
    int rc = template_fill(r->task->steps[i].items, &source, &out, err);
    buf_free(&values.scratch);
    e->text = out.data;
    if (rc == 0 && cursor_kind(cursor_root(e->text)) != CURSOR_ARRAY)
        rc = error_set(err, MOAT_E_BAD_PARAMETERS, "the items of step %s are no array", r->task->steps[i].id);
    if (rc == 0 && !find_items(e, cursor_root(e->text), e->text + out.len))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the items");
    if (rc == 0 && e->n > TASK_ITEMS_MAX)
        rc = error_set(err, MOAT_E_LIMIT, "step %s has more than %d items", r->task->steps[i].id, TASK_ITEMS_MAX);
    return rc;
}

static void start_each(struct run *r, uint32_t i)
{
    struct error err;
    struct each *e = calloc(1, sizeof *e);
    int rc = e ? make_items(r, i, e, &err) : error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the items");
    if (rc < 0) {
        each_free(e);
        step_fails(r, i, &err);
        return;
    }
    r->steps[i].each = e;
    each_go_on(r, i);
}

/* ---- its beginning ---- */

/* Without `when`: not after what was skipped or has failed. */
static bool is_wanted(struct run *r, uint32_t i)
{
    const struct task_step *step = &r->task->steps[i];
    for (uint32_t k = 0; k < step->nwhen; k++)
        if (!condition_holds(r, &step->when[k]))
            return false;
    for (uint32_t k = 0; !step->nwhen && k < step->nneeds; k++)
        if (r->steps[step->needs[k]].outcome != OUTCOME_SUCCEEDED)
            return false;
    return true;
}

void step_start(struct run *r, uint32_t i)
{
    struct error err;
    if (!is_wanted(r, i)) {
        step_over(r, i, OUTCOME_SKIPPED);
        return;
    }
    r->steps[i].state = STEP_RUNNING;
    r->steps[i].began_ns = clock_wall_ns();
    event_step_begun(r, i);
    if (r->task->steps[i].items) {
        start_each(r, i);
        return;
    }
    struct unit *u = unit_new(r, i, NO_ITEM, PHASE_RUN);
    if (u) {
        run_queue(r, u);
        return;
    }
    error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the call");
    step_fails(r, i, &err);
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

void step_unit_done(struct unit *u)
{
    struct run *r = u->run;
    uint32_t i = u->step, item = u->item;
    struct step_run *s = &r->steps[i];
    uint8_t *result = u->call.result;
    size_t len = u->call.result_len;
    bool undone = u->phase == PHASE_COMPENSATE;
    memset(result + len, 0, JSON_PAD);
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
        step_over(r, i, OUTCOME_SUCCEEDED);
    } else {
        s->each->results[item] = (struct piece_of){result, len};
        s->each->running--;
        each_go_on(r, i);
    }
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
