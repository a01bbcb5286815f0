/* wire/start: what an engine is told once, in a sealed memory file: who the plugin is, its actions in the order of the
 * manifest (calls name them by index), its configuration.  Written by the host, read by the worker; the reader checks
 * every length all the same. */
#ifndef WIRE_START_H
#define WIRE_START_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define START_ACTIONS_MAX 256

struct start {
    const char *plugin, *version;
    const char *actions[START_ACTIONS_MAX];
    size_t nactions;
    const char *config; /* JSON text */
    size_t config_len;
    uint64_t payload_max; /* bytes of parameters or of a result */
};

/* A sealed memory file, the caller's; or -MOAT_E_OUT_OF_MEMORY. */
int start_write(const struct start *start, int *fd, struct error *err);

/* Maps the file for the process's life; strings point into it. false when anything in it is not as written above. */
bool start_read(int fd, struct start *out);

#endif
