/* service/jobs: operations and the threads that run them.  An operation is a chain of steps; each runs on a jobs
 * thread and ends by naming the next one, by waiting for the loader, or by finishing.  A step may wait for the registry
 * to write, and that for the disk: one of the threads runs only what does not, so that a look at the server is answered
 * meanwhile.
 *
 * An operation may hold a key: the name of the plugin that it changes, or "*" for all of them.  Operations whose keys
 * meet run one after the other in the order they came, from their first step with the key to their end, so that none
 * decides by what another one is changing.  Private to src/service. */
#ifndef SERVICE_JOBS_H
#define SERVICE_JOBS_H

#include <pthread.h>

#include "package/manifest.h"
#include "registry/registry.h"
#include "service/service.h"

#define JOBS_THREADS 3 /* of which the last one reads only */
#define JOBS_RESULT_MAX (256u << 20)
#define JOBS_ALL "*"

/* What a step runs with: its thread's own connection. */
struct job {
    struct service *s;
    struct registry_reader *reader;
};

struct op;
typedef void (*op_step)(struct op *op, struct job *job);

/* The head of every operation's own struct. */
struct op {
    struct service *s;
    service_done done;
    void *context;
    op_step step;
    void (*clear)(struct op *op); /* frees what the operation's own struct owns; NULL: nothing */
    char key[MANIFEST_NAME_MAX + 1];
    bool holds;                                                      /* its key */
    int code;                                                        /* of what was waited for */
    struct error error;                                              /* the first one; of code */
    char actor[REGISTRY_ACTOR_MAX + 1], call[REGISTRY_CALL_MAX + 1]; /* in whose name; see service_act_as */
    struct buf result;                                               /* JSON */
    op_step after;
    struct op *next;
};

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t work, reading, idle;
    struct op *pending, **pending_end; /* not begun, or waiting for a new key */
    struct op *ready, **ready_end;     /* their next step may run */
    struct op *reads, **reads_end;
    size_t alive; /* operations from begin to end */
    bool closing, stopping;
    pthread_t threads[JOBS_THREADS];
    struct job jobs[JOBS_THREADS];
    size_t nthreads;
    char keys[64][MANIFEST_NAME_MAX + 1];
    size_t nkeys;
};

int jobs_start(struct service *s, struct jobs *j, struct error *err);
/* From here on new operations are refused with MOAT_E_DRAINING; returns when none is left. */
void jobs_drain(struct jobs *j);
/* Ends the threads, once nothing is left. A loop that still runs may begin operations, which are refused. */
void jobs_stop(struct jobs *j);
void jobs_close(struct jobs *j); /* no loop runs any more */

/* size bytes, zeroed, of which the first are a struct op. NULL: done was called with MOAT_E_OUT_OF_MEMORY. */
void *op_new(struct service *s, size_t size, service_done done, void *context);
/* key NULL: none. The operation is the jobs' from here on. */
void op_begin(struct op *op, const char *key, op_step step);
/* One step, which reads what is there and waits for nobody who writes. Any jobs thread. */
void op_read(struct op *op, op_step step);

/* Each of these is the last thing that a step does with its operation. */
void op_then(struct op *op, op_step step);
void op_rekey(struct op *op, const char *key, op_step step); /* only without a key so far */
void op_end(struct op *op, int code);                        /* 0: result; else error */

/* registry_run in the name of who began the operation. */
int op_write(struct op *op, struct registry_command *command, struct error *err);
void op_write_begin(struct op *op, struct registry_command *command); /* registry_begin; the operation outlives it */

/* Pass to the loader as done and context: step runs once it has answered, with op->code (and op->error). */
void *op_wait(struct op *op, op_step step);
void op_loader_done(void *context, const struct error *error);

#endif
