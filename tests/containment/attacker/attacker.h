/* attacker: the attacks that plugins/hostile has not.  Each is an attack_run: bare system calls, bounded, undoing what
 * it did when it works, and honest about what happened.  attacks.py says what each must come to. */
#ifndef CONTAINMENT_ATTACKER_H
#define CONTAINMENT_ATTACKER_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "../../../plugins/hostile/hostile.h"
#include "../../../plugins/hostile/raw.h"

#define PAGE ((size_t)4096)

/* An attempt whose success is a descriptor, which is closed. */
void attempt_fd(struct attack *a, const char *what, long fd);

/* files.c */
attack_run through_a_link, hard_link_out, swapped_link, rename_across, truncate_read_only, change_attributes, probe,
    proc_entries, directory_descriptors, climb, remount, leave_root, odd_paths, set_uid_copy, plant_a_link, by_handle,
    make_nodes, open_device, unnamed_file, leases_and_owners, watch_files, splice_pages, preallocate, locks,
    map_written_code, use_grants;
/* sockets.c */
attack_run tcp_families, udp_send, unix_pair, inherited_socket, pass_descriptor, listen_here, other_families,
    control_lies, ask_for_hosts, reach_for_connections, call_others;
/* processes.c */
attack_run daemonise, thread_bomb, vfork_child, more_namespaces, join_namespace, exec_descriptor, terminal_injection,
    outlive, other_signals, priorities, identities, read_sibling, compare_processes, new_session, scheduling,
    debug_registers;
/* resources.c */
attack_run fill_tmp, fill_inodes, shared_memory, many_descriptors, many_pipes, counters, lock_memory, huge_pages,
    stack_memory, core_dump, disk_flood, output_flood, log_flood, denial_flood, address_space, spin_threads;
/* kernel.c */
attack_run second_listener, old_tables, executable_memory_again, root_powers, clocks_and_names, quotas_and_logs,
    memory_files, merge_pages, priority_futex, new_calls, handlers_and_breakpoints, shadow_and_keys, reported_values;

#endif
