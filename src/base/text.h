/* base/text: small pure functions over bytes and text.  Any thread. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Appends the inside of a JSON string.  Control characters are escaped, bytes that are not UTF-8 become U+FFFD. */
bool text_json_escape(struct buf *out, const char *text, size_t len);

/* Appends `"text"` with quotes. */
bool text_json_string(struct buf *out, const char *text);

void text_hex(char *out, const uint8_t *bytes, size_t len); /* 2*len + 1 characters */
bool text_unhex(uint8_t *out, size_t len, const char *hex); /* exactly 2*len lower- or upper-case digits */

/* A size of the surface: a whole number of bytes, or with KiB, MiB, GiB. */
bool text_parse_size(const char *text, uint64_t *bytes);
void text_format_size(uint64_t bytes, char out[32]); /* exactly, in the largest unit that has it whole */

/* true when it fitted; out is always terminated. */
bool text_copy(char *out, size_t size, const char *text);

/* One line of text that steers no terminal: of len bytes, as much as fits, with '?' for control characters (C1 as
 * well), for what turns the direction of writing and for bytes that are not UTF-8, and a space for a tab. Whole
 * characters; out is always terminated. true when all of it fitted. */
bool text_plain(char *out, size_t size, const char *text, size_t len);

/* [a-z][a-z0-9_]*, at most max characters, without "__": names of plugins (30) and actions (32). */
bool text_is_name(const char *text, size_t max);

#endif
