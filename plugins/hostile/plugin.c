/* hostile: a plugin that is honest about being hostile.  Each action tries something a plugin must never manage, and
 * reports what happened.  The demo and the tests run it inside a worker, and outside as a control. */
#include "hostile.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct moat_host *host;

const char *attack_text(struct attack *a, const char *name, const char *otherwise)
{
    static char text[4096];
    struct slice value;
    return request_find(a->text, a->len, name, &value) && request_text(value, text, sizeof text) ? text : otherwise;
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

static const struct {
    const char *name;
    attack_run *run;
} attacks[] = {
    {"read_secret", read_secret},
    {"write_outside", write_outside},
    {"read_environment", read_environment},
    {"mount", mount_something},
    {"connect_tcp", connect_tcp},
    {"connect_unix", connect_unix},
    {"raw_socket", raw_socket},
    {"list_host_processes", list_host_processes},
    {"signal_host", signal_host},
    {"ptrace_host", ptrace_host},
    {"exec_shell", exec_shell},
    {"fork_bomb", fork_bomb},
    {"memory_bomb", memory_bomb},
    {"overrun_deadline", overrun_deadline},
    {"crash", crash},
    {"map_executable", map_executable},
    {"nested_namespace", nested_namespace},
    {"io_uring", io_uring},
    {"kernel_surface", kernel_surface},
    {"keyctl", keyctl_keyring},
    {"scribble", scribble},
};

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    host = given;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        if (strcmp(attacks[i].name, action) != 0)
            continue;
        struct attack a = {.call = call, .host = host, .text = parameters, .len = len};
        attacks[i].run(&a);
        return answer_report(&a);
    }
    return host->fail(call, "no_such_action", action);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
