/* agent_skill: reads the text of a task as an agent's first look would.  docs/agent-skill.md tells how.  It learns
 * nothing, asks nobody and answers the same text the same way. */
#include <string.h>

#include <moat/plugin.h>

#include "report.h"

static const struct moat_host *host;

static bool misfit(struct moat_call *call, const char *what)
{
    return host->fail(call, "bad_parameters", what);
}

static bool take_text(struct moat_call *call, const char *parameters, size_t len, int32_t *today)
{
    struct slice value;
    char day[16];
    *today = NO_DAY;
    if (!request_find(parameters, len, "task", &value) || !request_text(value, text.bytes, sizeof text.bytes))
        return misfit(call, "'task' is missing, is no text, holds a zero or is longer than 65536 bytes");
    if (!request_find(parameters, len, "today", &value))
        return true;
    if (!request_text(value, day, sizeof day) || (*today = day_of(day)) == NO_DAY)
        return misfit(call, "'today' is no day such as 2026-11-30");
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    struct slice offers = {NULL, NULL};
    int32_t today;
    if (!take_text(call, parameters, len, &today))
        return false;
    analyze_text(strlen(text.bytes), today);
    write_begin();
    if (strcmp(action, "analyze") == 0) {
        report_analysis();
    } else if (strcmp(action, "suggest") == 0) {
        report_approaches();
    } else if (strcmp(action, "estimate") == 0) {
        report_estimate();
    } else if (strcmp(action, "decompose") == 0) {
        request_find(parameters, len, "available", &offers);
        report_task(offers);
    } else {
        return host->fail(call, "no_such_action", action);
    }
    return write_end(host, call);
}

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    (void)config;
    (void)len;
    host = given;
    lexicon_sort();
    if (!lexicon_sorted()) {
        host->refuse("its table of words does not fit its room");
        return false;
    }
    return true;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute, .health = lexicon_sorted);
