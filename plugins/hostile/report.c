/* What every attack uses: its parameters, its report, and the way from a name to the attack. */
#include "hostile.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *attack_text(struct attack *a, const char *name, const char *otherwise)
{
    static char texts[4][4096]; /* four at once are enough for any attack */
    static unsigned turn;
    char *text = texts[turn++ % 4];
    struct slice value;
    return request_find(a->text, a->len, name, &value) && request_text(value, text, sizeof texts[0]) ? text : otherwise;
}

long attack_integer(struct attack *a, const char *name, long otherwise)
{
    struct slice value;
    long long out;
    return request_find(a->text, a->len, name, &value) && request_integer(value, &out) ? (long)out : otherwise;
}

void attack_tried(struct attack *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(a->report.tried, sizeof a->report.tried, format, args);
    va_end(args);
}

void attack_detail(struct attack *a, const char *format, ...)
{
    size_t used = strlen(a->report.detail), room = sizeof a->report.detail - used;
    va_list args;
    va_start(args, format);
    int separator = snprintf(a->report.detail + used, room, "%s", used ? "; " : "");
    if ((size_t)separator < room)
        vsnprintf(a->report.detail + used + separator, room - (size_t)separator, format, args);
    va_end(args);
}

static const char *errno_name(int errnum)
{
    const char *name = strerrorname_np(errnum);
    return name ? name : "unknown";
}

bool attack_attempt(struct attack *a, const char *what, long result)
{
    if (result >= 0) {
        attack_detail(a, "%s: went through", what);
        a->report.succeeded = true;
        return true;
    }
    attack_detail(a, "%s: %s", what, errno_name((int)-result));
    if (!a->report.errnum)
        a->report.errnum = (int)-result;
    return false;
}

/* What a JSON string may hold as it is; out has room for twice the text. */
static void escape(char *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            *out++ = '\\';
        *out++ = c >= ' ' && c < 127 ? (char)c : '?';
    }
    *out = 0;
}

static bool answer_report(struct attack *a)
{
    const struct report *r = &a->report;
    char tried[2 * sizeof r->tried], detail[2 * sizeof r->detail], errnum[32] = "null";
    char json[sizeof tried + sizeof detail + 128];
    escape(tried, r->tried);
    escape(detail, r->detail);
    if (r->errnum)
        snprintf(errnum, sizeof errnum, "\"%.24s\"", errno_name(r->errnum));
    int len = snprintf(json, sizeof json, "{\"tried\":\"%s\",\"succeeded\":%s,\"errno\":%s,\"detail\":\"%s\"}", tried,
                       r->succeeded ? "true" : "false", errnum, detail);
    return a->host->answer(a->call, json, (size_t)len);
}

bool attack_run_named(const struct attack_row *rows, const char *name, struct attack *a)
{
    for (; rows->name; rows++) {
        if (strcmp(rows->name, name) != 0)
            continue;
        rows->run(a);
        return answer_report(a);
    }
    return a->host->fail(a->call, "no_such_attack", name);
}
