#include "orchestrator/planner.h"

#include <pthread.h>
#include <stdlib.h>

struct planner {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct line {
        struct chore *first, **end;
    } urgent, rest;
    bool stopping;
    pthread_t thread;
    struct registry_reader *reader;
};

static struct chore *take(struct line *l)
{
    struct chore *c = l->first;
    if (c && !(l->first = c->next))
        l->end = &l->first;
    return c;
}

static struct chore *next_chore(struct planner *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->urgent.first && !p->rest.first && !p->stopping)
        pthread_cond_wait(&p->work, &p->lock);
    struct chore *c = take(p->urgent.first ? &p->urgent : &p->rest);
    pthread_mutex_unlock(&p->lock);
    return c;
}

static void *planner_main(void *argument)
{
    struct planner *p = argument;
    struct chore *c;
    while ((c = next_chore(p)))
        c->work(c, p->reader);
    return NULL;
}

int planner_new(struct registry *registry, struct planner **out, struct error *err)
{
    struct planner *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the planner");
    p->urgent.end = &p->urgent.first;
    p->rest.end = &p->rest.first;
    int rc = registry_reader_new(registry, &p->reader, err);
    if (rc < 0) {
        free(p);
        return rc;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    int errnum = pthread_create(&p->thread, NULL, planner_main, p);
    if (errnum) {
        registry_reader_free(p->reader);
        free(p);
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errnum, "cannot start the planner");
    }
    pthread_setname_np(p->thread, "planner");
    *out = p;
    return 0;
}

static void post(struct planner *p, struct line *l, struct chore *chore)
{
    chore->next = NULL;
    pthread_mutex_lock(&p->lock);
    *l->end = chore;
    l->end = &chore->next;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

void planner_post(struct planner *p, struct chore *chore)
{
    post(p, &p->rest, chore);
}

void planner_post_urgent(struct planner *p, struct chore *chore)
{
    post(p, &p->urgent, chore);
}

void planner_free(struct planner *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    registry_reader_free(p->reader);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->work);
    free(p);
}
