#include "http_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define HEAD_MAX 2048

struct client {
    int fd;
    gnutls_session_t session; /* NULL: none */
    size_t sent;
    char head[HEAD_MAX];
    size_t got;     /* of the head, until it is whole */
    size_t left;    /* of the body */
    bool whole;     /* the head is */
    uint64_t begun; /* 0: nothing is under way */
};

struct load {
    const char *request;
    size_t len;
    enum load_how how;
    int epoll;
    unsigned n, port;
    gnutls_certificate_credentials_t anyone;
    struct samples *latencies;
    size_t answers;
    unsigned busy; /* clients with a request under way */
    bool ending;   /* nothing more is sent */
    struct client clients[];
};

static ssize_t put(struct client *c, const void *bytes, size_t len)
{
    ssize_t n = c->session ? gnutls_record_send(c->session, bytes, len) : send(c->fd, bytes, len, MSG_NOSIGNAL);
    return n == GNUTLS_E_AGAIN || (n < 0 && errno == EAGAIN) ? 0 : n;
}

/* -1: nothing is there. */
static ssize_t take(struct client *c, void *bytes, size_t len)
{
    ssize_t n = c->session ? gnutls_record_recv(c->session, bytes, len) : recv(c->fd, bytes, len, 0);
    if (n == 0 || (n < 0 && c->session && n != GNUTLS_E_AGAIN) || (n < 0 && !c->session && errno != EAGAIN))
        bench_die("the server ended a connection");
    return n < 0 ? -1 : n;
}

static void send_more(struct load *l, struct client *c)
{
    while (c->sent < l->len) {
        ssize_t n = put(c, l->request + c->sent, l->len - c->sent);
        if (n < 0)
            bench_die("cannot send: %s", strerror(errno));
        if (n == 0)
            return;
        c->sent += (size_t)n;
    }
}

static void dial(struct load *l, struct client *c);

static void begin(struct load *l, struct client *c)
{
    if (c->fd < 0)
        dial(l, c);
    l->busy++;
    c->sent = c->got = 0;
    c->whole = false;
    c->begun = clock_mono_ns();
    send_more(l, c);
}

/* The head may bring the first bytes of the body along. */
static void read_head(struct client *c)
{
    c->head[c->got] = '\0';
    char *end = strstr(c->head, "\r\n\r\n"), *length = strcasestr(c->head, "\r\ncontent-length:");
    if (!end) {
        if (c->got == HEAD_MAX - 1)
            bench_die("an answer's head is too long");
        return;
    }
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0 || !length)
        bench_die("a bad answer: %.100s", c->head);
    size_t body = strtoul(length + 17, NULL, 10), come = c->got - (size_t)(end + 4 - c->head);
    c->whole = true;
    c->left = body - come;
}

/* Counts the answer, and sends the next request unless the block is over. */
static void answered(struct load *l, struct client *c)
{
    l->answers++;
    l->busy--;
    if (l->latencies)
        samples_add(l->latencies, (double)(clock_mono_ns() - c->begun));
    c->begun = 0;
    if (l->how == LOAD_CLOSED) {
        close(c->fd);
        c->fd = -1;
    }
    if (!l->ending)
        begin(l, c);
}

static void receive(struct load *l, struct client *c)
{
    static char waste[256 * 1024];
    for (;;) {
        ssize_t n = c->whole ? take(c, waste, c->left < sizeof waste ? c->left : sizeof waste)
                             : take(c, c->head + c->got, HEAD_MAX - 1 - c->got);
        if (n < 0)
            return;
        if (c->whole) {
            c->left -= (size_t)n;
        } else {
            c->got += (size_t)n;
            read_head(c);
        }
        if (!c->whole || c->left)
            continue;
        answered(l, c);
        if (!c->session || !c->begun)
            return; /* one answer at a time: the next cannot be there yet */
    }
}

static void handshake(struct load *l, struct client *c)
{
    if (gnutls_init(&c->session, GNUTLS_CLIENT) < 0 || gnutls_set_default_priority(c->session) < 0 ||
        gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, l->anyone) < 0)
        bench_die("cannot use TLS");
    gnutls_transport_set_int(c->session, c->fd);
    int rc;
    do
        rc = gnutls_handshake(c->session);
    while (rc < 0 && !gnutls_error_is_fatal(rc));
    if (rc < 0)
        bench_die("the TLS handshake failed: %s", gnutls_strerror(rc));
}

static void dial(struct load *l, struct client *c)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port)};
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    int one = 1;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) < 0)
        bench_die("cannot connect: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (l->how == LOAD_TLS)
        handshake(l, c);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev);
}

struct load *load_new(unsigned port, enum load_how how, unsigned connections, const void *request, size_t len)
{
    struct load *l = calloc(1, sizeof *l + connections * sizeof *l->clients);
    if (!l)
        bench_die("out of memory");
    l->request = request;
    l->len = len;
    l->n = connections;
    l->port = port;
    l->how = how;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (how == LOAD_TLS)
        gnutls_certificate_allocate_credentials(&l->anyone);
    for (unsigned i = 0; i < connections; i++) {
        l->clients[i].fd = -1;
        if (how != LOAD_CLOSED)
            dial(l, &l->clients[i]);
    }
    return l;
}

static void wait_once(struct load *l, int ms)
{
    struct epoll_event events[64];
    int n = epoll_wait(l->epoll, events, 64, ms);
    if (n <= 0)
        bench_die("no answer within %d ms", ms);
    for (int i = 0; i < n; i++) {
        struct client *c = events[i].data.ptr;
        if (c->sent < l->len)
            send_more(l, c);
        if (events[i].events & EPOLLIN)
            receive(l, c);
    }
}

/* Sends on all that are idle, and lets what is under way at the end be answered, uncounted in the rate: else a slow
 * server would answer it in the other's block, and take its processor there. */
double load_run(struct load *l, unsigned ms, struct samples *latencies)
{
    uint64_t start = clock_mono_ns(), now = start, until = start + ms * NS_PER_MS;
    l->latencies = latencies;
    l->answers = 0;
    l->ending = false;
    for (unsigned i = 0; i < l->n; i++)
        if (!l->clients[i].begun)
            begin(l, &l->clients[i]);
    for (; now < until; now = clock_mono_ns())
        wait_once(l, 10000);
    double rate = (double)l->answers / (double)(now - start) * 1e9;
    l->ending = true;
    while (l->busy)
        wait_once(l, 10000);
    return rate;
}

void load_free(struct load *l)
{
    for (unsigned i = 0; i < l->n; i++) {
        if (l->clients[i].session)
            gnutls_deinit(l->clients[i].session);
        if (l->clients[i].fd >= 0)
            close(l->clients[i].fd);
    }
    if (l->anyone)
        gnutls_certificate_free_credentials(l->anyone);
    close(l->epoll);
    free(l);
}
