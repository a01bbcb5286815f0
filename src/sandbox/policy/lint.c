#include "policy.h"

#include <string.h>
#include <sys/mman.h>

/* Calls that no policy may allow, not even under a condition: each opens a way around another wall. */
static const char *const never[] = {
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "keyctl",
    "add_key",
    "request_key",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "fspick",
    "fsconfig",
    "mount_setattr",
    "memfd_create",
    "memfd_secret",
    "shmget",
    "shmat",
    "shmctl",
    "semget",
    "msgget",
    "mq_open",
    "personality",
    "modify_ldt",
    "kexec_load",
    "init_module",
    "finit_module",
    "reboot",
    "swapon",
    "acct",
    "quotactl",
    "syslog",
    "fanotify_init",
    "name_to_handle_at",
    "open_by_handle_at",
    "openat2",
    "clone3",
    "socket",
    "socketpair",
    "execve",
    "execveat",
    "pidfd_getfd",
    "pidfd_open",
    "mknod",
    "mknodat",
    "fallocate",
    "futex_waitv",
    "eventfd",
    "eventfd2",
    "vmsplice",
    "remap_file_pages",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "setrlimit",
    "arch_prctl",
    "kcmp",
    "process_madvise",
    "sendmmsg",
    "symlink",
    "symlinkat",
    "landlock_create_ruleset",
    "mlock",
    "mlockall",
    "sched_setaffinity",
    "sched_setscheduler",
    "sched_setattr",
};

static bool permits(const struct rule *r)
{
    return r->action == ACT_ALLOW || r->action == ACT_EXPLAIN;
}

static bool forbidden(const char *name)
{
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strcmp(never[i], name) == 0)
            return true;
    return false;
}

/* The test on an argument, or NULL. */
static const struct test *test_of(const struct rule *r, unsigned argument)
{
    for (unsigned i = 0; i < r->ntests; i++)
        if (r->tests[i].argument == argument)
            return &r->tests[i];
    return NULL;
}

/* true when the rule cannot give memory that is, or later becomes, writable and executable. */
static bool keeps_wx(const struct rule *r)
{
    const struct test *prot = test_of(r, 2), *flags = test_of(r, 3);
    if (!prot || prot->compare != CMP_EQ || !(prot->mask & PROT_EXEC))
        return false;
    if (!(prot->value & PROT_EXEC))
        return true;
    const uint64_t type = 0x0f | MAP_ANONYMOUS;
    return strcmp(r->name, "mmap") == 0 && (prot->mask & PROT_WRITE) && !(prot->value & PROT_WRITE) && flags &&
           flags->compare == CMP_EQ && (flags->mask & type) == type && (flags->value & type) == MAP_PRIVATE;
}

/* Programs are started by path, and asked about: by descriptor no mount would have a say. */
static bool starts_programs(const struct rule *r)
{
    const struct test *what = test_of(r, 0);
    return (strcmp(r->name, "execve") == 0 && r->action == ACT_EXPLAIN) ||
           (strcmp(r->name, "arch_prctl") == 0 && what && what->compare == CMP_EQ &&
            (what->value == ARCH_SET_FS || what->value == ARCH_CET_STATUS));
}

static void lint_one(struct policy *p, const struct rule *r)
{
    const char *file = p->groups[r->group].file;
    bool net = p->relaxed_net && strcmp(r->name, "socket") == 0;
    bool program = p->relaxed_programs && starts_programs(r);
    if (permits(r) && forbidden(r->name) && !net && !program)
        policy_fault(p, file, r->line, "%s may never be allowed", r->name);
    bool maps =
        strcmp(r->name, "mmap") == 0 || strcmp(r->name, "mprotect") == 0 || strcmp(r->name, "pkey_mprotect") == 0;
    if (permits(r) && maps && !p->relaxed && !keeps_wx(r))
        policy_fault(p, file, r->line, "%s: this would allow memory that is writable and executable", r->name);
}

static void lint_pair(struct policy *p, const struct rule *a, const struct rule *b)
{
    const char *file = p->groups[b->group].file;
    if (strcmp(a->name, b->name) != 0)
        return;
    if (a->group != b->group)
        policy_fault(p, file, b->line, "%s stands in two groups, %s and %s", b->name, p->groups[a->group].name,
                     p->groups[b->group].name);
    else if (!a->ntests || !b->ntests)
        policy_fault(p, file, b->line, "%s stands twice, once without a condition", b->name);
    else if (a->action != b->action || a->errnum != b->errnum)
        policy_fault(p, file, b->line, "%s has two actions", b->name);
    else if (a->ntests == b->ntests && memcmp(a->tests, b->tests, a->ntests * sizeof *a->tests) == 0)
        policy_fault(p, file, b->line, "%s stands twice with the same condition", b->name);
}

void policy_lint(struct policy *p)
{
    for (unsigned i = 0; i < p->nrules; i++) {
        if (p->groups[p->rules[i].group].replaced)
            continue;
        lint_one(p, &p->rules[i]);
        for (unsigned k = 0; k < i; k++)
            if (!p->groups[p->rules[k].group].replaced)
                lint_pair(p, &p->rules[k], &p->rules[i]);
    }
}
