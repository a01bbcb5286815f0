#include "sandbox/wall.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"
#include "sandbox/idmap.h"
#include "sandbox/messages.h"

/* Which message of the worker is due; struct child's `phase`. */
enum phase { PHASE_HALF, PHASE_WAITING, PHASE_BUILT, PHASE_CHECKED, PHASE_READY, PHASE_RUNNING, PHASE_OVER };

static int shorter_first(const void *a, const void *b)
{
    const struct wall_grant *const *x = a, *const *y = b;
    size_t m = strlen((*x)->path), n = strlen((*y)->path);
    return m < n ? -1 : m > n;
}

static int send_failed(struct error *err)
{
    return error_errno(err, MOAT_E_START_FAILED, errno, "cannot send the assignment");
}

static void fill_grant(struct order_grant *order, enum order_kind kind, const struct wall_grant *g)
{
    memset(order, 0, sizeof *order);
    order->version = MESSAGE_VERSION;
    order->kind = kind;
    order->dev = g->dev;
    order->ino = g->ino;
    order->writable = g->writable;
    order->directory = g->directory;
    snprintf(order->path, sizeof order->path, "%s", g->path);
}

static int send_grant(const struct child *worker, const struct wall_grant *g, int mount, struct error *err)
{
    struct order_grant order;
    fill_grant(&order, ORDER_GRANT, g);
    return io_send(worker->control, &order, sizeof order, &mount, mount >= 0 ? 1 : 0) ? 0 : send_failed(err);
}

static int send_program(const struct child *worker, const struct wall_request *r, const struct wall_program *p,
                        int mount, struct error *err)
{
    struct order_program order;
    memset(&order, 0, sizeof order);
    fill_grant(&order.file, ORDER_PROGRAM, &p->file);
    order.shipped = p->shipped;
    order.offset = p->offset;
    order.size = p->size;
    snprintf(order.place, sizeof order.place, "%s", wall_program_mount(r, p));
    return io_send(worker->control, &order, sizeof order, &mount, mount >= 0 ? 1 : 0) ? 0 : send_failed(err);
}

int wall_channel(struct child *worker, int h2w, int w2h, int bell, struct error *err)
{
    struct order_channel order = {.version = MESSAGE_VERSION, .kind = ORDER_CHANNEL};
    const int fds[3] = {h2w, w2h, bell};
    worker->channel = io_send(worker->control, &order, sizeof order, fds, 3);
    /* One that is gone already is no failure of this: what became of it stands in its status, or comes there. */
    return worker->channel || errno == EPIPE || errno == ECONNRESET ? 0 : send_failed(err);
}

static int send_assign(struct child *worker, const struct wall_request *r, struct error *err)
{
    struct order_assign order;
    memset(&order, 0, sizeof order);
    order.version = MESSAGE_VERSION;
    order.kind = ORDER_ASSIGN;
    order.execute_code = r->execute_code;
    order.accepted = r->accepted;
    order.libraries = r->libraries;
    order.ngrants = (uint32_t)r->ngrants;
    order.nprograms = worker->fallback ? 0 : (uint32_t)r->nprograms; /* the fallback wall starts none */
    order.ncode = (uint32_t)r->ncode;
    order.nassets = r->assets > 0;
    order.nseats = r->seats > 0;
    order.nnet = r->net > 0;
    order.limits = limits_filled(&r->limits, false);
    int fds[1 + WALL_CODE_MAX + 3] = {r->start};
    size_t n = 1 + r->ncode;
    memcpy(fds + 1, r->code, r->ncode * sizeof *fds);
    if (order.nassets)
        fds[n++] = r->assets;
    if (order.nseats)
        fds[n++] = r->seats;
    if (order.nnet)
        fds[n++] = r->net;
    if (io_send(worker->control, &order, sizeof order, fds, n))
        return 0;
    worker->gone = errno == EPIPE || errno == ECONNRESET;
    return send_failed(err);
}

#define MOUNTS_MAX (WALL_GRANTS_MAX + WALL_PROGRAMS_MAX)

/* mounts[i] is the host's own, or -1: of the grants, then of the programs. */
static int make_mounts(const struct child *worker, const struct wall_grant *const *grants, const struct wall_request *r,
                       int mounts[MOUNTS_MAX], struct error *err)
{
    struct idmap map = IDMAP_INIT(worker->uid, worker->gid);
    int e = 0, *program = mounts + r->ngrants;
    for (size_t i = 0; i < MOUNTS_MAX; i++)
        mounts[i] = -1;
    for (size_t i = 0; i < r->ngrants && !e && !worker->fallback; i++)
        e = idmap_mount(&map, grants[i], false, &mounts[i], err);
    for (size_t i = 0; i < r->nprograms && !e && !worker->fallback; i++)
        if (!r->programs[i].shipped)
            e = idmap_mount(&map, &r->programs[i].file, true, &program[i], err);
    idmap_clear(&map);
    return e;
}

static int send_places(const struct child *worker, const struct wall_grant *const *grants, const struct wall_request *r,
                       const int *mounts, struct error *err)
{
    int e = 0;
    for (size_t i = 0; i < r->ngrants && !e; i++)
        e = send_grant(worker, grants[i], mounts[i], err);
    for (size_t i = 0; i < r->nprograms && !e && !worker->fallback; i++)
        e = send_program(worker, r, &r->programs[i], mounts[r->ngrants + i], err);
    return e;
}

