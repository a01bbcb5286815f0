/* A plugin that uses every service, for the engine's test.  Built several times, with a table that is broken in
 * one place each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "moat/plugin.h"

static const struct moat_host *host;
static char state[64] = "fresh";
static struct moat_call *kept;

static bool initialize(const struct moat_host *h, const char *config, size_t len)
{
    host = h;
    h->log(MOAT_LOG_INFO, "hello from initialize");
    if (strcmp(config, "{\"bad\":true}") == 0) {
        h->refuse("bad is true");
        return false;
    }
    return strcmp(h->plugin, "every") == 0 && strcmp(h->version, "1.0.0") == 0 && h->size == sizeof *h &&
           strlen(config) == len;
}

static bool in_place(struct moat_call *call, const char *text, size_t len)
{
    char *room = host->result_room(call, len + 10);
    if (!room)
        return host->fail(call, "no_room", "result_room gave none");
    memcpy(room, text, len);
    host->log(MOAT_LOG_DEBUG, "between room and commit");
    host->progress(call, 500, "half");
    if (host->commit(call, len + 11) || !host->commit(call, len) || host->commit(call, len))
        return host->fail(call, "commit", "commit does not keep its word");
    return true;
}

static bool many_answers(struct moat_call *call, const char *text, size_t len)
{
    if (!host->answer(call, "\"first\"", 7))
        return false;
    host->log(MOAT_LOG_WARN, "after the answer");
    char *room = host->result_room(call, 32);
    memcpy(room, "\"second\"", 8);
    host->commit(call, 8);
    room = host->result_room(call, 100 * 1024);
    memset(room, 'x', 100 * 1024);
    host->answer(call, text, len);
    return !host->commit(call, 10);
}

static bool too_large(struct moat_call *call)
{
    static char big[2 << 20];
    if (host->answer(call, big, sizeof big) || host->result_room(call, sizeof big))
        return host->answer(call, "false", 5);
    return host->answer(call, "true", 4);
}

static bool stale(struct moat_call *call, const char *text, size_t len)
{
    bool lives = kept && kept != call && host->answer(kept, text, len);
    kept = call;
    return host->answer(call, lives ? "true" : "false", lives ? 4 : 5);
}

static bool flood(struct moat_call *call)
{
    for (int i = 0; i < 100000; i++) {
        host->log(MOAT_LOG_ERROR, "flood");
        host->progress(call, (unsigned)i, NULL);
    }
    return host->answer(call, "1", 1);
}

static bool until_cancelled(struct moat_call *call)
{
    while (!host->cancelled(call))
        usleep(200);
    return host->fail(call, "gave_up", "cancelled");
}

static bool remaining(struct moat_call *call)
{
    uint64_t ns = host->remaining_ns(call);
    char text[32];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)(ns == UINT64_MAX ? 0 : ns));
    return host->answer(call, text, (size_t)n);
}

/* Asks for the action that parameters name, with parameters, over an answer that stands already; twice, so that the
 * second reply takes the first one's place. "size" or "refused" first: what is told of the reply. */
static bool asks(struct moat_call *call, const char *text, size_t len)
{
    char out[300];
    host->answer(call, text, len);
    const struct moat_reply *reply = host->call(NULL, "other", "act", text, len);
    if (reply->ok || strcmp(reply->code, "wrong_state") != 0)
        return host->fail(call, "nobody", "no call asked for something");
    host->call(call, "other", "first", text, len);
    reply = host->call(call, "other", "act", text, len);
    if (reply->ok && reply->data[reply->len] == 0)
        return len > 20 ? host->answer(call, reply->data, reply->len) : true;
    int n = snprintf(out, sizeof out, "%s/%s/%s", reply->code, reply->message, reply->data);
    return host->answer(call, out, (size_t)n);
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    if (parameters[len] != 0)
        abort();
    if (strcmp(action, "echo") == 0)
        return host->answer(call, parameters, len);
    if (strcmp(action, "in_place") == 0)
        return in_place(call, parameters, len);
    if (strcmp(action, "many_answers") == 0)
        return many_answers(call, parameters, len);
    if (strcmp(action, "too_large") == 0)
        return too_large(call);
    if (strcmp(action, "stale") == 0)
        return stale(call, parameters, len);
    if (strcmp(action, "flood") == 0)
        return flood(call);
    if (strcmp(action, "until_cancelled") == 0)
        return until_cancelled(call);
    if (strcmp(action, "remaining") == 0)
        return remaining(call);
    if (strcmp(action, "asks") == 0)
        return asks(call, parameters, len);
    if (strcmp(action, "fail") == 0) {
        host->answer(call, "1", 1);
        return host->fail(call, "overflow", "it does not fit");
    }
    if (strcmp(action, "crash") == 0)
        abort();
    return strcmp(action, "no_result") == 0; /* "silent": false without a reason */
}

static bool health(void)
{
    return strcmp(state, "ill") != 0;
}

static bool configure(const char *config, size_t len)
{
    if (len > sizeof state - 1) {
        host->refuse("too long");
        return false;
    }
    memcpy(state, config, len + 1);
    return strcmp(state, "no") != 0;
}

static bool quit(void)
{
    return strcmp(state, "ill") != 0;
}

static bool save_state(struct moat_call *call)
{
    return host->answer(call, state, sizeof state);
}

static bool restore_state(const void *blob, size_t len)
{
    if (len != sizeof state)
        return false;
    memcpy(state, blob, len);
    return true;
}

/* What stands behind the end that an older table states is not the table's. */
static bool behind(const char *config, size_t len)
{
    abort();
}

static bool behind_save(struct moat_call *call)
{
    abort();
}

#ifndef SIZE
#define SIZE sizeof(struct moat_plugin)
#endif
#ifndef ABI
#define ABI MOAT_PLUGIN_ABI
#endif
#ifdef OLD
#define CONFIGURE behind
#define SAVE behind_save
#else
#define CONFIGURE configure
#define SAVE save_state
#endif
#ifndef EXECUTE
#define EXECUTE execute
#endif

#ifdef HIDDEN
__attribute__((used)) static const struct moat_plugin not_the_name
#else
__attribute__((visibility("default"))) extern const struct moat_plugin moat_plugin;
const struct moat_plugin moat_plugin
#endif
    = {SIZE, ABI, initialize, EXECUTE, health, CONFIGURE, quit, SAVE, restore_state};

/* Not every variant uses them all. */
__attribute__((used)) static const struct moat_plugin all = {0,         0,    initialize, execute,      health,
                                                             configure, quit, save_state, restore_state};
__attribute__((used)) static const struct moat_plugin none = {0, 0, 0, 0, 0, behind, 0, behind_save, 0};
