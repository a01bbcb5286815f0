/* hostile: a plugin that is honest about being hostile.  Each action tries something a plugin must never manage, and
 * reports what happened.  The demo and the tests run it inside a worker, and outside as a control. */
#include "hostile.h"

static const struct moat_host *host;

static const struct attack_row attacks[] = {
    {"read_secret", read_secret},
    {"write_outside", write_outside},
    {"read_environment", read_environment},
    {"mount", mount_something},
    {"connect_tcp", connect_tcp},
    {"connect_unix", connect_unix},
    {"raw_socket", raw_socket},
    {"list_host_processes", list_host_processes},
    {"signal_host", signal_host},
    {"ptrace_host", ptrace_host},
    {"exec_shell", exec_shell},
    {"fork_bomb", fork_bomb},
    {"memory_bomb", memory_bomb},
    {"overrun_deadline", overrun_deadline},
    {"crash", crash},
    {"map_executable", map_executable},
    {"nested_namespace", nested_namespace},
    {"io_uring", io_uring},
    {"kernel_surface", kernel_surface},
    {"keyctl", keyctl_keyring},
    {"scribble", scribble},
    {0},
};

static bool initialize(const struct moat_host *given, const char *config, size_t len)
{
    host = given;
    return true;
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    struct attack a = {.call = call, .host = host, .text = parameters, .len = len};
    return attack_run_named(attacks, action, &a);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
