/* Parameters: JSON into what engines bind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "helper/sql.h"
#include "json/cursor.h"
#include "json/json.h"

#define BLOB_WORD "base64"

/* -1: no digit. */
static int digit(unsigned char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* In place; the count, or -1: it is not base64 with its padding. */
static ssize_t decode(char *text, size_t len)
{
    size_t out = 0, pad = len && text[len - 1] == '=' ? 1 + (len > 1 && text[len - 2] == '=') : 0;
    if (len % 4)
        return -1;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t group = 0;
        size_t digits = i + 4 == len ? 4 - pad : 4;
        for (size_t k = 0; k < 4; k++) {
            int d = k < digits ? digit((unsigned char)text[i + k]) : 0;
            if (d < 0)
                return -1;
            group = group << 6 | (uint32_t)d;
        }
        for (size_t k = 0; k < digits - 1; k++)
            text[out++] = (char)(group >> (16 - 8 * k));
    }
    return (ssize_t)out;
}

/* The string's characters, where the string stands: they never need more room than its text with its quotes. */
static bool text_in_place(const uint8_t *value, char *base, struct param *out)
{
    char *at = base;
    size_t room = cursor_length(value);
    char *copy = malloc(room + 1);
    if (!copy)
        return false;
    ssize_t n = cursor_text(value, copy, room + 1);
    if (n >= 0)
        memcpy(at, copy, (size_t)n + 1);
    free(copy);
    if (n < 0)
        return false;
    *out = (struct param){.kind = PARAM_TEXT, .bytes = at, .len = (size_t)n};
    return true;
}

static bool number(const uint8_t *value, struct param *out)
{
    const char *text = (const char *)value;
    size_t len = cursor_length(value);
    char *end;
    *out = (struct param){.kind = PARAM_WHOLE, .raw = text, .raw_len = len};
    if (!memchr(text, '.', len) && !memchr(text, 'e', len) && !memchr(text, 'E', len) && len < 21) {
        errno = 0;
        out->whole = strtoll(text, &end, 10);
        if (errno == 0)
            return true;
    }
    out->kind = PARAM_REAL;
    out->real = strtod(text, &end);
    return true;
}

/* Every position is found before anything is changed in the text: a string is written over itself. */
static bool one(const uint8_t *value, struct param *out)
{
    char *place = (char *)(uintptr_t)value;
    const uint8_t *blob;
    ssize_t n;
    switch (cursor_kind(value)) {
    case CURSOR_NULL:
        *out = (struct param){.kind = PARAM_NULL};
        return true;
    case CURSOR_BOOLEAN:
        *out = (struct param){
            .kind = PARAM_WHOLE, .whole = cursor_true(value), .raw = cursor_true(value) ? "1" : "0", .raw_len = 1};
        return true;
    case CURSOR_NUMBER:
        return number(value, out);
    case CURSOR_STRING:
        return text_in_place(value, place, out);
    case CURSOR_OBJECT:
        blob = cursor_get(value, BLOB_WORD);
        if (!blob || cursor_kind(blob) != CURSOR_STRING || !text_in_place(blob, place, out) ||
            (n = decode(place, out->len)) < 0)
            return false;
        out->kind = PARAM_BLOB;
        out->len = (size_t)n;
        return true;
    default:
        return false;
    }
}

int params_read(char *text, size_t len, struct param out[PARAMS_MAX], struct sql_answer *a)
{
    static const uint8_t *values[PARAMS_MAX];
    int n = 0;
    if (!len)
        return 0;
    if (!json_valid((uint8_t *)text, len)) {
        answer_fail(a, SEAT_PARAMETERS, "the parameters are not JSON");
        return -1;
    }
    const uint8_t *at = cursor_root((uint8_t *)text), *item;
    if (cursor_kind(at) != CURSOR_ARRAY) {
        answer_fail(a, SEAT_PARAMETERS, "the parameters are not a JSON array");
        return -1;
    }
    while (cursor_next_item(&at, &item)) {
        if (n == PARAMS_MAX) {
            answer_fail(a, SEAT_PARAMETERS, "there are more than %d parameters", PARAMS_MAX);
            return -1;
        }
        values[n++] = item;
    }
    for (int i = 0; i < n; i++)
        if (!one(values[i], &out[i])) {
            answer_fail(a, SEAT_PARAMETERS,
                        "parameter %d is not null, true, false, a number, a string without NUL, or {\"base64\":\"…\"}",
                        i + 1);
            return -1;
        }
    return n;
}
