#include "service/evidence.h"

#include "service/tell.h"

static void tell_side(struct buf *out, const char *key, const struct loader_canary_side *side)
{
    tell_open(out, key, '{');
    tell_number(out, "calls", side->calls);
    tell_number(out, "failed", side->failed);
    tell_number(out, "slow", side->slow);
    tell_close(out, '}');
}

void tell_evidence(struct buf *out, const struct loader_canary_side *before, const struct loader_canary_side *after,
                   double worse, double fine)
{
    tell_side(out, "before", before);
    tell_side(out, "after", after);
    tell_real(out, "evidence_worse", worse);
    tell_real(out, "evidence_fine", fine);
}
