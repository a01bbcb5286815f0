/* rest/uri: a request's target becomes decoded segments and query pairs, strictly.  Pure.
 *
 * Only the origin form ("/path?query").  Segments are decoded after the path was split, so that %2F never makes one
 * more; a decoded text is UTF-8 without control characters.  In a query '+' is a space, as HTML forms and most clients
 * write it. */
#ifndef REST_URI_H
#define REST_URI_H

#include <stddef.h>

#include "base/error.h"

#define URI_SEGMENTS 8
#define URI_PAIRS 96

struct uri {
    char *segments[URI_SEGMENTS];
    size_t nsegments;
    struct {
        char *key, *value;
    } pairs[URI_PAIRS];
    size_t npairs;
};

/* text is decoded in place and stays as long as *out is used. MOAT_E_BAD_REQUEST, or MOAT_E_NOT_FOUND for a path that
 * no table could have. */
int uri_parse(char *text, struct uri *out, struct error *err);

/* Appends text so that uri_parse reads it back from a path or a query. */
struct buf;
void uri_encode(struct buf *out, const char *text);

#endif
