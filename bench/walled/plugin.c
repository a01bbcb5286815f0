/* walled: the inside of scripts/bench wall. */
#include <stdio.h>
#include <string.h>

#include <moat/plugin.h>

#include "../../plugins/common/request.h"
#include "../wall_work.h"

static const struct moat_host *host;

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    (void)config;
    (void)len;
    host = given;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    struct slice what, times, path;
    char name[256], answer[32];
    long long n;
    int work;
    (void)action;
    if (!request_find(parameters, len, "what", &what) || !request_find(parameters, len, "times", &times) ||
        !request_find(parameters, len, "path", &path) || (work = request_word(what, work_names)) < 0 ||
        !request_integer(times, &n) || !request_text(path, name, sizeof name))
        return host->fail(call, "bad_parameters", "that is no work");
    int64_t took = work_run((enum work)work, (unsigned)n, name);
    if (took < 0)
        return host->fail(call, "cannot_work", strerror((int)-took));
    int size = snprintf(answer, sizeof answer, "%lld", (long long)took);
    return host->answer(call, answer, (size_t)size);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
