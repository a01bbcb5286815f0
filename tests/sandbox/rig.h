/* The test's host: starts workers, drives them to their end, answers their notifications, and keeps what happened. */
#ifndef TESTS_SANDBOX_RIG_H
#define TESTS_SANDBOX_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sandbox/explain.h"
#include "sandbox/spawner.h"
#include "sandbox/wall.h"

#define RIG_EVENTS 1024
#define RIG_OUTPUT (256 * 1024)

struct rig_order {
    const char *script;
    const char *code; /* of the environment; PROBE when NULL */
    struct wall_grant grants[8];
    size_t ngrants;
    bool execute_code, no_code;
    struct wall_program programs[8];
    size_t nprograms;
    int assets;     /* the caller's; 0: none */
    bool leave_all; /* the host leaves to the kernel whatever is asked, as one that was fooled would */
    uint32_t accepted, libraries;
    struct wall_limits limits;
    int patience_ms; /* 10 s when 0 */
    bool kill_when_ready;
};

struct rig_result {
    bool half, built, ready, gone;
    struct child_event end;
    struct wall_event failed; /* kind WALL_FAILED when it did */
    int assign;               /* wall_assign's answer */
    int posture;              /* posture_verify's answer */
    struct error error;       /* of posture_verify or wall_assign */
    struct posture seen;
    char output[RIG_OUTPUT];
    struct explain_event events[RIG_EVENTS];
    size_t nevents;
    pid_t pid;
    uid_t uid;
};

/* First in main: as MOAT_TEST_UID says, becomes that user by executing itself again. Exits 0 (all skipped) when it
 * cannot. */
void rig_user(char **argv);

/* Second in main: skips everything, naming the step, where this machine cannot build a wall at all.  A layer that it
 * lacks (and doctor names) is accepted in what follows. */
void rig_needs_wall(void);
uint32_t rig_lacking(void);

/* Leaves the test and says why; cmocka's own skip reads as a failure in TAP.  MOAT_WALL_MUST_WORK=1 makes it one: for
 * machines that are meant to have everything. */
void rig_skipped(const char *test, const char *why);
#define rig_skip(why) \
    do { \
        rig_skipped(__func__, why); \
        return; \
    } while (0)

/* Environment of the build: WORKER, PROBE, … */
const char *rig_path(const char *name);

/* A temporary directory that the worker's user may enter; removed by rig_remove. */
void rig_directory(char out[64]);
void rig_remove(const char *directory);
void rig_write(const char *directory, const char *name, const char *text, unsigned mode);

void rig_grant(struct rig_order *o, const char *path, bool writable);

/* The whole life of one worker. */
void rig_run(struct spawner *s, const struct rig_order *order, struct rig_result *r);

/* The steps of it, for tests that stop in between. */
struct rig {
    struct spawner *s;
    struct child child;
    struct wall_request request;
    int listener;
};
void rig_open(struct rig *g, struct spawner *s, const struct rig_order *o);
bool rig_until(struct rig *g, const struct rig_order *o, struct rig_result *r, const bool *flag, int patience_ms);
void rig_close(struct rig *g);

/* The same script in a process without any wall. */
void rig_outside(const char *script, char *output, size_t size);

/* The output has the line `ATTEMPT -> ANSWER`. */
void rig_expect(const struct rig_result *r, const char *attempt, const char *answer);
/* An event of this operation, on this object (NULL: any); or with this permission. */
void rig_event_permission(const struct rig_result *r, const char *operation, int permission);
const struct explain_event *rig_event(const struct rig_result *r, const char *operation, const char *object);

struct spawner *rig_spawner(void);

/* Processes below this one, zombies included. */
size_t rig_descendants(void);
size_t rig_descriptors(void);

#endif
