/* cli/learn: what came out of learning what an action needs, and how it is told.  Private to src/cli. */
#ifndef CLI_LEARN_H
#define CLI_LEARN_H

#include "cli/learn_place.h"

struct learned {
    const struct learn_place *place;
    const char *action;
    json_t *granted, *declined; /* proposals, as the route tells them; of granted with "required" */
    json_t *last;               /* what is proposed still, and what cannot be */
    bool succeeded;             /* the last run */
    struct error failure;       /* of the last run, when it did not */
    unsigned rounds;
    const char *ended; /* why there is no further round: "done", "nothing_to_propose", "declined", "rounds" */
};

void learned_show(const struct cli *c, const struct learned *l);
void learned_clear(struct learned *l);

#endif
