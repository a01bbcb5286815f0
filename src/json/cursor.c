#include "json/cursor.h"

#include <string.h>

#include "json/program.h"
#include "json/walk.h"

const uint8_t *cursor_root(const uint8_t *text)
{
    return scan_space(text);
}

enum cursor_kind cursor_kind(const uint8_t *value)
{
    static const enum cursor_kind kinds[KIND_COUNT] = {
        [KIND_NULL] = CURSOR_NULL,     [KIND_BOOLEAN] = CURSOR_BOOLEAN, [KIND_NUMBER] = CURSOR_NUMBER,
        [KIND_STRING] = CURSOR_STRING, [KIND_ARRAY] = CURSOR_ARRAY,     [KIND_OBJECT] = CURSOR_OBJECT};
    return value ? kinds[scan_kind_of[*value]] : CURSOR_NOTHING;
}

const uint8_t *cursor_behind(const uint8_t *value)
{
    return walk_value(value);
}

/* Before the first one *at is the opening bracket; afterwards it is where a value ended, and none follows there. */
static const uint8_t *enter(const uint8_t *at, uint8_t bracket)
{
    return *at == bracket ? at + 1 : at;
}

bool cursor_next_member(const uint8_t **at, struct cursor_member *out)
{
    struct walk_member m;
    if (!walk_member(enter(*at, '{'), &m))
        return false;
    out->name = m.name - 1;
    out->value = m.value;
    *at = walk_value(m.value);
    return true;
}

bool cursor_next_item(const uint8_t **at, const uint8_t **item)
{
    const uint8_t *found = walk_item(enter(*at, '['));
    if (!found)
        return false;
    *item = found;
    *at = walk_value(found);
    return true;
}

const uint8_t *cursor_item(const uint8_t *at)
{
    return walk_item(enter(at, '['));
}

const uint8_t *cursor_close(const uint8_t *at)
{
    return scan_space(*at == '{' || *at == '[' ? at + 1 : at) + 1;
}

const uint8_t *cursor_get(const uint8_t *object, const char *name)
{
    struct cursor_member m;
    if (cursor_kind(object) != CURSOR_OBJECT)
        return NULL;
    while (cursor_next_member(&object, &m))
        if (cursor_text_is(m.name, name))
            return m.value;
    return NULL;
}

bool cursor_text_is(const uint8_t *string, const char *text)
{
    size_t len = strlen(text);
    if (cursor_kind(string) != CURSOR_STRING)
        return false;
    /* Most names have no escape. strncmp: the 0 behind the text ends it. */
    if (strncmp((const char *)string + 1, text, len) == 0 && string[1 + len] == '"' && !memchr(text, '\\', len) &&
        !memchr(text, '"', len))
        return true;
    struct walk_chars c = walk_chars(string + 1);
    int next;
    while ((next = walk_char(&c)) >= 0)
        if ((unsigned char)*text != next || !*text++)
            return false;
    return !*text;
}

ssize_t cursor_text(const uint8_t *string, char *out, size_t size)
{
    bool escaped = false;
    if (cursor_kind(string) != CURSOR_STRING)
        return -1;
    const uint8_t *end = walk_string(string + 1, &escaped);
    size_t len = (size_t)(end - string - 1);
    if (!escaped) {
        if (len >= size)
            return -1;
        memcpy(out, string + 1, len);
        out[len] = '\0';
        return (ssize_t)len;
    }
    struct walk_chars c = walk_chars(string + 1);
    size_t n = 0;
    for (int next, before = 0; (next = walk_char(&c)) >= 0; before = next) {
        bool lone = before == 0xed && next >= 0xa0; /* only a lone surrogate has these two bytes */
        if (!next || lone || ++n >= size)
            return -1;
    }
    c = walk_chars(string + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (char)walk_char(&c);
    out[n] = '\0';
    return (ssize_t)n;
}

bool cursor_whole(const uint8_t *number, uint64_t *out)
{
    uint64_t n = 0;
    if (cursor_kind(number) != CURSOR_NUMBER)
        return false;
    const uint8_t *end = walk_value(number);
    for (const uint8_t *p = number; p < end; p++) {
        if (!scan_is_digit(*p) || n > (INT64_MAX - (uint64_t)(*p - '0')) / 10)
            return false;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    *out = n;
    return true;
}

void cursor_pointer(const uint8_t *root, const uint8_t *value, char *out, size_t size)
{
    struct walk_place place;
    walk_pointer(root, value, out, size, &place);
}

bool cursor_equal(const uint8_t *a, const uint8_t *b, int64_t *steps)
{
    return equal_values(a, b, steps);
}

bool cursor_same_text(const uint8_t *a, const uint8_t *b)
{
    return walk_same_string(a + 1, b + 1);
}
