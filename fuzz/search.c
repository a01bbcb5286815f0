/* Any text is a search: words, never an expression of the database's. It finds something or nothing, the same each
 * time, and each plugin once. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/registry/sample.h"

#define NAMES_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct place place;
static struct registry *registry;
static struct registry_reader *reader;

static void end(void)
{
    registry_reader_free(reader);
    registry_close(registry);
    place_remove(&place);
}

static void begin(void)
{
    static const char *const names[] = {"data_processor", "data_viewer", "processor", "weather", "agent_skill"};
    struct error err;
    place_make(&place);
    if (place_open(&place, &registry, &err) < 0 || sample_trust(registry, "acme", 1, &err) < 0)
        abort();
    for (uint8_t i = 0; i < 5; i++) {
        struct sample_install in = {.name = names[i], .version = "1.0.0", .key = 1, .bytes = i};
        if (sample_install(registry, &in, &err) < 0)
            abort();
    }
    if (registry_reader_new(registry, &reader, &err) < 0)
        abort();
    atexit(end);
}

static bool note(void *context, const struct registry_plugin *p, const struct registry_version *v, const char *manifest,
                 size_t manifest_len)
{
    char *names = context;
    if (strstr(names, p->name) && strcmp(p->name, "processor") != 0)
        abort();
    size_t used = strlen(names); /* five names of at most 30 bytes fit */
    snprintf(names + used, NAMES_MAX - used, "%s ", p->name);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[4096], first[NAMES_MAX] = "", again[NAMES_MAX] = "";
    struct registry_filter filter = {.active = -1, .text = text};
    struct error err;
    if (!registry)
        begin();
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (registry_each_plugin(reader, &filter, note, first, &err) < 0 ||
        registry_each_plugin(reader, &filter, note, again, &err) < 0 || strcmp(first, again) != 0)
        abort();
    return 0;
}
