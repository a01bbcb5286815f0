/* sandbox/messages: what host, spawner and worker say to each other, and the descriptor numbers they agree on.  Private
 * to src/sandbox.  The three run on one machine from one build; a version in front of every message tells when an
 * upgrade replaced one file and not the other.  Every message is one packet of exactly its struct's size, with unused
 * bytes zero; anything else is refused. */
#ifndef SANDBOX_MESSAGES_H
#define SANDBOX_MESSAGES_H

#include <stdint.h>

#include "sandbox/wall.h"
#include "sandbox/wall_limits.h"

/* Goes up with every change of this file. */
#define MESSAGE_VERSION 0x4d4f0006u

/* argv[1] of the moat-worker executable. */
#define ROLE_SPAWNER "spawner"
#define ROLE_WORKER "wall"
#define ROLE_FALLBACK "fallback" /* a worker without namespaces */

/* argv[0] of a helper: with its namespaces, and without them. */
#define HELPER_WHOLE "moat-helper"
#define HELPER_ALONE "moat-helper-alone"

/* The spawner's descriptors after exec; 0 to 2 are /dev/null. */
enum { SPAWNER_MAIN = 3, SPAWNER_WORKER = 4, SPAWNER_HELPER = 5, SPAWNER_FDS };

/* A worker's descriptors after exec: 0 is /dev/null, 1 and 2 the output pipe. */
enum { WORKER_CONTROL = 3, WORKER_LIFELINE = 4, WORKER_FDS };

/* And later: the socket over which it gets its connections (wall.h: net). The number is kept free for it from the half
 * wall on, because the filter knows it by its number. */
#define WORKER_NET WORKER_LIFELINE

/* Nobody, inside: what every worker and helper is called in its own user namespace. */
#define INSIDE_ID 65534u

/* Host uids and gids for workers when the host is root: far above anything that useradd, systemd or container tools
 * hand out. */
#define POOL_BASE 0x70000000u
#define POOL_SIZE 0x10000u

#define STEP_MAX 64

enum spawn_kind { SPAWN_WORKER = 1, SPAWN_HELPER };

/* Host to spawner. Descriptors: status; then control, output (worker) or input, output (helper). */
struct spawn_request {
    uint32_t version, kind, fallback; /* enum spawner_fallback */
    struct wall_limits limits;        /* helper only; filled */
    char duty[32];                    /* helper only */
};

enum spawn_status_kind { STATUS_SPAWNED = 1, STATUS_FAILED, STATUS_EXITED };

/* Spawner (or the child before its exec: STATUS_FAILED only) to host. STATUS_SPAWNED carries the pidfd. */
struct spawn_status {
    uint32_t version, kind;
    int32_t pid, errnum, wait_status;
    uint32_t uid, gid; /* the child's, as the host counts */
    uint32_t fallback; /* it has the fallback wall */
    uint64_t user_us, system_us, max_rss_kib, minor_faults, major_faults, blocks_in, blocks_out, switches,
        forced_switches;
    char step[STEP_MAX];
};

/* Host to worker: the channel with h2w, w2h and bell, which a half-built wall maps while it waits; one assignment with
 * start, the code and perhaps the assets, then ngrants grants and nprograms programs, later one go. */
enum order_kind { ORDER_ASSIGN = 1, ORDER_GRANT, ORDER_GO, ORDER_CHANNEL, ORDER_PROGRAM };

struct order_channel {
    uint32_t version, kind;
};

struct order_assign {
    uint32_t version, kind;
    uint32_t execute_code, accepted, libraries, ngrants, ncode, nassets, nseats, nnet; /* the last three: 0 or 1 */
    uint32_t nprograms;
    struct wall_limits limits; /* filled */
};

/* With one descriptor when the host made the mount itself. */
struct order_grant {
    uint32_t version, kind;
    uint64_t dev, ino;
    uint32_t writable, directory;
    char path[WALL_PATH_MAX];
};

/* As a grant of the file; a shipped one comes from the assets, and its file says nothing. */
struct order_program {
    struct order_grant file; /* kind ORDER_PROGRAM */
    uint32_t shipped, unused;
    uint64_t offset, size;
    char place[WALL_PATH_MAX];
};

struct order_go {
    uint32_t version, kind;
};

/* Worker to host: enum wall_event_kind (HALF, BUILT, READY, FAILED), and before BUILT the listener, when there is one,
 * in a message of its own: handing it over needs sendmsg, and BUILT is said when nothing is left to be done. */
#define REPORT_LISTENER 100u

struct report {
    uint32_t version, kind;
    uint32_t self;
    int32_t errnum;
    char step[STEP_MAX];
    char message[512];
};

/* Fills in the defaults that stand beside the fields in wall_limits.h. */
struct wall_limits limits_filled(const struct wall_limits *limits, bool helper);

#endif
