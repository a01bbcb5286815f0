/* call_floor: what no call between two processes can beat on this machine: a bare cache line passed there and back, a
 * futex ping-pong, two copies of the bytes.  And the race of a candidate against such a floor: in turns of a few
 * hundred, because the machine's mood changes from one second to the next. */
#ifndef BENCH_CALL_FLOOR_H
#define BENCH_CALL_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Forks the other side; call it before the program has threads. */
void floor_start(void);
void floor_stop(void);
void floor_child_on(int cpu); /* -1: any */

void floor_spin(void *unused);  /* one round trip, both sides polling */
void floor_futex(void *unused); /* one round trip, both sides sleeping */
/* Between turns the child sleeps, or it would be in the candidate's way. */
void floor_rest(void);

/* This thread on one CPU; -1: on all that the process started with. */
void pin_thread(int cpu);
/* The nth CPU of those, or -1. */
int cpu_number(unsigned n);

struct race {
    const char *name, *reference;
    void (*candidate)(void *context);
    void (*floor)(void *context);
    void (*before_candidate)(void *context); /* each turn; may be NULL */
    void (*before_floor)(void *context);
    unsigned rounds, turn; /* turn: calls timed, after a fifth as many that are not */
    uint64_t gap_ns;       /* slept before each call */
    double scale;          /* floor's time is multiplied by it (two copies timed as one) */
};

/* Prints the figure: medians over the rounds of p50, p99, and of each round's own ratio. */
void race_run(const struct race *race, void *context);

#endif
