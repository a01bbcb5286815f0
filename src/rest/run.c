#include "rest/run.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

struct runs {
    struct loader *loader;
    struct keys *keys;
    pthread_mutex_t lock;
    struct run *first, **end; /* in the order of beginning */
    size_t running;
    uint64_t ended; /* ever */
    struct run_record *receipts;
};

struct runs *runs_new(struct loader *loader)
{
    struct runs *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->loader = loader;
    r->end = &r->first;
    pthread_mutex_init(&r->lock, NULL);
    r->keys = keys_new();
    r->receipts = calloc(RUNS_RECEIPTS, sizeof *r->receipts); /* zero pages until they are used */
    if (!r->keys || !r->receipts) {
        runs_free(r);
        return NULL;
    }
    return r;
}

void runs_free(struct runs *r)
{
    if (!r)
        return;
    keys_free(r->keys);
    free(r->receipts);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- the list ---- */

static void list_add(struct run *run)
{
    struct runs *r = run->runs;
    pthread_mutex_lock(&r->lock);
    run->next = NULL;
    run->link = r->end;
    *r->end = run;
    r->end = &run->next;
    r->running++;
    pthread_mutex_unlock(&r->lock);
}

static void record(struct run_record *out, const struct run *run)
{
    const struct call *c = &run->call;
    memcpy(out->id, c->id, sizeof out->id);
    text_copy(out->plugin, sizeof out->plugin, c->plugin);
    text_copy(out->action, sizeof out->action, c->action);
    out->token = run->token;
    out->began_ns = run->began_ns;
}

static void record_end(struct run_record *out, const struct run *run)
{
    const struct receipt *receipt = &run->call.receipt;
    record(out, run);
    text_copy(out->version, sizeof out->version, receipt->version);
    out->code = (enum moat_code) - run->call.code;
    out->queued_ns = receipt->queued_ns;
    out->ran_ns = receipt->ran_ns;
    out->cpu_ns = receipt->cpu_ns;
    out->bytes_in = receipt->bytes_in;
    out->bytes_out = receipt->bytes_out;
}

static void list_end(struct run *run)
{
    struct runs *r = run->runs;
    pthread_mutex_lock(&r->lock);
    *run->link = run->next;
    if (run->next)
        run->next->link = run->link;
    else
        r->end = run->link;
    r->running--;
    record_end(&r->receipts[r->ended++ % RUNS_RECEIPTS], run);
    pthread_mutex_unlock(&r->lock);
}

bool runs_cancel(struct runs *r, const char *id)
{
    struct run *run;
    pthread_mutex_lock(&r->lock);
    for (run = r->first; run && strcmp(run->call.id, id) != 0; run = run->next)
        ;
    if (run)
        call_cancel(r->loader, &run->call); /* what is in the list has not been told of its end */
    pthread_mutex_unlock(&r->lock);
    return run != NULL;
}

size_t runs_running(struct runs *r)
{
    pthread_mutex_lock(&r->lock);
    size_t n = r->running;
    pthread_mutex_unlock(&r->lock);
    return n;
}

static bool is_wanted(const struct run_filter *f, const char *plugin)
{
    return !f->plugin || strcmp(f->plugin, plugin) == 0;
}

void runs_each_running(struct runs *r, const struct run_filter *f,
                       void (*each)(void *context, const struct run_record *record), void *context)
{
    size_t n = 0;
    pthread_mutex_lock(&r->lock);
    for (struct run *run = r->first; run && n < f->limit; run = run->next) {
        struct run_record one = {.bytes_in = run->call.parameters_len};
        record(&one, run);
        if (is_wanted(f, one.plugin))
            each(context, &one), n++;
    }
    pthread_mutex_unlock(&r->lock);
}

void runs_each_ended(struct runs *r, const struct run_filter *f,
                     void (*each)(void *context, const struct run_record *record), void *context)
{
    size_t n = 0;
    pthread_mutex_lock(&r->lock);
    uint64_t have = r->ended < RUNS_RECEIPTS ? r->ended : RUNS_RECEIPTS;
    for (uint64_t i = 1; i <= have && n < f->limit; i++) {
        const struct run_record *one = &r->receipts[(r->ended - i) % RUNS_RECEIPTS];
        if (is_wanted(f, one->plugin))
            each(context, one), n++;
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- one run ---- */

static void call_done(struct call *call)
{
    struct run *run = call->context;
    list_end(run);
    run->listed = false;
    if (run->entry)
        keys_settle(run->runs->keys, run);
    run->done(run);
}

void run_clear(struct run *run)
{
    struct error *e = &run->call.error;
    size_t before = offsetof(struct run, call.error), behind = before + sizeof *e;
    memset(run, 0, before);
    memset((char *)run + behind, 0, sizeof *run - behind);
    e->code = MOAT_E_OK;
    e->message[0] = e->detail[0] = '\0';
}

void run_begin(struct runs *r, struct run *run)
{
    run->runs = r;
    run->began_ns = clock_wall_ns();
    call_make_id(run->call.id);
    if (run->key) {
        switch (keys_claim(r->keys, run)) {
        case KEYS_RUN:
            break;
        case KEYS_WAIT:
            return;
        case KEYS_DONE:
            run->done(run);
            return;
        }
    }
    run->call.loop = run->loop;
    run->call.at_once = run->at_once;
    run->call.principal = (uint64_t)run->token; /* tokens take turns */
    run->call.done = call_done;
    run->call.context = run;
    run->listed = true;
    list_add(run);
    call_begin(r->loader, &run->call);
}

static void left_done(struct loop_task *task)
{
    struct run *run = (struct run *)((char *)task - offsetof(struct run, task));
    run->done(run);
}

void run_leave(struct run *run)
{
    if (run->left)
        return;
    run->left = true;
    if (!run->key) {
        call_cancel(run->runs->loader, &run->call);
    } else if (!run->entry && keys_leave(run->runs->keys, run)) {
        run->call.code = error_set(&run->call.error, MOAT_E_CANCELLED, "the client has left");
        run->task.run = left_done;
        loop_post(run->loop, &run->task);
    }
}
