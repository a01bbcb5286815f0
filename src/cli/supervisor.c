#include "cli/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"

#define FIRST 3 /* SD_LISTEN_FDS_START */
#define MOST 2

static int take(int fd, int *tcp, int *unix_fd, struct error *err)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a, flag = sizeof(int);
    int listening = 0;
    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &flag) < 0 || !listening)
        return error_set(err, MOAT_E_BAD_USAGE, "the inherited descriptor %d is no listening socket", fd);
    int *slot = a.ss_family == AF_UNIX ? unix_fd : tcp;
    if (*slot >= 0)
        return error_set(err, MOAT_E_BAD_USAGE,
                         "two inherited sockets are of one kind; one of TCP and one of Unix can "
                         "be served");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    *slot = fd;
    return 0;
}

int supervisor_sockets(int *tcp, int *unix_fd, struct error *err)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    long n = pid && count && strtol(pid, NULL, 10) == (long)getpid() ? strtol(count, NULL, 10) : 0;
    int rc = 0;
    *tcp = *unix_fd = -1;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (n < 0 || n > MOST)
        return error_set(err, MOAT_E_BAD_USAGE, "%ld sockets were inherited; at most %d can be served", n, MOST);
    for (int fd = FIRST; fd < FIRST + n && rc == 0; fd++)
        rc = take(fd, tcp, unix_fd, err);
    return rc;
}

void supervisor_tell(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof a.sun_path || (*path != '/' && *path != '@'))
        return;
    memcpy(a.sun_path, path, len);
    if (*path == '@')
        a.sun_path[0] = '\0'; /* an abstract one */
    fd_auto fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}
