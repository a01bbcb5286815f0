/* liar: has the action names of echo and lies to the host about them.  Plugin code lives in one process with the
 * engine, so it finds the engine's memory; everything it can do to the channel from there is what the host must
 * survive. */
#include <string.h>
#include <time.h>

#include "worker/engine/private.h"

static const struct moat_host *host;

static struct engine *engine_of_worker(void)
{
    return (struct engine *)(void *)((char *)(uintptr_t)host - offsetof(struct engine, host));
}

/* A record that looks well made, for a call that nobody asked for. */
static void forge(struct port *port)
{
    struct header h = {.id = port->id + 7, .len = 2, .kind = CHANNEL_RESULT};
    memcpy(layout_record(&port->out, port->head)->payload, "{}", 2);
    layout_publish(&port->out, port->head, layout_size(2), &h);
}

static void too_long(struct port *port)
{
    struct header h = {.id = port->id, .len = 0x7fffffff, .kind = CHANNEL_RESULT};
    layout_publish(&port->out, port->head, layout_size(2), &h);
}

/* From here on it claims to have begun calls that were never sent. */
static void boast(struct port *port)
{
    atomic_store(&port->w2h->taken, port->id + 100000);
    __builtin_trap();
}

static void ring(struct port *port)
{
    const uint64_t one = 1;
    atomic_fetch_add(&port->w2h->bell, 1);
    layout_futex_wake(&port->w2h->bell, 1);
    if (write(port->bell, &one, sizeof one) < 0)
        return; /* full: the host has not looked yet */
}

/* Wakes the host as fast as it can, both ways, and never answers. */
static void storm(struct port *port)
{
    for (;;)
        ring(port);
}

/* Log lines without end, as fast as the host reads them. */
static void chatter(struct port *port)
{
    const struct header h = {.kind = CHANNEL_LOG};
    for (uint64_t head = port->head;; head += LAYOUT_ALIGN) {
        while (head - atomic_load(&port->h2w->ring_back) > LAYOUT_RING / 2)
            ring(port);
        layout_publish(&port->out, head, LAYOUT_ALIGN, &h);
    }
}

/* A good answer, past the engine; where its payload stands. */
static uint8_t *answer(struct port *port, const char *text, size_t len)
{
    struct header h = {.id = port->id, .len = (uint32_t)len, .kind = CHANNEL_RESULT};
    uint8_t *payload = layout_record(&port->out, port->head)->payload;
    memcpy(payload, text, len);
    layout_publish(&port->out, port->head, layout_size(len), &h);
    port->head += layout_size(len);
    ring(port);
    return payload;
}

static void twice(struct port *port)
{
    answer(port, "2", 1);
    answer(port, "2", 1);
}

/* The call is over, and the bell rings on. */
static void ring_on(struct port *port)
{
    answer(port, "null", 4);
    storm(port);
}

static bool within(const struct timespec *begin, long ms)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - begin->tv_sec) * 1000 + (now.tv_nsec - begin->tv_nsec) / 1000000 < ms;
}

/* The answer's text changes while the host copies it: JSON, and no JSON. */
static void flicker(struct port *port)
{
    static char text[CHANNEL_INLINE_MAX];
    struct timespec begin;
    memset(text, 'a', sizeof text);
    text[0] = text[sizeof text - 1] = '"';
    clock_gettime(CLOCK_MONOTONIC, &begin);
    volatile uint8_t *payload = answer(port, text, sizeof text);
    while (within(&begin, 5))
        for (size_t i = 1; i < sizeof text - 1; i++)
            payload[i] = payload[i] == 'a' ? '"' : 'a';
    __builtin_trap();
}

/* The word that tells the host whether to wake it, at random (changing the host's bell is a storm); then the call is
 * answered as it should be. */
static void scribble(struct port *port)
{
    struct timespec begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (uint32_t n = 1; within(&begin, 30); n = n * 1664525 + 1013904223)
        atomic_store(&port->w2h->worker_sleep, n >> 8);
    atomic_store(&port->w2h->worker_sleep, port->epoch);
}

static void say(struct port *port, uint8_t kind, uint64_t id, uint8_t flags, uint32_t len)
{
    struct header h = {.id = id, .len = len, .kind = kind, .flags = flags, .status = 1};
    layout_publish(&port->out, port->head, LAYOUT_ALIGN, &h);
    port->head += LAYOUT_ALIGN;
}

/* What only one who waits may not do: ask again, answer, ask for a call that is over. */
static void ask_twice(struct port *port)
{
    say(port, CHANNEL_ASK, port->id, 0, 4);
    say(port, CHANNEL_ASK, port->id, 0, 4);
    ring(port);
}

static void ask_and_answer(struct port *port)
{
    say(port, CHANNEL_ASK, port->id, 0, 4);
    say(port, CHANNEL_RESULT, port->id, 0, 0);
    ring(port);
}

static void ask_too_late(struct port *port)
{
    uint64_t id = port->id;
    answer(port, "null", 4);
    say(port, CHANNEL_ASK, id, 0, 4);
    ring(port);
}

static void ask_for_another(struct port *port)
{
    say(port, CHANNEL_ASK, port->id + 1, LAYOUT_FLAG_LARGE, 100000);
    ring(port);
}

static const struct {
    const char *action;
    void (*lie)(struct port *port);
    bool honest; /* in the end */
} lies[] = {{"count", forge},
            {"typed", too_long},
            {"crash", boast},
            {"mute", storm},
            {"progress", chatter},
            {"fail", twice},
            {"spin", ring_on},
            {"alloc", flicker},
            {"log", scribble, true},
            {"sleep", ask_twice},
            {"bad_result", ask_and_answer},
            {"big", ask_too_late},
            {"read", ask_for_another}};

static bool stays;

static bool initialize(const struct moat_host *h, const char *config, size_t len)
{
    host = h;
    stays = memmem(config, len, "stays", 5) != NULL;
    return true;
}

/* Says that it is done, and goes on. */
static bool shutdown_plugin(void)
{
    if (stays) {
        answer(&engine_of_worker()->port, "", 0);
        for (;;)
            pause();
    }
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        if (strcmp(action, lies[i].action) == 0) {
            lies[i].lie(&engine_of_worker()->port);
            while (!lies[i].honest)
                pause();
        }
    return host->answer(call, parameters, len);
}

static bool health(void)
{
    return false;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute, .health = health, .shutdown = shutdown_plugin);
