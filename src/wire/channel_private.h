/* wire/channel_private: the host's own side of a channel, shared by channel.c (records) and wait.c (waiting). */
#ifndef WIRE_CHANNEL_PRIVATE_H
#define WIRE_CHANNEL_PRIVATE_H

#include <sys/types.h>

#include "wire/channel.h"
#include "wire/layout.h"

/* Ids grow by one with each call: the low byte is the slot, the rest its generation. */
#define CHANNEL_FIRST_ID CHANNEL_WINDOW
#define CHANNEL_SLOT(id) ((unsigned)((id) & (CHANNEL_WINDOW - 1)))

struct pending {
    void *cookie;
    uint64_t end; /* of its record in the H2W ring */
    uint8_t kind;
    int8_t large; /* its large slot, or -1 */
};

/* Everything that a decision rests on lives here, in memory that the worker cannot see. */
struct channel {
    struct h2w_page *h2w;
    const struct w2h_page *w2h;
    struct layout_map out, in;
    size_t payload_max;
    const char *why; /* broken: for ever */

    /* calls: [oldest, next) are in flight */
    uint64_t oldest, next, taken;
    uint64_t head, tail; /* H2W ring: written up to, free up to (+ LAYOUT_RING) */
    bool large_busy[LAYOUT_LARGE];
    bool reserved;
    int8_t reserved_large;

    /* answers */
    uint64_t read;             /* W2H ring: the next record */
    uint64_t read_end;         /* end of the record that channel_next handed out, 0 when none is */
    int8_t read_large;         /* its large slot, or -1 */
    bool submitted, gave_back; /* since the worker's sleep was last looked at */
    uint64_t large_back[LAYOUT_LARGE];
    uint32_t chatter; /* logs and progress since the last look at the clock */
    uint64_t chatter_since;

    /* waiting */
    uint32_t epoch;
    _Atomic uint32_t woken;
    _Atomic bool asked; /* the worker waits for a reply */
    uint32_t fruitless; /* wakes that brought nothing, less the records that came */
    int bell;
    _Atomic bool wake, sleeping;
    struct layout_yield yield;
    _Atomic pid_t worker;
    _Atomic int placed; /* the CPU that the worker was last put on, or -1 */
    cpu_set_t cpus;     /* what this process may use */

    struct pending pending[CHANNEL_WINDOW];
};

static inline bool channel_ready(const struct channel *ch)
{
    return ch->why || layout_ready(layout_record(&ch->in, ch->read), ch->read);
}

/* Wakes the worker when it sleeps; work: that it has something to do, else for room alone; here: on this CPU where that
 * is allowed. Any thread. */
void channel_wake_worker(struct channel *ch, bool work, bool here);

/* Marks the channel broken; the first reason stays. */
enum channel_got channel_break(struct channel *ch, const char *why);

#endif
