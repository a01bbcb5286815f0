/* worker/engine: runs one native plugin behind a finished wall: loads it, initialises it, answers the channel until the
 * host says shutdown or goes away.  Single thread; links libc only. */
#ifndef WORKER_ENGINE_H
#define WORKER_ENGINE_H

#include "sandbox/inside.h"

/* Returns the process's exit status. */
int engine_serve(struct inside *in);

#endif
