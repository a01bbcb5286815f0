/* Who needs whom: both ways, each neighbour once, and an order in which everything comes after what it needs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/reading.h"

/* Counting sort of the edges by one end: starts[i] is where the neighbours of i begin in list. */
static void sort_edges(const struct reading *r, bool by_needs, uint32_t *starts, uint32_t *list)
{
    uint32_t n = r->task->nsteps;
    memset(starts, 0, (n + 2) * sizeof *starts);
    for (size_t i = 0; i < r->nedges; i++)
        starts[(by_needs ? r->edges[i].needs : r->edges[i].step) + 2]++;
    for (uint32_t i = 0; i < n; i++)
        starts[i + 2] += starts[i + 1];
    for (size_t i = 0; i < r->nedges; i++) {
        const struct edge *e = &r->edges[i];
        list[starts[(by_needs ? e->needs : e->step) + 1]++] = by_needs ? e->step : e->needs;
    }
}

/* The same edge said twice is one. The edges come in the order of their steps, so the mark of a step is enough. */
static bool drop_repeated(struct reading *r)
{
    uint32_t *starts = calloc(r->task->nsteps + 2, sizeof *starts);
    uint32_t *list = calloc(r->nedges + 1, sizeof *list), *mark = calloc(r->task->nsteps, sizeof *mark);
    bool good = starts && list && mark;
    if (good) {
        size_t kept = 0;
        sort_edges(r, false, starts, list);
        for (uint32_t i = 0; i < r->task->nsteps; i++)
            for (uint32_t k = starts[i]; k < starts[i + 1]; k++)
                if (mark[list[k]] != i + 1) {
                    mark[list[k]] = i + 1;
                    r->edges[kept++] = (struct edge){i, list[k]};
                }
        r->nedges = kept;
    }
    free(starts);
    free(list);
    free(mark);
    return good;
}

static bool give_neighbours(struct reading *r)
{
    struct arena *a = &r->task->arena;
    uint32_t n = r->task->nsteps;
    uint32_t *starts = calloc(n + 2, sizeof *starts);
    uint32_t *needs = arena_get(a, r->nedges + 1, sizeof *needs), *heirs = arena_get(a, r->nedges + 1, sizeof *heirs);
    bool good = starts && needs && heirs;
    if (good) {
        sort_edges(r, false, starts, needs);
        for (uint32_t i = 0; i < n; i++) {
            r->steps[i].needs = needs + starts[i];
            r->steps[i].nneeds = starts[i + 1] - starts[i];
        }
        sort_edges(r, true, starts, heirs);
        for (uint32_t i = 0; i < n; i++) {
            r->steps[i].heirs = heirs + starts[i];
            r->steps[i].nheirs = starts[i + 1] - starts[i];
        }
    }
    free(starts);
    return good;
}

/* Every step that is left over needs one that is left over: going back along those ends in a circle. */
static void tell_cycle(struct reading *r, const uint32_t *left)
{
    uint32_t n = r->task->nsteps, at = 0;
    char names[160];
    size_t used = 0;
    while (!left[at])
        at++;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < r->steps[at].nneeds; k++)
            if (left[r->steps[at].needs[k]]) {
                at = r->steps[at].needs[k];
                break;
            }
    uint32_t first = at, length = 0;
    do {
        used += used < sizeof names ? (size_t)snprintf(names + used, sizeof names - used, "%s, ", r->steps[at].id) : 0;
        for (uint32_t k = 0; k < r->steps[at].nneeds; k++)
            if (left[r->steps[at].needs[k]]) {
                at = r->steps[at].needs[k];
                break;
            }
    } while (at != first && ++length < n);
    reading_fault(r, FAULT_CYCLE, r->steps[first].at, "each of these steps waits for the next: %s%s", names,
                  used < sizeof names ? r->steps[first].id : "…");
}

static bool make_order(struct reading *r)
{
    uint32_t n = r->task->nsteps, done = 0, known = 0;
    uint32_t *left = calloc(n, sizeof *left), *order = arena_get(&r->task->arena, n, sizeof *order);
    if (!left || !order) {
        free(left);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        left[i] = r->steps[i].nneeds;
        if (!left[i])
            order[known++] = i;
    }
    for (; done < known; done++) {
        const struct task_step *s = &r->steps[order[done]];
        for (uint32_t k = 0; k < s->nheirs; k++)
            if (--left[s->heirs[k]] == 0)
                order[known++] = s->heirs[k];
    }
    if (done < n)
        tell_cycle(r, left);
    free(left);
    r->task->order = order;
    return done == n;
}

bool graph_make(struct reading *r)
{
    if (drop_repeated(r) && give_neighbours(r))
        return make_order(r);
    r->task->arena.failed = true;
    return false;
}
