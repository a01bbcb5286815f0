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
    if (r->stream)
        buf_puts(&head, "Accept: text/event-stream\r\n");
    if (!buf_puts(&head, "\r\n"))
        return error_set(err, MOAT_E_TOO_LARGE, "the request's head is too long");
    int rc = send_all(fd, socket_path, head.data, head.len, &early, err);
    if (rc)
        return rc;
    return r->body_file >= 0 ? send_file(fd, socket_path, r->body_file, r->body_len, &early, err)
                             : send_all(fd, socket_path, r->body, r->body_len, &early, err);
}

/* What the server sends next, at most CHUNK bytes behind what is there: its length, 0 at the end, or an error. */
static ssize_t receive_some(int fd, const char *socket_path, struct buf *all, struct error *err)
{
    if (!buf_reserve(all, CHUNK))
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the server's answer");
    for (;;) {
        ssize_t n = recv(fd, all->data + all->len, CHUNK, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET && all->len))
            return 0;
        if (n > 0) {
            all->len += (size_t)n;
            all->data[all->len] = 0;
            return n;
        }
        if (errno == EAGAIN) {
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

/* The head, once all of it is there; *body_at is where the body begins. */
#define LENGTH_UNKNOWN UINT64_MAX /* to the connection's end */
static int parse_head(struct buf *all, struct client_answer *out, size_t *body_at, uint64_t *body_len, bool may_stream,
                      struct error *err)
{
    char *end = all->len ? strstr((char *)all->data, "\r\n\r\n") : NULL;
    unsigned status;
    if (!end || sscanf((char *)all->data, "HTTP/1.%*1u %3u", &status) != 1)
        return error_set(err, MOAT_E_NO_ANSWER, "the server that holds the home gave no answer");
    *body_at = (size_t)(end + 4 - (char *)all->data);
    end[2] = '\0';
    size_t len;
    const char *value = header((char *)all->data, "Content-Length", &len);
    const char *type = header((char *)all->data, "Content-Type", &len);
    bool streams = may_stream && !value && type && strncasecmp(type, "text/event-stream", 17) == 0;
    if (!value && !streams)
        return error_set(err, MOAT_E_NO_ANSWER, "the server that holds the home gave an answer without a length");
    *body_len = streams ? LENGTH_UNKNOWN : strtoull(value, NULL, 10);
    value = header((char *)all->data, "Moat-Receipt", &len);
    snprintf(out->receipt, sizeof out->receipt, "%.*s", value ? (int)len : 0, value ? value : "");
    out->status = (int)status;
    return 0;
}

static int receive_head(int fd, const char *socket_path, struct buf *all, struct error *err)
{
    ssize_t n = 1;
    while (n > 0 && !(all->len && strstr((char *)all->data, "\r\n\r\n")))
        n = receive_some(fd, socket_path, all, err);
    return n < 0 ? (int)n : 0;
}

/* The rest, to memory, or piece by piece to the file. */
static int receive_body(int fd, const char *socket_path, int file, uint64_t body_len, struct buf *body,
                        struct error *err)
{
    uint64_t got = body->len;
    ssize_t n = 1;
    for (;;) {
        if (file >= 0 && body->len) {
            if (!io_write_all(file, body->data, body->len))
                return error_errno(err, MOAT_E_STORAGE_FAILED, errno, "cannot write the answer");
            buf_clear(body);
        }
        if (n <= 0 || got >= body_len)
            break;
        n = receive_some(fd, socket_path, body, err);
        if (n < 0)
            return (int)n;
        got += (uint64_t)n;
    }
    return got == body_len ? 0
                           : error_set(err, MOAT_E_NO_ANSWER, "the server that holds the home broke its answer off");
}

static int receive_stream(int fd, const char *socket_path, const struct client_request *r, struct buf *body,
                          struct error *err)
{
    ssize_t n = 1;
    while (n > 0) {
        if (body->len)
            r->stream(r->context, (const char *)body->data, body->len);
        buf_clear(body);
        n = receive_some(fd, socket_path, body, err);
    }
    return n < 0 ? (int)n : 0;
}

int client_ask(int socket, const char *socket_path, const struct client_request *request, struct client_answer *out,
               struct error *err)
{
    fd_auto fd = socket;
    buf_auto head = BUF_INIT(ANSWER_MAX);
    size_t body_at = 0;
    uint64_t body_len = 0;
    struct client_answer answer = {.body = BUF_INIT(ANSWER_MAX)};
    int rc = send_request(fd, socket_path, request, err);
    if (!rc)
        rc = receive_head(fd, socket_path, &head, err);
    if (!rc)
        rc = parse_head(&head, &answer, &body_at, &body_len, request->stream != NULL, err);
    if (!rc && !buf_put(&answer.body, head.data + body_at, head.len - body_at))
        rc = error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the server's answer");
    int file = answer.status == 200 ? request->answer_file : -1;
    if (!rc && body_len == LENGTH_UNKNOWN)
        rc = receive_stream(fd, socket_path, request, &answer.body, err);
    else if (!rc)
        rc = receive_body(fd, socket_path, file, body_len, &answer.body, err);
    if (rc)
        buf_free(&answer.body);
    else
        *out = answer;
    return rc;
}
