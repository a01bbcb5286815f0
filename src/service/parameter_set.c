/* Changing parameters: by whom, why, and what the guard makes of it.  One change at a time, together with those of the
 * settings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"
#include "service/setting.h"
#include "service/tell.h"

#define ONE_AT_A_TIME "(settings)"

struct parameter_op {
    struct op op;
    char name[PARAMETER_NAME_MAX + 1]; /* "": all */
    char *value;
    char why[PARAMETER_REASON_MAX + 1];
    bool guard;
    uint64_t number; /* of the change that is to be taken back */
    char *from, *to; /* while it is changed */
};

static void clear(struct op *op)
{
    struct parameter_op *o = (struct parameter_op *)op;
    free(o->value);
    free(o->from);
    free(o->to);
}

/* ---- telling ---- */

static void tell_change(struct buf *out, const struct parameter_change *c)
{
    tell_open(out, NULL, '{');
    tell_number(out, "number", c->number);
    tell_time(out, "time", c->wall_ns);
    tell_raw(out, "from", c->from);
    tell_raw(out, "to", c->to);
    tell_text(out, "who", c->who);
    tell_text(out, "why", c->why);
    tell_text(out, "guard", parameter_guard_name(c->guard));
    tell_text(out, "guard_why", c->guard_why);
    tell_close(out, '}');
}

static void tell_bounds(struct buf *out, const struct parameter *one)
{
    if (one->setting && setting_has_bounds(one->setting)) {
        setting_tell_bounds(out, one->setting, "min", "max");
        tell_raw(out, "step", NULL);
    } else if (one->bounded) {
        tell_real(out, "min", one->min);
        tell_real(out, "max", one->max);
        tell_real(out, "step", one->step);
    } else {
        tell_raw(out, "min", NULL);
        tell_raw(out, "max", NULL);
        tell_raw(out, "step", NULL);
    }
}

static void tell_parameter(struct buf *out, struct parameter *one, const struct settings *settings)
{
    tell_open(out, NULL, '{');
    tell_text(out, "name", one->name);
    if (one->setting)
        settings_tell_value(out, "value", one->setting, settings);
    else
        tell_raw(out, "value", one->value);
    tell_bounds(out, one);
    tell_raw(out, "choices", one->choices);
    tell_text(out, "description", one->about);
    tell_text(out, "watched", *one->watched ? one->watched : NULL);
    tell_number(out, "changes", one->changes);
    tell_open(out, "history", '['); /* newest first */
    for (uint64_t n = one->changes; n && one->changes - n < PARAMETER_HISTORY; n--)
        tell_change(out, &one->history[(n - 1) % PARAMETER_HISTORY]);
    tell_close(out, ']');
    tell_close(out, '}');
}

static int no_such(const char *name, struct error *err)
{
    return error_set(err, MOAT_E_NOT_FOUND, "there is no parameter \"%.80s\"", name);
}

static int tell_one(struct parameter_op *o, struct job *job)
{
    struct parameters *p = o->op.s->parameters;
    struct settings now;
    int rc = settings_read(job->reader, &now, &o->op.error);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&p->lock);
    struct parameter *one = parameter_find(p, o->name);
    if (one)
        tell_parameter(&o->op.result, one, &now);
    pthread_mutex_unlock(&p->lock);
    return one ? 0 : no_such(o->name, &o->op.error);
}

static void get(struct op *op, struct job *job)
{
    struct parameter_op *o = (struct parameter_op *)op;
    struct parameters *p = op->s->parameters;
    struct buf *out = &op->result;
    struct settings now;
    int rc = op->code;
    if (rc == 0 && *o->name) {
        op_end(op, tell_one(o, job));
        return;
    }
    if (rc == 0)
        rc = settings_read(job->reader, &now, &op->error);
    if (rc == 0) {
        tell_open(out, NULL, '{');
        tell_open(out, "parameters", '[');
        pthread_mutex_lock(&p->lock);
        for (size_t i = 0; i < p->count; i++)
            tell_parameter(out, p->list[i], &now);
        pthread_mutex_unlock(&p->lock);
        tell_close(out, ']');
        tell_close(out, '}');
    }
    op_end(op, rc);
}

/* ---- making a change: under the key ---- */

static void tell_sink(struct parameters *p, const struct parameter_op *o, const char *who, bool taken_back)
{
    pthread_mutex_lock(&p->sink_lock);
    if (p->sink)
        p->sink(p->sink_context, &(struct service_parameter_change){.name = o->name,
                                                                    .from = o->from,
                                                                    .to = o->to,
                                                                    .who = *who ? who : "host",
                                                                    .why = o->why,
                                                                    .taken_back = taken_back});
    pthread_mutex_unlock(&p->sink_lock);
}

