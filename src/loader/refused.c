/* What a walled helper of a running call refused: counted as the plugin's denial, for the call that runs. */
#include <stdlib.h>

#include "base/text.h"
#include "loader/denials.h"

struct report {
    struct loop_task task;
    struct worker *w; /* a reference */
    struct refused refused;
};

static void run(struct loop_task *task)
{
    struct report *r = (struct report *)(void *)task;
    denial_count(r->w, &r->refused);
    worker_unref(r->w);
    free(r);
}

/* A reference to the worker of that number, or NULL. */
static struct worker *find(struct loader *l, const char *plugin, uint64_t number)
{
    struct plugin *p = table_find(l, plugin);
    struct worker *found = NULL;
    if (!p)
        return NULL;
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < PLUGIN_SLOTS && !found; i++)
        if (p->roster[i] && p->roster[i]->number == number)
            found = p->roster[i];
    if (found)
        atomic_fetch_add(&found->refs, 1);
    pthread_mutex_unlock(&p->lock);
    return found;
}

void loader_refused(struct loader *l, const char *plugin, uint64_t worker, const char *operation, const char *object)
{
    struct worker *w = find(l, plugin, worker);
    struct report *r = w ? calloc(1, sizeof *r) : NULL;
    if (!r) {
        if (w)
            worker_unref(w);
        return;
    }
    struct explain_event *ev = &r->refused.event;
    ev->denied = true;
    ev->permission = -1;
    text_copy(ev->operation, sizeof ev->operation, operation);
    text_copy(ev->object, sizeof ev->object, object);
    text_copy(ev->wall, sizeof ev->wall, "sql helper");
    r->w = w;
    r->task.run = run;
    r->refused.action = atomic_load_explicit(&w->running, memory_order_relaxed);
    lines_call_now(w, r->refused.action, r->refused.call);
    loop_post(l->explain, &r->task);
}
