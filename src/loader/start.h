/* loader/start: what an engine is told at its start, as a sealed file: made once for a generation, and kept for the
 * next start of the same package.  Not when something is configured: that may be a secret, and stays no longer than it
 * is needed.  On the supervise thread. */
#ifndef LOADER_START_H
#define LOADER_START_H

#include "base/error.h"
#include "package/manifest.h"

#define LOST_MAX 3 /* starts in a row that others' deaths, not the plugin's, may cost before it is a failure */

#define KEPT_STARTS 16

/* The loader's. */
struct kept_starts {
    struct kept_start {
        struct manifest *manifest; /* NULL: free */
        int fd;
    } list[KEPT_STARTS];
    unsigned next;
};

struct generation;
int start_file(struct generation *g, struct error *err); /* g->start_fd, made unless it is there */
void starts_drop(struct kept_starts *s);

#endif
