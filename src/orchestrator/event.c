/* What is told of a run while it runs: to whoever began it and wants to know, and to those who follow. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "orchestrator/run.h"
#include "service/tell.h"

#define PROGRESS_NS (100 * NS_PER_MS) /* of one call, or of one step's items: not told more often */
#define EVENT_MAX (128 * 1024)

static bool is_wanted(const struct run *r)
{
    return r->request.told || atomic_load_explicit(&r->feed, memory_order_acquire);
}

static void tell(struct run *r, const char *name, struct buf *json)
{
    struct feed *feed = atomic_load_explicit(&r->feed, memory_order_acquire);
    if (!json->failed && r->request.told)
        r->request.told(r->request.context, name, buf_text(json), json->len);
    if (!json->failed && feed)
        feed_put(feed, name, json->data, json->len);
    buf_free(json);
}

static struct buf open_event(const struct run *r, uint32_t step)
{
    struct buf out = BUF_INIT(EVENT_MAX);
    tell_open(&out, NULL, '{');
    tell_text(&out, "step", r->task->steps[step].id);
    return out;
}

static struct buf open_event_of(const struct unit *u)
{
    struct buf out = open_event(u->run, u->step);
    if (u->item != NO_ITEM)
        tell_number(&out, "item", u->item);
    return out;
}

static void close_event(struct run *r, const char *name, struct buf *out)
{
    tell_close(out, '}');
    tell(r, name, out);
}

void event_task_begun(struct run *r)
{
    if (!is_wanted(r))
        return;
    struct buf out = BUF_INIT(EVENT_MAX);
    tell_open(&out, NULL, '{');
    tell_text(&out, "id", r->id);
    tell_text(&out, "name", r->task->name);
    tell_number(&out, "steps", r->task->nsteps);
    close_event(r, "task_begun", &out);
}

void event_step_begun(struct run *r, uint32_t i)
{
    if (!is_wanted(r))
        return;
    struct buf out = open_event(r, i);
    tell_time(&out, "began", r->steps[i].began_ns);
    close_event(r, "step_begun", &out);
}

static bool is_due(uint64_t *told_ns)
{
    uint64_t now = clock_mono_ns();
    if (now < *told_ns + PROGRESS_NS)
        return false;
    *told_ns = now;
    return true;
}

void event_items(struct run *r, uint32_t i)
{
    struct each *e = r->steps[i].each;
    uint32_t over = e->next - e->running;
    if (!e->n || !over || !is_wanted(r) || !is_due(&e->told_ns))
        return;
    struct buf out = open_event(r, i);
    tell_real(&out, "done", (double)over / e->n);
    tell_number(&out, "items_over", over);
    tell_number(&out, "items", e->n);
    close_event(r, "step_progress", &out);
}

void event_progress(struct unit *u, unsigned thousandths, const char *message)
{
    if (!is_wanted(u->run) || !is_due(&u->told_ns))
        return;
    struct buf out = open_event_of(u);
    tell_real(&out, "done", thousandths / 1000.0);
    tell_text(&out, "message", message);
    close_event(u->run, "step_progress", &out);
}

void event_retry(const struct unit *u, uint64_t delay_ns)
{
    if (!is_wanted(u->run))
        return;
    struct buf out = open_event_of(u);
    tell_number(&out, "attempt", u->tries);
    tell_text(&out, "code", error_info(u->code)->name);
    tell_text(&out, "message", u->message);
    tell_number(&out, "delay_ns", delay_ns);
    close_event(u->run, "step_retry", &out);
}

void event_fallback(const struct unit *u)
{
    if (!is_wanted(u->run))
        return;
    struct buf out = open_event_of(u);
    tell_text(&out, "code", error_info(u->code)->name);
    tell_text(&out, "message", u->message);
    close_event(u->run, "step_fallback", &out);
}

void event_step_ended(struct run *r, uint32_t i)
{
    if (!is_wanted(r))
        return;
    struct buf out = BUF_INIT(EVENT_MAX);
    document_step(&out, r, i, false);
    tell(r, "step_ended", &out);
}

void event_compensated(struct run *r, uint32_t i)
{
    if (!is_wanted(r))
        return;
    struct buf out = open_event(r, i);
    tell_text(&out, "compensation", r->steps[i].compensated ? "done" : "failed");
    close_event(r, "step_compensated", &out);
}

void event_task_ended(struct run *r)
{
    struct feed *feed = atomic_load_explicit(&r->feed, memory_order_acquire);
    struct buf out = BUF_INIT(EVENT_MAX);
    if (is_wanted(r) && !r->closing) { /* then it goes on with the next host */
        document_end(&out, r);
        tell(r, "task_ended", &out);
    }
    if (feed)
        feed_end(feed);
}
