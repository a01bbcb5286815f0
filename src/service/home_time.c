#include "service/home_time.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/io.h"

uint64_t home_time_boot_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

void home_time_begin(const struct registry_home_time *stored, const char *boot, uint64_t boot_ns, uint64_t wall_ns,
                     struct home_time *out)
{
    *out = (struct home_time){.boot_ns = boot_ns, .time_ns = wall_ns};
    snprintf(out->boot, sizeof out->boot, "%s", boot);
    if (!stored)
        return;
    /* Without a name for the boot nobody knows that it is the same; a boot's clock that went back is another's. */
    if (*boot && strcmp(stored->boot, boot) == 0 && stored->boot_ns <= boot_ns)
        out->time_ns = stored->time_ns + (boot_ns - stored->boot_ns);
    else if (stored->time_ns > wall_ns)
        out->time_ns = stored->time_ns;
}

uint64_t home_time_at(const struct home_time *t, uint64_t boot_ns)
{
    return t->time_ns + (boot_ns > t->boot_ns ? boot_ns - t->boot_ns : 0);
}

uint64_t home_time_boot(const struct home_time *t, uint64_t time_ns)
{
    return t->boot_ns + (time_ns > t->time_ns ? time_ns - t->time_ns : 0);
}

void home_time_boot_name(char out[40])
{
    buf_auto text = BUF_INIT(64);
    struct error unsaid;
    out[0] = '\0';
    if (io_read_file("/proc/sys/kernel/random/boot_id", &text, &unsaid) == 0)
        snprintf(out, 40, "%.36s", buf_text(&text));
    out[strcspn(out, "\n")] = '\0';
}
