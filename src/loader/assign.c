/* What a half-built worker gets: its end of a channel, made while its wall is built, and one day an assignment.
 * Everything here runs on the supervise thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/io.h"
#include "base/log.h"
#include "loader/internal.h"
#include "wire/seat.h"

int worker_prepare(struct worker *w, struct error *err)
{
    fd_auto h2w = -1, w2h = -1, bell = -1;
    int rc = channel_new(w->l->config.payload_max, &w->lane.ch, &h2w, &w2h, &bell, err);
    return rc ? rc : wall_channel(&w->child, h2w, w2h, bell, err);
}

static int free_slot(struct plugin *p, struct error *err)
{
    uint64_t free_ones = ~p->slots_used;
    if (!free_ones)
        return error_set(err, MOAT_E_LIMIT, "%s has %d workers that have not ended yet", p->name, PLUGIN_SLOTS);
    return __builtin_ctzll(free_ones);
}

/* All that it has in memory, of which RLIMIT_DATA sees the largest part: its files in /tmp, code and tables as well. */
#define GROUP_EXTRA (64ull << 20)

/* A bound more: the limits inside hold without it, so a failure is told and not the end of the start. */
static void group(struct worker *w, const struct manifest_limits *limits)
{
    struct loader *l = w->l;
    struct cgroup_limits most = {.memory = limits->memory + limits->tmp + GROUP_EXTRA, .processes = limits->processes};
    for (size_t i = 0; i < w->request.nprograms; i++)
        most.memory += w->request.programs[i].size; /* a copy of what is shipped */
    if (l->cgroups && !cgroup_make(l->cgroups, &most, w->child.pid, &w->cgroup))
        log_event(LOG_WARN, "cgroup_failed", "why", strerror(errno), "#pid", log_num(w->child.pid), NULL);
}

static int room_to_count(struct worker *w, const struct manifest *m, struct error *err)
{
    w->acts = calloc(m->nactions ? m->nactions : 1, sizeof *w->acts);
    if (!w->acts)
        return error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for a worker of %s", m->name);
    w->nacts = m->nactions;
    return 0;
}

/* Where it may come to query data sources: grants of them change while it lives. */
static int seats(struct worker *w, const struct manifest *m, struct error *err)
{
    bool asks = false;
    for (size_t i = 0; i < m->nasks; i++)
        asks |= m->asks[i].permission == PERMISSION_DATABASE_READ || m->asks[i].permission == PERMISSION_DATABASE_WRITE;
    w->number = ++w->l->numbers;
    if (!asks)
        return 0;
    w->seats = seat_file();
    return w->seats >= 0
               ? 0
               : error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot make the memory for queries of %s", m->name);
}

/* Over which it is handed its connections; our end never waits. */
static int net_pair(struct worker *w, int *theirs, struct error *err)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_errno(err, MOAT_E_OUT_OF_MEMORY, errno, "cannot make the socket for a worker's connections");
    fcntl(ends[0], F_SETFL, fcntl(ends[0], F_GETFL) | O_NONBLOCK);
    w->net = ends[0];
    *theirs = ends[1];
    return 0;
}

int worker_assign(struct worker *w, struct generation *g, struct error *err)
{
    struct plugin *p = g->plugin;
    const struct spec *s = g->spec;
    int slot = free_slot(p, err), rc = slot < 0 ? slot : start_file(g, err);
    rc = rc ? rc : room_to_count(w, s->manifest, err);
    rc = rc ? rc : seats(w, s->manifest, err);
    fd_auto net = -1;
    if (rc == 0 && s->network)
        rc = net_pair(w, &net, err);
    if (rc)
        return rc;
    const struct manifest_limits *limits = &g->limits;
    w->request = (struct wall_request){.grants = s->grants,
                                       .ngrants = s->ngrants,
                                       .programs = s->programs,
                                       .nprograms = s->nprograms,
                                       .execute_code = s->execute_code,
                                       .accepted = p->l->config.accepted_layers,
                                       .libraries = s->libraries,
                                       .limits = {.memory = limits->memory,
                                                  .tmp = limits->tmp,
                                                  .file_size = limits->file_size,
                                                  .processes = limits->processes,
                                                  .descriptors = limits->descriptors},
                                       .start = g->start_fd,
                                       .ncode = s->ncode,
                                       .assets = s->assets,
                                       .seats = w->seats > 0 ? w->seats : 0,
                                       .net = net < 0 ? 0 : net};
    memcpy(w->request.code, s->code, s->ncode * sizeof *s->code);
    group(w, limits);
    rc = wall_assign(&w->child, &w->request, err);
    if (rc)
        return rc;
    w->plugin = p;
    w->gen = generation_ref(g);
    w->slot = (unsigned)slot;
    w->birth = ++p->births;
    p->slots_used |= 1ull << slot;
    w->next = p->living;
    p->living = w;
    w->state = WORKER_ASSIGNED;
    p->l->assigned++;
    p->l->living++;
    supervise_tick(p->l);
    loop_timer_set(p->l->supervise, &w->timer, clock_mono_ns() + START_TIMEOUT_NS);
    return 0;
}
