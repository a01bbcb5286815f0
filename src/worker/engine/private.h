/* worker/engine/private: what the engine's files share.  One engine a process: a plugin's log line comes without
 * a context to find it by. */
#ifndef WORKER_ENGINE_PRIVATE_H
#define WORKER_ENGINE_PRIVATE_H

#include "moat/plugin.h"
#include "sandbox/inside.h"
#include "wire/ask.h"
#include "wire/assets.h"
#include "wire/port.h"
#include "wire/seat.h"
#include "wire/start.h"

#define ENGINE_CODE_MAX 32
#define ENGINE_MESSAGE_MAX 1024

/* Where the bytes of a result stand until execute has returned and they are published. */
enum place {
    NOWHERE,
    RING,   /* at the ring's end, unpublished */
    STAGED, /* in `staging`: a log line took the ring's end, or the plugin wrote it in place */
    LARGE,  /* in a large slot */
};

struct moat_call {
    bool running;
    enum place result, room; /* at most one is not NOWHERE */
    size_t len, capacity;
    int slot; /* large slot held by this call, or -1 */
    char code[ENGINE_CODE_MAX + 1], message[ENGINE_MESSAGE_MAX];
    uint64_t deadline;
};

struct engine {
    struct port port;
    bool unmapped; /* the channel could not be mapped */
    bool programs; /* the plugin may start some */
    struct start start;
    struct assets assets;
    struct moat_plugin plugin; /* our copy of the plugin's table */
    struct moat_host host;
    struct moat_call call;
    struct moat_reply reply;
    char refused[ENGINE_MESSAGE_MAX];
    uint64_t second, last_progress; /* CLOCK_MONOTONIC ns */
    unsigned lines, dropped;        /* of this second; since the last one that passed */
    uint8_t staging[CHANNEL_INLINE_MAX];
};

extern struct engine engine;

/* services.c */
void services_init(void);
void services_begin(const struct port_request *request);
/* Publishes the result or the failure of the running call. Both kinds of false are in the words of moat/plugin.h. */
void services_finish(bool ok);

/* What a service answers: in engine.reply. */
bool services_running(const struct moat_call *call);
const struct moat_reply *services_no(const char *code, const char *message);
const struct moat_reply *services_yes(const char *data, size_t len);
const struct moat_reply *services_ask(const struct moat_call *call, enum ask_service service,
                                      const struct port_part *parts, size_t nparts);

/* query.c */
bool query_init(int seats); /* the file stays the caller's */
const struct moat_reply *query(struct moat_call *call, const char *source, const char *sql, const char *parameters,
                               size_t len, unsigned max_rows);
void query_call_ends(struct moat_call *call);

/* overrun.c: before plugin code is loaded. */
void overrun_init(void);

/* load.c: loads the code and copies the plugin's table; false with a message. */
bool engine_load(const struct inside *in, char *message, size_t size);

#endif
