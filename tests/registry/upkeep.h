/* The changes that the runs of sample.h leave out, each of one command: what is about the trail, the host and the
 * operator's own records. */
#ifndef TESTS_REGISTRY_UPKEEP_H
#define TESTS_REGISTRY_UPKEEP_H

#include "sample.h"

struct upkeep_step {
    const char *name;
    int (*run)(struct registry *r, struct error *err);
};
enum { UPKEEP_STEPS = 28 };
extern const struct upkeep_step upkeep_steps[UPKEEP_STEPS];

/* As sample_describe, and what these change besides. */
void upkeep_describe(struct registry *r, const struct place *p, struct buf *out);

#endif
