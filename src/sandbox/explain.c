#include "sandbox/explain.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/words.h"
#include "sandbox/explain_path.h"
#include "sandbox/explain_table.h"
#include "sandbox/kernel.h"
#include "sandbox/posture_text.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

/* One question, and what is decided about it. */
struct question {
    struct seccomp_notif_resp answer; /* error 0 and no flag: not decided */
    const struct seccomp_notif *asked;
    int listener;
    const struct child *worker;
    const struct wall_request *given;
    struct explain_event *event;
};

void explain_setup(int listener)
{
    /* Kernel 6.6: the answer wakes the worker on this processor; the call costs a fifth. */
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

/* -- reading the worker -- */

static ssize_t read_memory(const struct question *q, uint64_t address, void *out, size_t len)
{
    struct iovec here = {.iov_base = out, .iov_len = len};
    struct iovec there = {.iov_base = (void *)(uintptr_t)address, .iov_len = len};
    return process_vm_readv((pid_t)q->asked->pid, &here, 1, &there, 1, 0);
}

#define PAGE 4096u

/* A string, page by page: the page behind its last one need not be there. */
static bool read_string(const struct question *q, uint64_t address, char *out, size_t size)
{
    size_t len = 0;
    while (len + 1 < size) {
        size_t part = PAGE - (address + len) % PAGE;
        if (part > size - 1 - len)
            part = size - 1 - len;
        ssize_t got = read_memory(q, address + len, out + len, part);
        if (got <= 0)
            return false;
        if (memchr(out + len, 0, (size_t)got))
            return true;
        len += (size_t)got;
    }
    return false;
}

static bool read_link(const char *path, char *out, size_t size)
{
    ssize_t n = readlink(path, out, size - 1);
    if (n <= 0)
        return false;
    out[n] = '\0';
    return true;
}

/* Its descriptors are the asker's: a program that the worker started has others. The asker's number is a thread's. */
static int descriptor_of(const struct question *q, int number)
{
    char path[64];
    unsigned pid = 0;
    buf_auto status = BUF_INIT(64 * 1024);
    if (!q->given->nprograms || (pid_t)q->asked->pid == q->worker->pid)
        return kernel_pidfd_getfd(q->worker->pidfd, number);
    snprintf(path, sizeof path, "/proc/%d/status", (int)q->asked->pid);
    const char *group = io_read_file(path, &status, NULL) == 0 ? posture_field(buf_text(&status), "Tgid") : NULL;
    fd_auto process = group && sscanf(group, "%u", &pid) == 1 ? kernel_pidfd_open((pid_t)pid) : -1;
    return process < 0 ? -1 : kernel_pidfd_getfd(process, number);
}

/* The directory that a relative path starts at, as it is called inside: the worker's root is that of its mounts. */
static bool directory_of(const struct question *q, int argument, char *out, size_t size)
{
    char path[64];
    int dir = argument < 0 ? AT_FDCWD : (int)q->asked->data.args[argument];
    if (dir == AT_FDCWD) {
        snprintf(path, sizeof path, "/proc/%d/cwd", (int)q->asked->pid);
        return read_link(path, out, size);
    }
    fd_auto fd = descriptor_of(q, dir);
    if (fd < 0)
        return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return read_link(path, out, size);
}

static bool read_path(const struct question *q, int dir, int argument, char *out, size_t size)
{
    char text[4096 + 1], base[4096];
    if (!read_string(q, q->asked->data.args[argument], text, sizeof text))
        return false;
    if (text[0] != '/' && !directory_of(q, dir, base, sizeof base))
        return false;
    return explain_normalise(base, text, out, size);
}

/* -- deciding -- */

static void leave_to_the_kernel(struct question *q)
{
    q->answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
}

static void refuse(struct question *q, int errnum, int permission, const char *wall)
{
    q->answer.error = -errnum;
    q->event->denied = true;
    q->event->permission = permission;
    snprintf(q->event->wall, sizeof q->event->wall, "%s", wall);
}

static void say(struct question *q, const char *operation)
{
    snprintf(q->event->operation, sizeof q->event->operation, "%s", operation);
}

/* -- the fallback wall: one thread, which waits for us, so that its descriptors and registers stand still; and what is
 * asked about a descriptor is answered from the descriptor, not from a name -- */

/* The sealed code by its number: a plugin cannot make a memory file of its own. */
static bool is_sealed_code(const struct question *q, int number)
{
    const int all = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    fd_auto fd = kernel_pidfd_getfd(q->worker->pidfd, number);
    int seals = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & all) == all;
}

