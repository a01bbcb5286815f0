#include "service/incoming.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"

int incoming_open(const struct home *home, const char *what, const char *path, int *out, struct error *err)
{
    char dir[PATH_MAX + 16];
    snprintf(dir, sizeof dir, "%s/incoming", home->plugin_dir);
    fd_auto incoming = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    fd_auto fd = incoming < 0 ? -1 : (int)syscall(SYS_openat2, incoming, path, &how, sizeof how);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return error_set(err, MOAT_E_NO_SUCH_FILE, "%s %.200s is not in PLUGIN_DIR's incoming", what, path);
    if (fd < 0)
        return error_set(err, MOAT_E_BAD_REQUEST, "%s %.200s is not a path inside PLUGIN_DIR's incoming without links",
                         what, path);
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(err, MOAT_E_BAD_REQUEST, "%s %.200s is not a file", what, path);
    *out = io_steal(&fd);
    return 0;
}
