/* base/io: descriptors that close themselves, and reads and writes that finish.  May block: never call on a loop. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/* Closes *fd when it is not negative and sets it to -1; keeps errno. */
void io_close(int *fd);
#define fd_auto __attribute__((cleanup(io_close))) int

/* Takes the descriptor out of a fd_auto. */
static inline int io_steal(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

bool io_write_all(int fd, const void *data, size_t len);
/* Reads until len or end of file; the count read, or -1. */
ssize_t io_read_full(int fd, void *data, size_t len);

/* The whole file into out (appended); MOAT_E_NO_SUCH_FILE, MOAT_E_TOO_LARGE (out->max), MOAT_E_STORAGE_FAILED. */
int io_read_file(const char *path, struct buf *out, struct error *err);

/* Writes beside, fsyncs, renames, fsyncs the directory: the old content or the new, never between. */
int io_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct error *err);

/* Creates every missing directory of path with mode. */
int io_mkdirs(const char *path, mode_t mode, struct error *err);

/* A memory file to be written and then sealed; or -1 with errno. */
int io_memfile(const char *name);

/* Seals it (write, shrink, grow, seal) and opens it again read-only; fd stays the caller's.  -1 with errno.
 * No writable mapping may be left. */
int io_seal(int fd);

/* Both in one go, with these bytes; or -1 with errno. */
int io_sealed(const char *name, const void *data, size_t len);

/* SEQPACKET helpers: one message with up to IO_FDS descriptors.  io_recv returns the length, 0 at end, -1 with errno
 * (EMSGSIZE for a message that was cut, EPROTO for more descriptors than allowed); every descriptor received is
 * close-on-exec and belongs to the caller.  *nfds is in: capacity, out: count. */
#define IO_FDS 16
bool io_send(int socket, const void *data, size_t len, const int *fds, size_t nfds);
ssize_t io_recv(int socket, void *data, size_t size, int *fds, size_t *nfds);

#endif
