/* The part of the wall that differs from plugin to plugin: limits, granted paths, and the move into the private root.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/io.h"
#include "sandbox/builder.h"
#include "sandbox/kernel.h"

/* As low as asked, and never above what the host itself may. */
static int lower(int resource, rlim_t value)
{
    struct rlimit now;
    if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
        return errno;
    if (now.rlim_max < value)
        value = now.rlim_max;
    struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
    return setrlimit((__rlimit_resource_t)resource, &limit) < 0 ? errno : 0;
}

/* After the listener was sent: a sender may have no more descriptors in flight, all processes of its host user counted,
 * than its own limit says, and an ordinary user's host has many in flight when it starts many workers. */
int inside_step_descriptor_limit(struct builder *b)
{
    return lower(RLIMIT_NOFILE, b->order.limits.descriptors);
}

void inside_tmp_options(char *out, size_t size, uint64_t bytes)
{
    snprintf(out, size, "size=%llu,nr_inodes=1024,mode=700", (unsigned long long)bytes);
}

#define GIB (1024ull * 1024 * 1024)

/* Set here, inside: before the clone RLIMIT_NPROC would count everything that the host's user runs. */
int inside_step_limits(struct builder *b)
{
    const struct wall_limits *l = &b->order.limits;
    const struct {
        int resource;
        rlim_t value;
    } table[] = {
        {RLIMIT_DATA, l->memory},
        /* A backstop for page tables and reserves; large, because runtimes reserve address space that they never use.
         */
        {RLIMIT_AS, 64 * GIB + l->memory},
        {RLIMIT_STACK, 8ull << 20},
        {RLIMIT_NPROC, l->processes},
        {RLIMIT_FSIZE, l->file_size},
        {RLIMIT_CPU, l->cpu_seconds ? l->cpu_seconds : RLIM_INFINITY},
        {RLIMIT_CORE, 0},
        {RLIMIT_MEMLOCK, 0},
        {RLIMIT_MSGQUEUE, 0},
        {RLIMIT_SIGPENDING, 64},
        {RLIMIT_NICE, 0},
        {RLIMIT_RTPRIO, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int e = lower(table[i].resource, table[i].value);
        if (e)
            return e;
    }
    if (b->fallback || l->tmp == WALL_TMP_DEFAULT) /* there is none of its own; it was mounted so */
        return 0;
    char options[96];
    inside_tmp_options(options, sizeof options, l->tmp);
    return mount(NULL, "tmp", NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0 ? errno : 0;
}

/* A detached copy of the granted tree with its flags: the host's own when it made one (as root: files readable only by
 * root work), else opened here.  The path is resolved without following any link and must still be what the host saw
 * when it was granted; flags are set while the copy is attached nowhere. */
static int granted_tree(const struct builder *b, const struct order_grant *g, bool program, int *tree)
{
    fd_auto fd = -1;
    struct stat st;
    if (*tree < 0) {
        const char *beneath = g->path[1] ? g->path + 1 : ".";
        fd = kernel_openat2(b->host, beneath, O_PATH | O_CLOEXEC,
                            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
        if (fd < 0)
            return errno;
    }
    if (fstat(*tree < 0 ? fd : *tree, &st) < 0)
        return errno;
    if (st.st_dev != g->dev || st.st_ino != g->ino)
        return ESTALE;
    if (*tree >= 0)
        return 0;
    /* Recursive: a directory with mounts below it cannot be bound without them (EINVAL). */
    fd_auto copy = kernel_open_tree(fd, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH | O_CLOEXEC);
    if (copy < 0)
        return errno;
    struct kernel_mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                                 (program ? 0 : MOUNT_ATTR_NOEXEC) |
                                                 (g->writable ? 0 : MOUNT_ATTR_RDONLY),
                                     .propagation = MS_PRIVATE};
    if (kernel_mount_setattr(copy, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) < 0)
        return errno;
    *tree = io_steal(&copy);
    return 0;
}

/* Makes one component below dir and opens it.  It may exist: a parent of an earlier grant, or a place inside one. */
static int component(int dir, const char *name, bool directory, int *out)
{
    if (directory && mkdirat(dir, name, 0755) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
        return errno;
    if (!directory) {
        int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
            return errno;
        io_close(&fd);
    }
    /* Beneath, without links: a grant inside a writable grant must not be led astray by what lies there. */
    *out = kernel_openat2(dir, name, O_PATH | O_CLOEXEC, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    return *out < 0 ? errno : 0;
}

static int mount_point(int root, const char *place, bool directory, int *out)
{
    char name[256];
    fd_auto dir = fcntl(root, F_DUPFD_CLOEXEC, 0);
    for (const char *p = place + 1; dir >= 0;) {
        size_t len = strcspn(p, "/");
        if (len == 0 || len >= sizeof name)
            return EINVAL;
        memcpy(name, p, len);
        name[len] = '\0';
        bool last = p[len] == '\0';
        int next = -1, e = component(dir, name, !last || directory, &next);
        if (e)
            return e;
        io_close(&dir);
        dir = next;
        if (last) {
            *out = io_steal(&dir);
            return 0;
        }
        p += len + 1;
    }
    return errno;
}

int inside_attach(struct builder *b, const struct order_grant *g, const char *place, bool program, int *mount)
{
    fd_auto point = -1;
    int e = granted_tree(b, g, program, mount);
    if (!e)
        e = mount_point(b->root, place, g->directory, &point);
    if (!e && kernel_move_mount(*mount, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
        e = errno;
    if (e)
        snprintf(b->message, sizeof b->message, "%.200s%s", place, e == ESTALE ? " is no longer what was granted" : "");
    io_close(mount);
    return e;
}

int inside_step_grants(struct builder *b)
{
    for (uint32_t i = 0; i < b->order.ngrants; i++) {
        /* The same path as outside. */
        int e = inside_attach(b, &b->grants[i], b->grants[i].path, false, &b->mounts[i]);
        if (e)
            return e;
    }
    return 0;
}

int inside_step_sealed(struct builder *b)
{
    const int all = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    for (size_t i = 0; i < b->out->ncode; i++)
        if ((fcntl(b->out->code[i], F_GET_SEALS) & all) != all)
            return EPERM;
    return b->out->assets && (fcntl(b->out->assets, F_GET_SEALS) & all) != all ? EPERM : 0;
}

/* After the last mount point was made in it. */
static int root_read_only(struct builder *b)
{
    struct kernel_mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    return kernel_mount_setattr(b->root, "", AT_EMPTY_PATH, &attr) < 0 ? errno : 0;
}

/* The host's tree, which the half wall stacked above the root, is let go: nothing of it is left to name. */
static int detach(struct builder *b)
{
    if (fchdir(b->root) < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return errno;
    io_close(&b->host);
    io_close(&b->root);
    return 0;
}

const struct step inside_full_steps[] = {
    {"libraries", inside_step_libraries},
    {"sealed_files", inside_step_sealed},
    {"package", inside_step_package},
    {"limits", inside_step_limits},
    {"grants", inside_step_grants},
    {"programs", inside_step_programs}, /* over what lies in a grant */
    {"root_read_only", root_read_only},
    {"detach", detach},
    {"capabilities", inside_step_capabilities}, /* mounting is over */
    {"landlock", inside_step_landlock},         /* needs the final tree and no_new_privs */
    {"mdwe", inside_step_mdwe},
    {"seccomp", inside_step_filter},
    {"listener", inside_step_listener}, /* needs sendmsg, which the last filter takes away */
    {"descriptor_limit", inside_step_descriptor_limit},
    {"seccomp_last", inside_step_last_filter},
    {"built", inside_step_built}, /* only now: the host looks at a finished wall */
    {0},
};