/* Its own descriptors as it finds them in its working directory while code is loaded. */
static bool is_own_descriptor(const struct question *q, const char *path)
{
    char own[64];
    int len = snprintf(own, sizeof own, "/proc/%d/fd/", (int)q->asked->pid);
    const char *number = path + len;
    return strncmp(path, own, (size_t)len) == 0 && *number && !number[strspn(number, "0123456789")];
}

static bool write_memory(const struct question *q, uint64_t address, const void *from, size_t len)
{
    struct iovec here = {.iov_base = (void *)(uintptr_t)from, .iov_len = len};
    struct iovec there = {.iov_base = (void *)(uintptr_t)address, .iov_len = len};
    return process_vm_writev((pid_t)q->asked->pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

/* Its number may be a stranger's by now. */
static bool still_asks(const struct question *q)
{
    uint64_t id = q->asked->id;
    return ioctl(q->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

/* The C library's fstat: newfstatat with an empty path.  Answered here, and so without a second look at the path. */
static bool answer_fstat(struct question *q)
{
    char path[2] = "x";
    struct stat st;
    const __u64 *args = q->asked->data.args;
    if (q->asked->data.nr != SYS_newfstatat || !(args[3] & AT_EMPTY_PATH) || read_memory(q, args[1], path, 1) != 1 ||
        path[0])
        return false;
    fd_auto fd = kernel_pidfd_getfd(q->worker->pidfd, (int)args[0]);
    if (fd < 0)
        q->answer.error = -EBADF;
    else if (fstat(fd, &st) < 0 || !still_asks(q) || !write_memory(q, args[2], &st, sizeof st))
        q->answer.error = -EFAULT;
    return true;
}

static void decide_look(struct question *q, const struct explain_row *row)
{
    char path[EXPLAIN_PATH_MAX];
    if (q->worker->fallback && answer_fstat(q))
        return;
    struct explain_judgement j = {.errnum = ENOENT, .permission = -1};
    if (read_path(q, row->dir, row->path, path, sizeof path)) {
        explain_neutralise(q->event->object, sizeof q->event->object, path);
        j = explain_judge(path, ACCESS_READ, q->given->grants, q->given->ngrants);
    }
    refuse(q, j.errnum ? j.errnum : EPERM, j.permission, "seccomp");
}

/* What the dynamic loader looks for in vain when a program starts: lists that no view holds, and libraries where they
 * might be. One that this machine has is told of; the answer inside is the same. */
static bool looked_for_in_vain(const struct question *q, const char *path)
{
    static const char *const systems[] = {"/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"};
    const char *name = strrchr(path, '/');
    bool system = false;
    if (!q->given->nprograms || !name)
        return false;
    if (strcmp(path, "/etc/ld.so.cache") == 0 || strcmp(path, "/etc/ld.so.preload") == 0)
        return true;
    /* Nowhere else: a path of the plugin's choice could keep us waiting for somebody's network. */
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++)
        system |= strncmp(path, systems[i], strlen(systems[i])) == 0;
    return system && strstr(name, ".so") && access(path, F_OK) < 0;
}

static void judge_path(struct question *q, const char *path, enum explain_access access)
{
    const struct wall_grant *grants = q->given->grants;
    size_t ngrants = q->given->ngrants;
    struct explain_judgement j = q->worker->fallback ? explain_judge_alone(path, access, grants, ngrants)
                                                     : explain_judge(path, access, grants, ngrants);
    if (!q->worker->fallback && access != ACCESS_WRITE &&
        (explain_is_program(path, q->given) || looked_for_in_vain(q, path)))
        return;
    if (q->worker->fallback && access == ACCESS_READ && is_own_descriptor(q, path))
        return;
    explain_neutralise(q->event->object, sizeof q->event->object, path);
    /* dlopen asks where it is (getcwd reads "..") each time code is loaded from a view that no path leads to.  Left to
     * Landlock, which refuses it: an event would stand in every plugin's record, and the root holds nothing to list. */
    if (access == ACCESS_READ && strcmp(path, "/") == 0)
        return;
    if (j.errnum)
        refuse(q, j.errnum, j.permission, "mounts");
}

/* The mode is in a register and cannot change any more.  A file made in a granted directory may belong to root outside:
 * it never becomes set-uid or set-gid. */
static bool makes_set_id(const struct question *q, const struct explain_row *row, uint64_t flags)
{
    bool used = row->object != OBJECT_OPEN || (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    return row->mode >= 0 && used && (q->asked->data.args[row->mode] & (S_ISUID | S_ISGID));
}

static enum explain_access access_of(uint64_t flags)
{
    if (flags & O_PATH)
        return ACCESS_LOOK;
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE;
    return writes ? ACCESS_WRITE : ACCESS_READ;
}

/* Behind the fallback wall Landlock alone decides over names, and over these calls alone: what it does not handle
 * (modes, times, opening without a right) is never left to the kernel, whatever the path says. Registers only. */
static bool landlock_decides(int number, uint64_t flags)
{
    static const int calls[] = {SYS_open,      SYS_openat, SYS_creat,    SYS_mkdir,   SYS_mkdirat,
                                SYS_rmdir,     SYS_unlink, SYS_unlinkat, SYS_rename,  SYS_renameat,
                                SYS_renameat2, SYS_link,   SYS_linkat,   SYS_truncate};
    if ((number == SYS_open || number == SYS_openat) && ((flags & O_PATH) || (flags & O_ACCMODE) == O_ACCMODE))
        return false;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i] == number)
            return true;
    return false;
}

static void decide_files(struct question *q, const struct explain_row *row)
{
    char path[EXPLAIN_PATH_MAX];
    uint64_t flags = row->flags >= 0 ? q->asked->data.args[row->flags] : 0;
    bool alone = q->worker->fallback && !landlock_decides(row->number, flags);
    enum explain_access access = row->object == OBJECT_OPEN ? access_of(flags) : ACCESS_WRITE;
    if (row->object == OBJECT_OPEN)
        say(q, access == ACCESS_WRITE ? "open for writing" : "open for reading");
    bool readable = read_path(q, row->dir, row->path, path, sizeof path);
    if (makes_set_id(q, row, flags)) {
        if (readable)
            explain_neutralise(q->event->object, sizeof q->event->object, path);
        say(q, "make a set-uid file");
        refuse(q, EPERM, -1, "seccomp");
        return;
    }
    /* What cannot be read cannot be explained; the kernel will not be able to read it either, or its walls hold. */
    if (readable)
        judge_path(q, path, access);
    if (!q->event->denied && row->object == OBJECT_PAIR && read_path(q, row->dir2, row->path2, path, sizeof path))
        judge_path(q, path, access);
    if (!q->event->denied && alone)
        refuse(q, EPERM, -1, "seccomp");
    if (!q->event->denied)
        leave_to_the_kernel(q);
}

/* What was named is left to the mounts and to Landlock, which let nothing else be executed, whatever the path has
 * become meanwhile. One answer for what is there and what is not. */
static void decide_program(struct question *q, const struct explain_row *row)
{
    char path[EXPLAIN_PATH_MAX];
    bool readable = read_path(q, row->dir, row->path, path, sizeof path);
    if (readable)
        explain_neutralise(q->event->object, sizeof q->event->object, path);
    if (readable && !q->worker->fallback && explain_is_program(path, q->given))
        leave_to_the_kernel(q);
    else
        refuse(q, q->given->nprograms ? EACCES : EPERM, row->permission, "seccomp");
}

/* Of which program nobody knows yet. Where programs are granted already, and for what no program is started with (new
 * namespaces, memory that stays shared), nothing allows it. */
static void decide_start(struct question *q, const struct explain_row *row)
{
    const uint64_t plain = CSIGNAL | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID;
    uint64_t flags = row->flags >= 0 ? q->asked->data.args[row->flags] : SIGCHLD;
    bool of_a_program = (flags & ~plain) == 0 || (flags & ~plain) == (CLONE_VM | CLONE_VFORK);
    bool grantable = of_a_program && !q->given->nprograms && !q->worker->fallback;
    refuse(q, EPERM, grantable ? row->permission : -1, "seccomp");
}

static void name_path(struct question *q, const struct explain_row *row)
{
    char path[EXPLAIN_PATH_MAX];
    if (read_path(q, row->dir, row->path, path, sizeof path))
        explain_neutralise(q->event->object, sizeof q->event->object, path);
}

static const char *family_name(unsigned family)
{
    static const struct {
        unsigned family;
        const char *name;
    } names[] = {{AF_UNIX, "unix"},     {AF_INET, "inet"},   {AF_INET6, "inet6"}, {AF_NETLINK, "netlink"},
                 {AF_PACKET, "packet"}, {AF_VSOCK, "vsock"}, {AF_ALG, "alg"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].family == family)
            return names[i].name;
    return NULL;
}

/* network_access is about the internet; no grant opens the other families. */
static int family_permission(unsigned family)
{
    return family == AF_INET || family == AF_INET6 ? PERMISSION_NETWORK_ACCESS : -1;
}

static void decide_family(struct question *q, const struct explain_row *row)
{
    static const char *const types[] = {
        [SOCK_STREAM] = "stream", [SOCK_DGRAM] = "dgram", [SOCK_RAW] = "raw", [SOCK_SEQPACKET] = "seqpacket"};
    unsigned family = (unsigned)q->asked->data.args[0], type = (unsigned)q->asked->data.args[1] & 0xf;
    const char *name = family_name(family);
    const char *kind = type < sizeof types / sizeof *types ? types[type] : NULL;
    char number[24];
    snprintf(number, sizeof number, "family %u", family);
    snprintf(q->event->object, sizeof q->event->object, "%s %s", name ? name : number, kind ? kind : "");
    refuse(q, EPERM, row->permission < 0 ? -1 : family_permission(family), "seccomp");
}

static int describe_address(struct question *q, const void *bytes, size_t len)
{
    char text[INET6_ADDRSTRLEN] = "?";
    char *out = q->event->object;
    size_t size = sizeof q->event->object;
    sa_family_t family;
    memcpy(&family, bytes, sizeof family);
    if (family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in a;
        memcpy(&a, bytes, sizeof a);
        snprintf(out, size, "%s:%u", inet_ntop(AF_INET, &a.sin_addr, text, sizeof text), ntohs(a.sin_port));
    } else if (family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 a;
        memcpy(&a, bytes, sizeof a);
        snprintf(out, size, "[%s]:%u", inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text), ntohs(a.sin6_port));
    } else if (family == AF_UNIX && len > sizeof family) {
        char path[sizeof(struct sockaddr_un)] = "";
        memcpy(path, (const char *)bytes + sizeof family, len - sizeof family);
        if (!path[0])
            path[0] = '@';
        explain_neutralise(out, size, path);
    } else {
        snprintf(out, size, "family %u", family);
    }
    return family_permission(family);
}

static void decide_address(struct question *q, const struct explain_row *row)
{
    char bytes[sizeof(struct sockaddr_un)] = {0};
    uint64_t len = q->asked->data.args[row->path + 1];
    int permission = row->permission;
    if (len > sizeof bytes)
        len = sizeof bytes;
    if (len >= sizeof(sa_family_t) && read_memory(q, q->asked->data.args[row->path], bytes, len) == (ssize_t)len)
        permission = describe_address(q, bytes, len);
    refuse(q, EPERM, permission, "seccomp");
}

static void decide_memory(struct question *q, const struct explain_row *row)
{
    uint64_t protection = q->asked->data.args[2], flags = q->asked->data.args[3];
    bool executable = protection & PROT_EXEC;
    if (q->worker->fallback && row->number == SYS_mmap && executable && !(protection & PROT_WRITE) &&
        (flags & (MAP_TYPE | MAP_ANONYMOUS)) == MAP_PRIVATE && is_sealed_code(q, (int)q->asked->data.args[4])) {
        leave_to_the_kernel(q);
        return;
    }
    snprintf(q->event->object, sizeof q->event->object, "%s%s%s", protection & PROT_READ ? "r" : "-",
             protection & PROT_WRITE ? "w" : "-", executable ? "x" : "-");
    if (executable)
        say(q, row->number == SYS_mmap ? "map executable memory" : "make memory executable");
    refuse(q, EPERM, executable ? row->permission : -1, executable ? "W^X" : "seccomp");
}

static void decide_known(struct question *q, const struct explain_row *row)
{
    say(q, row->operation);
    switch (row->object) {
    case OBJECT_OPEN:
    case OBJECT_CHANGE:
    case OBJECT_PAIR:
        decide_files(q, row);
        return;
    case OBJECT_LOOK:
        decide_look(q, row);
        return;
    case OBJECT_FAMILY:
        decide_family(q, row);
        return;
    case OBJECT_ADDRESS:
        decide_address(q, row);
        return;
    case OBJECT_MEMORY:
        decide_memory(q, row);
        return;
    case OBJECT_PROGRAM:
        decide_program(q, row);
        return;
    case OBJECT_PATH:
        name_path(q, row);
        break;
    case OBJECT_START:
        decide_start(q, row);
        return;
    case OBJECT_PROCESS:
        snprintf(q->event->object, sizeof q->event->object, "process %d", (int)q->asked->data.args[row->path]);
        break;
    case OBJECT_NONE:
        break;
    }
    refuse(q, EPERM, row->permission, "seccomp");
}

/* Neither in the table nor in the policy.  A number that nobody has heard of is answered as the kernel would. */
static void decide_unknown(struct question *q)
{
    const char *name = explain_syscall_name(q->asked->data.nr);
    char number[32];
    snprintf(number, sizeof number, "system call %d", q->asked->data.nr);
    say(q, name ? name : number);
    refuse(q, name ? EPERM : ENOSYS, -1, "seccomp");
}

static void decide(struct question *q)
{
    const struct explain_row *row = explain_find(q->asked->data.nr);
    q->event->syscall = q->asked->data.nr;
    q->event->permission = -1;
    if (row)
        decide_known(q, row);
    else
        decide_unknown(q);
}

/* There is no question 0: a listener says so, and nothing else does. */
bool explain_holds(int listener)
{
    uint64_t none = 0;
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &none) < 0 && errno == ENOENT;
}

int explain_next(int listener, const struct child *worker, const struct wall_request *given, struct explain_event *out)
{
    /* Newer kernels may write more than this header knows. */
    union {
        struct seccomp_notif notif;
        char room[512];
    } asked = {.room = {0}};
    struct pollfd p = {.fd = listener, .events = POLLIN};
    if (poll(&p, 1, 0) <= 0)
        return 0;
    if (!(p.revents & POLLIN))
        return -1;
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0)
        return errno == ENOENT || errno == EINTR ? 0 : -1;
    memset(out, 0, sizeof *out);
    struct question q = {.answer = {.id = asked.notif.id},
                         .asked = &asked.notif,
                         .listener = listener,
                         .worker = worker,
                         .given = given,
                         .event = out};
    decide(&q);
    /* Still the same thread's question: what was read was its memory and not a stranger's with the same number. */
    if (!still_asks(&q))
        return 0;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &q.answer);
    return 1;
}
