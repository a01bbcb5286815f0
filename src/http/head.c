/* The headers of a request that mean something here, and what only the transport can see about them. */
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "http/server.h"

static const struct {
    const char *name;
    size_t offset;
    bool many; /* may come more than once; the last one counts */
} header_names[] = {
    {"accept", offsetof(struct head, accept), true},
    {"accept-encoding", offsetof(struct head, accept_encoding), true},
    {"access-control-request-method", offsetof(struct head, asked_method)},
    {"authorization", offsetof(struct head, authorization)},
    {"content-length", offsetof(struct head, content_length)},
    {"content-type", offsetof(struct head, content_type)},
    {"expect", offsetof(struct head, expect)},
    {"host", offsetof(struct head, host)},
    {"idempotency-key", offsetof(struct head, idempotency_key)},
    {"if-none-match", offsetof(struct head, if_none_match)},
    {"last-event-id", offsetof(struct head, last_event_id)},
    {"moat-deadline", offsetof(struct head, deadline)},
    {"origin", offsetof(struct head, origin)},
    {"traceparent", offsetof(struct head, traceparent)},
    {"transfer-encoding", offsetof(struct head, transfer)},
};

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                   const char *value, size_t value_len)
{
    struct head *head = cls;
    head->unsound |= !sound_header(name, name_len, value, value_len);
    for (size_t i = 0; i < sizeof header_names / sizeof *header_names; i++) {
        if ((*name | 0x20) != *header_names[i].name || strcasecmp(name, header_names[i].name) != 0)
            continue;
        const char **slot = (const char **)((char *)head + header_names[i].offset);
        if (*slot && !header_names[i].many)
            head->repeated = header_names[i].name;
        *slot = value ? value : "";
    }
    return MHD_YES;
}

/* "localhost:8642", "127.0.0.1": another name means that a page of elsewhere had its name point here. */
static bool is_our_host(const struct http *h, const char *host)
{
    for (size_t i = 0; i < sizeof h->hosts / sizeof *h->hosts; i++) {
        size_t len = strlen(h->hosts[i]);
        if (!len || strncasecmp(host, h->hosts[i], len) != 0)
            continue;
        return !host[len] || (host[len] == ':' && strcmp(host + len + 1, h->port) == 0);
    }
    return false;
}

void head_read(struct MHD_Connection *connection, struct head *out)
{
    memset(out, 0, sizeof *out);
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, take_header, out);
}

/* RFC 9112, 3.2.2: a server must take "http://localhost:8642/metrics" as well, and then goes by that host. The bytes of
 * the scheme make room for its end. */
char *head_take_host(struct head *head, char *target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t len = strlen(schemes[i]);
        if (strncasecmp(target, schemes[i], len) != 0)
            continue;
        char *host = target + len - 1, *path = strpbrk(target + len, "/?#");
        if (!path || *path != '/')
            break; /* no path of ours */
        memmove(host, host + 1, (size_t)(path - host - 1));
        path[-1] = '\0';
        head->authority = host;
        return path;
    }
    return target;
}

int head_check(const struct listener *l, const struct head *head, const char *version, struct error *err)
{
    if (head->unsound)
        return error_set(err, MOAT_E_BAD_REQUEST, "a header's name or value is none that HTTP knows");
    if (head->repeated)
        return error_set(err, MOAT_E_BAD_REQUEST, "the header %s came twice", head->repeated);
    if (head->transfer && !sound_coding(head->transfer))
        return error_set(err, MOAT_E_BAD_REQUEST, "Transfer-Encoding is not `chunked`");
    if (head->transfer && head->content_length)
        return error_set(err, MOAT_E_BAD_REQUEST, "Content-Length and Transfer-Encoding came together");
    if (!head->host && strcmp(version, "HTTP/1.1") == 0)
        return error_set(err, MOAT_E_BAD_REQUEST, "the Host header is missing");
    const char *host = head->authority ? head->authority : head->host;
    if (!l->is_unix && l->http->loopback && host && !is_our_host(l->http, host))
        return error_set(err, MOAT_E_FORBIDDEN, "the host that is asked for is not this server");
    return 0;
}
