/* sandbox/spawner: the host's end of the one process that clones.  Owns the spawner process and the sockets of the
 * children it asked for; never forks the host itself (posix_spawn of the moat-worker binary once, at start).
 *
 * The spawner is tiny and single-threaded (walls.md: clone is cheap only from a small process, and PDEATHSIG follows
 * the cloning thread).  Every request carries a private status socket, so any thread may ask and each asker waits for
 * its own child only.  When the host dies, the spawner sees end of file and exits; its children die with it.
 * When the spawner dies, all its children die; spawner_alive() says so and a new one is started by the owner. */
#ifndef SANDBOX_SPAWNER_H
#define SANDBOX_SPAWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/error.h"
#include "sandbox/wall_limits.h"

struct spawner;

/* Paths of the two executables; opened here, so that a later change of the files changes nothing. */
int spawner_start(const char *worker_path, const char *helper_path, struct spawner **out, struct error *err);
/* Whether children may have the fallback wall: never (as it starts), where the namespaces cannot be made, or always
 * (where they can be made and are of no use, as AppArmor leaves them). Any thread. */
enum spawner_fallback { FALLBACK_NEVER, FALLBACK_IF_NEEDED, FALLBACK_ALWAYS };
void spawner_set_fallback(struct spawner *s, enum spawner_fallback fallback);
void spawner_stop(struct spawner *s);    /* kills and reaps it; NULL is fine */
int spawner_fd(const struct spawner *s); /* POLLHUP when it has died */
bool spawner_alive(struct spawner *s);

/* What the host itself lives in, as its spawner was started; a worker's must be others. */
#define POSTURE_NAMESPACES 7
struct surroundings {
    unsigned filters;                        /* seccomp filters that are on everything it starts */
    char namespaces[POSTURE_NAMESPACES][32]; /* as /proc/self/ns names them; empty: unreadable */
};

/* One child, as its asker sees it.  Descriptors are -1 when absent; all are close-on-exec and non-blocking. */
struct child {
    pid_t pid; /* in the host's pid namespace; 0 until CHILD_SPAWNED */
    uid_t uid; /* its user and group as the host counts them; known from CHILD_SPAWNED on */
    gid_t gid;
    int pidfd;     /* -1 until CHILD_SPAWNED */
    int status;    /* SEQPACKET from the spawner: poll for input, then child_next */
    int control;   /* SEQPACKET to the child itself (workers only) */
    int output;    /* what it writes to standard output and error (workers only), a pipe's reading end */
    bool fallback; /* known from CHILD_SPAWNED on: it has no namespaces of its own */
    bool ended;    /* CHILD_FAILED or CHILD_EXITED was reported: child_next says nothing any more */
    struct surroundings around;
    bool gone; /* wall_assign failed because it had left before: that says nothing about the assignment */
    /* private to sandbox/wall: which message of the worker is due next, whether its channel was sent, and a listener
     * that came before WALL_BUILT */
    unsigned phase;
    bool channel;
    int listener;
    /* private to sandbox/posture: its /proc/PID once it was looked at, the files of it that are still to be read, and a
     * bit for each namespace that is its own */
    int proc, proc_status, proc_limits, proc_mounts;
    unsigned separate;
};

#define CHILD_NONE \
    ((struct child){.pidfd = -1, \
                    .status = -1, \
                    .control = -1, \
                    .output = -1, \
                    .listener = -1, \
                    .proc = -1, \
                    .proc_status = -1, \
                    .proc_limits = -1, \
                    .proc_mounts = -1})

enum child_kind { CHILD_NOTHING, CHILD_SPAWNED, CHILD_FAILED, CHILD_EXITED };

struct child_event {
    enum child_kind kind;
    int wait_status;     /* CHILD_EXITED: as waitpid gives it */
    struct rusage usage; /* CHILD_EXITED: of the child and all it waited for */
    int errnum;          /* CHILD_FAILED */
    char step[64];       /* CHILD_FAILED: "clone3", "uid_map", … */
};

/* Asks for a worker up to its half-built wall; returns at once.  Follow child->status and child->control. */
int spawner_worker(struct spawner *s, struct child *out, struct error *err);

/* Asks for a walled moat-helper: duty is its argv[1] ("inspect"), input becomes descriptor 0, output descriptor 1.
 * Both stay the caller's. */
int spawner_helper(struct spawner *s, const char *duty, int input, int output, const struct wall_limits *limits,
                   struct child *out, struct error *err);

/* The next event without blocking; CHILD_NOTHING when there is none; the spawner's death is CHILD_EXITED with
 * wait_status SIGKILL.  Stores pid and pidfd at CHILD_SPAWNED. */
void child_next(struct child *c, struct child_event *out);

/* Blocks up to timeout_ms for the child's end; false when it still lives.  For threads that may block. */
bool child_wait(struct child *c, int timeout_ms, struct child_event *out);

void child_kill(struct child *c);  /* SIGKILL by pidfd: it and everything below it */
void child_close(struct child *c); /* closes descriptors, leaves CHILD_NONE; does not kill */

#endif
