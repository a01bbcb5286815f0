#include "loader/start.h"

#include <fcntl.h>
#include <string.h>

#include "base/io.h"
#include "loader/internal.h"
#include "wire/start.h"

static bool has_defaults(const struct generation *g)
{
    const char *defaults = g->spec->manifest->config_defaults;
    return g->told->config && defaults && strcmp(g->told->config, defaults) == 0;
}

static const struct kept_start *find(const struct kept_starts *s, const struct manifest *m)
{
    for (size_t i = 0; i < KEPT_STARTS; i++)
        if (s->list[i].manifest == m)
            return &s->list[i];
    return NULL;
}

static void drop(struct kept_start *k)
{
    if (!k->manifest)
        return;
    manifest_unref(k->manifest);
    io_close(&k->fd);
    *k = (struct kept_start){0};
}

/* The place that is free, or was taken longest ago. */
static void keep(struct kept_starts *s, struct manifest *m, int fd)
{
    struct kept_start *k = &s->list[s->next++ % KEPT_STARTS];
    drop(k);
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy >= 0)
        *k = (struct kept_start){.manifest = manifest_ref(m), .fd = copy};
}

void starts_drop(struct kept_starts *s)
{
    for (size_t i = 0; i < KEPT_STARTS; i++)
        drop(&s->list[i]);
}

static int write_file(struct generation *g, struct error *err)
{
    const struct manifest *m = g->spec->manifest;
    struct start s = {.plugin = m->name,
                      .version = m->version,
                      .nactions = m->nactions,
                      .config = g->told->config ? g->told->config : "{}",
                      .config_len = g->told->config ? g->told->config_len : 2,
                      .payload_max = g->plugin->l->config.payload_max};
    if (m->nactions > START_ACTIONS_MAX)
        return error_set(err, MOAT_E_LIMIT, "%s has %zu actions; at most %d can be run", m->name, m->nactions,
                         START_ACTIONS_MAX);
    for (size_t i = 0; i < m->nactions; i++)
        s.actions[i] = m->actions[i].name;
    return start_write(&s, &g->start_fd, err);
}

int start_file(struct generation *g, struct error *err)
{
    struct kept_starts *all = &g->plugin->l->kept_starts;
    struct manifest *m = g->spec->manifest;
    if (g->start_fd >= 0)
        return 0;
    bool may_keep = has_defaults(g);
    const struct kept_start *kept = may_keep ? find(all, m) : NULL;
    if (kept && (g->start_fd = fcntl(kept->fd, F_DUPFD_CLOEXEC, 3)) >= 0)
        return 0;
    int rc = write_file(g, err);
    if (rc == 0 && may_keep && !kept)
        keep(all, m, g->start_fd);
    return rc;
}
