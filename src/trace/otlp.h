/* trace/otlp: spans as the JSON of OTLP 1.x (opentelemetry-proto, trace/v1, in its JSON mapping: ids as hex, 64-bit
 * numbers as text).  Pure. */
#ifndef TRACE_OTLP_H
#define TRACE_OTLP_H

#include <stddef.h>

#include "base/buf.h"
#include "trace/spans.h"

/* An ExportTraceServiceRequest. false: no memory. */
bool otlp_encode(struct buf *out, const char *version, const struct span *spans, size_t n);
/* How many spans an ExportTraceServiceResponse says were not taken; 0 for what is none. */
uint64_t otlp_rejected(const char *answer, size_t len);

#endif
