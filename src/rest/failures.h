/* rest/failures: why a request was refused or a call failed, by the id that its answer carried: the last
 * FAILURES_KEPT, and the last FAILURES_NOBODYS of those without a valid token, which so cannot push the others out.
 * Texts are cut to what a struct failure holds.  In memory: about 2 MiB when full, gone with the process. */
#ifndef REST_FAILURES_H
#define REST_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define FAILURES_KEPT 1000
#define FAILURES_NOBODYS 100

struct failure {
    char id[33];
    enum moat_code code;
    uint64_t at_ns; /* wall */
    int64_t token;  /* 0: none */
    uint32_t scopes;
    const char *method, *path; /* of the route; NULL: none was found */
    char plugin[104], action[40], traceparent[56];
    char message[768], detail[1024];
};

struct failures;
struct failures *failures_new(void);
void failures_free(struct failures *f);

/* Any thread. */
void failures_keep(struct failures *f, const struct failure *one);
bool failures_find(struct failures *f, const char *id, struct failure *out);

#endif
