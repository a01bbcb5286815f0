#include "sandbox/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/kernel.h"

#define STACK_SIZE (64 * 1024)

/* The thread sanitizer's own clone runs its hook for a forked child in the child: in shared memory that hook would
 * declare the host itself to be one, and every later report would be nonsense. */
#if defined(__SANITIZE_THREAD__)
#define HOLDER_SHARES CLONE_FILES
#else
#define HOLDER_SHARES (CLONE_VM | CLONE_FILES)
#endif

/* Lives in the host's memory (nothing is copied, however fat the host is) only to keep its user namespace alive until
 * the host has opened it.  It shares the calling thread's errno and locks: bare system calls only.  It must not outlive
 * a host that is killed in this moment: the death signal, and a look at whether it came too late. */
static int hold(void *parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == (pid_t)(intptr_t)parent)
        for (;;)
            syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
    return 0;
}

/* Every signal blocked: a handler of the host's, run by this child, would run in the host's memory. */
static pid_t clone_holder(char *stack)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    /* No exit signal: an embedding program's SIGCHLD handler and its wait(-1) never meet this child. */
    /* The argument by value: our own stack frame may be gone when it is read. */
    pid_t pid = clone(hold, stack + STACK_SIZE, HOLDER_SHARES | CLONE_NEWUSER, (void *)(intptr_t)getpid());
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static bool write_map(pid_t pid, const char *name, id_t disk, id_t shown)
{
    char path[64], map[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    snprintf(map, sizeof map, "%u %u 1", (unsigned)disk, (unsigned)shown);
    fd_auto fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, map, strlen(map)) == (ssize_t)strlen(map);
}

static int open_namespace(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* A user namespace whose maps say: on disk `owner`, shown as the worker.  Its descriptor, or -1. */
static int mapping(const struct stat *owner, uid_t uid, gid_t gid)
{
    int ns = -1;
    char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return -1;
    pid_t pid = clone_holder(stack);
    if (pid > 0) {
        if (write_map(pid, "gid_map", owner->st_gid, gid) && write_map(pid, "uid_map", owner->st_uid, uid))
            ns = open_namespace(pid);
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
            ;
    }
    munmap(stack, STACK_SIZE);
    return ns;
}

void idmap_clear(struct idmap *m)
{
    io_close(&m->mapping);
}

static void id_map(struct idmap *m, int tree, const struct stat *st)
{
    if (m->mapping < 0 || m->owner_uid != st->st_uid || m->owner_gid != st->st_gid) {
        io_close(&m->mapping);
        m->mapping = mapping(st, m->uid, m->gid);
        m->owner_uid = st->st_uid;
        m->owner_gid = st->st_gid;
    }
    struct kernel_mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)m->mapping};
    /* A file system that cannot be id-mapped stays as it is: then the worker has the rights of "others" in it. */
    if (m->mapping >= 0)
        kernel_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr);
}

/* A detached copy with its flags, or -1. */
static int detached(int fd, bool writable, bool program)
{
    fd_auto tree = kernel_open_tree(fd, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH | O_CLOEXEC);
    struct kernel_mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                                 (program ? 0 : MOUNT_ATTR_NOEXEC) | (writable ? 0 : MOUNT_ATTR_RDONLY),
                                     .propagation = MS_PRIVATE};
    if (tree < 0 || kernel_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) < 0)
        return -1;
    return io_steal(&tree);
}

int idmap_mount(struct idmap *m, const struct wall_grant *g, bool program, int *out, struct error *err)
{
    *out = -1;
    /* An ordinary user, or a worker with the host's own id: the plain way gives the same rights. */
    if (geteuid() != 0 || m->uid == geteuid())
        return 0;
    fd_auto fd = kernel_openat2(AT_FDCWD, g->path, O_PATH | O_CLOEXEC, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(err, MOAT_E_START_FAILED, errno, "the granted path %s cannot be opened any more", g->path);
    if (st.st_dev != g->dev || st.st_ino != g->ino)
        return error_set(err, MOAT_E_START_FAILED, "%s is no longer what was granted: grant it again", g->path);
    *out = detached(fd, g->writable, program);
    if (*out >= 0)
        id_map(m, *out, &st);
    return 0;
}
