/* orchestrator/planner: the one thread for what takes more than a moment: large checks, following the loader, filling
 * large templates, results on their way to the disk.  Owns a reading connection of the registry. */
#ifndef ORCHESTRATOR_PLANNER_H
#define ORCHESTRATOR_PLANNER_H

#include "registry/registry.h"

/* In its owner's object until work has run. */
struct chore {
    struct chore *next;
    void (*work)(struct chore *chore, struct registry_reader *reader); /* the last that the planner does with it */
};

struct planner;
int planner_new(struct registry *registry, struct planner **out, struct error *err);
void planner_post(struct planner *p, struct chore *chore);        /* any thread */
void planner_post_urgent(struct planner *p, struct chore *chore); /* before those: memory waits for it */
void planner_free(struct planner *p);                             /* what was posted is run first; NULL is fine */

#endif
