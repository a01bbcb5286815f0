/* What is remembered of a run, so that another host can go on with it or say how it went: the task when it begins, each
 * step when it is over, a step that must not be run twice before it is run, and the whole document at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "orchestrator/run.h"
#include "service/tell.h"

struct kept {
    struct tasks_record record;
    struct run *run; /* a reference: its texts are shown, not copied */
    struct unit *unit;
    struct buf text;
};

static void written(struct tasks_record *record)
{
    struct kept *k = (struct kept *)(void *)record;
    buf_free(&k->text);
    run_unref(k->run);
    free(k);
}

/* NULL: nothing is remembered of it, or there is no memory for that. */
static struct kept *kept_new(struct run *r, enum tasks_verb verb)
{
    struct kept *k = r->kept && !r->closing ? calloc(1, sizeof *k) : NULL;
    if (!k)
        return NULL;
    k->record.verb = verb;
    memcpy(k->record.id, r->id, sizeof k->record.id);
    k->record.done = written;
    k->run = run_ref(r);
    return k;
}

/* ---- the beginning ---- */

static void put_asker(struct buf *out, const struct task_request *request)
{
    const struct task_asker *a = &request->asker;
    tell_open(out, NULL, '{');
    tell_flag(out, "everything", a->everything);
    tell_text(out, "plugins", a->plugins);
    tell_number(out, "token", (uint64_t)a->token);
    tell_text(out, "actor", a->actor);
    tell_flag(out, "explain", request->explain);
    tell_close(out, '}');
}

static void begun(struct tasks_record *record)
{
    struct kept *k = (struct kept *)(void *)record;
    struct run *r = k->run;
    r->begin_code = record->failed;
    if (record->failed < 0 && (r->error || (r->error = calloc(1, sizeof *r->error))))
        *r->error = record->error;
    loop_post(r->place->loop, &r->begun); /* which has the reference now */
    buf_free(&k->text);
    free(k);
}

bool keep_begin(struct run *r, bool wait)
{
    struct kept *k = kept_new(r, TASKS_BEGIN);
    if (!k)
        return false;
    k->text = BUF_INIT(2048);
    put_asker(&k->text, &r->request);
    k->record.asker = buf_text(&k->text);
    k->record.text = r->task->text;
    k->record.len = r->task->len;
    k->record.name = r->task->name;
    k->record.at_ns = r->began_wall_ns;
    if (wait)
        k->record.done = begun;
    tasks_write(r->o->tasks, &k->record);
    return true;
}

/* ---- steps ---- */

static struct tasks_used used_by(const struct run *r)
{
    return (struct tasks_used){.calls = r->calls,
                               .cpu_ns = r->cpu_ns,
                               .ran_ns = r->ran_ns,
                               .bytes_in = r->bytes_in,
                               .bytes_out = r->bytes_out,
                               .time_ns = r->before_ns + clock_mono_ns() - r->began_ns};
}

/* What the last step was need not be known when the document comes right behind. */
void keep_step(struct run *r, uint32_t i)
{
    const struct step_run *s = &r->steps[i];
    bool undoes = s->outcome == OUTCOME_FAILED && r->task->steps[i].on_error == ON_ERROR_COMPENSATE;
    if ((r->over == r->task->nsteps && !r->compensating && !undoes) || s->outcome == OUTCOME_SKIPPED)
        return;
    struct kept *k = kept_new(r, TASKS_STEP_END);
    if (!k)
        return;
    struct tasks_record *t = &k->record;
    t->step = i;
    t->outcome = s->outcome;
    t->code = s->code;
    t->message = s->message;
    t->plugin = s->ran_by ? s->ran_by->name : NULL;
    t->attempts = s->attempts;
    t->finished = s->finished;
    t->fell_back = s->fell_back;
    t->undone = s->compensated;
    t->undo_failed = s->compensation_failed;
    t->at_ns = s->began_ns;
    t->ended_ns = s->ended_ns;
    t->used = used_by(r);
    t->text = s->result;
    t->len = s->result ? s->len : 0;
    t->file_len = s->spilled ? s->len : 0;
    t->file_sum = s->sum;
    tasks_write(r->o->tasks, t);
}

static void noted(struct tasks_record *record)
{
    struct kept *k = (struct kept *)(void *)record;
    struct unit *u = k->unit;
    u->there = record->failed;
    if (record->failed < 0 && (u->error = malloc(sizeof *u->error)))
        *u->error = record->error;
    loop_post(k->run->place->loop, &u->task);
    written(record);
}

bool keep_note(struct unit *u)
{
    struct kept *k = kept_new(u->run, TASKS_STEP_BEGIN);
    if (!k)
        return false;
    k->unit = u;
    k->record.step = u->step;
    k->record.undoing = u->phase == PHASE_COMPENSATE;
    k->record.used = used_by(u->run);
    k->record.used.calls++; /* the one that it is noted for */
    k->record.done = noted;
    tasks_write(u->run->o->tasks, &k->record);
    return true;
}

/* ---- the end ---- */

static void ended(struct tasks_record *record)
{
    struct kept *k = (struct kept *)(void *)record;
    k->run->end_failed = record->failed < 0;
    loop_post(k->run->place->loop, &k->run->task_on_loop);
    buf_free(&k->text);
    free(k);
}

static void leave(struct loop_task *task)
{
    struct run *r = (struct run *)(void *)((char *)task - offsetof(struct run, task_on_loop));
    if (r->tell_late)
        run_tell_end(r);
    large_drop(r);
    run_leave_table(r);
    atomic_fetch_sub(&r->o->unwritten, 1);
    run_unref(r); /* the record's */
    run_unref(r);
}

bool keep_end(struct run *r)
{
    struct kept *k = kept_new(r, TASKS_END);
    if (!k)
        return false;
    k->text = BUF_INIT(512u << 20);
    document_run(&k->text, r);
    k->record.status = (int)r->status;
    k->record.at_ns = r->ended_wall_ns;
    k->record.text = k->text.data;
    k->record.len = k->text.failed ? 0 : k->text.len;
    k->record.done = ended;
    r->task_on_loop.run = leave;
    atomic_fetch_add(&r->o->unwritten, 1);
    tasks_write(r->o->tasks, &k->record);
    return true;
}
