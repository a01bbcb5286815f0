/* registry/tasks_internal: the tasks' database as its own two files see it. */
#ifndef REGISTRY_TASKS_INTERNAL_H
#define REGISTRY_TASKS_INTERNAL_H

#include <pthread.h>

#include "registry/db.h"
#include "registry/tasks.h"

struct tasks {
    char file[PATH_MAX + 16];
    struct db db; /* the thread's, once it runs */
    struct tasks_keep keep;
    uint64_t prune_at;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct tasks_record *first, **end;
    bool stopping;
};

struct tasks_reader {
    struct db db;
};

#endif
