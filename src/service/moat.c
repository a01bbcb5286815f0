/* libmoat: the service as an embedding program sees it.  Maps, waits and hands over; decides nothing. */
#include <moat/moat.h>

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "service/embed.h"
#include "service/service.h"

#define MANY 1024 /* calls that moat_call_many hands over at once */
#define CLOSE_GRACE_NS (2 * NS_PER_S)

struct moat {
    struct service *s;
    struct secrets secrets;
    _Atomic(struct call *) spare; /* MANY of them, for the next moat_call_many */
    pthread_mutex_t front_lock;
    void *front; /* see embed.h */
    void (*front_free)(void *front);
    _Atomic unsigned turn;     /* of the loops, for moat_call_begin */
    pthread_mutex_t told_lock; /* one moat_on_metric at a time */
    void (*told)(void *context, const struct moat_metric_report *report);
    void *told_context;
    void (*changed)(void *context, const struct moat_parameter_change *change);
    void *changed_context;
};

/* ---- errors ---- */

static int put_error(struct moat_error *out, const struct error *err, const char *id)
{
    if (out) {
        out->code = err->code;
        snprintf(out->message, sizeof out->message, "%s", err->message);
        snprintf(out->detail, sizeof out->detail, "%s", err->detail);
        snprintf(out->id, sizeof out->id, "%s", id);
    }
    return (int)err->code;
}

static int fail(struct moat_error *out, enum moat_code code, const char *message)
{
    struct error err;
    error_set(&err, code, "%s", message);
    return put_error(out, &err, "");
}

const char *moat_code_name(int code)
{
    return error_info(code)->name;
}

void moat_free(void *memory)
{
    free(memory);
}

/* ---- open and close ---- */

static int resolve(const struct moat_options *o, struct service_options *out, char worker[PATH_MAX],
                   char helper[PATH_MAX], struct error *err)
{
    out->auto_load = o->auto_load;
    int rc = home_resolve(o->home, o->plugin_dir, o->registry_dir, &out->home, err);
    out->home.mode = o->disable_security ? HOME_DEVELOPMENT : HOME_SECURE;
    if (rc < 0 || !o->libexec)
        return rc;
    if ((size_t)snprintf(worker, PATH_MAX, "%s/moat-worker", o->libexec) >= PATH_MAX ||
        (size_t)snprintf(helper, PATH_MAX, "%s/moat-helper", o->libexec) >= PATH_MAX)
        return error_set(err, MOAT_E_BAD_USAGE, "libexec is too long a path");
    out->worker_path = worker;
    out->helper_path = helper;
    return 0;
}

int moat_open(const struct moat_options *options, struct moat **out, struct moat_error *error)
{
    static const struct moat_options defaults = {.size = sizeof defaults};
    const struct moat_options *o = options ? options : &defaults;
    if (o->size < sizeof *o)
        return fail(error, MOAT_E_BAD_USAGE, "set moat_options.size to sizeof (struct moat_options)");
    char worker[PATH_MAX], helper[PATH_MAX];
    struct service_options so = {0};
    struct error err;
    struct moat *m = calloc(1, sizeof *m);
    if (!m)
        return fail(error, MOAT_E_OUT_OF_MEMORY, "no memory for Moat");
    pthread_mutex_init(&m->front_lock, NULL);
    pthread_mutex_init(&m->told_lock, NULL);
    int rc = resolve(o, &so, worker, helper, &err);
    if (rc == 0)
        rc = secrets_read(&m->secrets, &err);
    so.secrets = &m->secrets;
    if (rc == 0)
        rc = service_open(&so, &m->s, &err);
    if (rc < 0) {
        secrets_free(&m->secrets);
        free(m);
        return put_error(error, &err, "");
    }
    *out = m;
    return MOAT_E_OK;
}

void moat_close(struct moat *m)
{
    if (!m)
        return;
    service_close(m->s, CLOSE_GRACE_NS);
    if (m->front)
        m->front_free(m->front);
    pthread_mutex_destroy(&m->front_lock);
    pthread_mutex_destroy(&m->told_lock);
    secrets_free(&m->secrets);
    free(atomic_load(&m->spare));
    free(m);
}

struct service *moat_service(struct moat *m)
{
    return m->s;
}

void *moat_front(struct moat *m, void *(*make)(struct service *s), void (*free)(void *front))
{
    pthread_mutex_lock(&m->front_lock);
    if (!m->front)
        m->front = make(m->s);
    m->front_free = free;
    void *front = m->front;
    pthread_mutex_unlock(&m->front_lock);
    return front;
}

/* ---- operations: begin, and wait ---- */

