/* registry/epoch: whether what somebody keeps of the registry still holds. Any thread. */
#ifndef REGISTRY_EPOCH_H
#define REGISTRY_EPOCH_H

#include "registry/registry.h"

/* Goes up before and after each transaction that may change more than which plugins are wanted (and what is counted,
 * refused and timed): odd while one is under way, whether it succeeds or not.  What was read and is of the kind still
 * holds when the same even number stood before the first of it was read and stands now. */
uint64_t registry_epoch(const struct registry *r);
/* Of an installed plugin, when it was written since the epoch began; false: only a reader can tell. */
bool registry_wanted(struct registry *r, const char *name, enum registry_wanted *out);

#endif
