/* loader/outcome: how the calls that a worker ran have ended, as far as that says something about the plugin; the last
 * ones of each worker are kept for whoever compares them with what comes later.  Part of loader/internal, whose words
 * for threads and locks it uses. */
#ifndef LOADER_OUTCOME_H
#define LOADER_OUTCOME_H

#include <stdatomic.h>
#include <stddef.h>

#include "loader/loader.h"
#include "measure/guard.h"

struct generation;
struct plugin;
struct worker;

/* The last runs, as measure/guard packs them. One writer; read by anyone, the newest may be missing. */
#define OUTCOMES_KEPT 2048
struct outcomes {
    _Atomic uint64_t n; /* that ever came */
    _Atomic uint32_t runs[OUTCOMES_KEPT];
};

/* The owner: a call that was begun there has ended with rc. */
void outcome_tell(struct worker *w, const struct call *c, uint32_t action, uint64_t ran_ns, int rc);

uint64_t outcomes_count(const struct worker *w); /* any thread */

/* The rest on supervise, under the lock. */
void outcomes_gone(struct worker *w); /* it is gone: what counts of its goes to the plugin's */
/* Only what comes from now on counts, and only of g; what was there counts on when keep says so. */
void outcomes_restart(struct plugin *p, const struct generation *g, bool keep);
void outcomes_put(struct plugin *p, const uint32_t *runs, size_t n); /* as if they had just been seen */
size_t outcomes_take(const struct plugin *p, uint32_t **out); /* a copy of all that counts; the caller frees it */

#endif
