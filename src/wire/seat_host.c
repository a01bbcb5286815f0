/* The host's part of wire/seat. */
#include <fcntl.h>

#include "base/io.h"
#include "wire/layout.h"
#include "wire/seat.h"

int seat_file(void)
{
    int fd = io_memfile("seats");
    if (fd < 0)
        return -1;
    /* Both sides write, so it stays writable; a file that shrank would end whoever reads behind its end. */
    if (ftruncate(fd, (off_t)SEATS * SEAT_SIZE) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        io_close(&fd);
    return fd;
}

void seat_open(struct seat *s)
{
    atomic_store(&s->worker_sleeps, 0);
    atomic_store(&s->helper_sleeps, 0);
    atomic_store(&s->turn, SEAT_IDLE);
}

void seat_close(struct seat *s)
{
    atomic_store(&s->turn, SEAT_CLOSED);
    layout_futex_wake(&s->turn, 2);
}
