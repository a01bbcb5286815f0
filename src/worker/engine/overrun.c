/* Noticing limits from inside, so that the host can tell a death by its limit from any other.  What is noticed here is
 * only the worker's word; it decides how an error reads and nothing else. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "sandbox/wall_limits.h"
#include "worker/engine/private.h"

/* The kernel's word that a file would have grown beyond RLIMIT_FSIZE; the write itself answers EFBIG. */
static void file_too_large(int number)
{
    struct rlimit l;
    int saved = errno;
    (void)number;
    if (getrlimit(RLIMIT_FSIZE, &l) == 0)
        port_overran(&engine.port, WALL_LIMIT_FILE_SIZE, l.rlim_cur);
    errno = saved;
}

void overrun_init(void)
{
    struct sigaction act = {.sa_handler = file_too_large, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigaction(SIGXFSZ, &act, NULL);
}
