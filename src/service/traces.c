/* Calls as spans, when the setting otlp_endpoint names a collector. */
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"

static void put_place(struct span *s, struct trace_place at)
{
    trace_id(at, s->trace);
    trace_span(at, s->id);
    trace_parent(at, s->parent);
}

static struct span span_of(const struct call *c, const struct call_times *times)
{
    const struct receipt *r = &c->receipt;
    struct span s = {.begun_ns = times->begun,
                     .ended_ns = times->ended,
                     .queued_ns = r->queued_ns,
                     .ran_ns = r->ran_ns,
                     .cpu_ns = r->cpu_ns,
                     .bytes_in = c->parameters_len,
                     .bytes_out = r->bytes_out,
                     .failed = c->code != 0};
    put_place(&s, CALL_PLACE(c));
    text_copy(s.plugin, sizeof s.plugin, c->plugin);
    text_copy(s.version, sizeof s.version, r->version);
    text_copy(s.call, sizeof s.call, c->id);
    text_copy(s.code, sizeof s.code, error_info((enum moat_code) - c->code)->name);
    if (s.failed)
        text_plain(s.message, sizeof s.message, c->error.message, strlen(c->error.message));
    text_plain(s.action, sizeof s.action, c->action,
               strlen(c->action)); /* an early failure's: any word of the caller */
    return s;
}

static void on_end(void *context, const struct call *c, const struct call_times *times)
{
    if (!trace_is_sampled(CALL_PLACE(c)))
        return;
    struct span s = span_of(c, times);
    spans_add(((struct service *)context)->spans, &s);
}

void service_tell_task(struct service *s, const struct service_task *t)
{
    struct trace_place at = {t->id, t->traceparent};
    if (!s->spans || !trace_is_sampled(at))
        return;
    struct span span = {.begun_ns = t->begun_ns,
                        .ended_ns = t->ended_ns,
                        .cpu_ns = t->cpu_ns,
                        .bytes_in = t->bytes_in,
                        .bytes_out = t->bytes_out,
                        .failed = t->error != NULL};
    put_place(&span, at);
    text_copy(span.action, sizeof span.action, "task");
    text_copy(span.task, sizeof span.task, t->id);
    text_copy(span.code, sizeof span.code, error_info(t->error ? t->error->code : MOAT_E_OK)->name);
    if (t->error)
        text_plain(span.message, sizeof span.message, t->error->message, strlen(t->error->message));
    spans_add(s->spans, &span);
}

/* A host that cannot tell of its calls runs them all the same. */
void traces_open(struct service *s, struct loader_config *config)
{
    struct error err;
    if (!*s->settings.otlp_endpoint)
        return;
    if (spans_open(s->settings.otlp_endpoint, MOAT_VERSION, &s->spans, &err) < 0)
        log_event(LOG_ERROR, "spans_not_exported", "why", err.message, NULL);
    else
        config->on_end = on_end;
}
