#include "sandbox/inside_helper.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "sandbox/builder.h"
#include "sandbox/kernel.h"
#include "sandbox/program.h"

/* The C library draws randomness and sets up its heap at the first allocation; do that while it still may. */
static int warm_up(void)
{
    void *p = malloc(256 * 1024);
    if (!p)
        return ENOMEM;
    free(p);
    return 0;
}

static int not_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? errno : 0;
}

static int only_two_descriptors(void)
{
    struct rlimit none = {0, 0};
    return kernel_close_range(2, ~0u) < 0 || setrlimit(RLIMIT_NOFILE, &none) < 0 ? errno : 0;
}

static int no_new_privs(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? errno : 0;
}

static int only_the_socket(void)
{
    return kernel_close_range(1, ~0u) < 0 ? errno : 0;
}

static int install(const struct policy_program *p)
{
    struct sock_fprog program = {.len = p->length, .filter = (struct sock_filter *)(uintptr_t)p->code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? errno : 0;
}

static int filter(void)
{
    return install(&policy_helper);
}

static const struct policy_program *own_filter;
static unsigned own_descriptors;

/* poll counts against the limit, so it is as many as there are. */
static int only_its_descriptors(void)
{
    struct rlimit some = {own_descriptors, own_descriptors};
    return kernel_close_range(own_descriptors, ~0u) < 0 || setrlimit(RLIMIT_NOFILE, &some) < 0 ? errno : 0;
}

static int filter_own(void)
{
    return install(own_filter);
}

static int filter_net(void)
{
    return install(&policy_helper_net);
}

static bool alone; /* no namespaces: the fallback wall */

static int capabilities(void)
{
    return inside_drop_capabilities(alone);
}

struct lock_step {
    const char *name;
    int (*run)(void);
};

static const char *lock(const char *called, const struct lock_step *steps)
{
    alone = strcmp(called, HELPER_ALONE) == 0;
    for (; steps->name; steps++) {
        int e = steps->run();
        if (e) {
            errno = e;
            return steps->name;
        }
    }
    return NULL;
}

const char *inside_helper_lock(const char *called)
{
    static const struct lock_step steps[] = {
        {"warm_up", warm_up},
        {"not_dumpable", not_dumpable},
        {"no_new_privs", no_new_privs},
        {"capabilities", capabilities},        /* the spawner left it CAP_SETPCAP for this */
        {"landlock", inside_landlock_nothing}, /* needs a descriptor for a moment */
        {"descriptors", only_two_descriptors},
        {"seccomp", filter},
        {0},
    };
    return lock(called, steps);
}

const char *inside_helper_lock_sql(const char *called, bool postgres, unsigned descriptors)
{
    static const struct lock_step steps[] = {
        {"warm_up", warm_up},
        {"not_dumpable", not_dumpable},
        {"no_new_privs", no_new_privs},
        {"capabilities", capabilities},
        {"landlock", inside_landlock_nothing},
        {"descriptors", only_its_descriptors},
        {"seccomp", filter_own},
        {0},
    };
    own_filter = postgres ? &policy_helper_postgres : &policy_helper_sqlite;
    own_descriptors = descriptors;
    return lock(called, steps);
}

const char *inside_helper_lock_net(const char *called)
{
    static const struct lock_step steps[] = {
        {"warm_up", warm_up},
        {"not_dumpable", not_dumpable},
        {"no_new_privs", no_new_privs},
        {"capabilities", capabilities},
        {"landlock", inside_landlock_connect},
        {"descriptors", only_the_socket},
        {"seccomp", filter_net},
        {0},
    };
    return lock(called, steps);
}
