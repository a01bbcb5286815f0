/* A file of this machine that a plugin is to run, as the helper reads it, and the helper's answer, as the host reads
 * it. What the helper says is always an answer; what the host takes of any bytes is plain and within bounds. */
#include <stdlib.h>
#include <string.h>

#include "helper/duty.h"
#include "package/needs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    const uint8_t *data;
    size_t size, used;
    uint8_t out[64 * 1024];
};

static bool read_bytes(void *context, void *data, size_t len, uint64_t offset)
{
    const struct bytes *b = context;
    if (offset > b->size || len > b->size - offset)
        return false;
    memcpy(data, b->data + offset, len);
    if (offset == 0 && len && b->data[0] == '~') /* a seed is no program for those who look for some */
        memcpy(data, "\x7f", 1);
    return true;
}

static bool write_bytes(void *context, const void *data, size_t len)
{
    struct bytes *b = context;
    if (len > sizeof b->out - b->used)
        abort();
    memcpy(b->out + b->used, data, len);
    b->used += len;
    return true;
}

static void check(const struct needs *n)
{
    if (n->count > NEEDS_MAX)
        abort();
    for (size_t i = 0; i < n->count; i++) {
        if (!n->list[i].text[0] || strlen(n->list[i].text) > NEEDS_TEXT_MAX)
            abort();
        for (const char *p = n->list[i].text; *p; p++)
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bytes b;
    static struct needs n;
    b.data = data;
    b.size = size;
    b.used = 0;
    struct duty_io io = {.read = read_bytes, .write = write_bytes, .context = &b};
    if (duty_needs(&io) == 0 && needs_read(b.out, b.used, &n))
        check(&n);
    if (needs_read(data, size, &n))
        check(&n);
    return 0;
}
