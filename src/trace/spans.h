/* trace/spans: calls that have ended, on their way to a collector of traces (OTLP over HTTP).  Owns a bounded queue and
 * one thread, which alone talks to the collector: who adds a span never waits. What finds the queue full is counted,
 * and so is what the collector does not take.
 *
 * libcurl is loaded when an exporter is opened, and not before: it brings some thirty libraries, and most homes have no
 * collector. */
#ifndef TRACE_SPANS_H
#define TRACE_SPANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SPANS_QUEUED 2048
#define SPANS_AT_ONCE 256 /* in one request */

struct span {
    char trace[33], id[17], parent[17];                           /* hex; parent "": it begins the trace */
    char plugin[32], version[64], action[40], call[33], task[33]; /* plugin "": the action alone is its name */
    char code[32], message[200];                                  /* of a failure, else "ok" and "" */
    uint64_t begun_ns, ended_ns;                                  /* wall */
    uint64_t queued_ns, ran_ns;                                   /* spans; ran 0: no worker had it */
    uint64_t cpu_ns, bytes_in, bytes_out;
    bool failed;
};

/* http or https, a host, perhaps a port and a path; no user, query or fragment: a setting is no place for a password.
 */
bool spans_is_endpoint(const char *url);

struct spans;
/* Spans go to `endpoint`/v1/traces. MOAT_E_NO_SUCH_FILE: there is no libcurl. Texts are copied. */
int spans_open(const char *endpoint, const char *version, struct spans **out, struct error *err);
/* Nobody adds any more. Sends what is left, for at most grace_ns; NULL is fine. */
void spans_close(struct spans *s, uint64_t grace_ns);

/* Any thread, does not block. */
void spans_add(struct spans *s, const struct span *span);

struct spans_figures {
    uint64_t exported, dropped, refused, queued; /* refused: by the collector */
};
struct spans_figures spans_figures(struct spans *s); /* any thread */

#endif
