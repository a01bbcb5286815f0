/* sandbox/layer: the names of the wall's layers.  `moat doctor` prints them, `accept_missing_layers` takes them,
 * posture is a set of them.  Owns nothing. */
#ifndef SANDBOX_LAYER_H
#define SANDBOX_LAYER_H

#include <stdint.h>

/* X(id, name, what is lost without it) */
#define WALL_LAYERS(X) \
    X(USER_NS, "user_namespace", "a worker would hold the host user's rights") \
    X(MOUNT_NS, "mount_namespace", "a worker would see the host's files") \
    X(PID_NS, "pid_namespace", "a worker would see and signal the host's processes") \
    X(NET_NS, "net_namespace", "a worker would reach the host's network") \
    X(IPC_NS, "ipc_namespace", "a worker would reach the host's System V and POSIX queues") \
    X(UTS_NS, "uts_namespace", "a worker would read the host's name") \
    X(CGROUP_NS, "cgroup_namespace", "a worker would read the host's control groups") \
    X(ROOT, "private_root", "a worker would keep the host's root directory") \
    X(NO_NESTED_NS, "no_nested_namespaces", "kernel surface of new namespaces is closed by seccomp alone") \
    X(NO_NEW_PRIVS, "no_new_privs", "set-uid programs would give rights") \
    X(NOT_DUMPABLE, "not_dumpable", "processes of the same user could read a worker's memory") \
    X(CAPABILITIES, "capabilities", "a worker would keep rights in its own namespaces") \
    X(LANDLOCK, "landlock", "file access is limited by mounts alone") \
    X(SECCOMP, "seccomp", "the whole system call surface would be open") \
    X(NOTIFY, "denial_notify", "denials could not be explained") \
    X(RLIMITS, "rlimits", "memory, processes and descriptors would be unlimited") \
    X(KEYRING, "session_keyring", "a worker would share the host's session keyring")

enum wall_layer {
#define X(id, name, lost) WALL_##id,
    WALL_LAYERS(X)
#undef X
        WALL_LAYER_COUNT,
};

#define WALL_BIT(id) (1u << WALL_##id)
#define WALL_ALL ((1u << WALL_LAYER_COUNT) - 1)

/* What the fallback wall of docs/walls.md does without; it takes the place of the whole one where user namespaces
 * cannot be had and the operator has accepted just that, by the name user_namespace. */
#define WALL_FALLBACK_LACKS \
    (WALL_BIT(USER_NS) | WALL_BIT(MOUNT_NS) | WALL_BIT(PID_NS) | WALL_BIT(NET_NS) | WALL_BIT(IPC_NS) | \
     WALL_BIT(UTS_NS) | WALL_BIT(CGROUP_NS) | WALL_BIT(ROOT) | WALL_BIT(NO_NESTED_NS) | WALL_BIT(NOT_DUMPABLE))

const char *wall_layer_name(enum wall_layer layer);
const char *wall_layer_lost(enum wall_layer layer);
int wall_layer_parse(const char *name); /* -1 when there is none of that name */

#endif
