/* service/figures: the loader's figures as JSON; one form for a plugin, an action, a generation and the whole.  Private
 * to src/service. */
#ifndef SERVICE_FIGURES_H
#define SERVICE_FIGURES_H

#include "base/buf.h"
#include "loader/loader.h"

/* "latency" and the like: quantiles and the mean, in ns; 0 where there is nothing. */
void tell_spread(struct buf *out, const char *key, const struct histogram *h);
/* Of executions, those that did not fail, 0 to 1; null where there are none. */
void tell_success_rate(struct buf *out, uint64_t executions, uint64_t failed);
void tell_error_codes(struct buf *out, const char *key, const uint64_t by_code[MOAT_E_COUNT]);
void tell_generations(struct buf *out, const char *key, const struct loader_figures *f); /* NULL: none */
/* Of an action by its name; f NULL, or it did nothing: all 0. */
void tell_action_figure(struct buf *out, const char *key, const struct loader_figures *f, const char *action);

#endif
