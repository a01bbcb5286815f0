/* Calls as spans, when the setting otlp_endpoint names a collector. */
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "service/internal.h"

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
    call_trace_id(c, s.trace);
    call_span_id(c, s.id);
    call_parent_span(c, s.parent);
    text_copy(s.plugin, sizeof s.plugin, c->plugin);
    text_copy(s.version, sizeof s.version, r->version);
    text_copy(s.call, sizeof s.call, c->id);
    text_copy(s.code, sizeof s.code, error_info((enum moat_code) - c->code)->name);
    if (s.failed)
        text_plain(s.message, sizeof s.message, c->error.message, strlen(c->error.message));
    text_plain(s.action, sizeof s.action, c->action,
               strlen(c->action)); /* where it failed early, any word of the caller's */
    return s;
}

static void on_end(void *context, const struct call *c, const struct call_times *times)
{
    if (!call_is_sampled(c))
        return;
    struct span s = span_of(c, times);
    spans_add(((struct service *)context)->spans, &s);
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
