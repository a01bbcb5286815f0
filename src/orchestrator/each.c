/* The items of a step with for_each: which is next, and their results as one. What together is too large for memory is
 * written to the disk as it comes, and read back once, when the last one is over. */
#include <stdlib.h>
#include <string.h>

#include "orchestrator/run.h"
#include "json/cursor.h"
#include "json/json.h"

#define EACH_MOST TASK_LOOKED_MAX /* bytes of the results of one step: nobody could look at more */

void each_free(struct each *e)
{
    for (uint32_t i = 0; e && e->results && i < e->n; i++)
        free(e->results[i].result);
    if (!e)
        return;
    free(e->results);
    free(e->items);
    free(e->text);
    free(e);
}

/* ---- the items ---- */

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

static int fill_items(struct values *v, uint32_t i, struct each *e, struct error *err)
{
    const struct task_step *step = &v->run->task->steps[i];
    struct template_source source = {values_get, v};
    struct buf out = BUF_INIT(TASK_TEXT_MAX);
    v->looked = 0;
    int rc = template_fill(step->items, &source, &out, err);
    e->text = out.data;
    if (rc == 0 && cursor_kind(cursor_root(e->text)) != CURSOR_ARRAY)
        rc = error_set(err, MOAT_E_BAD_PARAMETERS, "the items of step %s are no array", step->id);
    if (rc == 0 && !find_items(e, cursor_root(e->text), e->text + out.len))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the items");
    if (rc == 0 && e->n > TASK_ITEMS_MAX)
        rc = error_set(err, MOAT_E_LIMIT, "step %s has more than %d items", step->id, TASK_ITEMS_MAX);
    return rc;
}

int each_make(struct values *v, uint32_t i, struct each **out, struct error *err)
{
    struct each *e = calloc(1, sizeof *e);
    if (!e)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the items");
    e->first_held = e->first_writing = NO_ITEM;
    int rc = fill_items(v, i, e, err);
    if (rc < 0)
        each_free(e);
    else
        *out = e;
    return rc;
}

/* ---- their calls ---- */

static bool launch(struct run *r, uint32_t i)
{
    struct each *e = r->steps[i].each;
    while (e->next < e->n && e->running < r->task->steps[i].items_at_once && !e->writing && r->stop == STOP_NOT) {
        struct unit *u = unit_new(r, i, e->next, PHASE_RUN);
        if (!u)
            return false;
        e->next++;
        e->running++;
        run_queue(r, u);
    }
    return true;
}

/* ---- their results, as they come ---- */

static void hold(struct each *e, uint32_t item)
{
    struct piece_of *p = &e->results[item];
    p->after = e->first_held;
    e->first_held = item;
    e->held += p->len;
}

/* It is as if it had no result; what was written of it stays until the step is over. */
static void forget(struct each *e, uint32_t item)
{
    struct piece_of *p = &e->results[item];
    uint32_t *at = &e->first_held;
    while (*at != NO_ITEM && *at != item)
        at = &e->results[*at].after;
    if (*at == item) {
        *at = p->after;
        e->held -= p->len;
    }
    e->total -= p->len;
    free(p->result);
    *p = (struct piece_of){.after = NO_ITEM};
}

static void write_there(struct chore *chore, struct registry_reader *reader)
{
    struct unit *u = (struct unit *)(void *)((char *)chore - offsetof(struct unit, chore));
    const struct run *r = u->run;
    struct spill *s = r->o->spill;
    struct each *e = r->steps[u->step].each;
    struct error err;
    int rc = 0;
    if (!e->on_disk)
        spill_drop_items(s, r->id, u->step); /* a killed host's */
    e->on_disk = true;
    while (e->first_writing != NO_ITEM) {
        struct piece_of *p = &e->results[e->first_writing];
        rc = spill_add_item(s, r->id, u->step, p->result, p->len, &p->place, &err);
        if (rc < 0)
            break;
        free(p->result);
        p->result = NULL;
        p->spilled = true;
        e->first_writing = p->after;
    }
    large_back(u, rc, &err);
}

static void hold_rest(struct each *e)
{
    for (uint32_t item = e->first_writing, after; item != NO_ITEM; item = after) {
        after = e->results[item].after;
        hold(e, item);
    }
    e->first_writing = NO_ITEM;
    e->writing = false;
}

static void written(struct loop_task *task)
{
    struct unit *u = (struct unit *)(void *)((char *)task - offsetof(struct unit, task));
    struct run *r = run_ref(u->run);
    struct each *e = r->steps[u->step].each;
    struct error err;
    int rc = large_came(u, &err);
    lane_leave(u);
    hold_rest(e);
    if (rc < 0) {
        forget(e, u->item);
        unit_cannot(u, &err);
    } else {
        step_unit_over(u);
    }
    run_pump(r);
    run_unref(r);
}

