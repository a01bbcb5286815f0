/* Rows as JSON. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helper/sql.h"

void answer_begin(struct sql_answer *a, char *room, size_t size)
{
    *a = (struct sql_answer){.at = room, .begin = room, .end = room + size};
}

void answer_bytes(struct sql_answer *a, const char *bytes, size_t len)
{
    if (a->full || (size_t)(a->end - a->at) < len) {
        a->full = true;
        return;
    }
    memcpy(a->at, bytes, len);
    a->at += len;
}

void answer_word(struct sql_answer *a, const char *text)
{
    answer_bytes(a, text, strlen(text));
}

void answer_back(struct sql_answer *a, char *mark)
{
    a->at = mark;
    a->full = false;
}

size_t answer_length(const struct sql_answer *a)
{
    return (size_t)(a->at - a->begin);
}

/* Bytes of the character at p, 0: none that UTF-8 has. */
static size_t character(const unsigned char *p, size_t left)
{
    static const struct {
        unsigned char mask, lead, first_low, first_high; /* bounds of the second byte */
        unsigned char from, to, count;
    } forms[] = {
        {0, 0, 0x80, 0xbf, 0xc2, 0xdf, 2}, {0, 0, 0xa0, 0xbf, 0xe0, 0xe0, 3}, {0, 0, 0x80, 0xbf, 0xe1, 0xec, 3},
        {0, 0, 0x80, 0x9f, 0xed, 0xed, 3}, {0, 0, 0x80, 0xbf, 0xee, 0xef, 3}, {0, 0, 0x90, 0xbf, 0xf0, 0xf0, 4},
        {0, 0, 0x80, 0xbf, 0xf1, 0xf3, 4}, {0, 0, 0x80, 0x8f, 0xf4, 0xf4, 4},
    };
    if (*p < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (*p < forms[i].from || *p > forms[i].to)
            continue;
        if (left < forms[i].count || p[1] < forms[i].first_low || p[1] > forms[i].first_high)
            return 0;
        for (size_t k = 2; k < forms[i].count; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].count;
    }
    return 0;
}

static void put_escape(struct sql_answer *a, unsigned char c)
{
    static const char *const shorts[] = {['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f",
                                         ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\"};
    char text[8];
    if (c < sizeof shorts / sizeof *shorts && shorts[c]) {
        answer_word(a, shorts[c]);
        return;
    }
    snprintf(text, sizeof text, "\\u%04x", c);
    answer_word(a, text);
}

void answer_text(struct sql_answer *a, const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len, *run = p;
    answer_word(a, "\"");
    while (p < end && !a->full) {
        size_t n = character(p, (size_t)(end - p));
        if (n && *p >= 0x20 && *p != '"' && *p != '\\') {
            p += n;
            continue;
        }
        answer_bytes(a, (const char *)run, (size_t)(p - run));
        if (n)
            put_escape(a, *p);
        else
            answer_word(a, "\xef\xbf\xbd");
        run = ++p;
    }
    answer_bytes(a, (const char *)run, (size_t)(p - run));
    answer_word(a, "\"");
}

void answer_whole(struct sql_answer *a, int64_t n)
{
    char digits[24], *p = digits + sizeof digits;
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do
        *--p = (char)('0' + left % 10);
    while (left /= 10);
    if (n < 0)
        *--p = '-';
    answer_bytes(a, p, (size_t)(digits + sizeof digits - p));
}

/* The shortest of two forms that reads back the same. JSON has no infinity: a number beyond all others stands for it,
 * as SQLite writes it. */
void answer_real(struct sql_answer *a, double d)
{
    char text[40];
    if (isnan(d)) {
        answer_word(a, "null");
        return;
    }
    if (isinf(d)) {
        answer_word(a, d < 0 ? "-9e999" : "9e999");
        return;
    }
    snprintf(text, sizeof text, "%.15g", d);
    if (strtod(text, NULL) != d)
        snprintf(text, sizeof text, "%.17g", d);
    answer_word(a, text);
    if (!strpbrk(text, ".e"))
        answer_word(a, ".0");
}

void answer_blob(struct sql_answer *a, const void *bytes, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;
    answer_word(a, "{\"base64\":\"");
    for (size_t i = 0; i < len && !a->full; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t group = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
        char four[4] = {alphabet[group >> 18], alphabet[group >> 12 & 63], n > 1 ? alphabet[group >> 6 & 63] : '=',
                        n > 2 ? alphabet[group & 63] : '='};
        answer_bytes(a, four, sizeof four);
    }
    answer_word(a, "\"}");
}

bool answer_fail(struct sql_answer *a, enum seat_code code, const char *format, ...)
{
    char line[512];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    answer_back(a, a->begin);
    a->code = code;
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    answer_bytes(a, line, n < 0 ? 0 : strnlen(line, sizeof line));
    return false;
}

bool answer_refuse(struct sql_answer *a, enum seat_code code, const char *operation, const char *why)
{
    snprintf(a->operation, sizeof a->operation, "%s", operation);
    return answer_fail(a, code, "%s", why);
}
