/* The services of moat/plugin.h.  Nothing here allocates; nothing is published before execute has returned, because
 * the last answer counts and a call may still fail. */
#include <stdio.h>
#include <string.h>

#include "wire/ask.h"
#include "wire/net.h"
#include "worker/engine/private.h"

#define PROGRESS_NS (10 * NS_PER_MS)

static bool valid(const struct moat_call *call)
{
    return call == &engine.call && call->running;
}

/* Results. */

/* A call holds one large slot at most, and keeps it until it is published or the next call takes it over. */
static uint8_t *large_room(struct moat_call *call)
{
    if (call->slot < 0)
        call->slot = port_large_room(&engine.port);
    return call->slot < 0 ? NULL : port_large(&engine.port, call->slot);
}

static bool answer(struct moat_call *call, const char *json, size_t len)
{
    if (!valid(call) || len > engine.port.payload_max)
        return false;
    bool inside = len <= CHANNEL_INLINE_MAX;
    uint8_t *to = inside ? port_room(&engine.port, len) : large_room(call);
    if (!to)
        return false;
    memmove(to, json, len); /* json may point into the call's own room */
    call->result = inside ? RING : LARGE;
    call->room = NOWHERE;
    call->len = len;
    return true;
}

/* A small room is not in the ring: a log line written before commit needs the ring's end. */
static char *result_room(struct moat_call *call, size_t capacity)
{
    if (!valid(call) || capacity > engine.port.payload_max)
        return NULL;
    bool inside = capacity <= CHANNEL_INLINE_MAX;
    uint8_t *room = inside ? engine.staging : large_room(call);
    if (!room)
        return NULL;
    call->result = NOWHERE;
    call->room = inside ? STAGED : LARGE;
    call->capacity = capacity;
    return (char *)room;
}

static bool commit(struct moat_call *call, size_t len)
{
    if (!valid(call) || call->room == NOWHERE || len > call->capacity)
        return false;
    call->result = call->room;
    call->room = NOWHERE;
    call->len = len;
    return true;
}

static void copy_text(char *out, size_t size, const char *text)
{
    size_t len = text ? strnlen(text, size - 1) : 0;
    if (len)
        memcpy(out, text, len);
    out[len] = 0;
}

static bool fail(struct moat_call *call, const char *code, const char *message)
{
    if (valid(call)) {
        copy_text(call->code, sizeof call->code, code);
        copy_text(call->message, sizeof call->message, message);
    }
    return false;
}

/* Lines and progress. */

/* A result at the ring's end moves: another record takes its place. */
static bool make_way(void)
{
    struct moat_call *call = &engine.call;
    if (!call->running || call->result != RING)
        return true;
    const uint8_t *room = port_room(&engine.port, call->len); /* where it stands: there at once */
    if (!room)
        return false;
    memcpy(engine.staging, room, call->len);
    call->result = STAGED;
    return true;
}

static bool say(enum channel_kind kind, uint32_t status, const char *text, size_t len)
{
    return make_way() && port_say(&engine.port, kind, status, text, len);
}

static bool say_text(enum channel_kind kind, uint32_t status, const char *text)
{
    return say(kind, status, text ? text : "", text ? strnlen(text, LAYOUT_SMALL) : 0);
}

static void say_dropped(void)
{
    char line[64];
    int len = snprintf(line, sizeof line, "%u log lines were dropped: too many", engine.dropped);
    if (engine.dropped && say(CHANNEL_LOG, MOAT_LOG_WARN, line, (size_t)len))
        engine.dropped = 0;
}

static void write_log(enum moat_log_level level, const char *message)
{
    uint64_t now = clock_mono_ns();
    if (now - engine.second >= NS_PER_S) {
        engine.second = now;
        engine.lines = 0;
        say_dropped();
    }
    if (engine.lines >= LAYOUT_LINES || !say_text(CHANNEL_LOG, (uint32_t)level, message)) {
        engine.dropped++;
        return;
    }
    engine.lines++;
}

static void progress(struct moat_call *call, unsigned thousandths, const char *message)
{
    if (!valid(call))
        return;
    uint64_t now = clock_mono_ns();
    if (now - engine.last_progress < PROGRESS_NS)
        return;
    engine.last_progress = now;
    say_text(CHANNEL_PROGRESS, thousandths < 1000 ? thousandths : 1000, message);
}

static void refuse(const char *message)
{
    copy_text(engine.refused, sizeof engine.refused, message);
}

/* Surroundings. */

static bool cancelled(const struct moat_call *call)
{
    return valid(call) && port_cancelled(&engine.port);
}

static uint64_t remaining_ns(const struct moat_call *call)
{
    if (!valid(call) || !call->deadline)
        return UINT64_MAX;
    uint64_t now = clock_mono_ns();
    return now < call->deadline ? call->deadline - now : 0;
}

