/* Which step is next, and the end of it all. Steps become ready one after the other through a ring, so that a chain of
 * ten thousand skipped ones is a loop and no recursion. */
#include "orchestrator/run.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "json/cursor.h"

#define UNWRITTEN_MAX 2000
#define TURN_MOST (4u << 20) /* bytes that conditions look at before the loop does something else */

static void run_end(struct run *r);

void run_ready(struct run *r, uint32_t step)
{
    r->steps[step].state = STEP_READY;
    r->ready[r->ready_tail++] = step; /* each comes once: the ring never turns */
}

void run_queue(struct run *r, struct unit *u)
{
    u->next = NULL;
    *r->pending_end = u;
    r->pending_end = &u->next;
}

/* ---- an early end ---- */

static void set_failure(struct run *r, const struct error *why)
{
    if (r->failure)
        return;
    r->failure = malloc(sizeof *r->failure);
    if (r->failure)
        *r->failure = *why;
}

/* What waits here or in a lane has not begun and never does; what is called is cancelled, but after a failure, when it
 * is let to its end: what has been started is better known than half done. */
static void stop_units(struct run *r, bool cancel)
{
    r->pending = NULL;
    r->pending_end = &r->pending;
    for (struct unit *u = r->units, *after; u; u = after) {
        after = u->after;
        if (!u->called || cancel)
            unit_stop(u);
    }
}

void run_stop(struct run *r, enum stop stop, const struct error *why)
{
    bool first = r->stop == STOP_NOT, harder = stop != STOP_FAILED && (first || r->stop == STOP_FAILED);
    if (r->ended || (!first && !harder))
        return;
    r->stop = stop;
    if (stop != STOP_FAILED)
        r->compensate = false;
    set_failure(r, why);
    stop_units(r, harder);
}

static void tell_no_time(const struct run *r, struct error *why)
{
    char span[32];
    clock_format_span(r->task->budget.time_ns, span);
    error_set(why, MOAT_E_LIMIT, "the task's budget of time, %s, is used up", span);
}

static void out_of_time(struct loop_timer *timer)
{
    struct run *r = (struct run *)(void *)((char *)timer - offsetof(struct run, timer));
    struct error why;
    if (r->compensating)
        return; /* what is being undone is undone */
    tell_no_time(r, &why);
    run_ref(r);
    run_stop(r, STOP_BUDGET, &why);
    run_pump(r);
    run_unref(r);
}

/* ---- undoing: the last success first, one at a time ---- */

static bool undo_next(struct run *r)
{
    while (r->undoing) {
        uint32_t i = r->successes[--r->undoing];
        bool over = r->steps[i].compensated || r->steps[i].compensation_failed; /* by another host */
        struct unit *u = r->task->steps[i].compensate && !over ? unit_new(r, i, NO_ITEM, PHASE_COMPENSATE) : NULL;
        if (u) {
            run_queue(r, u);
            return true;
        }
    }
    return false;
}

static bool undo(struct run *r)
{
    if (r->stop != STOP_FAILED || !r->compensate)
        return false;
    if (!r->compensating)
        r->undoing = r->succeeded;
    r->compensating = true;
    return undo_next(r);
}

/* ---- going on ---- */

static bool begin_one(struct run *r)
{
    struct unit *u = r->pending;
    if (!u || r->in_flight >= (r->ask ? 1 : r->task->concurrency))
        return false;
    r->pending = u->next;
    if (!r->pending)
        r->pending_end = &r->pending;
    unit_begin(u);
    return true;
}

static bool starts_more(const struct run *r)
{
    return r->stop == STOP_NOT && r->ready_head < r->ready_tail && r->looked < TURN_MOST;
}

static void take_turn(struct loop_task *task)
{
    struct run *r = (struct run *)(void *)((char *)task - offsetof(struct run, turn));
    r->looked = 0;
    r->turning = false;
    run_pump(r);
    run_unref(r);
}

