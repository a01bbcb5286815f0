#include "orchestrator/score.h"

#include <math.h>

#include "base/clock.h"

#define HEALTH 0.40f
#define SUCCESS 0.30f
#define SPEED 0.20f
#define THRIFT 0.10f
#define EXPLORE 0.25f
#define EXPLORE_MOST 0.5f
#define HALF_NS (100 * NS_PER_MS)

static void set(_Atomic float *to, float value)
{
    atomic_store_explicit(to, value, memory_order_relaxed);
}

static float get(const _Atomic float *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

static void renew(struct offer *o, float health, const struct loader_merits *f)
{
    uint64_t runs = f->runs, faults = f->faults < runs ? f->faults : runs;
    float n = (float)(runs ? runs : 1);
    float success = (float)(runs - faults + 1) / (float)(runs + 2);
    float speed = 1 / (1 + (float)f->ran_ns / n / (float)HALF_NS),
          thrift = 1 / (1 + (float)f->cpu_ns / n / (float)HALF_NS);
    set(&o->health, health);
    set(&o->success, success);
    set(&o->speed, speed);
    set(&o->thrift, thrift);
    set(&o->base, HEALTH * health + SUCCESS * success + SPEED * speed + THRIFT * thrift);
    atomic_store_explicit(&o->runs, runs, memory_order_relaxed);
    atomic_store_explicit(&o->closed, f->closed, memory_order_relaxed);
}

void score_unknown(struct offer *o)
{
    renew(o, 0.8f, &(struct loader_merits){0});
}

void score_figures(struct offer *o, const struct loader_merits *f)
{
    static const float healths[] = {
        [HEALTH_UNKNOWN] = 0.8f, [HEALTH_HEALTHY] = 1, [HEALTH_DEGRADED] = 0.4f, [HEALTH_FAILED] = 0};
    renew(o, f->closed ? 0 : healths[f->health], f);
}

float score_exploration(uint64_t runs, float log_of_all)
{
    float bonus = EXPLORE * sqrtf(log_of_all / (float)(1 + runs));
    return bonus < EXPLORE_MOST ? bonus : EXPLORE_MOST;
}

float score_log_of_all(const struct choice *c)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < c->n; i++)
        all += atomic_load_explicit(&c->list[i].offer->runs, memory_order_relaxed);
    return logf((float)(1 + all));
}

int64_t score_best(const struct choice *c, const uint64_t *mask, int64_t avoid)
{
    float log_of_all = score_log_of_all(c), best = -1;
    int64_t found = -1;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct offer *o = c->list[i].offer;
        if ((int64_t)i == avoid || (mask && !(mask[i / 64] >> i % 64 & 1)))
            continue;
        float score =
            get(&o->base) + score_exploration(atomic_load_explicit(&o->runs, memory_order_relaxed), log_of_all);
        if (score > best) {
            best = score;
            found = i;
        }
    }
    return found < 0 && avoid >= 0 ? avoid : found;
}