/* The platform's own function, or the registry. */
static int put(struct parameter_op *o, struct job *job, struct parameter *one, const char *value)
{
    struct parameters *p = o->op.s->parameters;
    if (one->setting)
        return settings_change(&o->op, job, one->setting->key, value);
    pthread_mutex_lock(&p->lock);
    bool (*set)(void *context, const char *name, const char *value) = one->set;
    void *context = one->context;
    pthread_mutex_unlock(&p->lock);
    return set(context, one->name, value)
               ? 0
               : error_set(&o->op.error, MOAT_E_WRONG_STATE, "%s: the platform does not take %s", o->name, value);
}

/* Changed, and written into the trail; else it is as it was. */
static int apply(struct parameter_op *o, struct job *job, struct parameter *one, const char *outcome)
{
    struct registry_command c = {
        .verb = REGISTRY_PARAMETER,
        .parameter = {.name = o->name, .from = o->from, .to = o->to, .why = o->why, .outcome = outcome}};
    int rc = put(o, job, one, o->to);
    if (rc == 0 && (rc = op_write(&o->op, &c, &o->op.error)) < 0) {
        struct error first = o->op.error;
        put(o, job, one, o->from);
        o->op.error = first;
    }
    return rc;
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

/* What holds now and what is to hold, as JSON. */
static int prepare(struct parameter_op *o, struct job *job, struct parameter **one)
{
    struct parameters *p = o->op.s->parameters;
    struct settings now;
    int rc = settings_read(job->reader, &now, &o->op.error);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&p->lock);
    *one = parameter_find(p, o->name);
    rc = *one ? parameter_check(*one, o->value, &o->to, &o->op.error) : no_such(o->name, &o->op.error);
    if (rc == 0 && (*one)->setting) {
        struct buf text = BUF_INIT(8192);
        settings_tell_value(&text, NULL, (*one)->setting, &now);
        o->from = copy(buf_text(&text));
        buf_free(&text);
    } else if (rc == 0) {
        o->from = copy((*one)->value);
    }
    pthread_mutex_unlock(&p->lock);
    return rc == 0 && !o->from ? error_set(&o->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for the change") : rc;
}

/* The value, its record, and its guard, when what was before is known. */
static void settle(struct parameter_op *o, struct parameter *one, const struct window_sum *before)
{
    struct parameters *p = o->op.s->parameters;
    char *value = copy(o->to), *from = copy(o->from), *to = copy(o->to);
    pthread_mutex_lock(&p->lock);
    struct parameter_change *last = parameter_last(one);
    if (last && last->guard == PARAMETER_WATCHED) {
        last->guard = PARAMETER_REPLACED;
        atomic_fetch_sub(&p->watching, 1);
    }
    if (value && !one->setting) {
        free(one->value);
        one->value = value;
        value = NULL;
    }
    struct parameter_change *c = parameter_note(one, from, to, o->op.actor, o->why);
    if (!o->guard) {
        text_copy(c->guard_why, sizeof c->guard_why, "it was not asked for");
    } else if (!watch_begin(&one->watch, &watch_change, before, clock_mono_ns())) {
        snprintf(c->guard_why, sizeof c->guard_why, "fewer than %d calls were seen in the hour before", WATCH_LEAST);
    } else {
        c->guard = PARAMETER_WATCHED;
        one->until_ns = clock_mono_ns() + PARAMETER_GUARD_NS;
        atomic_fetch_add(&p->watching, 1);
        monitor_stir(p->s->monitor); /* its time ends also when nothing happens */
    }
    pthread_mutex_unlock(&p->lock);
    free(value);
}

static void set(struct op *op, struct job *job)
{
    struct parameter_op *o = (struct parameter_op *)op;
    struct parameter *one = NULL;
    struct window_sum before = {0};
    int rc = op->code;
    if (rc == 0)
        rc = prepare(o, job, &one);
    if (rc == 0 && strcmp(o->from, o->to) != 0) {
        if (o->guard) /* looks first: what has ended by now ended with the old value */
            monitor_hour(op->s->monitor, one->watched, &before);
        rc = apply(o, job, one, "set");
        if (rc == 0) {
            settle(o, one, &before);
            tell_sink(op->s->parameters, o, op->actor, false);
        }
    }
    op_end(op, rc < 0 ? rc : tell_one(o, job));
}

static struct parameter_op *op_of(struct service *s, const char *name, service_done done, void *context)
{
    struct parameter_op *o = op_new(s, sizeof *o, done, context);
    if (!o)
        return NULL;
    o->op.clear = clear;
    if (name && !text_copy(o->name, sizeof o->name, name))
        o->op.code = no_such(name, &o->op.error);
    return o;
}

void service_parameters(struct service *s, const char *name_or_null, service_done done, void *context)
{
    struct parameter_op *o = op_of(s, name_or_null, done, context);
    if (o)
        op_read(&o->op, get);
}

void service_parameter_set(struct service *s, const char *name, const char *value_json, const char *why_or_null,
                           bool guard, service_done done, void *context)
{
    struct parameter_op *o = op_of(s, name, done, context);
    if (!o)
        return;
    o->guard = guard;
    o->value = strdup(value_json);
    text_plain(o->why, sizeof o->why, why_or_null ? why_or_null : "", why_or_null ? strlen(why_or_null) : 0);
    if (!o->value)
        o->op.code = error_set(&o->op.error, MOAT_E_OUT_OF_MEMORY, "no memory for the value");
    op_begin(&o->op, ONE_AT_A_TIME, set);
}

/* ---- the guard ---- */

void parameters_feed(struct parameters *p, const char *plugin, const struct window_sum *some)
{
    if (!atomic_load_explicit(&p->watching, memory_order_relaxed))
        return;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        struct parameter *one = p->list[i];
        struct parameter_change *last = parameter_last(one);
        if (last && last->guard == PARAMETER_WATCHED && (!*one->watched || strcmp(one->watched, plugin) == 0))
            watch_feed(&one->watch, some);
    }
    pthread_mutex_unlock(&p->lock);
}

