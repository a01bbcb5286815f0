/* Attacks on the kernel's surface, and on the filter that covers it. */
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "attacker.h"

static bool failed(long result)
{
    return result < 0 && result > -4096;
}

static void attempt_map(struct attack *a, const char *what, long at, size_t size)
{
    if (attack_attempt(a, what, failed(at) ? at : 0))
        raw(SYS_munmap, at, size);
}

/* Something of the kernel's that refuses these arguments has been reached all the same: only a filter says EPERM or
 * ENOSYS here. */
static void attempt_reached(struct attack *a, const char *what, long result)
{
    attack_attempt(a, what, result == -EPERM || result == -ENOSYS || result == -EACCES ? result : 0);
}

/* A listener of its own would answer in the host's place; a filter of its own would do no harm outside either. */
void second_listener(struct attack *a)
{
    attack_tried(a, "answer for the host, or add to its filter");
    attempt_reached(a, "seccomp, a listener",
                    raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, 0));
    attempt_reached(a, "seccomp, which actions", raw(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, 0));
    attempt_reached(a, "prctl, a filter", raw(SYS_prctl, PR_SET_SECCOMP, 2, 0));
    attempt_reached(a, "Landlock, a ruleset", raw(444, 0, 0, 1));
    attempt_reached(a, "lift no_new_privs", raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

/* Parameters: which, 0: int 0x80, 1: x32.  The filter ends whoever uses them; outside they are calls like others. */
void old_tables(struct attack *a)
{
    attack_tried(a, "use another table of system calls");
#ifdef __x86_64__
    long result = 20; /* getpid in the 32-bit table */
    if (attack_integer(a, "which", 0) == 0)
        __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    else
        result = raw(0x40000000 | SYS_getpid);
    attack_attempt(a, "it", result);
#else
    attack_attempt(a, "it", -ENOSYS);
#endif
}

/* Ways to executable memory that the hostile plugin does not try. */
void executable_memory_again(struct attack *a)
{
    attack_tried(a, "get memory that is written first and run later");
    long at = raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    attack_attempt(a, "pkey_mprotect", raw(SYS_pkey_mprotect, at, PAGE, PROT_READ | PROT_EXEC, -1));
    attack_attempt(a, "mprotect, upper half", raw(SYS_mprotect, at, PAGE, 0x100000000L | PROT_EXEC | PROT_READ));
    attack_attempt(a, "PROT_GROWSDOWN", raw(SYS_mprotect, at, PAGE, PROT_EXEC | 0x01000000) == -EINVAL ? 0 : -EPERM);
    raw(SYS_munmap, at, PAGE);
    attempt_map(a, "mmap, upper half",
                raw(SYS_mmap, 0, PAGE, 0x100000000L | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
    attempt_map(a, "executable, unwritten", raw(SYS_mmap, 0, PAGE, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                PAGE);
    attack_attempt(a, "READ_IMPLIES_EXEC", raw(SYS_personality, 0x0400000));
    raw(SYS_personality, 0);
    attempt_reached(a, "remap_file_pages", raw(SYS_remap_file_pages, 0, 0, 0, 0, 0));
    attempt_reached(a, "shmat, executable", raw(SYS_shmat, 0, 0, 0100000));
    attempt_reached(a, "uselib", raw(SYS_uselib, ""));
}

void root_powers(struct attack *a)
{
    attack_tried(a, "do what only root may");
    attempt_reached(a, "init_module", raw(SYS_init_module, 0, 0, ""));
    attempt_reached(a, "finit_module", raw(SYS_finit_module, -1, "", 0));
    attempt_reached(a, "delete_module", raw(SYS_delete_module, "no-such-module", 0));
    attempt_reached(a, "kexec_load", raw(SYS_kexec_load, 0, 17, 0, 0));
    attempt_reached(a, "reboot", raw(SYS_reboot, 1, 2, 3, 0));
    attempt_reached(a, "swapon", raw(SYS_swapon, "/no-such-file", 0));
    attempt_reached(a, "acct", raw(SYS_acct, "/no-such-file"));
    attempt_reached(a, "iopl", raw(SYS_iopl, 4));
    attempt_reached(a, "ioperm", raw(SYS_ioperm, 0x10000, 1, 1));
}

void clocks_and_names(struct attack *a)
{
    struct timespec bad = {.tv_nsec = -1};
    struct rlimit none = {1, 0};
    attack_tried(a, "set the machine's clocks and names");
    attempt_reached(a, "clock_settime", raw(SYS_clock_settime, CLOCK_REALTIME, &bad));
    attempt_reached(a, "settimeofday", raw(SYS_settimeofday, 1, 0));
    attempt_reached(a, "adjtimex", raw(SYS_adjtimex, 0));
    attempt_reached(a, "clock_adjtime", raw(SYS_clock_adjtime, 0, 0));
    attempt_reached(a, "sethostname", raw(SYS_sethostname, "x", -1));
    attempt_reached(a, "setdomainname", raw(SYS_setdomainname, "x", -1));
    attempt_reached(a, "setrlimit", raw(SYS_setrlimit, RLIMIT_NOFILE, &none));
}

void quotas_and_logs(struct attack *a)
{
    char text[256];
    attack_tried(a, "read the kernel's log, quotas, modules");
    attempt_reached(a, "syslog", raw(SYS_syslog, 99, text, sizeof text));
    attempt_reached(a, "quotactl", raw(SYS_quotactl, 0, "/no-such-device", 0, 0));
    attempt_reached(a, "quotactl_fd", raw(443, -1, 0, 0, 0));
    attempt_reached(a, "sysfs", raw(SYS_sysfs, 3));
    attempt_reached(a, "ustat", raw(SYS_ustat, 0, 0));
    attempt_reached(a, "statfs", raw(SYS_statfs, "/", text) == -EFAULT ? 0 : raw(SYS_fstatfs, 1, 0));
    attempt_reached(a, "lookup_dcookie", raw(SYS_lookup_dcookie, 0, text, sizeof text));
    attempt_reached(a, "statmount", raw(457, 0, 0, 0, 0));
    attempt_reached(a, "listmount", raw(458, 0, 0, 0, 0));
    attempt_reached(a, "lsm_list_modules", raw(461, 0, 0, 0));
}

void memory_files(struct attack *a)
{
    static const char code[] = "#!/bin/sh\nexit 242\n";
    attack_tried(a, "run what never was a file");
    long fd = raw(SYS_memfd_create, "x", 0x10 /* MFD_EXEC */);
    if (fd == -EINVAL)
        fd = raw(SYS_memfd_create, "x", 0);
    attack_attempt(a, "memfd_create", fd);
    if (fd >= 0) {
        raw(SYS_write, fd, code, sizeof code - 1);
        raw(SYS_close, fd);
    }
    attempt_reached(a, "execveat of nothing", raw(SYS_execveat, -1, "", 0, 0, 0x1000));
}

/* Merged pages tell by their timing what other plugins have in memory. */
void merge_pages(struct attack *a)
{
    long at = raw(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    attack_tried(a, "have its pages merged with others'");
    long result = raw(SYS_madvise, at, PAGE, 12 /* MADV_MERGEABLE */);
    attempt_reached(a, "MADV_MERGEABLE", result); /* EINVAL: a kernel without it was asked */
    attempt_reached(a, "PR_SET_MEMORY_MERGE", raw(SYS_prctl, 67, 0, 0, 0, 0));
    raw(SYS_munmap, at, PAGE);
}

void priority_futex(struct attack *a)
{
    static unsigned word;
    attack_tried(a, "use the futexes that lend priorities");
    attempt_reached(a, "FUTEX_TRYLOCK_PI", raw(SYS_futex, &word, 8, 0, 0, 0, 0));
    word = 0;
    attempt_reached(a, "FUTEX_UNLOCK_PI", raw(SYS_futex, &word, 7, 0, 0, 0, 0) == -EPERM ? -EPERM : -EAGAIN);
    attempt_reached(a, "FUTEX_CMP_REQUEUE_PI", raw(SYS_futex, &word, 12, 1, 0, &word, 0));
    attempt_reached(a, "FUTEX_WAIT_REQUEUE_PI", raw(SYS_futex, &word, 11, 1, 0, &word, 0));
    attempt_reached(a, "futex_waitv", raw(449, 0, 0, 0, 0, 0));
}

/* Calls that are younger than most filters. */
void new_calls(struct attack *a)
{
    static const struct {
        const char *what;
        long number;
    } calls[] = {{"io_uring_setup", 425},
                 {"io_uring_enter", 426},
                 {"io_uring_register", 427},
                 {"cachestat", 451},
                 {"mseal", 462},
                 {"set_mempolicy_home_node", 450},
                 {"process_mrelease", 448},
                 {"landlock_restrict_self", 446},
                 {"open_tree_attr", 467},
                 {"file_getattr", 468}};
    attack_tried(a, "use the kernel's newest calls");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        attempt_reached(a, calls[i].what, raw(calls[i].number, -1, -1, -1, -1, -1));
}

void handlers_and_breakpoints(struct attack *a)
{
    char descriptor[16] = {0};
    attack_tried(a, "change how the processor sees it");
    attempt_reached(a, "modify_ldt", raw(SYS_modify_ldt, 1, descriptor, 1));
    attempt_reached(a, "arch_prctl", raw(SYS_arch_prctl, 0x9999, 0));
    attempt_reached(a, "set_thread_area", raw(SYS_set_thread_area, 0));
    attempt_reached(a, "bpf", raw(SYS_bpf, 99, 0, 0));
    attempt_reached(a, "perf_event_open", raw(SYS_perf_event_open, 0, 0, 0, -1, 0));
    attempt_reached(a, "userfaultfd", raw(SYS_userfaultfd, 0x10000));
}

void shadow_and_keys(struct attack *a)
{
    attack_tried(a, "use memory keys, shadow stacks and key rings");
    attempt_reached(a, "pkey_alloc", raw(SYS_pkey_alloc, 1, 0));
    attempt_reached(a, "pkey_free", raw(SYS_pkey_free, 15));
    attempt_reached(a, "map_shadow_stack", raw(453, 0, 0, 0));
    attempt_reached(a, "keyctl", raw(SYS_keyctl, 9999));
    attempt_reached(a, "request_key", raw(SYS_request_key, 0, 0, 0, 0));
    attempt_reached(a, "add_key", raw(SYS_add_key, 0, 0, 0, 0, 0));
}

/* What the harmless calls say of the machine and of its host. */
void reported_values(struct attack *a)
{
    struct {
        char sysname[65], nodename[65], rest[65 * 4];
    } name = {{0}, {0}, {0}};
    attack_tried(a, "learn who and where it is");
    raw(SYS_uname, &name);
    attack_attempt(a, "the host's name", strcmp(name.nodename, "moat") != 0 ? 0 : -ENODATA);
    attack_attempt(a, "a real user", raw(SYS_getuid) != 65534 ? 0 : -ENODATA);
    attack_attempt(a, "a process number of the host's", raw(SYS_getpid) != 1 ? 0 : -ENODATA);
    attack_attempt(a, "a parent", raw(SYS_getppid) != 0 ? 0 : -ENODATA);
}