struct wait {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    struct error error; /* code 0: it worked */
    char *json;
};

#define WAIT ((struct wait){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER})

static void finished(void *context, const struct error *error, struct buf *result)
{
    struct wait *w = context;
    size_t len;
    pthread_mutex_lock(&w->lock);
    if (error)
        w->error = *error;
    else
        w->json = (char *)buf_steal(result, &len);
    w->done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/* The code; the JSON goes to *json or away. */
static int wait_for(struct wait *w, char **json, struct moat_error *error)
{
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    if (w->error.code)
        return put_error(error, &w->error, "");
    if (json)
        *json = w->json;
    else
        free(w->json);
    return MOAT_E_OK;
}

int moat_install(struct moat *m, const char *path, const struct moat_install_options *options, char **json,
                 struct moat_error *error)
{
    static const struct moat_install_options defaults = {.size = sizeof defaults};
    const struct moat_install_options *o = options ? options : &defaults;
    if (o->size < sizeof *o)
        return fail(error, MOAT_E_BAD_USAGE, "set moat_install_options.size to sizeof (struct moat_install_options)");
    struct service_install in = {.path = path,
                                 .grants = o->grants,
                                 .ngrants = o->ngrants,
                                 .load = o->load,
                                 .use = o->use,
                                 .allow_older = o->allow_older};
    struct wait w = WAIT;
    service_install(m->s, &in, finished, &w);
    return wait_for(&w, json, error);
}

int moat_validate(struct moat *m, const char *path, char **json, struct moat_error *error)
{
    struct wait w = WAIT;
    service_validate(m->s, path, NULL, false, NULL, finished, &w);
    return wait_for(&w, json, error);
}

int moat_uninstall(struct moat *m, const char *what, bool purge, struct moat_error *error)
{
    struct wait w = WAIT;
    service_uninstall(m->s, what, purge, finished, &w);
    return wait_for(&w, NULL, error);
}

int moat_load(struct moat *m, const char *what, struct moat_error *error)
{
    struct wait w = WAIT;
    service_load(m->s, what, finished, &w);
    return wait_for(&w, NULL, error);
}

int moat_unload(struct moat *m, const char *name, struct moat_error *error)
{
    struct wait w = WAIT;
    service_unload(m->s, name, finished, &w);
    return wait_for(&w, NULL, error);
}

int moat_grant(struct moat *m, const char *name, const char *grant, struct moat_error *error)
{
    struct wait w = WAIT;
    service_grant(m->s, name, grant, NULL, finished, &w);
    return wait_for(&w, NULL, error);
}

int moat_revoke(struct moat *m, const char *name, const char *grant, struct moat_error *error)
{
    struct wait w = WAIT;
    service_revoke(m->s, name, grant, finished, &w);
    return wait_for(&w, NULL, error);
}

int moat_trust_add(struct moat *m, const char *publisher, const char *public_key_pem, const char *names,
                   struct moat_error *error)
{
    struct wait w = WAIT;
    service_trust_add(m->s, publisher, public_key_pem, names, finished, &w);
    return wait_for(&w, NULL, error);
}

int moat_list(struct moat *m, char **json, struct moat_error *error)
{
    struct wait w = WAIT;
    struct service_filter all = {.limit = UINT_MAX};
    service_available(m->s, &all, finished, &w);
    return wait_for(&w, json, error);
}

int moat_info(struct moat *m, const char *what, char **json, struct moat_error *error)
{
    struct wait w = WAIT;
    service_info(m->s, what, finished, &w);
    return wait_for(&w, json, error);
}

int moat_stats(struct moat *m, char **json, struct moat_error *error)
{
    struct wait w = WAIT;
    service_stats(m->s, finished, &w);
    return wait_for(&w, json, error);
}

#define BEFORE_POOL offsetof(struct moat_forecast_options, pool) /* its size in programs that know none */

int moat_forecast(struct moat *m, const struct moat_forecast_options *options, char **json, struct moat_error *error)
{
    static const struct moat_forecast_options defaults = {.size = sizeof defaults};
    const struct moat_forecast_options *o = options ? options : &defaults;
    if (o->size < BEFORE_POOL)
        return fail(error, MOAT_E_BAD_USAGE, "set moat_forecast_options.size to sizeof (struct moat_forecast_options)");
    struct wait w = WAIT;
    struct service_forecast asked = {.name = o->plugin,
                                     .series = o->plugin_executions,
                                     .n = o->n,
                                     .horizon = o->horizon,
                                     .limit = o->limit,
                                     .starts = o->size >= sizeof *o && o->pool};
    service_forecast(m->s, &asked, finished, &w);
    return wait_for(&w, json, error);
}

/* ---- the monitor ---- */

int moat_record_metric(struct moat *m, const struct moat_metric *metric, struct moat_error *error)
{
    struct error err;
    if (metric->size < sizeof *metric || !metric->plugin || !metric->action)
        return fail(error, MOAT_E_BAD_USAGE, "a metric needs its size, a plugin and an action");
    int rc = service_record(m->s,
                            &(struct service_metric){.plugin = metric->plugin,
                                                     .action = metric->action,
                                                     .success = metric->success,
                                                     .duration_ns = metric->duration_ns},
                            &err);
    return rc < 0 ? put_error(error, &err, "") : MOAT_E_OK;
}

int moat_monitor(struct moat *m, const char *plugin, char **json, struct moat_error *error)
{
    struct wait w = WAIT;
    service_monitor(m->s, plugin, finished, &w);
    return wait_for(&w, json, error);
}

static void report(void *context, const struct service_metric_report *r)
{
    struct moat *m = context;
    m->told(m->told_context, &(struct moat_metric_report){.size = sizeof(struct moat_metric_report),
                                                          .plugin = r->plugin,
                                                          .action = r->action,
                                                          .platform = r->platform,
                                                          .calls = r->calls,
                                                          .failed = r->failed,
                                                          .p50_ns = r->p50_ns,
                                                          .p99_ns = r->p99_ns,
                                                          .errors_anomaly = r->errors_anomaly,
                                                          .latency_anomaly = r->latency_anomaly});
}

/* The sink is taken off before what it calls is changed. */
void moat_on_metric(struct moat *m, void (*told)(void *context, const struct moat_metric_report *report), void *context)
{
    pthread_mutex_lock(&m->told_lock);
    service_on_metric(m->s, NULL, NULL);
    m->told = told;
    m->told_context = context;
    if (told)
        service_on_metric(m->s, report, m);
    pthread_mutex_unlock(&m->told_lock);
}

/* ---- parameters ---- */

int moat_register_parameter(struct moat *m, const struct moat_parameter *parameter, struct moat_error *error)
{
    struct error err;
    const struct moat_parameter *d = parameter;
    if (d->size < sizeof *d || !d->name)
        return fail(error, MOAT_E_BAD_USAGE, "a parameter needs its size and a name");
    int rc = service_register_parameter(m->s,
                                        &(struct service_parameter){.name = d->name,
                                                                    .current = d->current,
                                                                    .about = d->about,
                                                                    .choices = d->choices,
                                                                    .watched = d->watched,
                                                                    .bounded = d->bounded,
                                                                    .min = d->min,
                                                                    .max = d->max,
                                                                    .step = d->step,
                                                                    .set = d->set,
                                                                    .context = d->context},
                                        &err);
    return rc < 0 ? put_error(error, &err, "") : MOAT_E_OK;
}

int moat_parameter(struct moat *m, const char *name, char **json, struct moat_error *error)
{
    struct wait w = WAIT;
    service_parameters(m->s, name, finished, &w);
    return wait_for(&w, json, error);
}

int moat_set_parameter(struct moat *m, const char *name, const char *value, const char *why, bool guard, char **json,
                       struct moat_error *error)
{
    struct wait w = WAIT;
    if (!name || !value)
        return fail(error, MOAT_E_BAD_USAGE, "a change needs a name and a value");
    service_parameter_set(m->s, name, value, why, guard, finished, &w);
    return wait_for(&w, json, error);
}

static void changed(void *context, const struct service_parameter_change *c)
{
    struct moat *m = context;
    m->changed(m->changed_context, &(struct moat_parameter_change){.size = sizeof(struct moat_parameter_change),
                                                                   .name = c->name,
                                                                   .from = c->from,
                                                                   .to = c->to,
                                                                   .who = c->who,
                                                                   .why = c->why,
                                                                   .taken_back = c->taken_back});
}

void moat_on_parameter(struct moat *m, void (*told)(void *context, const struct moat_parameter_change *change),
                       void *context)
{
    pthread_mutex_lock(&m->told_lock);
    service_on_parameter(m->s, NULL, NULL);
    m->changed = told;
    m->changed_context = context;
    if (told)
        service_on_parameter(m->s, changed, m);
    pthread_mutex_unlock(&m->told_lock);
}

/* ---- calls ---- */

/* Field by field: the room for messages, most of the struct, is not touched for a call that goes well. */
static void fill(struct call *c, const struct moat_call_data *d)
{
    c->plugin = d->plugin;
    c->action = d->action;
    c->parameters = d->parameters ? d->parameters : "{}";
    c->parameters_len = d->parameters_len ? d->parameters_len : strlen(c->parameters);
    c->deadline_ns = d->deadline_ns;
    c->traceparent[0] = '\0';
    c->principal = 0;
    c->loop = NULL;
    c->at_once = false;
    c->done = NULL;
    c->told = NULL;
    c->context = NULL;
    c->code = 0;
    c->error.code = MOAT_E_OK;
    c->error.message[0] = c->error.detail[0] = '\0';
    c->result = NULL;
    c->result_len = 0;
    c->id[0] = '\0';
    memset(&c->receipt, 0, sizeof c->receipt);
    c->next = NULL;
    memset(c->internal, 0, sizeof c->internal);
}

/* What came out of it; the result's memory changes hands, it is not copied. */
static void hand_over(struct call *c, struct moat_call_data *d)
{
    d->code = -c->code;
    d->result = NULL;
    d->result_len = 0;
    d->receipt = (struct moat_receipt){.queued_ns = c->receipt.queued_ns,
                                       .ran_ns = c->receipt.ran_ns,
                                       .cpu_ns = c->receipt.cpu_ns,
                                       .bytes_in = c->receipt.bytes_in,
                                       .bytes_out = c->receipt.bytes_out};
    if (c->code < 0) {
        put_error(&d->error, &c->error, c->id);
        free(c->result);
        return;
    }
    c->result[c->result_len] = 0; /* in the padding */
    d->result = (char *)c->result;
    d->result_len = c->result_len;
}

/* false: it is answered already. */
static bool usable(struct moat_call_data *d)
{
    if (d->size >= sizeof *d && d->plugin && d->action)
        return true;
    d->result = NULL;
    d->result_len = 0;
    d->code = fail(&d->error, MOAT_E_BAD_USAGE, "a call needs its size, a plugin and an action");
    return false;
}

int moat_call(struct moat *m, struct moat_call_data *call)
{
    struct call c, *list = &c;
    if (!usable(call))
        return call->code;
    fill(&c, call);
    call_run(service_loader(m->s), &list, 1);
    hand_over(&c, call);
    return call->code;
}

/* One round: those of calls[0..n) that can be used, n at most MANY. The number that failed. */
static size_t run_round(struct moat *m, struct call *room, struct moat_call_data *calls, size_t n)
{
    struct call *list[MANY];
    size_t count = 0, failed = 0;
    for (size_t i = 0; i < n; i++) {
        if (!usable(&calls[i])) {
            failed++;
            continue;
        }
        fill(&room[i], &calls[i]);
        room[i].context = &calls[i];
        list[count++] = &room[i];
    }
    call_run(service_loader(m->s), list, count);
    for (size_t i = 0; i < count; i++) {
        hand_over(list[i], list[i]->context);
        failed += list[i]->code < 0;
    }
    return failed;
}

static size_t fail_all(struct moat_call_data *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        calls[i].result = NULL;
        calls[i].result_len = 0;
        calls[i].code = fail(&calls[i].error, MOAT_E_OUT_OF_MEMORY, "no memory for so many calls");
    }
    return n;
}

