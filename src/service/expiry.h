/* service/expiry: ends grants whose time is over, as if they were revoked then.  One timer of the boot's clock, on the
 * first loop; the work is an operation like any other.  Private to src/service. */
#ifndef SERVICE_EXPIRY_H
#define SERVICE_EXPIRY_H

#include <pthread.h>

#include "base/loop.h"

struct registry_reader;
struct service;

struct expiry {
    pthread_mutex_t lock;
    int timer;       /* CLOCK_BOOTTIME; -1: not there */
    uint64_t next_s; /* of the home's time, when it fires; 0: never */
    bool timed;      /* some grant has an end */
    struct loop_watch watch;
    struct loop_task begin;
};

int expiry_open(struct service *s, struct registry_reader *reader,
                struct error *err);   /* and knows the time from here on */
void expiry_start(struct service *s); /* jobs and loops run */
void expiry_close(struct service *s); /* neither jobs nor loops run any more; keeps the time */
/* A grant ends then; keeps the time as well. Any thread. */
void expiry_note(struct service *s, uint64_t until_s);

#endif