static bool write_held(struct unit *u, struct each *e)
{
    if (e->writing || !spill_wants(u->run->o->spill, e->held))
        return false;
    u->run->large = e->writing = true;
    e->first_writing = e->first_held;
    e->first_held = NO_ITEM;
    e->held = 0;
    large_send_urgent(u, write_there, written);
    return true;
}

bool each_takes(struct unit *u)
{
    struct run *r = u->run;
    struct each *e = r->steps[u->step].each;
    struct error err;
    e->results[u->item] = (struct piece_of){.result = u->call.result, .len = u->call.result_len};
    u->call.result = NULL;
    e->total += u->call.result_len;
    hold(e, u->item);
    if (e->total <= EACH_MOST)
        return write_held(u, e);
    error_set(&err, MOAT_E_LIMIT, "the results of its items have more than %u bytes together", EACH_MOST);
    forget(e, u->item);
    lane_leave(u);
    unit_cannot(u, &err);
    return true;
}

/* ---- their results as one ---- */

static int put_piece(const struct run *r, uint32_t i, const struct piece_of *p, uint8_t **at, struct error *err)
{
    size_t len = p->result || p->spilled ? p->len : 4;
    int rc = 0;
    if (p->spilled)
        rc = spill_read_item(r->o->spill, r->id, i, &p->place, *at, len, err);
    else
        memcpy(*at, p->result ? p->result : (const uint8_t *)"null", len);
    *at += len;
    return rc;
}

/* [r0,r1,…] */
static int join(const struct run *r, uint32_t i, uint8_t **out, size_t *len, struct error *err)
{
    const struct each *e = r->steps[i].each;
    uint8_t *text = malloc(e->total + 5 * (size_t)e->n + 2 + JSON_PAD), *at = text;
    int rc = text ? 0 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the results of the items");
    if (text)
        *at++ = '[';
    for (uint32_t k = 0; k < e->n && rc == 0; k++) {
        if (k)
            *at++ = ',';
        rc = put_piece(r, i, &e->results[k], &at, err);
    }
    if (rc < 0) {
        free(text);
        return rc;
    }
    *at++ = ']';
    memset(at, 0, JSON_PAD);
    *out = text;
    *len = (size_t)(at - text);
    return 0;
}

static void each_end(struct run *r, uint32_t i, int joined, const struct error *why)
{
    struct step_run *s = &r->steps[i];
    struct each *e = s->each;
    bool failed = e->failed > 0;
    char *message = s->message;
    s->message = NULL;
    if (!failed && joined < 0) {
        failed = true;
        s->code = why->code;
        message = strdup(why->message);
    }
    each_free(e);
    s->each = NULL;
    if (failed)
        step_failed(r, i, s->code, message);
    else
        step_over(r, i, OUTCOME_SUCCEEDED);
}

static void join_there(struct chore *chore, struct registry_reader *reader)
{
    struct unit *u = (struct unit *)(void *)((char *)chore - offsetof(struct unit, chore));
    const struct run *r = u->run;
    struct step_run *s = &r->steps[u->step];
    uint8_t *text = NULL;
    struct error err;
    int rc = join(r, u->step, &text, &s->len, &err);
    if (rc == 0)
        rc = spill_write(r->o->spill, r->id, u->step, text, s->len, &s->sum, &err);
    free(text);
    spill_drop_items(r->o->spill, r->id, u->step);
    large_back(u, rc, &err);
}

static void joined(struct loop_task *task)
{
    struct unit *u = (struct unit *)(void *)((char *)task - offsetof(struct unit, task));
    struct run *r = run_ref(u->run);
    uint32_t i = u->step;
    struct error err;
    int rc = large_came(u, &err);
    unit_free(u);
    r->steps[i].spilled = rc == 0;
    each_end(r, i, rc, &err);
    run_pump(r);
    run_unref(r);
}

static void each_over(struct run *r, uint32_t i)
{
    struct step_run *s = &r->steps[i];
    struct each *e = s->each;
    struct error err;
    int rc = 0;
    if (e->failed && r->task->steps[i].on_error != ON_ERROR_CONTINUE) {
        each_end(r, i, 0, NULL);
        return;
    }
    if (!e->on_disk && !spill_wants(r->o->spill, e->total + e->n + 1)) {
        rc = join(r, i, &s->result, &s->len, &err);
        each_end(r, i, rc, &err);
        return;
    }
    struct unit *u = unit_new(r, i, NO_ITEM, PHASE_RUN);
    r->large = true;
    if (u)
        large_send(u, join_there, joined);
    else
        each_end(r, i, error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the results of the items"), &err);
}

/* One item more is over: is all of it? */
void each_go_on(struct run *r, uint32_t i)
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
