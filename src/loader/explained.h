/* loader/explained: the listener of one worker, which the explain thread answers, and who looks after both.  Part of
 * loader/internal. */
#ifndef LOADER_EXPLAINED_H
#define LOADER_EXPLAINED_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"

struct loader;
struct worker;

struct explained {
    struct loop_watch watch;
    struct loop_timer refill;
    struct loop_task add, drop, check;
    _Atomic bool lost;     /* atomic: nothing of it is answered any more, though its worker may live */
    _Atomic bool checking; /* atomic: check is posted */
    int listener;
    double tokens;
    uint64_t tokens_ns;
};

int explain_open(struct loader *l, struct error *err);
void explain_close(struct loader *l);
void explain_add(struct worker *w, int listener); /* takes the listener */
void explain_drop(struct worker *w);
void explain_look(struct loader *l, uint64_t now); /* supervise, each tick: what is broken is mended */

#endif
