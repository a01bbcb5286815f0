/* Attacks through sockets: new ones, those that are there, and what might be passed over them.
 * Parameters: port, where somebody listens for TCP and UDP on the loopback. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "attacker.h"

static long connect_to(int family, int type, const void *address, size_t len)
{
    long fd = raw(SYS_socket, family, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long result = raw(SYS_connect, fd, address, len);
    raw(SYS_close, fd);
    return result;
}

void tcp_families(struct attack *a)
{
    uint16_t port = htons((uint16_t)attack_integer(a, "port", 1));
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port}, mapped = v6;
    static const unsigned char four[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
    v6.sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
    memcpy(&mapped.sin6_addr, four, 16);
    attack_tried(a, "connect to the host's loopback");
    attack_attempt(a, "IPv4", connect_to(AF_INET, SOCK_STREAM, &v4, sizeof v4));
    attack_attempt(a, "IPv6", connect_to(AF_INET6, SOCK_STREAM, &v6, sizeof v6));
    attack_attempt(a, "IPv4 in IPv6", connect_to(AF_INET6, SOCK_STREAM, &mapped, sizeof mapped));
    long fd = raw(SYS_socket, AF_INET, SOCK_STREAM, 0);
    attack_attempt(a, "fast open",
                   fd < 0 ? fd : raw(SYS_sendto, fd, "x", 1, 0x20000000 /* MSG_FASTOPEN */, &v4, sizeof v4));
    if (fd >= 0)
        raw(SYS_close, fd);
}

void udp_send(struct attack *a)
{
    uint16_t port = htons((uint16_t)attack_integer(a, "port", 1));
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    attack_tried(a, "send a datagram, as a name server's client would");
    for (int i = 0; i < 2; i++) {
        long fd = raw(SYS_socket, i ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
        if (fd < 0) {
            attack_attempt(a, i ? "IPv6" : "IPv4", fd);
            continue;
        }
        attack_attempt(a, i ? "IPv6" : "IPv4",
                       i ? raw(SYS_sendto, fd, "x", 1, 0, &v6, sizeof v6)
                         : raw(SYS_sendto, fd, "x", 1, 0, &v4, sizeof v4));
        raw(SYS_close, fd);
    }
}

void unix_pair(struct attack *a)
{
    int ends[2] = {-1, -1};
    attack_tried(a, "make Unix sockets of its own");
    long made = raw(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ends);
    if (attack_attempt(a, "socketpair", made)) {
        raw(SYS_close, ends[0]);
        raw(SYS_close, ends[1]);
    }
    attempt_fd(a, "socket", raw(SYS_socket, AF_UNIX, SOCK_DGRAM, 0));
}

/* The control socket: inside it is descriptor 3; outside the test leaves a socket open there. */
void inherited_socket(struct attack *a)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    char name[128];
    unsigned len = sizeof name;
    attack_tried(a, "use the socket that it has for something else");
    attack_attempt(a, "getpeername", raw(SYS_getpeername, 3, name, &len));
    attack_attempt(a, "getsockopt", raw(SYS_getsockopt, 3, SOL_SOCKET, SO_PEERCRED, name, &len));
    attack_attempt(a, "setsockopt", raw(SYS_setsockopt, 3, SOL_SOCKET, SO_SNDBUF, &len, sizeof len));
    attack_attempt(a, "recvmsg", raw(SYS_recvmsg, 3, 0, MSG_DONTWAIT) == -EFAULT ? 0 : -EPERM);
    attack_attempt(a, "shutdown", raw(SYS_shutdown, 3, 2));
    attack_attempt(a, "accept", raw(SYS_accept4, 3, 0, 0, 0) == -EINVAL ? 0 : -EPERM);
    attack_attempt(a, "connect", raw(SYS_connect, 3, &to, 0) == -EINVAL ? 0 : -EPERM);
}

void pass_descriptor(struct attack *a)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } c = {{0}};
    char x = 'x';
    int fd = 2;
    struct iovec part = {&x, 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = sizeof c.bytes};
    struct mmsghdr many = {.msg_hdr = m};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    attack_tried(a, "hold descriptors in flight, until the host's user can pass none");
    attack_attempt(a, "sendmsg", raw(SYS_sendmsg, 3, &m, MSG_DONTWAIT));
    attack_attempt(a, "sendmmsg", raw(SYS_sendmmsg, 3, &many, 1, MSG_DONTWAIT));
}

void listen_here(struct attack *a)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    attack_tried(a, "offer a service");
    long fd = raw(SYS_socket, AF_INET, SOCK_STREAM, 0);
    attack_attempt(a, "socket", fd);
    attack_attempt(a, "bind", raw(SYS_bind, fd, &any, sizeof any));
    attack_attempt(a, "listen", raw(SYS_listen, fd, 1));
    if (fd >= 0)
        raw(SYS_close, fd);
}

