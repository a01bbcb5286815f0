/* rest/target: a request's target becomes decoded segments and query pairs, strictly.  Pure.
 *
 * Only the origin form ("/path?query").  Segments are decoded after the path was split, so that %2F never makes one
 * more; a decoded text is UTF-8 without control characters.  In a query '+' is a space, as HTML forms and most clients
 * write it. */
#ifndef REST_TARGET_H
#define REST_TARGET_H

#include <stddef.h>

#include "base/error.h"

#define TARGET_MAX 8192
#define TARGET_SEGMENTS 8
#define TARGET_PAIRS 96

struct target {
    char *segments[TARGET_SEGMENTS];
    size_t nsegments;
    struct {
        char *key, *value;
    } pairs[TARGET_PAIRS];
    size_t npairs;
};

/* text is decoded in place and stays as long as *out is used. MOAT_E_BAD_REQUEST, or MOAT_E_NOT_FOUND for a path that
 * no table could have. */
int target_parse(char *text, struct target *out, struct error *err);

/* Appends text so that target_parse reads it back from a path or a query. */
struct buf;
void target_encode(struct buf *out, const char *text);

#endif
