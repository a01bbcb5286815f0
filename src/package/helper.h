/* package/helper: one run of moat-helper: starts it, reads what it says with a deadline, and sees to its end, whatever
 * it does.  Blocking. */
#ifndef PACKAGE_HELPER_H
#define PACKAGE_HELPER_H

#include <sys/types.h>

#include "sandbox/spawner.h"

struct helper {
    struct child child;
    int output;     /* reading end of the pipe */
    uint64_t until; /* monotonic */
    uint32_t cpu_seconds;
    bool ended; /* end of file was seen */
};

/* bytes: what the duty may have to hold in memory at once, which sets its limits and its time. */
int helper_begin(struct helper *h, struct spawner *spawner, const char *duty, int input, uint64_t bytes,
                 uint64_t timeout_ns, struct error *err);

/* Up to len bytes; 0 at end of file; a negative code when its time is over. */
ssize_t helper_read(struct helper *h, void *data, size_t len, struct error *err);

/* Ends it, by force where needed, and gives everything back.  rc 0: it should have said all and exited with 0, anything
 * else is an error.  rc not 0, with *err set: stays the result, unless the way it ended explains it better. */
int helper_finish(struct helper *h, int rc, struct error *err);

#endif
