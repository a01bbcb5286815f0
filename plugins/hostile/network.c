/* Attacks through sockets. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "hostile.h"
#include "raw.h"

static void connect_and_close(struct attack *a, const char *what, int family, const void *address, size_t len)
{
    long fd = raw(SYS_socket, family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        char name[64];
        snprintf(name, sizeof name, "socket for %s", what);
        attack_attempt(a, name, fd);
        return;
    }
    attack_attempt(a, what, raw(SYS_connect, fd, address, len));
    raw(SYS_close, fd);
}

void connect_tcp(struct attack *a)
{
    uint16_t port = (uint16_t)attack_integer(a, "port", 22);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    attack_tried(a, "connect to port %u of the host's loopback", port);
    connect_and_close(a, "127.0.0.1", AF_INET, &v4, sizeof v4);
    connect_and_close(a, "::1", AF_INET6, &v6, sizeof v6);
}

/* A path, or @name for the abstract namespace. */
void connect_unix(struct attack *a)
{
    const char *path = attack_text(a, "path", "");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    attack_tried(a, "connect to the Unix socket %s", path);
    if (len >= sizeof to.sun_path)
        len = sizeof to.sun_path - 1;
    memcpy(to.sun_path, path, len);
    if (path[0] == '@')
        to.sun_path[0] = 0;
    connect_and_close(a, "connect", AF_UNIX, &to, offsetof(struct sockaddr_un, sun_path) + len + (path[0] != '@'));
}

void raw_socket(struct attack *a)
{
    static const struct {
        const char *what;
        int family, type, protocol;
    } kinds[] = {
        {"raw ICMP", AF_INET, SOCK_RAW, IPPROTO_ICMP},
        {"packet", AF_PACKET, SOCK_RAW, 0x0300},
        {"netlink", AF_NETLINK, SOCK_RAW, 0},
        {"vsock", 40 /* AF_VSOCK */, SOCK_STREAM, 0},
        {"UDP", AF_INET, SOCK_DGRAM, 0},
    };
    attack_tried(a, "open sockets that see or make any packet");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        long fd = raw(SYS_socket, kinds[i].family, kinds[i].type, kinds[i].protocol);
        if (attack_attempt(a, kinds[i].what, fd))
            raw(SYS_close, fd);
    }
}