size_t moat_call_many(struct moat *m, struct moat_call_data *calls, size_t n)
{
    struct call *room = atomic_exchange(&m->spare, NULL);
    size_t failed = 0;
    if (!room)
        room = calloc(MANY, sizeof *room);
    if (!room)
        return fail_all(calls, n);
    for (size_t i = 0; i < n; i += MANY)
        failed += run_round(m, room, calls + i, n - i < MANY ? n - i : MANY);
    free(atomic_exchange(&m->spare, room));
    return failed;
}

struct begun {
    struct call call;
    struct moat_call_data *data;
    void (*done)(struct moat_call_data *call);
};

static void call_done(struct call *c)
{
    struct begun *b = c->context;
    hand_over(c, b->data);
    b->done(b->data);
    free(b);
}

void moat_call_begin(struct moat *m, struct moat_call_data *call, void (*done)(struct moat_call_data *call))
{
    struct begun *b = usable(call) ? malloc(sizeof *b) : NULL;
    if (!b) {
        if (call->size >= sizeof *call && call->plugin && call->action)
            fail_all(call, 1);
        done(call);
        return;
    }
    b->data = call;
    b->done = done;
    fill(&b->call, call);
    unsigned turn = atomic_fetch_add_explicit(&m->turn, 1, memory_order_relaxed);
    b->call.loop = service_loop(m->s, turn % service_loops(m->s));
    b->call.done = call_done;
    b->call.context = b;
    call_begin(service_loader(m->s), &b->call);
}
