/* What is asked of tasks that run: cancel, show, list. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "orchestrator/run.h"
#include "service/tell.h"

/* ---- carried to its loop ---- */

struct message {
    struct loop_task task;
    struct run *run; /* a reference */
    struct task_asker asker;
    service_done done;
    void *context;
};

/* Takes the reference. */
static void send(struct run *r, void (*receive)(struct loop_task *task), const struct task_asker *asker,
                 service_done done, void *context)
{
    struct error err;
    struct message *m = malloc(sizeof *m);
    if (!m) {
        run_unref(r);
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory to ask the task");
        done(context, &err, NULL);
        return;
    }
    *m = (struct message){.task = {.run = receive}, .run = r, .done = done, .context = context};
    if (asker)
        m->asker = *asker;
    loop_post(r->place->loop, &m->task);
}

static void answer(struct message *m, const struct error *err, struct buf *out)
{
    m->done(m->context, err, out);
    run_unref(m->run);
    free(m);
}

static void cancel_it(struct loop_task *task)
{
    struct message *m = (struct message *)(void *)task;
    struct run *r = m->run;
    struct error err;
    buf_auto out = BUF_INIT(256);
    if (!m->asker.everything && (!m->asker.token || m->asker.token != r->request.asker.token)) {
        error_set(&err, MOAT_E_FORBIDDEN, "the task is another token's: the scope manage may cancel it");
        answer(m, &err, NULL);
        return;
    }
    if (r->ended) {
        error_set(&err, MOAT_E_WRONG_STATE, "the task has ended: %s", run_status_name(r->status));
        answer(m, &err, NULL);
        return;
    }
    error_set(&err, MOAT_E_CANCELLED, "the task was cancelled");
    buf_printf(&out, "{\"id\":\"%s\",\"status\":\"cancelled\"}", r->id);
    run_stop(r, STOP_CANCELLED, &err);
    run_pump(r);
    answer(m, NULL, &out);
}

void orchestrator_cancel(struct orchestrator *o, const char *id, const struct task_asker *asker, service_done done,
                         void *context)
{
    struct error err;
    struct run *r = run_find(o, id);
    if (r) {
        send(r, cancel_it, asker, done, context);
        return;
    }
    error_set(&err, MOAT_E_NOT_FOUND, "no task \"%.40s\" runs", id);
    done(context, &err, NULL);
}

static void show_it(struct loop_task *task)
{
    struct message *m = (struct message *)(void *)task;
    struct error err;
    struct buf out = BUF_INIT(256u << 20);
    document_run(&out, m->run);
    if (out.failed)
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for what the task has to say");
    answer(m, out.failed ? &err : NULL, &out);
    buf_free(&out);
}

/* ---- what is remembered: asked on the planner, whose the reader is ---- */

struct asking {
    struct chore chore;
    struct orchestrator *o;
    char id[ORCHESTRATOR_ID];
    struct task_filter filter;
    char status[16], after[ORCHESTRATOR_ID];
    service_done done;
    void *context;
};

static struct asking *asking_new(struct orchestrator *o, service_done done, void *context)
{
    struct error err;
    struct asking *a = calloc(1, sizeof *a);
    if (!a) {
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory to ask");
        done(context, &err, NULL);
        return NULL;
    }
    a->o = o;
    a->done = done;
    a->context = context;
    return a;
}

static bool add_used(void *context, const struct tasks_record *step)
{
    tasks_used_most(context, &step->used);
    return true;
}

/* As far as the records of its steps say; what cannot be read is told by the host that tries to go on with it. */
static void tell_interrupted(struct buf *out, const struct tasks_row *row, struct tasks_reader *reader)
{
    struct tasks_used used = {0};
    tasks_each_step(reader, row->id, add_used, &used, NULL);
    document_interrupted(out, row);
    tell_raw(out, "steps", "[]");
    tell_open(out, "receipt", '{');
    tell_number(out, "calls", used.calls);
    tell_number(out, "wall_ns", used.time_ns);
    tell_number(out, "ran_ns", used.ran_ns);
    tell_number(out, "cpu_ns", used.cpu_ns);
    tell_number(out, "bytes_in", used.bytes_in);
    tell_number(out, "bytes_out", used.bytes_out);
    tell_raw(out, "plugins_used", "[]");
    tell_close(out, '}');
    tell_close(out, '}');
}

static void show_remembered(struct chore *chore, struct registry_reader *unused)
{
    struct asking *a = (struct asking *)(void *)chore;
    struct buf out = BUF_INIT(512u << 20);
    struct tasks_row row;
    struct error err;
    int rc = a->o->tasks ? tasks_find(a->o->reader, a->id, &row, &out, &err) : 0;
    if (rc == 0)
        rc = error_set(&err, MOAT_E_NOT_FOUND, "there is no task \"%.40s\": `moat task list` shows them", a->id);
    else if (rc == 1 && !row.ended_ns)
        tell_interrupted(&out, &row, a->o->reader);
    a->done(a->context, rc < 0 ? &err : NULL, &out);
    buf_free(&out);
    free(a);
}

