#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at p (n bytes left), 0 when it is not one (RFC 3629). */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    size_t len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool beyond = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : len;
}

static bool escape_ascii(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        return buf_puts(out, "\\\"");
    case '\\':
        return buf_puts(out, "\\\\");
    case '\n':
        return buf_puts(out, "\\n");
    case '\r':
        return buf_puts(out, "\\r");
    case '\t':
        return buf_puts(out, "\\t");
    default:
        return c < 0x20 || c == 0x7f ? buf_printf(out, "\\u%04x", c) : buf_putc(out, (char)c);
    }
}

bool text_json_escape(struct buf *out, const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    while (p < end) {
        size_t n = utf8_sequence(p, (size_t)(end - p));
        if (n == 1)
            escape_ascii(out, *p);
        else if (n)
            buf_put(out, p, n);
        else
            buf_puts(out, "\xef\xbf\xbd");
        p += n ? n : 1;
    }
    return !out->failed;
}

bool text_json_string(struct buf *out, const char *text)
{
    buf_putc(out, '"');
    text_json_escape(out, text, strlen(text));
    return buf_putc(out, '"');
}

/* U+0080 to U+009F, and the marks that turn what follows around: a line must read as it is. */
static bool steers(const unsigned char *p, size_t n)
{
    if (n == 1)
        return *p < 0x20 || *p == 0x7f;
    if (n == 2)
        return p[0] == 0xc2 && p[1] < 0xa0;
    if (n != 3 || p[0] != 0xe2)
        return false;
    return (p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
           (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

bool text_plain(char *out, size_t size, const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    size_t used = 0;
    while (p < end) {
        size_t n = utf8_sequence(p, (size_t)(end - p));
        bool shown = n && !steers(p, n);
        size_t put = shown ? n : 1;
        if (used + put >= size)
            break;
        if (shown)
            memcpy(out + used, p, n);
        else
            out[used] = *p == '\t' ? ' ' : '?';
        used += put;
        p += n ? n : 1;
    }
    out[used] = '\0';
    return p == end;
}

void text_hex(char *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool text_unhex(uint8_t *out, size_t len, const char *hex)
{
    if (strlen(hex) != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool text_parse_size(const char *text, uint64_t *bytes)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
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
        if (n > UINT64_MAX >> units[i].shift)
            return false;
        *bytes = n << units[i].shift;
        return true;
    }
    return false;
}

void text_format_size(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB"};
    size_t unit = 0;
    while (bytes && unit < 3 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, 32, "%llu%s", (unsigned long long)bytes, units[unit]);
}

bool text_copy(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size);
    bool fits = len < size;
    len = fits ? len : size - 1;
    memcpy(out, text, len);
    out[len] = '\0';
    return fits;
}

bool text_is_name(const char *text, size_t max)
{
    if (*text < 'a' || *text > 'z')
        return false;
    size_t n = 0;
    for (; text[n]; n++) {
        char c = text[n];
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (!good || n >= max || (c == '_' && text[n + 1] == '_'))
            return false;
    }
    return true;
}
