/* trace/meters: figures on their way to a collector (OTLP over HTTP).  Owns one thread, which alone talks to the
 * collector, and the one request that waits for it: figures are running totals, so a newer one takes the place of one
 * that was not taken yet, and nothing but its moment is lost.  libcurl is loaded as by trace/spans. */
#ifndef TRACE_METERS_H
#define TRACE_METERS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct meters;
/* They go to `endpoint`/v1/metrics. MOAT_E_NO_SUCH_FILE: there is no libcurl. */
int meters_open(const char *endpoint, struct meters **out, struct error *err);
/* Sends what waits, for at most grace_ns; NULL is fine. */
void meters_close(struct meters *m, uint64_t grace_ns);

/* An ExportMetricsServiceRequest (trace/otlp.h), which is the exporter's from here on. Any thread, does not block. */
void meters_send(struct meters *m, struct buf *body);

struct meters_figures {
    uint64_t exported, dropped, refused; /* requests; dropped: a newer one came first, or the end */
};
struct meters_figures meters_figures(struct meters *m); /* any thread */

#endif
