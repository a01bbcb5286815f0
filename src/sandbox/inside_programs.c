/* Programs that may be started.  Each is a read-only mount of its own without "noexec", or lies in one: those are the
 * only places in here that anything can be executed from, and the only ones that Landlock lets execute. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "sandbox/builder.h"
#include "sandbox/kernel.h"

bool inside_receive_programs(struct builder *b)
{
    uint32_t n = b->order.nprograms;
    if (n > WALL_PROGRAMS_MAX)
        return false;
    b->programs = n ? calloc(n, sizeof *b->programs) : NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct builder_program *p = b->programs ? &b->programs[i] : NULL;
        size_t fds = 1;
        if (!p)
            return false;
        p->mount = -1;
        if (io_recv(b->control, &p->order, sizeof p->order, &p->mount, &fds) != (ssize_t)sizeof p->order ||
            p->order.file.version != MESSAGE_VERSION || p->order.file.kind != ORDER_PROGRAM ||
            p->order.place[0] != '/' || !memchr(p->order.place, 0, sizeof p->order.place) ||
            !memchr(p->order.file.path, 0, sizeof p->order.file.path))
            return false;
    }
    return true;
}

/* ---- what the package ships ---- */

static uint64_t shipped_bytes(const struct builder *b, uint32_t *files)
{
    uint64_t bytes = 0;
    *files = 0;
    for (uint32_t i = 0; i < b->order.nprograms; i++) {
        if (!b->programs[i].order.shipped)
            continue;
        ++*files;
        bytes += (b->programs[i].order.size + 4095) / 4096 * 4096;
    }
    return bytes;
}

/* From the sealed bytes; with pread, because other workers share the file's position. */
static int copy(int from, uint64_t offset, uint64_t left, int to)
{
    char piece[64 * 1024];
    while (left) {
        ssize_t n = pread(from, piece, left < sizeof piece ? left : sizeof piece, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        if (!io_write_all(to, piece, (size_t)n))
            return errno;
        offset += (uint64_t)n;
        left -= (uint64_t)n;
    }
    return 0;
}

/* In a file system that nobody else has seen yet: there are no links that could lead anywhere. */
static int ship(int root, const struct order_program *p, int assets)
{
    char path[WALL_PATH_MAX];
    snprintf(path, sizeof path, "%s", p->place + 1);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdirat(root, path, 0755) < 0 && errno != EEXIST)
            return errno;
        *slash = '/';
    }
    fd_auto to = openat(root, path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0555);
    return to < 0 ? errno : copy(assets, p->offset, p->size, to);
}

/* Before the limits, which would bound what is written here. A copy, because a memory file has no path and would be
 * executed past the mounts; it is written once and read-only from then on. */
int inside_step_package(struct builder *b)
{
    const char *name = &WALL_PACKAGE_PLACE[1];
    char options[96];
    uint32_t files;
    uint64_t bytes = shipped_bytes(b, &files);
    if (!files)
        return 0;
    if (!b->out->assets)
        return EINVAL;
    snprintf(options, sizeof options, "size=%llu,nr_inodes=%u,mode=755", (unsigned long long)bytes + 65536,
             1024 + files);
    if (fchdir(b->root) < 0 || mkdir(name, 0755) < 0 ||
        mount("moat-package", name, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return errno;
    for (uint32_t i = 0; i < b->order.nprograms; i++) {
        const struct order_program *p = &b->programs[i].order;
        int e = p->shipped ? ship(b->root, p, b->out->assets) : 0;
        if (e) {
            snprintf(b->message, sizeof b->message, "%.200s", p->place);
            return e;
        }
    }
    struct kernel_mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    return kernel_mount_setattr(b->root, name, 0, &attr) < 0 ? errno : 0;
}

/* ---- what the operator named ---- */

int inside_step_programs(struct builder *b)
{
    for (uint32_t i = 0; i < b->order.nprograms; i++) {
        struct builder_program *p = &b->programs[i];
        int e = p->order.shipped ? 0 : inside_attach(b, &p->order.file, p->order.place, true, &p->mount);
        if (e)
            return e;
    }
    return 0;
}
