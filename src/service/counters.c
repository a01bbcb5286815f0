/* The counters that outlive this process: the loader tells, the registry keeps. */
#include <string.h>

#include "base/text.h"
#include "service/internal.h"
#include "service/tell.h"

void counters_tell(void *context, const struct loader_counts *counts)
{
    struct service *s = context;
    struct registry_count one = {.n = {.loads = counts->loads,
                                       .calls = counts->calls,
                                       .errors = counts->errors,
                                       .last_call_ms = counts->last_call_ns / NS_PER_MS}};
    if (text_copy(one.plugin, sizeof one.plugin, counts->plugin) &&
        text_copy(one.version, sizeof one.version, counts->version))
        registry_count(s->registry, &one);
}

static void collect_starts(struct service *s)
{
    struct registry_starts more;
    unsigned most;
    if (!loader_take_starts(s->loader, &more.starts, &most))
        return;
    more.most = most;
    registry_count_starts(s->registry, &more);
}

static bool collect(void *context)
{
    struct service *s = context;
    collect_starts(s);
    return loader_collect(s->loader, NULL);
}

void counters_stir(void *context)
{
    struct service *s = context;
    registry_gather_soon(s->registry);
    monitor_stir(s->monitor);
}

void counters_start(struct service *s)
{
    registry_gather_from(s->registry, collect, s);
}

void counters_stop(struct service *s)
{
    registry_gather_from(s->registry, NULL, NULL);
    if (s->loader)
        collect_starts(s);
    s->counters_over = true;
}

int counters_read(struct job *job, const char *name, const char *version, struct registry_counts *out,
                  struct error *err)
{
    loader_collect(job->s->loader, name);
    return registry_find_counts(job->reader, name, version, out, err);
}

void tell_counts(struct buf *out, const char *key, const struct registry_counts *n)
{
    tell_open(out, key, '{');
    tell_number(out, "installs", n->installs);
    tell_number(out, "downloads", n->downloads);
    tell_number(out, "loads", n->loads);
    tell_number(out, "calls", n->calls);
    tell_number(out, "errors", n->errors);
    tell_time(out, "last_call", n->last_call_ms * NS_PER_MS);
    tell_close(out, '}');
}
