/* Tasks that another host left unfinished: steps that are over stay so, a step that may have been done and must not be
 * done twice is `outcome_unknown`, the rest goes on. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "orchestrator/run.h"

/* A step as it was remembered. */
struct remembered {
    struct remembered *next;
    struct tasks_record step; /* its texts are this object's */
    uint8_t *result;
    char *message;
};

void remembered_free(struct run *r)
{
    for (struct remembered *m = r->remembered, *next; m; m = next) {
        next = m->next;
        free(m->result);
        free(m->message);
        free(m);
    }
    r->remembered = NULL;
}

struct remembering {
    struct remembered **end;
    bool failed;
};

static bool remember(void *context, const struct tasks_record *step)
{
    struct remembering *g = context;
    struct remembered *m = calloc(1, sizeof *m);
    g->failed = true; /* until it is all there */
    if (!m)
        return false;
    *g->end = m;
    g->end = &m->next;
    m->step = *step;
    m->step.text = m->step.message = m->step.plugin = NULL;
    m->message = step->message ? strdup(step->message) : NULL;
    m->result = step->text ? calloc(1, step->len + JSON_PAD) : NULL;
    if ((step->text && !m->result) || (step->message && !m->message))
        return false;
    if (m->result)
        memcpy(m->result, step->text, step->len);
    g->failed = step->outcome < 0 || step->outcome >= OUTCOME_COUNT || step->code < 0 || step->code >= MOAT_E_COUNT;
    return !g->failed;
}

/* All of its steps: a task of which one is missing would do again what must not be done twice. */
static int remember_all(struct run *r, struct error *err)
{
    struct remembering g = {.end = &r->remembered};
    int rc = tasks_each_step(r->o->reader, r->id, remember, &g, err);
    return rc == 0 && g.failed ? error_set(err, MOAT_E_STORAGE_FAILED, "what is known of its steps cannot be read")
                               : rc;
}

/* ---- on the loop: what is known ---- */

static void restore_over(struct run *r, struct remembered *m)
{
    struct step_run *s = &r->steps[m->step.step];
    s->state = STEP_OVER;
    s->outcome = (enum task_outcome)m->step.outcome;
    s->code = (enum moat_code)m->step.code;
    s->attempts = m->step.attempts;
    s->fell_back = m->step.fell_back;
    s->compensated = m->step.undone;
    s->compensation_failed = m->step.undo_failed || (m->step.undoing && !m->step.undone);
    s->began_ns = m->step.at_ns;
    s->ended_ns = m->step.ended_ns;
    s->result = m->result;
    s->len = m->step.file_len ? m->step.file_len : m->step.len;
    s->spilled = m->step.file_len > 0;
    s->sum = m->step.file_sum;
    s->message = m->message;
    m->result = NULL;
    m->message = NULL;
    r->over++;
    if (s->outcome == OUTCOME_SUCCEEDED) {
        r->successes[r->succeeded++] = m->step.step;
        s->finished = r->succeeded;
    }
}

/* It had failed already: what that meant for the task it means again. */
static void restore_failure(struct run *r, uint32_t i)
{
    const struct task_step *step = &r->task->steps[i];
    const struct step_run *s = &r->steps[i];
    struct error why;
    if (s->outcome != OUTCOME_FAILED || step->on_error == ON_ERROR_CONTINUE || r->stop != STOP_NOT)
        return;
    r->culprit = i;
    r->compensate = step->on_error == ON_ERROR_COMPENSATE;
    error_set(&why, s->code, "step %s failed: %s", step->id, s->message ? s->message : error_info(s->code)->name);
    run_stop(r, STOP_FAILED, &why);
}

/* Each record of a step says what the whole task had used by then. */
void run_remember_used(struct run *r)
{
    struct tasks_used most = {0};
    for (const struct remembered *m = r->remembered; m; m = m->next)
        tasks_used_most(&most, &m->step.used);
    if (!r->remembered)
        return;
    r->calls = most.calls;
    r->cpu_ns = most.cpu_ns;
    r->ran_ns = most.ran_ns;
    r->bytes_in = most.bytes_in;
    r->bytes_out = most.bytes_out;
    r->before_ns = most.time_ns;
}

