#include "rest/traffic.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "rest/route.h"

/* Upper bounds of the buckets of a duration. */
static const struct {
    uint64_t ns;
    const char *le;
} bounds[] = {
    {50 * NS_PER_US, "0.00005"}, {100 * NS_PER_US, "0.0001"}, {250 * NS_PER_US, "0.00025"}, {NS_PER_MS, "0.001"},
    {5 * NS_PER_MS, "0.005"},    {25 * NS_PER_MS, "0.025"},   {100 * NS_PER_MS, "0.1"},     {500 * NS_PER_MS, "0.5"},
    {2 * NS_PER_S, "2.0"},       {10 * NS_PER_S, "10.0"},     {UINT64_MAX, "+Inf"},
};
#define NBOUNDS (sizeof bounds / sizeof *bounds)

struct row {
    _Atomic uint64_t by_code[MOAT_E_COUNT], buckets[NBOUNDS], total_ns;
};

struct traffic {
    struct row *rows; /* by route, and one for none */
};

struct traffic *traffic_new(void)
{
    struct traffic *c = calloc(1, sizeof *c);
    if (c && !(c->rows = calloc(nroutes + 1, sizeof *c->rows))) {
        free(c);
        return NULL;
    }
    return c;
}

void traffic_free(struct traffic *c)
{
    if (c)
        free(c->rows);
    free(c);
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

static uint64_t get(_Atomic uint64_t *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

void traffic_add(struct traffic *c, const struct route *route, enum moat_code code, uint64_t took_ns)
{
    struct row *row = &c->rows[route ? (size_t)(route - routes) : nroutes];
    size_t i = 0;
    while (took_ns > bounds[i].ns)
        i++;
    add(&row->by_code[(unsigned)code < MOAT_E_COUNT ? code : MOAT_E_INTERNAL], 1);
    add(&row->buckets[i], 1);
    add(&row->total_ns, took_ns);
}

static void put_labels(struct buf *out, size_t row)
{
    buf_printf(out, "method=\"%s\",route=\"%s\"", row < nroutes ? routes[row].method : "",
               row < nroutes ? routes[row].path : "");
}

static void put_requests(struct traffic *c, struct buf *out)
{
    buf_puts(out,
             "# TYPE moat_http_requests counter\n# HELP moat_http_requests Answered requests, by route and code.\n");
    for (size_t r = 0; r <= nroutes; r++) {
        for (int code = 0; code < MOAT_E_COUNT; code++) {
            uint64_t n = get(&c->rows[r].by_code[code]);
            if (!n)
                continue;
            buf_puts(out, "moat_http_requests_total{");
            put_labels(out, r);
            buf_printf(out, ",code=\"%s\",status=\"%d\"} %llu\n", error_info(code)->name, error_info(code)->http,
                       (unsigned long long)n);
        }
    }
}

static void put_durations(struct traffic *c, struct buf *out)
{
    buf_puts(out, "# TYPE moat_http_request_duration_seconds histogram\n"
                  "# UNIT moat_http_request_duration_seconds seconds\n"
                  "# HELP moat_http_request_duration_seconds From a request's head to its answer, by route.\n");
    for (size_t r = 0; r <= nroutes; r++) {
        uint64_t n = 0;
        for (size_t b = 0; b < NBOUNDS; b++)
            n += get(&c->rows[r].buckets[b]);
        if (!n)
            continue;
        n = 0;
        for (size_t b = 0; b < NBOUNDS; b++) {
            n += get(&c->rows[r].buckets[b]);
            buf_puts(out, "moat_http_request_duration_seconds_bucket{");
            put_labels(out, r);
            buf_printf(out, ",le=\"%s\"} %llu\n", bounds[b].le, (unsigned long long)n);
        }
        buf_puts(out, "moat_http_request_duration_seconds_sum{");
        put_labels(out, r);
        buf_printf(out, "} %.9f\nmoat_http_request_duration_seconds_count{", (double)get(&c->rows[r].total_ns) / 1e9);
        put_labels(out, r);
        buf_printf(out, "} %llu\n", (unsigned long long)n);
    }
}

void traffic_write(struct traffic *c, struct buf *out)
{
    put_requests(c, out);
    put_durations(c, out);
}
