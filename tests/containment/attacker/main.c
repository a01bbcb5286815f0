/* attacker: one action, which runs the attack of a name. */
#include <sys/mman.h>

#include "attacker.h"

static const struct moat_host *host;
static long at_construction[3];

/* Before anybody asked for anything: where the wall came too late, this would work. */
__attribute__((constructor)) static void constructor(void)
{
    at_construction[0] = raw(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
    at_construction[1] = raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    at_construction[2] = raw(SYS_socket, 2, 1, 0);
    for (int i = 0; i < 3; i += 2)
        if (at_construction[i] >= 0)
            raw(SYS_close, at_construction[i]);
}

static void constructed(struct attack *a)
{
    static const char *const what[] = {"open", "writable and executable memory", "socket"};
    attack_tried(a, "act in a constructor, before the wall stands");
    for (int i = 0; i < 3; i++)
        attack_attempt(a, what[i], at_construction[i] < 0 && at_construction[i] > -4096 ? at_construction[i] : 0);
}

void attempt_fd(struct attack *a, const char *what, long fd)
{
    if (attack_attempt(a, what, fd))
        raw(SYS_close, fd);
}

#define ROW(name) \
    { \
#name, name \
    }

static const struct attack_row attacks[] = {
    ROW(read_secret),
    ROW(write_outside),
    ROW(read_environment),
    {"mount", mount_something},
    ROW(connect_tcp),
    ROW(connect_unix),
    ROW(raw_socket),
    ROW(list_host_processes),
    ROW(signal_host),
    ROW(ptrace_host),
    ROW(exec_shell),
    ROW(fork_bomb),
    ROW(memory_bomb),
    ROW(overrun_deadline),
    ROW(crash),
    ROW(map_executable),
    ROW(nested_namespace),
    ROW(io_uring),
    ROW(kernel_surface),
    {"keyctl", keyctl_keyring},
    ROW(scribble),

    ROW(constructed),
    ROW(through_a_link),
    ROW(hard_link_out),
    ROW(swapped_link),
    ROW(rename_across),
    ROW(truncate_read_only),
    ROW(change_attributes),
    ROW(probe),
    ROW(proc_entries),
    ROW(directory_descriptors),
    ROW(climb),
    ROW(remount),
    ROW(leave_root),
    ROW(odd_paths),
    ROW(set_uid_copy),
    ROW(plant_a_link),
    ROW(by_handle),
    ROW(make_nodes),
    ROW(open_device),
    ROW(unnamed_file),
    ROW(leases_and_owners),
    ROW(watch_files),
    ROW(splice_pages),
    ROW(preallocate),
    ROW(locks),
    ROW(map_written_code),

    ROW(tcp_families),
    ROW(udp_send),
    ROW(unix_pair),
    ROW(inherited_socket),
    ROW(pass_descriptor),
    ROW(listen_here),
    ROW(other_families),
    ROW(control_lies),
    ROW(ask_for_hosts),
    ROW(call_others),
    ROW(reach_for_connections),

    ROW(daemonise),
    ROW(thread_bomb),
    ROW(vfork_child),
    ROW(more_namespaces),
    ROW(join_namespace),
    ROW(exec_descriptor),
    ROW(terminal_injection),
    ROW(outlive),
    ROW(other_signals),
    ROW(priorities),
    ROW(identities),
    ROW(read_sibling),
    ROW(compare_processes),
    ROW(new_session),
    ROW(scheduling),
    ROW(debug_registers),

    ROW(fill_tmp),
    ROW(fill_inodes),
    ROW(shared_memory),
    ROW(many_descriptors),
    ROW(many_pipes),
    ROW(counters),
    ROW(lock_memory),
    ROW(huge_pages),
    ROW(stack_memory),
    ROW(core_dump),
    ROW(disk_flood),
    ROW(output_flood),
    ROW(log_flood),
    ROW(denial_flood),
    ROW(address_space),
    ROW(spin_threads),

    ROW(use_grants),
    ROW(second_listener),
    ROW(old_tables),
    ROW(executable_memory_again),
    ROW(root_powers),
    ROW(clocks_and_names),
    ROW(quotas_and_logs),
    ROW(memory_files),
    ROW(merge_pages),
    ROW(priority_futex),
    ROW(new_calls),
    ROW(handlers_and_breakpoints),
    ROW(shadow_and_keys),
    ROW(reported_values),
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
    return attack_run_named(attacks, attack_text(&a, "name", ""), &a);
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
