/* loader/ask: what running calls ask of the host (wire/ask.h): taken out of the channel, handed to on_ask, answered, or
 * given up with the call.  Part of loader/internal.
 *
 * Its worker and its handler have a reference each.  Whoever takes it off the worker, under the worker's lock for it,
 * is who replies: the handler with its answer, or the owner when the call's time is over. */
#ifndef LOADER_ASK_H
#define LOADER_ASK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/loop.h"
#include "loader/loader.h"
#include "wire/ask.h"
#include "wire/channel.h"

#define ASK_QUICK_NS (1000 * 1000ull) /* answered within that, a worker stays on the CPU of who answers */

struct flight;
struct receipt;
struct refused;
struct worker;

/* A worker's side. */
struct asked_sum {
    uint64_t calls, ns, cpu_ns;
};
struct worker_asks {
    pthread_mutex_t lock;
    struct inquiry *now;   /* lock: what it waits for: a reference */
    struct asked_sum sum;  /* lock: of the call at the head */
    struct inquiry *waits; /* knot_lock: the same, where it is a call of another plugin */
};

struct inquiry {
    struct question ask;
    _Atomic int refs;
    struct worker *w; /* a reference */
    char call_id[33];
    uint64_t since_ns;
    uint32_t action;      /* + 1, for denials */
    struct inquiry *of;   /* the ask that the asking call runs for: a reference, or NULL */
    struct asked_sum sum; /* of the calls that ran for it, one at a time */

    /* a call of another plugin */
    struct plugin *chain[ASK_CHAIN_MAX]; /* fixed: who waits, the first one first, this worker's the last */
    unsigned depth;
    struct call nested;
    char plugin[65], named[65]; /* nested's names */

    /* knot_lock (knot.c) */
    struct plugin *target;  /* whose worker it waits for; NULL: it does not */
    struct inquiry *parent; /* the ask that the asking call runs for, while that one waits */
    struct inquiry *child;  /* what the worker that runs nested waits for itself */
    bool over;              /* its worker goes on: it waits for nothing any more */

    /* a denial on its way through the explain thread */
    struct loop_task task;
    struct refused *refused;
    struct error error;

    uint8_t bytes[];
};

void ask_worker_open(struct worker *w);
void ask_worker_close(struct worker *w);
/* The owner: the worker asks for something. */
void ask_take(struct worker *w, const struct flight *f, const struct channel_answer *a);
/* The owner: nobody waits for it any more. err NULL: nor does the worker, which has ended. */
void ask_withdraw(struct worker *w, const struct error *err);
/* The owner: into the receipt of the call at the head, and from the beginning again. */
void ask_account(struct worker *w, struct receipt *r);
void asks_drain(struct loader *l); /* until none is left */

/* knot.c.  x begins to wait for a call of target. 0, MOAT_E_WOULD_DEADLOCK: it would wait for itself, through others;
 * MOAT_E_CANCELLED: its worker waits for it no more. Sets no message. */
int knot_open(struct inquiry *x, struct plugin *target);
void knot_close(struct inquiry *x); /* that call has ended */
void knot_end(struct inquiry *x);   /* and nothing is opened any more */

#endif
