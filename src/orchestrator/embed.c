/* moat/moat.h's functions over tasks. */
#include <moat/moat.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/orchestrator.h"
#include "service/embed.h"

static int put_error(struct moat_error *out, const struct error *err)
{
    if (out) {
        out->code = err->code;
        snprintf(out->message, sizeof out->message, "%s", err->message);
        snprintf(out->detail, sizeof out->detail, "%s", err->detail);
        out->id[0] = '\0';
    }
    return (int)err->code;
}

/* ---- one task ---- */

#define BEFORE_EVENTS offsetof(struct moat_task_data, on_event) /* its size in programs that know none */

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    struct error error;
    char *json;
};
#define WAIT ((struct wait){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER})

static void tell(struct wait *w)
{
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void wait_for(struct wait *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

struct begun {
    struct moat_task_data *data;
    void (*done)(struct moat_task_data *task); /* or */
    struct wait *wait;
};

static void tell_done(const struct begun *b)
{
    if (b->wait)
        tell(b->wait);
    else
        b->done(b->data);
}

static void finished(void *context, const struct error *error, struct buf *result)
{
    struct begun *b = context;
    struct moat_task_data *d = b->data;
    d->code = error ? put_error(&d->error, error) : MOAT_E_OK;
    if (!error) {
        d->json = (char *)buf_steal(result, &d->json_len);
        d->json[d->json_len] = '\0'; /* in the padding */
    }
    tell_done(b);
    free(b);
}

static void tell_event(void *context, const char *event, const char *json, size_t len)
{
    struct moat_task_data *d = ((struct begun *)context)->data;
    d->on_event(d, event, json);
}

/* false: it is answered already. */
static bool fail(struct moat_task_data *d, const struct error *err)
{
    d->code = put_error(&d->error, err);
    return false;
}

static bool usable(struct moat_task_data *d, struct begun **out)
{
    struct error err;
    d->json = NULL;
    d->json_len = 0;
    if (d->size < BEFORE_EVENTS || !d->task) {
        error_set(&err, MOAT_E_BAD_USAGE, "a task needs its size and its text");
        return fail(d, &err);
    }
    *out = malloc(sizeof **out);
    if (*out)
        return true;
    error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the task");
    return fail(d, &err);
}

static void begin(struct moat *m, const struct begun *what)
{
    struct moat_task_data *task = what->data;
    struct begun *b;
    struct error err;
    struct orchestrator *o = orchestrator_of(moat_service(m), &err);
    if (!o)
        fail(task, &err);
    if (!o || !usable(task, &b)) {
        tell_done(what);
        return;
    }
    *b = *what;
    bool tells = task->size >= sizeof *task && task->on_event;
    struct task_request request = {.text = task->task,
                                   .len = task->task_len ? task->task_len : strlen(task->task),
                                   .asker = {.everything = true, .actor = "host"},
                                   .explain = task->explain,
                                   .told = tells ? tell_event : NULL,
                                   .done = finished,
                                   .context = b};
    orchestrator_run(o, &request, NULL);
}

void moat_orchestrator_begin(struct moat *m, struct moat_task_data *task, void (*done)(struct moat_task_data *task))
{
    begin(m, &(struct begun){.data = task, .done = done});
}

int moat_orchestrator_execute(struct moat *m, struct moat_task_data *task)
{
    struct wait w = WAIT;
    begin(m, &(struct begun){.data = task, .wait = &w});
    wait_for(&w);
    return task->code;
}

/* ---- the others ---- */

static void selected(void *context, const struct error *error, struct buf *result)
{
    struct wait *w = context;
    size_t len;
    if (error)
        w->error = *error;
    else
        w->json = (char *)buf_steal(result, &len);
    tell(w);
}

int moat_orchestrator_select(struct moat *m, const char *request, char **json, struct moat_error *error)
{
    struct wait w = WAIT;
    struct task_asker asker = {.everything = true};
    struct orchestrator *o = orchestrator_of(moat_service(m), &w.error);
    if (!o)
        return put_error(error, &w.error);
    orchestrator_select(o, request, strlen(request), &asker, selected, &w);
    wait_for(&w);
    if (w.error.code)
        return put_error(error, &w.error);
    *json = w.json;
    return MOAT_E_OK;
}

int moat_orchestrator_stats(struct moat *m, char **json, struct moat_error *error)
{
    struct error err;
    size_t len;
    struct buf out = BUF_INIT(4 << 20);
    struct orchestrator *o = orchestrator_of(moat_service(m), &err);
    if (!o)
        return put_error(error, &err);
    if (orchestrator_stats(o, &out)) {
        *json = (char *)buf_steal(&out, &len);
        return MOAT_E_OK;
    }
    buf_free(&out);
    error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the figures");
    return put_error(error, &err);
}
