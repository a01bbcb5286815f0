/* What is told of a run: {"id","name","status","result","error","steps","receipt"}, and of a choice. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "orchestrator/run.h"
#include "orchestrator/score.h"
#include "service/tell.h"

static const char *const statuses[RUN_STATUS_COUNT] = {"running", "succeeded", "failed", "cancelled", "interrupted"};

const char *run_status_name(enum run_status s)
{
    return statuses[s];
}

int run_status_parse(const char *text)
{
    for (int i = 0; i < RUN_STATUS_COUNT; i++)
        if (strcmp(statuses[i], text) == 0)
            return i;
    return -1;
}

/* ---- a step ---- */

static void tell_error(struct buf *out, enum moat_code code, const char *message, const char *step)
{
    tell_open(out, "error", '{');
    tell_text(out, "code", error_info(code)->name);
    tell_text(out, "message", message ? message : error_info(code)->name);
    if (step)
        tell_text(out, "step", step);
    tell_close(out, '}');
}

static const char *outcome_text(const struct run *r, const struct step_run *s)
{
    if (s->state == STEP_OVER)
        return task_outcome_name(s->outcome);
    return s->state == STEP_RUNNING && !r->ended ? "running" : r->ended ? "not_run" : "waiting";
}

void document_step(struct buf *out, const struct run *r, uint32_t i, bool choice)
{
    const struct step_run *s = &r->steps[i];
    tell_open(out, NULL, '{');
    tell_text(out, "id", r->task->steps[i].id);
    tell_text(out, "outcome", outcome_text(r, s));
    if (s->ran_by) {
        tell_text(out, "plugin", s->ran_by->name);
        tell_text(out, "version", s->ran_by->manifest->version);
    }
    if (s->attempts)
        tell_number(out, "attempts", s->attempts);
    if (s->fell_back)
        tell_flag(out, "fell_back", true);
    if (s->compensated || s->compensation_failed)
        tell_text(out, "compensation", s->compensated ? "done" : "failed");
    if (s->code)
        tell_error(out, s->code, s->message, NULL);
    if (s->began_ns)
        tell_time(out, "began", s->began_ns);
    if (s->ended_ns && s->state == STEP_OVER)
        tell_time(out, "ended", s->ended_ns);
    if (s->why && choice)
        tell_raw(out, "choice", s->why);
    tell_close(out, '}');
}

/* ---- the whole ---- */

struct used {
    const char *names[256];
    size_t n;
};

static void add_used(struct used *u, const char *name)
{
    for (size_t i = 0; i < u->n; i++)
        if (strcmp(u->names[i], name) == 0)
            return;
    if (u->n < sizeof u->names / sizeof *u->names)
        u->names[u->n++] = name;
}

static void tell_receipt(struct buf *out, const struct run *r)
{
    struct used used = {.n = 0};
    uint64_t end = r->ended ? r->ended_wall_ns : clock_wall_ns();
    for (uint32_t i = 0; r->task && r->steps && i < r->task->nsteps; i++)
        if (r->steps[i].ran_by)
            add_used(&used, r->steps[i].ran_by->name);
    tell_open(out, "receipt", '{');
    tell_number(out, "calls", r->calls);
    tell_number(out, "wall_ns", end > r->began_wall_ns ? end - r->began_wall_ns : 0);
    tell_number(out, "ran_ns", r->ran_ns);
    tell_number(out, "cpu_ns", r->cpu_ns);
    tell_number(out, "bytes_in", r->bytes_in);
    tell_number(out, "bytes_out", r->bytes_out);
    tell_open(out, "plugins_used", '[');
    for (size_t i = 0; i < used.n; i++)
        tell_text(out, NULL, used.names[i]);
    tell_close(out, ']');
    if (r->chain)
        tell_raw(out, "chain", r->chain);
    tell_close(out, '}');
}

static void tell_result(struct buf *out, const struct run *r)
{
    if (r->status != RUN_SUCCEEDED || !r->result.data)
        return;
    buf_puts(out, ",\"result\":");
    buf_put(out, r->result.data, r->result.len);
}

static void tell_start(struct buf *out, const struct run *r)
{
    tell_open(out, NULL, '{');
    tell_text(out, "id", r->id);
    tell_text(out, "name", r->task ? r->task->name : NULL);
    tell_text(out, "status", run_status_name(r->status));
}

