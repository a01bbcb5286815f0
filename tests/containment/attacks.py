"""The attacks, one a row: what it is, the line of the list that it answers, its control run, what must come of it.

The list is drawn from the test suites and advisories of other sandboxes; `LATER` names what waits for a surface that is
not there yet, and which work brings it.

control: how the same code is shown to work outside. "same": by a plain process of the same user; "root": only root may,
so root does it in a mount namespace of its own; any other text: there is none, and this is why.
denied: (operation, missing permission) of events that must be there; the permission is None where nothing can allow it.
limits and walls that answer by themselves have no event.
ends: the attack costs the worker its life: (status, code), and for a limit its name."""

from dataclasses import dataclass, field

READ, WRITE = ("open for reading", "file_read"), ("open for writing", "file_write")
CODE, RUN = ("map executable memory", "execute_code"), ("execute a program", "execute_code")
SOCKET, FAMILY = ("open a socket", "network_access"), ("open a socket", None)
START, SIGNAL = ("start a process", None), ("signal a process", None)


@dataclass
class Attack:
    name: str
    line: str
    control: str = "same"
    denied: tuple = ()
    ends: tuple = ()
    more: dict = field(default_factory=dict)
    variant: str = ""
    swaps: bool = False

    @property
    def id(self):
        return f"{self.name}-{self.variant}" if self.variant else self.name


