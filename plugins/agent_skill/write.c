#include "write.h"

#include <stdio.h>
#include <string.h>

#define ROOM ((size_t)1 << 20)
#define SHOWN 300 /* bytes of the text shown of one finding */

static char out[ROOM];
static size_t used;
static bool full, fresh; /* fresh: right behind an opening bracket */

static void put(const char *bytes, size_t n)
{
    if (full || n > ROOM - used) {
        full = true;
        return;
    }
    memcpy(out + used, bytes, n);
    used += n;
}

static void put_string(const char *bytes, size_t n)
{
    char code[8];
    put("\"", 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\')
            put("\\", 1);
        if (c >= 0x20)
            put(bytes + i, 1);
        else
            put(code, (size_t)snprintf(code, sizeof code, "\\u%04x", c));
    }
    put("\"", 1);
}

static void begin(const char *name)
{
    if (!fresh)
        put(",", 1);
    fresh = false;
    if (name) {
        put_string(name, strlen(name));
        put(":", 1);
    }
}

void write_begin(void)
{
    used = 0;
    full = false;
    fresh = true;
}

bool write_end(const struct moat_host *host, struct moat_call *call)
{
    if (full || !host->answer(call, out, used))
        return host->fail(call, "too_large", "the result is more than this host takes");
    return true;
}

void write_open(const char *name, char bracket)
{
    begin(name);
    put(&bracket, 1);
    fresh = true;
}

void write_close(char bracket)
{
    put(&bracket, 1);
    fresh = false;
}

void write_bytes(const char *name, const char *value, size_t len)
{
    begin(name);
    put_string(value, len);
}

void write_raw(const char *name, const char *json, size_t len)
{
    begin(name);
    put(json, len);
}

void write_text(const char *name, const char *value)
{
    if (value)
        write_bytes(name, value, strlen(value));
    else
        write_raw(name, "null", 4);
}

void write_bool(const char *name, bool value)
{
    write_raw(name, value ? "true" : "false", value ? 4 : 5);
}

void write_number(const char *name, double value, int digits)
{
    char number[64];
    int n = snprintf(number, sizeof number, "%.*f", digits, value);
    if (digits > 0) {
        while (n > 0 && number[n - 1] == '0')
            n--;
        n -= n > 0 && number[n - 1] == '.';
    }
    write_raw(name, number, (size_t)n);
}

size_t span_text(struct span s, size_t most, const char **at)
{
    const struct token *last = &text.tokens[s.to - 1];
    *at = text.bytes + text.tokens[s.from].at;
    size_t n = last->at + last->len - text.tokens[s.from].at;
    if (n <= most)
        return n;
    for (n = most; n > 0 && ((unsigned char)(*at)[n] & 0xC0) == 0x80;)
        n--;
    return n;
}

void write_span(struct span s)
{
    const char *at;
    size_t n = span_text(s, SHOWN, &at);
    uint32_t from = (uint32_t)(at - text.bytes), first = text_character(from);
    write_bytes("text", at, n);
    write_number("offset", first, 0);
    write_number("length", text_character(from + (uint32_t)n) - first, 0);
}
