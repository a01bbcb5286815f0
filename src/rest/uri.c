#include "rest/uri.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* UTF-8 as RFC 3629 has it, without C0, DEL and C1: nothing of a target may steer a terminal or end a C string. */
static bool is_plain_text(const unsigned char *p)
{
    while (*p) {
        if (*p < 0x20 || *p == 0x7f)
            return false;
        if (*p < 0x80) {
            p++;
            continue;
        }
        size_t more = *p >= 0xc2 && *p <= 0xdf ? 1 : (*p & 0xf0) == 0xe0 ? 2 : *p >= 0xf0 && *p <= 0xf4 ? 3 : 0;
        if (!more)
            return false;
        uint32_t rune = *p & (0x3fu >> more);
        for (size_t i = 1; i <= more; i++) {
            if ((p[i] & 0xc0) != 0x80) /* the terminating 0 as well */
                return false;
            rune = rune << 6 | (p[i] & 0x3f);
        }
        static const uint32_t least[] = {0, 0xa0, 0x800, 0x10000};
        if (rune < least[more] || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
            return false;
        p += more + 1;
    }
    return true;
}

/* Decodes one part in place. */
static int decode(char *text, bool form, struct error *err)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        if (*in == '+' && form) {
            *out++ = ' ';
        } else if (*in == '%') {
            int high = hex_digit(in[1]), low = high < 0 ? -1 : hex_digit(in[2]);
            if (low < 0)
                return error_set(err, MOAT_E_BAD_REQUEST, "the target has a %% that two hex digits do not follow");
            if (!high && !low)
                return error_set(err, MOAT_E_BAD_REQUEST, "the target has a NUL");
            *out++ = (char)(high << 4 | low);
            in += 2;
        } else {
            *out++ = *in;
        }
    }
    *out = '\0';
    if (!is_plain_text((const unsigned char *)text))
        return error_set(err, MOAT_E_BAD_REQUEST, "the target has control characters or is not UTF-8");
    return 0;
}

static int parse_path(char *path, struct uri *out, struct error *err)
{
    while (path) {
        char *next = strchr(path, '/');
        if (next)
            *next++ = '\0';
        if (out->nsegments == URI_SEGMENTS || !*path)
            return error_set(err, MOAT_E_NOT_FOUND, "no route has this path");
        int rc = decode(path, false, err);
        if (rc)
            return rc;
        if (strcmp(path, ".") == 0 || strcmp(path, "..") == 0)
            return error_set(err, MOAT_E_NOT_FOUND, "no route has this path");
        out->segments[out->nsegments++] = path;
        path = next;
    }
    return 0;
}

static int parse_query(char *query, struct uri *out, struct error *err)
{
    while (query && *query) {
        char *next = strchr(query, '&');
        if (next)
            *next++ = '\0';
        char *value = strchr(query, '='), *end = strchr(query, '\0');
        if (!*query || value == query)
            return error_set(err, MOAT_E_BAD_REQUEST, "the query is not a list of KEY=VALUE");
        if (value)
            *value++ = '\0';
        else
            value = end; /* a flag: "?ready" */
        if (out->npairs == URI_PAIRS)
            return error_set(err, MOAT_E_BAD_REQUEST, "the query has more than %d pairs", URI_PAIRS);
        int rc = decode(query, true, err);
        if (!rc)
            rc = decode(value, true, err);
        if (rc)
            return rc;
        out->pairs[out->npairs].key = query;
        out->pairs[out->npairs++].value = value;
        query = next;
    }
    return 0;
}

int uri_parse(char *text, struct uri *out, struct error *err)
{
    out->nsegments = out->npairs = 0;
    if (*text != '/')
        return error_set(err, MOAT_E_BAD_REQUEST, "the target does not start with /");
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f || *p == '#')
            return error_set(err, MOAT_E_BAD_REQUEST, "the target has characters that must be percent-encoded");
    char *query = strchr(text, '?');
    if (query)
        *query++ = '\0';
    int rc = text[1] ? parse_path(text + 1, out, err) : 0;
    return rc ? rc : parse_query(query, out, err);
}

void uri_encode(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("-._~@", c));
        if (plain)
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}
