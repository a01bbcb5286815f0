#include "request.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KEY_ROOM 256 /* a longer key is none that is looked for */

const char *request_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* at stands on the opening quote; the byte behind the closing one, or NULL. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        if (*at == '"')
            return at + 1;
        if (*at == '\\')
            at++;
    }
    return NULL;
}

/* Brackets are only counted: the host checked that they pair. */
const char *request_skip(const char *at, const char *end)
{
    size_t depth = 0;
    while (at < end) {
        char c = *at;
        if (c == '"') {
            at = skip_string(at, end);
            if (!at || depth == 0)
                return at;
            continue;
        }
        if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            if (depth == 0)
                return at;
            if (--depth == 0)
                return at + 1;
        } else if (c == ',' && depth == 0) {
            return at;
        }
        at++;
    }
    return depth == 0 ? at : NULL;
}

static int hex4(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = at[i], lower = (char)(c | 0x20);
        int digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static size_t utf8(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* at stands behind "\u"; the count of bytes put in out, 0 for what is not text.  Moves *at behind the escape. */
static size_t unicode_escape(const char **at, const char *end, char out[4])
{
    int code = hex4(*at, end);
    if (code <= 0 || (code >= 0xDC00 && code <= 0xDFFF))
        return 0;
    *at += 4;
    if (code < 0xD800 || code > 0xDBFF)
        return utf8((uint32_t)code, out);
    if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return 0;
    int low = hex4(*at + 2, end);
    if (low < 0xDC00 || low > 0xDFFF)
        return 0;
    *at += 6;
    return utf8(0x10000u + ((uint32_t)(code - 0xD800) << 10) + (uint32_t)(low - 0xDC00), out);
}

static size_t escape(const char **at, const char *end, char out[4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = *(*at)++;
    if (c == 'u')
        return unicode_escape(at, end, out);
    const char *found = c ? strchr(from, c) : NULL;
    if (!found)
        return 0;
    out[0] = to[found - from];
    return 1;
}

bool request_text(struct slice value, char *out, size_t size)
{
    const char *at = value.at, *end = value.end;
    size_t used = 0;
    if (end - at < 2 || *at != '"' || end[-1] != '"' || size == 0)
        return false;
    for (at++, end--; at < end;) {
        char piece[4] = {*at++};
        size_t n = 1;
        if (piece[0] == '\\')
            n = at < end ? escape(&at, end, piece) : 0;
        if (n == 0 || piece[0] == 0 || used + n >= size)
            return false;
        memcpy(out + used, piece, n);
        used += n;
    }
    out[used] = 0;
    return true;
}

bool request_find(const char *text, size_t len, const char *name, struct slice *value)
{
    const char *end = text + len, *at = request_space(text, end);
    if (at == end || *at++ != '{')
        return false;
    for (;;) {
        struct slice key, member;
        char word[KEY_ROOM];
        at = key.at = request_space(at, end);
        if (at == end || *at != '"' || !(at = key.end = skip_string(at, end)))
            return false;
        at = request_space(at, end);
        if (at == end || *at++ != ':')
            return false;
        at = member.at = request_space(at, end);
        if (!(at = request_skip(at, end)))
            return false;
        for (member.end = at; member.end > member.at && strchr(" \t\n\r", member.end[-1]) && member.end[-1];)
            member.end--;
        /* A key may be written with escapes, and is then still the same key. */
        if (request_text(key, word, sizeof word) && strcmp(word, name) == 0) {
            *value = member;
            return member.end > member.at;
        }
        at = request_space(at, end);
        if (at == end || *at++ != ',')
            return false;
    }
}

int request_word(struct slice value, const char *const *words)
{
    char text[64];
    if (request_text(value, text, sizeof text))
        for (int i = 0; words[i]; i++)
            if (strcmp(words[i], text) == 0)
                return i;
    return -1;
}

bool request_integer(struct slice value, long long *out)
{
    char text[64], *end;
    size_t len = (size_t)(value.end - value.at);
    if (len == 0 || len >= sizeof text || !strchr("-0123456789", *value.at))
        return false;
    memcpy(text, value.at, len);
    text[len] = 0;
    double number = strtod(text, &end);
    if (*end || !(number > -9e15 && number < 9e15) || number != (double)(long long)number)
        return false;
    *out = (long long)number;
    return true;
}
