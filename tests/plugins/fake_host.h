/* tests/plugins/fake_host: the services of moat/plugin.h without a host, for plugins on their own.
 *
 * The room for a result is exactly as large as was asked for, and the parameters end right behind their 0: with
 * AddressSanitizer a plugin that goes beyond either is caught. */
#ifndef TESTS_FAKE_HOST_H
#define TESTS_FAKE_HOST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <moat/plugin.h>

struct moat_call {
    char *room, *result;
    size_t room_size, result_len, payload_max;
    char code[33], message[1024];
    bool broke_contract; /* committed more than it asked for, or nothing */
};

static char fake_refusal[1024];

static char *fake_room(struct moat_call *call, size_t capacity)
{
    free(call->room);
    call->room = capacity <= call->payload_max ? malloc(capacity ? capacity : 1) : NULL;
    call->room_size = call->room ? capacity : 0;
    return call->room;
}

static bool fake_commit(struct moat_call *call, size_t len)
{
    if (!call->room || len > call->room_size) {
        call->broke_contract = true;
        return false;
    }
    free(call->result);
    call->result = call->room;
    call->result_len = len;
    call->room = NULL;
    return true;
}

static bool fake_answer(struct moat_call *call, const char *json, size_t len)
{
    char *room = fake_room(call, len);
    if (!room)
        return false;
    memcpy(room, json, len);
    return fake_commit(call, len);
}

static bool fake_fail(struct moat_call *call, const char *code, const char *message)
{
    snprintf(call->code, sizeof call->code, "%s", code);
    snprintf(call->message, sizeof call->message, "%s", message);
    return false;
}

static bool fake_cancelled(const struct moat_call *call)
{
    return false;
}

static uint64_t fake_remaining(const struct moat_call *call)
{
    return UINT64_MAX;
}

static void fake_progress(struct moat_call *call, unsigned thousandths, const char *message)
{
}

static void fake_log(enum moat_log_level level, const char *message)
{
    fprintf(stderr, "log %d %s\n", (int)level, message);
}

static void fake_refuse(const char *message)
{
    snprintf(fake_refusal, sizeof fake_refusal, "%s", message);
}

static const void *fake_asset(const char *name, size_t *len)
{
    return NULL;
}

static const struct moat_host fake_host = {
    .size = sizeof(struct moat_host),
    .abi = MOAT_PLUGIN_ABI,
    .plugin = "fake",
    .version = "0.0.0",
    .answer = fake_answer,
    .result_room = fake_room,
    .commit = fake_commit,
    .fail = fake_fail,
    .cancelled = fake_cancelled,
    .remaining_ns = fake_remaining,
    .progress = fake_progress,
    .log = fake_log,
    .refuse = fake_refuse,
    .asset = fake_asset,
};

/* Runs one action over a copy of the text; true when the plugin said yes.  The caller clears the call. */
static bool fake_call(const struct moat_plugin *plugin, struct moat_call *call, const char *action, const char *text,
                      size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        abort();
    memcpy(copy, text, len);
    copy[len] = 0;
    bool yes = plugin->execute(call, action, copy, len);
    free(copy);
    return yes;
}

static void fake_clear(struct moat_call *call)
{
    free(call->room);
    free(call->result);
    *call = (struct moat_call){.payload_max = call->payload_max};
}

#endif
