/* loader/ask: what running calls ask of the host (wire/ask.h): taken out of the channel, handed to on_ask, answered, or
 * given up with the call.  Part of loader/internal.
 *
 * Its worker and its handler have a reference each.  Whoever takes it off the worker, under the worker's ask_lock, is
 * who replies: the handler with its answer, or the owner when the call's time is over. */
#ifndef LOADER_ASK_H
#define LOADER_ASK_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/loop.h"
#include "loader/loader.h"
#include "wire/ask.h"

#define ASK_CHAIN_MAX 8 /* plugins that wait for each other in one chain of calls, the last one's included */

struct worker;
struct refused;

struct asked_sum {
    uint64_t calls, ns, cpu_ns;
};

struct inquiry {
    struct question ask;
    _Atomic int refs;
    struct worker *w; /* a reference */
    char call_id[33];
    uint32_t action;          /* + 1, for denials */
    const struct call *outer; /* who asks; only within on_ask */

    /* a call of another plugin */
    struct plugin *chain[ASK_CHAIN_MAX]; /* fixed: who waits, the first one first, this worker's the last */
    unsigned depth;
    struct call nested;
    char plugin[65], named[65]; /* nested's names */

    /* knot_lock (knot.c) */
    struct plugin *target;  /* whose worker it waits for; NULL: it does not */
    struct inquiry *parent; /* the ask that the asking call runs for, while that one waits */
    struct inquiry *child;  /* what the worker that runs nested waits for itself */

    /* a denial on its way through the explain thread */
    struct loop_task task;
    struct refused *refused;
    struct error error;

    uint8_t bytes[];
};

/* knot.c.  x begins to wait for a call of target; false: it would wait for itself, through others. */
bool knot_open(struct inquiry *x, struct plugin *target);
void knot_close(struct inquiry *x);

#endif
