#include "sandbox/doctor_cure.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

/* The number in a file of /proc/sys, or -1. */
static long sysctl_value(const char *path)
{
    char text[32] = "";
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || io_read_full(fd, text, sizeof text - 1) <= 0)
        return -1;
    return strtol(text, NULL, 10);
}

static bool in_container(void)
{
    return access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0 || getenv("container");
}

/* Why a user namespace, or the mounts in it, can be refused: the first that this machine shows. */
static const struct {
    const char *sysctl;
    long value;
    const char *cure;
} switches[] = {
    {"/proc/sys/user/max_user_namespaces", 0, "sysctl -w user.max_user_namespaces=15000"},
    {"/proc/sys/user/max_mnt_namespaces", 0, "sysctl -w user.max_mnt_namespaces=15000"},
    {"/proc/sys/user/max_pid_namespaces", 0, "sysctl -w user.max_pid_namespaces=15000"},
    {"/proc/sys/user/max_net_namespaces", 0, "sysctl -w user.max_net_namespaces=15000"},
    {"/proc/sys/user/max_ipc_namespaces", 0, "sysctl -w user.max_ipc_namespaces=15000"},
    {"/proc/sys/user/max_uts_namespaces", 0, "sysctl -w user.max_uts_namespaces=15000"},
    {"/proc/sys/user/max_cgroup_namespaces", 0, "sysctl -w user.max_cgroup_namespaces=15000"},
    {"/proc/sys/kernel/unprivileged_userns_clone", 0, "sysctl -w kernel.unprivileged_userns_clone=1"},
    {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1,
     "give moat-worker an AppArmor profile with `userns,` (see docs/walls.md), or "
     "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
};

#define CONTAINER_CURE \
    "this is a container: run it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or with " \
    "profiles that allow clone of namespaces, mount and pivot_root"

static const char *namespace_cure(const char *step)
{
    if (strcmp(step, "exec") == 0)
        return "let everybody read and execute moat-worker, on a file system without noexec (chmod 755)";
    if (strcmp(step, "uid_pool") == 0)
        return "run moat as an ordinary user, or in a container whose root is not the host's or that maps user ids "
               "from 1879048192 on";
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (sysctl_value(switches[i].sysctl) == switches[i].value)
            return switches[i].cure;
    return in_container()
               ? CONTAINER_CURE
               : "a security module or an outer sandbox refuses it: look for the refusal in the kernel's log "
                 "(dmesg, journalctl -k), or run moat outside of that sandbox";
}

void doctor_cure(enum wall_layer layer, const char *failed_step, char *out, size_t size)
{
    static const char *const cures[WALL_LAYER_COUNT] = {
        [WALL_NO_NESTED_NS] = "let /proc/sys/user be written: in Docker --security-opt systempaths=unconfined; or "
                              "accept it: moat settings set accept_missing_layers no_nested_namespaces",
        [WALL_NO_NEW_PRIVS] = "use a kernel of 5.15 or later",
        [WALL_LANDLOCK] = "use a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in its lsm= list (5.13 or later); "
                          "in a container allow the landlock_* system calls",
        [WALL_SECCOMP] = "use a kernel with CONFIG_SECCOMP_FILTER",
        [WALL_NOTIFY] = "use a kernel of 5.15 or later, and no outer sandbox that listens itself (some container "
                        "managers do); or accept it: moat settings set accept_missing_layers denial_notify",
        [WALL_KEYRING] = "in a container allow the system call keyctl",
        [WALL_RLIMITS] = "an outer sandbox refuses setrlimit: allow it",
    };
    const char *cure = cures[layer] ? cures[layer] : namespace_cure(failed_step);
    snprintf(out, size, "%s", cure);
}
