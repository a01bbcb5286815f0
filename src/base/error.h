/* base/error: what went wrong, once, in one shape.  Owns the lookups of the table in moat/errors.h; prints nothing.
 *
 * Functions that can fail return 0 or a negative enum moat_code (-MOAT_E_BAD_JSON) and fill `err` when it is not
 * NULL.  Outputs are untouched on failure.  A message is one line: what is wrong, where, what to do. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "moat/errors.h"

#define ERROR_MESSAGE_MAX 1024
#define ERROR_DETAIL_MAX 1024

struct error {
    enum moat_code code;
    char message[ERROR_MESSAGE_MAX];
    char detail[ERROR_DETAIL_MAX]; /* a JSON object, or empty */
};

struct error_info {
    const char *name;
    int http, exit;
    const char *advice;
};

/* Never NULL; a code outside the table is looked up as MOAT_E_INTERNAL. */
const struct error_info *error_info(int code);

/* Sets *err (when not NULL) and returns -code, so that a failing function can `return error_set(…)`.
 * Control characters in the message become '?': it goes to terminals and logs. */
__attribute__((format(printf, 3, 4))) int error_set(struct error *err, enum moat_code code, const char *format, ...);

/* As error_set, with ": " and strerror(errnum) at the end. */
__attribute__((format(printf, 4, 5))) int error_errno(struct error *err, enum moat_code code, int errnum,
                                                      const char *format, ...);

#ifdef __clang_analyzer__
/* What the analyzer cannot see from here: neither returns 0. */
#define error_set(...) ((error_set)(__VA_ARGS__), -1)
#define error_errno(...) ((error_errno)(__VA_ARGS__), -1)
#endif

/* Puts "text: " in front of the message that is there. */
__attribute__((format(printf, 2, 3))) void error_prefix(struct error *err, const char *format, ...);

#endif
