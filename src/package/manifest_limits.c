/* The limits that a manifest asks for. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/text.h"
#include "package/manifest_internal.h"

#define MIB (1024ull * 1024)
#define TIB (1024ull * 1024 * MIB)

static int read_size(struct reader *r, json_t *limits, const char *name, const char *pointer, uint64_t least,
                     uint64_t *out)
{
    const char *text = json_string_value(json_object_get(limits, name));
    if (!text)
        return 0;
    if (!text_parse_size(text, out) || *out < least || *out > TIB)
        return reader_refuse(r, pointer, "\"%s\" is not a size from %" PRIu64 " bytes to 1024GiB, such as \"64MiB\"",
                             text, least);
    return 0;
}

static void read_count(json_t *limits, const char *name, uint32_t *out)
{
    json_t *value = json_object_get(limits, name); /* its range is the schema's business */
    if (value)
        *out = (uint32_t)json_number_value(value);
}

static int read_span(struct reader *r, json_t *limits, const char *name, const char *pointer, uint64_t *out)
{
    const char *text = json_string_value(json_object_get(limits, name));
    if (text && (!clock_parse_span(text, out) || *out < NS_PER_MS || *out > 24 * 3600 * NS_PER_S))
        return reader_refuse(r, pointer, "\"%s\" is not a time from 1ms to 24h, such as \"2s\"", text);
    return 0;
}

static bool starts_programs(const struct manifest *m)
{
    const struct manifest_ask *ask = manifest_ask_of(m, PERMISSION_EXECUTE_CODE);
    return ask && ask->nscopes;
}

int manifest_read_limits(struct reader *r)
{
    struct manifest_limits *l = &r->m->limits;
    json_t *limits = json_object_get(r->holder->root, "limits");
    *l = (struct manifest_limits){
        .memory = 256 * MIB, .tmp = 16 * MIB, .file_size = 64 * MIB, .processes = 1, .workers = 1, .descriptors = 64};
    int rc = read_size(r, limits, "memory", "/limits/memory", MIB, &l->memory);
    if (rc == 0)
        rc = read_size(r, limits, "tmp", "/limits/tmp", 4096, &l->tmp);
    if (rc == 0)
        rc = read_size(r, limits, "file_size", "/limits/file_size", 4096, &l->file_size);
    if (rc == 0)
        rc = read_span(r, limits, "deadline", "/limits/deadline", &l->deadline_ns);
    if (rc == 0)
        rc = read_span(r, limits, "cpu", "/limits/cpu", &l->cpu_ns);
    if (rc)
        return rc;
    read_count(limits, "processes", &l->processes);
    read_count(limits, "workers", &l->workers);
    read_count(limits, "descriptors", &l->descriptors);
    if (starts_programs(r->m) && l->processes < 2)
        return reader_refuse(r, "/limits/processes",
                             "a program is a process beside the worker: \"processes\" must be at least 2");
    return 0;
}
