#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/io.h"
#include "base/text.h"
#include "sandbox/kernel.h"
#include "sandbox/resolve.h"
#include "sandbox/wall.h"

/* Whatever is mounted where: these hold the machine, not anybody's files. */
static bool machine_filesystem(int fd)
{
    static const uint32_t magics[] = {PROC_SUPER_MAGIC,
                                      SYSFS_MAGIC,
                                      DEVPTS_SUPER_MAGIC,
                                      CGROUP_SUPER_MAGIC,
                                      CGROUP2_SUPER_MAGIC,
                                      DEBUGFS_MAGIC,
                                      TRACEFS_MAGIC,
                                      SECURITYFS_MAGIC,
                                      BPF_FS_MAGIC,
                                      EFIVARFS_MAGIC,
                                      PSTOREFS_MAGIC,
                                      SELINUX_MAGIC,
                                      SMACK_MAGIC,
                                      NSFS_MAGIC,
                                      BINFMTFS_MAGIC,
                                      0x19800202u /* mqueue */,
                                      0x65735543u /* fuse control */,
                                      0x62656570u /* configfs */};
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return true;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if ((uint32_t)fs.f_type == magics[i])
            return true;
    return false;
}

bool wall_never_granted(const char *path)
{
    static const char *const places[] = {"/proc", "/sys", "/dev"};
    if (strcmp(path, "/") == 0)
        return true;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        size_t len = strlen(places[i]);
        if (strncmp(path, places[i], len) == 0 && (path[len] == '/' || path[len] == '\0'))
            return true;
    }
    return false;
}

static int no_such(struct error *err, const char *path)
{
    int e = errno;
    enum moat_code code = e == EACCES || e == EPERM ? MOAT_E_PERMISSION_DENIED : MOAT_E_NO_SUCH_FILE;
    return error_errno(err, code, e, "cannot grant %s", path);
}

int wall_resolve(const char *path, bool writable, struct wall_grant *out, struct error *err)
{
    char real[PATH_MAX];
    struct wall_grant g = {.writable = writable};
    if (path[0] != '/')
        return error_set(err, MOAT_E_BAD_USAGE, "a granted path is absolute, and %s is not", path);
    if (!realpath(path, real))
        return no_such(err, path);
    if (!text_copy(g.path, sizeof g.path, real))
        return error_set(err, MOAT_E_BAD_USAGE, "the path %s is longer than %d bytes", path, WALL_PATH_MAX - 1);
    if (wall_never_granted(real))
        return error_set(err, MOAT_E_PERMISSION_DENIED, "%s is never granted: it holds the machine itself", real);
    if (strcmp(real, "/tmp") == 0) /* what lies in it can be */
        return error_set(err, MOAT_E_PERMISSION_DENIED,
                         "/tmp is never granted: a plugin has one of its own there; name what lies in it");
    fd_auto fd = kernel_openat2(AT_FDCWD, real, O_PATH | O_CLOEXEC, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return no_such(err, path);
    if (machine_filesystem(fd))
        return error_set(err, MOAT_E_PERMISSION_DENIED, "%s is never granted: it holds the machine itself", real);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return error_set(err, MOAT_E_PERMISSION_DENIED, "%s is neither a directory nor a plain file", real);
    g.dev = st.st_dev;
    g.ino = st.st_ino;
    g.directory = S_ISDIR(st.st_mode);
    *out = g;
    return 0;
}
