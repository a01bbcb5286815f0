/* loader/cpu: what the kernel says of a worker's process: CPU time with all that it started (from /proc where it may
 * start programs), and whether it ends. Any thread. */
#ifndef LOADER_CPU_H
#define LOADER_CPU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct worker;

/* ns; 0: it is gone. */
uint64_t worker_cpu(const struct worker *w);

/* It has begun to end: what it held goes before it is gone. Of the process that has its number: it holds for the worker
 * when its pidfd says afterwards that it is still there. */
bool worker_ends(const struct worker *w);

/* The processes that it started and that live, theirs included. A number may be another process's by now. */
void worker_each_started(const struct worker *w, void (*each)(void *context, pid_t child), void *context);

#endif
