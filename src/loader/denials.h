/* loader/denials: what plugins tried and did not get, folded: one row for each (version, action, operation, object).  A
 * flood is bounded in memory and never loses a number; one kind (version, action, operation) never takes another's
 * rows. The explain thread alone adds; any thread hands over.  Private to src/loader. */
#ifndef LOADER_DENIALS_H
#define LOADER_DENIALS_H

#include "loader/internal.h"
#include "sandbox/explain.h"

#define DENIAL_OBJECTS 64 /* of a kind; beyond, they share one row */
#define DENIAL_ROWS 2048  /* of a plugin with an object; beyond, only the first of a kind */
#define DENIAL_KINDS 1024 /* of a plugin; beyond, the action and the version are left out */
#define DENIAL_PLAIN 768  /* of those without, which the filter's operations bound; beyond, all share one row */
#define DENIAL_OTHER LOADER_DENIALS_OTHER

struct refused {
    struct explain_event event;
    uint32_t action; /* + 1 of the call that ran when the worker asked; 0: none */
    char call[33];   /* its id, or "" */
};

void denial_count(struct worker *w, const struct refused *refused);
/* What came since the last time, row by row, to on_denials. Any thread. */
void denials_hand_over(struct plugin *p);
void denials_free(struct plugin *p); /* with the plugin */

#endif
