#include "sandbox/builder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

bool inside_report(int control, uint32_t kind, uint32_t self, int errnum, const char *step, const char *message, int fd)
{
    struct report r;
    memset(&r, 0, sizeof r);
    r.version = MESSAGE_VERSION;
    r.kind = kind;
    r.self = self;
    r.errnum = errnum;
    snprintf(r.step, sizeof r.step, "%s", step);
    snprintf(r.message, sizeof r.message, "%s", message);
    /* Without a descriptor write is enough, and it is all that the second filter leaves. */
    if (fd < 0)
        return write(control, &r, sizeof r) == (ssize_t)sizeof r;
    return io_send(control, &r, sizeof r, &fd, 1);
}

static bool run_steps(struct builder *b, const struct step *steps)
{
    for (const struct step *s = steps; s->name; s++) {
        int e = s->run(b);
        if (e) {
            inside_report(b->control, WALL_FAILED, 0, e, s->name, b->message, -1);
            return false;
        }
    }
    return true;
}

static bool receive_channel(struct builder *b)
{
    struct order_channel order;
    int fds[IO_FDS];
    size_t n = IO_FDS;
    if (io_recv(b->control, &order, sizeof order, fds, &n) != (ssize_t)sizeof order ||
        order.version != MESSAGE_VERSION || order.kind != ORDER_CHANNEL || n != 3)
        return false;
    b->out->h2w = fds[0];
    b->out->w2h = fds[1];
    b->out->bell = fds[2];
    return true;
}

/* To the number that the filter knows, or that number is free again. */
static bool place_net(struct builder *b, int fd)
{
    b->out->net = fd >= 0;
    if (fd < 0)
        return close(WORKER_NET) == 0;
    bool placed = dup3(fd, WORKER_NET, O_CLOEXEC) == WORKER_NET;
    close(fd);
    return placed;
}

/* The half-built wall waits here, in the pool. End of file: the host is gone. */
static bool receive_assignment(struct builder *b)
{
    int fds[IO_FDS];
    size_t n = IO_FDS;
    ssize_t got = io_recv(b->control, &b->order, sizeof b->order, fds, &n);
    if (got != (ssize_t)sizeof b->order || b->order.version != MESSAGE_VERSION || b->order.kind != ORDER_ASSIGN ||
        b->order.ngrants > WALL_GRANTS_MAX || b->order.ncode > WALL_CODE_MAX || b->order.nassets > 1 ||
        b->order.nseats > 1 || b->order.nnet > 1 || b->order.nprograms > WALL_PROGRAMS_MAX ||
        n != 1 + b->order.ncode + b->order.nassets + b->order.nseats + b->order.nnet)
        return false;
    b->out->start = fds[0];
    b->out->ncode = b->order.ncode;
    memcpy(b->out->code, fds + 1, b->order.ncode * sizeof *fds);
    b->out->assets = b->order.nassets ? fds[1 + b->order.ncode] : 0;
    b->out->seats = b->order.nseats ? fds[1 + b->order.ncode + b->order.nassets] : 0;
    return place_net(b, b->order.nnet ? fds[n - 1] : -1);
}

static bool receive_grants(struct builder *b)
{
    for (uint32_t i = 0; i < b->order.ngrants; i++) {
        struct order_grant *g = &b->grants[i];
        size_t n = 1;
        b->mounts[i] = -1;
        if (io_recv(b->control, g, sizeof *g, &b->mounts[i], &n) != (ssize_t)sizeof *g ||
            g->version != MESSAGE_VERSION || g->kind != ORDER_GRANT || g->path[0] != '/' ||
            !memchr(g->path, 0, sizeof g->path))
            return false;
    }
    return true;
}

bool inside_build(int control, bool fallback, void (*channel)(struct inside *in), struct inside *out)
{
    struct builder b;
    memset(&b, 0, sizeof b);
    memset(out, 0, sizeof *out);
    b.control = out->control = control;
    b.fallback = fallback;
    b.root = b.host = b.listener = out->tree = out->home = -1;
    b.out = out;
    if (!run_steps(&b, fallback ? inside_fallback_half_steps : inside_half_steps) ||
        !inside_report(control, WALL_HALF, 0, 0, "", "", -1))
        return false;
    bool given = receive_channel(&b);
    if (given)
        channel(out);
    if (!given || !receive_assignment(&b) || !receive_grants(&b) || !inside_receive_programs(&b)) {
        inside_report(control, WALL_FAILED, 0, EPROTO, "assignment", "", -1);
        return false;
    }
    bool built = run_steps(&b, fallback ? inside_fallback_full_steps : inside_full_steps);
    out->programs = b.order.nprograms > 0;
    free(b.programs);
    return built;
}

/* read, not recvmsg: the filter is in force. */
bool inside_wait(const struct inside *in)
{
    struct order_go go;
    ssize_t got;
    do
        got = read(in->control, &go, sizeof go);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof go && go.version == MESSAGE_VERSION && go.kind == ORDER_GO;
}

void inside_ready(const struct inside *in)
{
    inside_report(in->control, WALL_READY, 0, 0, "", "", -1);
}

void inside_failed(const struct inside *in, const char *step, const char *message)
{
    inside_report(in->control, WALL_FAILED, 0, 0, step, message, -1);
}

int inside_connection(void)
{
    char nothing;
    int fd = -1;
    size_t n = 1;
    ssize_t got = io_recv(WORKER_NET, &nothing, sizeof nothing, &fd, &n);
    if (got == 1 && n == 1)
        return fd;
    io_close(&fd);
    return -1;
}