static void leave_rest(struct run *r)
{
    if (r->turning || r->looked < TURN_MOST)
        return;
    r->turning = true;
    r->turn.run = take_turn;
    run_ref(r);
    loop_post(r->place->loop, &r->turn);
}

/* May be called from inside itself: what it would do there is done by the outer one. */
void run_pump(struct run *r)
{
    if (r->pumping || r->ending || r->ended)
        return;
    r->pumping = true;
    do {
        while (starts_more(r))
            step_start(r, r->ready[r->ready_head++]);
        while (begin_one(r))
            ;
    } while (starts_more(r) || (!r->nunits && undo(r)));
    r->pumping = false;
    leave_rest(r);
    if (!r->nunits && (r->stop != STOP_NOT || r->over == r->task->nsteps))
        run_end(r);
}

/* ---- beginning and end ---- */

static bool make_room(struct run *r)
{
    uint32_t n = r->task->nsteps;
    r->steps = calloc(n, sizeof *r->steps);
    r->ready = malloc(2 * n * sizeof *r->ready);
    r->successes = r->ready ? r->ready + n : NULL;
    return r->steps && r->ready;
}

static void begin_done(struct run *r, const struct error *err)
{
    struct buf told = BUF_INIT(256);
    if (r->told)
        return;
    buf_printf(&told, "{\"id\":\"%s\",\"status\":\"running\"}", r->id);
    r->told = true;
    r->request.done(r->request.context, err, &told);
    buf_free(&told);
}

/* Its id is of use only when it outlives this host: what is told of as an error must not run on, unseen. */
static void begin_is_kept(struct loop_task *task)
{
    static const struct error unknown = {.code = MOAT_E_STORAGE_FAILED, .message = "the task could not be remembered"};
    struct run *r = (struct run *)(void *)((char *)task - offsetof(struct run, begun));
    const struct error *why = r->begin_code == 0 ? NULL : r->error ? r->error : &unknown;
    begin_done(r, why);
    if (why) {
        run_stop(r, STOP_CANCELLED, why);
        run_pump(r);
    }
    run_unref(r);
}

static void tell_begin(struct run *r)
{
    bool waits = r->request.background && !r->resumed;
    r->begun.run = begin_is_kept;
    bool kept = !r->resumed && keep_begin(r, waits);
    if (waits && !kept)
        begin_done(r, NULL);
}

static void start_clock(struct run *r)
{
    uint64_t most = r->task->budget.time_ns;
    r->began_ns = clock_mono_ns();
    run_remember_used(r);
    r->until_ns = r->began_ns + (most > r->before_ns ? most - r->before_ns : 0);
}

/* Of another host's task perhaps nothing is left: then nothing more is begun. What is being undone is undone. */
static void stop_beyond_budget(struct run *r)
{
    struct error why;
    if (r->stop != STOP_NOT)
        return;
    if (r->until_ns <= r->began_ns)
        tell_no_time(r, &why);
    else if (run_within_budget(r, &why))
        return;
    run_stop(r, STOP_BUDGET, &why);
}

void run_start(struct run *r)
{
    start_clock(r);
    r->culprit = UINT32_MAX;
    r->pending_end = &r->pending;
    tell_begin(r);
    if (!make_room(r) || !loop_timer_set(r->place->loop, &r->timer, r->until_ns)) {
        struct error why;
        error_set(&why, MOAT_E_OUT_OF_MEMORY, "no memory for the task");
        set_failure(r, &why);
        r->status = RUN_FAILED;
        r->stop = STOP_FAILED;
        run_end(r);
        return;
    }
    r->timer.fire = out_of_time;
    event_task_begun(r);
    run_ref(r); /* what is restored may end it */
    run_remember(r);
    stop_beyond_budget(r);
    run_pump(r);
    run_unref(r);
}