int wall_assign(struct child *worker, const struct wall_request *request, struct error *err)
{
    const struct wall_grant *sorted[WALL_GRANTS_MAX];
    if (request->ngrants > WALL_GRANTS_MAX || request->ncode > WALL_CODE_MAX || request->nprograms > WALL_PROGRAMS_MAX)
        return error_set(err, MOAT_E_LIMIT, "at most %d granted paths, %d code files and %d programs", WALL_GRANTS_MAX,
                         WALL_CODE_MAX, WALL_PROGRAMS_MAX);
    worker->gone = worker->phase == PHASE_OVER; /* its socket's end was seen, how it ended was not told yet */
    if (worker->phase != PHASE_WAITING || worker->pid <= 0)
        return error_set(err, MOAT_E_INTERNAL, "the worker is not waiting for an assignment");
    for (size_t i = 0; i < request->ngrants; i++)
        sorted[i] = &request->grants[i];
    /* Parents before what lies in them, or they would cover it. */
    qsort(sorted, request->ngrants, sizeof *sorted, shorter_first);
    /* All mounts before the first message: the worker would wake up and compete for the processor. */
    int mounts[MOUNTS_MAX];
    int e = make_mounts(worker, sorted, request, mounts, err);
    if (!e && !worker->channel)
        e = wall_channel(worker, request->h2w, request->w2h, request->bell, err);
    if (!e)
        e = send_assign(worker, request, err);
    if (!e)
        e = send_places(worker, sorted, request, mounts, err);
    for (size_t i = 0; i < MOUNTS_MAX; i++)
        io_close(&mounts[i]);
    if (!e)
        worker->phase = PHASE_BUILT;
    return e;
}

/* The worker's words reach terminals and logs. */
static void copy_line(char *out, size_t size, const char *text, size_t max)
{
    text_plain(out, size, text, strnlen(text, max));
}

static void protocol(struct child *worker, struct wall_event *out, const char *why)
{
    worker->phase = PHASE_OVER;
    out->kind = WALL_FAILED;
    snprintf(out->step, sizeof out->step, "protocol");
    snprintf(out->message, sizeof out->message, "%s", why);
}

static void take_failed(struct child *worker, const struct report *r, struct wall_event *out)
{
    worker->phase = PHASE_OVER;
    out->kind = WALL_FAILED;
    out->errnum = r->errnum;
    copy_line(out->step, sizeof out->step, r->step, sizeof r->step);
    copy_line(out->message, sizeof out->message, r->message, sizeof r->message);
}

/* What may come when, and what follows. A failure may come at any time before the end. */
static const struct turn {
    uint32_t report;
    enum phase due, next;
    enum wall_event_kind kind;
} turns[] = {
    {WALL_HALF, PHASE_HALF, PHASE_WAITING, WALL_HALF},
    {REPORT_LISTENER, PHASE_BUILT, PHASE_BUILT, WALL_NOTHING},
    {WALL_BUILT, PHASE_BUILT, PHASE_CHECKED, WALL_BUILT},
    {WALL_READY, PHASE_READY, PHASE_RUNNING, WALL_READY},
};

static void take_report(struct child *worker, const struct report *r, int *fd, struct wall_event *out)
{
    if (r->version != MESSAGE_VERSION) {
        protocol(worker, out, "the worker's executable is of another version");
        return;
    }
    if (r->kind == WALL_FAILED && worker->phase != PHASE_OVER && *fd < 0) {
        take_failed(worker, r, out);
        return;
    }
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        const struct turn *t = &turns[i];
        if (t->report != r->kind || t->due != worker->phase || (r->kind == REPORT_LISTENER) != (*fd >= 0))
            continue;
        if (r->kind == REPORT_LISTENER && worker->listener >= 0)
            break;
        worker->phase = t->next;
        out->kind = t->kind;
        if (r->kind == REPORT_LISTENER)
            worker->listener = io_steal(fd);
        if (r->kind == WALL_BUILT) {
            out->self = (r->self & ~WALL_BIT(NOTIFY)) | (worker->listener >= 0 ? WALL_BIT(NOTIFY) : 0);
            out->listener = io_steal(&worker->listener);
        }
        return;
    }
    protocol(worker, out, "a message that was not due");
}

/* One message; false when there is none. */
static bool receive(struct child *worker, struct wall_event *out)
{
    struct report r;
    fd_auto fd = -1;
    size_t n = 1;
    ssize_t got = io_recv(worker->control, &r, sizeof r, &fd, &n);
    /* It ended with an order of ours unread.  That is told once, and before what it had said itself. */
    if (got < 0 && errno == ECONNRESET) {
        n = 1;
        got = io_recv(worker->control, &r, sizeof r, &fd, &n);
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (got == 0 || (got < 0 && errno == ECONNRESET)) {
        worker->phase = PHASE_OVER;
        out->kind = WALL_GONE;
    } else if (got != (ssize_t)sizeof r) {
        protocol(worker, out, "a malformed message");
    } else {
        take_report(worker, &r, &fd, out);
    }
    return true;
}

void wall_next(struct child *worker, struct wall_event *out)
{
    memset(out, 0, sizeof *out);
    out->listener = -1;
    /* The listener is kept for the message that follows it. */
    while (worker->control >= 0 && out->kind == WALL_NOTHING && receive(worker, out))
        ;
}

bool wall_go(struct child *worker)
{
    struct order_go go = {.version = MESSAGE_VERSION, .kind = ORDER_GO};
    if (worker->phase != PHASE_CHECKED || !io_send(worker->control, &go, sizeof go, NULL, 0))
        return false;
    worker->phase = PHASE_READY;
    return true;
}
