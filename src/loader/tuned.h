/* loader/tuned: what loader_tune changes while everything runs.  Part of loader/internal; any thread. */
#ifndef LOADER_TUNED_H
#define LOADER_TUNED_H

#include <stdatomic.h>
#include <stdint.h>

/* loader_tune: the config's own members are what it began with. */
struct tuned {
    _Atomic uint64_t deadline_default_ns, deadline_max_ns, idle_stop_ns, queue_per_plugin, queue_total,
        lines_per_second;
};
static inline uint64_t tuned(const _Atomic uint64_t *one)
{
    return atomic_load_explicit(one, memory_order_relaxed);
}

#endif
