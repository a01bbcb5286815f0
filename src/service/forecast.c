/* What is to come: calls an hour, from the hours that the registry keeps or from a series of the caller's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/forecast.h"
#include "service/internal.h"
#include "service/tell.h"

#define HORIZON_DEFAULT 24
#define SHOWN 168 /* hours of the past that are told */

struct forecast_op {
    struct op op;
    char name[MANIFEST_NAME_MAX + 1];
    bool starts;        /* of workers, not calls */
    struct hours hours; /* first 0: the series is the caller's, and has no place in time */
    unsigned horizon;
    double limit;
};

static void clear(struct op *op)
{
    free(((struct forecast_op *)op)->hours.series);
}

static int recorded(struct forecast_op *f, struct job *job, struct error *err)
{
    struct registry_plugin plugin;
    struct service *s = f->op.s;
    uint64_t now = clock_wall_ns();
    int rc = f->name[0] ? registry_find_plugin(job->reader, f->name, &plugin, err) : 1;
    if (rc == 0)
        return error_set(err, MOAT_E_NO_SUCH_PLUGIN, "no plugin `%s` is installed", f->name);
    if (rc > 0)
        rc = f->starts ? hours_of_starts(job->reader, pool_most(s) ? pool_most(s) : UINT64_MAX, now, &f->hours, err)
                       : hours_of_calls(job->reader, f->name[0] ? f->name : NULL, now, &f->hours, err);
    return rc;
}

/* ---- telling ---- */

static void tell_model(struct buf *out, const struct forecast *f)
{
    tell_open(out, "model", '{');
    tell_open(out, "seasons", '[');
    for (int i = 0; i < 2; i++)
        if (f->length[i])
            tell_number(out, NULL, f->length[i]);
    tell_close(out, ']');
    tell_real(out, "alpha", f->parameters.level);
    tell_real(out, "beta", f->parameters.trend);
    tell_real(out, "gamma_day", f->parameters.season[0]);
    tell_real(out, "gamma_week", f->parameters.season[1]);
    tell_real(out, "level", f->at_level);
    tell_real(out, "trend", f->at_trend);
    tell_real(out, "deviation", f->deviation);
    tell_real(out, "mase", f->mase < 0 ? NAN : f->mase);
    tell_real(out, "naive_mase", f->naive < 0 ? NAN : f->naive);
    tell_close(out, '}');
}

static void tell_past(struct buf *out, const struct forecast_op *f)
{
    tell_open(out, "past", '[');
    for (size_t i = f->hours.n > SHOWN ? f->hours.n - SHOWN : 0; i < f->hours.n; i++)
        tell_real(out, NULL, f->hours.series[i]);
    tell_close(out, ']');
}

static void tell_ahead(struct buf *out, const char *key, unsigned ahead)
{
    if (ahead)
        tell_number(out, key, ahead);
    else
        tell_raw(out, key, NULL);
}

/* When it will be met: by what is expected, and by the upper end of what is not exceeded nineteen times in twenty. */
static void tell_limit(struct buf *out, const struct forecast_op *f, const struct forecast *model)
{
    unsigned expected = 0, possible = 0;
    for (unsigned h = 1; h <= f->horizon; h++) {
        struct forecast_point p;
        forecast_at(model, h, true, &p);
        if (!expected && p.mean >= f->limit)
            expected = h;
        if (!possible && p.high95 >= f->limit)
            possible = h;
    }
    tell_open(out, "limit", '{');
    tell_real(out, "per_hour", f->limit);
    tell_ahead(out, "expected_ahead", expected);
    tell_ahead(out, "possible_ahead", possible);
    tell_close(out, '}');
}

static void tell_points(struct buf *out, const struct forecast_op *f, const struct forecast *model)
{
    tell_open(out, "forecast", '[');
    for (unsigned h = 1; model && h <= f->horizon; h++) {
        struct forecast_point p;
        forecast_at(model, h, true, &p);
        tell_open(out, NULL, '{');
        tell_number(out, "ahead", h);
        tell_seconds(out, "time", f->hours.first ? (f->hours.last + h) * 3600 : 0);
        tell_real(out, "mean", p.mean);
        tell_real(out, "low80", p.low80);
        tell_real(out, "high80", p.high80);
        tell_real(out, "low95", p.low95);
        tell_real(out, "high95", p.high95);
        tell_close(out, '}');
    }
    tell_close(out, ']');
}

