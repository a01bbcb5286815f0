/* system_access: the machine's public facts.  What changes while the host runs is asked of the kernel by a call that
 * does not wait; the rest was read when the broker was made. */
#include "broker/fact.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "broker/ask.h"

#define ANSWER_MAX 4096
#define FACT_NAME_MAX 32

/* ---- what is read once ---- */

/* The value of the first "model name : …" line. */
static void read_model(char out[FACTS_TEXT_MAX])
{
    buf_auto text = BUF_INIT(4 << 20);
    if (io_read_file("/proc/cpuinfo", &text, NULL) < 0)
        return;
    const char *line = strstr(buf_text(&text), "model name"), *value = line ? strchr(line, ':') : NULL;
    if (!value)
        return;
    value++;
    value += strspn(value, " \t");
    text_plain(out, FACTS_TEXT_MAX, value, strcspn(value, "\n"));
}

/* "Europe/Berlin": what TZ says, else where /etc/localtime leads. */
static void read_zone(char out[FACTS_TEXT_MAX])
{
    char path[1024];
    const char *zone = getenv("TZ");
    if (!zone || !*zone) {
        ssize_t n = readlink("/etc/localtime", path, sizeof path - 1);
        path[n > 0 ? n : 0] = '\0';
        zone = strstr(path, "zoneinfo/");
        zone = zone ? zone + strlen("zoneinfo/") : "UTC";
    }
    text_plain(out, FACTS_TEXT_MAX, zone, strlen(zone));
}

void facts_read(struct facts *out)
{
    struct sysinfo info = {0};
    *out = (struct facts){0};
    sysinfo(&info);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    out->cpus = cpus > 0 ? (uint64_t)cpus : 1;
    out->memory = (uint64_t)info.totalram * info.mem_unit;
    read_model(out->model);
    read_zone(out->zone);
}

/* ---- the table ---- */

static void put_name(struct buf *out, const struct facts *f)
{
    struct utsname u = {0};
    uname(&u);
    text_json_string(out, u.nodename);
}

static void put_os(struct buf *out, const struct facts *f)
{
    struct utsname u = {0};
    uname(&u);
    text_json_string(out, u.sysname);
}

static void put_kernel(struct buf *out, const struct facts *f)
{
    struct utsname u = {0};
    uname(&u);
    text_json_string(out, u.release);
}

static void put_machine(struct buf *out, const struct facts *f)
{
    struct utsname u = {0};
    uname(&u);
    text_json_string(out, u.machine);
}

static void put_cpus(struct buf *out, const struct facts *f)
{
    buf_printf(out, "%llu", (unsigned long long)f->cpus);
}

static void put_model(struct buf *out, const struct facts *f)
{
    text_json_string(out, f->model);
}

static void put_memory(struct buf *out, const struct facts *f)
{
    buf_printf(out, "%llu", (unsigned long long)f->memory);
}

/* Whole minutes: finer, it would be a clock that two plugins can compare. */
static void put_uptime(struct buf *out, const struct facts *f)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_BOOTTIME, &t);
    buf_printf(out, "%llu", (unsigned long long)t.tv_sec / 60 * 60);
}

static void put_zone(struct buf *out, const struct facts *f)
{
    text_json_string(out, f->zone);
}

static const struct {
    const char *name;
    void (*put)(struct buf *out, const struct facts *f);
} table[] = {
    {"cpu_count", put_cpus},      {"cpu_model", put_model}, {"host_name", put_name},
    {"kernel", put_kernel},       {"machine", put_machine}, {"memory_total", put_memory},
    {"operating_system", put_os}, {"time_zone", put_zone},  {"uptime", put_uptime},
};
#define FACTS (sizeof table / sizeof *table)

static void put_all(struct buf *out, const struct facts *f)
{
    for (size_t i = 0; i < FACTS; i++) {
        buf_printf(out, "%c\"%s\":", i ? ',' : '{', table[i].name);
        table[i].put(out, f);
    }
    buf_putc(out, '}');
}

static bool put_fact(struct buf *out, const char *name, const struct facts *f)
{
    for (size_t i = 0; i < FACTS; i++)
        if (strcmp(table[i].name, name) == 0) {
            table[i].put(out, f);
            return true;
        }
    return false;
}

/* ---- the service ---- */

/* A name, or nothing for all of them. */
bool fact_object(const struct question *ask, char object[POLICY_SCOPE_MAX])
{
    const char *name = (const char *)ask->bytes;
    if (strlen(name) != ask->len || (ask->len && !text_is_name(name, FACT_NAME_MAX)))
        return false;
    return text_copy(object, POLICY_SCOPE_MAX, name);
}

static void no_such_fact(const struct asking *a, const char *name)
{
    struct error err;
    char names[300] = "";
    for (size_t i = 0; i < FACTS; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "", table[i].name);
    error_set(&err, MOAT_E_NOT_FOUND, "\"%.32s\" is no fact that is told; there are: %s", name, names);
    ask_fail(a->ask, &err);
}

void fact_answer(const struct asking *a, const char *name)
{
    buf_auto out = BUF_INIT(ANSWER_MAX);
    const struct facts *f = broker_facts(a->broker);
    if (!*name)
        put_all(&out, f);
    else if (!put_fact(&out, name, f)) {
        no_such_fact(a, name);
        return;
    }
    if (out.failed) {
        struct error err;
        error_set(&err, MOAT_E_OUT_OF_MEMORY, "no memory for the answer");
        ask_fail(a->ask, &err);
        return;
    }
    ask_done(a->ask, out.data, out.len);
}
