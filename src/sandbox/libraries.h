/* sandbox/libraries: the shared libraries of the host that a plugin's code may need.  A worker loads them before its
 * root becomes empty: libgcc_s always (thread exit and cancellation want it without being linked to it), the others
 * only when the code says so, because loading them costs more than the wall does.  Constant data. */
#ifndef SANDBOX_LIBRARIES_H
#define SANDBOX_LIBRARIES_H

#include <stdint.h>

#define LIBRARIES_ALL UINT32_MAX

/* A set of those that are loaded on request: bit i is libraries[i].  libpthread and the like are parts of old C
 * libraries, empty today: loading them costs little and saves a puzzling refusal. */
extern const char *const libraries[];
extern const unsigned libraries_count;

/* The bit of one, or 0. */
uint32_t libraries_bit(const char *soname);

#endif
