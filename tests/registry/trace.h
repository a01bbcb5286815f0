/* A process that is killed by SIGKILL as a chosen call begins: it is traced, so that the points are counted, not timed,
 * and every run meets the same ones. */
#ifndef TESTS_REGISTRY_TRACE_H
#define TESTS_REGISTRY_TRACE_H

#include <stdbool.h>

#include "sample.h"

struct trace {
    /* In a child; what it returns is its exit status. Says with a byte to `report` each time that something is done. */
    int (*run)(const struct place *p, int report);
    long kill_at;    /* 0: never */
    int from;        /* counted is what follows when so many bytes are said, the last of them included */
    bool every_call; /* not only those that change storage */
};
#define TRACE_SAID_MAX 64
/* How many calls were counted; *said: how many bytes there were. */
long trace_run(const struct trace *t, const struct place *p, int *said, int *end_status);

#endif
