/* Attacks on files, the environment and mounts. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "hostile.h"
#include "raw.h"

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_fsopen
#define SYS_fsopen 430
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif

struct how { /* struct open_how of linux/openat2.h */
    uint64_t flags, mode, resolve;
};

/* Four ways to the same file: a wall that knows one of them is no wall. */
void read_secret(struct attack *a)
{
    const char *path = attack_text(a, "path", "");
    char bytes[64], around[4200];
    struct how how = {.flags = O_RDONLY};
    long fd[4];
    attack_tried(a, "open and read %s", path);
    snprintf(around, sizeof around, "/proc/self/root%s", path);
    fd[0] = raw(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
    fd[1] = raw(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    fd[2] = raw(SYS_openat, AT_FDCWD, around, O_RDONLY, 0);
    snprintf(around, sizeof around, "../../../../../../../..%s", path);
    fd[3] = raw(SYS_openat, AT_FDCWD, around, O_RDONLY, 0);
    static const char *const names[] = {"openat", "openat2", "through /proc/self/root", "with .."};
    for (int i = 0; i < 4; i++) {
        if (attack_attempt(a, names[i], fd[i]))
            attack_detail(a, "read %ld bytes", raw(SYS_read, fd[i], bytes, sizeof bytes));
        if (fd[i] >= 0)
            raw(SYS_close, fd[i]);
    }
}

void write_outside(struct attack *a)
{
    const char *path = attack_text(a, "path", "");
    static const char text[] = "hostile was here\n";
    attack_tried(a, "change %s", path);
    if (!*path) /* whoever runs this outside a wall has to say which */
        return;
    long fd = raw(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (attack_attempt(a, "openat for writing", fd)) {
        attack_attempt(a, "write", raw(SYS_write, fd, text, sizeof text - 1));
        raw(SYS_close, fd);
    }
    attack_attempt(a, "chmod", raw(SYS_fchmodat, AT_FDCWD, path, 0666));
    char beside[4200];
    snprintf(beside, sizeof beside, "%s.hostile", path);
    long made = raw(SYS_symlinkat, path, AT_FDCWD, beside);
    if (attack_attempt(a, "symlink beside it", made))
        raw(SYS_unlinkat, AT_FDCWD, beside, 0);
}

/* Secrets of a host often lie in its environment. */
void read_environment(struct attack *a)
{
    extern char **environ;
    static const char *const files[] = {"/proc/self/environ", "/proc/1/environ"};
    char bytes[256];
    int count = 0;
    attack_tried(a, "read the host's environment variables");
    for (char **e = environ; e && *e; e++)
        count++;
    if (count > 0) {
        attack_detail(a, "own environment: %d variables", count);
        a->report.succeeded = true;
    } else {
        attack_detail(a, "own environment: empty");
    }
    for (int i = 0; i < 2; i++) {
        long fd = raw(SYS_openat, AT_FDCWD, files[i], O_RDONLY, 0);
        long got = fd < 0 ? fd : raw(SYS_read, fd, bytes, sizeof bytes);
        if (got == 0)
            attack_detail(a, "%s: empty", files[i]);
        else
            attack_attempt(a, files[i], got);
        if (fd >= 0)
            raw(SYS_close, fd);
    }
}

/* Only mounts that nobody else would notice: detached ones, and one over a directory of its own. */
void mount_something(struct attack *a)
{
    char dir[64];
    attack_tried(a, "mount a file system, copy the host's tree of mounts");
    long fd = raw(SYS_fsopen, "tmpfs", 1);
    if (attack_attempt(a, "fsopen", fd))
        raw(SYS_close, fd);
    fd = raw(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
    if (attack_attempt(a, "open_tree", fd))
        raw(SYS_close, fd);
    snprintf(dir, sizeof dir, "/tmp/hostile-%ld", raw(SYS_getpid));
    long made = raw(SYS_mkdirat, AT_FDCWD, dir, 0700);
    if (attack_attempt(a, "mount", raw(SYS_mount, "none", dir, "tmpfs", 0, "size=4k")))
        raw(SYS_umount2, dir, MNT_DETACH);
    if (made == 0)
        raw(SYS_unlinkat, AT_FDCWD, dir, AT_REMOVEDIR);
}
