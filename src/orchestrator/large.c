/* Results that are too large for memory: to the disk before their step is over, and back for who refers to them. */
#include <stdlib.h>

#include "orchestrator/run.h"
#include "json/json.h"

static struct unit *of_chore(struct chore *chore)
{
    return (struct unit *)(void *)((char *)chore - offsetof(struct unit, chore));
}

static struct unit *of_task(struct loop_task *task)
{
    return (struct unit *)(void *)((char *)task - offsetof(struct unit, task));
}

/* ---- there and back ---- */

static void prepare(struct unit *u, void (*work)(struct chore *chore, struct registry_reader *reader),
                    void (*back)(struct loop_task *task))
{
    u->filling = true;
    u->chore.work = work;
    u->task.run = back;
}

void large_send(struct unit *u, void (*work)(struct chore *chore, struct registry_reader *reader),
                void (*back)(struct loop_task *task))
{
    prepare(u, work, back);
    planner_post(u->run->o->planner, &u->chore);
}

void large_send_urgent(struct unit *u, void (*work)(struct chore *chore, struct registry_reader *reader),
                       void (*back)(struct loop_task *task))
{
    prepare(u, work, back);
    planner_post_urgent(u->run->o->planner, &u->chore);
}

void large_back(struct unit *u, int there, const struct error *err)
{
    u->there = there;
    if (there < 0 && (u->error = malloc(sizeof *u->error)))
        *u->error = *err;
    loop_post(u->run->place->loop, &u->task);
}

int large_came(struct unit *u, struct error *err)
{
    int there = u->there;
    if (u->error)
        *err = *u->error;
    else if (there < 0)
        error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the reason");
    free(u->error);
    u->error = NULL;
    u->there = 0;
    u->filling = false;
    return there;
}

/* ---- a step's result ---- */

static void write_there(struct chore *chore, struct registry_reader *reader)
{
    struct unit *u = of_chore(chore);
    struct run *r = u->run;
    struct call *c = &u->call;
    struct error err;
    int rc = spill_write(r->o->spill, r->id, u->step, c->result, c->result_len, &r->steps[u->step].sum, &err);
    free(c->result);
    c->result = NULL;
    large_back(u, rc, &err);
}

static void written(struct loop_task *task)
{
    struct unit *u = of_task(task);
    struct run *r = run_ref(u->run);
    struct error err;
    lane_leave(u);
    if (large_came(u, &err) < 0)
        unit_cannot(u, &err);
    else
        step_unit_over(u);
    run_pump(r);
    run_unref(r);
}

bool large_takes(struct unit *u)
{
    if (!spill_wants(u->run->o->spill, u->call.result_len))
        return false;
    u->run->large = true;
    large_send_urgent(u, write_there, written);
    return true;
}

/* ---- whether a step runs, and its items ---- */

static void look_there(struct chore *chore, struct registry_reader *reader)
{
    struct unit *u = of_chore(chore);
    struct values v = VALUES_INIT(u->run, NULL);
    struct error err;
    int rc = step_look(&v, u->step, &u->run->steps[u->step].each, &err);
    values_free(&v);
    large_back(u, rc, &err);
}

static void looked(struct loop_task *task)
{
    struct unit *u = of_task(task);
    struct run *r = run_ref(u->run);
    uint32_t i = u->step;
    struct each *items = r->steps[i].each;
    struct error err;
    int wanted = large_came(u, &err);
    r->steps[i].each = NULL;
    unit_free(u);
    if (r->stop == STOP_NOT) {
        step_go(r, i, wanted, items, &err);
    } else {
        r->steps[i].state = STEP_WAITING;
        each_free(items);
    }
    run_pump(r);
    run_unref(r);
}

static bool decides(const struct run *r, uint32_t i)
{
    const struct task_step *step = &r->task->steps[i];
    for (uint32_t k = 0; k < step->nwhen; k++) {
        const struct task_condition *c = &step->when[k];
        if (!c->is_outcome && c->ref.kind == REF_RESULT && r->steps[c->ref.step].spilled)
            return true;
    }
    return values_on_disk(r, step->items);
}

bool large_looks(struct run *r, uint32_t i)
{
    struct error err;
    if (!r->large || !decides(r, i))
        return false;
    struct unit *u = unit_new(r, i, NO_ITEM, PHASE_RUN);
    if (u)
        large_send(u, look_there, looked);
    else
        step_go(r, i, error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory to look at results"), NULL, &err);
    return true;
}

/* ---- the task's result ---- */

struct ending {
    struct chore chore;
    struct loop_task task;
    struct run *run; /* a reference */
    int made;
    struct error why;
};

static void made(struct loop_task *task)
{
    struct ending *e = (struct ending *)(void *)((char *)task - offsetof(struct ending, task));
    struct run *r = e->run;
    run_close(r, e->made, &e->why);
    run_unref(r);
    free(e);
}

static void make_there(struct chore *chore, struct registry_reader *reader)
{
    struct ending *e = (struct ending *)(void *)chore;
    struct values v = VALUES_INIT(e->run, NULL);
    e->made = run_result(&v, &e->run->result, &e->why);
    values_free(&v);
    e->task.run = made;
    loop_post(e->run->place->loop, &e->task);
}

static bool result_is_there(const struct run *r)
{
    if (r->task->result)
        return values_on_disk(r, r->task->result);
    for (uint32_t i = 0; i < r->task->nsteps; i++)
        if (!r->task->steps[i].nheirs && r->steps[i].spilled)
            return true;
    return false;
}

bool large_end(struct run *r)
{
    struct error err;
    if (!r->large || !result_is_there(r))
        return false;
    struct ending *e = calloc(1, sizeof *e);
    if (!e) {
        run_close(r, error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the task's result"), &err);
        return true;
    }
    r->ending = true;
    e->chore.work = make_there;
    e->run = run_ref(r);
    planner_post(r->o->planner, &e->chore);
    return true;
}

/* ---- when it has ended ---- */

static void drop_there(struct chore *chore, struct registry_reader *reader)
{
    struct run *r = (struct run *)(void *)((char *)chore - offsetof(struct run, chore));
    spill_drop(r->o->spill, r->id);
    run_unref(r);
}

/* Not when the next host goes on with it, and reads them. */
void large_drop(struct run *r)
{
    if (!r->large || (r->kept && (r->closing || r->end_failed)))
        return;
    run_ref(r);
    r->chore.work = drop_there;
    planner_post(r->o->planner, &r->chore);
}
