/* base/loop: one thread that waits: descriptors, timers, and work posted by other threads.  Owns its epoll descriptor;
 * knows nothing of what it runs.  Whatever may block never runs here.
 *
 * Unless a line says "any thread", functions are called on the loop's own thread, or before it runs. */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct loop;

int loop_new(struct loop **out, struct error *err);
/* The loop must not be running. Work still posted is run first, so that nothing handed over is lost. */
void loop_free(struct loop *l);

/* Before it sleeps it looks for so many ns more whether there is something to do (see base/spin). For loops on whose
 * next event somebody waits who is microseconds away. Before it runs, on a thread with the loop's CPUs; without it: 0.
 */
void loop_looks(struct loop *l, uint64_t ns);

/* Runs until loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);          /* any thread */
bool loop_is_mine(const struct loop *l); /* any thread: is this the loop's thread? */

/* One piece of work: lives in its owner's object, is linked at most once, and may be posted again once it runs. */
struct loop_task {
    struct loop_task *next;
    void (*run)(struct loop_task *task);
};
/* Any thread, no allocation, wakes the loop at most once per batch. In the order of posting per thread. The loop must
 * outlive this call, not only the task: who frees a loop has joined those who post to it. */
void loop_post(struct loop *l, struct loop_task *task);

/* One watched descriptor, in its owner's object. events are EPOLL*; edge-triggered only when EPOLLET is asked for. */
struct loop_watch {
    int fd;
    void (*ready)(struct loop_watch *watch, uint32_t events);
    struct loop *loop; /* NULL when not watched */
};
int loop_watch(struct loop *l, struct loop_watch *watch, uint32_t events, struct error *err);
/* Also safe inside ready; no event of it comes after. Do it before the descriptor is closed. */
void loop_unwatch(struct loop_watch *watch);

/* One timer, in its owner's object; fires once, at most a millisecond late by itself. */
struct loop_timer {
    void (*fire)(struct loop_timer *timer);
    uint64_t at;   /* CLOCK_MONOTONIC ns */
    uint32_t slot; /* in the heap, from 1; 0: not set */
    struct loop *loop;
};
bool loop_timer_set(struct loop *l, struct loop_timer *timer, uint64_t at); /* also moves it; false: out of memory */
void loop_timer_clear(struct loop_timer *timer);

/* Called each time before the loop would sleep; returns the longest sleep in ns (0: do not sleep, UINT64_MAX: no
 * wish). For servers nested in the loop and for batching answers. */
struct loop_idle {
    struct loop_idle *next;
    uint64_t (*before_sleep)(struct loop_idle *idle);
};
void loop_on_idle(struct loop *l, struct loop_idle *idle);

#endif
