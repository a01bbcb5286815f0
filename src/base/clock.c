#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct unit {
    const char *name;
    uint64_t ns;
} units[] = {
    {"d", 86400 * NS_PER_S}, {"h", 3600 * NS_PER_S}, {"m", 60 * NS_PER_S}, {"s", NS_PER_S}, {"ms", NS_PER_MS},
};

uint64_t clock_wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void clock_rfc3339(uint64_t wall_ns, char out[CLOCK_RFC3339_MAX])
{
    time_t seconds = (time_t)(wall_ns / NS_PER_S);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    size_t n = strftime(out, CLOCK_RFC3339_MAX, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out + n, CLOCK_RFC3339_MAX - n, ".%03uZ", (unsigned)(wall_ns % NS_PER_S / NS_PER_MS));
}

bool clock_parse_span(const char *text, uint64_t *ns)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        if (n > CLOCK_SPAN_MAX / units[i].ns)
            return false;
        *ns = n * units[i].ns;
        return true;
    }
    return false;
}

void clock_format_span(uint64_t ns, char out[32])
{
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (ns >= units[i].ns && ns % units[i].ns == 0) {
            snprintf(out, 32, "%llu%s", (unsigned long long)(ns / units[i].ns), units[i].name);
            return;
        }
    }
    snprintf(out, 32, "%llums", (unsigned long long)(ns / NS_PER_MS));
}
