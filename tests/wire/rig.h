/* A channel with a worker behind it that has no walls: the host in the test's process, the port in a forked child. */
#ifndef TESTS_WIRE_RIG_H
#define TESTS_WIRE_RIG_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <sys/types.h>

#include "wire/channel.h"
#include "wire/port.h"

struct rig {
    struct channel *ch;
    pid_t pid;
    int h2w, w2h, bell;
};

/* The child runs worker() and exits with 0 when it returns. */
void rig_start(struct rig *r, size_t payload_max, void (*worker)(struct port *port));
/* No child: the descriptors stay open for a test that plays the worker itself. */
void rig_alone(struct rig *r, size_t payload_max);
/* Closes the channel; the child must leave by itself. */
void rig_stop(struct rig *r);
void rig_kill(struct rig *r);

/* Host and child on two CPUs, where there are two; and this process on all of them again. */
void rig_apart(struct rig *r);
void rig_together(void);

/* A worker that echoes calls: inline ones through the ring, others through a large slot. */
void rig_echo(struct port *port);
void rig_echo_one(struct port *port, const struct port_request *request);

/* Reserve, fill with a pattern of (seed, len), submit; the slot. Fails the test when there is no room. */
unsigned rig_submit(struct rig *r, enum channel_kind kind, size_t len, uint32_t seed, void *cookie);
void rig_fill(uint8_t *data, size_t len, uint32_t seed);
bool rig_same(const uint8_t *data, size_t len, uint32_t seed);

/* Waits up to ten seconds for a record. */
struct channel_answer rig_next(struct rig *r);

/* MOAT_SEED, or one from the clock; printed. */
uint64_t rig_seed(void);
uint64_t rig_random(uint64_t *state);

#endif
