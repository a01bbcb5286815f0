/* loader/overrun: which limit a worker ran into, as far as that can be known (docs/walls.md).  Part of loader/internal.
 */
#ifndef LOADER_OVERRUN_H
#define LOADER_OVERRUN_H

#include "base/error.h"
#include "sandbox/spawner.h"
#include "sandbox/wall.h"

struct flight;
struct worker;

struct overrun {
    enum wall_limit limit;
    uint64_t value, seen;
};
const char *limit_name(enum wall_limit limit);
void overrun_watch(struct worker *w); /* supervise, while only our own code runs in it */
bool overrun_of_start(const struct worker *w, const struct child_event *death, struct overrun *out);
bool overrun_of_death(const struct worker *w, struct overrun *out);   /* the oldest call in its channel was running */
bool overrun_of_failure(const struct worker *w, struct overrun *out); /* the call that it has just answered failed */
/* -MOAT_E_LIMIT; what happened is a clause such as "add.sum was ended by SIGSEGV". */
__attribute__((format(printf, 4, 5))) int overrun_error(const struct worker *w, const struct overrun *o,
                                                        struct error *err, const char *format, ...);
/* The CPU time of the call at the head, where it is bounded (gen->cpu_ns): from now on; when to look again, UINT64_MAX:
 * never, 0: it is used up. */
void overrun_cpu_begin(struct worker *w, struct flight *f, uint64_t now);
uint64_t overrun_cpu(struct worker *w, struct flight *f, uint64_t now);
uint64_t overrun_cpu_used(const struct worker *w, const struct flight *f);

#endif
