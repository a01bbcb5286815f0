/* cli/events: server-sent events, as they come in pieces.  One thread. */
#ifndef CLI_EVENTS_H
#define CLI_EVENTS_H

#include <stddef.h>

#include "base/buf.h"

struct event {
    const char *id, *name, *data; /* "" when it has none; valid during the call */
    size_t len;                   /* of data */
};

struct events {
    struct buf text; /* an event of which not all is there yet */
    size_t looked;   /* no end of one before here */
    void (*take)(void *context, const struct event *e);
    void *context;
};

void events_init(struct events *e, void (*take)(void *context, const struct event *e), void *context);
void events_free(struct events *e);
/* Calls take for each event that is complete now. As struct ask's stream: context is the struct events. */
void events_stream(void *events, const char *bytes, size_t len);

#endif
