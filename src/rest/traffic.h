/* rest/traffic: how often each route answered what, and how long it took: one counter per route and code of the table
 * of errors, so that their number is known when Moat is built.  Any thread, no lock. */
#ifndef REST_TRAFFIC_H
#define REST_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct route;
struct traffic;

struct traffic *traffic_new(void);
void traffic_free(struct traffic *c);

/* route NULL: none was found. */
void traffic_add(struct traffic *c, const struct route *route, enum moat_code code, uint64_t took_ns);
/* As OpenMetrics families, without the end. */
void traffic_write(struct traffic *c, struct buf *out);

#endif
