/* service/home_time: the time by which grants end.  It never goes back, whatever the machine's clock does:
 *
 * - within one boot it goes as fast as the boot's clock, which counts suspended time and which nobody sets: setting the
 *   wall clock neither ends a grant early nor makes it last longer, also over restarts of Moat;
 * - in another boot it is the wall clock's, but never below the highest time that the home has kept.
 *
 * It is kept when a grant with an end is decided, at each start, once a minute while there is such a grant, and at the
 * end.  Private to src/service. */
#ifndef SERVICE_HOME_TIME_H
#define SERVICE_HOME_TIME_H

#include "registry/registry.h"

struct home_time {
    char boot[40];
    uint64_t boot_ns, time_ns; /* of one moment */
};

/* stored NULL: the home has kept none. Pure. */
void home_time_begin(const struct registry_home_time *stored, const char *boot, uint64_t boot_ns, uint64_t wall_ns,
                     struct home_time *out);
uint64_t home_time_at(const struct home_time *t, uint64_t boot_ns);
uint64_t home_time_boot(const struct home_time *t, uint64_t time_ns); /* the boot's clock when it will be that time */

uint64_t home_time_boot_clock(void);    /* CLOCK_BOOTTIME, ns */
void home_time_boot_name(char out[40]); /* the kernel's name for this boot; empty when it cannot be told */

#endif
