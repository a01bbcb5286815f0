/* Every checker of src/json asked about one text; they must agree. */
#ifndef TESTS_JSON_ALL_CHECKERS_H
#define TESTS_JSON_ALL_CHECKERS_H

#include <stdbool.h>
#include <stddef.h>

/* 1 valid, 0 not, -1 when two checkers differ (said on standard error with the text). */
int all_checkers(const void *text, size_t len);

/* Makes every text of `copies` in turn in front of and behind the text: the bit-parallel checker sees it at each
 * position of a 64-byte block. */
int all_checkers_shifted(const char *text, size_t len);

void all_checkers_clear(void);

#endif
