#include "service/pool.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "loader/loader.h"
#include "measure/forecast.h"
#include "service/internal.h"
#include "service/tell.h"

#define NS_PER_HOUR (3600 * NS_PER_S)
#define LEAD_NS (300 * NS_PER_S) /* before an hour begins what it needs stands ready */

void pool_open(struct pool *p)
{
    pthread_mutex_init(&p->lock, NULL);
}

void pool_close(struct pool *p)
{
    pthread_mutex_destroy(&p->lock);
}

unsigned pool_most(const struct service *s)
{
    uint64_t least = s->settings.pool, most = s->settings.pool_forecast;
    return least && most > least ? (unsigned)most : 0;
}

/* ---- working it out ---- */

static unsigned whole(double walls, unsigned least, unsigned most)
{
    double n = ceil(walls - 1e-6);
    return n <= least ? least : n >= most ? most : (unsigned)n;
}

/* The hour that goes on, and when it is nearly over the next one too. */
void pool_make(const struct hours *hours, unsigned least, unsigned most, uint64_t now_ns, struct pool_plan *out)
{
    static const unsigned seasons[2] = {24, 168};
    struct forecast *model = malloc(sizeof *model);
    bool late = NS_PER_HOUR - now_ns % NS_PER_HOUR <= LEAD_NS;
    *out = (struct pool_plan){.size = least};
    if (model && forecast_fit(hours->series, hours->n, seasons, model) == FORECAST_DONE) {
        out->enough = true;
        for (unsigned ahead = 1; ahead <= 1u + late; ahead++) {
            struct forecast_point p;
            forecast_at(model, ahead, true, &p);
            out->mean = fmax(out->mean, p.mean);
            out->high = fmax(out->high, p.high95);
        }
        out->size = whole(out->high, least, most);
    }
    free(model);
}

/* Numbers the spans of time for which one plan holds. */
static uint64_t turn_at(uint64_t now_ns)
{
    return now_ns / NS_PER_HOUR + (now_ns + LEAD_NS) / NS_PER_HOUR;
}

uint64_t pool_next(const struct service *s, uint64_t now_ns)
{
    uint64_t hour = (now_ns / NS_PER_HOUR + 1) * NS_PER_HOUR;
    return pool_most(s) && now_ns < hour - LEAD_NS ? hour - LEAD_NS : hour;
}

void pool_look(struct service *s, struct job *job)
{
    struct pool *p = &s->pool;
    struct pool_plan plan;
    struct hours hours;
    struct error err;
    uint64_t now = clock_wall_ns();
    unsigned most = pool_most(s);
    if (!most || turn_at(now) == p->turn)
        return;
    if (hours_of_starts(job->reader, most, now, &hours, &err) == 0) {
        pool_make(&hours, (unsigned)s->settings.pool, most, now, &plan);
        pthread_mutex_lock(&p->lock);
        p->plan = plan;
        p->turn = turn_at(now);
        pthread_mutex_unlock(&p->lock);
        loader_pool_set(s->loader, plan.size);
    } else {
        log_event(LOG_WARN, "pool_not_forecast", "why", err.message, NULL);
    }
    free(hours.series);
}

/* ---- telling ---- */

static struct pool_plan plan_now(struct service *s)
{
    pthread_mutex_lock(&s->pool.lock);
    struct pool_plan plan = s->pool.plan;
    pthread_mutex_unlock(&s->pool.lock);
    return plan;
}

void tell_pool_size(struct buf *out, const char *key, struct service *s)
{
    struct loader_pool now;
    loader_pool(s->loader, &now);
    tell_open(out, key, '{');
    tell_number(out, "size", now.size);
    tell_number(out, "ready", now.ready);
    tell_close(out, '}');
}

static const char *why(const struct service *s, const struct pool_plan *plan)
{
    if (!s->settings.pool)
        return "the setting `pool` is 0: no wall stands ready";
    if (!pool_most(s))
        return "the setting `pool_forecast` is not above `pool`: its size is fixed";
    return plan->enough ? "so many starts at once are not exceeded nineteen times in twenty, within the bounds"
                        : "too little is recorded: its size is the setting `pool`";
}

void tell_pool(struct buf *out, const char *key, struct service *s)
{
    struct pool_plan plan = plan_now(s);
    struct loader_pool now;
    loader_pool(s->loader, &now);
    tell_open(out, key, '{');
    tell_number(out, "size", now.size);
    tell_number(out, "ready", now.ready);
    tell_number(out, "least", s->settings.pool);
    tell_number(out, "most", pool_most(s) ? pool_most(s) : s->settings.pool);
    tell_text(out, "by", plan.enough ? "forecast" : "setting");
    tell_real(out, "expected", plan.enough ? plan.mean : NAN);
    tell_real(out, "possible", plan.enough ? plan.high : NAN);
    tell_text(out, "why", why(s, &plan));
    tell_close(out, '}');
}

static void gauge(struct buf *out, const char *name, const char *help, double n)
{
    buf_printf(out, "# TYPE moat_%s gauge\n# HELP moat_%s %s\nmoat_%s %.17g\n", name, name, help, name, n);
}

void metrics_pool(struct buf *out, struct service *s)
{
    struct pool_plan plan = plan_now(s);
    struct loader_pool now;
    loader_pool(s->loader, &now);
    gauge(out, "pool_size", "Half-built walls that are to stand ready.", now.size);
    gauge(out, "pool_ready", "Half-built walls that stand ready.", now.ready);
    if (plan.enough)
        gauge(out, "pool_forecast", "Starts at once that are not exceeded nineteen times in twenty.", plan.high);
}
