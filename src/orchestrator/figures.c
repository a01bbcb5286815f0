/* execution_stats, plugins_used, success_rate: since the orchestrator was opened. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "orchestrator/run.h"
#include "service/tell.h"

struct used {
    char plugin[MANIFEST_NAME_MAX + 1];
    uint64_t done, failed, ran_ns, cpu_ns;
};

static struct used *used_of(struct used *list, size_t *n, size_t cap, const char *plugin)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(list[i].plugin, plugin) == 0)
            return &list[i];
    if (*n == cap)
        return NULL;
    text_copy(list[*n].plugin, sizeof list->plugin, plugin);
    return &list[(*n)++];
}

static size_t gather(struct orchestrator *o, struct used *list, size_t cap)
{
    size_t n = 0;
    for (unsigned p = 0; p < o->places.n; p++)
        for (unsigned i = 0; i < LANE_SLOTS; i++)
            for (const struct lane *l = atomic_load_explicit(&o->places.list[p].lanes[i], memory_order_acquire); l;
                 l = l->next) {
                struct used *u = used_of(list, &n, cap, l->plugin);
                if (!u)
                    continue;
                u->done += atomic_load_explicit(&l->done, memory_order_relaxed);
                u->failed += atomic_load_explicit(&l->failed, memory_order_relaxed);
                u->ran_ns += atomic_load_explicit(&l->ran_ns, memory_order_relaxed);
                u->cpu_ns += atomic_load_explicit(&l->cpu_ns, memory_order_relaxed);
            }
    return n;
}

static int by_plugin(const void *a, const void *b)
{
    return strcmp(((const struct used *)a)->plugin, ((const struct used *)b)->plugin);
}

static void tell_used(struct buf *out, struct used *list, size_t n)
{
    qsort(list, n, sizeof *list, by_plugin);
    tell_open(out, "plugins_used", '[');
    for (size_t i = 0; i < n; i++) {
        tell_open(out, NULL, '{');
        tell_text(out, "plugin", list[i].plugin);
        tell_number(out, "calls", list[i].done);
        tell_number(out, "errors", list[i].failed);
        tell_number(out, "ran_ns", list[i].ran_ns);
        tell_number(out, "cpu_ns", list[i].cpu_ns);
        tell_close(out, '}');
    }
    tell_close(out, ']');
}

static void tell_executions(struct buf *out, struct orchestrator *o, const struct used *list, size_t n)
{
    uint64_t calls = 0, errors = 0;
    for (size_t i = 0; i < n; i++) {
        calls += list[i].done;
        errors += list[i].failed;
    }
    pthread_mutex_lock(&o->lock);
    size_t running = o->running, unwritten = atomic_load(&o->unwritten);
    pthread_mutex_unlock(&o->lock);
    tell_open(out, "execution_stats", '{');
    tell_number(out, "running", running > unwritten ? running - unwritten : 0); /* those have ended */
    for (int i = RUN_SUCCEEDED; i <= RUN_CANCELLED; i++)
        tell_number(out, run_status_name((enum run_status)i), atomic_load(&o->ended[i]));
    tell_open(out, "steps", '{');
    for (int i = OUTCOME_SUCCEEDED; i < OUTCOME_COUNT; i++)
        tell_number(out, task_outcome_name((enum task_outcome)i), atomic_load(&o->over[i]));
    tell_close(out, '}');
    tell_number(out, "calls", calls);
    tell_number(out, "errors", errors);
    tell_close(out, '}');
}

#define USED_MAX 4096

bool orchestrator_stats(struct orchestrator *o, struct buf *out)
{
    struct used *list = calloc(USED_MAX, sizeof *list);
    if (!list)
        return false;
    size_t n = gather(o, list, USED_MAX);
    uint64_t good = atomic_load(&o->ended[RUN_SUCCEEDED]), bad = atomic_load(&o->ended[RUN_FAILED]);
    tell_open(out, NULL, '{');
    tell_executions(out, o, list, n);
    tell_used(out, list, n);
    tell_real(out, "success_rate", good + bad ? (double)good / (double)(good + bad) : NAN);
    tell_close(out, '}');
    free(list);
    return !out->failed;
}
