#include "service/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/internal.h"

/* ---- keys ---- */

static bool meet(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || strcmp(a, JOBS_ALL) == 0 || strcmp(b, JOBS_ALL) == 0;
}

/* May it begin: nobody holds its key, and none that came before it waits for it? */
static bool may_begin(const struct jobs *j, const struct op *op)
{
    if (!op->key[0])
        return true;
    if (j->nkeys == sizeof j->keys / sizeof *j->keys)
        return false;
    for (size_t i = 0; i < j->nkeys; i++)
        if (meet(j->keys[i], op->key))
            return false;
    for (const struct op *earlier = j->pending; earlier != op; earlier = earlier->next)
        if (earlier->key[0] && meet(earlier->key, op->key))
            return false;
    return true;
}

static void take_key(struct jobs *j, struct op *op)
{
    if (!op->key[0])
        return;
    memcpy(j->keys[j->nkeys++], op->key, sizeof op->key);
    op->holds = true;
}

static void give_key(struct jobs *j, struct op *op)
{
    for (size_t i = 0; op->holds && i < j->nkeys; i++) {
        if (strcmp(j->keys[i], op->key) != 0)
            continue;
        j->nkeys--;
        memmove(j->keys[i], j->keys[j->nkeys], sizeof j->keys[i]);
        op->holds = false;
    }
}

/* ---- the threads ---- */

static void put(struct op ***end, struct op *op)
{
    op->next = NULL;
    **end = op;
    *end = &op->next;
}

static struct op *take(struct op **list, struct op ***end)
{
    struct op *op = *list;
    if (op && !(*list = op->next))
        *end = list;
    return op;
}

/* Under the lock: what a thread is to run next, taken out of its list; NULL: nothing yet. */
static struct op *pick(struct jobs *j, bool reads_only)
{
    struct op *op = take(&j->reads, &j->reads_end);
    if (op || reads_only)
        return op;
    if ((op = take(&j->ready, &j->ready_end)))
        return op;
    for (struct op **at = &j->pending; (op = *at); at = &op->next) {
        if (!may_begin(j, op))
            continue;
        *at = op->next;
        if (!op->next)
            j->pending_end = at;
        take_key(j, op);
        return op;
    }
    return NULL;
}

