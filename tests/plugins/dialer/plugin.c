/* dialer: connects where it is told, well or badly, for the tests of the network's broker and for measurements. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <moat/plugin.h>

#include "../../../plugins/common/request.h"

#define TIMES_MAX 1000

static const struct moat_host *host;
static int kept[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
static char block[65536];

struct parameters {
    const char *text;
    size_t len;
};

static long long integer(struct parameters p, const char *name, long long otherwise)
{
    struct slice value;
    long long out;
    return request_find(p.text, p.len, name, &value) && request_integer(value, &out) ? out : otherwise;
}

static const char *text(struct parameters p, const char *name, char out[512])
{
    struct slice value;
    if (!request_find(p.text, p.len, name, &value) || !request_text(value, out, 512))
        out[0] = '\0';
    return out;
}

static bool flag(struct parameters p, const char *name)
{
    struct slice value;
    return request_find(p.text, p.len, name, &value) && value.end - value.at == 4;
}

static bool answer_text(struct moat_call *call, const char *text, size_t len)
{
    char out[1100] = "\"";
    size_t n = 1;
    for (size_t i = 0; i < len && n < sizeof out - 8; i++)
        n += (size_t)snprintf(out + n, 8, (unsigned char)text[i] < ' ' || strchr("\"\\", text[i]) ? "\\u%04x" : "%c",
                              (unsigned char)text[i]);
    out[n++] = '"';
    return host->answer(call, out, n);
}

/* -1: the call has failed as the host said. */
static int dial(struct moat_call *call, struct parameters p, unsigned flags)
{
    char name[512];
    const struct moat_reply *why;
    int fd = host->connect(call, text(p, "host", name), (uint16_t)integer(p, "port", 0), flags, &why);
    if (fd < 0)
        host->fail(call, why->code, why->message);
    return fd;
}

/* Until a line is whole, or the end. */
static bool answer_line(struct moat_call *call, int fd)
{
    char line[512];
    size_t n = 0;
    while (n < sizeof line && !memchr(line, '\n', n)) {
        ssize_t got = read(fd, line + n, sizeof line - n);
        if (got < 0)
            return answer_text(call, strerrorname_np(errno), strlen(strerrorname_np(errno)));
        if (got == 0)
            return n ? answer_text(call, line, n) : answer_text(call, "EOF", 3);
        n += (size_t)got;
    }
    return answer_text(call, line, n);
}

static bool say_and_hear(struct moat_call *call, int fd, struct parameters p)
{
    char say[512];
    size_t n = strlen(text(p, "say", say));
    if (n && write(fd, say, n) < 0)
        return answer_text(call, strerrorname_np(errno), strlen(strerrorname_np(errno)));
    return answer_line(call, fd);
}

static bool do_talk(struct moat_call *call, struct parameters p)
{
    int fd = dial(call, p, 0);
    if (fd < 0)
        return false;
    bool ok = say_and_hear(call, fd, p);
    close(fd);
    return ok;
}

static bool do_keep(struct moat_call *call, struct parameters p)
{
    int *to = &kept[integer(p, "as", 0) & 7];
    int fd = dial(call, p, flag(p, "nonblock") ? MOAT_CONNECT_NONBLOCK : 0);
    if (fd < 0)
        return false;
    if (*to >= 0)
        close(*to);
    *to = fd;
    return host->answer(call, "{}", 2);
}

static bool do_use(struct moat_call *call, struct parameters p)
{
    return say_and_hear(call, kept[integer(p, "as", 0) & 7], p);
}

