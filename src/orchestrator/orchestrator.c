/* From a request to a run, and what runs: the table of ids, the places, the beginning and the end of it all. */
#include "orchestrator/orchestrator.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "orchestrator/run.h"
#include "service/tell.h"

#define READ_HERE (64 * 1024) /* bytes of a task that are read on the spot: more is the planner's work */

/* ---- the table ---- */

static struct run **slot_of(struct orchestrator *o, const char *id)
{
    char digits[9] = "";
    memcpy(digits, id, strnlen(id, 8));
    return &o->runs[strtoul(digits, NULL, 16) % RUN_SLOTS];
}

static int enter_table(struct run *r, struct error *err)
{
    struct orchestrator *o = r->o;
    int rc = 0;
    pthread_mutex_lock(&o->lock);
    if (o->closing)
        rc = error_set(err, MOAT_E_DRAINING, "the host is about to end");
    else if (o->running >= ORCHESTRATOR_RUNNING_MAX)
        rc = error_set(err, MOAT_E_QUEUE_FULL, "%d tasks run already", ORCHESTRATOR_RUNNING_MAX);
    if (rc == 0) {
        struct run **slot = slot_of(o, r->id);
        r->next = *slot;
        *slot = r;
        o->running++;
        run_ref(r);
    }
    pthread_mutex_unlock(&o->lock);
    return rc;
}

/* With the table's reference. */
void run_leave_table(struct run *r)
{
    struct orchestrator *o = r->o;
    pthread_mutex_lock(&o->lock);
    struct run **at = slot_of(o, r->id);
    while (*at && *at != r)
        at = &(*at)->next;
    bool found = *at != NULL;
    if (found) {
        *at = r->next;
        if (--o->running == 0)
            pthread_cond_broadcast(&o->nothing);
    }
    pthread_mutex_unlock(&o->lock);
    if (found)
        run_unref(r);
}

struct run *run_find(struct orchestrator *o, const char *id)
{
    pthread_mutex_lock(&o->lock);
    struct run *r = *slot_of(o, id);
    while (r && strcmp(r->id, id) != 0)
        r = r->next;
    if (r)
        run_ref(r);
    pthread_mutex_unlock(&o->lock);
    return r;
}

/* ---- a run's memory ---- */

struct run *run_ref(struct run *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void run_unref(struct run *r)
{
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; r->steps && i < r->task->nsteps; i++)
        step_free(&r->steps[i]);
    remembered_free(r);
    free(r->steps);
    free(r->ready);
    free(r->text);
    free(r->error);
    free(r->failure);
    free(r->chain);
    feed_unref(r->feed);
    buf_free(&r->result);
    faults_free(&r->faults);
    roster_unref(r->roster);
    task_unref(r->task);
    free(r);
}

/* ---- from a request to a run ---- */

static struct place *place_of(struct orchestrator *o, const struct loop *loop)
{
    for (unsigned i = 0; loop && i < o->places.n; i++)
        if (o->places.list[i].loop == loop)
            return &o->places.list[i];
    return &o->places.list[atomic_fetch_add_explicit(&o->turn, 1, memory_order_relaxed) % o->places.n];
}

static void tell_check(struct run *r)
{
    struct buf out = BUF_INIT(1 << 20);
    bool bad = r->code == -MOAT_E_BAD_TASK;
    tell_open(&out, NULL, '{');
    tell_flag(&out, "valid", !bad);
    faults_tell(&r->faults, &out, "findings");
    if (r->faults.more)
        tell_number(&out, "more", r->faults.more);
    if (r->task && !bad)
        tell_number(&out, "steps", r->task->nsteps);
    tell_close(&out, '}');
    r->request.done(r->request.context, bad || r->code == 0 ? NULL : r->error, &out);
    buf_free(&out);
}

/* Read and planned, or not: on its loop. */
static void go(struct run *r)
{
    struct error full;
    if (r->check_only) {
        tell_check(r);
    } else if (r->code < 0 && !r->resumed) {
        r->request.done(r->request.context, r->error, NULL);
    } else if (enter_table(r, &full) < 0) {
        r->request.done(r->request.context, &full, NULL);
    } else if (r->code < 0) {
        run_cannot(r);
        return;
    } else if (!asked_waits(r, &full)) {
        run_leave_table(r);
        r->request.done(r->request.context, &full, NULL);
    } else {
        run_start(r);
        return;
    }
    run_unref(r);
}

static void go_on_loop(struct loop_task *task)
{
    go((struct run *)(void *)((char *)task - offsetof(struct run, task_on_loop)));
}

static void go_there(struct run *r)
{
    r->task_on_loop.run = go_on_loop;
    loop_post(r->place->loop, &r->task_on_loop);
}

static struct error *error_room(struct run *r)
{
    if (!r->error)
        r->error = calloc(1, sizeof *r->error);
    return r->error;
}

