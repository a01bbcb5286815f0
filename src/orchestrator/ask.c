/* What is asked of tasks that run: cancel, show, list. */
#include <stdlib.h>
#include <string.h>

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

static void send(struct orchestrator *o, const char *id, void (*receive)(struct loop_task *task),
                 const struct task_asker *asker, service_done done, void *context)
{
    struct error err;
    struct message *m = malloc(sizeof *m);
    struct run *r = m ? run_find(o, id) : NULL;
    if (!r) {
        free(m);
        if (m)
            error_set(&err, MOAT_E_NOT_FOUND, "no task \"%.40s\" runs", id);
        else
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
    send(o, id, cancel_it, asker, done, context);
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

void orchestrator_show(struct orchestrator *o, const char *id, service_done done, void *context)
{
    send(o, id, show_it, NULL, done, context);
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

void orchestrator_list(struct orchestrator *o, const struct task_filter *filter, service_done done, void *context)
{
    struct listed l = {0};
    struct error err;
    struct buf out = BUF_INIT(64u << 20);
    if (filter->status && run_status_parse(filter->status) < 0) {
        error_set(&err, MOAT_E_BAD_REQUEST, "there is no status \"%.20s\"", filter->status);
        done(context, &err, NULL);
        return;
    }
    gather_runs(o, &l);
    size_t from = 0, limit = filter->limit ? filter->limit : 100;
    while (filter->after && from < l.n && strcmp(l.list[from++]->id, filter->after) != 0)
        ;
    tell_open(&out, NULL, '{');
    tell_open(&out, "tasks", '[');
    bool wanted = !filter->status || strcmp(filter->status, "running") == 0;
    for (size_t i = from; wanted && i < l.n && i - from < limit; i++)
        tell_listed(&out, l.list[i]);
    tell_close(&out, ']');
    tell_close(&out, '}');
    for (size_t i = 0; i < l.n; i++)
        run_unref(l.list[i]);
    free(l.list);
    if (out.failed)
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the list");
    done(context, out.failed ? &err : NULL, &out);
    buf_free(&out);
}
