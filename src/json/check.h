/* json/check: the two syntax checkers behind json_valid, named so that tests can compare them.  Private to src/json.
 *
 * All take a text with JSON_PAD writable bytes behind it and leave a 0 in the first of them.  len is not 0. */
#ifndef JSON_CHECK_H
#define JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From here on the bit-parallel checker is worth its start. */
#define CHECK_WIDE_FROM 512

/* *members as scan_value sets it; false before the call. */
bool check_scalar(uint8_t *text, size_t len, bool *members);

/* Does this CPU have what check_wide needs?  Without it nothing but the scalar checker runs. */
bool check_wide_usable(void);

/* The bit-parallel checker.  With src, text is filled from it on the way, each byte loaded once. */
bool check_wide(uint8_t *text, const uint8_t *src, size_t len, bool *members);

/* json_valid and json_copy_valid, with *members. */
bool check_text(uint8_t *text, size_t len, bool *members);
bool check_copy(uint8_t *dst, const uint8_t *src, size_t len, bool *members);

/* Loads each byte of src once, whatever another process does to it meanwhile. */
void check_copy_once(uint8_t *dst, const uint8_t *src, size_t len);

#endif