A = Attack
ATTACKS = [
    # Filesystem
    A("read_secret", "read a secret file outside the grants", denied=(READ,)),
    A("write_outside", "write outside", denied=(WRITE, ("change the mode", "file_write"), ("make a symbolic link", None))),
    A("through_a_link", "write through a symlink that leads out of a grant"),
    A("hard_link_out", "a hard link that leads out of a grant", denied=(("link", "file_write"),)),
    A("swapped_link", "swap a symlink between check and open", swaps=True),
    A("rename_across", "rename or exchange across grants", denied=(("rename", "file_write"),)),
    A("truncate_read_only", "truncate a read-only file", denied=(WRITE, ("truncate", "file_write"))),
    A("change_attributes", "change mode, owner, times or xattrs outside",
      denied=(("change the mode", "file_write"), ("change the times", "file_write"), ("change the owner", None), ("setxattr", None))),
    A("probe", "probe for existence outside", denied=(READ, RUN)),
    A("proc_entries", "/proc entries that lead out", denied=(("open for reading", None),)),
    A("directory_descriptors", "a leaked directory descriptor", denied=(READ,)),
    A("climb", "a leaked working directory, ..", denied=(READ,)),
    A("remount", "write through a read-only bind", "root", (("mount", None), ("mount_setattr", None), ("umount", None))),
    A("leave_root", "move_mount, pivot_root", "root", (("chroot", None), ("pivot_root", None), ("move_mount", None))),
    A("mount", "mount", "root", (("mount", None), ("open_tree", None), ("fsopen", None))),
    A("odd_paths", "NUL, .., overlong and non-UTF-8 paths", denied=(READ,)),
    A("set_uid_copy", "set-uid copies", denied=(("make a set-uid file", None), ("fchmod", None))),
    A("plant_a_link", "a symlink left for whoever reads the grant", denied=(("make a symbolic link", None),)),
    A("by_handle", "open by handle", denied=(("name_to_handle_at", None), ("open_by_handle_at", None))),
    A("make_nodes", "mknod", denied=(("make a device", None),)),
    A("open_device", "device ioctl: device nodes in granted directories", "root"),
    A("unnamed_file", "a file without a name, brought into a read grant", denied=(WRITE, ("link", "file_write"))),
    A("leases_and_owners", "F_SETOWN, F_SETSIG, leases, dnotify, flock", denied=(("fcntl", None), ("flock", None))),
    A("watch_files", "inotify, fanotify", denied=(("inotify_init1", None), ("fanotify_init", None))),
    A("splice_pages", "pages of a read-only file by splice", denied=(("splice", None), ("vmsplice", None))),
    A("preallocate", "disk space without writing", denied=(("fallocate", None), ("sync", None), ("syncfs", None))),
    A("locks", "a write lock on a read-only file", denied=(WRITE,)),
    # Network
    A("connect_tcp", "a service on the host's loopback", denied=(SOCKET,)),
    A("tcp_families", "TCP, v4, v6 and mapped", denied=(SOCKET,)),
    A("udp_send", "UDP, v4 and v6; DNS with an empty list", denied=(SOCKET,)),
    A("connect_unix", "pathname Unix sockets", denied=(FAMILY,), variant="pathname"),
    A("connect_unix", "abstract Unix sockets", denied=(FAMILY,), variant="abstract"),
    A("raw_socket", "raw, packet, netlink, vsock", denied=(SOCKET, FAMILY)),
    A("other_families", "netlink, kernel crypto, XDP, MPTCP", denied=(SOCKET, FAMILY)),
    A("unix_pair", "Unix sockets of its own", denied=(FAMILY, ("open a socket pair", None))),
    A("inherited_socket", "the one socket that it has", denied=(("getpeername", None), ("shutdown", None), ("connect", "network_access"))),
    A("pass_descriptor", "descriptors in flight"),
    A("ask_for_hosts", "an empty allowlist means nothing is allowed; DNS with an empty list; IP-literal and encoded host tricks",
      "outside there is no host to ask", denied=(("connect", "network_access"),)),
    A("call_others", "nested host calls: other plugins' actions, the machine's facts", "outside there is no host to ask",
      denied=(("call", "agent_control"), ("ask for a fact", "system_access"))),
    A("reach_for_connections", "descriptors that the host hands to others", "outside there is no host that hands any",
      denied=(("recvmsg", None),)),
    A("listen_here", "listen", denied=(SOCKET, ("bind", "network_access"), ("listen", "network_access"))),
    # Processes
    A("list_host_processes", "see them", denied=(SIGNAL, ("open for reading", None))),
    A("signal_host", "signal them", denied=(SIGNAL, ("pidfd_open", None))),
    A("other_signals", "signal them, by every call that can", denied=(SIGNAL, ("tkill", None), ("rt_sigqueueinfo", None))),
    A("ptrace_host", "ptrace or read memory of the host", denied=(("ptrace", None), ("process_vm_readv", None))),
    A("debug_registers", "ptrace by number", denied=(("ptrace", None),)),
    A("read_sibling", "read memory of a sibling", denied=(("process_vm_readv", None), ("process_vm_writev", None), SIGNAL)),
    A("compare_processes", "pidfd_getfd, process_madvise, kcmp, move_pages",
      denied=(("pidfd_open", None), ("pidfd_getfd", None), ("process_madvise", None), ("kcmp", None), ("move_pages", None))),
    A("daemonise", "double fork that outlives the kill", denied=(START,)),
    A("outlive", "no death signal, dumpable, subreaper"),
    A("fork_bomb", "fork bomb", denied=(START,)),
    A("thread_bomb", "fork bomb, of threads"),
    A("vfork_child", "fork by other names", denied=(START,)),
    A("nested_namespace", "nested user namespaces by clone, clone3 and unshare", denied=(START, ("unshare", None))),
    A("more_namespaces", "namespaces of every kind", denied=(START, ("unshare", None))),
    A("join_namespace", "setns", denied=(("setns", None), ("pidfd_open", None))),
    A("exec_shell", "execute by path, a memory file, the dynamic loader", denied=(RUN,)),
    A("exec_descriptor", "execute by descriptor, #!", denied=(RUN,)),
    A("memory_files", "a memory file", denied=(("memfd_create", None), ("execute a program", None))),
    A("terminal_injection", "terminal injection (TIOCSTI), device ioctl", denied=(("ioctl", None),)),
    A("new_session", "terminals and process groups", denied=(("setpgid", None), ("vhangup", None))),
    A("read_environment", "inherited environment", denied=(("open for reading", None),)),
    A("reported_values", "who and where it is"),
    A("constructed", "a constructor that acts before the wall stands"),
    A("priorities", "priorities and limits of others", denied=(("setpriority", None), ("ioprio_set", None))),
    A("scheduling", "real time, affinity, membarrier", denied=(("sched_setscheduler", None), ("sched_setaffinity", None), ("membarrier", None))),
    A("identities", "other users, capabilities", denied=(("setresuid", None), ("capset", None), ("setgroups", None))),
    # Resources
    A("memory_bomb", "memory bomb"),
    A("address_space", "page tables without end"),
    A("stack_memory", "memory that counts as stack", denied=(("map memory", None),)),
    A("shared_memory", "/dev/shm, memfd, SysV shm", denied=(("shmget", None), ("memfd_create", None), ("map memory", None))),
    A("fill_tmp", "filling tmpfs"),
    A("fill_inodes", "filling tmpfs, by files"),
    A("disk_flood", "disk flood"),
    A("overrun_deadline", "spinning on the CPU past the deadline", "it would compute for a minute", ends=(504, "deadline", None)),
    A("spin_threads", "spinning on the CPU past its own limit", "it would compute for twenty seconds", ends=(507, "limit", "cpu")),
    A("many_descriptors", "descriptors"),
    A("many_pipes", "pipes", denied=(("fcntl", None),)),
    A("counters", "eventfd, timers, signalfd, aio", denied=(("eventfd2", None), ("timerfd_create", None), ("io_setup", None))),
    A("lock_memory", "locked memory", denied=(("mlock", None), ("mlockall", None))),
    A("huge_pages", "huge pages", denied=(("map memory", None),)),
    A("core_dump", "core dumps"),
    # Kernel surface
    A("old_tables", "int 0x80", ends=(502, "plugin_crashed", "SIGSYS"), more={"which": 0}, variant="int80"),
    A("old_tables", "x32", "not every kernel has the table; the filter ends its user before that is asked",
      ends=(502, "plugin_crashed", "SIGSYS"), more={"which": 1}, variant="x32"),
    A("io_uring", "io_uring"),
    A("keyctl", "keyctl", denied=(("keyctl", None), ("add_key", None))),
    A("shadow_and_keys", "memory keys, shadow stacks, request_key", denied=(("pkey_alloc", None), ("request_key", None))),
    A("kernel_surface", "bpf, perf, userfaultfd, fanotify", denied=(("bpf", None), ("perf_event_open", None), ("userfaultfd", None))),
    A("handlers_and_breakpoints", "modify_ldt, arch_prctl", denied=(("modify_ldt", None), ("arch_prctl", None))),
    A("quotas_and_logs", "quotactl, syslog", denied=(("quotactl", None), ("syslog", None), ("statfs", None))),
    A("root_powers", "modules, kexec, swap, reboot", "root", (("init_module", None), ("reboot", None), ("swapon", None))),
    A("clocks_and_names", "clocks, names, limits", denied=(("clock_settime", None), ("sethostname", None), ("setrlimit", None))),
    A("new_calls", "the newest calls, and unknown ones", denied=(("landlock_restrict_self", None),)),
    A("second_listener", "a second seccomp listener", denied=(("landlock_create_ruleset", None),)),
    A("map_executable", "writable and executable memory", denied=(CODE, ("make memory executable", "execute_code"))),
    A("executable_memory_again", "writable and executable memory, by stranger ways",
      denied=(CODE, ("make memory executable", "execute_code"), ("personality", None), ("shmat", None))),
    A("map_written_code", "code from a file that it wrote itself", denied=(CODE,)),
    A("merge_pages", "merged pages", denied=(("madvise", None),)),
    A("priority_futex", "priority-inheriting futexes, futex_waitv", denied=(("futex", None),)),
    # Rings and messages
    A("control_lies", "messages in a state that does not allow them", "outside there is no host to lie to",
      ends=(502, "plugin_crashed", "protocol")),
    A("scribble", "indices, lengths, noise everywhere (tests/wire has it field by field)", "outside there is no channel"),
    # Crash
    A("crash", "crash", "it would only crash", ends=(502, "plugin_crashed", "SIGSEGV")),
]

