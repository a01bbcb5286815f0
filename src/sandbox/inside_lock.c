/* Rights given up for good: capabilities and Landlock.  After these steps nothing can be mounted or raised again. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/io.h"
#include "sandbox/builder.h"
#include "sandbox/kernel.h"

/* Of a process that never had any (the fallback wall): nothing can be dropped and nothing is there to be raised. */
static bool has_none(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    return syscall(SYS_capget, &header, data) == 0 && !(data[0].permitted | data[1].permitted) &&
           !(data[0].inheritable | data[1].inheritable);
}

/* What no program can be given any more. It changes nothing about the rights that are there, so a half-built worker has
 * done it already; it needs CAP_SETPCAP. */
static int drop_bounding_set(void)
{
    for (unsigned long cap = 0; cap < 64; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            if (errno == EINVAL)
                break; /* the kernel knows no more of them */
            return errno;
        }
    }
    return 0;
}

/* Securebits first: they need CAP_SETPCAP, which capset then takes. */
static int drop_rights(void)
{
    const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                               SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
                               SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
        return errno;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    return syscall(SYS_capset, &header, none) < 0 ? errno : 0;
}

int inside_drop_capabilities(bool none_is_fine)
{
    if (none_is_fine && has_none())
        return 0;
    int e = drop_bounding_set();
    return e ? e : drop_rights();
}

int inside_step_bounding_set(struct builder *b)
{
    (void)b;
    return drop_bounding_set();
}

int inside_step_capabilities(struct builder *b)
{
    return b->fallback ? inside_drop_capabilities(true) : drop_rights();
}

/* Access rights by number, because headers may be older than the kernel.  Each ABI adds to the one before. */
#define FS_ABI1 ((1ull << 13) - 1)
#define FS_REFER (1ull << 13)    /* ABI 2 */
#define FS_TRUNCATE (1ull << 14) /* ABI 3 */
#define FS_IOCTL (1ull << 15)    /* ABI 5 */
#define NET_BIND 1ull            /* ABI 4 */
#define NET_TCP 3ull             /* ABI 4: bind, connect */
#define SCOPED 3ull              /* ABI 6: abstract sockets, signals */

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_NEVER \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | FS_IOCTL)
#define FS_PROGRAM (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE)
#define FS_OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

struct ruleset {
    uint64_t fs, net, scoped;
};

static int landlock_abi(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* A ruleset that handles, and so denies, all that this kernel's Landlock knows of files and scopes, and `net`. */
static int ruleset_new(int abi, uint64_t net, struct ruleset *all)
{
    *all = (struct ruleset){.fs = FS_ABI1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
                                  (abi >= 5 ? FS_IOCTL : 0),
                            .net = abi >= 4 ? net : 0,
                            .scoped = abi >= 6 ? SCOPED : 0};
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    return (int)syscall(SYS_landlock_create_ruleset, all, size, 0);
}

/* g: what must stand there still; NULL where only our own mounts can be met. */
static int allow_beneath(int ruleset, const char *path, uint64_t access, bool directory, const struct order_grant *g)
{
    struct stat st;
    fd_auto fd = kernel_openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    if (fd < 0 || (g && fstat(fd, &st) < 0))
        return errno;
    if (g && (st.st_dev != g->dev || st.st_ino != g->ino))
        return ESTALE;
    struct landlock_path_beneath_attr rule = {.allowed_access = directory ? access : access & FS_OF_FILES,
                                              .parent_fd = fd};
    return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? errno : 0;
}

/* What else there may be to execute stays FS_NEVER: neither grants nor /tmp have it. */
static int allow_programs(const struct builder *b, int ruleset)
{
    bool shipped = false;
    int e = 0;
    for (uint32_t i = 0; i < b->order.nprograms && !e; i++) {
        const struct order_program *p = &b->programs[i].order;
        if (p->shipped)
            shipped = true;
        else
            e = allow_beneath(ruleset, p->place, FS_PROGRAM, true, NULL);
    }
    return shipped && !e ? allow_beneath(ruleset, WALL_PACKAGE_PLACE, FS_READ | FS_PROGRAM, true, NULL) : e;
}

static int allow_grants(const struct builder *b, int ruleset, uint64_t all)
{
    const uint64_t write = all & ~FS_NEVER;
    int e = b->fallback ? 0 : allow_beneath(ruleset, "/tmp", write, true, NULL);
    for (uint32_t i = 0; i < b->order.ngrants && !e; i++) {
        const struct order_grant *g = &b->grants[i];
        e = allow_beneath(ruleset, g->path, g->writable ? write : FS_READ, g->directory, b->fallback ? g : NULL);
    }
    return e ? e : allow_programs(b, ruleset);
}

/* Mounts decide what can be named; Landlock decides again, in another part of the kernel, what may be done with it.
 * A kernel without it: the layer is missing and the host decides. */
int inside_step_landlock(struct builder *b)
{
    int abi = landlock_abi();
    if (abi < 1)
        return 0;
    struct ruleset all;
    fd_auto ruleset = ruleset_new(abi, NET_TCP, &all);
    if (ruleset < 0)
        return errno;
    int e = allow_grants(b, ruleset, all.fs);
    if (!e && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        e = errno;
    if (!e)
        b->self |= WALL_BIT(LANDLOCK);
    return e;
}

#define ALONE_ABI 3 /* truncation is handled: before that a file granted for reading could be emptied */

/* Nothing else stands between the plugin and files: the layer must be there, and new enough. */
int inside_step_landlock_alone(struct builder *b)
{
    int abi = landlock_abi();
    if (abi < ALONE_ABI) {
        snprintf(b->message, sizeof b->message, "the fallback wall needs Landlock ABI %d, this kernel has %d",
                 ALONE_ABI, abi < 0 ? 0 : abi);
        return EOPNOTSUPP;
    }
    return inside_step_landlock(b);
}

static int deny_all(uint64_t net)
{
    int abi = landlock_abi();
    if (abi < 1)
        return 0;
    struct ruleset all;
    fd_auto ruleset = ruleset_new(abi, net, &all);
    return ruleset < 0 || syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? errno : 0;
}

int inside_landlock_nothing(void)
{
    return deny_all(NET_TCP);
}

int inside_landlock_connect(void)
{
    return deny_all(NET_BIND);
}
