/* querier: runs the queries that it is given, in one call each list, and says what came of each.  For tests and
 * figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <moat/plugin.h>

#include "../../../plugins/common/request.h"

#define SQL_MAX 65536
#define RESULT_MAX (1024 * 1024)

static const struct moat_host *host;
static char sql[SQL_MAX], source[128];

static bool text(struct slice p, const char *name, char *out, size_t size)
{
    struct slice value;
    return request_find(p.at, (size_t)(p.end - p.at), name, &value) && request_text(value, out, size);
}

static long long integer(struct slice p, const char *name, long long otherwise)
{
    struct slice value;
    long long out;
    return request_find(p.at, (size_t)(p.end - p.at), name, &value) && request_integer(value, &out) ? out : otherwise;
}

static void pause_ms(long long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* One step: {"sql", "params", "rows", "more", "sleep", "source"}. */
static const struct moat_reply *step(struct moat_call *call, struct slice p)
{
    struct slice params = {NULL, NULL};
    long long ms = integer(p, "sleep", 0);
    if (ms)
        pause_ms(ms);
    request_find(p.at, (size_t)(p.end - p.at), "params", &params);
    text(p, "source", source, sizeof source);
    bool has = text(p, "sql", sql, sizeof sql);
    return host->query(call, source, has ? sql : NULL, params.at, params.at ? (size_t)(params.end - params.at) : 0,
                       (unsigned)integer(p, "rows", 0));
}

struct out {
    char *at, *end;
};

static void put(struct out *o, const char *bytes, size_t len)
{
    if ((size_t)(o->end - o->at) < len)
        len = (size_t)(o->end - o->at);
    memcpy(o->at, bytes, len);
    o->at += len;
}

static void puts_(struct out *o, const char *s)
{
    put(o, s, strlen(s));
}

static void put_text(struct out *o, const char *s)
{
    puts_(o, "\"");
    for (; *s; s++) {
        char hex[8];
        if (*s == '"' || *s == '\\' || (unsigned char)*s < 0x20) {
            snprintf(hex, sizeof hex, "\\u%04x", (unsigned char)*s);
            puts_(o, hex);
        } else {
            put(o, s, 1);
        }
    }
    puts_(o, "\"");
}

static void put_reply(struct out *o, const struct moat_reply *r)
{
    if (r->ok) {
        put(o, r->data, r->len);
        return;
    }
    puts_(o, "{\"code\":");
    put_text(o, r->code);
    puts_(o, ",\"message\":");
    put_text(o, r->message);
    puts_(o, "}");
}

static bool do_run(struct moat_call *call, struct slice p)
{
    struct slice steps;
    char *room = host->result_room(call, RESULT_MAX);
    if (!room || !request_find(p.at, (size_t)(p.end - p.at), "steps", &steps) || *steps.at != '[')
        return host->fail(call, "no_steps", "there are no steps");
    struct out o = {room, room + RESULT_MAX};
    text(p, "source", source, sizeof source);
    puts_(&o, "[");
    const char *at = request_space(steps.at + 1, steps.end);
    while (at && at < steps.end && *at != ']') {
        const char *end = request_skip(at, steps.end);
        if (!end)
            break;
        put_reply(&o, step(call, (struct slice){at, end}));
        at = request_space(end, steps.end);
        if (at < steps.end && *at == ',') {
            puts_(&o, ",");
            at = request_space(at + 1, steps.end);
        }
    }
    puts_(&o, "]");
    return host->commit(call, (size_t)(o.at - room));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The same query `count` times, with one parameter that grows; answers the median and the 99th percentile in ns. */
static bool do_time(struct moat_call *call, struct slice p)
{
    static double times[100000];
    long long count = integer(p, "count", 1000), keys = integer(p, "keys", 1000);
    char params[32], reply[128];
    if (!text(p, "source", source, sizeof source) || !text(p, "sql", sql, sizeof sql) || count < 1 ||
        count > (long long)(sizeof times / sizeof *times))
        return host->fail(call, "bad_request", "source, sql, count");
    for (long long i = -count / 5; i < count; i++) {
        int len = snprintf(params, sizeof params, "[%lld]", (i < 0 ? -i : i) * 7919 % keys + 1);
        double before = now_ns();
        const struct moat_reply *r = host->query(call, source, sql, params, (size_t)len, 0);
        double after = now_ns();
        if (!r->ok)
            return host->fail(call, r->code, r->message);
        if (i >= 0)
            times[i] = after - before;
    }
    qsort(times, (size_t)count, sizeof *times, by_value);
    int len = snprintf(reply, sizeof reply, "{\"p50\":%.0f,\"p99\":%.0f}", times[count / 2], times[count * 99 / 100]);
    return host->answer(call, reply, (size_t)len);
}

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    (void)config;
    (void)len;
    host = given;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    struct slice p = {parameters, parameters + len};
    return strcmp(action, "time") == 0 ? do_time(call, p) : do_run(call, p);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
