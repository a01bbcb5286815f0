/* common/request: finds the members of an action's parameters in place.  Owns no memory and keeps nothing.
 *
 * The host has checked the text against the manifest before a plugin sees it; this reader stays inside its bounds for
 * any bytes all the same, and answers false where the text is not what was promised. */
#ifndef COMMON_REQUEST_H
#define COMMON_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

struct slice {
    const char *at, *end;
};

/* The value of the top-level member `name`, without surrounding space; false when there is none. */
bool request_find(const char *text, size_t len, const char *name, struct slice *value);

/* Decodes a JSON string into out (UTF-8, terminated); false when it is none, does not fit or holds \u0000. */
bool request_text(struct slice value, char *out, size_t size);

/* The index in words (ended by NULL) of the JSON string; -1 when it is none of them. */
int request_word(struct slice value, const char *const *words);

/* A whole number written in any of JSON's ways (12, 12.0, 1.2e1); false when it is none or does not fit. */
bool request_integer(struct slice value, long long *out);

const char *request_space(const char *at, const char *end); /* skips white space */

/* The byte behind the value that begins at `at`, or NULL. */
const char *request_skip(const char *at, const char *end);

#endif
