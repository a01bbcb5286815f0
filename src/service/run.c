/* Loading and stopping, and bringing the code when the loader asks for it. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/internal.h"
#include "service/tell.h"

struct run_op {
    struct op op;
    struct target target;
    char version[MANIFEST_VERSION_MAX + 1];
    bool already;
    struct registry_version shown;
    /* a start: its parts are under way at the same time, and the last one to end goes on with `next` */
    op_step next;
    _Atomic unsigned parts;
    bool records; /* that the plugin is wanted */
    enum registry_wanted before;
    struct registry_command record;
};

static int want(struct op *op, const char *name, enum registry_wanted wanted)
{
    struct registry_command c = {.verb = REGISTRY_WANT, .want = {.name = name, .wanted = wanted}};
    return op_write(op, &c, &op->error);
}

bool plugin_is_running(struct service *s, const char *name)
{
    struct loader_brief status;
    return loader_brief(s->loader, name, &status) && (status.workers || status.state == STATE_LOADING);
}

/* Parses the target and queues the operation under its name; answers at once when it is no name. */
static void begin(struct service *s, const char *what, bool may_have_version, op_step step, service_done done,
                  void *context)
{
    struct run_op *run = op_new(s, sizeof *run, done, context);
    if (!run)
        return;
    run->op.code = target_parse(what, may_have_version, &run->target, &run->op.error);
    op_begin(&run->op, run->op.code < 0 ? NULL : run->target.name, step);
}

/* v NULL: it stops, and nothing is to be said of its version. */
static void tell_state(struct run_op *run, const char *state, const struct registry_version *v)
{
    struct buf *out = &run->op.result;
    tell_open(out, NULL, '{');
    tell_text(out, "name", run->target.name);
    if (run->version[0])
        tell_text(out, "version", run->version);
    tell_text(out, "state", state);
    tell_flag(out, "already", run->already);
    if (v)
        tell_warnings(out, v);
    tell_close(out, '}');
}

static void tell_ready(struct run_op *run)
{
    tell_state(run, loader_state_name(STATE_READY), &run->shown);
}

/* A closed gate is what the caller asked not to meet. */
static int gate_is_error(const struct plan *p, struct error *err)
{
    return p->gate == MOAT_E_OK ? 0 : error_set(err, p->gate, "%s", p->message);
}

/* ---- load ---- */

/* On any thread. What is left of a good start is to tell it; of a bad one, a jobs thread has something to take back. */
static void part_done(struct run_op *run)
{
    if (atomic_fetch_sub(&run->parts, 1) != 1)
        return;
    if (run->op.code == 0 && run->record.code == 0)
        run->next(&run->op, NULL);
    else
        op_then(&run->op, run->next);
}

static void recorded(struct registry_command *record)
{
    part_done(record->context);
}

static void loaded(struct op *op, struct job *job);

/* Of a load: the disk takes as long as the start does, so both are under way together.  When the start fails it is
 * taken back; a host that dies in between finds a plugin that somebody wanted loaded. */
static void record_begin(struct run_op *run, enum registry_wanted before)
{
    if (run->next != loaded || before == REGISTRY_LOADED)
        return;
    run->records = true;
    run->before = before;
    run->record = (struct registry_command){.verb = REGISTRY_WANT,
                                            .want = {.name = run->target.name, .wanted = REGISTRY_LOADED},
                                            .done = recorded,
                                            .context = run};
    atomic_fetch_add(&run->parts, 1);
    op_write_begin(&run->op, &run->record);
}

static int record_end(struct run_op *run, int rc)
{
    struct registry_command back = {.verb = REGISTRY_WANT, .want = {.name = run->target.name, .wanted = run->before}};
    struct error unsaid; /* why the start failed says more */
    if (!run->records)
        return rc;
    if (rc == 0 && run->record.code < 0)
        run->op.error = run->record.error;
    else if (rc < 0 && run->record.code == 0)
        op_write(&run->op, &back, &unsaid);
    return rc < 0 ? rc : run->record.code;
}

static void loaded(struct op *op, struct job *job)
{
    int rc = record_end((struct run_op *)op, op->code);
    if (rc == 0) {
        loader_keep(op->s->loader, ((struct run_op *)op)->target.name, true);
        tell_ready((struct run_op *)op);
    }
    op_end(op, rc);
}

static bool runs_version(struct service *s, const char *name, const char *version)
{
    struct loader_brief status;
    return loader_brief(s->loader, name, &status) && status.state == STATE_READY && status.workers &&
           strcmp(status.version, version) == 0;
}

static int check_current(const struct run_op *run, const char *current, struct error *err)
{
    const struct target *t = &run->target;
    if (!t->version[0] || strcmp(t->version, current) == 0)
        return 0;
    return error_set(err, MOAT_E_WRONG_STATE, "%s is the current version of %s: `moat use %s@%s` changes it", current,
                     t->name, t->name, t->version);
}

