/* Where a call stands in its trace: "00-" trace (32 digits) "-" span of who asks (16) "-" flags (2). */
#include <stdio.h>
#include <string.h>

#include "loader/internal.h"

#define TRACE_AT 3
#define PARENT_AT 36
#define FLAGS_AT 53

static void copy(char *out, const char *from, size_t len)
{
    memcpy(out, from, len);
    out[len] = '\0';
}

void call_trace_id(const struct call *c, char out[33])
{
    copy(out, *c->traceparent ? c->traceparent + TRACE_AT : c->id, 32);
}

void call_span_id(const struct call *c, char out[17])
{
    copy(out, c->id, 16);
}

void call_parent_span(const struct call *c, char out[17])
{
    if (*c->traceparent)
        copy(out, c->traceparent + PARENT_AT, 16);
    else
        out[0] = '\0';
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

bool call_is_sampled(const struct call *c)
{
    return !*c->traceparent || digit(c->traceparent[FLAGS_AT + 1]) & 1;
}

void call_child_traceparent(const struct call *c, char out[56])
{
    char trace[33], span[17];
    call_trace_id(c, trace);
    call_span_id(c, span);
    snprintf(out, 56, "00-%s-%s-%.2s", trace, span, *c->traceparent ? c->traceparent + FLAGS_AT : "01");
}
