/* json/cursor: reading a text that is known to be JSON, value by value, where it stands: no tree, no memory.  For
 * documents that are too large for a tree.  Pure; positions point at the first byte of a value in one text that has a 0
 * behind it (struct buf, or a text that json_valid has seen), and stay valid as long as the text does. */
#ifndef JSON_CURSOR_H
#define JSON_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum cursor_kind {
    CURSOR_NOTHING,
    CURSOR_NULL,
    CURSOR_BOOLEAN,
    CURSOR_NUMBER,
    CURSOR_STRING,
    CURSOR_ARRAY,
    CURSOR_OBJECT
};

const uint8_t *cursor_root(const uint8_t *text); /* the value of the whole text */
enum cursor_kind cursor_kind(const uint8_t *value);
const uint8_t *cursor_behind(const uint8_t *value);
static inline size_t cursor_length(const uint8_t *value)
{
    return (size_t)(cursor_behind(value) - value);
}

/* *at is the object or array before the first, and the place to go on from after it. */
struct cursor_member {
    const uint8_t *name; /* a string: cursor_text, cursor_text_is */
    const uint8_t *value;
};
bool cursor_next_member(const uint8_t **at, struct cursor_member *out);
bool cursor_next_item(const uint8_t **at, const uint8_t **item);

/* The same for who finds the end of an item in reading it: at is the array before the first, then the end of the last
 * one. NULL: no more. And the end of an object or array whose last member or item (none: itself) ends at `at`. */
const uint8_t *cursor_item(const uint8_t *at);
const uint8_t *cursor_close(const uint8_t *at);

/* The member of that name, or NULL (also when `object` is NULL or no object). The first one of several. */
const uint8_t *cursor_get(const uint8_t *object, const char *name);

/* A string's characters with a 0 behind them; their length, or -1: it is no string (or NULL), does not fit, has a NUL
 * or a lone surrogate. out is untouched then. */
ssize_t cursor_text(const uint8_t *string, char *out, size_t size);
bool cursor_text_is(const uint8_t *string, const char *text);
/* A whole number from 0 to 2^63 - 1, written without fraction and exponent. */
bool cursor_whole(const uint8_t *number, uint64_t *out);
static inline bool cursor_true(const uint8_t *value)
{
    return value && *value == 't';
}

/* The JSON Pointer of a value in the text at root, cut with "…" when it is longer. As long as reading the text. */
void cursor_pointer(const uint8_t *root, const uint8_t *value, char *out, size_t size);

/* The same JSON value: 1 and 1.0, escapes resolved, members in any order. Neither text has a repeated member. *steps,
 * some bytes looked at each, is charged; below 0 the answer is false and worth nothing. */
bool cursor_equal(const uint8_t *a, const uint8_t *b, int64_t *steps);

/* The same string, escapes resolved. */
bool cursor_same_text(const uint8_t *a, const uint8_t *b);

#endif
