/* trace/otlp: spans and figures as the JSON of OTLP 1.x (opentelemetry-proto, trace/v1 and metrics/v1, in its JSON
 * mapping: ids as hex, 64-bit numbers as text).  Pure. */
#ifndef TRACE_OTLP_H
#define TRACE_OTLP_H

#include <stddef.h>

#include "base/buf.h"
#include "trace/spans.h"

/* An ExportTraceServiceRequest. false: no memory. */
bool otlp_encode(struct buf *out, const char *version, const struct span *spans, size_t n);
/* How many an Export…ServiceResponse says were not taken, by its key; 0 for what is none. */
uint64_t otlp_rejected(const char *answer, size_t len, const char *key);

/* ---- figures: an ExportMetricsServiceRequest, piece by piece ---- */

enum otlp_kind { OTLP_SUM, OTLP_GAUGE, OTLP_HISTOGRAM }; /* sums and histograms are totals since start_ns */
struct otlp_point {
    const char *const (*attributes)[2]; /* key and value, the last one's key NULL; or NULL */
    uint64_t start_ns, time_ns;         /* wall */
};
void otlp_metrics_open(struct buf *out, const char *version);
bool otlp_metrics_close(struct buf *out); /* false: no memory */
void otlp_metric_open(struct buf *out, enum otlp_kind kind, const char *name, const char *unit, const char *about);
void otlp_metric_close(struct buf *out);
void otlp_number(struct buf *out, const struct otlp_point *at, uint64_t n); /* OTLP_SUM, OTLP_GAUGE */
/* counts: one for what each bound is the end of, and one for the rest. */
void otlp_histogram(struct buf *out, const struct otlp_point *at, double sum, const uint64_t *counts,
                    const double *bounds, size_t nbounds);

#endif
