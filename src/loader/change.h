/* loader/change: another configuration for workers that run, through the plugin's configure().  Everything here runs on
 * the supervise thread.
 *
 *   each ready worker is asked ──all took it──> it holds, for later starts too
 *        │            └── one refused, died ──> those that took it are given the old one again, or leave ──> error
 *        └── its table has no configure ──> a fresh generation, as for any other change
 *
 * All of them are paused from the first question to the outcome: no call meets half a change. Whatever else is asked of
 * the plugin meanwhile ends it: the workers that were asked leave when their calls are over. */
#ifndef LOADER_CHANGE_H
#define LOADER_CHANGE_H

#include "base/clock.h"
#include "base/error.h"
#include "loader/errand.h"

struct op;
struct plugin;
struct spec;

struct change {
    struct op *op; /* NULL: none goes on */
    unsigned out;  /* workers that have not answered */
    bool back, unsupported;
    struct error why; /* code 0: nobody has refused */
};

/* Is it the same version with the same configuration and rights? */
bool change_is_none(const struct spec *a, const struct spec *b);
void op_configure(struct op *op);
void change_told(struct worker *w, const struct errand *answer);
void change_worker_died(struct worker *w);
void change_abandon(struct plugin *p); /* something else is to become of it */

#endif
