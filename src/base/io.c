#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void io_close(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
    *fd = -1;
}

bool io_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

ssize_t io_read_full(int fd, void *data, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = read(fd, (char *)data + got, len - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

int io_read_file(const char *path, struct buf *out, struct error *err)
{
    fd_auto fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno == ENOENT || errno == ENOTDIR ? MOAT_E_NO_SUCH_FILE : MOAT_E_STORAGE_FAILED,
                           errno, "cannot open %s", path);
    size_t before = out->len;
    uint8_t chunk[32 * 1024];
    ssize_t n;
    do {
        n = io_read_full(fd, chunk, sizeof chunk); /* less than that: the end was met */
        if (n > 0 && !buf_put(out, chunk, (size_t)n)) {
            out->len = before;
            return error_set(err, MOAT_E_TOO_LARGE, "%s is larger than %zu bytes", path, out->max);
        }
    } while (n == (ssize_t)sizeof chunk);
    if (n < 0) {
        out->len = before;
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot read %s", path);
    }
    return 0;
}

static int sync_directory_of(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(dir, sizeof dir, ".");
    else
        snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    fd_auto fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int io_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct error *err)
{
    char beside[PATH_MAX];
    if ((size_t)snprintf(beside, sizeof beside, "%s.XXXXXX", path) >= sizeof beside)
        return error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", path);
    fd_auto fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot create %s", beside);
    if (fchmod(fd, mode) < 0 || !io_write_all(fd, data, len) || fsync(fd) < 0 || rename(beside, path) < 0 ||
        sync_directory_of(path) < 0) {
        int saved = errno;
        unlink(beside);
        return error_errno(err, MOAT_E_STORAGE_FAILED, saved, "cannot write %s", path);
    }
    return 0;
}

int io_mkdirs(const char *path, mode_t mode, struct error *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof part)
        return error_set(err, MOAT_E_BAD_USAGE, "the path %s is too long", path);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot create the directory %s", part);
    }
    return 0;
}

int io_memfile(const char *name)
{
    return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int io_seal(int fd)
{
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -1;
    /* A descriptor that was opened for writing would still let its holder change mode and times. */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

int io_sealed(const char *name, const void *data, size_t len)
{
    fd_auto fd = io_memfile(name);
    return fd >= 0 && io_write_all(fd, data, len) ? io_seal(fd) : -1;
}

bool io_send(int socket, const void *data, size_t len, const int *fds, size_t nfds)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * IO_FDS)];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    if (nfds > IO_FDS) {
        errno = EINVAL;
        return false;
    }
    if (nfds) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    ssize_t n;
    do
        n = sendmsg(socket, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)len;
}

/* Takes at most room descriptors out of a message; closes the rest.  The count found. */
static size_t take_fds(struct msghdr *msg, int *fds, size_t room)
{
    size_t found = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (found < room)
                fds[found] = fd;
            else
                close(fd);
            found++;
        }
    }
    return found;
}

ssize_t io_recv(int socket, void *data, size_t size, int *fds, size_t *nfds)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * IO_FDS)];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = data, .iov_len = size};
    struct msghdr msg = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do
        n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    size_t room = fds && nfds ? *nfds : 0;
    if (nfds)
        *nfds = 0;
    if (n < 0)
        return -1;
    size_t found = take_fds(&msg, fds, room);
    if (found > room || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        for (size_t i = 0; i < found && i < room; i++)
            close(fds[i]);
        errno = msg.msg_flags & MSG_TRUNC ? EMSGSIZE : EPROTO;
        return -1;
    }
    if (nfds)
        *nfds = found;
    return n;
}