static void read_run(struct run *r)
{
    r->code = task_read(r->text, r->request.len, &r->task, &r->faults, error_room(r));
    free(r->text);
    r->text = NULL;
}

static void plan_run(struct run *r, struct registry_reader *reader)
{
    struct roster_rights rights = {asker_may, asker_refuse, &r->request.asker};
    r->code = roster_make(r->o->catalog, r->task, r->request.asker.everything ? NULL : &rights, reader, &r->roster,
                          &r->faults, error_room(r));
}

void run_plan_there(struct run *r, struct registry_reader *reader)
{
    if (!r->task)
        read_run(r);
    if (r->code == 0 && catalog_is_stale(r->o->catalog))
        r->code = catalog_renew(r->o->catalog, error_room(r));
    if (r->code == 0)
        plan_run(r, reader);
    go_there(r);
}

static void plan_there(struct chore *chore, struct registry_reader *reader)
{
    run_plan_there((struct run *)(void *)((char *)chore - offsetof(struct run, chore)), reader);
}

static void renew_figures(struct chore *chore, struct registry_reader *reader)
{
    struct orchestrator *o = (struct orchestrator *)(void *)((char *)chore - offsetof(struct orchestrator, figures));
    catalog_figures(o->catalog);
    atomic_store(&o->figuring, false);
}

void orchestrator_look(struct orchestrator *o)
{
    if (!catalog_wants_figures(o->catalog) || atomic_exchange(&o->figuring, true))
        return;
    o->figures.work = renew_figures;
    planner_post(o->planner, &o->figures);
}

struct run *run_make(struct orchestrator *o, const struct task_request *request)
{
    struct run *r = calloc(1, sizeof *r);
    uint8_t *text = r && request->len <= TASK_TEXT_MAX ? malloc(request->len + 1) : NULL;
    struct error err;
    if (!text) {
        if (request->len > TASK_TEXT_MAX)
            error_set(&err, MOAT_E_TOO_LARGE, "the task has %zu bytes; at most %u are taken", request->len,
                      TASK_TEXT_MAX);
        else
            error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the task");
        free(r);
        request->done(request->context, &err, NULL);
        return NULL;
    }
    memcpy(text, request->text, request->len);
    r->refs = 1;
    r->o = o;
    r->text = text;
    r->request = *request;
    r->request.text = NULL;
    r->place = place_of(o, request->loop);
    r->began_wall_ns = clock_wall_ns();
    r->ask = asked_of(request);
    r->kept = o->tasks != NULL && !r->ask; /* what a call has begun ends with it */
    call_make_id(r->id);
    trace_child((struct trace_place){r->id, request->traceparent}, r->traceparent);
    return r;
}

static void begin(struct run *r)
{
    struct orchestrator *o = r->o;
    orchestrator_look(o);
    r->chore.work = plan_there;
    if (r->request.len > READ_HERE) {
        planner_post(o->planner, &r->chore);
        return;
    }
    read_run(r);
    if (r->code == 0 && roster_is_long(o->catalog, r->task)) {
        planner_post(o->planner, &r->chore);
        return;
    }
    if (r->code == 0)
        plan_run(r, NULL);
    if (loop_is_mine(r->place->loop))
        go(r);
    else
        go_there(r);
}

void orchestrator_run(struct orchestrator *o, const struct task_request *request, char id[ORCHESTRATOR_ID])
{
    struct run *r = run_make(o, request);
    if (!r)
        return;
    if (id)
        memcpy(id, r->id, ORCHESTRATOR_ID);
    begin(r);
}

void orchestrator_check(struct orchestrator *o, const struct task_request *request)
{
    struct run *r = run_make(o, request);
    if (!r)
        return;
    r->check_only = true;
    begin(r);
}

/* ---- its life ---- */

static bool make_places(struct orchestrator *o)
{
    unsigned n = service_loops(o->service);
    o->places.list = calloc(n, sizeof *o->places.list);
    if (!o->places.list)
        return false;
    o->places.n = n;
    for (unsigned i = 0; i < n; i++) {
        o->places.list[i].o = o;
        o->places.list[i].loop = service_loop(o->service, i);
    }
    return true;
}

static void free_place(struct place *p)
{
    for (unsigned i = 0; i < LANE_SLOTS; i++)
        for (struct lane *l = p->lanes[i], *next; l; l = next) {
            next = l->next;
            free(l);
        }
    for (struct unit *u = p->spare, *next; u; u = next) {
        next = u->next;
        buf_free(&u->parameters);
        free(u);
    }
}

struct stopping {
    struct loop_task task;
    struct run *run; /* a reference */
};

