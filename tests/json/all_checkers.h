/* Every checker of src/json asked about one text; they must agree. */
#ifndef TESTS_JSON_ALL_CHECKERS_H
#define TESTS_JSON_ALL_CHECKERS_H

#include <stdbool.h>
#include <stddef.h>

/* 1 valid, 0 not, -1 when two checkers differ (said on standard error with the text). */
int all_checkers(const void *text, size_t len);

/* Asks with 0 to 70 spaces in front, so that the bit-parallel checker sees the text at each place of its 64-byte
 * blocks; -1 too when the answer changes. */
int all_checkers_shifted(const char *text, size_t len);

void all_checkers_clear(void);

#endif