static void explain(const struct parameter *one, enum watch_kind k, char *out, size_t size)
{
    const struct sequential_side *after = &one->watch.tests[k].after;
    snprintf(out, size, "%llu of %llu calls %s; before it were %llu of %llu", (unsigned long long)after->bad,
             (unsigned long long)after->n, k == WATCH_ERRORS ? "failed" : "were slow",
             (unsigned long long)one->watch.before[k].bad, (unsigned long long)one->watch.before[k].calls);
}

static void take_back(struct op *op, struct job *job)
{
    struct parameter_op *o = (struct parameter_op *)op;
    struct parameters *p = op->s->parameters;
    pthread_mutex_lock(&p->lock);
    struct parameter *one = parameter_find(p, o->name);
    struct parameter_change *c = one ? parameter_last(one) : NULL;
    bool still = c && c->number == o->number && c->guard == PARAMETER_WORSE;
    if (still) {
        o->from = copy(c->to);
        o->to = copy(c->from);
        snprintf(o->why, sizeof o->why, "taken back: %.180s", c->guard_why);
    }
    pthread_mutex_unlock(&p->lock);
    if (!still) { /* changed again meanwhile */
        op_end(op, 0);
        return;
    }
    int rc = o->from && o->to ? apply(o, job, one, "taken_back")
                              : error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "no memory to take %s back", o->name);
    log_event(rc < 0 ? LOG_ERROR : LOG_WARN, rc < 0 ? "parameter_not_taken_back" : "parameter_taken_back", "parameter",
              o->name, "value", o->to, "why", rc < 0 ? op->error.message : o->why, NULL);
    if (rc == 0) {
        pthread_mutex_lock(&p->lock);
        c->guard = PARAMETER_TAKEN_BACK;
        pthread_mutex_unlock(&p->lock);
        o->guard = false;
        settle(o, one, NULL);
        tell_sink(p, o, "", true);
    }
    op_end(op, rc);
}

static void done(void *context, const struct error *error, struct buf *result)
{
    (void)context, (void)error, (void)result;
}

/* What a test says of a change. */
static enum parameter_guard verdict(const struct parameter *one, uint64_t now, enum watch_kind *kind)
{
    bool fine = true;
    for (int k = 0; k < WATCH_KINDS; k++) {
        const struct sequential *t = &one->watch.tests[k];
        *kind = (enum watch_kind)k;
        if (t->verdict == SEQUENTIAL_WORSE)
            return PARAMETER_WORSE;
        fine = fine && (t->verdict == SEQUENTIAL_FINE || one->watch.before[k].calls < WATCH_LEAST_TIMED);
    }
    fine = fine && one->watch.tests[WATCH_ERRORS].verdict == SEQUENTIAL_FINE;
    *kind = WATCH_ERRORS;
    return fine || now > one->until_ns ? PARAMETER_KEPT : PARAMETER_WATCHED;
}

static void judge(struct parameters *p, struct parameter *one, uint64_t now)
{
    enum watch_kind kind;
    struct parameter_change *c = parameter_last(one);
    if (!c || c->guard != PARAMETER_WATCHED || (c->guard = verdict(one, now, &kind)) == PARAMETER_WATCHED)
        return;
    atomic_fetch_sub(&p->watching, 1);
    explain(one, kind, c->guard_why, sizeof c->guard_why);
    if (c->guard == PARAMETER_KEPT) {
        log_event(LOG_INFO, "parameter_kept", "parameter", one->name, "value", c->to, "why", c->guard_why, NULL);
        return;
    }
    struct parameter_op *o = op_of(p->s, one->name, done, NULL);
    if (!o)
        return;
    o->number = c->number;
    op_begin(&o->op, ONE_AT_A_TIME, take_back);
}

void parameters_judge(struct parameters *p)
{
    if (!atomic_load(&p->watching))
        return;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++)
        judge(p, p->list[i], clock_mono_ns());
    pthread_mutex_unlock(&p->lock);
}
