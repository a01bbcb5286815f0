#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "http/server.h"

#define BACKLOG 1024

union endpoint {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool parse_port(const char *text, uint16_t *port)
{
    size_t len = strspn(text, "0123456789");
    if (!len || len > 5 || text[len])
        return false;
    unsigned long n = strtoul(text, NULL, 10);
    *port = (uint16_t)n;
    return n <= UINT16_MAX;
}

/* "127.0.0.1:80", "[::1]:80", "localhost:80". Names are not resolved: what is listened on must be seen here. */
static int parse_address(const char *text, union endpoint *out, socklen_t *len, struct error *err)
{
    char host[64];
    uint16_t port;
    const char *colon = strrchr(text, ':');
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    if (!colon || host_len >= sizeof host || !parse_port(colon + 1, &port))
        return error_set(err, MOAT_E_BAD_USAGE, "%.100s is not ADDRESS:PORT", text);
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    memset(out, 0, sizeof *out);
    const char *v4 = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (host[0] == '[' && host[host_len - 1] == ']') {
        host[host_len - 1] = '\0';
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        *len = sizeof out->v6;
        if (inet_pton(AF_INET6, host + 1, &out->v6.sin6_addr) == 1)
            return 0;
    } else if (inet_pton(AF_INET, v4, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        *len = sizeof out->v4;
        return 0;
    }
    return error_set(err, MOAT_E_BAD_USAGE, "%.100s is not a numeric address and a port", text);
}

static bool is_loopback(const union endpoint *a)
{
    if (a->any.sa_family == AF_INET)
        return ntohl(a->v4.sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

static void remember_address(struct http *h, const union endpoint *a)
{
    bool v6 = a->any.sa_family == AF_INET6;
    char text[INET6_ADDRSTRLEN];
    inet_ntop(a->any.sa_family, v6 ? (const void *)&a->v6.sin6_addr : (const void *)&a->v4.sin_addr, text, sizeof text);
    char host[sizeof h->hosts[0]];
    unsigned port = ntohs(v6 ? a->v6.sin6_port : a->v4.sin_port);
    snprintf(h->port, sizeof h->port, "%u", port);
    snprintf(host, sizeof host, v6 ? "[%s]" : "%s", text);
    snprintf(h->url, sizeof h->url, "%s://%s:%u", h->tls ? "https" : "http", host, port);
    h->loopback = is_loopback(a);
    if (!h->loopback)
        return; /* which names point here only its users know */
    memcpy(h->hosts[0], host, sizeof host);
    snprintf(h->hosts[1], sizeof h->hosts[1], "localhost");
}

static int check_address(const union endpoint *a, const struct http_options *options, const struct http *h,
                         struct error *err)
{
    if (is_loopback(a))
        return 0;
    if (options->development)
        return error_set(err, MOAT_E_BAD_USAGE,
                         "development mode is for this machine alone: serve it on a loopback address");
    if (h->tls || options->insecure)
        return 0;
    return error_set(
        err, MOAT_E_BAD_USAGE,
        "an address that is not loopback needs --tls-cert and --tls-key, or --insecure-http behind a proxy "
        "that has them");
}

/* Made by who started the process, systemd for example. */
static int inherited_tcp(struct http_options *options, struct http *h, struct error *err)
{
    fd_auto fd = io_steal(&options->tcp_fd);
    union endpoint a = {0};
    socklen_t len = sizeof a;
    if (getsockname(fd, &a.any, &len) < 0 || (a.any.sa_family != AF_INET && a.any.sa_family != AF_INET6))
        return error_set(err, MOAT_E_BAD_USAGE, "the inherited socket is not a TCP one");
    int rc = check_address(&a, options, h, err);
    if (rc < 0)
        return rc;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    remember_address(h, &a);
    return io_steal(&fd);
}

int listen_tcp(struct http_options *options, struct http *h, struct error *err)
{
    const char *address = options->listen ? options->listen : HTTP_DEFAULT_LISTEN;
    union endpoint a;
    socklen_t len;
    int one = 1;
    if (options->tcp_fd >= 0)
        return inherited_tcp(options, h, err);
    int rc = parse_address(address, &a, &len, err);
    if (rc == 0)
        rc = check_address(&a, options, h, err);
    if (rc < 0)
        return rc;
    fd_auto fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, &a.any, len) < 0 || listen(fd, BACKLOG) < 0 || getsockname(fd, &a.any, &len) < 0)
        return error_errno(err, MOAT_E_BAD_USAGE, errno, "cannot listen on %.100s", address);
    remember_address(h, &a);
    return io_steal(&fd);
}

/* sun_path holds 108 bytes and a home's path may be longer: the directory is opened and the socket named through it. */
static int short_path(const char *path, struct sockaddr_un *out)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_MAX];
    if (!slash || (size_t)(slash - path) >= sizeof dir) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = '\0';
    int fd = open(*dir ? dir : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    out->sun_family = AF_UNIX;
    snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%.60s", fd, slash + 1);
    return fd;
}

int listen_unix(const char *path, struct error *err)
{
    struct sockaddr_un a;
    fd_auto dir = short_path(path, &a);
    fd_auto fd = dir < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        unlink(path);
    /* The socket file takes the mode of the socket's own inode, so that there is no moment at which it is wider. */
    if (fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, BACKLOG) < 0)
        return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot listen on %s", path);
    return io_steal(&fd);
}

int connect_unix(const char *path)
{
    struct sockaddr_un a;
    fd_auto dir = short_path(path, &a);
    fd_auto fd = dir < 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        return -1;
    return io_steal(&fd);
}
