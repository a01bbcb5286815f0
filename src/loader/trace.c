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

void trace_id(struct trace_place at, char out[33])
{
    copy(out, *at.traceparent ? at.traceparent + TRACE_AT : at.id, 32);
}

void trace_span(struct trace_place at, char out[17])
{
    copy(out, at.id, 16);
}

void trace_parent(struct trace_place at, char out[17])
{
    copy(out, *at.traceparent ? at.traceparent + PARENT_AT : "", *at.traceparent ? 16 : 0);
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

bool trace_is_sampled(struct trace_place at)
{
    return !*at.traceparent || digit(at.traceparent[FLAGS_AT + 1]) & 1;
}

void trace_child(struct trace_place at, char out[56])
{
    char trace[33], span[17];
    trace_id(at, trace);
    trace_span(at, span);
    snprintf(out, 56, "00-%s-%s-%.2s", trace, span, *at.traceparent ? at.traceparent + FLAGS_AT : "01");
}
