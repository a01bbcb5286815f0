/* The half-built wall: everything that does not depend on which plugin comes.  A pooled worker has run all of it and
 * waits; only our own code runs until the full wall stands. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/builder.h"
#include "sandbox/kernel.h"

/* exec made us dumpable again.  Before anything else: nobody of the same host user reads our memory, and /proc/PID
 * belongs to root. */
int inside_step_not_dumpable(struct builder *b)
{
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        return errno;
    if (prctl(PR_GET_DUMPABLE) == 0)
        b->self |= WALL_BIT(NOT_DUMPABLE);
    return 0;
}

/* The spawner's death is ours.  The signal only comes for a death after this call, so the lifeline (only the spawner
 * holds its writing end) is looked at afterwards; getppid is 0 in here and tells nothing. */
int inside_step_die_with_parent(struct builder *b)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return errno;
    struct pollfd ends[2] = {{.fd = WORKER_LIFELINE}, {.fd = b->control}};
    if (poll(ends, 2, 0) < 0)
        return errno;
    return (ends[0].revents | ends[1].revents) & (POLLHUP | POLLERR | POLLNVAL) ? EPIPE : 0;
}

int inside_step_no_new_privs(struct builder *b)
{
    (void)b;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? errno : 0;
}

/* Whatever leaked into the spawner ends here: 0 to 2 and the control socket stay, and a number is kept. */
int inside_step_descriptors(struct builder *b)
{
    /* A program that the plugin starts does not get the socket to the host. */
    return kernel_close_range(WORKER_LIFELINE, ~0u) < 0 || dup3(0, WORKER_NET, O_CLOEXEC) < 0 ||
                   fcntl(b->control, F_SETFD, FD_CLOEXEC) < 0
               ? errno
               : 0;
}

/* No terminal to push characters into, no process group to signal. */
int inside_step_session(struct builder *b)
{
    (void)b;
    prctl(PR_SET_NAME, "moat-worker");
    umask(022);
    return setsid() < 0 ? errno : 0;
}

/* A session keyring of its own.  An ordinary user's quota of keys may be used up (EDQUOT): then it stays in the empty
 * one that the spawner joined, which is not the host's either.  No keys in the kernel (ENOSYS): nothing to share. */
int inside_step_keyring(struct builder *b)
{
    if (kernel_new_keyring() >= 0 || errno == EDQUOT || errno == ENOSYS)
        b->self |= WALL_BIT(KEYRING);
    return 0;
}

static int host_name(struct builder *b)
{
    (void)b;
    return sethostname("moat", 4) < 0 ? errno : 0;
}

/* Slave, not private: a pooled worker still sees what the host mounts before a grant of it is assigned. */
static int propagation(struct builder *b)
{
    (void)b;
    return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ? errno : 0;
}

#define TMPFS_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* The private root, built where nothing can be granted: covering /tmp would hide grants below it. */
static int private_root(struct builder *b)
{
    static const char *const places[] = {"/dev", "/sys", "/tmp"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (mount("moat", places[i], "tmpfs", TMPFS_FLAGS, "size=256k,nr_inodes=2048,mode=755") < 0) {
            if (errno == ENOENT || errno == ENOTDIR)
                continue;
            return errno;
        }
        b->root = open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        return b->root < 0 ? errno : 0;
    }
    return ENOENT;
}

/* A mount of its own, because the root becomes read-only.  Another size may come with the assignment. */
static int private_tmp(struct builder *b)
{
    if (fchdir(b->root) < 0 || mkdir("tmp", 0700) < 0)
        return errno;
    char options[96];
    inside_tmp_options(options, sizeof options, WALL_TMP_DEFAULT);
    return mount("moat-tmp", "tmp", "tmpfs", TMPFS_FLAGS, options) < 0 ? errno : 0;
}

/* The kernel's surface behind new user namespaces is closed for good, not by seccomp alone.  Where /proc/sys cannot be
 * written (most containers) the layer is missing and the host decides. */
static int no_nested_namespaces(struct builder *b)
{
    char text[8] = "";
    fd_auto fd = open("/proc/sys/user/max_user_namespaces", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && write(fd, "0", 1) == 1 && pread(fd, text, sizeof text - 1, 0) > 0 && strcmp(text, "0\n") == 0)
        b->self |= WALL_BIT(NO_NESTED_NS);
    return 0;
}

/* What the C library itself wants and could not find later in the empty root: without libgcc_s the end of a thread ends
 * the process. */
int inside_step_preload(struct builder *b)
{
    (void)b;
    /* One heap: a worker runs one call at a time, and a thousand workers should be small. */
    mallopt(M_ARENA_MAX, 1);
    inside_load_library("libgcc_s.so.1");
    return 0;
}

/* The way to sealed code later on: a detached view of our own descriptors, also of those that are yet to come.  It must
 * be taken while /proc is there. */
static int code_tree(struct builder *b)
{
    b->out->tree = kernel_open_tree(AT_FDCWD, "/proc/self/fd", OPEN_TREE_CLONE | O_CLOEXEC);
    return b->out->tree < 0 ? errno : 0;
}

/* The host's tree is stacked above the new root, whose "." it covers: until it is let go, granted paths are found in
 * it, and what the host mounts still reaches it.  The working directory stays the private root. */
static int pivot(struct builder *b)
{
    b->host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return b->host < 0 || fchdir(b->root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ? errno : 0;
}

const struct step inside_half_steps[] = {
    {"not_dumpable", inside_step_not_dumpable},
    {"die_with_parent", inside_step_die_with_parent},
    {"no_new_privs", inside_step_no_new_privs},
    {"descriptors", inside_step_descriptors},
    {"session", inside_step_session},
    {"keyring", inside_step_keyring},
    {"host_name", host_name},
    {"propagation", propagation},
    {"preload", inside_step_preload},
    {"private_root", private_root},
    {"private_tmp", private_tmp},
    {"no_nested_namespaces", no_nested_namespaces},
    {"code_tree", code_tree},
    {"pivot", pivot}, /* what comes after it needs no name of the host's */
    {"bounding_set", inside_step_bounding_set},
    {0},
};
