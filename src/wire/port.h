/* wire/port: the worker's end of the channel.  Takes calls and answers them in order; links libc only, allocates
 * nothing.  It trusts the host; what plugin code beside it does to this memory harms its own worker only.
 * Single thread. */
#ifndef WIRE_PORT_H
#define WIRE_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/channel.h"
#include "wire/layout.h"

struct port {
    const struct h2w_page *h2w;
    struct w2h_page *w2h;
    struct layout_map in, out;
    size_t payload_max;
    int bell;
    uint64_t read, read_end; /* H2W ring: the request being answered and its end */
    uint64_t head, back;     /* W2H ring: written up to; read by the host up to, as last seen */
    uint64_t large_used[LAYOUT_LARGE];
    uint64_t asks;
    uint64_t id; /* of the request being answered, 0 between requests */
    uint32_t epoch, rang;
    struct layout_yield yield;
};

struct port_request {
    enum channel_kind kind;
    uint32_t action;
    uint64_t deadline; /* CLOCK_MONOTONIC ns, 0 for none */
    const uint8_t *payload;
    size_t len; /* payload[len] is 0 */
};

/* Maps both files; closes h2w and w2h in any case, keeps bell. */
bool port_open(struct port *p, int h2w, int w2h, int bell);

/* The next request, waited for; it stays valid until port_result or port_failure.  false: the host has closed. */
bool port_next(struct port *p, struct port_request *out);

/* Says that the request is begun: from here on it is not given to another worker when this one dies. */
void port_take(struct port *p);
bool port_cancelled(const struct port *p);

/* Leaves word of a limit (enum wall_limit) that the running request ran into, for the host to read should the request
 * fail or the worker die.  Safe in a signal handler. */
void port_overran(struct port *p, unsigned limit, uint64_t seen);

/* Room for a result in the ring (up to CHANNEL_INLINE_MAX; given up by the next port_say) or in a large slot: waits
 * until there is some.  NULL: the host has closed.  len is at most payload_max. */
uint8_t *port_room(struct port *p, size_t len);
int port_large_room(struct port *p);
uint8_t *port_large(struct port *p, int slot);

/* Answers.  The payload stands in the ring's room, in a large slot, or nowhere (len 0). */
void port_result(struct port *p, size_t len);
void port_result_large(struct port *p, int slot, size_t len);
bool port_failure(struct port *p, const char *code, const char *message);

/* Asks the host something for the running request and waits for the answer, which stays until the next one or the
 * request's end.  The parts stand one behind the other.  false: they are longer than payload_max + CHANNEL_ASK_EXTRA,
 * or the host has closed. */
struct port_part {
    const void *bytes;
    size_t len;
};
struct port_reply {
    bool ok;
    const uint8_t *bytes; /* bytes[len] is 0 */
    size_t len;
};
bool port_ask(struct port *p, uint32_t service, const struct port_part *parts, size_t nparts, struct port_reply *out);

/* A log line or progress, cut to what fits; never waits.  false: no room, it is dropped. */
bool port_say(struct port *p, enum channel_kind kind, uint32_t status, const char *text, size_t len);

#endif
