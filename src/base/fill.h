/* base/fill: text with marks in it, such as @NAME@, each replaced by its value. For pages and files that are kept as
 * text and carried in a program. Any thread. */
#ifndef BASE_FILL_H
#define BASE_FILL_H

#include "base/buf.h"

struct fill_mark {
    const char *mark, *value; /* a mark begins with @ */
};

/* Appends text, with the n marks replaced; any other @ stays. What is not enough memory for shows in out->failed. */
void fill_marks(struct buf *out, const char *text, const struct fill_mark *marks, size_t n);

#endif
