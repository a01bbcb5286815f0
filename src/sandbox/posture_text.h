/* sandbox/posture_text: what the kernel's texts about a process say of its wall.  Pure: texts in, layers out. */
#ifndef SANDBOX_POSTURE_TEXT_H
#define SANDBOX_POSTURE_TEXT_H

#include <sys/types.h>

#include "sandbox/wall.h"

/* In the order of enum wall_layer: user, mnt, pid, net, ipc, uts, cgroup. */
extern const char *const posture_namespaces[POSTURE_NAMESPACES];

struct posture_seen {
    const char *status, *mountinfo, *limits; /* of /proc/PID */
    bool separate[POSTURE_NAMESPACES];       /* its namespace is not the host's */
    uid_t owner;                             /* of the files in /proc/PID */
    uid_t uid;                               /* the worker's outside, as the spawner said */
    unsigned filters_before;                 /* seccomp filters that the host itself is under */
    uint32_t self;                           /* what only the worker can see */
    bool fallback;                           /* it is not meant to have namespaces */
};

/* The layers that hold.  why[layer] says what is wrong with one that does not. */
uint32_t posture_judge(const struct posture_seen *seen, const struct wall_request *request,
                       char why[WALL_LAYER_COUNT][128]);

/* The value of a line "Name:\tvalue" of a status text, or NULL. Points into the text. */
const char *posture_field(const char *status, const char *name);

/* A path of mountinfo without its \ooo. false: it does not fit. */
bool posture_unescape(char *out, size_t size, const char *in, size_t len);

#endif
