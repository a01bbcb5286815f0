/* loader/guard: a configuration that took another one's place, watched for a while: is it worse than the one before?
 * It judges and tells; what becomes of the configuration is the service's.  Part of loader/internal, whose words for
 * threads and locks it uses.
 *
 *   configured ──> running ──enough evidence──> passed, or worse ──the service goes back──> rolled_back
 *                     ├── its window is over ──> expired: it stays
 *                     └── defined anew, unloaded, configured again ──> ended
 *
 * It goes on when the plugin is reloaded, when a worker dies, when it rests: the configuration is the same. Configured
 * again, both changes are judged as one, by what was seen before the first. */
#ifndef LOADER_GUARD_H
#define LOADER_GUARD_H

#include "base/loop.h"
#include "loader/loader.h"

struct guard;
struct generation;
struct plugin;
struct worker;

void guard_tell(struct worker *w, uint32_t run); /* the owner, while guard_on: how a call has ended */
/* supervise: */
/* g is current, or is to be: it is told another configuration, or is another thing altogether: what was seen so far is
 * of the past. Before any of its calls can run. ask NULL: nobody asked for a guard. */
void guard_changed(struct plugin *p, const struct generation *g, const struct loader_guard_ask *ask);
void guard_published(struct plugin *p, const struct generation *g); /* g takes the place of what is current */
void guard_end(struct plugin *p, const char *why);                  /* when there is one: it stays as it is */
void guard_gave_up(struct plugin *p, const struct error *why);      /* its circuit opened */
void guard_judged(struct loop_task *task);
bool plugin_guard(struct plugin *p, struct loader_guard *out);                             /* any thread */
void plugin_guard_settle(struct plugin *p, uint64_t revision, bool back, const char *why); /* any thread */
void guard_forget(struct plugin *p);                                                       /* with the plugin */

#endif
