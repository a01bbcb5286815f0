/* cli/here: a request that no server answers but this process, with the same routes.  Blocks. */
#ifndef CLI_HERE_H
#define CLI_HERE_H

#include "cli/cli.h"

/* 0 with *reply and *status, or -code. An answer that is a stream goes to a->stream, and leaves *reply empty. */
int ask_here(struct service *s, const struct ask *a, struct reply *reply, int *status, struct error *err);

#endif
