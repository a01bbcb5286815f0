/* worker/engine: runs one native plugin behind a finished wall: loads it, initialises it, answers the channel until the
 * host says shutdown or goes away.  Single thread; links libc only. */
#ifndef WORKER_ENGINE_H
#define WORKER_ENGINE_H

#include "sandbox/inside.h"

/* Maps the channel and closes its files; before engine_serve, which tells what went wrong. */
void engine_channel(struct inside *in);

/* Returns the process's exit status. */
int engine_serve(struct inside *in);

#endif
