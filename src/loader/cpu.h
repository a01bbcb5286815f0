/* loader/cpu: CPU time of a worker with all that it started. Reads /proc where it may start programs; any thread. */
#ifndef LOADER_CPU_H
#define LOADER_CPU_H

#include <stdint.h>

struct worker;

/* ns; 0: it is gone. */
uint64_t worker_cpu(const struct worker *w);

#endif
