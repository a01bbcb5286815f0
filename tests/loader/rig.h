/* What the loader's tests share: a loader with loops, specs made of the echo plugin, calls that are waited for.
 * Everything runs behind the real wall, with the real worker. */
#ifndef TESTS_LOADER_RIG_H
#define TESTS_LOADER_RIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "loader/loader.h"

#define LOOPS 2

struct rig {
    struct loader *l;
    struct loop *loops[LOOPS];
    pthread_t threads[LOOPS];
    int fds; /* open before the loader was */
};

/* Set before rig_open; zeroed by it afterwards. */
extern struct loader_config rig_config;
struct rig *rig_open(void);
/* Fails the test when a descriptor or a process is left. */
void rig_close(struct rig *r, uint64_t grace_ns);

/* How a spec differs from the echo plugin's own manifest; NULL and 0: as it is. */
struct variant {
    const char *version, *config;
    unsigned workers;
    const char *deadline;
    const char *idempotent; /* this action is */
    const char *renamed;    /* this action has another name */
    const char *promise;    /* the schema of what the action echo answers */
    bool liar;              /* the code is liar.c's */
    bool garbage;           /* the code is no ELF file */
    bool no_code;           /* only the manifest */
    bool ledger;            /* the ledger plugin in place of echo */
    bool relay;             /* the relay plugin */
    bool state;             /* hands its state over */
    const char *read_path;  /* granted */
    const char *write_path; /* granted */
};
struct spec *rig_spec(const char *name, const struct variant *v);
/* Waits until it is done; 0 or -code. */
int rig_set(struct rig *r, const char *name, struct spec *s, enum loader_how how, enum moat_code gate,
            struct error *err);
/* rig_set of a fresh spec, which is then only the loader's; it must work. */
void rig_define(struct rig *r, const char *name, const struct variant *v, enum loader_how how);
int rig_configure(struct rig *r, const char *name, const struct variant *v, struct error *err);
int rig_start(struct rig *r, const char *name, struct error *err);
int rig_reload(struct rig *r, const char *name, struct error *err);
int rig_stop(struct rig *r, const char *name, uint64_t grace_ns, struct error *err);
int rig_forget(struct rig *r, const char *name, struct error *err);

/* One that waits for a loader_done. */
struct waited {
    pthread_mutex_t lock;
    pthread_cond_t told;
    _Atomic bool done;
    struct error error;
};
void waited_init(struct waited *w);
void waited_done(void *waited, const struct error *error);
int waited_wait(struct waited *w, struct error *err);

/* A call on the heap with a copy of its texts; test_call_free ends it. */
struct test_call {
    struct call call;
    char *plugin, *action, *parameters;
    struct waited waited;
    _Atomic int completions;
};
struct test_call *test_call_new(struct rig *r, const char *plugin, const char *action, const char *parameters);
void test_call_begin(struct rig *r, struct test_call *c);
void test_call_wait(struct test_call *c);
void test_call_free(struct test_call *c); /* must have completed, exactly once when it was begun */

/* Blocking; the call is the caller's to free. */
struct test_call *rig_run(struct rig *r, const char *plugin, const char *action, const char *parameters,
                          uint64_t deadline_ns);
/* Runs and checks code (0 or positive) and, when not NULL, the result or a part of the message. */
void rig_expect(struct rig *r, const char *plugin, const char *action, const char *parameters, int code,
                const char *text);

struct loader_status *rig_status(struct rig *r, const char *name); /* of static memory, per thread */
/* Waits up to ten seconds until the condition holds, else fails. */
#define RIG_WAIT(condition) \
    do { \
        for (int rig_i_ = 0; !(condition); rig_i_++) { \
            if (rig_i_ > 5000) \
                fail_msg("never: %s", #condition); \
            usleep(2000); \
        } \
    } while (0)

/* Runs it on the supervise thread, and waits: what is that thread's alone can be looked at there. */
void rig_look(struct rig *r, void (*look)(struct loader *l, void *context), void *context);

/* Waits until one worker of the plugin is inside an action that sleeps or spins: what stands in its channel may not
 * have been begun yet. */
void rig_wait_inside(struct rig *r, const char *name);
void rig_wait_busy(pid_t pid);                          /* until this one is */
pid_t rig_spawner(struct rig *r, const char *name);     /* of a running plugin's worker */
void rig_wait_asleep(pid_t pid);                        /* until it waits for something */
void rig_kill(pid_t pid);                               /* SIGKILL, when it is a process below this one */
void rig_kill_worker(struct rig *r, const char *name);  /* waits for there to be one */
bool rig_kill_spawner(struct rig *r, const char *name); /* false: its worker is gone, and so the way to it */
int rig_children(void);                                 /* living or unreaped processes below this one */
uint64_t rig_seed(void);
unsigned rig_random(uint64_t *state, unsigned below);

#endif