static void *jobs_main(void *argument)
{
    struct job *job = argument;
    struct jobs *j = &job->s->jobs;
    struct op *op;
    bool reads_only = job == &j->jobs[JOBS_THREADS - 1];
    pthread_mutex_lock(&j->lock);
    for (;;) {
        while (!(op = pick(j, reads_only)) && !j->stopping)
            pthread_cond_wait(reads_only ? &j->reading : &j->work, &j->lock);
        if (!op)
            break;
        pthread_mutex_unlock(&j->lock);
        op->step(op, job);
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

int jobs_start(struct service *s, struct jobs *j, struct error *err)
{
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->work, NULL);
    pthread_cond_init(&j->reading, NULL);
    pthread_cond_init(&j->idle, NULL);
    j->pending_end = &j->pending;
    j->ready_end = &j->ready;
    j->reads_end = &j->reads;
    for (; j->nthreads < JOBS_THREADS; j->nthreads++) {
        struct job *job = &j->jobs[j->nthreads];
        job->s = s;
        int rc = registry_reader_new(s->registry, &job->reader, err);
        if (rc < 0)
            return rc;
        rc = pthread_create(&j->threads[j->nthreads], NULL, jobs_main, job);
        if (rc) {
            registry_reader_free(job->reader);
            return error_errno(err, MOAT_E_OUT_OF_MEMORY, rc, "cannot start a jobs thread");
        }
        pthread_setname_np(j->threads[j->nthreads], "jobs");
    }
    return 0;
}

void jobs_drain(struct jobs *j)
{
    if (!j->nthreads)
        return;
    pthread_mutex_lock(&j->lock);
    j->closing = true;
    while (j->alive)
        pthread_cond_wait(&j->idle, &j->lock);
    pthread_mutex_unlock(&j->lock);
}

void jobs_stop(struct jobs *j)
{
    if (!j->nthreads)
        return;
    pthread_mutex_lock(&j->lock);
    j->stopping = true;
    pthread_cond_broadcast(&j->work);
    pthread_cond_broadcast(&j->reading);
    pthread_mutex_unlock(&j->lock);
    for (size_t i = 0; i < j->nthreads; i++) {
        pthread_join(j->threads[i], NULL);
        registry_reader_free(j->jobs[i].reader);
    }
    j->nthreads = 0;
}

void jobs_close(struct jobs *j)
{
    if (!j->pending_end)
        return;
    pthread_cond_destroy(&j->idle);
    pthread_cond_destroy(&j->reading);
    pthread_cond_destroy(&j->work);
    pthread_mutex_destroy(&j->lock);
}

/* ---- operations ---- */

/* What the operation held (files, copies) is gone before its answer is heard. */
static void answer(struct op *op, const struct error *error)
{
    if (op->clear)
        op->clear(op);
    op->done(op->context, error, &op->result);
    buf_free(&op->result);
    free(op);
}

static _Thread_local struct {
    char actor[REGISTRY_ACTOR_MAX + 1], call[REGISTRY_CALL_MAX + 1];
} acting;

void service_act_as(const char *actor, const char *call)
{
    snprintf(acting.actor, sizeof acting.actor, "%s", actor ? actor : "");
    snprintf(acting.call, sizeof acting.call, "%s", call ? call : "");
}

static void sign(struct op *op, struct registry_command *command)
{
    command->actor = op->actor[0] ? op->actor : NULL;
    command->call = op->call;
}

int op_write(struct op *op, struct registry_command *command, struct error *err)
{
    sign(op, command);
    return registry_run(op->s->registry, command, err);
}

void op_write_begin(struct op *op, struct registry_command *command)
{
    sign(op, command);
    registry_begin(op->s->registry, command);
}

void *op_new(struct service *s, size_t size, service_done done, void *context)
{
    struct op *op = calloc(1, size);
    if (!op) {
        struct error err;
        struct buf nothing = BUF_INIT(0);
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the operation");
        done(context, &err, &nothing);
        return NULL;
    }
    op->s = s;
    op->done = done;
    op->context = context;
    memcpy(op->actor, acting.actor, sizeof op->actor);
    memcpy(op->call, acting.call, sizeof op->call);
    op->result = BUF_INIT(JOBS_RESULT_MAX);
    return op;
}

static void begin(struct op *op, bool reads, op_step step)
{
    struct jobs *j = &op->s->jobs;
    op->step = step;
    pthread_mutex_lock(&j->lock);
    bool closing = j->closing;
    if (!closing) {
        bool more = j->reads;
        j->alive++;
        put(reads ? &j->reads_end : &j->pending_end, op);
        if (reads)
            pthread_cond_signal(&j->reading);
        if (!reads || more)
            pthread_cond_signal(&j->work);
    }
    pthread_mutex_unlock(&j->lock);
    if (closing) {
        error_set(&op->error, MOAT_E_DRAINING, "Moat is closing");
        answer(op, &op->error);
    }
}

void op_begin(struct op *op, const char *key, op_step step)
{
    snprintf(op->key, sizeof op->key, "%s", key ? key : "");
    begin(op, false, step);
}

void op_read(struct op *op, op_step step)
{
    begin(op, true, step);
}

void op_then(struct op *op, op_step step)
{
    struct jobs *j = &op->s->jobs;
    op->step = step;
    pthread_mutex_lock(&j->lock);
    put(&j->ready_end, op);
    pthread_cond_signal(&j->work);
    pthread_mutex_unlock(&j->lock);
}

void op_rekey(struct op *op, const char *key, op_step step)
{
    struct jobs *j = &op->s->jobs;
    op->step = step;
    snprintf(op->key, sizeof op->key, "%s", key);
    pthread_mutex_lock(&j->lock);
    put(&j->pending_end, op);
    pthread_cond_signal(&j->work);
    pthread_mutex_unlock(&j->lock);
}

void op_end(struct op *op, int code)
{
    struct jobs *j = &op->s->jobs;
    if (code == 0 && op->result.failed)
        code = error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "no memory for the answer");
    /* The key goes first: who hears the answer may begin the next operation at once and finds the way free. */
    pthread_mutex_lock(&j->lock);
    give_key(j, op);
    if (j->pending)
        pthread_cond_broadcast(&j->work);
    pthread_mutex_unlock(&j->lock);
    answer(op, code < 0 ? &op->error : NULL);
    pthread_mutex_lock(&j->lock);
    if (--j->alive == 0)
        pthread_cond_broadcast(&j->idle);
    pthread_mutex_unlock(&j->lock);
}

void *op_wait(struct op *op, op_step step)
{
    op->after = step;
    return op;
}

void op_loader_done(void *context, const struct error *error)
{
    struct op *op = context;
    op->code = error ? -(int)error->code : 0;
    if (error)
        op->error = *error;
    op_then(op, op->after);
}
