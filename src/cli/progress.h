/* cli/progress: what people see of a task while it runs.  One thread. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/events.h"

/* One line on a terminal, on standard error, which is written again and again. */
struct progress {
    unsigned steps, over;
    char what[100]; /* the step that was told of last, and how far it has come */
    bool drawn;
};
void progress_show(struct progress *p, const struct event *e);
void progress_clear(struct progress *p);

/* One line for each event, on standard output. */
void progress_print(const struct event *e);

#endif
