/* service/hours: what the registry keeps by the hour, as a series to forecast: without gaps, and without the hour that
 * goes on.  Private to src/service. */
#ifndef SERVICE_HOURS_H
#define SERVICE_HOURS_H

#include <stddef.h>

#include "registry/registry.h"

struct hours {
    double *series; /* from calloc; the caller's */
    size_t n;
    uint64_t first, last; /* hours since 1970; first 0: there is none */
};

/* Calls of a plugin, NULL: of all. */
int hours_of_calls(struct registry_reader *reader, const char *name_or_null, uint64_t now_ns, struct hours *out,
                   struct error *err);
/* The most starts at once. What is beyond `most` counts as that: one flood is not to be expected for ever. */
int hours_of_starts(struct registry_reader *reader, uint64_t most, uint64_t now_ns, struct hours *out,
                    struct error *err);

#endif
