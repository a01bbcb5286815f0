/* loader/rate: how many of the calls that ran lately failed by the plugin's own fault, and what that says of its
 * health. On supervise, when it looks around.  Part of loader/internal, whose words for threads and locks it uses. */
#ifndef LOADER_RATE_H
#define LOADER_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct plugin;
struct worker;

#define RATE_SPANS 12 /* looks around: about a minute */
struct rate {
    struct rate_span {
        uint64_t runs, faults;
    } spans[RATE_SPANS];
    unsigned at;
    bool told; /* something against it */
};

void rate_look(struct plugin *p);        /* once in a while: what has ended since the last look */
void rate_worker_gone(struct worker *w); /* its last calls */
void rate_restart(struct plugin *p);     /* another thing is current: what was says nothing about it */

#endif
