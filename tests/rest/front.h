/* A front door over the fake service, in a home of its own: what the tests without a socket begin with. */
#ifndef TESTS_REST_FRONT_H
#define TESTS_REST_FRONT_H

#include <pthread.h>

#include "fake_service.h"
#include "rest/rest.h"

struct front {
    char home[64];
    struct service *service;
    struct rest *rest;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done; /* under the mutex */
};

void front_open(struct front *f);
void front_close(struct front *f);
void front_done(struct front *f); /* any thread */
void front_wait(struct front *f); /* until then */

#endif