static void started(void *context, const struct error *error)
{
    struct run_op *run = context;
    run->op.code = error ? -(int)error->code : 0;
    if (error)
        run->op.error = *error;
    part_done(run);
}

/* A package that ran before is verified again while its wall is built, and while the disk works. */
static int start_plan(struct run_op *run, struct job *job, struct plan *p)
{
    struct loader *l = run->op.s->loader;
    const char *name = run->target.name;
    struct error why;
    bool kept = plan_keep_code(job, p);
    int rc = kept ? 0 : plan_bring_code(job, p, &run->op.error);
    if (rc < 0)
        return rc;
    atomic_fetch_add(&run->parts, 1);
    plan_set(run->op.s, name, p, kept ? LOADER_HELD : LOADER_START, started, run);
    record_begin(run, p->plugin.wanted);
    if (run->records && kept)
        sched_yield(); /* the disk takes longest: who starts it goes first where processors are few */
    if (kept)
        loader_verdict(l, name, p->spec, plan_verify(job, p, &why) < 0 ? &why : NULL);
    return 0;
}

/* always: fresh workers even when the right version runs. stop: what `unload` said holds. */
static void start(struct run_op *run, struct job *job, bool always, bool stop, op_step next)
{
    struct op *op = &run->op;
    const char *name = run->target.name;
    struct plan p = {0};
    int rc = op->code;
    run->next = next;
    atomic_store(&run->parts, 1);
    if (rc == 0)
        rc = plan_make(job, name, NULL, PLAN_MANIFEST, !stop, &p, &op->error);
    if (rc == 0)
        rc = check_current(run, p.version, &op->error);
    if (rc == 0)
        rc = gate_is_error(&p, &op->error);
    snprintf(run->version, sizeof run->version, "%s", p.version);
    run->shown = p.record;
    run->already = rc == 0 && !always && runs_version(op->s, name, run->version);
    if (rc == 0 && !run->already)
        rc = start_plan(run, job, &p);
    else if (rc == 0)
        record_begin(run, p.plugin.wanted);
    if (rc < 0)
        op->code = rc;
    plan_clear(&p);
    part_done(run);
}

static void load(struct op *op, struct job *job)
{
    start((struct run_op *)op, job, false, false, loaded);
}

void service_load(struct service *s, const char *what, service_done done, void *context)
{
    begin(s, what, true, load, done, context);
}

/* ---- reload ---- */

static void reloaded(struct op *op, struct job *job)
{
    if (op->code == 0)
        tell_ready((struct run_op *)op);
    op_end(op, op->code);
}

static void reload(struct op *op, struct job *job)
{
    start((struct run_op *)op, job, true, true, reloaded);
}

void service_reload(struct service *s, const char *name, service_done done, void *context)
{
    begin(s, name, false, reload, done, context);
}

/* ---- unload ---- */

static void unloaded(struct op *op, struct job *job)
{
    if (op->code == 0)
        tell_state((struct run_op *)op, loader_state_name(STATE_UNLOADED), NULL);
    op_end(op, op->code);
}

static void unload(struct op *op, struct job *job)
{
    struct run_op *run = (struct run_op *)op;
    int rc = op->code;
    run->already = rc == 0 && !plugin_is_running(op->s, run->target.name);
    if (rc == 0)
        rc = want(op, run->target.name, REGISTRY_STOPPED);
    if (rc < 0) {
        op_end(op, rc);
        return;
    }
    loader_keep(op->s->loader, run->target.name, false);
    loader_stop(op->s->loader, run->target.name, STOP_GRACE_NS, op_loader_done, op_wait(op, unloaded));
}

void service_unload(struct service *s, const char *name, service_done done, void *context)
{
    begin(s, name, false, unload, done, context);
}

/* ---- stop-all ---- */

struct running {
    char (*names)[MANIFEST_NAME_MAX + 1];
    bool *ran;
    size_t count, cap;
    bool failed;
};

static void note(struct running *r, const char *name, bool ran)
{
    if (r->count == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 32;
        void *names = realloc(r->names, cap * sizeof *r->names);
        if (names)
            r->names = names;
        bool *flags = realloc(r->ran, cap * sizeof *r->ran);
        if (flags)
            r->ran = flags;
        r->failed |= !names || !flags;
        if (r->failed)
            return;
        r->cap = cap;
    }
    snprintf(r->names[r->count], sizeof *r->names, "%s", name);
    r->ran[r->count++] = ran;
}

static void note_status(void *context, const struct loader_status *status)
{
    note(context, status->name, status->workers || status->state == STATE_LOADING);
}

static int stop_them(struct service *s, const struct running *r, struct error *err)
{
    struct waits *w = waits_new(r->count);
    if (!w)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory to stop %zu plugins", r->count);
    for (size_t i = 0; i < r->count; i++)
        loader_stop(s->loader, r->names[i], 0, waits_done, waits_add(w, r->names[i]));
    return waits_finish(w, WAIT_DEAD_NS, err);
}

