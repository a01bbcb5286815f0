/* service/evidence: what the verdict of a canary or a guard rests on, as JSON.  Private to src/service. */
#ifndef SERVICE_EVIDENCE_H
#define SERVICE_EVIDENCE_H

#include "base/buf.h"
#include "loader/loader.h"

/* Members of the object that is open: both sides, and the likelihood ratios. */
void tell_evidence(struct buf *out, const struct loader_canary_side *before, const struct loader_canary_side *after,
                   double worse, double fine);

#endif
