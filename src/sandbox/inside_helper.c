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

static int filter(void)
{
    struct sock_fprog program = {.len = policy_helper.length,
                                 .filter = (struct sock_filter *)(uintptr_t)policy_helper.code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? errno : 0;
}

static bool alone; /* no namespaces: the fallback wall */

static int capabilities(void)
{
    return inside_drop_capabilities(alone);
}

const char *inside_helper_lock(const char *called)
{
    alone = strcmp(called, HELPER_ALONE) == 0;
    static const struct {
        const char *name;
        int (*run)(void);
    } steps[] = {
        {"warm_up", warm_up},
        {"not_dumpable", not_dumpable},
        {"no_new_privs", no_new_privs},
        {"capabilities", capabilities},        /* the spawner left it CAP_SETPCAP for this */
        {"landlock", inside_landlock_nothing}, /* needs a descriptor for a moment */
        {"descriptors", only_two_descriptors},
        {"seccomp", filter},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int e = steps[i].run();
        if (e) {
            errno = e;
            return steps[i].name;
        }
    }
    return NULL;
}