static void tell_course(struct buf *out, const struct run *r)
{
    if (r->failure)
        tell_error(out, r->failure->code, r->failure->message,
                   !r->task || r->culprit == UINT32_MAX ? NULL : r->task->steps[r->culprit].id);
    tell_time(out, "began", r->began_wall_ns);
    if (r->ended)
        tell_time(out, "ended", r->ended_wall_ns);
}

void document_end(struct buf *out, const struct run *r)
{
    tell_start(out, r);
    tell_course(out, r);
    tell_receipt(out, r);
    tell_close(out, '}');
}

void document_interrupted(struct buf *out, const struct tasks_row *row)
{
    tell_open(out, NULL, '{');
    tell_text(out, "id", row->id);
    tell_text(out, "name", *row->name ? row->name : NULL);
    tell_text(out, "status", run_status_name(RUN_INTERRUPTED));
    tell_time(out, "began", row->began_ns);
}

void document_run(struct buf *out, const struct run *r)
{
    tell_start(out, r);
    tell_result(out, r);
    tell_course(out, r);
    tell_open(out, "steps", '[');
    for (uint32_t i = 0; r->task && r->steps && i < r->task->nsteps; i++)
        document_step(out, r, i, true);
    tell_close(out, ']');
    tell_receipt(out, r);
    tell_close(out, '}');
}

/* ---- a choice ---- */

static void tell_term(struct buf *out, const char *key, float value)
{
    tell_real(out, key, round((double)value * 1e4) / 1e4);
}

struct terms {
    float health, success, speed, thrift, exploration, score;
};

static struct terms terms_of(const struct offer *o, float log_of_all)
{
    struct terms t = {.health = atomic_load(&o->health),
                      .success = atomic_load(&o->success),
                      .speed = atomic_load(&o->speed),
                      .thrift = atomic_load(&o->thrift),
                      .exploration = score_exploration(atomic_load(&o->runs), log_of_all)};
    t.score = atomic_load(&o->base) + t.exploration;
    return t;
}

static void tell_candidate(struct buf *out, const struct choice *c, uint32_t i, bool fits, int64_t chosen,
                           float log_of_all, const char *sticky)
{
    const struct offer *o = c->list[i].offer;
    struct terms t = terms_of(o, log_of_all);
    char why[100];
    bool is_chosen = (int64_t)i == chosen;
    tell_open(out, NULL, '{');
    tell_text(out, "plugin", o->name);
    tell_text(out, "version", o->manifest->version);
    tell_flag(out, "chosen", is_chosen);
    tell_term(out, "score", t.score);
    tell_open(out, "terms", '{');
    tell_term(out, "health", t.health);
    tell_term(out, "success", t.success);
    tell_term(out, "speed", t.speed);
    tell_term(out, "thrift", t.thrift);
    tell_term(out, "exploration", t.exploration);
    tell_close(out, '}');
    tell_number(out, "runs", atomic_load(&o->runs));
    if (is_chosen && sticky)
        snprintf(why, sizeof why, "it ran the last step with the same `sticky`");
    else if (is_chosen)
        snprintf(why, sizeof why, "the best score");
    else if (!fits)
        snprintf(why, sizeof why, "the parameters do not fit its action, or who asks may not run it");
    else if (atomic_load(&o->closed))
        snprintf(why, sizeof why, "its circuit is open after failures");
    else
        snprintf(why, sizeof why, sticky ? "another one is sticky" : "a lower score");
    tell_text(out, "why", why);
    tell_close(out, '}');
}

void document_candidates(struct buf *out, const struct choice *c, const uint64_t *mask, int64_t chosen,
                         const char *sticky)
{
    float log_of_all = score_log_of_all(c);
    for (uint32_t i = 0; i < c->n; i++)
        tell_candidate(out, c, i, !mask || mask[i / 64] >> i % 64 & 1, chosen, log_of_all, sticky);
}

bool document_choice(struct buf *out, const struct choice *c, const uint64_t *mask, int64_t chosen, const char *sticky)
{
    tell_open(out, NULL, '[');
    document_candidates(out, c, mask, chosen, sticky);
    tell_close(out, ']');
    return !out->failed;
}