static void stop_it(struct loop_task *task)
{
    struct stopping *m = (struct stopping *)(void *)task;
    struct error err;
    error_set(&err, MOAT_E_DRAINING, "the host has ended");
    m->run->closing = !m->run->ended;
    run_stop(m->run, STOP_CANCELLED, &err);
    run_pump(m->run);
    run_unref(m->run);
    free(m);
}

static void stop_all(struct orchestrator *o)
{
    for (unsigned i = 0; i < RUN_SLOTS; i++)
        for (struct run *r = o->runs[i]; r; r = r->next) {
            struct stopping *m = calloc(1, sizeof *m);
            if (!m)
                continue; /* its calls end with the loader */
            m->task.run = stop_it;
            m->run = run_ref(r);
            loop_post(r->place->loop, &m->task);
        }
}

struct barrier {
    pthread_mutex_t lock;
    pthread_cond_t passed;
    unsigned left;
};

struct passing {
    struct loop_task task;
    struct barrier *barrier;
};

static void pass(struct loop_task *task)
{
    struct barrier *b = ((struct passing *)(void *)task)->barrier;
    pthread_mutex_lock(&b->lock);
    b->left--;
    pthread_cond_signal(&b->passed);
    pthread_mutex_unlock(&b->lock);
}

/* What was posted to the loops before has run. */
static void wait_for_loops(struct orchestrator *o)
{
    struct barrier b = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, o->places.n};
    struct passing *list = calloc(o->places.n + 1, sizeof *list);
    for (unsigned i = 0; list && i < o->places.n; i++) {
        list[i] = (struct passing){.task = {.run = pass}, .barrier = &b};
        loop_post(o->places.list[i].loop, &list[i].task);
    }
    pthread_mutex_lock(&b.lock);
    while (list && b.left)
        pthread_cond_wait(&b.passed, &b.lock);
    pthread_mutex_unlock(&b.lock);
    free(list);
}

/* The loader still answers: what is cancelled ends by itself. Not on a loop. */
static void orchestrator_free(void *guest)
{
    struct orchestrator *o = guest;
    pthread_mutex_lock(&o->lock);
    o->closing = true;
    stop_all(o);
    while (o->running)
        pthread_cond_wait(&o->nothing, &o->lock);
    pthread_mutex_unlock(&o->lock);
    planner_free(o->planner); /* then what it read is refused */
    if (o->places.n)
        wait_for_loops(o);
    spill_close(o->spill);
    tasks_reader_free(o->reader);
    tasks_close(o->tasks);
    if (o->places.n)
        wait_for_loops(o); /* what was written told them */
    for (unsigned i = 0; i < o->places.n; i++)
        free_place(&o->places.list[i]);
    free(o->places.list);
    catalog_free(o->catalog);
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->nothing);
    free(o);
}

/* Of a task that goes on: what cannot be read is kept. */
static bool goes_on(void *context, const char *task)
{
    const struct orchestrator *o = context;
    struct tasks_row row;
    struct error err;
    int rc = o->reader ? tasks_find(o->reader, task, &row, NULL, &err) : 0;
    return rc < 0 || (rc == 1 && !row.ended_ns);
}

static int open_spill(struct orchestrator *o, struct error *err)
{
    int rc = spill_open(service_home(o->service)->registry_dir, service_setting(o->service, "tasks_result_memory"),
                        service_setting(o->service, "tasks_results_max"), &o->spill, err);
    return rc < 0 ? rc : spill_sweep(o->spill, goes_on, o, err);
}

static void *orchestrator_new(struct service *s, struct error *err)
{
    struct orchestrator *o = calloc(1, sizeof *o);
    if (!o) {
        error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the orchestrator");
        return NULL;
    }
    o->service = s;
    o->loader = service_loader(s);
    o->parameters_max = service_setting(s, "tasks_parameters_max");
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->nothing, NULL);
    int rc = make_places(o) ? 0 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the orchestrator");
    if (rc == 0)
        rc = catalog_new(s, &o->catalog, err);
    struct tasks_keep keep = {.tasks = service_setting(s, "tasks_history"),
                              .ms = service_setting(s, "tasks_keep") / NS_PER_MS,
                              .bytes = service_setting(s, "tasks_history_max")};
    if (rc == 0 && keep.tasks)
        rc = tasks_open(service_home(s)->registry_dir, &keep, &o->tasks, err);
    if (rc == 0 && keep.tasks)
        rc = tasks_reader_new(o->tasks, &o->reader, err);
    if (rc == 0)
        rc = open_spill(o, err);
    if (rc == 0)
        rc = planner_new(service_registry(s), &o->planner, err);
    if (rc < 0) {
        orchestrator_free(o);
        return NULL;
    }
    orchestrator_offer(s);
    return o;
}

struct orchestrator *orchestrator_of(struct service *s, struct error *err)
{
    return service_guest(s, orchestrator_new, orchestrator_free, err);
}