static bool do_stream(struct moat_call *call, struct parameters p)
{
    char out[32];
    long long sent = 0;
    int fd = dial(call, p, 0);
    if (fd < 0)
        return false;
    for (ssize_t n; (n = write(fd, block, sizeof block)) > 0;) {
        sent += n;
        host->progress(call, 0, "sent");
    }
    close(fd);
    return host->answer(call, out, (size_t)snprintf(out, sizeof out, "%lld", sent));
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ns that bytes of one connection took, from the first on. */
static bool time_bytes(struct moat_call *call, struct parameters p, long long bytes)
{
    char out[64];
    int fd = dial(call, p, 0);
    if (fd < 0)
        return false;
    uint64_t from = now_ns();
    bool way = flag(p, "out");
    for (ssize_t n; bytes > 0; bytes -= n)
        if ((n = way ? write(fd, block, sizeof block) : read(fd, block, sizeof block)) <= 0)
            return host->fail(call, "ended", "the other side ended it");
    if (way && read(fd, block, 1) != 1) /* the other side has all of it */
        return host->fail(call, "ended", "the other side ended it");
    uint64_t took = now_ns() - from;
    close(fd);
    return host->answer(call, out, (size_t)snprintf(out, sizeof out, "[%llu]", (unsigned long long)took));
}

static bool do_time(struct moat_call *call, struct parameters p)
{
    static char out[TIMES_MAX * 24];
    long long times = integer(p, "times", 1), bytes = integer(p, "bytes", 0);
    size_t n = 0;
    if (bytes)
        return time_bytes(call, p, bytes);
    for (long long i = 0; i < times && i < TIMES_MAX; i++) {
        uint64_t from = now_ns();
        int fd = dial(call, p, 0);
        if (fd < 0)
            return false;
        n += (size_t)snprintf(out + n, 24, "%c%llu", i ? ',' : '[', (unsigned long long)(now_ns() - from));
        close(fd);
    }
    out[n++] = ']';
    return host->answer(call, out, n);
}

/* What must not be possible, with a connection in hand. */

static long try_unspec(int fd)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    return syscall(SYS_connect, fd, &none, sizeof none);
}

static long try_name(int fd)
{
    struct sockaddr_storage a;
    socklen_t size = sizeof a;
    return syscall(SYS_getpeername, fd, &a, &size);
}

static long try_send_descriptor(int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {.iov_base = block, .iov_len = 1};
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &(int){0}, sizeof(int));
    return syscall(SYS_sendmsg, fd, &m, 0);
}

static long try_receive_message(int fd)
{
    struct iovec part = {.iov_base = block, .iov_len = 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    return syscall(SYS_recvmsg, fd, &m, MSG_DONTWAIT);
}

static long try_option(int fd)
{
    return syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
}

static long try_socket(int fd)
{
    (void)fd;
    return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

static long try_pair(int fd)
{
    int ends[2];
    (void)fd;
    return syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ends);
}

static long try_send_to(int fd)
{
    return syscall(SYS_sendto, fd, "x", 1, 0, NULL, 0);
}

static bool do_misuse(struct moat_call *call, struct parameters p)
{
    static const struct {
        const char *name;
        long (*run)(int fd);
        bool own; /* on the socket that connections come over, which is 4, instead of the connection */
    } tries[] = {
        {"connect elsewhere", try_unspec, false},
        {"getpeername", try_name, false},
        {"sendmsg", try_send_descriptor, false},
        {"recvmsg", try_receive_message, false},
        {"setsockopt", try_option, false},
        {"socket", try_socket, false},
        {"socketpair", try_pair, false},
        {"sendto", try_send_to, false},
        {"own sendmsg", try_send_descriptor, true},
        {"own sendto", try_send_to, true},
        {"own getpeername", try_name, true},
        {"own recvmsg", try_receive_message, true},
        {"own connect", try_unspec, true},
    };
    char out[1024] = "[";
    size_t n = 1;
    int fd = dial(call, p, 0);
    if (fd < 0)
        return false;
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        if (tries[i].run(tries[i].own ? 4 : fd) >= 0)
            n += (size_t)snprintf(out + n, sizeof out - n, "%s\"%s\"", n > 1 ? "," : "", tries[i].name);
    close(fd);
    out[n++] = ']';
    return host->answer(call, out, n);
}

static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len)
{
    static const struct {
        const char *name;
        bool (*run)(struct moat_call *call, struct parameters p);
    } actions[] = {{"talk", do_talk},     {"keep", do_keep}, {"use", do_use},
                   {"stream", do_stream}, {"time", do_time}, {"misuse", do_misuse}};
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i].name, action) == 0)
            return actions[i].run(call, (struct parameters){parameters, len});
    return host->fail(call, "no_such_action", action);
}

static bool initialize(const struct moat_host *h, const char *config, size_t len)
{
    host = h;
    return h->size >= offsetof(struct moat_host, connect) + sizeof h->connect;
}

MOAT_PLUGIN(.initialize = initialize, .execute = execute);
