/* trace/post: one HTTP request after the other to one address, by libcurl.  One thread; blocks. */
#ifndef TRACE_POST_H
#define TRACE_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum post_result {
    POST_TAKEN,
    POST_AGAIN,   /* nobody answers, or not now */
    POST_REFUSED, /* these bytes will never be taken */
};

struct post;
/* MOAT_E_NO_SUCH_FILE: there is no libcurl. */
int post_open(const char *url, struct post **out, struct error *err);
void post_close(struct post *p);

/* goes_on is asked several times a second: false breaks it off (POST_AGAIN). answer (what the other side said, cut to
 * 16 KiB) and why (what went wrong, in words) are the caller's; *wait_ns: the other side asks for this pause, or 0. */
enum post_result post_json(struct post *p, const struct buf *body, bool (*goes_on)(void *context), void *context,
                           struct buf *answer, uint64_t *wait_ns, struct error *why);

#endif
