/* relay: calls other plugins along a path, for the tests of the host and for measurements. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <moat/plugin.h>

#include "../../../plugins/common/request.h"

static const struct moat_host *host;

struct route {
    char path[400];
    struct slice with;
    long long hold, times;
};

static void pause_ms(long long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (ms && nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

static long long integer(const char *parameters, size_t len, const char *name, long long otherwise)
{
    struct slice value;
    long long out;
    return request_find(parameters, len, name, &value) && request_integer(value, &out) ? out : otherwise;
}

static const char nothing[] = "{}";

static bool read_route(const char *parameters, size_t len, struct route *out)
{
    struct slice path;
    *out = (struct route){.hold = integer(parameters, len, "hold", 0), .times = integer(parameters, len, "times", 1)};
    if (!request_find(parameters, len, "with", &out->with))
        out->with = (struct slice){nothing, nothing + 2};
    return request_find(parameters, len, "path", &path) && request_text(path, out->path, sizeof out->path);
}

/* "c,d.echo" of "b,c,d.echo" is passed on to b. */
static const struct moat_reply *call_first(struct moat_call *call, const struct route *r)
{
    char first[100], rest[1024];
    const char *comma = strchrnul(r->path, ',');
    size_t with = (size_t)(r->with.end - r->with.at);
    snprintf(first, sizeof first, "%.*s", (int)(comma - r->path), r->path);
    char *dot = strchr(first, '.');
    if (dot) {
        *dot = 0;
        return host->call(call, first, dot + 1, r->with.at, with);
    }
    int n = snprintf(rest, sizeof rest, "{\"path\":\"%s\",\"hold\":%lld,\"with\":%.*s}", *comma ? comma + 1 : "",
                     r->hold, (int)(with < 400 ? with : 0), r->with.at);
    return host->call(call, first, "pass", rest, (size_t)n);
}

static bool answer_end(struct moat_call *call)
{
    char text[100];
    int n = snprintf(text, sizeof text, "{\"end\":\"%s\"}", host->plugin);
    return host->answer(call, text, (size_t)n);
}

/* Quotes only what a test reads: messages of the host have no control characters. */
static bool answer_refusal(struct moat_call *call, const struct moat_reply *reply)
{
    char text[2000];
    size_t n = (size_t)snprintf(text, sizeof text, "{\"refused\":\"%s\",\"by\":\"%s\",\"message\":\"", reply->code,
                                host->plugin);
    for (const char *p = reply->message; *p && n < sizeof text - 8; p++) {
        if (*p == '"' || *p == '\\')
            text[n++] = '\\';
        text[n++] = *p;
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "\"}");
    return host->answer(call, text, n);
}

static bool answer_fact(struct moat_call *call, const char *parameters, size_t len)
{
    char name[100];
    struct slice value;
    bool named = request_find(parameters, len, "name", &value) && request_text(value, name, sizeof name);
    const struct moat_reply *reply = host->fact(call, named ? name : NULL);
    return reply->ok ? host->answer(call, reply->data, reply->len) : answer_refusal(call, reply);
}

static bool answer_task(struct moat_call *call, const char *parameters, size_t len)
{
    struct slice task;
    if (!request_find(parameters, len, "task", &task))
        return host->fail(call, "task", "there is no task");
    const struct moat_reply *reply = host->task(call, task.at, (size_t)(task.end - task.at));
    return reply->ok ? host->answer(call, reply->data, reply->len) : answer_refusal(call, reply);
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    struct route r;
    if (strcmp(action, "task") == 0)
        return answer_task(call, parameters, len);
    if (strcmp(action, "fact") == 0)
        return answer_fact(call, parameters, len);
    if (!read_route(parameters, len, &r))
        return host->fail(call, "path", "the path cannot be read");
    pause_ms(r.hold);
    if (!*r.path)
        return answer_end(call);
    host->answer(call, "0", 1); /* stands where the question goes */
    const struct moat_reply *reply = call_first(call, &r);
    for (long long i = 1; i < r.times; i++)
        reply = call_first(call, &r);
    if (strcmp(action, "deaf") == 0 && !reply->ok)
        for (;;)
            pause();
    return reply->ok ? host->answer(call, reply->data, reply->len) : answer_refusal(call, reply);
}

static bool initialize(const struct moat_host *h, const char *config, size_t len)
{
    host = h;
    return h->size >= offsetof(struct moat_host, task) + sizeof h->task;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