static const void *asset(const char *name, size_t *len)
{
    return name ? assets_find(&engine.assets, name, len) : NULL;
}

/* What is asked of the host. */

const struct moat_reply *services_no(const char *code, const char *message)
{
    engine.reply = (struct moat_reply){.data = "", .code = code, .message = message};
    return &engine.reply;
}

const struct moat_reply *services_yes(const char *data, size_t len)
{
    engine.reply = (struct moat_reply){.ok = true, .data = data, .len = len, .code = "", .message = ""};
    return &engine.reply;
}

bool services_running(const struct moat_call *call)
{
    return valid(call);
}

const struct moat_reply *services_ask(const struct moat_call *call, enum ask_service service,
                                      const struct port_part *parts, size_t nparts)
{
    struct port_reply reply;
    if (!valid(call))
        return services_no("wrong_state", "only a call that runs can ask the host");
    if (!make_way() || !port_ask(&engine.port, service, parts, nparts, &reply))
        return services_no("too_large", "more than this host takes");
    const char *text = (const char *)reply.bytes;
    if (!reply.ok)
        return services_no(text, text + strnlen(text, reply.len) + (strnlen(text, reply.len) < reply.len));
    return services_yes(text, reply.len);
}

/* "plugin NUL action NUL parameters" */
static const struct moat_reply *call_other(struct moat_call *call, const char *plugin, const char *action,
                                           const char *parameters, size_t len)
{
    struct port_part parts[] = {{plugin ? plugin : "", plugin ? strlen(plugin) + 1 : 1},
                                {action ? action : "", action ? strlen(action) + 1 : 1},
                                {parameters, parameters ? len : 0}};
    return services_ask(call, ASK_CALL, parts, sizeof parts / sizeof *parts);
}

static const struct moat_reply *fact(struct moat_call *call, const char *name)
{
    return services_ask(call, ASK_FACT, &(struct port_part){name, name ? strlen(name) : 0}, 1);
}

static const struct moat_reply *task(struct moat_call *call, const char *json, size_t len)
{
    return services_ask(call, ASK_TASK, &(struct port_part){json, json ? len : 0}, 1);
}

static int connect_to(struct moat_call *call, const char *host, uint16_t port, unsigned flags,
                      const struct moat_reply **why)
{
    struct net_wish wish = {.port = port, .flags = flags > UINT16_MAX ? UINT16_MAX : (uint16_t)flags};
    struct port_part parts[] = {{&wish, sizeof wish}, {host, host ? strlen(host) : 0}};
    const struct moat_reply *reply = services_ask(call, ASK_CONNECT, parts, sizeof parts / sizeof *parts);
    int fd = reply->ok ? inside_connection() : -1;
    if (reply->ok && fd < 0)
        reply = services_no("limit", "the worker has no descriptor left: close some, or ask for more in the manifest");
    if (why)
        *why = reply;
    return fd;
}

void services_init(void)
{
    engine.call.slot = -1;
    engine.host = (struct moat_host){
        .size = sizeof engine.host,
        .abi = MOAT_PLUGIN_ABI,
        .plugin = engine.start.plugin,
        .version = engine.start.version,
        .answer = answer,
        .result_room = result_room,
        .commit = commit,
        .fail = fail,
        .cancelled = cancelled,
        .remaining_ns = remaining_ns,
        .progress = progress,
        .log = write_log,
        .refuse = refuse,
        .asset = asset,
        .call = call_other,
        .fact = fact,
        .query = query,
        .connect = connect_to,
        .task = task,
    };
}

void services_begin(const struct port_request *request)
{
    struct moat_call *call = &engine.call;
    call->running = true;
    call->result = call->room = NOWHERE;
    call->deadline = request->deadline;
    call->code[0] = call->message[0] = 0;
    engine.last_progress = 0;
}

static void publish(struct moat_call *call)
{
    if (call->result == STAGED) {
        uint8_t *room = port_room(&engine.port, call->len);
        if (!room)
            return;
        memcpy(room, engine.staging, call->len);
    }
    if (call->result == LARGE) {
        port_result_large(&engine.port, call->slot, call->len);
        call->slot = -1;
    } else {
        port_result(&engine.port, call->len);
    }
}

void services_finish(bool ok)
{
    struct moat_call *call = &engine.call;
    query_call_ends(call);
    if (ok && call->result == NOWHERE) {
        ok = false;
        fail(call, "no_result", "the action said it succeeded and gave no result");
    }
    call->running = false;
    if (ok)
        publish(call);
    else
        port_failure(&engine.port, call->code[0] ? call->code : "failed",
                     call->code[0] ? call->message : "the action failed and gave no reason");
}
