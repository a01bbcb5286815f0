/* bench/http_load: a client that keeps c connections busy: each sends the same POST again as soon as it has the answer.
 * One thread.  Not part of the product: on any failure it says why and exits. */
#ifndef BENCH_HTTP_LOAD_H
#define BENCH_HTTP_LOAD_H

#include <stddef.h>

#include "bench.h"

struct load;

enum load_how {
    LOAD_PLAIN,
    LOAD_TLS,
    LOAD_CLOSED, /* the server ends each connection after its answer, and says so: the next one is opened then */
};

/* Connects. request is sent as it is; it stays the caller's. */
struct load *load_new(unsigned port, enum load_how how, unsigned connections, const void *request, size_t len);
/* For ms; returns answers a second, and adds each one's ns to latencies (may be NULL). */
double load_run(struct load *l, unsigned ms, struct samples *latencies);
void load_free(struct load *l);

#endif
