/* liar: has the action names of echo and lies to the host about them.  Plugin code lives in one process with the
 * engine, so it finds the engine's memory; everything it can do to the channel from there is what the host must
 * survive. */
#include <string.h>

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

static const struct {
    const char *action;
    void (*lie)(struct port *port);
} lies[] = {{"count", forge}, {"typed", too_long}, {"crash", boast}, {"mute", storm}, {"progress", chatter}};

static bool initialize(const struct moat_host *h, const char *config, size_t len)
{
    host = h;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        if (strcmp(action, lies[i].action) == 0) {
            lies[i].lie(&engine_of_worker()->port);
            for (;;)
                pause();
        }
    return host->answer(call, parameters, len);
}

static bool health(void)
{
    return false;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute, .health = health);
