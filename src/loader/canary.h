/* loader/canary: a version beside the current one, until one of them is shown to be the better choice.  Part of
 * loader/internal, whose words for threads and locks it uses. */
#ifndef LOADER_CANARY_H
#define LOADER_CANARY_H

#include "base/loop.h"
#include "loader/loader.h"
#include "measure/guard.h"

#define CANARY_SLACK_NS NS_PER_MS /* what is less than this slower says nothing */

struct generation;
struct op;
struct worker;

unsigned canary_side(struct plugin *p, const struct call *c); /* under the lock: whose call this new one is */
/* The owner, while canary_on: how a call that ran has ended. */
void canary_tell(struct worker *w, uint32_t action, uint64_t ran_ns, enum guard_kind kind);
/* supervise: */
bool canary_is(const struct generation *g);
bool canary_begin(struct generation *g);                                      /* false: no memory */
void canary_stop(struct plugin *p, enum canary_state state, const char *why); /* when there is one */
void canary_crashed(struct generation *g, const struct error *err);
void canary_lost_worker(struct generation *g);           /* not by a fault of its own */
void canary_give_way(struct plugin *p, const char *why); /* one that starts, too */
void canary_end_version(struct plugin *p, const char *version, const char *why);
void canary_wants(struct plugin *p); /* a worker more, when calls wait for it */
bool canary_full(const struct plugin *p);
bool canary_ready(const struct plugin *p);
void canary_judged(struct loop_task *task);
void op_canary(struct op *op);
void op_canary_promote(struct op *op);
void op_canary_end(struct op *op);
bool plugin_canary(struct plugin *p, struct loader_canary *out); /* any thread */
void canary_forget(struct plugin *p);                            /* with the plugin */

#endif
