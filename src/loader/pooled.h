/* loader/pooled: how many half-built walls are to stand ready, and how many starts would have wanted one at once.
 * Private to src/loader; walls.c owns it. */
#ifndef LOADER_POOLED_H
#define LOADER_POOLED_H

#include <stdatomic.h>

#include "base/loop.h"

struct pooled {
    _Atomic unsigned size, ready; /* any thread reads; ready: written by supervise */
    struct loop_task resize;      /* posted while resizing */
    _Atomic bool resizing;
    /* supervise: the burst of starts that goes on */
    uint64_t burst_ns;
    unsigned burst;
    /* atomic: starts since they were taken, and the largest burst */
    _Atomic uint64_t asked;
    _Atomic unsigned asked_at_once;
};

#endif