/* The results of the steps that nobody needed, by their ids. */
static int put_leaves(struct values *v, struct buf *out, struct error *err)
{
    const struct run *r = v->run;
    const uint8_t *json;
    bool first = true;
    int rc = 0;
    buf_putc(out, '{');
    for (uint32_t i = 0; i < r->task->nsteps && rc == 0; i++) {
        const struct step_run *s = &r->steps[i];
        if (r->task->steps[i].nheirs || (!s->result && !s->spilled))
            continue;
        rc = values_result(v, i, &json, err);
        if (rc < 0)
            break;
        buf_printf(out, "%s\"%s\":", first ? "" : ",", r->task->steps[i].id);
        buf_put(out, json, cursor_length(json));
        first = false;
    }
    buf_putc(out, '}');
    return rc;
}

int run_result(struct values *v, struct buf *out, struct error *err)
{
    const struct task_template *t = v->run->task->result;
    struct template_source source = {values_get, v};
    int rc = t ? template_fill(t, &source, out, err) : put_leaves(v, out, err);
    if (rc == 0 && out->failed)
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the result");
    if (rc < 0)
        error_prefix(err, "the task's result");
    return rc;
}

static void make_result(struct run *r)
{
    struct values v = VALUES_INIT(r, NULL);
    struct error why;
    int rc = run_result(&v, &r->result, &why);
    values_free(&v);
    run_close(r, rc, &why);
}

static enum run_status status_of(const struct run *r)
{
    return r->stop == STOP_NOT ? RUN_SUCCEEDED : r->stop == STOP_CANCELLED ? RUN_CANCELLED : RUN_FAILED;
}

void run_tell_end(struct run *r)
{
    struct buf out = BUF_INIT(256u << 20);
    struct error err;
    if (r->request.background)
        return; /* told already, or soon */
    document_run(&out, r);
    if (out.failed)
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for what the task has to say");
    r->told = true;
    r->ask = NULL;
    r->request.done(r->request.context, out.failed ? &err : NULL, &out);
    buf_free(&out);
}

/* As the span that its calls belong to. */
static void tell_trace(const struct run *r)
{
    static const struct error unknown = {.code = MOAT_E_OUT_OF_MEMORY};
    struct service_task t = {.id = r->id,
                             .traceparent = r->request.traceparent,
                             .begun_ns = r->began_wall_ns,
                             .ended_ns = r->ended_wall_ns,
                             .cpu_ns = r->cpu_ns,
                             .bytes_in = r->bytes_in,
                             .bytes_out = r->bytes_out};
    if (r->stop != STOP_NOT)
        t.error = r->failure ? r->failure : &unknown;
    service_tell_task(r->o->service, &t);
}

void run_close(struct run *r, int made, const struct error *why)
{
    r->ending = false;
    r->ended = true;
    if (made < 0 && r->stop == STOP_NOT) {
        set_failure(r, why);
        r->stop = STOP_FAILED;
    }
    r->status = status_of(r);
    /* Counted before anybody is told: who asks then finds it. */
    atomic_fetch_add_explicit(&r->o->ended[r->status], 1, memory_order_relaxed);
    r->ended_wall_ns = clock_wall_ns();
    loop_timer_clear(&r->timer);
    tell_trace(r);
    event_task_ended(r);
    /* Who asks for the next one as soon as this one is told must not outrun the disk. */
    r->tell_late = atomic_load(&r->o->unwritten) > UNWRITTEN_MAX;
    if (r->tell_late && keep_end(r))
        return;
    run_tell_end(r);
    if (!r->tell_late && keep_end(r))
        return;
    large_drop(r);
    run_leave_table(r);
    run_unref(r);
}

static void run_end(struct run *r)
{
    r->result = BUF_INIT(256u << 20);
    if (r->stop != STOP_NOT)
        run_close(r, 0, NULL);
    else if (!large_end(r))
        make_result(r);
}

void run_cannot(struct run *r)
{
    r->culprit = UINT32_MAX;
    r->stop = STOP_FAILED;
    set_failure(r, r->error);
    run_end(r);
}
