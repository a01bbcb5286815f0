#include "http/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "http/server.h"

#define SILENCE_MS 5000
#define ANSWER_MAX (1ull << 30)
#define CHUNK (64 * 1024)

int client_connect(const char *socket_path)
{
    return connect_unix(socket_path);
}

static int broken(struct error *err, const char *what)
{
    return error_errno(err, MOAT_E_NO_ANSWER, errno, "%s the server that holds the home", what);
}

/* A fresh connection that asks for health and gets any answer shows that the server lives. */
static bool server_lives(const char *socket_path)
{
    static const char probe[] = "GET /api/plugins/health HTTP/1.0\r\n\r\n";
    char byte;
    fd_auto fd = connect_unix(socket_path);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return fd >= 0 && send(fd, probe, sizeof probe - 1, MSG_NOSIGNAL) == sizeof probe - 1 &&
           poll(&p, 1, SILENCE_MS) == 1 && recv(fd, &byte, 1, 0) == 1;
}

/* Waits until fd is ready for one of events; nothing for a while is fine as long as the server lives. */
static int wait_for(int fd, short events, const char *socket_path, struct error *err)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, SILENCE_MS);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return broken(err, "cannot wait for");
        if (n == 0 && !server_lives(socket_path))
            return error_set(err, MOAT_E_NO_ANSWER, "the server that holds the home does not answer on %s",
                             socket_path);
    }
}

/* 0: all sent, or the server answers already and takes no more. */
static int send_all(int fd, const char *socket_path, const void *bytes, size_t len, bool *early, struct error *err)
{
    const char *at = bytes;
    while (len && !*early) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            *early = true;
        } else if (errno == EAGAIN) {
            int rc = wait_for(fd, POLLOUT, socket_path, err);
            if (rc)
                return rc;
        } else if (errno != EINTR) {
            return broken(err, "cannot write to");
        }
    }
    return 0;
}

static int send_file(int fd, const char *socket_path, int file, uint64_t len, bool *early, struct error *err)
{
    char chunk[CHUNK];
    for (uint64_t at = 0; at < len && !*early;) {
        size_t want = len - at < sizeof chunk ? (size_t)(len - at) : sizeof chunk;
        ssize_t n = pread(file, chunk, want, (off_t)at);
        if (n <= 0)
            return error_errno(err, MOAT_E_NO_SUCH_FILE, n < 0 ? errno : EIO, "cannot read the file to send");
        int rc = send_all(fd, socket_path, chunk, (size_t)n, early, err);
        if (rc)
            return rc;
        at += (uint64_t)n;
    }
    return 0;
}

static int send_request(int fd, const char *socket_path, const struct client_request *r, struct error *err)
{
    buf_auto head = BUF_INIT(64 * 1024);
    bool early = false;
    buf_printf(&head, "%s %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: %llu\r\n", r->method, r->target,
               (unsigned long long)r->body_len);
    if (r->content_type)
        buf_printf(&head, "Content-Type: %s\r\n", r->content_type);
    if (r->deadline)
        buf_printf(&head, "Moat-Deadline: %s\r\n", r->deadline);
    if (!buf_puts(&head, "\r\n"))
        return error_set(err, MOAT_E_TOO_LARGE, "the request's head is too long");
    int rc = send_all(fd, socket_path, head.data, head.len, &early, err);
    if (rc)
        return rc;
    return r->body_file >= 0 ? send_file(fd, socket_path, r->body_file, r->body_len, &early, err)
                             : send_all(fd, socket_path, r->body, r->body_len, &early, err);
}

/* Everything until the server closes. */
static int receive(int fd, const char *socket_path, struct buf *all, struct error *err)
{
    for (;;) {
        if (!buf_reserve(all, CHUNK))
            return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the server's answer");
        ssize_t n = recv(fd, all->data + all->len, CHUNK, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET && all->len))
            return 0;
        if (n > 0) {
            all->len += (size_t)n;
            all->data[all->len] = 0;
        } else if (errno == EAGAIN) {
            int rc = wait_for(fd, POLLIN, socket_path, err);
            if (rc)
                return rc;
        } else if (errno != EINTR) {
            return broken(err, "cannot read from");
        }
    }
}

/* The value of a header within head, or NULL; *len without the line's end. */
static const char *header(const char *head, const char *name, size_t *len)
{
    size_t name_len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line && line[2] != '\r'; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
            continue;
        const char *value = line + name_len + 1;
        value += strspn(value, " ");
        *len = strcspn(value, "\r");
        return value;
    }
    return NULL;
}

static int parse_answer(struct buf *all, struct client_answer *out, struct error *err)
{
    char *end = all->len ? strstr((char *)all->data, "\r\n\r\n") : NULL;
    unsigned status;
    if (!end || sscanf((char *)all->data, "HTTP/1.%*1u %3u", &status) != 1)
        return error_set(err, MOAT_E_NO_ANSWER, "the server that holds the home gave no answer");
    const char *body = end + 4;
    end[2] = '\0';
    size_t len, body_len = all->len - (size_t)(body - (char *)all->data);
    const char *value = header((char *)all->data, "Content-Length", &len);
    if (!value || strtoull(value, NULL, 10) != body_len)
        return error_set(err, MOAT_E_NO_ANSWER, "the server that holds the home broke its answer off");
    value = header((char *)all->data, "Moat-Receipt", &len);
    snprintf(out->receipt, sizeof out->receipt, "%.*s", value ? (int)len : 0, value ? value : "");
    out->status = (int)status;
    out->body = BUF_INIT(ANSWER_MAX);
    if (!buf_put(&out->body, body, body_len))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the server's answer");
    return 0;
}

int client_ask(int socket, const char *socket_path, const struct client_request *request, struct client_answer *out,
               struct error *err)
{
    fd_auto fd = socket;
    buf_auto all = BUF_INIT(ANSWER_MAX);
    int rc = send_request(fd, socket_path, request, err);
    if (!rc)
        rc = receive(fd, socket_path, &all, err);
    return rc ? rc : parse_answer(&all, out, err);
}