void run_remember(struct run *r)
{
    for (struct remembered *m = r->remembered; m; m = m->next)
        if (m->step.outcome && m->step.step < r->task->nsteps && r->steps[m->step.step].state != STEP_OVER)
            restore_over(r, m);
    for (uint32_t i = 0; i < r->task->nsteps; i++)
        for (uint32_t k = 0; k < r->task->steps[i].nneeds; k++)
            r->steps[i].waiting += r->steps[r->task->steps[i].needs[k]].state != STEP_OVER;
    for (uint32_t i = 0; i < r->task->nsteps; i++)
        restore_failure(r, i);
    for (struct remembered *m = r->remembered; m; m = m->next)
        if (!m->step.outcome && m->step.step < r->task->nsteps)
            step_unknown(r, m->step.step);
    for (uint32_t i = 0; i < r->task->nsteps; i++)
        if (!r->steps[i].waiting && r->steps[i].state == STEP_WAITING)
            run_ready(r, i);
    remembered_free(r);
}

/* ---- on the planner: who is unfinished ---- */

struct found {
    struct found *next;
    char id[TASKS_ID];
    char *asker;
    uint64_t began_ns;
    size_t len;
    uint8_t text[];
};

static bool find_open(void *context, const char *id, const char *asker, uint64_t began_ns, const void *text, size_t len)
{
    struct found ***end = context, *f = malloc(sizeof *f + len);
    if (!f)
        return false;
    memcpy(f->id, id, sizeof f->id);
    f->asker = strdup(asker);
    f->began_ns = began_ns;
    f->len = len;
    f->next = NULL;
    if (len)
        memcpy(f->text, text, len);
    **end = f;
    *end = &f->next;
    return true;
}

static void read_asker(const char *text, struct task_request *request)
{
    json_t *a = json_loads(text ? text : "{}", 0, NULL);
    const char *plugins = json_string_value(json_object_get(a, "plugins"));
    const char *actor = json_string_value(json_object_get(a, "actor"));
    request->asker.everything = json_is_true(json_object_get(a, "everything"));
    request->asker.token = json_integer_value(json_object_get(a, "token"));
    request->explain = json_is_true(json_object_get(a, "explain"));
    text_copy(request->asker.plugins, sizeof request->asker.plugins, plugins ? plugins : "");
    text_copy(request->asker.actor, sizeof request->asker.actor, actor ? actor : "");
    json_decref(a);
}

static void nobody(void *context, const struct error *error, struct buf *result)
{
}

static void resume_one(struct orchestrator *o, const struct found *f, struct registry_reader *reader)
{
    struct task_request request = {.text = f->text, .len = f->len, .background = true, .done = nobody};
    struct error err;
    struct run *r = run_find(o, f->id);
    if (r) { /* begun by this host */
        run_unref(r);
        return;
    }
    read_asker(f->asker, &request);
    r = run_make(o, &request);
    if (!r)
        return;
    memcpy(r->id, f->id, sizeof r->id);
    trace_child((struct trace_place){r->id, ""}, r->traceparent); /* what it belonged to is not kept */
    r->began_wall_ns = f->began_ns;
    r->kept = r->resumed = r->told = r->large = true;
    if (remember_all(r, &err) < 0) { /* it stays interrupted: the next host tries again */
        log_event(LOG_ERROR, "task_not_resumed", "task", r->id, "why", err.message, NULL);
        run_unref(r);
        return;
    }
    run_plan_there(r, reader);
}

static void resume_all(struct chore *chore, struct registry_reader *reader)
{
    struct orchestrator *o = (struct orchestrator *)(void *)((char *)chore - offsetof(struct orchestrator, resume));
    struct found *list = NULL, **end = &list;
    struct error err;
    if (tasks_each_open(o->reader, find_open, &end, &err) < 0)
        log_event(LOG_ERROR, "tasks_not_resumed", "why", err.message, NULL);
    for (struct found *f = list, *next; f; f = next) {
        next = f->next;
        resume_one(o, f, reader);
        free(f->asker);
        free(f);
    }
}

void orchestrator_resume(struct orchestrator *o)
{
    if (!o->tasks)
        return;
    o->resume.work = resume_all;
    planner_post(o->planner, &o->resume);
}
