#include "service/tell.h"

#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

/* A value stands behind another one unless the text is empty or has just opened something. */
static void start(struct buf *out, const char *key)
{
    if (out->len && !strchr("{[:", out->data[out->len - 1]))
        buf_putc(out, ',');
    if (key) {
        text_json_string(out, key);
        buf_putc(out, ':');
    }
}

void tell_open(struct buf *out, const char *key, char bracket)
{
    start(out, key);
    buf_putc(out, bracket);
}

void tell_close(struct buf *out, char bracket)
{
    buf_putc(out, bracket);
}

void tell_raw(struct buf *out, const char *key, const char *json)
{
    start(out, key);
    buf_puts(out, json ? json : "null");
}

void tell_text(struct buf *out, const char *key, const char *text)
{
    if (!text) {
        tell_raw(out, key, NULL);
        return;
    }
    start(out, key);
    text_json_string(out, text);
}

void tell_number(struct buf *out, const char *key, uint64_t n)
{
    start(out, key);
    buf_printf(out, "%llu", (unsigned long long)n);
}

void tell_real(struct buf *out, const char *key, double x)
{
    char text[40];
    json_t *real = json_real(x);
    size_t n = real ? json_dumpb(real, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10)) : 0;
    text[n < sizeof text ? n : 0] = '\0';
    tell_raw(out, key, n ? text : NULL);
    json_decref(real);
}

void tell_flag(struct buf *out, const char *key, bool flag)
{
    tell_raw(out, key, flag ? "true" : "false");
}

void tell_time(struct buf *out, const char *key, uint64_t wall_ns)
{
    char text[CLOCK_RFC3339_MAX];
    clock_rfc3339(wall_ns, text);
    tell_text(out, key, wall_ns ? text : NULL);
}

void tell_seconds(struct buf *out, const char *key, uint64_t wall_s)
{
    tell_time(out, key, wall_s * NS_PER_S);
}

void tell_hex(struct buf *out, const char *key, const uint8_t *bytes, size_t len)
{
    char text[65];
    text_hex(text, bytes, len < 32 ? len : 32);
    tell_text(out, key, text);
}
