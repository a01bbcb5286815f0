/* sandbox/wall: how a waiting half-built worker becomes one plugin's worker, as the host drives it.
 *
 *   spawner_worker ─> WALL_HALF ─> wall_assign ─> WALL_BUILT ─> posture_verify ─> wall_go ─> WALL_READY
 *                                                             (serve the listener from here on)   or WALL_FAILED
 *
 * Owned by the supervise thread; nothing here blocks.  What the worker says is checked as hostile from WALL_BUILT on
 * (before that only our own code has run in it). */
#ifndef SANDBOX_WALL_H
#define SANDBOX_WALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "sandbox/layer.h"
#include "sandbox/spawner.h"
#include "sandbox/wall_limits.h"

#define WALL_GRANTS_MAX 32
#define WALL_PATH_MAX 512
#define WALL_CODE_MAX 8
#define WALL_PROGRAMS_MAX 48          /* with the libraries that they need */
#define WALL_PACKAGE_PLACE "/package" /* where the programs of a package appear inside */

/* A path of the host that appears at the same place inside.  Filled by wall_resolve. */
struct wall_grant {
    char path[WALL_PATH_MAX]; /* absolute, without symbolic links */
    uint64_t dev, ino;
    bool writable, directory;
};

/* Resolves path once, following links now and never again; MOAT_E_NO_SUCH_FILE, MOAT_E_PERMISSION_DENIED for places
 * that are never granted (/, /proc, /sys, /dev, and what they contain; /tmp itself). May block on a slow disk: not on a
 * loop. */
int wall_resolve(const char *path, bool writable, struct wall_grant *out, struct error *err);

/* A file that may be executed inside: one of the host's, which stays that file, or a part of the package's assets,
 * which is copied. Nobody can write it. */
struct wall_program {
    struct wall_grant file;    /* of the host: by wall_resolve; else unused */
    char place[WALL_PATH_MAX]; /* its path inside: absolute, without "." and ".." */
    bool shipped;
    uint64_t offset, size; /* shipped: in the assets' file */
};

struct wall_request;
/* Where a program is mounted: at its place; where that lies in a grant, whose links would be met, at its real path. */
const char *wall_program_mount(const struct wall_request *request, const struct wall_program *p);

struct wall_request {
    const struct wall_grant *grants;
    size_t ngrants;
    const struct wall_program *programs; /* none: no process can be started */
    size_t nprograms;
    bool execute_code;  /* the relaxed filter: new code may be mapped */
    uint32_t accepted;  /* WALL_BITs that the operator allows to be missing */
    uint32_t libraries; /* of the host, that the code needs (sandbox/libraries.h) */
    struct wall_limits limits;
    int h2w, w2h, bell;      /* the channel's descriptors (src/wire), unless it has got them before */
    int start;               /* sealed memory file: what the engine is to run (wire/start.h) */
    int code[WALL_CODE_MAX]; /* sealed memory files: bundled libraries in order, the entry last */
    size_t ncode;
    int assets; /* sealed memory file (wire/assets.h); 0: none, which no descriptor of ours is */
    int seats;  /* memory for queries (wire/seat.h); 0: none */
    int net;    /* its end of a SEQPACKET pair, over which it gets connections as descriptors; 0: it gets none */
};

/* Gives a worker its channel, so that it is mapped while the worker waits. Any time from spawner_worker on, once; all
 * descriptors stay the caller's. */
int wall_channel(struct child *worker, int h2w, int w2h, int bell, struct error *err);

/* Sends the assignment, and before it the request's channel where wall_channel has given none; all descriptors stay the
 * caller's. */
int wall_assign(struct child *worker, const struct wall_request *request, struct error *err);

enum wall_event_kind { WALL_NOTHING, WALL_HALF, WALL_BUILT, WALL_READY, WALL_FAILED, WALL_GONE };

struct wall_event {
    enum wall_event_kind kind;
    uint32_t self;     /* WALL_BUILT: WALL_BITs that only the worker can see */
    int listener;      /* WALL_BUILT: seccomp notifications, owned by the caller, or -1 */
    int errnum;        /* WALL_FAILED */
    char step[64];     /* WALL_FAILED: the wall's step, "load" or "initialize" */
    char message[512]; /* WALL_FAILED: one line, control characters already neutralised */
};

/* Next message of the worker without blocking. A message out of turn or malformed is WALL_FAILED, step "protocol". */
void wall_next(struct child *worker, struct wall_event *out);

/* Lets the worker load plugin code. Call only after posture_verify said yes. */
bool wall_go(struct child *worker);

/* Of the calling process. */
void posture_surroundings(struct surroundings *out);

struct posture {
    uint32_t present; /* WALL_BITs that hold */
    uint32_t missing; /* required and not there */
};

/* The first half of that look, at a worker that waits: which namespaces it is in, that it has been in since its clone;
 * and what will be read later is opened. Nothing is judged yet; where it was not called, or could not look,
 * posture_verify does it. */
void posture_first(struct child *worker);
/* Nothing of it is looked at any more: closes what is open for that. */
void posture_end(struct child *worker);

/* Reads the worker's posture from outside (/proc/PID: status, mountinfo, limits, ns), joins `self`, and compares with
 * what the request asked for. 0, or -MOAT_E_WALL_MISSING naming the layer; what `accepted` names is only reported. */
int posture_verify(struct child *worker, const struct wall_request *request, uint32_t self, struct posture *out,
                   struct error *err);

#endif