# Without user namespaces (docs/walls.md): what the fallback wall does not hold, and why.
NOT_IN_FALLBACK = {
    "reported_values": "it has the host's name, its own number and user: nothing hides them",
    "open_device": "no mount makes devices in a granted directory useless; only root can put them there",
}

# What the list names and this version has no surface for, and the work that brings both.
LATER = {
    "programs as plugins": ["Node must still start without io_uring", "execveat of one program and no other"],
    "MCP": ["every message type fuzzed, MCP's"],
    "audit": ["a torn write at every point of the audit trail"],
}

# Lines of the list that other groups answer.
ELSEWHERE = {
    "SQL that attaches files, loads extensions, reaches other servers": "tests/containment/test_sql.py",
    "duplicated, forged, late and out-of-turn questions of running calls": "tests/loader/ask_test.c",
    "a question field by field": "tests/wire/liar_test.c",
    "wildcard, case, trailing-dot, IP-literal and encoded host tricks, with a grant": "tests/broker/net_test.c",
    "rebinding and redirects to private or link-local addresses": "tests/broker/net_test.c",
    "what can be done with a connection that was granted": "tests/broker/test_network.py",
    "every syscall number from 0 to 1023, and unknown ones": "tests/sandbox/sweep_test.c",
    "indices beyond the ring, wrap, huge and negative lengths; lengths that change": "tests/wire/liar_test.c",
    "shrinking or growing the memory file": "tests/wire/walled_test.c",
    "every byte flipped, traversal, links, bombs": "tests/package",
    "kill the host, a worker at every step": "tests/crash",
    "oversized, slow, pipelined and malformed HTTP; too little scope": "tests/rest",
}