static void stop_all(struct op *op, struct job *job)
{
    struct running r = {0};
    int rc = want(op, NULL, REGISTRY_STOPPED);
    loader_each(op->s->loader, note_status, &r);
    if (rc == 0 && r.failed)
        rc = error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "no memory to stop everything");
    /* Also when the registry could not be written: this is the emergency brake. */
    struct error why;
    int stopped = stop_them(op->s, &r, &why);
    if (rc == 0 && stopped < 0) {
        op->error = why;
        rc = stopped;
    }
    tell_open(&op->result, NULL, '{');
    tell_open(&op->result, "stopped", '[');
    for (size_t i = 0; i < r.count; i++)
        if (r.ran[i])
            tell_text(&op->result, NULL, r.names[i]);
    tell_close(&op->result, ']');
    tell_close(&op->result, '}');
    free(r.names);
    free(r.ran);
    op_end(op, rc);
}

void service_stop_all(struct service *s, service_done done, void *context)
{
    struct op *op = op_new(s, sizeof *op, done, context);
    if (op)
        op_begin(op, JOBS_ALL, stop_all);
}

/* ---- the code that the loader asks for ---- */

static void say_nothing(void *context, const struct error *error, struct buf *result)
{
}

/* The calls that waited have heard why; the next one tries again. */
static void try_again(struct op *op, struct job *job)
{
    plan_define(job, ((struct run_op *)op)->target.name);
    op_end(op, 0);
}

static void resolve(struct op *op, struct job *job)
{
    struct run_op *run = (struct run_op *)op;
    const char *name = run->target.name;
    struct plan p = {0};
    int rc = plan_make(job, name, NULL, PLAN_CODE, false, &p, &op->error);
    if (rc < 0) {
        log_event(LOG_WARN, "load_failed", "plugin", name, "code", error_info(rc)->name, "why", op->error.message,
                  NULL);
        loader_set(op->s->loader, name, NULL, LOADER_LAZY, op->error.code, op->error.message, op_loader_done,
                   op_wait(op, try_again));
        return;
    }
    rc = plan_set_wait(op->s, name, &p, LOADER_LAZY, &op->error);
    plan_clear(&p);
    op_end(op, rc);
}

void resolve_begin(struct service *s, const char *name)
{
    struct run_op *run = op_new(s, sizeof *run, say_nothing, NULL);
    if (!run)
        return;
    snprintf(run->target.name, sizeof run->target.name, "%s", name);
    op_begin(&run->op, name, resolve);
}

/* ---- open ---- */

static void tell_start(void *context, const struct error *error, struct buf *result)
{
    atomic_fetch_sub(&((struct service *)context)->starting, 1);
    if (error)
        log_event(LOG_ERROR, "start_failed", "code", error_info(error->code)->name, "why", error->message, NULL);
}

struct opening {
    struct service *s;
    struct running all; /* ran: is to be started */
};

static bool note_plugin(void *context, const struct registry_plugin *p, const struct registry_version *v,
                        const char *manifest, size_t manifest_len)
{
    struct opening *o = context;
    note(&o->all, p->name,
         (o->s->server && p->wanted == REGISTRY_LOADED) || (o->s->auto_load && p->wanted != REGISTRY_STOPPED));
    return !o->all.failed;
}

static void define_all(struct op *op, struct job *job)
{
    struct registry_filter every = {.active = -1};
    struct opening o = {.s = op->s};
    int rc = registry_each_plugin(job->reader, &every, note_plugin, &o, &op->error);
    if (rc == 0 && o.all.failed)
        rc = error_set(&op->error, MOAT_E_OUT_OF_MEMORY, "no memory for the installed plugins");
    for (size_t i = 0; i < o.all.count && rc == 0; i++)
        plan_define(job, o.all.names[i]);
    /* Starting goes on after open has returned: who calls meanwhile waits in the plugin's queue. */
    for (size_t i = 0; i < o.all.count && rc == 0; i++)
        if (o.all.ran[i]) {
            loader_keep(op->s->loader, o.all.names[i], true);
            atomic_fetch_add(&op->s->starting, 1);
            begin(op->s, o.all.names[i], false, reload, tell_start, op->s);
        }
    free(o.all.names);
    free(o.all.ran);
    op_end(op, rc);
}

struct opened {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    struct error error;
};

static void opened_done(void *context, const struct error *error, struct buf *result)
{
    struct opened *o = context;
    pthread_mutex_lock(&o->lock);
    if (error)
        o->error = *error;
    o->is_done = true;
    pthread_cond_signal(&o->done);
    pthread_mutex_unlock(&o->lock);
}

int wanted_start(struct service *s, struct error *err)
{
    struct opened o = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    struct op *op = op_new(s, sizeof *op, opened_done, &o);
    if (op)
        op_begin(op, JOBS_ALL, define_all);
    pthread_mutex_lock(&o.lock);
    while (!o.is_done)
        pthread_cond_wait(&o.done, &o.lock);
    pthread_mutex_unlock(&o.lock);
    if (o.error.code && err)
        *err = o.error;
    return -(int)o.error.code;
}
