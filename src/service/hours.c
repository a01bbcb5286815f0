#include "service/hours.h"

#include <stdlib.h>

#include "base/clock.h"

#define NS_PER_HOUR (3600 * NS_PER_S)

struct taking {
    struct hours *hours;
    uint64_t most;
};

/* Hours of which nothing is recorded are zeros; the hour that goes on is left out. */
static bool put(struct hours *h, uint64_t hour, uint64_t n)
{
    if (hour > h->last)
        return false;
    if (!h->first)
        h->first = hour;
    h->series[hour - h->first] = (double)n;
    return true;
}

static bool put_calls(void *context, uint64_t hour, uint64_t calls, uint64_t errors)
{
    (void)errors;
    return put(context, hour, calls);
}

static bool put_starts(void *context, uint64_t hour, const struct registry_starts *starts)
{
    struct taking *t = context;
    return put(t->hours, hour, starts->most < t->most ? starts->most : t->most);
}

static int begin(struct hours *h, uint64_t now_ns, struct error *err)
{
    *h = (struct hours){.series = calloc(REGISTRY_HOURS, sizeof *h->series), .last = now_ns / NS_PER_HOUR - 1};
    return h->series ? 0 : error_set(err, MOAT_E_OUT_OF_MEMORY, "no memory for the hours of the past");
}

static uint64_t since(const struct hours *h)
{
    return h->last - REGISTRY_HOURS + 1;
}

static int end(struct hours *h, int rc)
{
    h->n = h->first ? h->last - h->first + 1 : 0;
    return rc < 0 ? rc : 0;
}

int hours_of_calls(struct registry_reader *reader, const char *name_or_null, uint64_t now_ns, struct hours *out,
                   struct error *err)
{
    int rc = begin(out, now_ns, err);
    return end(out, rc < 0 ? rc : registry_each_hour(reader, name_or_null, since(out), put_calls, out, err));
}

int hours_of_starts(struct registry_reader *reader, uint64_t most, uint64_t now_ns, struct hours *out,
                    struct error *err)
{
    struct taking t = {out, most};
    int rc = begin(out, now_ns, err);
    return end(out, rc < 0 ? rc : registry_each_start(reader, since(out), put_starts, &t, err));
}