void orchestrator_show(struct orchestrator *o, const char *id, service_done done, void *context)
{
    struct run *r = run_find(o, id);
    if (r) {
        send(r, show_it, NULL, done, context); /* it may have ended when this comes there: that is told as well */
        return;
    }
    struct asking *a = asking_new(o, done, context);
    if (!a)
        return;
    if (!text_copy(a->id, sizeof a->id, id))
        *a->id = '\0'; /* nobody's */
    a->chore.work = show_remembered;
    planner_post(o->planner, &a->chore);
}

/* ---- those that run ---- */

struct listed {
    struct run **list;
    size_t n, cap;
};

static int newest_first(const void *a, const void *b)
{
    const struct run *const *x = a, *const *y = b;
    return (*x)->began_wall_ns < (*y)->began_wall_ns ? 1 : (*x)->began_wall_ns > (*y)->began_wall_ns ? -1 : 0;
}

static void gather_runs(struct orchestrator *o, struct listed *l)
{
    pthread_mutex_lock(&o->lock);
    l->list = malloc((o->running + 1) * sizeof *l->list);
    for (unsigned i = 0; l->list && i < RUN_SLOTS; i++)
        for (struct run *r = o->runs[i]; r; r = r->next)
            l->list[l->n++] = run_ref(r);
    pthread_mutex_unlock(&o->lock);
    if (l->list)
        qsort(l->list, l->n, sizeof *l->list, newest_first);
}

static void tell_listed(struct buf *out, const struct run *r)
{
    tell_open(out, NULL, '{');
    tell_text(out, "id", r->id);
    tell_text(out, "name", r->task->name);
    tell_text(out, "status", run_status_name(RUN_RUNNING));
    tell_time(out, "began", r->began_wall_ns);
    tell_text(out, "ended", NULL);
    tell_close(out, '}');
}

struct listing {
    struct buf out;
    const struct listed *running;
    const struct asking *a;
    int wanted; /* -1: any */
    unsigned left;
};

static const struct run *find_listed(const struct listed *l, const char *id)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->list[i]->id, id) == 0)
            return l->list[i];
    return NULL;
}

static bool tell_row(void *context, const struct tasks_row *row)
{
    struct listing *l = context;
    int status = row->ended_ns ? row->status : find_listed(l->running, row->id) != NULL ? RUN_RUNNING : RUN_INTERRUPTED;
    if (l->wanted >= 0 && status != l->wanted)
        return true;
    tell_open(&l->out, NULL, '{');
    tell_text(&l->out, "id", row->id);
    tell_text(&l->out, "name", *row->name ? row->name : NULL);
    tell_text(&l->out, "status", run_status_name((enum run_status)status));
    tell_time(&l->out, "began", row->began_ns);
    if (row->ended_ns)
        tell_time(&l->out, "ended", row->ended_ns);
    else
        tell_text(&l->out, "ended", NULL);
    tell_close(&l->out, '}');
    return --l->left > 0;
}

/* Those that are not remembered come first: nobody sees them later. */
static void tell_forgotten(struct listing *l)
{
    for (size_t i = 0; i < l->running->n && l->left; i++)
        if (!l->running->list[i]->kept && (l->wanted < 0 || l->wanted == RUN_RUNNING)) {
            tell_listed(&l->out, l->running->list[i]);
            l->left--;
        }
}

static void list_all(struct chore *chore, struct registry_reader *unused)
{
    struct asking *a = (struct asking *)(void *)chore;
    struct orchestrator *o = a->o;
    struct listed running = {0};
    struct error err;
    struct listing l = {.out = BUF_INIT(64u << 20), .running = &running, .a = a};
    l.wanted = *a->status ? run_status_parse(a->status) : -1;
    l.left = a->filter.limit ? a->filter.limit : 100;
    gather_runs(o, &running);
    tell_open(&l.out, NULL, '{');
    tell_open(&l.out, "tasks", '[');
    if (!*a->after)
        tell_forgotten(&l);
    int of_rows = l.wanted == RUN_INTERRUPTED ? RUN_RUNNING : l.wanted; /* rows know only that it has not ended */
    int rc = o->tasks && l.left ? tasks_each(o->reader, of_rows, *a->after ? a->after : NULL, tell_row, &l, &err) : 0;
    tell_close(&l.out, ']');
    tell_close(&l.out, '}');
    for (size_t i = 0; i < running.n; i++)
        run_unref(running.list[i]);
    free(running.list);
    if (rc == 0 && l.out.failed)
        rc = error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the list");
    a->done(a->context, rc < 0 ? &err : NULL, &l.out);
    buf_free(&l.out);
    free(a);
}

void orchestrator_list(struct orchestrator *o, const struct task_filter *filter, service_done done, void *context)
{
    struct error err;
    if (filter->status && run_status_parse(filter->status) < 0) {
        error_set(&err, MOAT_E_BAD_REQUEST, "there is no status \"%.20s\"", filter->status);
        done(context, &err, NULL);
        return;
    }
    struct asking *a = asking_new(o, done, context);
    if (!a)
        return;
    text_copy(a->status, sizeof a->status, filter->status ? filter->status : "");
    text_copy(a->after, sizeof a->after, filter->after ? filter->after : "");
    a->filter.limit = filter->limit;
    a->chore.work = list_all;
    planner_post(o->planner, &a->chore);
}