void other_families(struct attack *a)
{
    static const struct {
        const char *what;
        int family, type, protocol;
    } kinds[] = {{"netlink, routes", AF_NETLINK, SOCK_RAW, 0},
                 {"netlink, uevents", AF_NETLINK, SOCK_DGRAM, 15},
                 {"netlink, audit", AF_NETLINK, SOCK_RAW, 9},
                 {"kernel crypto", 38, SOCK_SEQPACKET, 0},
                 {"vsock", 40, SOCK_STREAM, 0},
                 {"packet", AF_PACKET, SOCK_RAW, 0x0300},
                 {"raw", AF_INET, SOCK_RAW, IPPROTO_RAW},
                 {"ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
                 {"XDP", 44, SOCK_RAW, 0},
                 {"MPTCP", AF_INET, SOCK_STREAM, 262}};
    attack_tried(a, "open sockets of rare families");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        attempt_fd(a, kinds[i].what, raw(SYS_socket, kinds[i].family, kinds[i].type, kinds[i].protocol));
}

/* Messages that are not due; the host ends a worker that sends them. */
void control_lies(struct attack *a)
{
    static char lie[1024];
    attack_tried(a, "say to the host what its own worker would say");
    for (int i = 1; i < 64; i++) {
        memset(lie, i, sizeof lie);
        raw(SYS_write, 3, lie, (size_t)(i * 16));
    }
    /* Its answer must not come before the host has read all that. */
    struct timespec t = {.tv_sec = 5};
    raw(SYS_nanosleep, &t, 0);
    attack_detail(a, "the host listened");
}

/* Nothing is granted: no name and no address, in no spelling, and no name server hears of it. */
void ask_for_hosts(struct attack *a)
{
    static const char *const hosts[] = {"127.0.0.1",
                                        "localhost",
                                        "LOCALHOST.",
                                        "127.1",
                                        "0x7f000001",
                                        "2130706433",
                                        "017700000001",
                                        "0.0.0.0",
                                        "::1",
                                        "[::1]",
                                        "::",
                                        "::ffff:127.0.0.1",
                                        "[::ffff:7f00:1]",
                                        "10.0.0.1",
                                        "169.254.169.254",
                                        "fd00::1",
                                        "fe80::1",
                                        "224.0.0.1",
                                        "example.com",
                                        "secret.example.com",
                                        "*.com",
                                        "*",
                                        "a@127.0.0.1",
                                        "127.0.0.1:22",
                                        "127.0.0.1/8",
                                        "127.0.0.1%00.example.com",
                                        "",
                                        "."};
    bool can = a->host->size >= offsetof(struct moat_host, connect) + sizeof a->host->connect;
    long port = attack_integer(a, "port", 80);
    attack_tried(a, "ask the host for connections that nobody granted");
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        const struct moat_reply *why = NULL;
        long fd = can ? a->host->connect(a->call, hosts[i], (uint16_t)port, 0, &why) : -ENOSYS;
        attempt_fd(a, hosts[i], fd == -1 ? -EACCES : fd);
    }
}

/* Others' actions and the machine's facts, by the host's hand: by name, by names that are none, past the names' end. */
void call_others(struct attack *a)
{
    static const struct {
        const char *plugin, *action;
    } calls[] = {{"data_processor", "transform"},
                 {"DATA_PROCESSOR", "transform"},
                 {"attacker", "attack"},
                 {"data_processor", ""},
                 {"", ""},
                 {"*", "*"},
                 {"data_processor.transform", ""},
                 {"../data_processor", "transform"},
                 {"nobody", "nothing"}};
    static const char *const facts[] = {NULL, "kernel", "host_name", "", "../../proc/version", "password"};
    static const char parameters[] = "{\"data\":[1],\"operation\":\"multiply\",\"factor\":2}";
    bool can = a->host->size >= offsetof(struct moat_host, fact) + sizeof a->host->fact;
    attack_tried(a, "have the host call other plugins, and tell of its machine");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        const struct moat_reply *r =
            can ? a->host->call(a->call, calls[i].plugin, calls[i].action, parameters, sizeof parameters - 1) : NULL;
        attempt_fd(a, calls[i].plugin, !r ? -ENOSYS : r->ok ? 0 : -EACCES);
    }
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const struct moat_reply *r = can ? a->host->fact(a->call, facts[i]) : NULL;
        attempt_fd(a, facts[i] ? facts[i] : "all facts", !r ? -ENOSYS : r->ok ? 0 : -EACCES);
    }
}

/* The number that connections would come over, where they do: what could be received there, or put there. */
void reach_for_connections(struct attack *a)
{
    static char bytes[64];
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    attack_tried(a, "receive what the host sends to others");
    attack_attempt(a, "its own socket as it",
                   raw(SYS_dup2, 3, 4) == 4 ? raw(SYS_recvmsg, 4, &m, MSG_DONTWAIT) : -EBADF);
    attack_attempt(a, "another's", raw(SYS_recvmsg, 5, &m, MSG_DONTWAIT));
    raw(SYS_close, 4);
}