static void tell(struct forecast_op *f, const struct forecast *model)
{
    struct buf *out = &f->op.result;
    char why[160];
    snprintf(why, sizeof why, "%zu hours are known; a trend needs %d, the shape of a day 48, that of a week 336",
             f->hours.n, FORECAST_LEAST);
    tell_open(out, NULL, '{');
    tell_text(out, "plugin", f->name[0] ? f->name : NULL);
    tell_text(out, "period", "1h");
    tell_number(out, "points", f->hours.n);
    tell_flag(out, "enough", model != NULL);
    tell_text(out, "why", model ? NULL : why);
    if (model)
        tell_model(out, model);
    else
        tell_raw(out, "model", NULL);
    if (model && f->limit > 0)
        tell_limit(out, f, model);
    else
        tell_raw(out, "limit", NULL);
    if (f->starts)
        tell_pool(out, "pool", f->op.s);
    else
        tell_raw(out, "pool", NULL);
    tell_past(out, f);
    tell_points(out, f, model);
    tell_close(out, '}');
}

static void forecast(struct op *op, struct job *job)
{
    static const unsigned seasons[2] = {24, 168};
    struct forecast_op *f = (struct forecast_op *)op;
    struct forecast *model = malloc(sizeof *model);
    int rc = f->hours.series ? 0 : recorded(f, job, &op->error);
    if (rc >= 0 && !model)
        rc = error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "no memory for the forecast");
    if (rc >= 0) {
        enum forecast_result done = forecast_fit(f->hours.series, f->hours.n, seasons, model);
        if (done == FORECAST_BAD_VALUE)
            rc = error_set(&op->error, MOAT_E_BAD_PARAMETERS, "/plugin_executions: a value is no number up to 1e15");
        else
            tell(f, done == FORECAST_DONE ? model : NULL);
    }
    free(model);
    op_end(op, rc < 0 ? rc : 0);
}

/* ---- asking ---- */

static int take_series(struct forecast_op *f, const struct service_forecast *asked, struct error *err)
{
    if (asked->n > FORECAST_POINTS_MAX)
        return error_set(err, MOAT_E_TOO_LARGE, "/plugin_executions: %zu points, at most %d are taken", asked->n,
                         FORECAST_POINTS_MAX);
    f->hours.n = asked->n;
    f->hours.series = calloc(asked->n + 1, sizeof *f->hours.series);
    if (!f->hours.series)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the series");
    if (asked->n)
        memcpy(f->hours.series, asked->series, asked->n * sizeof *f->hours.series);
    return 0;
}

static int take(struct forecast_op *f, const struct service_forecast *asked, struct error *err)
{
    struct target t = {0};
    int rc = asked->name ? target_parse(asked->name, false, &t, err) : 0;
    memcpy(f->name, t.name, sizeof f->name);
    f->horizon = asked->horizon ? asked->horizon : HORIZON_DEFAULT;
    f->limit = asked->limit;
    f->starts = asked->starts;
    if (rc == 0 && f->starts && (asked->name || asked->series))
        rc = error_set(err, MOAT_E_BAD_USAGE, "the pool is that of all plugins: name none, and give no series");
    if (rc == 0 && f->horizon > SERVICE_HORIZON_MAX)
        rc = error_set(err, asked->series ? MOAT_E_BAD_PARAMETERS : MOAT_E_BAD_USAGE,
                       "/horizon: more than %d hours ahead are not looked at", SERVICE_HORIZON_MAX);
    return rc == 0 && asked->series ? take_series(f, asked, err) : rc;
}

static void refused(struct op *op, struct job *job)
{
    (void)job;
    op_end(op, -(int)op->error.code);
}

void service_forecast(struct service *s, const struct service_forecast *asked, service_done done, void *context)
{
    struct forecast_op *f = op_new(s, sizeof *f, done, context);
    if (!f)
        return;
    f->op.clear = clear;
    op_begin(&f->op, NULL, take(f, asked, &f->op.error) < 0 ? refused : forecast);
}
